import { describe, expect, it } from 'vitest';
import { call, e, evaluate, input, param, substitute, type Expr } from '../../src/kernels/expr/expr.js';
import * as fn from '../../src/kernels/expr/functions.js';
import { differentiate } from '../../src/kernels/expr/grad.js';
import * as math from '../../src/kernels/expr/math.js';
import type { WgslFunction } from '../../src/kernels/expr/wgsl-function.js';

const x = input(0);
const y = input(1);

/** Central differences with one Richardson step: about 1e-9 accurate. */
function slope(expr: Expr, at: readonly number[], i: number): number {
  const f = (h: number): number => evaluate(expr, { inputs: at.map((v, k) => (k === i ? v + h : v)) });
  const d = (h: number): number => (f(h) - f(-h)) / (2 * h);
  return (4 * d(5e-4) - d(1e-3)) / 3;
}

const unary: Record<string, [Expr, number[]]> = {
  neg: [e.neg(x), [0.3]],
  abs: [e.abs(x), [0.3, -2]],
  relu: [e.relu(x), [0.3, -2]],
  exp: [e.exp(x), [0.3, -2]],
  expm1: [fn.expm1(x), [0.01, -2]],
  log: [e.log(x), [0.3, 7]],
  log1p: [fn.log1p(x), [0.3, -0.5]],
  log2: [fn.log2(x), [0.3, 7]],
  sqrt: [e.sqrt(x), [0.3, 7]],
  rsqrt: [e.rsqrt(x), [0.3, 7]],
  square: [e.square(x), [0.3, -2]],
  reciprocal: [e.reciprocal(x), [0.3, -2]],
  sin: [fn.sin(x), [0.3, -2]],
  cos: [fn.cos(x), [0.3, -2]],
  tan: [fn.tan(x), [0.3, -1]],
  asin: [fn.asin(x), [0.3, -0.8]],
  acos: [fn.acos(x), [0.3, -0.8]],
  atan: [fn.atan(x), [0.3, -2]],
  sinh: [fn.sinh(x), [0.3, -2]],
  cosh: [fn.cosh(x), [0.3, -2]],
  tanh: [fn.tanh(x), [0.3, -2]],
  asinh: [fn.asinh(x), [0.3, -2]],
  acosh: [fn.acosh(x), [1.3, 4]],
  atanh: [fn.atanh(x), [0.3, -0.8]],
  sigmoid: [fn.sigmoid(x), [0.3, -2]],
  softplus: [fn.softplus(x), [0.3, -2]],
  erf: [fn.erf(x), [0.3, -2, 2.9]],
  erfinv: [fn.erfinv(x), [0.3, -0.6]],
  gelu: [e.mul(e.mul(x, 0.5), e.add(fn.erf(e.mul(x, Math.SQRT1_2)), 1)), [0.3, -2]],
  powConst: [fn.pow(x, 2.7), [0.3, 2]],
  clamp: [e.clamp(x, -1, 1), [0.3, -2, 4]],
  select: [e.select(e.gt(x, 0), e.exp(x), fn.sin(x)), [0.3, -2]],
  steps: [e.add(e.mul(e.floor(x), x), e.sign(x)), [0.3, -2.2]],
};

const binary: Record<string, [Expr, [number, number][]]> = {
  add: [e.add(x, y), [[1.5, -2]]],
  sub: [e.sub(x, y), [[1.5, -2]]],
  mul: [e.mul(x, y), [[1.5, -2]]],
  div: [e.div(x, y), [[1.5, -2]]],
  pow: [fn.pow(x, y), [[1.5, -2], [0.2, 3.3]]],
  maximum: [e.maximum(x, e.square(y)), [[1.5, -2], [1.5, 0.5]]],
  minimum: [e.minimum(x, e.square(y)), [[1.5, -2], [1.5, 0.5]]],
  fmod: [fn.fmod(x, y), [[7.4, -2], [-7.4, 3]]],
  remainder: [fn.remainder(x, y), [[7.4, -2.1], [-7.4, 3]]],
  atan2: [fn.atan2(x, y), [[1.5, -2], [-1, 0.4]]],
}; // prettier-ignore

const special: Record<string, [Expr, number[]]> = {
  erfc: [fn.erfc(x), [-1, 0.3, 2]],
  erfcx: [fn.erfcx(x), [-1, 0.3, 5]],
  ndtr: [fn.ndtr(x), [-2, 0.3]],
  logNdtr: [fn.logNdtr(x), [-3, 0.3]],
  ndtri: [fn.ndtri(x), [0.01, 0.3, 0.9]],
  lgamma: [fn.lgamma(x), [-1.3, 0.3, 1.2, 2.2, 7]],
  digamma: [fn.digamma(x), [-1.3, 0.3, 1.2, 7]],
  trigamma: [fn.trigamma(x), [-1.3, 0.3, 7]],
  zeta: [fn.zeta(3, x), [0.3, 7]],
  gammainc: [fn.gammainc(2.5, x), [0.3, 2.5, 9]],
  gammaincc: [fn.gammaincc(7, x), [0.3, 7, 12]],
  i0: [fn.i0(x), [-0.3, 9]],
  i0e: [fn.i0e(x), [-0.3, 9]],
  i1: [fn.i1(x), [-0.3, 9]],
  i1e: [fn.i1e(x), [-0.3, 9]],
  besselJ0: [fn.besselJ0(x), [0.3, -3, 9]],
  besselJ1: [fn.besselJ1(x), [0.3, -3, 9]],
  besselY0: [fn.besselY0(x), [0.3, 3, 9]],
  besselY1: [fn.besselY1(x), [0.3, 3, 9]],
  k0: [fn.k0(x), [0.3, 3]],
  k1: [fn.k1(x), [0.3, 3]],
  k0e: [fn.k0e(x), [0.3, 3]],
  k1e: [fn.k1e(x), [0.3, 3]],
  sinc: [fn.sinc(x), [0.1, 0.3, -3.3]],
  hypot: [fn.hypot(x, 2), [0.3, -3]],
  copysign: [fn.copysign(x, -1), [0.3, -3]],
};

describe('differentiate', () => {
  it.each(Object.entries(unary))(
    '%s agrees with finite differences, first and second order',
    (_, [f, points]) => {
      const df = differentiate(f, 0);
      const d2f = differentiate(df, 0);
      for (const p of points) {
        expect(evaluate(df, { inputs: [p] })).toBeCloseTo(slope(f, [p], 0), 6);
        expect(evaluate(d2f, { inputs: [p] })).toBeCloseTo(slope(df, [p], 0), 6);
      }
    },
  );

  it.each(Object.entries(binary))('%s agrees with finite differences in both operands', (_, [f, points]) => {
    for (const i of [0, 1]) {
      const df = differentiate(f, i);
      for (const p of points) {
        expect(evaluate(df, { inputs: p })).toBeCloseTo(slope(f, p, i), 6);
        for (const j of [0, 1]) {
          expect(evaluate(differentiate(df, j), { inputs: p })).toBeCloseTo(slope(df, p, j), 5);
        }
      }
    }
  });

  it.each(Object.entries(special))('%s, made of others, has the slope that is declared', (_, [f, points]) => {
    for (const p of points) {
      const declared = evaluate(differentiate(f, 0), { inputs: [p] });
      const measured = slope(f, [p], 0);
      expect(Math.abs(declared - measured)).toBeLessThan(2e-5 * Math.max(1, Math.abs(measured)));
    }
  });

  it("has PyTorch's values where there is no derivative", () => {
    const at = (f: Expr, ...inputs: number[]): number => evaluate(differentiate(f, 0), { inputs });
    expect(at(e.abs(x), 0)).toBe(0);
    expect(at(e.relu(x), 0)).toBe(0);
    expect(at(e.maximum(x, y), 2, 2)).toBe(0.5);
    expect(at(e.minimum(x, y), 2, 2)).toBe(0.5);
    expect(at(e.clamp(x, -1, 1), 1)).toBe(1);
    expect(at(fn.pow(x, y), 0, 0)).toBe(0);
    expect(evaluate(differentiate(fn.pow(x, y), 1), { inputs: [0, 2] })).toBe(0);
    expect(at(e.sqrt(x), 0)).toBe(Infinity);
  });

  it('is zero for what does not depend on the input, without touching infinities', () => {
    expect(differentiate(e.exp(y), 0)).toBe(e.const(0));
    expect(differentiate(e.cast(e.cast(x, 'i32'), 'f32'), 0)).toBe(e.const(0));
    expect(evaluate(differentiate(e.select(e.gt(x, 0), e.log(x), 0), 0), { inputs: [0] })).toBe(0);
  });
});

describe('building', () => {
  it('gives equal expressions one identity', () => {
    expect(e.add(x, y)).toBe(e.add(y, x));
    expect(e.mul(e.exp(x), 1)).toBe(e.exp(x));
    expect(e.sub(x, 0)).toBe(x);
    expect(fn.pow(x, 2)).toBe(e.square(x));
    expect(e.neg(e.neg(x))).toBe(x);
    expect(e.const(0.1)).toBe(e.const(Math.fround(0.1)));
    expect(e.const(-0)).not.toBe(e.const(0));
    expect(e.not(e.not(e.lt(x, y)))).toBe(e.lt(x, y));
  });

  it('folds constants with the meaning that the kernels have', () => {
    expect(e.add(2, 3).value).toBe(5);
    expect(e.round(2.5).value).toBe(2);
    expect(e.round(-1.5).value).toBe(-2);
    expect(fn.fmod(-7, 3).value).toBe(-1);
    expect(fn.remainder(-7, 3).value).toBe(2);
    expect(fn.pow(-8, 3).value).toBe(-512);
    expect(fn.pow(0, 0).value).toBe(1);
    expect(e.div(e.const(7, 'i32'), e.const(-2, 'i32')).value).toBe(-3);
    expect(fn.floorDiv(e.const(7, 'i32'), e.const(-2, 'i32')).value).toBe(-4);
    expect(e.cast(e.const(300.7), 'i32').value).toBe(300);
    expect(e.maximum(NaN, 1).value).toBeNaN();
  });

  it('keeps products with zero, which may be NaN', () => {
    expect(evaluate(e.mul(x, 0), { inputs: [Infinity] })).toBeNaN();
  });

  it('refuses mixed types and tells what to do', () => {
    expect(() => e.add(x, input(1, 'i32'))).toThrow(/add has operands of types f32 and i32; cast/);
    expect(() => e.exp(input(1, 'i32'))).toThrow(/exp takes f32, not i32/);
    expect(() => e.add(input(1, 'i32'), 0.5)).toThrow(/0.5 is not an integer/);
  });

  it('substitutes inputs', () => {
    const f = e.mul(e.exp(x), param('a'));
    expect(substitute(f, () => e.log(y))).toBe(e.mul(e.exp(e.log(y)), param('a')));
  });
});

describe('functions of WGSL', () => {
  const declared = new Map<string, WgslFunction>();
  const visit = (each: WgslFunction): void => {
    declared.set(each.name, each);
    each.uses.forEach(visit);
  };
  Object.values(math).forEach((each) => typeof each === 'object' && visit(each));
  const ofTwo = new Set<unknown>([
    fn.atan2,
    fn.copysign,
    fn.floorDiv,
    fn.fmod,
    fn.hypot,
    fn.nextafter,
    fn.pow,
    fn.remainder,
  ]);
  const ofIntegers = new Set<unknown>([fn.gcd, fn.lcm]);
  const polynomials = Object.keys(fn).filter((name) =>
    /chebyshev|hermite|laguerre|legendre|zeta|gammainc/i.test(name),
  );
  for (const name of polynomials) ofTwo.add(fn[name as keyof typeof fn]);
  for (const build of Object.values(fn) as unknown[]) {
    if (typeof build !== 'function') continue;
    const operands = ofIntegers.has(build)
      ? [input(0, 'i32'), input(1, 'i32')]
      : ofTwo.has(build)
        ? [x, y]
        : [x];
    const made = (build as (...operands: Expr[]) => Expr)(...operands);
    Object.values(made.fn?.wgsl ?? {}).forEach(visit);
  }

  it.each([...declared.values()])('$name declares first what it calls', ({ name, text, uses }) => {
    const called = [...text.matchAll(/\b(k[A-Z]\w*)\$s\(/g)].map((match) => match[1]);
    expect(uses.map((each) => each.name)).toEqual([...new Set(called)].filter((each) => each !== name));
  });

  it('refuses a function that has not a derivative for each operand', () => {
    const power = fn.pow(x, y).fn!;
    const lacking = { ...power, name: 'lacking', derivatives: power.derivatives.slice(1) };
    expect(() => call(lacking, [x, y])).toThrow('expr: lacking has 1 derivatives for 2 operands');
  });
});
