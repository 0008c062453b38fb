import { defineComposite, defineOp } from '../../autograd/define.js';
import type { Geometry } from '../../autograd/primitives.js';
import { geometryOf } from '../../autograd/view.js';
import { bytesPerElement } from '../../tensor/dtype.js';
import { type Needed, optionReader, required, type Trailing } from '../../tensor/options.js';
import { numel, overlapsItself, sameShape, showShape, spanOf } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { clone, copy_, fill_ } from '../base/copy.js';
import { arange, ones } from '../creation/creation.js';
import { diagonal } from './diagonal.js';
import { checkSameDtype } from '../gather/gather.js';
import { rowMajorTwin } from '../base/layout.js';
import { overwrite } from '../base/overwrite.js';
import { div, maximum } from '../pointwise/pointwise.js';
import { placeRegion, takeRegion } from '../base/region.js';
import { put } from '../gather/take.js';
import { reshape, select, slice } from '../base/view.js';
import { checkTensors } from '../base/tensors.js';

/* Any view of a tensor's memory, and copies with a part of them overwritten. */

type Places = readonly [shape: readonly number[], strides: readonly number[], offset: number];

/**
 * The gradient goes by way of the memory that source and view share: elements of the view that have one
 * address add up, elements of the source that have one share (ATen's `as_strided_backward`).
 */
const asStridedOp = defineOp<[Tensor, ...Places], Tensor, readonly [source: Geometry, view: Geometry]>({
  name: 'asStrided',
  forward(ctx, x, shape, strides, offset) {
    ctx.state = [geometryOf(x), { shape, strides, offset }];
    return x.alias(shape, strides, offset);
  },
  backward: (ctx, grad) => [() => backwardOf(grad, ...ctx.state)],
});

const backwardOf: (grad: Tensor, source: Geometry, view: Geometry) => Tensor = defineComposite(
  'asStridedBackward',
  (grad: Tensor, source: Geometry, view: Geometry): Tensor => {
    const end = (g: Geometry): number => g.offset + spanOf(g.shape, g.strides);
    const start = Math.min(source.offset, view.offset);
    const memory = { shape: [Math.max(end(source), end(view)) - start], strides: [1], offset: start };
    let placed = placeRegion(grad, memory, view);
    if (overlapsItself(source.shape, source.strides)) {
      const shares = placeRegion(ones(source.shape, { dtype: grad.dtype }), memory, source);
      placed = div(placed, maximum(shares, 1));
    }
    return takeRegion(placed, memory, source);
  },
);

const readStrided = (op: string) =>
  optionReader(
    op,
    { size: required<DimSizes>(), stride: required<DimSizes>(), storageOffset: null as number | null },
    'size',
    'stride',
    'storageOffset',
  );
const readAsStrided = readStrided('asStrided');
const readAsStridedScatter = readStrided('asStridedScatter');

function checkStrided(op: string, x: Tensor, size: unknown, stride: unknown, offset: unknown): Places {
  const isList = (v: unknown): v is number[] =>
    Array.isArray(v) && v.every((n) => Number.isInteger(n) && (n as number) >= 0);
  const at = offset ?? x.offset;
  if (!isList(size) || !isList(stride) || size.length !== stride.length || !isList([at]))
    throw new Error(
      `${op}: expected as many sizes as strides and an offset, all integers of 0 or more, got [${String(size)}], [${String(stride)}], ${String(at)}`,
    );
  if (rowMajorTwin(x) !== null)
    throw new Error(
      `${op}: this tensor (shape ${showShape(x.shape)}) is stored channels-last, so that strides would not mean what they mean in PyTorch; take contiguous() first`,
    );
  const end = (at as number) + spanOf(size, stride);
  const held = Math.floor(x.storage.bytes / bytesPerElement[x.dtype]);
  if (numel(size) > 0 && end > held)
    throw new Error(
      `${op}: sizes [${size.join(', ')}] with strides [${stride.join(', ')}] from ${String(at)} on reach element ${end - 1} of memory that holds ${held}`,
    );
  return [size, stride, at as number];
}

type DimSizes = readonly number[];
type StridedArgs = Needed<
  [size: DimSizes, stride: DimSizes],
  ['size', 'stride'],
  [storageOffset: number | null],
  { storageOffset?: number | null }
>;

/**
 * `torch.as_strided`: a view of the memory of `x`, with sizes, strides and an offset in elements (by default
 * that of `x`). Tensors that kindling stores channels-last where PyTorch would not are refused.
 */
export function asStrided(x: Tensor, ...args: StridedArgs): Tensor {
  const { size, stride, storageOffset } = readAsStrided(args);
  return asStridedOp(x, ...checkStrided('asStrided', x, size, stride, storageOffset));
}

function checkPart(op: string, x: Tensor, src: Tensor, shape: readonly number[]): void {
  checkSameDtype(op, x, src);
  if (!sameShape(src.shape, shape))
    throw new Error(`${op}: the source must have shape ${showShape(shape)}, got ${showShape(src.shape)}`);
}

/** A copy of `x`, with `src` where `part` shows it. */
function replaced(op: string, x: Tensor, src: Tensor, part: (whole: Tensor) => Tensor): Tensor {
  checkTensors(op, x);
  const out = clone(x, { memoryFormat: 'contiguous' });
  const window = part(out);
  checkPart(op, x, src, window.shape);
  copy_(window, src);
  return out;
}

/**
 * `torch.as_strided_scatter`: a row-major copy of `x` with `src` where {@link asStrided} would show it; of
 * several elements for one address the last wins.
 */
export const asStridedScatter: (x: Tensor, src: Tensor, ...args: StridedArgs) => Tensor = defineComposite(
  'asStridedScatter',
  (x: Tensor, src: Tensor, ...args: StridedArgs): Tensor => {
    const op = 'asStridedScatter';
    const { size, stride, storageOffset } = readAsStridedScatter(args);
    if (!Array.isArray(size) || !Array.isArray(stride) || !overlapsItself(size, stride))
      return replaced(op, x, src, (whole) =>
        asStridedOp(whole, ...checkStrided(op, whole, size, stride, storageOffset)),
      );
    checkPart(op, x, src, size);
    const addresses = asStridedOp(
      arange(x.numel()),
      ...checkStrided(op, arange(x.numel()), size, stride, storageOffset),
    );
    return put(x, addresses, src);
  },
);

type SelectArgs = Needed<[dim: number, index: number], ['dim', 'index']>;

/** `torch.select_scatter`: a copy of `x` with `src` at `index` of `dim`. */
export const selectScatter: (x: Tensor, src: Tensor, ...args: SelectArgs) => Tensor = defineComposite(
  'selectScatter',
  (x: Tensor, src: Tensor, ...args: SelectArgs): Tensor =>
    replaced('selectScatter', x, src, (whole) => select(whole, ...args)),
);

export interface SliceScatterOptions {
  dim?: number;
  start?: number | null;
  end?: number | null;
  step?: number;
}

const readSlice = optionReader(
  'sliceScatter',
  { dim: 0, start: null as number | null, end: null as number | null, step: 1 },
  'dim',
  'start',
  'end',
  'step',
);

type SliceArgs = Trailing<
  [dim: number, start: number | null, end: number | null, step: number],
  SliceScatterOptions
>;

/** `torch.slice_scatter`: a copy of `x` with `src` at `start:end:step` of `dim`. */
export const sliceScatter: (x: Tensor, src: Tensor, ...args: SliceArgs) => Tensor = defineComposite(
  'sliceScatter',
  (x: Tensor, src: Tensor, ...args: SliceArgs): Tensor => {
    const { dim, start, end, step } = readSlice(args);
    return replaced('sliceScatter', x, src, (whole) => slice(whole, dim, start, end, step));
  },
);

export interface DiagonalScatterOptions {
  offset?: number;
  dim1?: number;
  dim2?: number;
}

const readDiagonal = optionReader(
  'diagonalScatter',
  { offset: 0, dim1: 0, dim2: 1 },
  'offset',
  'dim1',
  'dim2',
);

type DiagonalArgs = Trailing<[offset: number, dim1: number, dim2: number], DiagonalScatterOptions>;

/** `torch.diagonal_scatter`: a copy of `x` with `src` on a diagonal. */
export const diagonalScatter: (x: Tensor, src: Tensor, ...args: DiagonalArgs) => Tensor = defineComposite(
  'diagonalScatter',
  (x: Tensor, src: Tensor, ...args: DiagonalArgs): Tensor => {
    const options = readDiagonal(args);
    return replaced('diagonalScatter', x, src, (whole) => diagonal(whole, options));
  },
);

const readWrap = optionReader('fillDiagonal_', { wrap: false }, 'wrap');

/**
 * `torch.Tensor.fill_diagonal_`: writes `value` where all indices are equal; of more than two dims all must
 * have one size. With `wrap` the diagonal of a tall matrix begins again after each `columns + 1` rows.
 */
export function fillDiagonal_(
  x: Tensor,
  value: number | boolean,
  ...args: Trailing<[wrap: boolean], { wrap?: boolean }>
): Tensor {
  checkTensors('fillDiagonal_', x);
  const { wrap } = readWrap(args);
  const { shape, strides, offset } = x;
  const least = Math.min(...shape);
  if (shape.length < 2 || (shape.length > 2 && shape.some((size) => size !== least)))
    throw new Error(`fillDiagonal_: expected a matrix, or dims of one size, got shape ${showShape(shape)}`);
  const columns = shape[1] as number;
  if (!(wrap && shape.length === 2 && (shape[0] as number) > columns + 1)) {
    const step = strides.reduce((a, b) => a + b, 0);
    fill_(asStridedOp(x, [least], [step], offset), value);
    return x;
  }
  // All rows one after another, the diagonal is every (columns + 1)-th element.
  return overwrite('fillDiagonal_', x, () => {
    const flat = clone(reshape(x, [-1]));
    fill_(slice(flat, 0, 0, null, columns + 1), value);
    return reshape(flat, shape);
  });
}
