import { defineComposite, defineOp } from '../../autograd/define.js';
import {
  planInterpolate,
  planInterpolateGrad,
  type InterpolateProblem,
} from '../../kernels/images/interpolate.js';
import { isFloatingPoint } from '../../tensor/dtype.js';
import { optionReader, type Trailing } from '../../tensor/options.js';
import { numel, showShape } from '../../tensor/shape.js';
import { Tensor } from '../../tensor/tensor.js';
import { fillInto, channelsLast } from '../base/copies.js';
import { indexSelect } from '../gather/gather.js';
import { applyLinearMap } from '../matmul/linear-map.js';
import { resamplingMap, scaleOf, sourceAt, type ResampleMode } from './resample.js';
import { elemOf, emptyResult, planLimits, runPlan } from '../base/run-plan.js';

export type InterpolateMode =
  'nearest' | 'linear' | 'bilinear' | 'bicubic' | 'trilinear' | 'area' | 'nearest-exact';

/** One number for every spatial dim, or a number per dim. */
export type PerDim = number | readonly number[];

export interface InterpolateOptions {
  /** The new spatial sizes; or else `scaleFactor`. */
  size?: PerDim | null;
  /** Factor of the spatial sizes; they are rounded down. */
  scaleFactor?: PerDim | null;
  /** Default `'nearest'`. */
  mode?: InterpolateMode;
  /**
   * Linear and cubic modes: let the corner pixels' centres coincide, rather than the images' edges. Default
   * false.
   */
  alignCorners?: boolean | null;
  /** Scale by the ratio of the sizes, even where `scaleFactor` gave another one before rounding. */
  recomputeScaleFactor?: boolean | null;
  /** Bilinear and bicubic: widen the filter when sizes shrink, as Pillow does. Default false. */
  antialias?: boolean;
}

/** What follows the tensor of {@link interpolate}. */
export type InterpolateArgs = Trailing<
  [
    size: PerDim | null | undefined,
    scaleFactor: PerDim | null | undefined,
    mode: InterpolateMode,
    alignCorners: boolean | null | undefined,
    recomputeScaleFactor: boolean | null | undefined,
    antialias: boolean,
  ],
  InterpolateOptions
>;

/** Linear in `x`; {@link transposedOp} is its transpose. `x` is channels-last. */
const imageOp: (x: Tensor, problem: InterpolateProblem) => Tensor = defineOp<
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
  backward: (ctx, grad) => [() => imageOp(channelsLast(grad), ctx.state)],
});

/** The kinds of filter, and how many spatial dims each works on. */
const kinds: Readonly<Record<InterpolateMode, readonly [kind: ResampleMode, dims: readonly number[]]>> = {
  nearest: ['nearest', [1, 2, 3]],
  'nearest-exact': ['nearest-exact', [1, 2, 3]],
  area: ['area', [1, 2, 3]],
  linear: ['linear', [1]],
  bilinear: ['linear', [2]],
  trilinear: ['linear', [3]],
  bicubic: ['cubic', [2]],
};

function perDim(op: string, what: string, value: PerDim, rank: number, whole: boolean): readonly number[] {
  const list = typeof value === 'number' ? new Array<number>(rank).fill(value) : value;
  const good = (v: number): boolean => (whole ? Number.isInteger(v) && v >= 1 : v > 0 && Number.isFinite(v));
  if (list.length !== rank || !list.every(good)) {
    throw new Error(
      `${op}: ${what} must be a positive ${whole ? 'integer' : 'number'}, or ${rank} of them, got ${JSON.stringify(value)}`,
    );
  }
  return list;
}

const readOptions = optionReader<Required<InterpolateOptions>>(
  'interpolate',
  {
    size: null,
    scaleFactor: null,
    mode: 'nearest',
    alignCorners: null,
    recomputeScaleFactor: null,
    antialias: false,
  },
  'size',
  'scaleFactor',
  'mode',
  'alignCorners',
  'recomputeScaleFactor',
  'antialias',
);

interface Resize {
  readonly kind: ResampleMode;
  readonly out: readonly number[];
  /** Input positions per output position. */
  readonly scales: readonly number[];
  readonly aligned: boolean;
  readonly antialias: boolean;
}

function resizeOf(op: string, x: Tensor, options: Required<InterpolateOptions>): Resize {
  const { size, scaleFactor, mode, alignCorners, recomputeScaleFactor, antialias } = options;
  const spatial = x.shape.slice(2);
  const rank = spatial.length;
  if (rank < 1 || rank > 3 || numel(x.shape.slice(1)) === 0) {
    throw new Error(
      `${op}: expected a non-empty input of shape [N, C, ...] with 1 to 3 spatial dims, got ${showShape(x.shape)}`,
    );
  }
  if (!Object.hasOwn(kinds, mode))
    throw new Error(`${op}: mode must be one of ${Object.keys(kinds).join(', ')}, got '${String(mode)}'`);
  const [kind, ranks] = kinds[mode];
  if (!ranks.includes(rank)) {
    throw new Error(
      `${op}: mode '${mode}' works on ${ranks[0]} spatial dims, and input ${showShape(x.shape)} has ${rank}`,
    );
  }
  if (alignCorners !== null && kind !== 'linear' && kind !== 'cubic')
    throw new Error(`${op}: alignCorners goes with the linear and cubic modes only`);
  if (antialias && mode !== 'bilinear' && mode !== 'bicubic')
    throw new Error(`${op}: antialias goes with modes 'bilinear' and 'bicubic' only`);
  if ((size === null) === (scaleFactor === null)) throw new Error(`${op}: give either size or scaleFactor`);
  if (recomputeScaleFactor === true && size !== null)
    throw new Error(`${op}: recomputeScaleFactor needs scaleFactor`);
  const factors = scaleFactor === null ? null : perDim(op, 'scaleFactor', scaleFactor, rank, false);
  const out =
    factors === null
      ? perDim(op, 'size', size as PerDim, rank, true)
      : spatial.map((n, d) => Math.floor(n * (factors[d] as number)));
  if (out.some((n) => n < 1))
    throw new Error(`${op}: scaleFactor ${JSON.stringify(scaleFactor)} makes ${showShape(x.shape)} empty`);
  const aligned = alignCorners ?? false;
  // A given factor is used as it is, even where rounding the size changed the true one.
  const given = recomputeScaleFactor === true ? null : factors;
  const scales = spatial.map((n, d) => scaleOf(n, out[d] as number, aligned, given?.[d]));
  return { kind, out, scales, aligned, antialias };
}

function resized(x: Tensor, { kind, out, scales, aligned, antialias }: Resize): Tensor {
  const [scaleH, scaleW] = scales as [number, number];
  const isFloat = isFloatingPoint(x.dtype);
  const elem = isFloat || !kind.startsWith('nearest') ? elemOf('interpolate', x.dtype) : null;
  if (elem !== null && out.length === 2 && (kind === 'nearest' || kind === 'linear') && !antialias) {
    const [n, c, h, w] = x.shape as [number, number, number, number];
    const [outH, outW] = out as [number, number];
    const mode = kind === 'nearest' ? 'nearest' : 'bilinear';
    const sizes = { elem, n, c, h, w, outH, outW };
    return imageOp(channelsLast(x), { ...sizes, mode, alignCorners: aligned, scaleH, scaleW });
  }
  // What shrinks most goes first: the rest then has less to do.
  const dims = out.map((_, d) => d);
  const growth = (d: number): number => (out[d] as number) / (x.shape[d + 2] as number);
  dims.sort((a, b) => growth(a) - growth(b));
  return dims.reduce((y, d) => {
    const [from, to, scale] = [x.shape[d + 2], out[d], scales[d]] as [number, number, number];
    if (!isFloat) {
      const at = Array.from({ length: to }, (_, i) => sourceAt(kind, i, from, scale));
      return indexSelect(y, d + 2, Tensor.fromHost(at, [to], 'int32'));
    }
    return applyLinearMap(y, d + 2, resamplingMap(kind, from, to, scale, aligned, antialias));
  }, x);
}

/**
 * `torch.nn.functional.interpolate`: resamples `x` [N, C, ...] with 1 to 3 spatial dims to `size`, or by
 * `scaleFactor` (https://pytorch.org/docs/stable/generated/torch.nn.functional.interpolate.html). Images
 * of floats resampled by modes `'nearest'` and `'bilinear'` are stored channels-last.
 *
 * @throws Error for integers, which only modes `'nearest'` and `'nearest-exact'` take
 */
export const interpolate: (x: Tensor, ...args: InterpolateArgs) => Tensor = defineComposite(
  'interpolate',
  (x: Tensor, ...args: InterpolateArgs): Tensor => resized(x, resizeOf('interpolate', x, readOptions(args))),
);

/** `torch.nn.functional.upsample`: {@link interpolate} by its older name. */
export const upsample = (
  x: Tensor,
  ...args: Trailing<
    [
      size: PerDim | null | undefined,
      scaleFactor: PerDim | null | undefined,
      mode: InterpolateMode,
      alignCorners: boolean | null | undefined,
    ],
    Omit<InterpolateOptions, 'recomputeScaleFactor' | 'antialias'>
  >
): Tensor => interpolate(x, ...args);

/** What follows the tensor of {@link upsampleNearest} and {@link upsampleBilinear}. */
export type UpsampleArgs = Trailing<
  [size: PerDim | null | undefined, scaleFactor: PerDim | null | undefined],
  { size?: PerDim | null; scaleFactor?: PerDim | null }
>;

const readSizes = optionReader<{ size: PerDim | null; scaleFactor: PerDim | null }>(
  'upsample',
  { size: null, scaleFactor: null },
  'size',
  'scaleFactor',
);

/** `torch.nn.functional.upsample_nearest`: {@link interpolate} with mode `'nearest'`. */
export const upsampleNearest = (x: Tensor, ...args: UpsampleArgs): Tensor =>
  interpolate(x, { ...readSizes(args), mode: 'nearest' });

/**
 * `torch.nn.functional.upsample_bilinear`: {@link interpolate} with mode `'bilinear'` and aligned corners.
 */
export const upsampleBilinear = (x: Tensor, ...args: UpsampleArgs): Tensor =>
  interpolate(x, { ...readSizes(args), mode: 'bilinear', alignCorners: true });
