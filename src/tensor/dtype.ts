/** Element types and PyTorch's promotion rules among them. */

import { dtypeInfo, type DType } from '../kernels/base/dtype.js';

export type { DType } from '../kernels/base/dtype.js';

/** What `await t.data()` gives for a dtype. float16 is widened to Float32Array; bool reads as 0/1 bytes. */
export type TypedArray = Float32Array | Int32Array | Uint8Array;

/** Bytes one element takes in GPU memory: WGSL has no 8-bit storage, so uint8 and bool take a whole u32. */
export const bytesPerElement: Readonly<Record<DType, number>> = {
  float32: dtypeInfo.float32.bytes,
  float16: dtypeInfo.float16.bytes,
  int32: dtypeInfo.int32.bytes,
  uint8: dtypeInfo.uint8.bytes,
  bool: dtypeInfo.bool.bytes,
};

const dtypes = new Set<string>(Object.keys(bytesPerElement));

export function isDType(value: unknown): value is DType {
  return typeof value === 'string' && dtypes.has(value);
}

/**
 * PyTorch's other names. The GPU has no 64-bit numbers: integers are held as int32 and floats as float32.
 * Integers from the host that do not fit, and integer results that do not, are errors; floats are rounded.
 */
const otherNames = {
  int64: 'int32',
  long: 'int32',
  int: 'int32',
  float64: 'float32',
  double: 'float32',
  float: 'float32',
  half: 'float16',
  byte: 'uint8',
} as const satisfies Readonly<Record<string, DType>>;

/** What ops take for a dtype: its name, or another that PyTorch has for it or for a wider one. */
export type DTypeName = DType | keyof typeof otherNames;

/** The dtype that `name` stands for. @throws Error naming `op` when there is none */
export function dtypeNamed(op: string, name: DTypeName): DType {
  if (isDType(name)) return name;
  if (typeof name === 'string' && Object.hasOwn(otherNames, name)) return otherNames[name];
  throw new Error(
    `${op}: '${String(name)}' is not a dtype (float32, float16, int32, uint8, bool; int64 and float64 are held as int32 and float32)`,
  );
}

/**
 * PyTorch's names of devices, so that its code runs: there is one device here, on which every tensor is, and
 * to move one there changes nothing.
 */
export type DeviceName = 'webgpu' | 'cuda' | 'mps' | 'xpu' | 'cpu' | `cuda:${number}`;

export const isDeviceName = (value: unknown): value is DeviceName =>
  typeof value === 'string' && /^(webgpu|cuda(:\d+)?|mps|xpu|cpu)$/.test(value);

export const isFloatingPoint = (dtype: DType): boolean => dtype === 'float32' || dtype === 'float16';

/** bool < integer < floating point. */
const category: Readonly<Record<DType, number>> = { bool: 0, uint8: 1, int32: 1, float16: 2, float32: 2 };
const rankInCategory: Readonly<Record<DType, number>> = {
  bool: 0,
  uint8: 0,
  int32: 1,
  float16: 0,
  float32: 1,
};

/** `torch.promote_types`: the smallest dtype both fit in by PyTorch's lattice. */
export function promoteTypes(a: DType, b: DType): DType {
  if (category[a] !== category[b]) return category[a] > category[b] ? a : b;
  return rankInCategory[a] >= rankInCategory[b] ? a : b;
}

/** Anything that takes part in promotion: a tensor (its rank counts) or a JavaScript number or boolean. */
export type Promotable = { readonly dtype: DType; readonly shape: readonly number[] } | number | boolean;

/**
 * `torch.result_type`: tensors with dimensions decide; zero-dim tensors and then plain numbers only lift the
 * result to a higher category (https://pytorch.org/docs/stable/tensor_attributes.html#type-promotion-doc).
 * An integral JavaScript number counts as an integer, any other as a float32.
 */
export function resultType(...operands: readonly Promotable[]): DType {
  const levels: (DType | null)[] = [null, null, null];
  for (const operand of operands) {
    let dtype: DType;
    let level: number;
    if (typeof operand === 'number') {
      dtype = Number.isInteger(operand) ? 'int32' : 'float32';
      level = 2;
    } else if (typeof operand === 'boolean') {
      dtype = 'bool';
      level = 2;
    } else {
      dtype = operand.dtype;
      level = operand.shape.length === 0 ? 1 : 0;
    }
    const seen = levels[level];
    levels[level] = seen ? promoteTypes(seen, dtype) : dtype;
  }
  let result: DType | null = null;
  for (const dtype of levels) {
    if (dtype === null || dtype === undefined) continue;
    if (result === null) result = dtype;
    else if (category[dtype] > category[result]) result = dtype;
  }
  return result ?? 'float32';
}

/** float32 for integers and bool, unchanged for floats: the dtype of `exp`, `mean`, true division. */
export const toFloatType = (dtype: DType): DType => (isFloatingPoint(dtype) ? dtype : 'float32');

/** IEEE half bits of a number, rounded once, to nearest even. */
export function toHalf(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const magnitude = Math.abs(value);
  if (value !== value) return 0x7e00;
  if (magnitude >= 65520) return sign | 0x7c00;
  // The grid of halves around the value: 2^-24 for subnormals, else ten bits below the leading one.
  let exponent = -14;
  if (magnitude >= 2 ** -14) {
    exponent = Math.floor(Math.log2(magnitude));
    if (2 ** exponent > magnitude) exponent--;
    else if (2 ** (exponent + 1) <= magnitude) exponent++;
  }
  const steps = magnitude / 2 ** (exponent - 10);
  let rounded = Math.floor(steps);
  const rest = steps - rounded;
  if (rest > 0.5 || (rest === 0.5 && rounded % 2 === 1)) rounded++;
  // Adding (rather than or-ing) lets a round-up carry into the exponent.
  return sign | (magnitude < 2 ** -14 ? rounded : ((exponent + 14) << 10) + rounded);
}

function fromHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 0x1f;
  const mantissa = bits & 0x3ff;
  if (exponent === 0) return sign * mantissa * 2 ** -24;
  if (exponent === 31) return mantissa ? NaN : sign * Infinity;
  return sign * (1 + mantissa / 1024) * 2 ** (exponent - 15);
}

const integerRange: Readonly<Partial<Record<DType, readonly [low: number, high: number]>>> = {
  int32: [-(2 ** 31), 2 ** 31 - 1],
  uint8: [0, 255],
};

/**
 * A number from the host as an element of `dtype`: integers are cut towards zero, as PyTorch does.
 *
 * @throws RangeError for one that an integer dtype does not hold, NaN too; it is never wrapped
 */
export function elementOf(op: string, value: number, dtype: DType, place = ''): number {
  const range = integerRange[dtype];
  if (range === undefined) return value;
  const whole = Math.trunc(value);
  if (!(whole >= range[0] && whole <= range[1])) {
    throw new RangeError(
      `${op}: value ${value}${place} does not fit ${dtype} (${range[0]} to ${range[1]}); use a dtype that holds it, such as float32`,
    );
  }
  return whole;
}

/**
 * Bytes as they are stored on the GPU for `values` of a dtype.
 *
 * @throws RangeError for a value that an integer dtype does not hold
 */
export function encode(values: ArrayLike<number>, dtype: DType, op = 'tensor'): ArrayBufferView {
  if (dtype === 'float32') return values instanceof Float32Array ? values : Float32Array.from(values);
  if (dtype === 'int32') {
    if (values instanceof Int32Array) return values;
    return Int32Array.from(values, (v, i) => elementOf(op, v, dtype, ` at position ${i}`));
  }
  if (dtype === 'float16') return Uint16Array.from(values, toHalf);
  if (dtype === 'bool') return Uint32Array.from(values, (v) => (v ? 1 : 0));
  if (values instanceof Uint8Array || values instanceof Uint8ClampedArray) return Uint32Array.from(values);
  return Uint32Array.from(values, (v, i) => elementOf(op, v, dtype, ` at position ${i}`));
}

/** The inverse of {@link encode}, for `count` elements at the start of `buffer`. */
export function decode(buffer: ArrayBuffer, dtype: DType, count: number): TypedArray {
  if (dtype === 'float32') return new Float32Array(buffer, 0, count);
  if (dtype === 'int32') return new Int32Array(buffer, 0, count);
  if (dtype === 'float16') return Float32Array.from(new Uint16Array(buffer, 0, count), fromHalf);
  return Uint8Array.from(new Uint32Array(buffer, 0, count));
}
