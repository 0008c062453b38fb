/**
 * A kernel that only checks values, for ops whose own kernels don't: it raises an error (base/faults.ts) and
 * writes nothing. Buffer `x`, dense. Floats are compared by their bits: comparisons with NaN cannot be
 * trusted on every adapter.
 */
import {
  countFault,
  divisionFault,
  fitFault,
  floatFault,
  indexFault,
  labelFault,
  rangeFault,
  sizeFault,
} from '../base/faults.js';
import {
  foldGrid,
  linearWorkgroup,
  memoKernel,
  type Fault,
  type Kernel,
  type ParamField,
} from '../base/kernel.js';
import { reads, shader } from '../base/shader.js';
import { bindElements, ceilDiv, type Launch, type Plan, type PlanLimits } from '../base/plan.js';

interface Check {
  /** float32 values come as bits. */
  readonly element: 'i32' | 'u32';
  readonly params: readonly ParamField[];
  /** WGSL: `v` at position `at` is unusable. */
  readonly bad: string;
  readonly words: string;
  fault(op: string): Fault;
}

const minusZero = '0x80000000u';
const infinity = '0x7f800000u';

function floatCheck(bad: string, text: (value: number) => string): Check {
  return {
    element: 'u32',
    params: [],
    bad,
    words: 'v, 0u, 0u, 0u',
    fault: (op) => floatFault(op, text),
  };
}

const checks = {
  /** Params: the size. */
  index: {
    element: 'i32',
    params: [['size', 'u32']],
    bad: 'u32(v) >= p.size',
    words: 'u32(v), p.size, 0u, 0u',
    fault: indexFault,
  },
  /** How many values are wanted. Params: how many there are. */
  count: {
    element: 'i32',
    params: [['given', 'u32']],
    bad: 'u32(v) > p.given',
    words: 'u32(v), p.given, 0u, 0u',
    fault: countFault,
  },
  /** How many values are wanted. Params: how many there are, which must be as many. */
  fit: {
    element: 'i32',
    params: [['given', 'u32']],
    bad: 'u32(v) != p.given',
    words: 'u32(v), p.given, 0u, 0u',
    fault: fitFault,
  },
  /** Params: what it should be. */
  size: {
    element: 'i32',
    params: [['size', 'u32']],
    bad: 'u32(v) != p.size',
    words: 'u32(v), p.size, 0u, 0u',
    fault: sizeFault,
  },
  /** Params: the largest. */
  upTo: {
    element: 'i32',
    params: [['most', 'u32']],
    bad: 'u32(v) > p.most',
    words: 'u32(v), p.most, 0u, 0u',
    fault: rangeFault,
  },
  /** Params: the number of classes, the label that is ignored. */
  label: {
    element: 'i32',
    params: [
      ['classes', 'u32'],
      ['ignored', 'i32'],
    ],
    bad: 'u32(v) >= p.classes && v != p.ignored',
    words: 'u32(v), at, p.classes, u32(p.ignored)',
    fault: labelFault,
  },
  /** A divisor. */
  divisor: { element: 'u32', params: [], bad: 'v == 0u', words: 'at, 0u, 0u, 0u', fault: divisionFault },
  /** From 0 to 1. */
  probability: floatCheck(
    `v > 0x3f800000u && v != ${minusZero}`,
    (value) => `${value} is no probability (0 to 1)`,
  ),
  /** Not below 0; NaN passes. */
  notNegative: floatCheck(
    `v > ${minusZero} && v <= 0xff800000u`,
    (value) => `${value} is negative, which a variance cannot be`,
  ),
  /** Of a normal distribution: not below 0. */
  deviation: floatCheck(
    `v > ${minusZero} && v <= 0xff800000u`,
    (value) => `std must not be negative, got ${value}`,
  ),
  /** Anything but NaN. */
  number: floatCheck(`(v & 0x7fffffffu) > ${infinity}`, () => 'NaN is no score'),
  /** An end of the range of some elements. */
  finite: floatCheck(
    `(v & ${infinity}) == ${infinity}`,
    (value) => `the range of the elements is not finite (${value}); give the range`,
  ),
  /** Of a distribution: finite and not negative. */
  parameter: floatCheck(
    `v >= ${infinity} && v != ${minusZero}`,
    (value) => `${value} is negative, infinite or NaN`,
  ),
  /** Finite and not negative. */
  weight: floatCheck(
    `v >= ${infinity} && v != ${minusZero}`,
    (value) => `weight ${value} is negative, infinite or NaN`,
  ),
  /** A sum of weights that can be drawn from. */
  total: floatCheck(
    `v == 0u || v >= ${infinity}`,
    (value) => `the weights of a row add up to ${value}; at least one must be positive`,
  ),
  /** Weights of what was drawn: none may be 0. */
  drawn: floatCheck(
    `v == 0u || v == ${minusZero}`,
    () =>
      'a row has fewer positive weights than samples are drawn; draw fewer, or pass { replacement: true }',
  ),
} as const satisfies Readonly<Record<string, Check>>;

export type CheckKind = keyof typeof checks;

const group = 64;

function checkKernel(op: string, kind: CheckKind): Kernel {
  return memoKernel(`check|${op}|${kind}`, () => {
    const { element, params, bad, words, fault } = checks[kind];
    return {
      name: `${op}.check`,
      params: [['count', 'u32'], ['offset', 'u32'], ['first', 'u32'], ...params],
      fault: fault(op),
      ...shader({
        bindings: [reads('x', element)],
        workgroup: group,
        builtins: ['wid', 'nwg', 'lid'],
        body: `  let i = ${linearWorkgroup} * ${group}u + lid;
  if (i >= p.count) { return; }
  let at = p.first + i;
  let v = x[p.offset + i];
  if (${bad}) { raiseFault(vec4<u32>(${words})); }`,
      }),
    };
  });
}

/** Checks `count` elements (int32 or float32) from the start of buffer `x`; `params` as the kind says. */
export function planCheck(
  limits: PlanLimits,
  op: string,
  kind: CheckKind,
  count: number,
  params: readonly number[] = [],
): Plan {
  const kernel = checkKernel(op, kind);
  const most = Math.floor((limits.maxBinding - limits.offsetAlignment) / 4);
  const launches: Launch[] = [];
  for (let first = 0; first < count; first += most) {
    const part = Math.min(most, count - first);
    const { ref, offset } = bindElements('x', first, part, 'f32', limits);
    launches.push({
      kernel,
      buffers: [ref],
      params: [part, offset, first, ...params],
      grid: foldGrid(ceilDiv(part, group)),
    });
  }
  return { launches, workspaces: {} };
}
