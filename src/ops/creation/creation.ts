import { checkTensors } from '../base/tensors.js';
import { runtime } from '../../device/index.js';
import { planEye } from '../../kernels/index/positions.js';
import { dtypeNamed, elementOf, type DType, type DTypeName } from '../../tensor/dtype.js';
import { numel, showShape, type Shape } from '../../tensor/shape.js';
import { checkCount, type Needed, optionReader, required, requireNumber } from '../../tensor/options.js';
import { isTensor, Tensor, type NestedArray } from '../../tensor/tensor.js';
import { fillInto } from '../base/copies.js';
import { planLimits, runPlan } from '../base/run-plan.js';

export interface CreationOptions {
  /** Default: float32, or what the values say (`tensor`, `arange`, `full`). */
  dtype?: DTypeName;
  requiresGrad?: boolean;
  /** Taken so that PyTorch's code runs, and not looked at: there is one device. */
  device?: unknown;
}

/** @internal {@link CreationOptions} as read: the dtype is one that the GPU has. */
export interface ReadOptions {
  readonly dtype: DType | null;
  readonly requiresGrad: boolean;
}

const creationDefaults = { dtype: null as DTypeName | null, requiresGrad: false, device: null as unknown };

/** @internal @throws Error for unknown options and dtypes */
export function readOptions(op: string, options: CreationOptions = {}): ReadOptions {
  const { dtype, requiresGrad } = optionReader(op, creationDefaults)([options]);
  return { dtype: dtype === null ? null : dtypeNamed(op, dtype), requiresGrad };
}

/**
 * @internal `args` of `op` with {@link CreationOptions} among them, as {@link optionReader} reads them.
 */
export function readCreation<T extends object>(
  op: string,
  args: readonly unknown[],
  fields: T,
  ...positional: readonly (keyof T & string)[]
): T & { readonly options: ReadOptions } {
  const read = optionReader(op, { ...creationDefaults, ...fields }, ...positional)(args);
  const { dtype, requiresGrad, device: _, ...rest } = read as unknown as typeof creationDefaults;
  const options = { dtype: dtype === null ? null : dtypeNamed(op, dtype), requiresGrad };
  return { ...(rest as unknown as T), options };
}

/**
 * A shape as one array or as separate sizes, with options last: `zeros(2, 3)`, `zeros([2, 3], { dtype:
 * 'int32' })`.
 */
export type ShapeArgs =
  | [shape: Shape, options?: CreationOptions]
  | [...sizes: number[]]
  | [...sizes: number[], options: CreationOptions]
  | [options: CreationOptions & { size: Shape }];

/** @internal */
export function parseShape(op: string, args: readonly unknown[]): { shape: Shape; options: ReadOptions } {
  const last = args[args.length - 1];
  const hasOptions = typeof last === 'object' && last !== null && !Array.isArray(last);
  const sizes = hasOptions ? args.slice(0, -1) : args;
  if (hasOptions && sizes.length === 0 && 'size' in last) {
    const { size, ...rest } = last;
    return parseShape(op, [size, rest]);
  }
  const shape = (Array.isArray(sizes[0]) && sizes.length === 1 ? sizes[0] : sizes) as readonly unknown[];
  for (const size of shape) {
    if (typeof size !== 'number' || !Number.isInteger(size) || size < 0) {
      throw new Error(
        `${op}: [${shape.map(String).join(', ')}] is not a shape; sizes are integers of 0 or more, one by one or in one array, and options have names ({ dtype: 'int32' })`,
      );
    }
  }
  const options = readOptions(op, hasOptions ? (last as CreationOptions) : {});
  return { shape: [...(shape as number[])], options };
}

function finish(tensor: Tensor, { requiresGrad }: { readonly requiresGrad: boolean }): Tensor {
  if (requiresGrad) tensor.requiresGrad = true;
  return tensor;
}

export interface TensorOptions extends CreationOptions {
  /** For flat typed arrays: the shape (default: one dim). */
  shape?: Shape;
}

/** Anything `tensor()` takes: a number, nested arrays, or a flat typed array. */
export type TensorData =
  | NestedArray
  | Float32Array
  | Float64Array
  | Int32Array
  | Uint8Array
  | Uint8ClampedArray
  | Uint16Array
  | Uint32Array
  | Int8Array
  | Int16Array
  | BigInt64Array;

const tensorDefaults = { ...creationDefaults, shape: null as Shape | null };

/** float64 is held as float32: what that cannot hold would come back as infinity. */
function checkDouble(op: string, values: ArrayLike<number>, dtype: DTypeName | null): void {
  if (dtype !== 'float64' && dtype !== 'double') return;
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as number;
    if (Number.isFinite(value) && !Number.isFinite(Math.fround(value)))
      throw new RangeError(
        `${op}: value ${value} at position ${i} does not fit float32, in which float64 is held`,
      );
  }
}

/**
 * `torch.tensor`: uploads host values. Nested arrays give the shape; a flat typed array takes `shape`.
 * Without a dtype, booleans give bool, Uint8Array gives uint8, integer typed arrays int32, and all other
 * numbers float32.
 */
export function tensor(data: TensorData, options: TensorOptions = {}): Tensor {
  checkCount('tensor', arguments.length, 2);
  const read = optionReader('tensor', tensorDefaults)([options]);
  const dtype = read.dtype === null ? null : dtypeNamed('tensor', read.dtype);
  if (isTensor(data)) throw new Error('tensor: the data is already a tensor; use clone() or detach()');
  let values: ArrayLike<number>;
  let shape: Shape;
  let natural: DType = 'float32';
  if (ArrayBuffer.isView(data)) {
    values = data instanceof BigInt64Array ? Float64Array.from(data, Number) : (data as ArrayLike<number>);
    shape = read.shape ?? [values.length];
    if (data instanceof Uint8Array || data instanceof Uint8ClampedArray) natural = 'uint8';
    else if (!(data instanceof Float32Array) && !(data instanceof Float64Array)) natural = 'int32';
  } else {
    const flat: number[] = [];
    shape = flattenNested(data as NestedArray, flat);
    if (read.shape !== null) shape = read.shape;
    values = flat;
    if (firstLeaf(data as NestedArray) === 'boolean') natural = 'bool';
  }
  if (numel(shape) !== values.length) {
    throw new Error(
      `tensor: ${values.length} values do not fill shape ${showShape(shape)} (${numel(shape)} elements)`,
    );
  }
  checkDouble('tensor', values, read.dtype);
  return finish(Tensor.fromHost(values, [...shape], dtype ?? natural), read);
}

function firstLeaf(data: NestedArray): string {
  let at: NestedArray | undefined = data;
  while (Array.isArray(at)) at = (at as readonly NestedArray[])[0];
  return typeof at;
}

function flattenNested(data: NestedArray, out: number[]): number[] {
  if (typeof data === 'number' || typeof data === 'boolean') {
    out.push(Number(data));
    return [];
  }
  if (!Array.isArray(data))
    throw new Error(
      `tensor: expected numbers, booleans or nested arrays of them, found ${data === null ? 'null' : typeof data}`,
    );
  let inner: number[] | null = null;
  for (const item of data as readonly NestedArray[]) {
    const shape = flattenNested(item, out);
    if (inner !== null && showShape(inner) !== showShape(shape)) {
      throw new Error(
        `tensor: rows of different shapes (${showShape(inner)} and ${showShape(shape)}); nested arrays must be rectangular`,
      );
    }
    inner = shape;
  }
  return [data.length, ...(inner ?? [])];
}

function filled(shape: Shape, dtype: DType, value: number, op: string): Tensor {
  const element = elementOf(op, value, dtype);
  const out = Tensor.empty(shape, dtype, op);
  if (out.numel() > 0) fillInto(out, element, false);
  return out;
}

/** `torch.zeros`. */
export function zeros(...args: ShapeArgs): Tensor {
  const { shape, options } = parseShape('zeros', args);
  return finish(filled(shape, options.dtype ?? 'float32', 0, 'zeros'), options);
}

/** `torch.ones`. */
export function ones(...args: ShapeArgs): Tensor {
  const { shape, options } = parseShape('ones', args);
  return finish(filled(shape, options.dtype ?? 'float32', 1, 'ones'), options);
}

/**
 * `torch.empty`. The contents are zeros here: memory is pooled, and another tensor's values are nobody's
 * business.
 */
export function empty(...args: ShapeArgs): Tensor {
  const { shape, options } = parseShape('empty', args);
  return finish(filled(shape, options.dtype ?? 'float32', 0, 'empty'), options);
}

const fillField = { fillValue: required<number | boolean>() };
const fullFields = { size: required<Shape>(), ...fillField };

/** `torch.full`. Without a dtype: bool for booleans, int32 for integers, float32 otherwise. */
export function full(
  ...args: Needed<[size: Shape, fillValue: number | boolean], ['size', 'fillValue'], [], CreationOptions>
): Tensor {
  const {
    size,
    fillValue: value,
    options: read,
  } = readCreation('full', args, fullFields, 'size', 'fillValue');
  const { shape: sizes } = parseShape('full', [size]);
  const number = requireNumber('full', value);
  checkDouble('full', [number], (args[args.length - 1] as CreationOptions).dtype ?? null);
  const natural: DType =
    typeof value === 'boolean' ? 'bool' : Number.isInteger(value) && !read.requiresGrad ? 'int32' : 'float32';
  return finish(filled(sizes, read.dtype ?? natural, number, 'full'), read);
}

type Like = (x: Tensor, options?: CreationOptions) => Tensor;
const like =
  (op: string, value: number): Like =>
  (...args) => {
    checkCount(op, args.length, 2);
    const [x, given] = args;
    checkTensors(op, x);
    return likeAs(op, x, value, readOptions(op, given));
  };

function likeAs(op: string, x: Tensor, value: number, options: ReadOptions): Tensor {
  const dtype = options.dtype ?? x.dtype;
  const element = elementOf(op, value, dtype);
  const out = Tensor.empty(x.shape, dtype, op, x.isDense() ? x.strides : undefined, x);
  if (out.numel() > 0) fillInto(out, element, false);
  return finish(out, options);
}

/** `torch.zeros_like`. */
export const zerosLike: Like = like('zerosLike', 0);
/** `torch.ones_like`. */
export const onesLike: Like = like('onesLike', 1);
/** `torch.empty_like`; zeros, as {@link empty}. */
export const emptyLike: Like = like('emptyLike', 0);
/** `torch.full_like`. */
export function fullLike(
  x: Tensor,
  ...args: Needed<[fillValue: number | boolean], ['fillValue'], [], CreationOptions>
): Tensor {
  const { fillValue, options } = readCreation('fullLike', args, fillField, 'fillValue');
  return likeAs('fullLike', x, requireNumber('fullLike', fillValue), options);
}

const arangeFields = { start: 0, end: required<number>(), step: 1 };

/** `torch.arange(end)`, `arange(start, end, step?)`: int32 when all arguments are integers. */
export function arange(
  ...args:
    | [end: number, options?: CreationOptions]
    | [start: number, end: number, options?: CreationOptions & { step?: number }]
    | [start: number, end: number, step: number, options?: CreationOptions]
    | [start: number, options: CreationOptions & { end: number; step?: number }]
    | [options: CreationOptions & { start?: number; end: number; step?: number }]
): Tensor {
  const [first, second] = args;
  const endFirst =
    typeof first !== 'object' &&
    (typeof second !== 'object' || !('end' in second)) &&
    typeof second !== 'number';
  const { start, end, step, options } = endFirst
    ? readCreation('arange', args, arangeFields, 'end')
    : readCreation('arange', args, arangeFields, 'start', 'end', 'step');
  if (!(step !== 0 && Number.isFinite(start) && Number.isFinite(end) && (end - start) / step >= 0)) {
    throw new Error(`arange: cannot count from ${start} to ${end} by ${step}`);
  }
  const count = Math.ceil((end - start) / step);
  const dtype = options.dtype ?? ([start, end, step].every(Number.isInteger) ? 'int32' : 'float32');
  for (const value of count > 0 ? [start, start + (count - 1) * step] : []) elementOf('arange', value, dtype);
  return finish(
    Tensor.fromHost(
      Float64Array.from({ length: count }, (_, i) => start + i * step),
      [count],
      dtype,
    ),
    options,
  );
}

function spaced(
  op: string,
  { start, end, steps, options }: { start: number; end: number; steps: number; options: ReadOptions },
  valueAt: (position: number) => number,
): Tensor {
  for (const bound of [start, end]) requireNumber(op, bound);
  if (!Number.isInteger(steps) || steps < 0)
    throw new Error(`${op}: steps must be an integer of 0 or more, got ${steps}`);
  const dtype = options.dtype ?? 'float32';
  for (const value of steps > 0 ? [start, end] : []) elementOf(op, valueAt(value), dtype);
  const gap = steps > 1 ? (end - start) / (steps - 1) : 0;
  const middle = Math.floor(steps / 2);
  const values = Float64Array.from({ length: steps }, (_, i) =>
    valueAt(i < middle || steps === 1 ? start + i * gap : end - (steps - 1 - i) * gap),
  );
  return finish(Tensor.fromHost(values, [steps], dtype), options);
}

type Spaced = [start: number, end: number, steps: number];
type SpacedNames = ['start', 'end', 'steps'];
const spacedFields = { start: required<number>(), end: required<number>(), steps: required<number>() };

/** `torch.linspace`: `steps` values from `start` to `end`, both included. */
export function linspace(...args: Needed<Spaced, SpacedNames, [], CreationOptions>): Tensor {
  const read = readCreation('linspace', args, spacedFields, 'start', 'end', 'steps');
  return spaced('linspace', read, (value) => value);
}

export interface LogspaceOptions extends CreationOptions {
  /** Default 10. */
  base?: number;
}

/** `torch.logspace`: `steps` powers of `base` (default 10) with exponents from `start` to `end`. */
export function logspace(...args: Needed<Spaced, SpacedNames, [base: number], LogspaceOptions>): Tensor {
  const fields = { ...spacedFields, base: 10 };
  const { base, ...read } = readCreation('logspace', args, fields, 'start', 'end', 'steps', 'base');
  return spaced('logspace', read, (value) => base ** value);
}

/** `torch.eye`. */
export function eye(
  ...args: Needed<[n: number], ['n'], [m: number], CreationOptions & { m?: number }>
): Tensor {
  const fields = { n: required<number>(), m: null as number | null };
  const { n, m, options: read } = readCreation('eye', args, fields, 'n', 'm');
  const columns = m ?? n;
  parseShape('eye', [[n, columns]]);
  const out = Tensor.empty([n, columns], read.dtype ?? 'float32', 'eye');
  if (out.numel() > 0) runPlan('eye', planEye(runtime().target, { out, ...planLimits() }), { out });
  return finish(out, read);
}
