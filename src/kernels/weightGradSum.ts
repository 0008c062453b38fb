/** Second half of a weight gradient: adds the parts in a fixed order and writes the weight's own layout. */
import { foldGrid, linearWorkgroup, memoKernel, type Kernel } from './kernel.js';
import { ceilDiv, type Elem, type Launch } from './plan.js';

const sumSize = 64;

/** Adds the parts and writes OIHW. Partial rows are [tap][channel] or, for runs, [tap row][tap column][channel]: the same. */
function weightGradSumKernel(elem: Elem): Kernel {
  return memoKernel(`convWeightGradSum.${elem}`, () => ({
    name: 'convWeightGradSum',
    bindings: ['read', 'write'],
    params: [
      ['groups', 'u32'],
      ['taps', 'u32'],
      ['ci', 'u32'],
      ['co', 'u32'],
      ['splits', 'u32'],
      ['first', 'u32'], // 1: overwrite; 0: add to what an earlier range of images left
    ],
    enables: elem === 'f16' ? ['f16'] : [],
    wgsl: `@group(0) @binding(0) var<storage, read> partials: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> dw: array<${elem}>;
@compute @workgroup_size(${sumSize})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = ${linearWorkgroup} * ${sumSize}u + lane;
  let pitch = (p.co + 3u) / 4u;
  let part = p.taps * p.ci * pitch;
  if (i >= p.groups * part) { return; }
  let group = i / part;
  let inPart = i - group * part;
  var at = group * p.splits * part + inPart;
  var sum = partials[at];
  for (var s = 1u; s < p.splits; s++) {
    at += part;
    sum += partials[at];
  }
  let row = inPart / pitch;
  let o = (inPart - row * pitch) * 4u;
  let tap = row / p.ci;
  let c = row - tap * p.ci;
  for (var j = 0u; j < min(4u, p.co - o); j++) {
    let to = ((group * p.co + o + j) * p.ci + c) * p.taps + tap;
    if (p.first == 1u) { dw[to] = ${elem}(sum[j]); } else { dw[to] = ${elem}(f32(dw[to]) + sum[j]); }
  }
}`,
  }));
}

/** Adds `partials` [group][split][tap][ci][co padded to 4] into `dw` [group * co][ci][tap]; see the kernel for `first`. */
export function weightGradSumLaunch(o: {
  groups: number;
  taps: number;
  ci: number;
  co: number;
  splits: number;
  first: boolean;
  elem: Elem;
}): Launch {
  return {
    kernel: weightGradSumKernel(o.elem),
    buffers: ['partials', 'dw'],
    params: [o.groups, o.taps, o.ci, o.co, o.splits, o.first ? 1 : 0],
    grid: foldGrid(ceilDiv(o.groups * o.taps * o.ci * ceilDiv(o.co, 4), sumSize)),
  };
}
