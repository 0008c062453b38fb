import { checkTensors } from '../base/tensors.js';
import { isGradEnabled, setGradMode } from '../../autograd/mode.js';
import { defineComposite, named } from '../../autograd/define.js';
import { elementOf } from '../../tensor/dtype.js';
import { checkCount, type Needed, optionReader, required } from '../../tensor/options.js';
import { broadcastShapes, expandsTo, sameShape, showShape } from '../../tensor/shape.js';
import { scoped } from '../../tensor/tidy.js';
import { isTensor, Tensor } from '../../tensor/tensor.js';
import { endsOfNonzero, pickedBy, route, withTotal } from './compact.js';
import { aliasOf } from '../base/copies.js';
import { clone, copy_ } from '../base/copy.js';
import { checkSameDtype, lookupOp, putRowsOp } from '../gather/gather.js';
import { fromMask, nonzero } from './nonzero.js';
import { overwrite } from '../base/overwrite.js';
import { add } from '../pointwise/pointwise.js';
import { wrappedIndices } from '../gather/take.js';
import { expand, permute, reshape, select, slice, unsqueeze } from '../base/view.js';
import { where } from '../pointwise/where.js';

/*
 * Python's `x[...]`, to read and to write. Numbers, slices, null and '...' make a view; then tensors of int32
 * or bool pick from it, by PyTorch's rules (ATen's TensorIndexing.h, TensorAdvancedIndexing.cpp).
 */

/** `[start, end, step?]`, null for open ends. */
export type Slice = readonly [(number | null)?, (number | null)?, number?];

/**
 * One part of an {@link index}: an integer, a {@link Slice}, `null` for a new dim, or `'...'`.
 */
export type Index = number | Slice | null | '...';

/** A mask, where the dtype is known to TypeScript. */
export type BoolTensor = Tensor & { readonly dtype: 'bool' };

/** Whatever may stand in an {@link index}: `true` and `false` are masks of a new dim of size 1. */
export type AnyIndex = Index | boolean | Tensor;

/**
 * A view of the tensor, and for some of its dims what picks from it: int32 lists, or masks of one or more
 * dims.
 */
interface Subscript {
  readonly view: Tensor;
  readonly picks: readonly { readonly dim: number; readonly by: Tensor }[];
}

const isMask = (part: unknown): part is Tensor => isTensor(part) && part.dtype === 'bool';

function checkPart(op: string, part: unknown, at: number): void {
  const wanted = `expected an integer, [start, end, step], null, '...', a boolean, or a tensor of int32 or bool`;
  if (part === null || part === '...' || typeof part === 'boolean') return;
  if (typeof part === 'number' && Number.isInteger(part)) return;
  if (isTensor(part)) {
    if (part.dtype === 'int32' || part.dtype === 'bool') return;
    const hint = part.dtype === 'uint8' ? ` (uint8 could be either; use .to('bool') or .to('int32'))` : '';
    throw new Error(`${op}: index ${at} is a tensor of ${part.dtype}, ${wanted}${hint}`);
  }
  if (Array.isArray(part)) {
    const isBound = (v: unknown): boolean => v === null || v === undefined || Number.isInteger(v);
    if (part.length <= 3 && part.every(isBound)) return;
    throw new Error(
      `${op}: index ${at} is [${part.join(', ')}], which is no slice [start, end, step]; for a list of positions give a tensor of int32`,
    );
  }
  throw new Error(`${op}: index ${at} is ${String(part)}, ${wanted}`);
}

/**
 * `reading`: a zero-dim index is an integer, which takes no part in where the others go, as in Python's
 * `x[...]`; else it is a list, as for ATen's `index_put`.
 */
function resolve(op: string, x: Tensor, parts: readonly unknown[], reading: boolean): Subscript {
  parts.forEach((part, i) => checkPart(op, part, i));
  const takes = (part: unknown): number =>
    part === null || part === '...' || typeof part === 'boolean' ? 0 : isMask(part) ? part.ndim : 1;
  const used = parts.reduce((sum: number, part) => sum + takes(part), 0);
  if (used > x.ndim) throw new Error(`${op}: ${used} indices for a tensor of shape ${showShape(x.shape)}`);
  if (parts.filter((part) => part === '...').length > 1) throw new Error(`${op}: '...' may stand only once`);
  let view = x;
  let dim = 0;
  const picks: { dim: number; by: Tensor }[] = [];
  for (const part of parts as readonly AnyIndex[]) {
    if (part === '...') dim += x.ndim - used;
    else if (part === null) view = unsqueeze(view, dim++);
    else if (typeof part === 'number') view = select(view, dim, part);
    else if (typeof part === 'boolean') {
      view = unsqueeze(view, dim);
      picks.push({ dim: dim++, by: Tensor.fromHost(part ? [0] : [], [Number(part)], 'int32') });
    } else if (!isTensor(part)) view = slice(view, dim++, part[0] ?? null, part[1] ?? null, part[2] ?? 1);
    else if (part.dtype === 'bool' && part.ndim === 0) {
      view = unsqueeze(view, dim);
      picks.push({ dim: dim++, by: reshape(part, [1]) });
    } else if (part.dtype === 'bool') {
      const covered = view.shape.slice(dim, dim + part.ndim);
      if (!sameShape(part.shape, covered))
        throw new Error(
          `${op}: a mask of shape ${showShape(part.shape)} does not fit dims of shape ${showShape(covered)} of ${showShape(x.shape)}`,
        );
      picks.push({ dim, by: part });
      dim += part.ndim;
    } else if (part.ndim === 0 && reading) {
      const [[at], lookup] = wrappedIndices(op, [part], [view.shape[dim] as number]);
      view = lookupOp(view, [at as Tensor], dim, lookup);
    } else picks.push({ dim: dim++, by: part });
  }
  return { view, picks };
}

/** The picked dims beside each other: in their place if they are so, else in front. */
function gathered({ view, picks }: Subscript): { view: Tensor; dim: number; order: number[] | null } {
  const dims = picks.map(({ dim }) => dim);
  const first = dims[0] as number;
  if (dims.every((dim, i) => dim === first + i)) return { view, dim: first, order: null };
  const order = [...dims, ...view.shape.map((_, d) => d).filter((d) => !dims.includes(d))];
  return { view: permute(view, order), dim: 0, order };
}

function read(op: string, subscript: Subscript): Tensor {
  const { view, dim } = gathered(subscript);
  const picks = subscript.picks.map(({ by }) => by);
  const [indices, lookup] = wrappedIndices(op, picks, view.shape.slice(dim, dim + picks.length));
  return lookupOp(view, indices, dim, lookup);
}

/** `view` with the dims of a mask as one. */
function flattened(view: Tensor, dim: number, mask: Tensor): Tensor {
  return reshape(view, [...view.shape.slice(0, dim), mask.numel(), ...view.shape.slice(dim + mask.ndim)]);
}

function readMasked(op: string, { view, picks }: Subscript): Promise<Tensor> {
  const [{ dim, by: mask }] = picks as [{ dim: number; by: Tensor }];
  const ends = scoped(op, () => endsOfNonzero(mask));
  return withTotal(op, ends, [view, mask], (count) => {
    const { from, to } = pickedBy(mask, ends, count);
    return route(flattened(view, dim, mask), from, to, dim);
  });
}

/** Several masks, or one beside lists: each becomes lists first. */
async function readMixed(op: string, { view, picks }: Subscript): Promise<Tensor> {
  const recorded = isGradEnabled();
  const inputs = [view, ...picks.map(({ by }) => by)].map(({ storage }) => ({
    storage,
    version: storage.version,
  }));
  const lists = await Promise.all(
    picks.map(async ({ dim, by }) =>
      by.dtype === 'bool'
        ? (await nonzero(by, { asTuple: true })).map((list, i) => ({ dim: dim + i, by: list }))
        : [{ dim, by }],
    ),
  );
  const changed = inputs.find(({ storage, version }) => storage.version !== version);
  if (changed)
    throw new Error(
      `${op}: ${changed.storage.writer} changed its input before the result had come; await ${op} first`,
    );
  const before = setGradMode(recorded);
  try {
    return scoped(op, () => read(op, { view, picks: lists.flat() }));
  } finally {
    setGradMode(before);
  }
}

/**
 * Python's `x[i, a:b, None, ...]` as `x.index(i, [a, b], null, '...')`, a view; and with tensors among the
 * parts a copy of what they pick:
 *
 * - int32 tensors (negative entries count from the end) are broadcast together. Their dims give place to the
 *   broadcast ones, where the first was if they stand beside each other, else in front; a zero-dim one is as
 *   a number.
 * - A bool tensor stands for the dims of its shape, and picks where it is true. The number of those is read
 *   from the GPU, so with one the result is a promise.
 *
 * @throws Error for an index that the host knows to be out of range; (at the next await) DataError for one
 * computed on the GPU
 */
export function index(x: Tensor, ...parts: readonly [BoolTensor, ...AnyIndex[]]): Promise<Tensor>;
export function index(x: Tensor, ...parts: readonly AnyIndex[]): Tensor;
export function index(x: Tensor, ...parts: readonly unknown[]): Tensor | Promise<Tensor> {
  checkTensors('index', x);
  if (!parts.some(isMask)) return indexed(x, parts);
  const subscript = resolve('index', x, parts, true);
  return subscript.picks.length === 1 ? readMasked('index', subscript) : readMixed('index', subscript);
}

const indexed = defineComposite('index', (x: Tensor, parts: readonly unknown[]): Tensor => {
  const subscript = resolve('index', x, parts, true);
  if (subscript.picks.length > 0) return read('index', subscript);
  return subscript.view === x ? aliasOf(x) : subscript.view;
});

interface Key {
  readonly start?: number | null;
  readonly stop?: number | null;
  readonly step?: number | null;
}

/** One part of Python's key: a slice as an object, a list of positions or of booleans as an array. */
export type GetItemKey = number | boolean | null | '...' | Tensor | Key | readonly GetItemKey[];

function partOf(key: unknown): unknown {
  if (Array.isArray(key)) {
    const values = key as unknown[];
    const isBool = values.length > 0 && values.every((v) => typeof v === 'boolean');
    if (!isBool && !values.every((v) => typeof v === 'number' && Number.isInteger(v)))
      throw new Error(`__getitem__: [${values.join(', ')}] is no list of integers or of booleans`);
    return Tensor.fromHost(values.map(Number), [values.length], isBool ? 'bool' : 'int32');
  }
  if (typeof key !== 'object' || key === null || isTensor(key)) return key;
  const unknown = Object.keys(key).find((name) => !['start', 'stop', 'step'].includes(name));
  if (unknown !== undefined)
    throw new Error(`__getitem__: a slice has start, stop and step, but no '${unknown}'`);
  const { start = null, stop = null, step = null } = key as Key;
  return [start, stop, step ?? 1];
}

/**
 * Python's `x[key]` with the key as Python has it: `{ start, stop, step }` for a slice, an array of numbers
 * for a list of positions, an array of anything else for a tuple. {@link index} says what comes of it, and is
 * shorter to write.
 */
export function __getitem__(x: Tensor, key: GetItemKey): Tensor | Promise<Tensor> {
  checkTensors('__getitem__', x);
  checkCount('__getitem__', arguments.length, 2);
  const isTuple =
    Array.isArray(key) &&
    !key.every((part) => typeof part === 'number') &&
    !key.every((part) => typeof part === 'boolean');
  return (index as (x: Tensor, ...parts: unknown[]) => Tensor | Promise<Tensor>)(
    x,
    ...(isTuple ? key : [key]).map(partOf),
  );
}

export interface IndexPutOptions {
  /** Add to what is there; several for one place add up. */
  accumulate?: boolean;
}

function valuesOf(op: string, x: Tensor, values: Tensor | number | boolean): Tensor {
  if (isTensor(values)) {
    checkSameDtype(op, x, values);
    return values;
  }
  if (typeof values !== 'number' && typeof values !== 'boolean')
    throw new Error(`${op}: values must be a tensor or a number, got ${String(values)}`);
  return Tensor.fromHost([elementOf(op, Number(values), x.dtype)], [], x.dtype);
}

function fitting(op: string, values: Tensor, shape: readonly number[]): Tensor {
  if (!expandsTo(values.shape, shape))
    throw new Error(
      `${op}: values of shape ${showShape(values.shape)} do not broadcast to ${showShape(shape)}, which the indices pick`,
    );
  return expand(values, shape);
}

/** The view with `values` where the picks say. */
function written(op: string, subscript: Subscript, values: Tensor, accumulate: boolean): Tensor {
  const { view: whole, picks } = subscript;
  if (picks.length === 0) {
    const fit = fitting(op, values, whole.shape);
    return accumulate ? add(whole, fit) : fit;
  }
  if (picks.some(({ by }) => isMask(by))) return writtenMasked(op, subscript, values, accumulate);
  const { view, dim, order } = gathered(subscript);
  const tensors = picks.map(({ by }) => by);
  const sizes = view.shape.slice(dim, dim + picks.length);
  const [indices, lookup] = wrappedIndices(op, tensors, sizes);
  const looked = broadcastShapes(op, ...indices.map(({ shape }) => shape));
  const shape = [...view.shape.slice(0, dim), ...looked, ...view.shape.slice(dim + picks.length)];
  const how = { ...lookup, reduce: accumulate ? 'add' : 'assign' } as const;
  const out = putRowsOp(view, indices, fitting(op, values, shape), dim, how);
  if (order === null) return out;
  const back = order.map((_, d) => order.indexOf(d));
  return permute(out, back);
}

function writtenMasked(op: string, { view, picks }: Subscript, values: Tensor, accumulate: boolean): Tensor {
  if (picks.length > 1)
    throw new Error(
      `${op}: a mask may not stand beside other tensors; give what await nonzero(mask, { asTuple: true }) gives instead`,
    );
  const [{ dim, by: mask }] = picks as [{ dim: number; by: Tensor }];
  const after = view.shape.slice(dim + mask.ndim);
  // One value is PyTorch's `masked_fill`, whatever its rank.
  const given = values.numel() === 1 && !accumulate ? reshape(values, []) : values;
  const lead = Math.max(0, dim + 1 + after.length - given.ndim);
  const lifted = reshape(given, [...new Array<number>(lead).fill(1), ...given.shape]);
  const count = lifted.shape[dim] as number;
  const picked = fitting(op, lifted, [...view.shape.slice(0, dim), count, ...after]);
  const spread = count === 1 ? picked : fromMask(op, reshape(mask, [-1]), picked, dim, 'fit');
  const ones = mask.shape.map(() => 1);
  const place = reshape(spread, [
    ...view.shape.slice(0, dim),
    ...(count === 1 ? ones : mask.shape),
    ...after,
  ]);
  const test = reshape(mask, [...mask.shape, ...after.map(() => 1)]);
  return where(test, accumulate ? add(view, place) : place, view);
}

type PutArgs = Needed<
  [indices: readonly AnyIndex[], values: Tensor | number | boolean],
  ['indices', 'values'],
  [accumulate: boolean],
  IndexPutOptions
>;

const readPut = optionReader(
  'indexPut',
  {
    indices: required<readonly AnyIndex[]>(),
    values: required<Tensor | number | boolean>(),
    accumulate: false,
  },
  'indices',
  'values',
  'accumulate',
);

function checkParts(op: string, parts: unknown): readonly unknown[] {
  if (!Array.isArray(parts))
    throw new Error(`${op}: indices must be a list, one for each dim, got ${String(parts)}`);
  // PyTorch's null is a dim that nothing picks from.
  return (parts as unknown[]).map((part) => (part === null ? [] : part));
}

/**
 * `torch.Tensor.index_put`: `x` with `values` (of the same dtype, or a number) where `indices` pick, one for
 * each dim, null for a whole dim; they may be slices and numbers too, as of {@link index}. Values broadcast
 * to what {@link index} would give, but that a zero-dim tensor is a list as any other here: where it stands
 * apart from the rest, what is picked goes in front. With a mask values either broadcast, or are taken one
 * after another where it is true. Of several values for one place the last wins, or with `accumulate` they
 * add up.
 *
 * @throws Error for an index that the host knows to be out of range, or for a mask beside other tensors; (at
 * the next await) DataError for an index computed on the GPU, and unless values are as many as the mask picks
 */
export function indexPut(x: Tensor, ...args: PutArgs): Tensor {
  const { indices, values, accumulate } = readPut(args);
  return putAt(x, checkParts('indexPut', indices), values, accumulate);
}

const putAt = defineComposite(
  'indexPut',
  (x: Tensor, parts: readonly unknown[], values: Tensor | number | boolean, accumulate: boolean): Tensor => {
    const subscript = resolve('indexPut', x, parts, false);
    const out = written('indexPut', subscript, valuesOf('indexPut', x, values), accumulate);
    if (subscript.view === x && subscript.picks.length > 0) return out;
    const result = clone(x);
    copy_(resolve('indexPut', result, parts, false).view, out);
    return result;
  },
);

/** `torch.Tensor.index_put_`: {@link indexPut} in place. */
export const indexPut_ = named('indexPut_', (x: Tensor, ...args: PutArgs): Tensor => {
  checkTensors('indexPut_', x);
  const { indices, values, accumulate } = readPut(args);
  const subscript = resolve('indexPut_', x, checkParts('indexPut_', indices), false);
  const { view } = subscript;
  overwrite('indexPut_', view, () =>
    written('indexPut_', subscript, valuesOf('indexPut_', x, values), accumulate),
  );
  return x;
});
