/** What convolutions of lines, images and volumes share: options, and the shapes that follow from them. */
import { defineComposite } from '../../autograd/define.js';
import { optionReader, type Trailing } from '../../tensor/options.js';
import { showShape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { asBatch } from '../base/as-batch.js';
import { elemOf } from '../base/run-plan.js';
import { sizesOf, type Size2d, type SizeNd } from '../base/sizes.js';

export interface ConvOptions<S extends SizeNd = Size2d> {
  stride?: S;
  /** Zeros around the input; `'same'` keeps the size (stride 1 only), `'valid'` is 0. */
  padding?: S | 'same' | 'valid';
  dilation?: S;
  groups?: number;
}

export interface ConvTransposeOptions<S extends SizeNd = Size2d> {
  stride?: S;
  padding?: S;
  /** Added at the end of each dim, to choose among the sizes that a strided convolution merges. */
  outputPadding?: S;
  groups?: number;
  dilation?: S;
}

/** @internal One dim of a convolution, seen from its forward direction: `size` values to `out`. */
export interface ConvAxis {
  readonly size: number;
  readonly out: number;
  readonly kernel: number;
  readonly stride: number;
  readonly dilation: number;
  /** Zeros before the first value, and after the last. */
  readonly low: number;
  readonly high: number;
}

/** @internal x [n, cIn, ...] -> y [n, cOut, ...]. */
export interface ConvShape {
  readonly n: number;
  readonly cIn: number;
  readonly cOut: number;
  readonly groups: number;
  readonly axes: readonly ConvAxis[];
}

function checkOperands(op: string, x: Tensor, w: Tensor, b: Tensor | null): void {
  elemOf(op, x.dtype);
  if (w.ndim !== x.ndim)
    throw new Error(`${op}: expected a weight of ${x.ndim} dims, got ${showShape(w.shape)}`);
  if (w.dtype !== x.dtype)
    throw new Error(`${op}: the input is ${x.dtype} but the weight is ${w.dtype}; convert one with .to()`);
  if (b !== null && b.dtype !== x.dtype)
    throw new Error(`${op}: the input is ${x.dtype} but the bias is ${b.dtype}; convert one with .to()`);
}

function checkGroups(op: string, groups: number): void {
  if (!Number.isInteger(groups) || groups < 1)
    throw new Error(`${op}: groups must be a positive integer, got ${groups}`);
}

function checkBias(op: string, channels: number, w: Tensor, b: Tensor | null): void {
  if (b !== null && (b.ndim !== 1 || b.shape[0] !== channels)) {
    throw new Error(
      `${op}: the weight ${showShape(w.shape)} makes ${channels} channels, the bias has shape ${showShape(b.shape)}`,
    );
  }
}

type Sizes<T> = { [K in keyof T]: T[K] | undefined };

/** @internal Checks a convolution of the batch `x`, and says what it does. */
export function convShape(
  op: string,
  x: Tensor,
  w: Tensor,
  b: Tensor | null,
  options: Sizes<ConvOptions<SizeNd>>,
): ConvShape {
  checkOperands(op, x, w, b);
  const [n, cIn, ...sizes] = x.shape as [number, number, ...number[]];
  const [cOut, perGroup, ...kernels] = w.shape as [number, number, ...number[]];
  const { groups = 1, padding = 0 } = options;
  checkGroups(op, groups);
  const strides = sizesOf(op, 'stride', options.stride ?? 1, sizes.length, 1);
  const dilations = sizesOf(op, 'dilation', options.dilation ?? 1, sizes.length, 1);
  if (cIn !== perGroup * groups || cOut % groups !== 0) {
    throw new Error(
      `${op}: input ${showShape(x.shape)} has ${cIn} channels, but weight ${showShape(w.shape)} with groups ${groups} takes ${perGroup * groups}` +
        (cOut % groups !== 0 ? ` (and groups must divide its ${cOut} output channels)` : ''),
    );
  }
  checkBias(op, cOut, w, b);
  const same = padding === 'same';
  if (typeof padding === 'string' && !same && padding !== 'valid')
    throw new Error(
      `${op}: padding must be a number, one for each dim, 'same' or 'valid', got '${String(padding)}'`,
    );
  if (same && strides.some((stride) => stride !== 1)) throw new Error(`${op}: padding 'same' needs stride 1`);
  const pads = sizesOf(op, 'padding', typeof padding === 'string' ? 0 : padding, sizes.length, 0);
  const axes = sizes.map((size, i): ConvAxis => {
    const [kernel, stride, dilation] = [kernels[i], strides[i], dilations[i]] as [number, number, number];
    const span = dilation * (kernel - 1);
    const low = same ? Math.floor(span / 2) : (pads[i] as number);
    const high = same ? span - low : low;
    const out = Math.floor((size + low + high - span - 1) / stride) + 1;
    return { size, out, kernel, stride, dilation, low, high };
  });
  if (axes.some(({ out }) => out < 1)) {
    const spans = axes.map(({ kernel, dilation }) => dilation * (kernel - 1) + 1);
    throw new Error(
      `${op}: a kernel of ${spans.join('x')} (with dilation) is larger than the padded input of shape ${showShape(x.shape)}`,
    );
  }
  return { n, cIn, cOut, groups, axes };
}

/** The convolution whose input gradient a transposed one of the batch `x` is. */
function transposedShape(
  op: string,
  x: Tensor,
  w: Tensor,
  b: Tensor | null,
  options: Sizes<ConvTransposeOptions<SizeNd>>,
): ConvShape {
  checkOperands(op, x, w, b);
  const [n, channels, ...outs] = x.shape as [number, number, ...number[]];
  const [cOut, perGroup, ...kernels] = w.shape as [number, number, ...number[]];
  const { groups = 1 } = options;
  checkGroups(op, groups);
  const read = (what: 'stride' | 'padding' | 'outputPadding' | 'dilation', least: 0 | 1): number[] =>
    sizesOf(op, what, options[what] ?? least, outs.length, least);
  const [strides, pads, extras, dilations] = [
    read('stride', 1),
    read('padding', 0),
    read('outputPadding', 0),
    read('dilation', 1),
  ] as const;
  if (channels !== cOut || channels % groups !== 0) {
    throw new Error(
      `${op}: input ${showShape(x.shape)} does not fit weight ${showShape(w.shape)} with groups ${groups}: ${channels} and ${cOut} input channels`,
    );
  }
  const axes = outs.map((out, i): ConvAxis => {
    const [kernel, stride, dilation] = [kernels[i], strides[i], dilations[i]] as [number, number, number];
    const [pad, extra] = [pads[i], extras[i]] as [number, number];
    if (extra >= stride && extra >= dilation)
      throw new Error(`${op}: outputPadding must be smaller than stride or dilation`);
    const size = (out - 1) * stride - 2 * pad + dilation * (kernel - 1) + extra + 1;
    return { size, out, kernel, stride, dilation, low: pad, high: pad };
  });
  const sizes = axes.map(({ size }) => size);
  if (sizes.some((size) => size < 1))
    throw new Error(`${op}: the result for input ${showShape(x.shape)} would have size ${sizes.join('x')}`);
  const cIn = perGroup * groups;
  checkBias(op, cIn, w, b);
  return { n, cIn, cOut, groups, axes };
}

/** @internal Runs what has been checked. */
export type Convolve = (x: Tensor, w: Tensor, b: Tensor | null, shape: ConvShape) => Tensor;

export type Conv<S extends SizeNd> = (
  x: Tensor,
  w: Tensor,
  ...args: Trailing<
    [b: Tensor | null | undefined, stride: S, padding: S | 'same' | 'valid', dilation: S, groups: number],
    ConvOptions<S> & { bias?: Tensor | null }
  >
) => Tensor;

/** @internal The public form of a convolution over `dims` dims. */
export function convOf<S extends SizeNd>(op: string, dims: number, run: Convolve): Conv<S> {
  const read = optionReader<Required<ConvOptions<SizeNd>> & { bias: Tensor | null }>(
    op,
    { bias: null, stride: 1, padding: 0, dilation: 1, groups: 1 },
    'bias',
    'stride',
    'padding',
    'dilation',
    'groups',
  );
  return defineComposite(op, (x: Tensor, w: Tensor, ...args: readonly unknown[]) => {
    const options = read(args);
    const b = options.bias;
    return asBatch(op, x, dims, (batch) => [
      run(batch, w, b, convShape(op, batch, w, b, options)),
    ])[0] as Tensor;
  });
}

export type ConvTranspose<S extends SizeNd> = (
  x: Tensor,
  w: Tensor,
  ...args: Trailing<
    [b: Tensor | null | undefined, stride: S, padding: S, outputPadding: S, groups: number, dilation: S],
    ConvTransposeOptions<S> & { bias?: Tensor | null }
  >
) => Tensor;

/** @internal The public form of a transposed convolution over `dims` dims. */
export function convTransposeOf<S extends SizeNd>(op: string, dims: number, run: Convolve): ConvTranspose<S> {
  const read = optionReader<Required<ConvTransposeOptions<SizeNd>> & { bias: Tensor | null }>(
    op,
    { bias: null, stride: 1, padding: 0, outputPadding: 0, groups: 1, dilation: 1 },
    'bias',
    'stride',
    'padding',
    'outputPadding',
    'groups',
    'dilation',
  );
  return defineComposite(op, (x: Tensor, w: Tensor, ...args: readonly unknown[]) => {
    const options = read(args);
    const b = options.bias;
    return asBatch(op, x, dims, (batch) => [
      run(batch, w, b, transposedShape(op, batch, w, b, options)),
    ])[0] as Tensor;
  });
}
