import { beforeAll, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';
import { init, special, tensor, type Tensor } from '../../src/index.js';

/*
 * Values that float32 holds with all their digits, where the plain formula loses them. The expected numbers are
 * PyTorch's in float64.
 */

beforeAll(() => init());

const ulp = 2 ** -23;

/** Each result within `ulps` of its reference, relative to it. */
async function near(result: Tensor, expected: readonly number[], ulps: number): Promise<void> {
  const data = Array.from(await result.data());
  const errors = expected.map((r, i) =>
    Object.is(data[i], r) || (Number.isNaN(r) === Number.isNaN(data[i]!) && Number.isNaN(r))
      ? 0
      : Math.abs(data[i]! - r) / Math.abs(r) / ulp,
  );
  errors.forEach((error, i) => expect(error, `${data[i]} for ${expected[i]}`).toBeLessThanOrEqual(ulps));
}

describe('tails', () => {
  it('erfc is no difference from 1', async () => {
    await near(
      k.erfc(tensor([0.25, 1, 3, 5, 9, -3])),
      [
        0.7236736098317631, 0.15729920705028513, 2.209049699858544e-5, 1.5374597944280347e-12,
        4.13703174651381e-37, 1.9999779095030015,
      ],
      8,
    );
  });

  it('gelu and the normal distribution keep theirs', async () => {
    const x = tensor([-1, -3, -5, 3]);
    const ndtr = [0.15865525393145707, 0.0013498980316300957, 2.8665157187919344e-7, 0.9986501019683699];
    await near(special.ndtr(x), ndtr, 16);
    await near(
      k.gelu(x),
      ndtr.map((p, i) => p * [-1, -3, -5, 3][i]!),
      16,
    );
    await near(
      special.logNdtr(tensor([-1, -10, -100, 3])),
      [-1.8410216450092636, -53.23128515051247, -5005.524208694205, -0.0013508099647481923],
      8,
    );
  });

  it('ndtri goes back', async () => {
    await near(
      special.ndtri(tensor([1e-30, 1e-5, 0.25, 0.9990234375])),
      [-11.464024688169063, -4.264890799563287, -0.6744897501960818, 3.0972690781987844],
      8,
    );
  });
});

describe('remainders', () => {
  it('are exact however large the quotient is', async () => {
    const x = tensor([1e9, -1e9, 1e30, 16777216, 5.5]);
    const y = tensor([3, 3, 7, 0.75, -2]);
    const [a, b] = [await x.data(), await y.data()];
    const fmod = Array.from(a, (v, i) => v % b[i]!);
    expect(Array.from(await k.fmod(x, y).data())).toEqual(fmod.map(Math.fround));
    expect(Array.from(await k.remainder(x, y).data())).toEqual(
      fmod.map((m, i) => (m !== 0 && m < 0 !== b[i]! < 0 ? m + b[i]! : m)).map(Math.fround),
    );
  });

  it('of and by infinity and zero are as in C', async () => {
    const result = k.fmod(tensor([1, Infinity, -5, -0, NaN]), tensor([0, 2, Infinity, 3, 1]));
    expect(Array.from(await result.data())).toEqual([NaN, NaN, -5, -0, NaN]);
  });

  it('floor division follows from them', async () => {
    const x = tensor([9, -9, 5, 1, -1, 0]);
    const y = tensor([3, 3, -2, 0, 0, -1]);
    expect(Array.from(await k.floorDivide(x, y).data())).toEqual([3, -3, -3, Infinity, -Infinity, -0]);
  });
});

describe('lengths and means', () => {
  it('hypot neither overflows nor vanishes', async () => {
    await near(
      k.hypot(tensor([1e30, 1e-30, 3, Infinity, 0]), tensor([1e30, 1e-30, 4, NaN, 0])),
      [Math.SQRT2 * Math.fround(1e30), Math.SQRT2 * Math.fround(1e-30), 5, Infinity, 0],
      2,
    );
  });

  it('lerp ends at its ends', async () => {
    const start = tensor([1e8, 16777217]);
    const end = tensor([1, 0.1]);
    expect(Array.from(await k.lerp(start, end, 1).data())).toEqual([1, Math.fround(0.1)]);
    expect(Array.from(await k.lerp(start, end, 0).data())).toEqual([1e8, 16777216]);
  });
});

describe('special functions', () => {
  it.each<[string, () => Tensor, number[]]>([
    ['lgamma', () => k.lgamma(tensor([1.0009765625, 2.5, 100, -0.5])), [-5.629031799912046e-4, 0.2846828704729192, 359.1342053695754, 1.2655121234846454]],
    ['digamma', () => k.digamma(tensor([0.5, 1.5, 100, -0.25])), [-1.9635100260214235, 0.03648997397857652, 4.600161852738087, 2.914139120213528]],
    ['polygamma', () => k.polygamma(2, tensor([0.5, 3, 20])), [-16.828796644234323, -0.1541138063191886, -0.0026281224023146546]],
    ['i0', () => k.i0(tensor([0.5, 8, 80])), [1.0634833707413236, 427.56411572180474, 2.4751784043341665e33]],
    ['i1e', () => special.i1e(tensor([-0.5, 8, 1000])), [-0.1564208031848717, 0.13414249329269816, 0.012610930256928629]],
    ['j0', () => special.besselJ0(tensor([1, 7.5, 50])), [0.7651976865579666, 0.2663396578803784, 0.05581232766925191]],
    ['k1', () => special.modifiedBesselK1(tensor([0.125, 2, 20])), [7.831118299115751, 0.1398658818165224, 5.88305796955704e-10]],
    ['zeta', () => special.zeta(tensor([2, 3.5]), tensor([1, 0.25])), [1.6449340668482264, 128.54695896428435]],
  ])('%s', async (_, make, expected) => {
    const errors = Array.from(await make().data(), (v, i) => Math.abs(v / expected[i]! - 1));
    expect(Math.max(...errors)).toBeLessThan(2e-6);
  }); // prettier-ignore

  it('igamma and igammac add up to 1, and have no gradient of their first operand', async () => {
    const [a, x] = [tensor([0.5, 2.5, 50, 0, 1]), tensor([1, 0.25, 60, 1, -1])];
    await near(k.igamma(a, x), [0.842700792949715, 0.00787670676737041, 0.915593318906308, 1, NaN], 100);
    await near(k.igamma(a, x).add(k.igammac(a, x)), [1, 1, 1, 1, NaN], 2);
    expect(() => k.igamma(tensor([1], { requiresGrad: true }), x)).toThrow(
      'no gradient of the first operand',
    );
  });

  it('polynomials stop at a degree that would take the device', async () => {
    const degrees = tensor([-1, 0, 1, 20, 1e6]);
    const values = await special.legendrePolynomialP(tensor(0.5), degrees).data();
    expect(Array.from(values.slice(0, 3))).toEqual([0, 1, 0.5]);
    expect(values[3]).toBeCloseTo(-0.0483583810673, 6);
    expect(values[4]).toBeNaN();
  });
});

describe('an integer divided by zero', () => {
  const x = (): Tensor => tensor([7, 8], { dtype: 'int32' });
  const ways: Record<string, (y: Tensor | number) => Tensor> = {
    floorDivide: (y) => k.floorDivide(x(), y),
    remainder: (y) => k.remainder(x(), y),
    fmod: (y) => k.fmod(x(), y),
    div: (y) => k.div(x(), y, { roundingMode: 'trunc' }),
    remainder_: (y) => x().remainder_(y),
  };

  it.each(Object.entries(ways))('%s refuses it', async (name, divide) => {
    expect(() => divide(0)).toThrow(`${name}: an integer is divided by zero`);
    const result = divide(tensor([2, 0], { dtype: 'int32' }));
    await expect(result.data()).rejects.toThrow(`${name}: an integer is divided by zero`);
    expect((await divide(tensor([2, 3], { dtype: 'int32' })).data()).length).toBe(2);
  });

  it('is infinite where the quotient is a float', async () => {
    expect(Array.from(await k.div(x(), 0).data())).toEqual([Infinity, Infinity]);
    expect(Array.from(await k.floorDivide(tensor([1, -1]), 0).data())).toEqual([Infinity, -Infinity]);
  });
});

describe('arguments', () => {
  it('of options are read strictly', () => {
    const x = tensor([0.5]);
    expect(() => k.add(x, 1, { alhpa: 2 } as object)).toThrow("did you mean 'alpha'");
    expect(() => k.round(x, { decimals: 0.5 })).toThrow('round: decimals must be an integer');
    expect(() => k.polygamma(-1, x)).toThrow('polygamma: the order must be');
    expect(() => k.mvlgamma(x, 0)).toThrow('mvlgamma: p must be');
    expect(() => k.gcd(x, 2)).toThrow('gcd works on integers');
  });

  it('asTensor gives a tensor as it is, and host values as tensor does', async () => {
    const x = tensor([1, 2]);
    expect(k.asTensor(x)).toBe(x);
    expect(k.asTensor(x, { dtype: 'int32' }).dtype).toBe('int32');
    expect(await k.asTensor([[true]]).toArray()).toEqual([[true]]);
    expect(() => k.asTensor([1], { zzz: 1 } as object)).toThrow("asTensor: there is no option 'zzz'");
  });

  it('polygamma takes the order on either side', async () => {
    const x = tensor([1.5]);
    expect(await k.polygamma(1, x).item()).toBe(await x.polygamma(1).item());
  });
});

describe("a float's bits", () => {
  const [tiny, largest] = [2 ** -149, 3.4028234663852886e38];

  it('nextafter goes through zero, the subnormal numbers and into infinity', async () => {
    const from = tensor([1, 1, 0, -0, 0, tiny, -1, Infinity, largest, NaN, 5]);
    const to = tensor([2, 0, 1, -1, -0, 0, -5, 0, Infinity, 1, 5]);
    const want = [1 + 2 ** -23, 1 - 2 ** -24, tiny, -tiny, -0, 0, -1 - 2 ** -23, largest, Infinity, NaN, 5];
    expect([...(await from.nextafter(to).data())]).toEqual(want);
    expect([...(await from.clone().nextafter_(to).data())]).toEqual(want);
    expect(() => tensor([1], { dtype: 'int32' }).nextafter(2)).toThrow('nextafter: expected float32');
  });

  it('frexp takes subnormal numbers apart', async () => {
    const [mantissa, exponent] = k.frexp(tensor([tiny, -3 * tiny, 2 ** -127]));
    expect([...(await mantissa.data())]).toEqual([0.5, -0.75, 0.5]);
    expect([...(await exponent.data())]).toEqual([-148, -147, -126]);
  });
});

it.each([1.5, 2, 3])('cdist with p of %s can be differentiated twice', async (p) => {
  k.manualSeed(0);
  const [a, b] = [k.randn([2, 3]), k.randn([3, 3])].map((x) => x.requiresGrad_()) as [k.Tensor, k.Tensor];
  const slope = (a: k.Tensor, b: k.Tensor): k.Tensor =>
    k.autograd.grad(k.cdist(a, b, p).sum(), [a], { createGraph: true })[0]!;
  const plain = (a: k.Tensor, b: k.Tensor): k.Tensor => {
    const distances = k.linalg.vectorNorm(a.unsqueeze(1).sub(b.unsqueeze(0)), p, 2);
    return k.autograd.grad(distances.sum(), [a], { createGraph: true })[0]!;
  };
  const [got, want] = [slope, plain].map((fn) => k.autograd.grad(fn(a, b).square().sum(), [a, b]));
  for (const i of [0, 1])
    expect(await k.allclose(got![i]!, want![i]!, { rtol: 1e-3, atol: 1e-4 })).toBe(true);
});

describe('histogram', () => {
  it('has no range of its own where the elements have none that is finite', async () => {
    const x = tensor([1, Infinity]);
    expect(await x.histc(2, 0, 2).toArray()).toEqual([0, 1]);
    await expect(x.histc(2).toArray()).rejects.toThrow('histc: the range of the elements is not finite');
    await expect(tensor([NaN, 1]).histogram(2)[0].toArray()).rejects.toThrow('is not finite (NaN)');
  });

  it('leaves NaN out', async () => {
    const [hist] = tensor([NaN, 0.5, 2]).histogram(2, { range: [0, 1] });
    expect([...(await hist.data())]).toEqual([0, 1]);
  });

  it('says what bins, range and weight must be', () => {
    const x = tensor([1, 2]);
    expect(() => x.histogram(0)).toThrow('histogram: bins must be a positive integer or a vector of edges');
    expect(() => x.histogram(tensor([1]))).toThrow('histogram: edges must be a vector of two or more');
    expect(() => x.histogram(tensor([1, 2]), { range: [0, 1] })).toThrow('range has no meaning');
    expect(() => x.histogram(2, { range: [1, 0] })).toThrow('range must be two finite numbers in order');
    expect(() => x.histogram(2, { weight: tensor([1]) })).toThrow('weight must have the shape and dtype');
  });
});
