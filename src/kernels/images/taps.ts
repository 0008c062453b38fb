/**
 * A sparse linear map along one dimension: each output position mixes a run of neighbouring input positions.
 * Resampling of every separable kind is such a map per dimension, and its gradient the map's transpose.
 */
import { foldGrid, linearWorkgroup, memoKernel, type Kernel } from '../base/kernel.js';
import { bindElements, bytesOf, ceilDiv, type Elem, type Plan, type PlanLimits } from '../base/plan.js';
import { reads, shader, writes } from '../base/shader.js';

export interface TapsProblem {
  readonly elem: Elem;
  /** Blocks of `from` (x) and `to` (y) runs of `inner` elements each. */
  readonly outer: number;
  readonly from: number;
  readonly to: number;
  readonly inner: number;
  /** Where x starts, in elements; y starts at 0. */
  readonly offset: number;
}

const group = 64;

const tapsKernel = (elem: Elem): Kernel =>
  memoKernel(`taps|${elem}`, () => ({
    name: 'linearMap',
    params: [
      ['count', 'u32'],
      ['size', 'u32'],
      ['outSize', 'u32'],
      ['inner', 'u32'],
      ['xAt', 'u32'],
      ['yAt', 'u32'],
    ],
    ...shader({
      bindings: [reads('x', elem), reads('rows', 'u32'), reads('weights', 'f32'), writes('y', elem)],
      workgroup: group,
      builtins: ['wid', 'nwg', 'lid'],
      body: `  let i = ${linearWorkgroup} * ${group}u + lid;
  if (i >= p.count) { return; }
  let run = i / p.inner;
  let block = run / p.outSize;
  let row = 3u * (run - block * p.outSize);
  let at = p.xAt + (block * p.size + rows[row]) * p.inner + (i - run * p.inner);
  let first = rows[row + 2u];
  var sum = 0.0;
  for (var k = 0u; k < rows[row + 1u]; k++) {
    let w = weights[first + k];
    // What has no weight counts for nothing, even if it is infinite.
    if (w != 0.0) { sum += w * f32(x[at + k * p.inner]); }
  }
  y[p.yAt + i] = ${elem}(sum);`,
    }),
  }));

/**
 * Buffers `x`, `rows` (three u32 per output position: the first input position, how many there are, and where
 * their weights start), `weights` (f32) and `y`.
 */
export function planTaps(limits: PlanLimits, problem: TapsProblem): Plan {
  const { elem, outer, from, to, inner, offset } = problem;
  const block = Math.max(from, to) * inner * bytesOf(elem);
  const most = Math.max(1, Math.floor((limits.maxBinding - limits.offsetAlignment) / block));
  const launches = [];
  for (let first = 0; first < outer; first += most) {
    const blocks = Math.min(most, outer - first);
    const x = bindElements('x', offset + first * from * inner, blocks * from * inner, elem, limits);
    const y = bindElements('y', first * to * inner, blocks * to * inner, elem, limits);
    const count = blocks * to * inner;
    launches.push({
      kernel: tapsKernel(elem),
      buffers: [x.ref, 'rows', 'weights', y.ref],
      params: [count, from, to, inner, x.offset, y.offset],
      grid: foldGrid(ceilDiv(count, group)),
    });
  }
  return { launches, workspaces: {} };
}
