import { toHalf } from '../tensor/dtype.js';
import { CheckpointError } from './errors.js';

/** Element types that weight files hold, under PyTorch's names. */
export type HostDtype =
  | 'float64'
  | 'float32'
  | 'float16'
  | 'bfloat16'
  | 'float8_e4m3fn'
  | 'float8_e5m2'
  | 'int64'
  | 'int32'
  | 'int16'
  | 'int8'
  | 'uint64'
  | 'uint32'
  | 'uint16'
  | 'uint8'
  | 'bool'
  | 'complex64'
  | 'complex128';

/** Bytes per element. */
export const itemSize: Readonly<Record<HostDtype, number>> = {
  float64: 8,
  float32: 4,
  float16: 2,
  bfloat16: 2,
  float8_e4m3fn: 1,
  float8_e5m2: 1,
  int64: 8,
  int32: 4,
  int16: 2,
  int8: 1,
  uint64: 8,
  uint32: 4,
  uint16: 2,
  uint8: 1,
  bool: 1,
  complex64: 8,
  complex128: 16,
};

export function isHostDtype(name: string): name is HostDtype {
  return Object.hasOwn(itemSize, name);
}

/** Bytes of one number: a complex element holds two, and byte order concerns each of them. */
export function wordSize(dtype: HostDtype): number {
  return dtype === 'complex64' || dtype === 'complex128' ? itemSize[dtype] / 2 : itemSize[dtype];
}

/** Value of a small float given as bits: sign, `exponentBits`, `mantissaBits`. */
function smallFloat(bits: number, exponentBits: number, mantissaBits: number, finiteOnly: boolean): number {
  const sign = bits >> (exponentBits + mantissaBits) ? -1 : 1;
  const exponentMax = (1 << exponentBits) - 1;
  const exponent = (bits >> mantissaBits) & exponentMax;
  const mantissa = bits & ((1 << mantissaBits) - 1);
  const bias = exponentMax >> 1;
  if (finiteOnly) {
    if (exponent === exponentMax && mantissa === (1 << mantissaBits) - 1) return NaN;
  } else if (exponent === exponentMax) {
    return mantissa === 0 ? sign * Infinity : NaN;
  }
  if (exponent === 0) return sign * mantissa * 2 ** (1 - bias - mantissaBits);
  return sign * (1 + mantissa / (1 << mantissaBits)) * 2 ** (exponent - bias);
}

function tableOf(entries: number, value: (bits: number) => number): () => Float32Array {
  let table: Float32Array | undefined;
  return () => {
    if (table === undefined) {
      table = new Float32Array(entries);
      for (let bits = 0; bits < entries; bits++) table[bits] = value(bits);
    }
    return table;
  };
}

const float16Table = tableOf(65536, (bits) => smallFloat(bits, 5, 10, false));
// e4m3fn has no infinities: see "FP8 Formats for Deep Learning", Micikevicius et al. 2022.
const float8e4m3Table = tableOf(256, (bits) => smallFloat(bits, 4, 3, true));
const float8e5m2Table = tableOf(256, (bits) => smallFloat(bits, 5, 2, false));

/** Bytes at an address that typed arrays of `word` bytes accept; copies only if the address is odd. */
function aligned(bytes: Uint8Array, word: number): Uint8Array {
  return bytes.byteOffset % word === 0 ? bytes : bytes.slice();
}

function lookUp(codes: Uint8Array | Uint16Array, table: Float32Array): Float32Array {
  const out = new Float32Array(codes.length);
  for (let i = 0; i < out.length; i++) out[i] = table[codes[i]!]!;
  return out;
}

type NumberArray =
  Float64Array | Float32Array | Int32Array | Uint32Array | Int16Array | Uint16Array | Int8Array | Uint8Array;

/** Native view of the bytes for dtypes that JavaScript has numbers for; undefined for the others. */
function numberView(bytes: Uint8Array, dtype: HostDtype): NumberArray | undefined {
  const { buffer, byteOffset, byteLength } = aligned(bytes, itemSize[dtype]);
  const length = byteLength / itemSize[dtype];
  switch (dtype) {
    case 'float64':
      return new Float64Array(buffer, byteOffset, length);
    case 'float32':
      return new Float32Array(buffer, byteOffset, length);
    case 'int32':
      return new Int32Array(buffer, byteOffset, length);
    case 'uint32':
      return new Uint32Array(buffer, byteOffset, length);
    case 'int16':
      return new Int16Array(buffer, byteOffset, length);
    case 'uint16':
      return new Uint16Array(buffer, byteOffset, length);
    case 'int8':
      return new Int8Array(buffer, byteOffset, length);
    case 'uint8':
      return new Uint8Array(buffer, byteOffset, length);
    default:
      return undefined;
  }
}

/**
 * Little-endian bytes of any real dtype as float32, rounded to nearest as `tensor.float()` does.
 * float32 is returned as a view on `bytes` when its address allows. Complex dtypes throw, naming `what`.
 */
export function decodeFloat32(bytes: Uint8Array, dtype: HostDtype, what: string): Float32Array {
  const numbers = numberView(bytes, dtype);
  if (numbers instanceof Float32Array) return numbers;
  if (numbers !== undefined) return Float32Array.from(numbers);
  switch (dtype) {
    case 'float16':
      return lookUp(words16(bytes), float16Table());
    case 'bfloat16': {
      const codes = words16(bytes);
      const out = new Uint32Array(codes.length);
      for (let i = 0; i < out.length; i++) out[i] = codes[i]! << 16;
      return new Float32Array(out.buffer);
    }
    case 'float8_e4m3fn':
      return lookUp(bytes, float8e4m3Table());
    case 'float8_e5m2':
      return lookUp(bytes, float8e5m2Table());
    case 'bool':
      return Float32Array.from(bytes, (byte) => (byte === 0 ? 0 : 1));
    case 'int64':
      return Float32Array.from(words64(bytes, true), Number);
    case 'uint64':
      return Float32Array.from(words64(bytes, false), Number);
    default:
      throw new CheckpointError(
        `${what}: ${dtype} values cannot become float32; save the real and imaginary parts`,
      );
  }
}

/**
 * Little-endian bytes of an integer or bool dtype as int32. A value outside int32 throws an Error that gives
 * `what`, the value and its flat index; floating-point dtypes throw too.
 */
export function decodeInt32(bytes: Uint8Array, dtype: HostDtype, what: string): Int32Array {
  const outOfRange = (value: number | bigint, index: number) =>
    new CheckpointError(
      `${what}: ${dtype} value ${value} at index ${index} does not fit int32 (-2147483648 to 2147483647)`,
    );
  if (dtype === 'bool') return Int32Array.from(bytes, (byte) => (byte === 0 ? 0 : 1));
  if (dtype === 'int64' || dtype === 'uint64') {
    // The low word is the answer when the high word is only its sign: much faster than a BigInt per element.
    const { buffer, byteOffset, byteLength } = aligned(bytes, 4);
    const words = new Int32Array(buffer, byteOffset, byteLength / 4);
    const out = new Int32Array(words.length / 2);
    for (let i = 0; i < out.length; i++) {
      const low = words[2 * i]!;
      const sign = dtype === 'int64' ? low >> 31 : 0;
      if (words[2 * i + 1] !== sign || (dtype === 'uint64' && low < 0)) {
        throw outOfRange(words64(bytes.subarray(8 * i, 8 * i + 8), dtype === 'int64')[0]!, i);
      }
      out[i] = low;
    }
    return out;
  }
  const numbers = numberView(bytes, dtype);
  if (numbers === undefined || numbers instanceof Float32Array || numbers instanceof Float64Array) {
    throw new CheckpointError(`${what}: holds ${dtype}, not integers; read it with toFloat32Array()`);
  }
  if (numbers instanceof Int32Array) return numbers;
  if (numbers instanceof Uint32Array) {
    const index = numbers.findIndex((value) => value > 0x7fffffff);
    if (index >= 0) throw outOfRange(numbers[index]!, index);
  }
  return Int32Array.from(numbers);
}

function words16(bytes: Uint8Array): Uint16Array {
  const { buffer, byteOffset, byteLength } = aligned(bytes, 2);
  return new Uint16Array(buffer, byteOffset, byteLength / 2);
}

function words64(bytes: Uint8Array, signed: boolean): BigInt64Array | BigUint64Array {
  const { buffer, byteOffset, byteLength } = aligned(bytes, 8);
  return signed
    ? new BigInt64Array(buffer, byteOffset, byteLength / 8)
    : new BigUint64Array(buffer, byteOffset, byteLength / 8);
}

const floatBits = new Float32Array(1);
const bitsOfFloat = new Uint32Array(floatBits.buffer);

function bfloat16Bits(value: number): number {
  floatBits[0] = value;
  const bits = bitsOfFloat[0]!;
  if (value !== value) return (bits >>> 16) | 0x40;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

/**
 * Numbers as little-endian bytes of a dtype. The bytes of a typed array that already has the dtype are a view
 * on it. Integers must be whole and in range; otherwise throws, naming `what` and the index.
 */
export function encodeNumbers(
  values: ArrayLike<number> | ArrayLike<bigint>,
  dtype: HostDtype,
  what: string,
): Uint8Array {
  if (isSameType(values, dtype)) return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const count = values.length;
  const bytes = new Uint8Array(count * itemSize[dtype]);
  const view = new DataView(bytes.buffer);
  const real = (i: number) => Number(values[i]);
  const whole = (i: number, least: bigint, most: bigint): bigint => {
    const value = values[i]!;
    if (typeof value === 'number' && !Number.isInteger(value)) {
      throw new CheckpointError(
        `${what}: value ${value} at index ${i} is not a whole number, as ${dtype} needs`,
      );
    }
    const exact = BigInt(value);
    if (exact < least || exact > most) {
      throw new CheckpointError(`${what}: value ${value} at index ${i} does not fit ${dtype}`);
    }
    return exact;
  };
  const bits = 8 * itemSize[dtype];
  switch (dtype) {
    case 'float64':
      for (let i = 0; i < count; i++) view.setFloat64(8 * i, real(i), true);
      break;
    case 'float32':
      for (let i = 0; i < count; i++) view.setFloat32(4 * i, real(i), true);
      break;
    case 'float16':
      for (let i = 0; i < count; i++) view.setUint16(2 * i, toHalf(real(i)), true);
      break;
    case 'bfloat16':
      for (let i = 0; i < count; i++) view.setUint16(2 * i, bfloat16Bits(real(i)), true);
      break;
    case 'bool':
      for (let i = 0; i < count; i++) bytes[i] = real(i) === 0 ? 0 : 1;
      break;
    case 'int64':
      for (let i = 0; i < count; i++) view.setBigInt64(8 * i, whole(i, -(2n ** 63n), 2n ** 63n - 1n), true);
      break;
    case 'uint64':
      for (let i = 0; i < count; i++) view.setBigUint64(8 * i, whole(i, 0n, 2n ** 64n - 1n), true);
      break;
    case 'int32':
    case 'int16':
    case 'int8':
    case 'uint32':
    case 'uint16':
    case 'uint8': {
      const signed = dtype.startsWith('int');
      const least = signed ? -(2n ** BigInt(bits - 1)) : 0n;
      const most = signed ? -least - 1n : 2n ** BigInt(bits) - 1n;
      for (let i = 0; i < count; i++) {
        const value = Number(whole(i, least, most));
        // Setting an unsigned slot stores the two's complement of a negative number.
        if (bits === 32) view.setUint32(4 * i, value, true);
        else if (bits === 16) view.setUint16(2 * i, value, true);
        else view.setUint8(i, value);
      }
      break;
    }
    default:
      throw new CheckpointError(`${what}: cannot write numbers as ${dtype}`);
  }
  return bytes;
}

/** Bits of the float16 nearest to a float32 given as bits, ties to even. */
function halfOfFloatBits(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return 0x7e00;
  // 65520 and above round to infinity; the addition below would reach NaN from 131072 on.
  if (magnitude >= 0x47800000) return sign | 0x7c00;
  // A subnormal's ulp is 2^-24, so the significand moves right by more the smaller its exponent is.
  const subnormal = magnitude < 0x38800000;
  const shift = subnormal ? 126 - (magnitude >>> 23) : 13;
  if (shift > 24) return sign;
  const significand = subnormal ? (magnitude & 0x7fffff) | 0x800000 : magnitude - 0x38000000;
  const half = significand >>> shift;
  const rest = significand & ((1 << shift) - 1);
  const tie = 1 << (shift - 1);
  // Rounding up may carry into the exponent, which is right.
  return sign | (rest > tie || (rest === tie && half & 1) ? half + 1 : half);
}

function bfloatOfFloatBits(bits: number): number {
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

/**
 * Little-endian bytes of one dtype as those of another: to floating point by way of float32, to integers
 * exactly (a value that is not whole or does not fit throws, naming `what`).
 */
export function convertBytes(bytes: Uint8Array, from: HostDtype, to: HostDtype, what: string): Uint8Array {
  if (from === to) return bytes;
  if (to === 'float16' || to === 'bfloat16') {
    const floats = decodeFloat32(bytes, from, what);
    const bits = new Uint32Array(floats.buffer, floats.byteOffset, floats.length);
    const out = new Uint16Array(bits.length);
    const convert = to === 'float16' ? halfOfFloatBits : bfloatOfFloatBits;
    for (let i = 0; i < out.length; i++) out[i] = convert(bits[i]!);
    return new Uint8Array(out.buffer);
  }
  if (to === 'float32' || to === 'bool' || isSmallFloat(from))
    return encodeNumbers(decodeFloat32(bytes, from, what), to, what);
  if (from === 'int64' || from === 'uint64') return encodeNumbers(words64(bytes, from === 'int64'), to, what);
  const numbers = numberView(bytes, from);
  if (numbers === undefined) throw new CheckpointError(`${what}: ${from} values cannot become ${to}`);
  return encodeNumbers(numbers, to, what);
}

const isSmallFloat = (dtype: HostDtype): boolean =>
  dtype === 'float16' || dtype === 'bfloat16' || dtype.startsWith('float8') || dtype === 'bool';

/** The dtypes that hold fractions. */
export const isFloatingDtype = (dtype: HostDtype): boolean => /^b?float/.test(dtype);

const arrayTypes = {
  float64: Float64Array,
  float32: Float32Array,
  int64: BigInt64Array,
  int32: Int32Array,
  int16: Int16Array,
  int8: Int8Array,
  uint64: BigUint64Array,
  uint32: Uint32Array,
  uint16: Uint16Array,
  uint8: Uint8Array,
} as const;

function isSameType(values: object, dtype: HostDtype): values is ArrayBufferView {
  return Object.hasOwn(arrayTypes, dtype) && values instanceof arrayTypes[dtype as keyof typeof arrayTypes];
}
