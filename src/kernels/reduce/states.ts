/**
 * What a reduction keeps while it runs: the fields of its state, how one value is taken in, how two states
 * are joined and what is read from the state at the end. The kernels (kernel.ts) write the loops around it.
 * All of it is WGSL that works on scalars and on vec4 alike, where each lane is a state of its own.
 */
import { wgslType, type ExprType, type Width } from '../base/dtype.js';
import { exact } from './exact-int.js';
import type { ReduceOp, Reducer } from './reducer.js';
import {
  kExp,
  kInf,
  kIsFinite,
  kIsNan,
  kLog,
  kMax,
  kMin,
  kOrderF,
  kOrderI,
  kOrderU,
  kUnorderF,
  kUnorderI,
  kUnorderU,
} from '../expr/math.js';
import type { WgslFunctions } from '../expr/wgsl.js';

/** Types of what `finish` reads: input(0), input(1), ... of the finishing expressions. */
export function resultTypes(op: ReduceOp, value: ExprType): ExprType[] {
  if (op === 'moments') return ['f32', 'f32'];
  if (op === 'scaledMoments') return ['f32', 'f32', 'f32'];
  if (op === 'argmax' || op === 'argmin') return [value, 'i32'];
  return [value];
}

const number = (type: ExprType, v: 0 | 1): string => (type === 'f32' ? `${v}.0f` : `${type}(${v})`);

/** Bounds of a type, as WGSL that is legal at run time. */
function bound(type: 'f32' | 'i32' | 'u32', sign: 1 | -1, fns: WgslFunctions): string {
  if (type === 'f32') return `${sign < 0 ? '-' : ''}${fns.use(kInf, 1)}()`;
  if (type === 'i32') return sign < 0 ? 'i32(-2147483648)' : '2147483647i';
  return sign < 0 ? '0u' : '4294967295u';
}

const orderFunctions = { f32: kOrderF, i32: kOrderI, u32: kOrderU } as const;
const unorderFunctions = { f32: kUnorderF, i32: kUnorderI, u32: kUnorderU } as const;

/** Words that a state of `op` takes. */
export function stateWords(op: ReduceOp): number {
  if (op === 'moments') return 3;
  if (op === 'scaledMoments') return 4;
  return op === 'sum' || op === 'prod' || op === 'max' || op === 'min' ? 1 : 2;
}

/** The state machine of `op` over values of type `value` (never bool: cast the map to u32). */
export function reducer(op: ReduceOp, value: 'f32' | 'i32' | 'u32', fns: WgslFunctions): Reducer {
  switch (op) {
    case 'sum':
    case 'prod': {
      const sign = op === 'sum' ? '+' : '*';
      const merge = (acc: readonly string[], b: readonly string[]): string => `${acc[0]} ${sign}= ${b[0]};`;
      return {
        fields: [{ type: value, init: number(value, op === 'sum' ? 0 : 1) }],
        step: (acc, x) => merge(acc, [x]),
        merge,
        results: (acc) => [acc[0]!],
      };
    }
    case 'exactSum':
    case 'exactDot':
    case 'exactProd':
      return exact[op];
    case 'max':
    case 'min': {
      const name = (width: Width): string =>
        value === 'f32' ? fns.use(op === 'max' ? kMax : kMin, width) : op;
      const merge = (acc: readonly string[], b: readonly string[], width: Width): string =>
        `${acc[0]} = ${name(width)}(${acc[0]}, ${b[0]});`;
      return {
        fields: [{ type: value, init: bound(value, op === 'max' ? -1 : 1, fns) }],
        step: (acc, x, _, width) => merge(acc, [x], width),
        merge,
        results: (acc) => [acc[0]!],
      };
    }
    case 'logsumexp':
      return logsumexp(fns);
    case 'moments':
      return moments;
    case 'scaledMoments':
      return scaledMoments;
    case 'argmax':
    case 'argmin':
      return extremumIndex(op === 'argmin', false, value, fns);
    case 'cummax':
    case 'cummin':
      return extremumIndex(op === 'cummin', true, value, fns);
    case 'compensatedSum':
      return compensatedSum(fns);
  }
}

function logsumexp(fns: WgslFunctions): Reducer {
  // State: maximum m and s = sum of exp(x - m). Equal maxima (both -inf, say) must not meet as inf - inf.
  const join = (acc: readonly string[], m: string, s: string, width: Width): string => {
    const one = wgslType('f32', width);
    return `{ let m = ${m};
  let t = select(${fns.use(kExp, width)}(-abs(${acc[0]} - m)), ${one}(1.0f), ${acc[0]} == m);
  let up = m > ${acc[0]};
  ${acc[1]} = select(${acc[1]} + ${s} * t, ${acc[1]} * t + ${s}, up);
  ${acc[0]} = select(${acc[0]}, m, up); }`;
  };
  return {
    fields: [
      { type: 'f32', init: `-${fns.use(kInf, 1)}()` },
      { type: 'f32', init: '0.0f' },
    ],
    step: (acc, x, _, width) => join(acc, x, `${wgslType('f32', width)}(1.0f)`, width),
    merge: (acc, b, width) => join(acc, b[0]!, b[1]!, width),
    results: (acc, width) => [`${acc[0]} + ${fns.use(kLog, width)}(${acc[1]})`],
  };
}

const moments: Reducer = {
  // Count, mean, sum of squared deviations.
  fields: [
    { type: 'f32', init: '0.0f' },
    { type: 'f32', init: '0.0f' },
    { type: 'f32', init: '0.0f' },
  ],
  step: (acc, x) => `{ ${acc[0]} += 1.0f;
  let d = ${x} - ${acc[1]};
  ${acc[1]} += d / ${acc[0]};
  ${acc[2]} += d * (${x} - ${acc[1]}); }`,
  merge: (acc, b, width) => `{ let n = ${acc[0]} + ${b[0]};
  let d = ${b[1]} - ${acc[1]};
  let w = ${b[0]} / max(n, ${wgslType('f32', width)}(1.0f));
  ${acc[1]} += d * w;
  ${acc[2]} += ${b[2]} + d * (d * (${acc[0]} * w));
  ${acc[0]} = n; }`,
  results: (acc) => [acc[1]!, acc[2]!],
};

/**
 * Moments of any float32 values, also where the squares of their deviations overflow or vanish: these are
 * taken times a scale, a fourth field, 2^64, 1 or 2^-90 as the largest of them needs it. What a coarser scale
 * makes vanish is too small to count beside that.
 */
const scaledMoments: Reducer = {
  fields: [...moments.fields, { type: 'f32', init: '0x1p64f' }],
  step: (acc, x, _, width) => `{ ${acc[0]} += 1.0f;
  let d = ${x} - ${acc[1]};
  ${joinScales(acc, acc[3]!, `${acc[0]} > ${wgslType('f32', width)}(1.0f)`, width)}
  ${acc[1]} += d / ${acc[0]};
  ${acc[2]} += (deviation * ${acc[3]}) * ((${x} - ${acc[1]}) * ${acc[3]}); }`,
  merge: (acc, b, width) => `{ let n = ${acc[0]} + ${b[0]};
  let d = ${b[1]} - ${acc[1]};
  let w = ${b[0]} / max(n, ${wgslType('f32', width)}(1.0f));
  ${joinScales(acc, b[3]!, `min(${acc[0]}, ${b[0]}) > ${wgslType('f32', width)}(0.0f)`, width)}
  let r = ${acc[3]} / ${b[3]};
  let e = deviation * ${acc[3]};
  ${acc[1]} += d * w;
  ${acc[2]} += ${b[2]} * r * r + e * (e * (${acc[0]} * w));
  ${acc[0]} = n; }`,
  results: (acc) => [acc[1]!, acc[2]!, acc[3]!],
};

/** WGSL: makes the scale as coarse as `other` and `d` need it; the first value is no deviation. */
function joinScales(acc: readonly string[], other: string, counts: string, width: Width): string {
  const T = wgslType('f32', width);
  return `let deviation = select(${T}(0.0f), d, ${counts});
  let size = abs(deviation);
  let fit = select(select(${T}(0x1p64f), ${T}(1.0f), size >= ${T}(0x1p-16f)), ${T}(0x1p-90f), size >= ${T}(0x1p48f));
  let scale = min(min(${acc[3]}, ${other}), fit);
  let ratio = scale / ${acc[3]};
  ${acc[2]} = ${acc[2]} * ratio * ratio;
  ${acc[3]} = scale;`;
}

/**
 * Knuth's sum of two, whose error is exact (The Art of Computer Programming 2, 4.2.2). Compilers simplify
 * `(a + b) - a`, so that sums go through an OR with the parameter `zero`, which is 0.
 */
function compensatedSum(fns: WgslFunctions): Reducer {
  const fixed = (x: string, width: Width): string => {
    const u = wgslType('u32', width);
    return `bitcast<${wgslType('f32', width)}>(bitcast<${u}>(${x}) | ${u}(p.zero))`;
  };
  const take = (acc: readonly string[], x: string, width: Width, error = ''): string => `{ let x = ${x};
  let s = ${fixed(`${acc[0]} + x`, width)};
  let y = ${fixed(`s - ${acc[0]}`, width)};
  ${acc[1]} += ((${acc[0]} - (s - y)) + (x - y))${error};
  ${acc[0]} = s; }`;
  return {
    fields: [
      { type: 'f32', init: '0.0f' },
      { type: 'f32', init: '0.0f' },
    ],
    step: (acc, x, _, width) => take(acc, x, width),
    merge: (acc, b, width) => take(acc, b[0]!, width, ` + ${b[1]}`),
    results: (acc, width) => [
      `select(${acc[0]}, ${acc[0]} + ${acc[1]}, ${fns.use(kIsFinite, width)}(${acc[0]}))`,
    ],
  };
}

function extremumIndex(
  flip: boolean,
  last: boolean,
  value: 'f32' | 'i32' | 'u32',
  fns: WgslFunctions,
): Reducer {
  // State: a u32 that orders like the value (NaN on top), and the index. For the least value they are
  // complemented, NaN is not.
  const join = (
    acc: readonly string[],
    key: string,
    index: string,
  ): string => `{ let k = ${key}; let i = ${index};
  let better = ${last ? `k >= ${acc[0]}` : `(k > ${acc[0]}) | ((k == ${acc[0]}) & (i < ${acc[1]}))`};
  ${acc[0]} = select(${acc[0]}, k, better);
  ${acc[1]} = select(${acc[1]}, i, better); }`;
  const key = (x: string, width: Width): string => {
    const k = `${fns.use(orderFunctions[value], width)}(${x})`;
    if (!flip) return k;
    if (value !== 'f32') return `~${k}`;
    const u = wgslType('u32', width);
    return `select(~${k}, ${u}(4294967295u), ${fns.use(kIsNan, width)}(${x}))`;
  };
  return {
    fields: [
      { type: 'u32', init: '0u' },
      { type: 'u32', init: '4294967295u' },
    ],
    step: (acc, x, index, width) => join(acc, key(x, width), index),
    merge: (acc, b) => join(acc, b[0]!, b[1]!),
    results: (acc, width) => {
      const u = wgslType('u32', width);
      const plain = !flip
        ? acc[0]!
        : value === 'f32'
          ? `select(~${acc[0]}, ${acc[0]}, ${acc[0]} == ${u}(4294967295u))`
          : `~${acc[0]}`;
      return [`${fns.use(unorderFunctions[value], width)}(${plain})`, `${wgslType('i32', width)}(${acc[1]})`];
    },
  };
}
