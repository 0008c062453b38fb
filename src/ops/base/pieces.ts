import { isGradEnabled } from '../../autograd/mode.js';
import { normalizeDim, showShape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { readAlong, readValueAlong, type AlongArgs, type ValueAlongArgs } from './along.js';
import { narrow, select } from './view.js';

/* Several views of one tensor, side by side. */

type DimList = number | readonly number[];

/** What `split` gives, without the mark that they are several views of one op. */
function pieces(op: string, x: Tensor, size: number | readonly number[], dim: number): Tensor[] {
  const d = normalizeDim(op, dim, x.ndim);
  const total = x.shape[d];
  if (total === undefined) throw new Error(`${op}: a zero-dim tensor cannot be split`);
  if (typeof size === 'number' && !(Number.isInteger(size) && (size > 0 || (size === 0 && total === 0))))
    throw new Error(`${op}: size must be a positive integer (or 0 of an empty dim), got ${size}`);
  const sizes =
    typeof size === 'number'
      ? Array.from({ length: Math.ceil(total / size) || 1 }, (_, i) => Math.min(size, total - i * size))
      : size;
  if (!Array.isArray(sizes) || !sizes.every((length) => Number.isInteger(length) && length >= 0))
    throw new Error(`${op}: sizes must be an array of integers of 0 or more, got ${String(sizes)}`);
  if (sizes.reduce((a, b) => a + b, 0) !== total) {
    throw new Error(
      `${op}: sizes ${showShape(sizes)} do not add up to ${total}, dim ${dim} of shape ${showShape(x.shape)}`,
    );
  }
  let at = 0;
  return sizes.map((length) => narrow(x, d, (at += length) - length, length));
}

type SplitArgs = ValueAlongArgs<number | readonly number[], 'splitSize'>;

/** `torch.split`: pieces of `size` along `dim` (the last may be smaller), or of the given sizes; views. */
export function split(x: Tensor, ...args: SplitArgs): Tensor[] {
  return pieces('split', x, ...readValueAlong<DimList>('split', 'splitSize', args)).map(oneOfSeveral);
}

/** `torch.unsafe_split`: {@link split} whose views may be written in place on the tape. */
export function unsafeSplit(x: Tensor, ...args: SplitArgs): Tensor[] {
  return pieces('unsafeSplit', x, ...readValueAlong<DimList>('unsafeSplit', 'splitSize', args));
}

function oneOfSeveral(view: Tensor): Tensor {
  if (isGradEnabled() && view.viewOf !== null) view.viewOf.limit = 'several';
  return view;
}

function chunked(op: string, x: Tensor, args: ValueAlongArgs<number, 'chunks'>): Tensor[] {
  const [chunks, dim] = readValueAlong<number>(op, 'chunks', args);
  if (!Number.isInteger(chunks) || chunks < 1)
    throw new Error(`${op}: chunks must be a positive integer, got ${chunks}`);
  const size = Math.ceil((x.shape[normalizeDim(op, dim, x.ndim)] ?? 1) / chunks);
  return pieces(op, x, size === 0 ? new Array<number>(chunks).fill(0) : size, dim);
}

/** `torch.chunk`: at most `chunks` pieces of equal size along `dim`, of an empty dim as many; views. */
export function chunk(x: Tensor, ...args: ValueAlongArgs<number, 'chunks'>): Tensor[] {
  return chunked('chunk', x, args).map(oneOfSeveral);
}

/** `torch.unsafe_chunk`: {@link chunk} whose views may be written in place on the tape. */
export function unsafeChunk(x: Tensor, ...args: ValueAlongArgs<number, 'chunks'>): Tensor[] {
  return chunked('unsafeChunk', x, args);
}

/** `torch.unbind`: every index of `dim`, which disappears; views. */
export function unbind(x: Tensor, ...args: AlongArgs): Tensor[] {
  const d = normalizeDim('unbind', readAlong('unbind', args), x.ndim);
  const length = x.shape[d];
  if (length === undefined) throw new Error('unbind: a zero-dim tensor has no dim to take apart');
  return Array.from({ length }, (_, i) => oneOfSeveral(select(x, d, i)));
}
