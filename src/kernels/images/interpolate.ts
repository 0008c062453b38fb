/**
 * Resampling of channels-last images by PyTorch's coordinate rules (ATen/native/UpSample.h), and its
 * transpose in gather form: an input pixel looks at the few output pixels that may have read it, and takes
 * the weight that the forward rule gives.
 */
import {
  inputItem,
  operand,
  outputItem,
  planImages,
  threadText,
  type ImageKernel,
  type ImageProblem,
} from './images.js';
import type { Plan, PlanLimits } from '../base/plan.js';

export interface InterpolateProblem extends ImageProblem {
  readonly mode: 'nearest' | 'bilinear';
  readonly alignCorners: boolean;
  /** Input pixels per output pixel. */
  readonly scaleH: number;
  readonly scaleW: number;
}

/**
 * `sourceOf(i, size, scale)`: the two input coordinates that output coordinate `i` mixes, and the weight of
 * the second. Nearest: `floor(i scale)` alone. Bilinear: around `(i + 1/2) scale - 1/2`, at least 0; with
 * aligned corners around `i scale`.
 */
function sourceText({ mode, alignCorners }: InterpolateProblem): string {
  if (mode === 'nearest') {
    return `
struct Source { low: u32, high: u32, mix: f32 }
fn sourceOf(i: u32, size: u32, scale: f32) -> Source {
  let low = min(u32(floor(f32(i) * scale)), size - 1u);
  return Source(low, low, 0.0);
}`;
  }
  const at = alignCorners ? 'f32(i) * scale' : 'max((f32(i) + 0.5) * scale - 0.5, 0.0)';
  return `
struct Source { low: u32, high: u32, mix: f32 }
fn sourceOf(i: u32, size: u32, scale: f32) -> Source {
  let at = ${at};
  let low = min(u32(floor(at)), size - 1u);
  return Source(low, min(low + 1u, size - 1u), clamp(at - f32(low), 0.0, 1.0));
}`;
}

const laneOf = ({ c }: ImageProblem): 1 | 4 => (c % 4 === 0 ? 4 : 1);

function kernelOf(problem: InterpolateProblem, rest: Omit<ImageKernel, 'key' | 'params'>): ImageKernel {
  return {
    ...rest,
    key: `${problem.mode}:${problem.alignCorners}`,
    params: [
      ['scaleH', 'f32', problem.scaleH],
      ['scaleW', 'f32', problem.scaleW],
    ],
  };
}

/** Buffers `x y`. */
export function planInterpolate(limits: PlanLimits, problem: InterpolateProblem): Plan {
  const width = laneOf(problem);
  const load = (iy: string, ix: string): string =>
    `T(x[p.xAt + ((gid.z * p.h + ${iy}) * p.w + ${ix}) * p.lanes + lane])`;
  const value =
    problem.mode === 'nearest'
      ? load('sy.low', 'sx.low')
      : `(1.0 - sy.mix) * ((1.0 - sx.mix) * ${load('sy.low', 'sx.low')} + sx.mix * ${load('sy.low', 'sx.high')})
    + sy.mix * ((1.0 - sx.mix) * ${load('sy.high', 'sx.low')} + sx.mix * ${load('sy.high', 'sx.high')})`;
  const spec = kernelOf(problem, {
    name: 'interpolate',
    operands: [operand(problem, 'x', 'in', width), operand(problem, 'y', 'out', width, true)],
    across: problem.outW * (problem.c / width),
    down: problem.outH,
    functions: () => sourceText(problem),
    body: () => `${threadText('p.outW', 'o')}
  let sy = sourceOf(oy, p.h, p.scaleH);
  let sx = sourceOf(ox, p.w, p.scaleW);
  y[p.yAt + ${outputItem}] = S(${value});`,
  });
  return planImages(problem, limits, width, spec);
}

/** The transpose of {@link planInterpolate}; buffers `dy dx`. */
export function planInterpolateGrad(limits: PlanLimits, problem: InterpolateProblem): Plan {
  const width = laneOf(problem);
  // Where the forward coordinate passes i - 1 and i + 1.
  const [first, last] =
    problem.mode === 'nearest'
      ? ['f32(i) / scale', '(f32(i) + 1.0) / scale']
      : problem.alignCorners
        ? ['(f32(i) - 1.0) / scale', '(f32(i) + 1.0) / scale']
        : ['(f32(i) - 0.5) / scale - 0.5', '(f32(i) + 1.5) / scale - 0.5'];
  const spec = kernelOf(problem, {
    name: 'interpolateBackward',
    operands: [operand(problem, 'dy', 'out', width), operand(problem, 'dx', 'in', width, true)],
    across: problem.w * (problem.c / width),
    down: problem.h,
    functions: () => `${sourceText(problem)}
// Output coordinates that may read input coordinate i: some more on either side than exact arithmetic would
// need.
fn readersOf(i: u32, size: u32, out: u32, scale: f32) -> vec2<u32> {
  if (scale == 0.0) { return vec2<u32>(0u, out); }
  let low = select(u32(max(floor(${first}) - 1.0, 0.0)), 0u, i == 0u);
  let high = select(u32(max(ceil(${last}) + 2.0, 0.0)), out, i == size - 1u);
  return vec2<u32>(min(low, out), min(high, out));
}
fn weightOf(s: Source, i: u32) -> f32 { return select(0.0, 1.0 - s.mix, s.low == i) + select(0.0, s.mix, s.high == i); }`,
    body: () => `${threadText('p.w', 'i')}
  let rows = readersOf(iy, p.h, p.outH, p.scaleH);
  let columns = readersOf(ix, p.w, p.outW, p.scaleW);
  var sum = T();
  for (var oy = rows.x; oy < rows.y; oy++) {
    let wy = weightOf(sourceOf(oy, p.h, p.scaleH), iy);
    if (wy == 0.0) { continue; }
    for (var ox = columns.x; ox < columns.y; ox++) {
      let wx = weightOf(sourceOf(ox, p.w, p.scaleW), ix);
      if (wx != 0.0) { sum += (wy * wx) * T(dy[p.dyAt + ${outputItem}]); }
    }
  }
  dx[p.dxAt + ${inputItem}] = S(sum);`,
  });
  return planImages(problem, limits, width, spec);
}
