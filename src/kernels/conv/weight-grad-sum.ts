/** Second half of a weight gradient: adds the parts in a fixed order and writes the weight's own layout. */
import { foldGrid, linearWorkgroup, memoKernel, type Kernel, type Target } from '../base/kernel.js';
import { reads, shader, writes } from '../base/shader.js';
import { joinInTree } from '../base/team.js';
import { ceilDiv, type Elem, type Launch } from '../base/plan.js';

/**
 * An invocation sums some taps of one input channel and four output channels, so that the taps of a weight
 * are written in a row: workgroups cover 8 by 8 of those, and z is the group and block of taps.
 */
function weightGradSumKernel(elem: Elem): Kernel {
  return memoKernel(`convWeightGradSum.${elem}`, () => ({
    name: 'convWeightGradSum',
    params: [
      ['taps', 'u32'],
      ['tapBlocks', 'u32'],
      ['ci', 'u32'],
      ['co', 'u32'],
      ['splits', 'u32'],
      ['first', 'u32'], // 1: overwrite; 0: add to what an earlier range of images left
    ],
    ...shader({
      bindings: [reads('partials', 'vec4<f32>'), writes('dw', elem)],
      workgroup: 64,
      builtins: ['wid', 'lane'],
      body: `  let pitch = (p.co + 3u) / 4u;
  let o = wid.x * 8u + (lane & 7u);
  let c = wid.y * 8u + (lane >> 3u);
  if (o >= pitch || c >= p.ci) { return; }
  let group = wid.z / p.tapBlocks;
  let block = p.taps / p.tapBlocks;
  let tap0 = (wid.z - group * p.tapBlocks) * block;
  let part = p.taps * p.ci * pitch;
  let weight = ((group * p.co + 4u * o) * p.ci + c) * p.taps;
  for (var tap = tap0; tap < tap0 + block; tap++) {
    var at = group * p.splits * part + (tap * p.ci + c) * pitch + o;
    var sum = partials[at];
    for (var s = 1u; s < p.splits; s++) {
      at += part;
      sum += partials[at];
    }
    for (var j = 0u; j < min(4u, p.co - 4u * o); j++) {
      let to = weight + j * p.ci * p.taps + tap;
      if (p.first == 1u) { dw[to] = ${elem}(sum[j]); } else { dw[to] = ${elem}(f32(dw[to]) + sum[j]); }
    }
  }`,
    }),
  }));
}

/** Invocations of a workgroup of {@link teamSumKernel}. */
const teamGroup = 256;

/**
 * For GPUs: a team of `p.team` invocations adds up one tap of an input channel and four output channels, each
 * every `p.team`-th part; neighbours read neighbouring channels.
 */
function teamSumKernel(elem: Elem): Kernel {
  return memoKernel(`convWeightGradSum.team.${elem}`, () => ({
    name: 'convWeightGradSum',
    params: [
      ['taps', 'u32'],
      ['groups', 'u32'],
      ['ci', 'u32'],
      ['co', 'u32'],
      ['splits', 'u32'],
      ['first', 'u32'],
      ['team', 'u32'],
    ],
    ...shader({
      bindings: [reads('partials', 'vec4<f32>'), writes('dw', elem)],
      functions: `var<workgroup> sums: array<vec4<f32>, ${teamGroup}>;`,
      workgroup: teamGroup,
      builtins: ['wid', 'nwg', 'lid'],
      body: `  let pitch = (p.co + 3u) / 4u;
  let part = p.taps * p.ci * pitch;
  let cells = ${teamGroup}u / p.team;
  let cell = ${linearWorkgroup} * cells + lid % cells;
  let member = lid / cells;
  let group = cell / part;
  let place = cell - group * part;
  // Invocations without a cell meet the barriers.
  let live = group < p.groups;
  var sum = vec4<f32>();
  for (var s = member; s < select(0u, p.splits, live); s += p.team) {
    sum += partials[(group * p.splits + s) * part + place];
  }
  ${joinInTree('p.team >> 1u', 'sums[lid] = sum;', 'sum += sums[lid + h * cells];')}
  if (live && member == 0u) {
    let o = place % pitch;
    let tap = place / pitch / p.ci;
    let c = place / pitch - tap * p.ci;
    let weight = ((group * p.co + 4u * o) * p.ci + c) * p.taps + tap;
    for (var j = 0u; j < min(4u, p.co - 4u * o); j++) {
      let to = weight + j * p.ci * p.taps;
      if (p.first == 1u) { dw[to] = ${elem}(sum[j]); } else { dw[to] = ${elem}(f32(dw[to]) + sum[j]); }
    }
  }`,
    }),
  }));
}

/** Parts above which a team adds them up, and some parts for each of its members. */
const teamSplits = 8;
const memberSplits = 16;

/**
 * Adds `partials` [group][split][tap][ci][co padded to 4] into `dw` [group * co][ci][tap]; see the kernel for
 * `first`.
 */
export function weightGradSumLaunch(
  target: Target,
  o: {
    groups: number;
    taps: number;
    ci: number;
    co: number;
    splits: number;
    first: boolean;
    elem: Elem;
  },
): Launch {
  if (target.kind === 'gpu' && o.splits > teamSplits && target.maxInvocations >= teamGroup) {
    const team = 2 ** Math.ceil(Math.log2(Math.min(32, Math.max(16, o.splits / memberSplits))));
    const cells = o.groups * o.taps * o.ci * ceilDiv(o.co, 4);
    return {
      kernel: teamSumKernel(o.elem),
      buffers: ['partials', 'dw'],
      params: [o.taps, o.groups, o.ci, o.co, o.splits, o.first ? 1 : 0, team],
      grid: foldGrid(ceilDiv(cells * team, teamGroup)),
    };
  }
  const x = ceilDiv(o.co, 32);
  const y = ceilDiv(o.ci, 8);
  const tapBlocks = x * y * o.groups < 64 ? o.taps : 1;
  return {
    kernel: weightGradSumKernel(o.elem),
    buffers: ['partials', 'dw'],
    params: [o.taps, tapBlocks, o.ci, o.co, o.splits, o.first ? 1 : 0],
    grid: [x, y, o.groups * tapBlocks],
  };
}
