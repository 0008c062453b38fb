/** What pools of lines, images and volumes share: windows, the launches over images, and the public forms. */
import { defineComposite, defineOp } from '../../autograd/define.js';
import { planMaxPoolGather, planMaxPoolGrad, planAvgPoolGrad } from '../../kernels/images/pool-grad.js';
import {
  planAvgPool,
  planMaxPool,
  planMaxPoolIndices,
  tapWords,
  type Divisor,
  type PoolProblem,
} from '../../kernels/images/pool.js';
import { argumentReader, type Needed, optionReader, required } from '../../tensor/options.js';
import { numel, showShape, type Shape } from '../../tensor/shape.js';
import { Tensor } from '../../tensor/tensor.js';
import { asBatch } from '../base/as-batch.js';
import { fillInto, channelsLast } from '../base/copies.js';
import { elemOf, emptyResult, planLimits, runPlan } from '../base/run-plan.js';
import { sizesOf, type Size2d, type SizeNd } from '../base/sizes.js';

export interface PoolOptions<S extends SizeNd = Size2d> {
  /** Default: the kernel size. */
  stride?: S | null;
  /** At most half the kernel. Maxima never come from the padding. */
  padding?: S;
  /** Round the output size up; the last window still starts inside the image or its left padding. */
  ceilMode?: boolean;
}

export interface MaxPoolOptions<S extends SizeNd = Size2d> extends PoolOptions<S> {
  dilation?: S;
  /** Also return the winners' positions in their image, row-major, int32. */
  returnIndices?: boolean;
}

export interface AvgPoolOptions<S extends SizeNd = Size2d> extends PoolOptions<S> {
  /** Count the padding's zeros. Default true. */
  countIncludePad?: boolean;
  /** Divide by this instead of the window's size. */
  divisorOverride?: number | null;
}

/** A height and width; null keeps the input's. */
export type AdaptiveSize = number | readonly [number | null, number | null];
type AnyAdaptiveSize = number | null | readonly (number | null)[];

// ---- over images

const inputShape = (g: PoolProblem): number[] => [g.n, g.c, g.h, g.w];
const outputShape = (g: PoolProblem): number[] => [g.n, g.c, g.outH, g.outW];

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

// ---- windows

/** @internal How windows lie along one dim; adaptive ones of uneven sizes have a `kernel` with a fraction. */
export interface Axis {
  readonly size: number;
  readonly out: number;
  readonly kernel: number;
  readonly stride: number;
  readonly pad: number;
  readonly dilation: number;
}
/** @internal Rows and columns. */
export type Axes2d = readonly [Axis, Axis];

/** @internal Windows of rows `y` and columns `x` over images [n, c, h, w]. */
export function problemOf(op: string, images: Tensor, [y, x]: Axes2d): PoolProblem {
  const [n, c] = images.shape as [number, number];
  const window =
    Number.isInteger(y.kernel) && Number.isInteger(x.kernel)
      ? {
          kernelH: y.kernel,
          kernelW: x.kernel,
          strideH: y.stride,
          strideW: x.stride,
          padTop: y.pad,
          padLeft: x.pad,
          dilationH: y.dilation,
          dilationW: x.dilation,
        }
      : 'adaptive';
  return { elem: elemOf(op, images.dtype), n, c, h: y.size, w: x.size, outH: y.out, outW: x.out, window };
}

/** `torch.nn.MaxPool2d`'s size rule (https://pytorch.org/docs/stable/generated/torch.nn.MaxPool2d.html). */
function outputSize(size: number, span: number, stride: number, pad: number, ceilMode: boolean): number {
  const steps = (size + 2 * pad - span) / stride;
  const count = (ceilMode ? Math.ceil(steps) : Math.floor(steps)) + 1;
  return ceilMode && (count - 1) * stride >= size + pad ? count - 1 : count;
}

/** The windows of a batch of shape `shape` [N, C, ...]. */
function stridedAxes(
  op: string,
  shape: Shape,
  kernel: SizeNd,
  { stride, padding = 0, dilation = 1, ceilMode = false }: MaxPoolOptions<SizeNd>,
): Axis[] {
  const dims = shape.length - 2;
  const kernels = sizesOf(op, 'the kernel size', kernel, dims, 1);
  const whole = stride === null || stride === undefined || (Array.isArray(stride) && stride.length === 0);
  const strides = whole ? kernels : sizesOf(op, 'stride', stride, dims, 1);
  const pads = sizesOf(op, 'padding', padding, dims, 0);
  const dilations = sizesOf(op, 'dilation', dilation, dims, 1);
  const at = (list: readonly number[], i: number): number => list[i] as number;
  const spans = kernels.map((k, i) => (k - 1) * at(dilations, i) + 1);
  if (pads.some((pad, i) => 2 * pad > at(spans, i)))
    throw new Error(`${op}: padding [${pads.join(', ')}] is more than half of the window ${spans.join('x')}`);
  const axes = kernels.map((k, i) => {
    const [size, s, pad] = [at(shape, i + 2), at(strides, i), at(pads, i)];
    const out = outputSize(size, at(spans, i), s, pad, ceilMode);
    return { size, out, kernel: k, stride: s, pad, dilation: at(dilations, i) };
  });
  if (numel(shape.slice(1)) === 0 || axes.some(({ out }) => out < 1)) {
    throw new Error(
      `${op}: the result for input ${showShape(shape)} and a window of ${spans.join('x')} would have size ${axes.map(({ out }) => out).join('x')}`,
    );
  }
  return axes;
}

const severalOrNull = ['', '', ' or a pair of numbers', ' or three numbers'];

function adaptiveAxes(op: string, shape: Shape, size: AnyAdaptiveSize): Axis[] {
  const sizes = shape.slice(2);
  const given: readonly (number | null)[] = Array.isArray(size) ? size : sizes.map(() => size as number);
  const outs = sizes.map((own, i) => given[i] ?? own);
  if (given.length !== sizes.length || !outs.every((value) => Number.isInteger(value) && value >= 0)) {
    throw new Error(
      `${op}: the output size must be a number${severalOrNull[sizes.length]} (or null), got ${JSON.stringify(size)}`,
    );
  }
  if (numel(shape.slice(1)) === 0)
    throw new Error(`${op}: the input of shape ${showShape(shape)} has an empty dim besides the batch`);
  return sizes.map((own, i) => {
    const out = outs[i] as number;
    return { size: own, out, kernel: own / out, stride: own / out, pad: 0, dilation: 1 };
  });
}

function divisorOf(
  axes: Axes2d,
  { countIncludePad = true, divisorOverride }: AvgPoolOptions<SizeNd>,
): Divisor {
  if (typeof divisorOverride === 'number') return divisorOverride;
  const kernel = axes[0].kernel * axes[1].kernel;
  if (!Number.isInteger(axes[0].kernel) || !Number.isInteger(axes[1].kernel)) return 'inside';
  const past = axes.some((a) => (a.out - 1) * a.stride + a.kernel > a.size + 2 * a.pad);
  if (!past && (countIncludePad || axes.every(({ pad }) => pad === 0))) return kernel;
  return countIncludePad ? 'padded' : 'inside';
}

// ---- public forms

/** @internal A pool of images; `first` is false for a further one over the same windows. */
export type ImagePool = (images: Tensor, axes: Axes2d, first?: boolean) => readonly Tensor[];

/** @internal Runs `pool` over a batch [N, C, ...] with windows of as many dims. */
export type Over = (x: Tensor, axes: readonly Axis[], pool: ImagePool) => readonly Tensor[];

/** @internal A batch of images. */
export const overImages: Over = (x, axes, pool) => pool(x, axes as unknown as Axes2d);

const maxima =
  (op: string, indices: boolean): ImagePool =>
  (images, axes) =>
    maxOp(channelsLast(images), problemOf(op, images, axes), indices);

const means =
  (op: string, options: AvgPoolOptions<SizeNd>): ImagePool =>
  (images, axes, first = true) => {
    const divisor = divisorOf(
      axes,
      first || typeof options.divisorOverride !== 'number' ? options : { divisorOverride: 1 },
    );
    return [avgOp(channelsLast(images), { g: problemOf(op, images, axes), divisor })];
  };

/** The arguments of `P` or the first few of them, then options. */
type Ending<P extends readonly unknown[], O> =
  [...P, options: O] | (P extends readonly [...infer First, unknown] ? Ending<First, O> : never);

type MaxPoolPlaces<S> = [stride: S | null, padding: S, dilation: S, ceilMode: boolean];

/** A max pool; with `returnIndices: true` the result is `[values, indices]`. */
export interface MaxPool<S extends SizeNd> {
  (
    x: Tensor,
    ...args:
      | [k: S, ...Ending<MaxPoolPlaces<S>, MaxPoolOptions<S> & { returnIndices: true }>]
      | [options: MaxPoolOptions<S> & { kernelSize: S; returnIndices: true }]
  ): [values: Tensor, indices: Tensor];
  (x: Tensor, ...args: Needed<[k: S], ['kernelSize'], MaxPoolPlaces<S>, MaxPoolOptions<S>>): Tensor;
}

/** @internal */
export function maxPoolOf<S extends SizeNd>(op: string, dims: number, over: Over): MaxPool<S> {
  const read = optionReader<Required<MaxPoolOptions<SizeNd>> & { kernelSize: S }>(
    op,
    { kernelSize: required(), stride: null, padding: 0, dilation: 1, ceilMode: false, returnIndices: false },
    'kernelSize',
    'stride',
    'padding',
    'dilation',
    'ceilMode',
    'returnIndices',
  );
  return defineComposite(op, ((x: Tensor, ...args: unknown[]) => {
    const options = read(args);
    const { kernelSize: k, returnIndices } = options;
    const results = asBatch(op, x, dims, (batch) =>
      over(batch, stridedAxes(op, batch.shape, k, options), maxima(op, returnIndices)),
    );
    return returnIndices ? results : results[0];
  }) as unknown as MaxPool<S>);
}

export type AvgPool<S extends SizeNd> = (
  x: Tensor,
  ...args: Needed<
    [k: S],
    ['kernelSize'],
    [
      stride: S | null,
      padding: S,
      ceilMode: boolean,
      countIncludePad: boolean,
      divisorOverride: number | null,
    ],
    AvgPoolOptions<S>
  >
) => Tensor;

/** @internal */
export function avgPoolOf<S extends SizeNd>(op: string, dims: number, over: Over): AvgPool<S> {
  const read = optionReader<Required<AvgPoolOptions<SizeNd>> & { kernelSize: S }>(
    op,
    {
      kernelSize: required(),
      stride: null,
      padding: 0,
      ceilMode: false,
      countIncludePad: true,
      divisorOverride: null,
    },
    'kernelSize',
    'stride',
    'padding',
    'ceilMode',
    'countIncludePad',
    'divisorOverride',
  );
  return defineComposite(op, (x: Tensor, ...args: readonly unknown[]): Tensor => {
    const { kernelSize: k, ...options } = read(args);
    if (options.divisorOverride === 0) throw new Error(`${op}: divisorOverride must not be 0`);
    const pool = (batch: Tensor): readonly Tensor[] => {
      const { stride, padding, ceilMode } = options;
      return over(batch, stridedAxes(op, batch.shape, k, { stride, padding, ceilMode }), means(op, options));
    };
    return asBatch(op, x, dims, pool)[0] as Tensor;
  });
}

export type AdaptiveAvgPool<S> = (x: Tensor, ...args: Needed<[size: S], ['outputSize']>) => Tensor;

/** @internal */
export const adaptiveAvgPoolOf = <S extends AnyAdaptiveSize>(
  op: string,
  dims: number,
  over: Over,
): AdaptiveAvgPool<S> => {
  const read = argumentReader<[outputSize: S]>(op, 'outputSize');
  return defineComposite(op, (x: Tensor, ...args: readonly unknown[]): Tensor => {
    const [size] = read(args);
    const pool = (batch: Tensor): readonly Tensor[] =>
      over(batch, adaptiveAxes(op, batch.shape, size), means(op, {}));
    return asBatch(op, x, dims, pool)[0] as Tensor;
  });
};

/** An adaptive max pool; with `returnIndices: true` the result is `[values, indices]`. */
export interface AdaptiveMaxPool<S> {
  (
    x: Tensor,
    ...args:
      [size: S, options: true | { returnIndices: true }] | [options: { outputSize: S; returnIndices: true }]
  ): [values: Tensor, indices: Tensor];
  (
    x: Tensor,
    ...args: Needed<[size: S], ['outputSize'], [returnIndices: boolean], { returnIndices?: boolean }>
  ): Tensor;
}

/** @internal */
export function adaptiveMaxPoolOf<S extends AnyAdaptiveSize>(
  op: string,
  dims: number,
  over: Over,
): AdaptiveMaxPool<S> {
  const read = optionReader(
    op,
    { outputSize: required<S>(), returnIndices: false },
    'outputSize',
    'returnIndices',
  );
  return defineComposite(op, ((x: Tensor, ...args: unknown[]) => {
    const { outputSize: size, returnIndices } = read(args);
    const results = asBatch(op, x, dims, (batch) =>
      over(batch, adaptiveAxes(op, batch.shape, size), maxima(op, returnIndices)),
    );
    return returnIndices ? results : results[0];
  }) as unknown as AdaptiveMaxPool<S>);
}
