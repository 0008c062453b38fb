/** Shape and stride arithmetic. Strides are in elements. Nothing here knows about tensors or the GPU. */

export type Shape = readonly number[];

export function numel(shape: Shape): number {
  let n = 1;
  for (const s of shape) n *= s;
  return n;
}

export const showShape = (shape: Shape): string => `[${shape.join(', ')}]`;

export function sameShape(a: Shape, b: Shape): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Elements from the first to the last one, gaps included. */
export function spanOf(shape: Shape, strides: readonly number[]): number {
  let span = 1;
  for (let i = 0; i < shape.length; i++) span += ((shape[i] as number) - 1) * (strides[i] as number);
  return numel(shape) === 0 ? 0 : span;
}

/** Row-major strides. */
export function contiguousStrides(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = step;
    step *= Math.max(1, shape[i] as number);
  }
  return strides;
}

/** Strides of an NCHW shape whose elements are stored NHWC. */
export function channelsLastStrides(shape: Shape): number[] {
  const [, c, h, w] = shape as [number, number, number, number];
  return [h * w * c, 1, w * c, c];
}

export function isContiguous(shape: Shape, strides: readonly number[]): boolean {
  let step = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    const size = shape[i] as number;
    if (size === 0) return true;
    if (size !== 1 && strides[i] !== step) return false;
    step *= size;
  }
  return true;
}

export function isChannelsLast(shape: Shape, strides: readonly number[]): boolean {
  if (shape.length !== 4) return false;
  const [n, c, h, w] = shape as [number, number, number, number];
  return (
    (c === 1 || strides[1] === 1) &&
    (w === 1 || strides[3] === c) &&
    (h === 1 || strides[2] === w * c) &&
    (n === 1 || strides[0] === h * w * c)
  );
}

/**
 * Whether joins and padding of such a tensor give a channels-last one: dims of size 1 have their say too,
 * which tells images from row-major tensors whose strides could be either (c10's
 * `is_channels_last_strides_2d`).
 */
export function suggestsChannelsLast(shape: Shape, strides: readonly number[]): boolean {
  if (shape.length !== 4 || strides[1] === 0 || isContiguous(shape, strides)) return false;
  let least = 0;
  for (const d of [1, 3, 2, 0]) {
    const [size, stride] = [shape[d] as number, strides[d] as number];
    if (size === 0 || stride < least || (d === 0 && least === strides[1])) return false;
    least = size > 1 ? stride * size : stride;
  }
  return true;
}

/**
 * Dims from the outermost in memory to the innermost; dims of size 1 have no place of their own and come
 * first.
 */
function memoryOrder(shape: Shape, strides: readonly number[]): number[] {
  const dims = shape.map((_, i) => i);
  const placed = dims
    .filter((i) => shape[i] !== 1)
    .sort((a, b) => (strides[b] as number) - (strides[a] as number) || a - b);
  return [...dims.filter((i) => shape[i] === 1), ...placed];
}

/** True when the elements fill a gap-free range, each address once, in some order of the dims. */
export function isDense(shape: Shape, strides: readonly number[]): boolean {
  if (isContiguous(shape, strides) || isChannelsLast(shape, strides)) return true;
  const dims = shape.map((_, i) => i).filter((i) => shape[i] !== 1);
  dims.sort((a, b) => (strides[a] as number) - (strides[b] as number));
  let step = 1;
  for (const d of dims) {
    if (strides[d] !== step) return false;
    step *= shape[d] as number;
  }
  return true;
}

/**
 * Whether some address belongs to more than one element, as after `expand` or an `unfold` whose windows
 * overlap.
 */
export function overlapsItself(shape: Shape, strides: readonly number[]): boolean {
  const count = numel(shape);
  const dims = shape.map((_, i) => i).filter((i) => shape[i] !== 1);
  if (count < 2 || isContiguous(shape, strides)) return false;
  dims.sort((a, b) => (strides[a] as number) - (strides[b] as number));
  let span = 0;
  let apart = true;
  for (const d of dims) {
    if (strides[d] === 0) return true;
    // Each step of this dim clears everything that the dims within it reach: enough, though not needed.
    if ((strides[d] as number) <= span) apart = false;
    span += ((shape[d] as number) - 1) * (strides[d] as number);
  }
  if (apart) return false;
  if (count > span + 1 || count > enumerable) return true;
  return new Set(addresses(shape, strides)).size < count;
}

/** More elements than this are not told apart one by one. */
const enumerable = 1 << 16;

function addresses(shape: Shape, strides: readonly number[]): number[] {
  let places = [0];
  shape.forEach((size, d) => {
    places = places.flatMap((place) =>
      Array.from({ length: size }, (_, i) => place + i * (strides[d] as number)),
    );
  });
  return places;
}

/** Dense strides for `shape` that keep the dim order of `like` (PyTorch's `preserve_format`). */
export function stridesLike(shape: Shape, likeShape: Shape, likeStrides: readonly number[]): number[] {
  if (isContiguous(likeShape, likeStrides) || likeShape.length !== shape.length)
    return contiguousStrides(shape);
  if (isChannelsLast(likeShape, likeStrides)) return channelsLastStrides(shape);
  const order = memoryOrder(likeShape, likeStrides);
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let i = order.length - 1; i >= 0; i--) {
    const d = order[i] as number;
    strides[d] = step;
    step *= Math.max(1, shape[d] as number);
  }
  return strides;
}

/**
 * Dense strides for the result of operands with `strides` (each broadcast to `shape`, 0 where it is), in
 * PyTorch's order (ATen's `infer_dense_strides` and `TensorIteratorBase::reorder_dimensions`): gaps go, the
 * order of the dims stays, the first operand that tells two dims apart decides, and dims that none tells
 * (stride 0) stay where row-major has them.
 */
export function denseStrides(shape: Shape, ...strides: readonly (readonly number[])[]): number[] {
  const order = shape.map((_, i) => shape.length - 1 - i);
  const isBefore = (a: number, b: number): number => {
    for (const operand of strides) {
      const [s, t] = [operand[a] as number, operand[b] as number];
      if (s === 0 || t === 0) continue;
      if (s !== t) return s - t;
      if ((shape[a] as number) > (shape[b] as number)) return 1;
    }
    return 0;
  };
  for (let i = 1; i < order.length; i++) {
    let at = i;
    for (let j = i - 1; j >= 0; j--) {
      const difference = isBefore(order[j] as number, order[at] as number);
      if (difference < 0) break;
      if (difference === 0) continue;
      [order[j], order[at]] = [order[at] as number, order[j] as number];
      at = j;
    }
  }
  const out = new Array<number>(shape.length);
  let step = 1;
  for (const d of order) {
    out[d] = step;
    step *= Math.max(1, shape[d] as number);
  }
  return out;
}

/** NumPy broadcasting of several shapes; throws naming the op and the shapes that clash. */
export function broadcastShapes(op: string, ...shapes: readonly Shape[]): number[] {
  let rank = 0;
  for (const s of shapes) rank = Math.max(rank, s.length);
  const out = new Array<number>(rank).fill(1);
  for (const s of shapes) {
    for (let i = 0; i < s.length; i++) {
      const d = rank - s.length + i;
      const size = s[i] as number;
      if (size === 1) continue;
      if (out[d] !== 1 && out[d] !== size) {
        throw new Error(
          `${op}: shapes ${shapes.map(showShape).join(' and ')} do not broadcast: ` +
            `dimension ${d} is ${out[d]} in one and ${size} in the other`,
        );
      }
      out[d] = size;
    }
  }
  return out;
}

/** Whether `shape` broadcasts to `to`. */
export function expandsTo(shape: Shape, to: Shape): boolean {
  const lead = to.length - shape.length;
  return lead >= 0 && shape.every((size, i) => size === to[lead + i] || size === 1);
}

/**
 * A dim in [0, rank), with negative dims counted from the end; a zero-dim tensor accepts 0 and -1 as PyTorch
 * does.
 */
export function normalizeDim(op: string, dim: number, rank: number): number {
  const n = Math.max(rank, 1);
  if (!Number.isInteger(dim) || dim < -n || dim >= n) {
    throw new Error(
      `${op}: dim ${dim} is out of range for a ${rank}-dimensional tensor (expected ${-n} to ${n - 1})`,
    );
  }
  return dim < 0 ? dim + n : dim;
}

/** Normalised, unique dims in ascending order; undefined, null or an empty list means all of them. */
export function normalizeDims(
  op: string,
  dims: number | readonly number[] | null | undefined,
  rank: number,
): number[] {
  if (dims === undefined || dims === null || (typeof dims !== 'number' && dims.length === 0)) {
    return Array.from({ length: rank }, (_, i) => i);
  }
  const list = (typeof dims === 'number' ? [dims] : [...dims]).map((d) => normalizeDim(op, d, rank));
  if (new Set(list).size !== list.length) throw new Error(`${op}: a dim appears twice in ${showShape(list)}`);
  return rank === 0 ? [] : list.sort((a, b) => a - b);
}

/** Fills in a single -1 and checks the element count. */
export function inferShape(op: string, count: number, shape: Shape): number[] {
  const out = [...shape];
  const hole = out.indexOf(-1);
  for (const s of out) {
    if (!Number.isInteger(s) || s < -1) throw new Error(`${op}: ${showShape(shape)} is not a shape`);
  }
  if (hole >= 0) {
    if (out.indexOf(-1, hole + 1) >= 0)
      throw new Error(`${op}: only one dimension of ${showShape(shape)} can be -1`);
    const known = -numel(out);
    if (known === 0 || count % known !== 0) {
      throw new Error(`${op}: cannot fit ${count} elements into shape ${showShape(shape)}`);
    }
    out[hole] = count / known;
  }
  if (numel(out) !== count)
    throw new Error(`${op}: shape ${showShape(shape)} is invalid for a tensor of ${count} elements`);
  return out;
}

/**
 * Strides that show the same elements under a new shape without a copy, or null when none exist (the rule of
 * `torch.Tensor.view`: new dims may only split or merge runs that are contiguous with each other).
 */
export function viewStrides(shape: Shape, strides: readonly number[], to: Shape): number[] | null {
  if (numel(shape) === 0) return contiguousStrides(to);
  const out = new Array<number>(to.length).fill(1);
  let v = to.length - 1;
  let chunkBase = 1;
  let chunkSize = 1;
  let viewed = 1;
  const dims = shape.map((_, i) => i).filter((i) => shape[i] !== 1);
  if (dims.length > 0) chunkBase = strides[dims[dims.length - 1] as number] as number;
  for (let i = dims.length - 1; i >= 0; i--) {
    const d = dims[i] as number;
    chunkSize *= shape[d] as number;
    const outer = i > 0 ? (dims[i - 1] as number) : -1;
    if (outer >= 0 && strides[outer] === chunkSize * chunkBase) continue;
    while (v >= 0 && (viewed < chunkSize || to[v] === 1)) {
      out[v] = viewed * chunkBase;
      viewed *= to[v] as number;
      v--;
    }
    if (viewed !== chunkSize) return null;
    if (outer >= 0) {
      chunkBase = strides[outer] as number;
      chunkSize = 1;
      viewed = 1;
    }
  }
  for (; v >= 0; v--) out[v] = viewed * chunkBase;
  return out;
}
