/** Element types and PyTorch's promotion rules among them. */

export type DType = 'float32' | 'float16' | 'int32' | 'uint8' | 'bool';

/** What `await t.data()` gives for a dtype. float16 is widened to Float32Array; bool reads as 0/1 bytes. */
export type TypedArray = Float32Array | Int32Array | Uint8Array;

/** Bytes one element takes in GPU memory: WGSL has no 8-bit storage, so uint8 and bool take a whole u32. */
export const bytesPerElement: Readonly<Record<DType, number>> = {
  float32: 4,
  float16: 2,
  int32: 4,
  uint8: 4,
  bool: 4,
};

const dtypes = new Set<string>(Object.keys(bytesPerElement));

export function isDType(value: unknown): value is DType {
  return typeof value === 'string' && dtypes.has(value);
}

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

/** IEEE half bits of a float32, rounded to nearest even. */
export function toHalf(value: number): number {
  scratchFloat[0] = value;
  const bits = scratchBits[0] as number;
  const sign = (bits >>> 16) & 0x8000;
  const exponent = (bits >>> 23) & 0xff;
  let mantissa = bits & 0x7fffff;
  if (exponent === 0xff) return sign | 0x7c00 | (mantissa ? 0x200 : 0);
  const e = exponent - 127 + 15;
  if (e >= 31) return sign | 0x7c00;
  if (e <= 0) {
    if (e < -10) return sign;
    mantissa |= 0x800000;
    const shift = 14 - e;
    const half = mantissa >>> shift;
    const rest = mantissa & ((1 << shift) - 1);
    const middle = 1 << (shift - 1);
    return sign | (half + (rest > middle || (rest === middle && half & 1) ? 1 : 0));
  }
  const half = (e << 10) | (mantissa >>> 13);
  const rest = mantissa & 0x1fff;
  return sign | (half + (rest > 0x1000 || (rest === 0x1000 && half & 1) ? 1 : 0));
}

export function fromHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 0x1f;
  const mantissa = bits & 0x3ff;
  if (exponent === 0) return sign * mantissa * 2 ** -24;
  if (exponent === 31) return mantissa ? NaN : sign * Infinity;
  return sign * (1 + mantissa / 1024) * 2 ** (exponent - 15);
}

const scratchFloat = new Float32Array(1);
const scratchBits = new Uint32Array(scratchFloat.buffer);

/** Bytes as they are stored on the GPU for `values` of a dtype. */
export function encode(values: ArrayLike<number>, dtype: DType): ArrayBufferView {
  if (dtype === 'float32') return values instanceof Float32Array ? values : Float32Array.from(values);
  if (dtype === 'int32') return values instanceof Int32Array ? values : Int32Array.from(values);
  if (dtype === 'float16') return Uint16Array.from(values, toHalf);
  if (dtype === 'bool') return Uint32Array.from(values, (v) => (v ? 1 : 0));
  return Uint32Array.from(values, (v) => v & 0xff);
}

/** The inverse of {@link encode}, for `count` elements at the start of `buffer`. */
export function decode(buffer: ArrayBuffer, dtype: DType, count: number): TypedArray {
  if (dtype === 'float32') return new Float32Array(buffer, 0, count);
  if (dtype === 'int32') return new Int32Array(buffer, 0, count);
  if (dtype === 'float16') return Float32Array.from(new Uint16Array(buffer, 0, count), fromHalf);
  return Uint8Array.from(new Uint32Array(buffer, 0, count));
}
