import { defineComposite, defineOp } from '../autograd/define.js';
import {
  planInterpolate,
  planInterpolateGrad,
  type InterpolateProblem,
} from '../kernels/images/interpolate.js';
import { numel, showShape } from '../tensor/shape.js';
import type { Tensor } from '../tensor/tensor.js';
import { fillInto, channelsLast } from './copies.js';
import { elemOf, emptyResult, planLimits, runPlan } from './run-plan.js';
import { pairOf, type Size2d } from './size2d.js';

export interface InterpolateOptions {
  /** The new height and width; or else `scaleFactor`. */
  size?: Size2d | null;
  /** Factor of height and width; sizes are rounded down. */
  scaleFactor?: Size2d | null;
  /** Default `'nearest'`. */
  mode?: 'nearest' | 'bilinear';
  /** Bilinear: let the corner pixels' centres coincide, rather than the images' edges. Default false. */
  alignCorners?: boolean | null;
}

/** Linear in `x`; {@link transposedOp} is its transpose. `x` is channels-last. */
const interpolateOp: (x: Tensor, problem: InterpolateProblem) => Tensor = defineOp<
  [Tensor, InterpolateProblem],
  Tensor,
  InterpolateProblem
>({
  name: 'interpolate',
  forward(ctx, x, problem) {
    ctx.state = problem;
    const { n, c, outH, outW } = problem;
    const y = emptyResult('interpolate', [n, c, outH, outW], x.dtype);
    if (y.numel() > 0) runPlan('interpolate', planInterpolate(planLimits(), problem), { x, y });
    return y;
  },
  backward: (ctx, grad) => [() => transposedOp(channelsLast(grad), ctx.state)],
});

const transposedOp: (dy: Tensor, problem: InterpolateProblem) => Tensor = defineOp<
  [Tensor, InterpolateProblem],
  Tensor,
  InterpolateProblem
>({
  name: 'interpolateBackward',
  forward(ctx, dy, problem) {
    ctx.state = problem;
    const { n, c, h, w } = problem;
    const dx = emptyResult('interpolateBackward', [n, c, h, w], dy.dtype);
    if (dy.numel() === 0) fillInto(dx, 0);
    else runPlan('interpolateBackward', planInterpolateGrad(planLimits(), problem), { dy, dx });
    return dx;
  },
  backward: (ctx, grad) => [() => interpolateOp(channelsLast(grad), ctx.state)],
});

function problemOf(x: Tensor, options: InterpolateOptions): InterpolateProblem {
  const op = 'interpolate';
  const { size = null, scaleFactor = null, mode = 'nearest', alignCorners = null } = options;
  if (x.ndim !== 4 || numel(x.shape.slice(1)) === 0)
    throw new Error(`${op}: expected a non-empty input of shape [N, C, H, W], got ${showShape(x.shape)}`);
  if (mode !== 'nearest' && mode !== 'bilinear')
    throw new Error(`${op}: mode must be 'nearest' or 'bilinear', got '${String(mode)}'`);
  if (mode === 'nearest' && alignCorners !== null)
    throw new Error(`${op}: alignCorners goes with mode 'bilinear' only`);
  if ((size === null) === (scaleFactor === null)) throw new Error(`${op}: give either size or scaleFactor`);
  const [n, c, h, w] = x.shape as [number, number, number, number];
  let out: readonly [number, number];
  let factors: readonly [number, number] | null = null;
  if (scaleFactor !== null) {
    factors = typeof scaleFactor === 'number' ? [scaleFactor, scaleFactor] : scaleFactor;
    if (factors.length !== 2 || !factors.every((f) => f > 0 && Number.isFinite(f))) {
      throw new Error(
        `${op}: scaleFactor must be a positive number or a pair of them, got ${JSON.stringify(scaleFactor)}`,
      );
    }
    out = [Math.floor(h * factors[0]), Math.floor(w * factors[1])];
    if (out[0] < 1 || out[1] < 1)
      throw new Error(`${op}: scaleFactor ${JSON.stringify(scaleFactor)} makes ${showShape(x.shape)} empty`);
  } else {
    out = pairOf(op, 'size', size as Size2d, 1);
  }
  const aligned = alignCorners ?? false;
  // A given factor is used as it is, even where rounding the size changed the true one.
  const scale = (from: number, to: number, factor: number | undefined): number => {
    if (aligned) return to > 1 ? (from - 1) / (to - 1) : 0;
    return factor === undefined ? from / to : 1 / factor;
  };
  const [outH, outW] = out;
  const scaleH = scale(h, outH, factors?.[0]);
  const scaleW = scale(w, outW, factors?.[1]);
  return { elem: elemOf(op, x.dtype), n, c, h, w, outH, outW, mode, alignCorners: aligned, scaleH, scaleW };
}

/**
 * `torch.nn.functional.interpolate`: resamples `x` [N, C, H, W] to `size`, or by `scaleFactor`
 * (https://pytorch.org/docs/stable/generated/torch.nn.functional.interpolate.html). The result is stored
 * channels-last.
 */
export const interpolate: (x: Tensor, options: InterpolateOptions) => Tensor = defineComposite(
  'interpolate',
  (x: Tensor, options: InterpolateOptions): Tensor => {
    const problem = problemOf(x, options);
    return interpolateOp(channelsLast(x), problem);
  },
);
