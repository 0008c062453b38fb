import { defineComposite, defineOp } from '../autograd/define.js';
import { planMaxPoolGather, planMaxPoolGrad, planAvgPoolGrad } from '../kernels/images/pool-grad.js';
import {
  planAvgPool,
  planMaxPool,
  planMaxPoolIndices,
  tapWords,
  type Divisor,
  type PoolProblem,
  type StridedWindow,
} from '../kernels/images/pool.js';
import { numel, showShape } from '../tensor/shape.js';
import { Tensor } from '../tensor/tensor.js';
import { fillInto, channelsLast } from './copies.js';
import { elemOf, emptyResult, planLimits, runPlan } from './run-plan.js';
import { pairOf, type Size2d } from './size2d.js';
import { reshape } from './view.js';

interface PoolOptions {
  /** Default: the kernel size. */
  stride?: Size2d | null;
  /** At most half the kernel. Maxima never come from the padding. */
  padding?: Size2d;
  /** Round the output size up; the last window still starts inside the image or its left padding. */
  ceilMode?: boolean;
}

export interface MaxPool2dOptions extends PoolOptions {
  dilation?: Size2d;
  /** Also return the winners' positions `row * W + column`, int32. */
  returnIndices?: boolean;
}

export interface AvgPool2dOptions extends PoolOptions {
  /** Count the padding's zeros. Default true. */
  countIncludePad?: boolean;
  /** Divide by this instead of the window's size. */
  divisorOverride?: number | null;
}

/** A height and width; null keeps the input's. */
export type AdaptiveSize = number | readonly [number | null, number | null];

const inputShape = (g: PoolProblem): number[] => [g.n, g.c, g.h, g.w];
const outputShape = (g: PoolProblem): number[] => [g.n, g.c, g.outH, g.outW];

// ---- max

/** The maxima, and with `indices` where they were. `x` is channels-last. */
const maxOp: (x: Tensor, g: PoolProblem, indices: boolean) => readonly Tensor[] = defineOp<
  [Tensor, PoolProblem, boolean],
  readonly Tensor[],
  PoolProblem
>({
  name: 'maxPool2d',
  forward(ctx, x, g, indices) {
    ctx.state = g;
    const y = emptyResult('maxPool2d', outputShape(g), x.dtype);
    const places = indices ? emptyResult('maxPool2d', outputShape(g), 'int32') : null;
    if (y.numel() > 0) {
      const taps = ctx.needs[0] || indices ? Tensor.empty([tapWords(g)], 'int32', 'maxPool2d (taps)') : null;
      runPlan('maxPool2d', planMaxPool(planLimits(), g, taps !== null), { x, y, ...(taps && { taps }) });
      if (taps && places)
        runPlan('maxPool2d', planMaxPoolIndices(planLimits(), g), { taps, indices: places });
      ctx.save(taps);
    }
    return places === null ? [y] : [y, places];
  },
  backward: (ctx, grad) => [() => maxBackwardOp(channelsLast(grad), ctx.saved[0] ?? null, ctx.state)],
});

/** Linear in `dy`, and its own transpose is {@link maxGatherOp}. */
const maxBackwardOp: (dy: Tensor, taps: Tensor | null, g: PoolProblem) => Tensor = defineOp<
  [Tensor, Tensor | null, PoolProblem],
  Tensor,
  PoolProblem
>({
  name: 'maxPool2dBackward',
  forward(ctx, dy, taps, g) {
    ctx.state = g;
    ctx.save(taps);
    const dx = emptyResult('maxPool2dBackward', inputShape(g), dy.dtype);
    if (taps === null) fillInto(dx, 0);
    else runPlan('maxPool2dBackward', planMaxPoolGrad(planLimits(), g), { dy, taps, dx });
    return dx;
  },
  backward: (ctx, grad) => [() => maxGatherOp(channelsLast(grad), ctx.saved[0] ?? null, ctx.state), null],
});

const maxGatherOp: (x: Tensor, taps: Tensor | null, g: PoolProblem) => Tensor = defineOp<
  [Tensor, Tensor | null, PoolProblem],
  Tensor,
  PoolProblem
>({
  name: 'maxPool2dGather',
  forward(ctx, x, taps, g) {
    ctx.state = g;
    ctx.save(taps);
    const y = emptyResult('maxPool2dGather', outputShape(g), x.dtype);
    if (taps !== null) runPlan('maxPool2dGather', planMaxPoolGather(planLimits(), g), { x, taps, y });
    return y;
  },
  backward: (ctx, grad) => [() => maxBackwardOp(channelsLast(grad), ctx.saved[0] ?? null, ctx.state), null],
});

// ---- average

interface AvgState {
  readonly g: PoolProblem;
  readonly divisor: Divisor;
}

const avgOp: (x: Tensor, state: AvgState) => Tensor = defineOp<[Tensor, AvgState], Tensor, AvgState>({
  name: 'avgPool2d',
  forward(ctx, x, state) {
    ctx.state = state;
    const y = emptyResult('avgPool2d', outputShape(state.g), x.dtype);
    if (y.numel() > 0) runPlan('avgPool2d', planAvgPool(planLimits(), state.g, state.divisor), { x, y });
    return y;
  },
  backward: (ctx, grad) => [() => avgBackwardOp(channelsLast(grad), ctx.state)],
});

/** The transpose of {@link avgOp}. */
const avgBackwardOp: (dy: Tensor, state: AvgState) => Tensor = defineOp<[Tensor, AvgState], Tensor, AvgState>(
  {
    name: 'avgPool2dBackward',
    forward(ctx, dy, state) {
      ctx.state = state;
      const dx = emptyResult('avgPool2dBackward', inputShape(state.g), dy.dtype);
      if (dy.numel() === 0) fillInto(dx, 0);
      else runPlan('avgPool2dBackward', planAvgPoolGrad(planLimits(), state.g, state.divisor), { dy, dx });
      return dx;
    },
    backward: (ctx, grad) => [() => avgOp(channelsLast(grad), ctx.state)],
  },
);

// ---- shapes

/** Runs on [N, C, H, W], also for an unbatched [C, H, W] input, whose results lose the batch dim again. */
function images(op: string, x: Tensor, run: (x: Tensor) => readonly Tensor[]): readonly Tensor[] {
  elemOf(op, x.dtype);
  if (x.ndim === 4) return run(channelsLast(x));
  if (x.ndim !== 3)
    throw new Error(`${op}: expected an input of shape [N, C, H, W] or [C, H, W], got ${showShape(x.shape)}`);
  return run(channelsLast(reshape(x, [1, ...x.shape]))).map((y) => reshape(y, y.shape.slice(1)));
}

/** `torch.nn.MaxPool2d`'s size rule (https://pytorch.org/docs/stable/generated/torch.nn.MaxPool2d.html). */
function outputSize(size: number, span: number, stride: number, pad: number, ceilMode: boolean): number {
  const steps = (size + 2 * pad - span) / stride;
  const count = (ceilMode ? Math.ceil(steps) : Math.floor(steps)) + 1;
  return ceilMode && (count - 1) * stride >= size + pad ? count - 1 : count;
}

function stridedProblem(
  op: string,
  x: Tensor,
  kernel: Size2d,
  options: PoolOptions,
  dilation: Size2d,
): PoolProblem & { window: StridedWindow } {
  const { stride, padding = 0, ceilMode = false } = options;
  const [kernelH, kernelW] = pairOf(op, 'the kernel size', kernel, 1);
  const [strideH, strideW] = pairOf(op, 'stride', stride ?? kernel, 1);
  const [padTop, padLeft] = pairOf(op, 'padding', padding, 0);
  const [dilationH, dilationW] = pairOf(op, 'dilation', dilation, 1);
  const [n, c, h, w] = x.shape as [number, number, number, number];
  const [spanH, spanW] = [(kernelH - 1) * dilationH + 1, (kernelW - 1) * dilationW + 1];
  if (2 * padTop > spanH || 2 * padLeft > spanW) {
    throw new Error(
      `${op}: padding [${padTop}, ${padLeft}] is more than half of the window ${spanH}x${spanW}`,
    );
  }
  const outH = outputSize(h, spanH, strideH, padTop, ceilMode);
  const outW = outputSize(w, spanW, strideW, padLeft, ceilMode);
  if (numel([c, h, w]) === 0 || outH < 1 || outW < 1) {
    throw new Error(
      `${op}: the result for input ${showShape(x.shape)} and a window of ${spanH}x${spanW} would have size ${outH}x${outW}`,
    );
  }
  const window = { kernelH, kernelW, strideH, strideW, padTop, padLeft, dilationH, dilationW };
  return { elem: elemOf(op, x.dtype), n, c, h, w, outH, outW, window };
}

/** Where the output divides the input the windows are ordinary ones. */
function adaptiveProblem(op: string, x: Tensor, size: AdaptiveSize): PoolProblem {
  const [n, c, h, w] = x.shape as [number, number, number, number];
  const wanted = typeof size === 'number' ? [size, size] : size;
  const [outH = h, outW = w] = wanted.map((value) => value ?? undefined);
  if (wanted.length !== 2 || ![outH, outW].every((value) => Number.isInteger(value) && value >= 0)) {
    throw new Error(
      `${op}: the output size must be a number or a pair of numbers (or null), got ${JSON.stringify(size)}`,
    );
  }
  if (numel([c, h, w]) === 0)
    throw new Error(`${op}: the input of shape ${showShape(x.shape)} has an empty dim besides the batch`);
  const even = outH > 0 && outW > 0 && h % outH === 0 && w % outW === 0;
  const [kernelH, kernelW] = [h / outH, w / outW];
  const window = {
    kernelH,
    kernelW,
    strideH: kernelH,
    strideW: kernelW,
    padTop: 0,
    padLeft: 0,
    dilationH: 1,
    dilationW: 1,
  };
  return { elem: elemOf(op, x.dtype), n, c, h, w, outH, outW, window: even ? window : 'adaptive' };
}

function divisorOf(
  op: string,
  g: PoolProblem & { window: StridedWindow },
  { countIncludePad = true, divisorOverride }: AvgPool2dOptions,
): Divisor {
  if (typeof divisorOverride === 'number') {
    if (divisorOverride === 0) throw new Error(`${op}: divisorOverride must not be 0`);
    return divisorOverride;
  }
  const { kernelH, kernelW, strideH, strideW, padTop, padLeft } = g.window;
  const past =
    (g.outH - 1) * strideH + kernelH > g.h + 2 * padTop ||
    (g.outW - 1) * strideW + kernelW > g.w + 2 * padLeft;
  if (!past && (countIncludePad || (padTop === 0 && padLeft === 0))) return kernelH * kernelW;
  return countIncludePad ? 'padded' : 'inside';
}

// ---- public

/**
 * `torch.nn.functional.max_pool2d`: the largest value (NaN first) of each `k` window of `x` [N, C, H, W] or
 * [C, H, W]; `Hout = floor((H + 2 padding - dilation (k - 1) - 1) / stride + 1)`. The gradient goes to the
 * first of equal maxima. With `returnIndices` the result is `[values, indices]`.
 */
export interface MaxPool2d {
  (
    x: Tensor,
    k: Size2d,
    options: MaxPool2dOptions & { returnIndices: true },
  ): [values: Tensor, indices: Tensor];
  (x: Tensor, k: Size2d, options?: MaxPool2dOptions): Tensor;
}

export const maxPool2d: MaxPool2d = defineComposite('maxPool2d', ((
  x: Tensor,
  k: Size2d,
  options: MaxPool2dOptions = {},
) => {
  const results = images('maxPool2d', x, (input) =>
    maxOp(
      input,
      stridedProblem('maxPool2d', input, k, options, options.dilation ?? 1),
      options.returnIndices ?? false,
    ),
  );
  return options.returnIndices ? results : results[0];
}) as MaxPool2d);

/**
 * `torch.nn.functional.avg_pool2d`: the mean of each `k` window of `x` [N, C, H, W] or [C, H, W]; sizes as
 * {@link maxPool2d}.
 */
export const avgPool2d: (x: Tensor, k: Size2d, options?: AvgPool2dOptions) => Tensor = defineComposite(
  'avgPool2d',
  (x: Tensor, k: Size2d, options: AvgPool2dOptions = {}): Tensor => {
    const pool = (input: Tensor): readonly Tensor[] => {
      const g = stridedProblem('avgPool2d', input, k, options, 1);
      return [avgOp(input, { g, divisor: divisorOf('avgPool2d', g, options) })];
    };
    return images('avgPool2d', x, pool)[0] as Tensor;
  },
);

/**
 * `torch.nn.functional.adaptive_avg_pool2d`: `x` [N, C, H, W] or [C, H, W] to `size`; output row `o` is the
 * mean of input rows `floor(o H / Hout)` up to (not including) `ceil((o + 1) H / Hout)`.
 */
export const adaptiveAvgPool2d: (x: Tensor, size: AdaptiveSize) => Tensor = defineComposite(
  'adaptiveAvgPool2d',
  (x: Tensor, size: AdaptiveSize): Tensor => {
    const pool = (input: Tensor): readonly Tensor[] => {
      const g = adaptiveProblem('adaptiveAvgPool2d', input, size);
      return [
        avgOp(input, {
          g,
          divisor: g.window === 'adaptive' ? 'inside' : g.window.kernelH * g.window.kernelW,
        }),
      ];
    };
    return images('adaptiveAvgPool2d', x, pool)[0] as Tensor;
  },
);

export interface AdaptiveMaxPool2d {
  (x: Tensor, size: AdaptiveSize, options: { returnIndices: true }): [values: Tensor, indices: Tensor];
  (x: Tensor, size: AdaptiveSize, options?: { returnIndices?: boolean }): Tensor;
}

/**
 * `torch.nn.functional.adaptive_max_pool2d`: windows as {@link adaptiveAvgPool2d}, maxima as {@link
 * maxPool2d}.
 */
export const adaptiveMaxPool2d: AdaptiveMaxPool2d = defineComposite('adaptiveMaxPool2d', ((
  x: Tensor,
  size: AdaptiveSize,
  { returnIndices = false }: { returnIndices?: boolean } = {},
) => {
  const results = images('adaptiveMaxPool2d', x, (input) =>
    maxOp(input, adaptiveProblem('adaptiveMaxPool2d', input, size), returnIndices),
  );
  return returnIndices ? results : results[0];
}) as AdaptiveMaxPool2d);
