/**
 * Sums, products and sums of products of int32 values that are exact where the result fits int32, and raise
 * an error (base/faults.ts) where it does not. What is summed on the way may be larger: only the result
 * counts.
 */
import { wgslType, type DType, type Width } from '../base/dtype.js';
import type { Fault } from '../base/kernel.js';
import type { Reducer } from './reducer.js';

/** A sum in 64 bits, as two words. 2^32 values of 31 bits stay far from its end. */
const exactSum: Reducer = {
  fields: [
    { type: 'u32', init: '0u' },
    { type: 'u32', init: '0u' },
  ],
  step: (acc, x, _, width) =>
    add64(acc, `${u32(width)}(${x})`, `${u32(width)}(${x} >> ${u32(width)}(31u))`, width),
  merge: (acc, b, width) => add64(acc, b[0]!, b[1]!, width),
  results: (acc, width) => [`${wgslType('i32', width)}(${acc[0]})`],
  refuses: (acc) => ({
    bad: `${acc[1]} != (0u - (${acc[0]} >> 31u))`,
    words: `${acc[0]}, ${acc[1]}, 0u, 0u`,
  }),
};

const u32 = (width: Width): string => wgslType('u32', width);

const add64 = (
  acc: readonly string[],
  low: string,
  high: string,
  width: Width,
): string => `{ let low = ${low};
  let sum = ${acc[0]} + low;
  ${acc[1]} += ${high} + ${u32(width)}(sum < low);
  ${acc[0]} = sum; }`;

/**
 * A sum of products, likewise: as many as there may be elements in a tensor stay within 64 bits unless nearly
 * all are the least int32.
 */
const exactDot: Reducer = {
  ...exactSum,
  step: (acc, x, _, width, factor) => {
    const T = u32(width);
    // The high word of a signed product is the unsigned one less each factor where the other is negative.
    return `{ let x = ${x}; let y = ${factor!};
  let a = ${T}(x); let b = ${T}(y);
  ${highWord(T)}
  let top = high - (${T}(x >> ${T}(31u)) & b) - (${T}(y >> ${T}(31u)) & a);
  ${add64(acc, 'a * b', 'top', width)} }`;
  },
};

/**
 * A product as its absolute value and the number of negative factors. An absolute value past 2^31 (that of
 * the least int32) becomes the largest word and stays there, since factors are integers, unless one of them
 * is 0.
 */
const exactProduct: Reducer = {
  fields: [
    { type: 'u32', init: '1u' },
    { type: 'u32', init: '0u' },
  ],
  // abs(-2^31) is -2^31, whose bits are those of 2^31.
  step: (acc, x, _, width) =>
    multiply(acc, `${u32(width)}(abs(${x}))`, `(${u32(width)}(${x}) >> ${u32(width)}(31u))`, width),
  merge: (acc, b, width) => multiply(acc, b[0]!, b[1]!, width),
  results: (acc, width) => [
    `(${wgslType('i32', width)}(${acc[0]}) * (1 - 2 * ${wgslType('i32', width)}(${acc[1]} & ${u32(width)}(1u))))`,
  ],
  refuses: (acc) => ({
    bad: `${acc[0]} > 2147483647u + (${acc[1]} & 1u)`,
    words: '0u, 0u, 0u, 0u',
  }),
};

/** WGSL: `high` is the high word of the unsigned product of `a` and `b`, from halves. */
const highWord = (T: string): string =>
  `let al = a & ${T}(0xffffu); let ah = a >> ${T}(16u); let bl = b & ${T}(0xffffu); let bh = b >> ${T}(16u);
  let t = ah * bl + ((al * bl) >> ${T}(16u));
  let high = ah * bh + (t >> ${T}(16u)) + ((al * bh + (t & ${T}(0xffffu))) >> ${T}(16u));`;

const multiply = (acc: readonly string[], size: string, negative: string, width: Width): string => {
  const T = u32(width);
  return `{ let a = ${acc[0]}; let b = ${size};
  ${highWord(T)}
  let low = a * b;
  ${acc[0]} = select(low, ${T}(0xffffffffu), (high != ${T}(0u)) | (low > ${T}(0x80000000u)));
  ${acc[1]} += ${negative}; }`;
};

export const exact = { exactSum, exactDot, exactProd: exactProduct } as const;

export type ExactOp = keyof typeof exact;

const largest: Readonly<Partial<Record<DType, number>>> = { bool: 1, uint8: 255, int32: 2 ** 31 };

/**
 * Whether a sum or product of `count` values of `dtype`, or a sum of `count` products of two, may leave
 * int32, so that it takes the exact kernels; never for floats.
 */
export function mayOverflow(op: ExactOp, dtype: DType, count: number): boolean {
  const most = largest[dtype];
  if (most === undefined || count === 0) return false;
  if (op === 'exactDot') return most * most * count >= 2 ** 31;
  return count > 1 && (op === 'exactSum' ? most * count : most ** count) >= 2 ** 31;
}

/** The error of {@link exact}'s reducers. */
export function overflowFault(op: string, kind: ExactOp): Fault {
  const remedy = "convert the input with .to('float32') first";
  return {
    op,
    text: ([low, high]) => {
      const result = kind !== 'exactProd' ? ` ${BigInt.asIntN(64, (BigInt(high) << 32n) | BigInt(low))}` : '';
      return `${op}: the result${result} does not fit int32 (-2147483648 to 2147483647); ${remedy}`;
    },
  };
}
