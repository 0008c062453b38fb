import { beforeAll, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';

const { linalg } = k;

beforeAll(async () => {
  await k.init();
  k.manualSeed(7);
});

const random = (...shape: number[]): k.Tensor => k.randn(shape);
const symmetric = (x: k.Tensor): k.Tensor => x.add(x.transpose(-2, -1));
const positive = (x: k.Tensor): k.Tensor =>
  k.matmul(x, x.transpose(-2, -1)).add(k.eye(x.shape[x.ndim - 1] as number));

/** The largest difference between two tensors, relative to the largest value. */
async function distance(a: k.Tensor, b: k.Tensor): Promise<number> {
  expect(a.shape).toEqual(b.shape);
  const worst = await a.sub(b).abs().max().item();
  return worst / Math.max(1, await b.abs().max().item());
}

const orthonormal = (q: k.Tensor): Promise<number> => {
  const n = q.shape[q.ndim - 1] as number;
  return distance(k.matmul(q.transpose(-2, -1), q), k.eye(n).expand([...q.shape.slice(0, -2), n, n]));
};

const inRows = (x: k.Tensor): k.Tensor => x.unsqueeze(-2);

describe.each([
  ['a batch of small matrices', [3, 2, 6, 6], 5e-6],
  ['a large one', [200, 200], 2e-4],
] as const)('the product of the factors is the matrix: %s', (_, shape, bound) => {
  const square = (): k.Tensor => random(...shape);

  it('LU', async () => {
    const a = square();
    const [p, l, u] = linalg.lu(a);
    expect(await distance(k.matmul(p, k.matmul(l, u)), a)).toBeLessThan(bound);
    expect(await l.abs().max().item()).toBe(1);
  });

  it('Cholesky, lower and upper', async () => {
    const a = positive(square());
    const l = linalg.cholesky(a);
    expect(await distance(k.matmul(l, l.transpose(-2, -1)), a)).toBeLessThan(bound);
    const u = linalg.cholesky(a, { upper: true });
    expect(await distance(k.matmul(u.transpose(-2, -1), u), a)).toBeLessThan(bound);
  });

  it('QR', async () => {
    const a = square();
    const [q, r] = linalg.qr(a);
    expect(await distance(k.matmul(q, r), a)).toBeLessThan(bound);
    expect(await orthonormal(q)).toBeLessThan(bound);
    expect(await distance(r.triu(), r)).toBe(0);
  });

  it('eigenvalues of a symmetric matrix', async () => {
    const a = symmetric(square());
    const [values, vectors] = linalg.eigh(a);
    const again = k.matmul(vectors.mul(inRows(values)), vectors.transpose(-2, -1));
    expect(await distance(again, a)).toBeLessThan(bound);
    expect(await orthonormal(vectors)).toBeLessThan(bound);
    expect(await distance(values.sort()[0], values)).toBe(0);
  });

  it('singular values', async () => {
    const a = square();
    const [u, s, vh] = linalg.svd(a);
    expect(await distance(k.matmul(u.mul(inRows(s)), vh), a)).toBeLessThan(bound);
    expect(await orthonormal(u)).toBeLessThan(bound);
    expect(await orthonormal(vh.transpose(-2, -1))).toBeLessThan(bound);
    expect(await distance(s.sort({ descending: true })[0], s)).toBe(0);
  });

  it('a solution', async () => {
    const a = positive(square());
    const b = random(...shape.slice(0, -1), 3);
    expect(await distance(k.matmul(a, linalg.solve(a, b)), b)).toBeLessThan(bound * 5);
  });
});

describe('matrices of rank less than full', () => {
  it.each([6, 40])('have orthonormal singular vectors all the same (%i rows)', async (n) => {
    const a = k.matmul(random(n, 2), random(2, n));
    const [u, s, vh] = linalg.svd(a);
    expect(await orthonormal(u)).toBeLessThan(1e-5);
    expect(await orthonormal(vh.transpose(0, 1))).toBeLessThan(1e-5);
    expect(await distance(k.matmul(u.mul(inRows(s)), vh), a)).toBeLessThan(1e-5);
    expect(await linalg.matrixRank(a).item()).toBe(2);
  });

  it('have a pseudo-inverse', async () => {
    const a = k.matmul(random(7, 2), random(2, 5));
    const x = linalg.pinv(a);
    expect(await distance(k.matmul(k.matmul(a, x), a), a)).toBeLessThan(1e-4);
    expect(x.shape).toEqual([5, 7]);
  });

  it('have determinant 0, and its gradient is the matrix of cofactors', async () => {
    const a = k
      .tensor([
        [1, 2],
        [2, 4],
      ])
      .requiresGrad_();
    const d = linalg.det(a);
    expect(await d.item()).toBeCloseTo(0, 10);
    d.backward();
    expect(
      await distance(
        a.grad as k.Tensor,
        k.tensor([
          [4, -2],
          [-2, 1],
        ]),
      ),
    ).toBeLessThan(1e-5);
    expect(Array.from(await linalg.slogdet(a)[1].reshape([1]).data())).toEqual([-Infinity]);
  });
});

it('full matrices: the vectors past the singular values complete the bases', async () => {
  for (const shape of [
    [40, 3],
    [3, 40],
    [70, 50],
  ] as const) {
    const a = random(...shape);
    const [u, s, vh] = linalg.svd(a);
    expect([u.shape, vh.shape]).toEqual([
      [shape[0], shape[0]],
      [shape[1], shape[1]],
    ]);
    expect(await orthonormal(u)).toBeLessThan(2e-5);
    expect(await orthonormal(vh)).toBeLessThan(2e-5);
    const n = s.shape[0] as number;
    const again = k.matmul(u.narrow(1, 0, n).mul(inRows(s)), vh.narrow(0, 0, n));
    expect(await distance(again, a)).toBeLessThan(2e-5);
  }
});

it('exponentials of matrices of any norm', async () => {
  const a = k.tensor([
    [0, 1],
    [-1, 0],
  ]);
  for (const t of [1e-3, 1, 30, 300, 1e5]) {
    const want = k.tensor([
      [Math.cos(t), Math.sin(t)],
      [-Math.sin(t), Math.cos(t)],
    ]);
    // Rounding t turns the matrix by as much.
    expect(await distance(linalg.matrixExp(a.mul(t)), want)).toBeLessThan(Math.max(1e-4, t * 2 ** -22));
  }
  expect(
    await linalg
      .matrixExp(a.mul(2 ** 24))
      .isnan()
      .all()
      .item(),
  ).toBe(1);
});

it('the gradient of an exponential is as large as what comes in', async () => {
  const grad = async (by: number): Promise<k.Tensor> => {
    const a = k.tensor([[0.5, 1], [-1, 0.2]], { requiresGrad: true }); // prettier-ignore
    linalg.matrixExp(a).mul(by).sum().backward();
    return (a.grad as k.Tensor).div(by);
  };
  expect(await distance(await grad(1e10), await grad(1))).toBeLessThan(1e-6);
});

describe('condition numbers and norms at their edges', () => {
  const orders = [null, 2, -2, 'fro', 'nuc', 1, -1, Infinity, -Infinity] as const;

  it('a singular matrix has an infinite condition number by its inverse', async () => {
    const a = k.stack([k.tensor([[1, 2], [2, 4]]), k.eye(2), k.zeros(2, 2)]); // prettier-ignore
    for (const p of [1, -1, Infinity, -Infinity])
      expect(await linalg.cond(a, p).tolist()).toEqual([Infinity, 1, Infinity]);
    expect(await linalg.cond(k.eye(2).mul(NaN), 1).item()).toBe(Infinity);
    expect(
      await linalg
        .cond(a.index([0, 2]), 'nuc')
        .gt(3.99)
        .tolist(),
    ).toEqual([true, true]);
  });

  it('has the gradients of regular matrices', async () => {
    const grad = async (p: 1 | 'nuc'): Promise<unknown> => {
      const a = k.tensor([[1, 2], [3, 5]], { requiresGrad: true }); // prettier-ignore
      linalg.cond(a, p).backward();
      return (a.grad as k.Tensor).round().tolist();
    };
    expect(await grad(1)).toEqual([[280, -160], [-105, 71]]); // prettier-ignore
    expect(await grad('nuc')).toEqual([[197, -113], [-72, 49]]); // prettier-ignore
  });

  it('an empty matrix has condition number 0', async () => {
    for (const p of orders) expect(await linalg.cond(k.zeros(3, 0, 0), p).tolist()).toEqual([0, 0, 0]);
    expect(linalg.cond(k.zeros(0, 2, 2)).shape).toEqual([0]);
    expect(await linalg.cond(k.zeros(2, 0), 1).item()).toBe(0);
  });

  it('a norm that chooses among nothing is refused, others are 0', async () => {
    for (const ord of [-1, Infinity, -Infinity])
      expect(() => linalg.vectorNorm(k.zeros(0, 2), ord, 0)).toThrow(
        `linalg.vectorNorm: of nothing there is no norm of order ${ord}`,
      );
    expect(linalg.vectorNorm(k.zeros(2, 0), Infinity, 0).shape).toEqual([0]);
    expect(await linalg.vectorNorm(k.zeros(0, 2), 3, 0).tolist()).toEqual([0, 0]);
    expect(await k.norm(k.zeros(0), Infinity).item()).toBe(0);
    expect(() => linalg.matrixNorm(k.zeros(3, 2, 0), 1)).toThrow('linalg.matrixNorm: of nothing');
    expect(await linalg.matrixNorm(k.zeros(2, 0), Infinity).item()).toBe(0);
    expect(() => linalg.matrixNorm(k.zeros(0, 0), 2)).toThrow('linalg.matrixNorm: of nothing');
  });
});

describe('what cannot be done', () => {
  const singular = (): k.Tensor =>
    k.tensor([
      [
        [1, 0],
        [0, 1],
      ],
      [
        [1, 2],
        [2, 4],
      ],
    ]);

  it('raises at the next await: a singular matrix', async () => {
    const x = linalg.inv(singular());
    await expect(x.data()).rejects.toThrow('linalg.inv: matrix 1 of the batch is singular: U[1, 1] is zero');
    await expect(linalg.solve(singular(), k.ones([2, 2, 1])).data()).rejects.toThrow(
      'linalg.solve: matrix 1',
    );
  });

  it('raises at the next await: a matrix that is not positive definite', async () => {
    const x = linalg.cholesky(
      k.tensor([
        [1, 0],
        [0, -1],
      ]),
    );
    await expect(x.data()).rejects.toThrow(
      'linalg.cholesky: the matrix is not positive definite: its leading minor of order 2 is not',
    );
  });

  it('is told by info instead, if asked', async () => {
    expect(Array.from(await linalg.invEx(singular())[1].data())).toEqual([0, 2]);
    expect(Array.from(await linalg.luFactorEx(singular())[2].data())).toEqual([0, 2]);
    expect(await linalg.choleskyEx(k.tensor([[-1]]))[1].item()).toBe(1);
    await expect(linalg.choleskyEx(k.tensor([[-1]]), { checkErrors: true })[1].data()).rejects.toThrow(
      'linalg.choleskyEx',
    );
  });

  it.each([
    [
      'not square',
      () => linalg.inv(k.ones([2, 3])),
      'linalg.inv: expected square matrices, got shape [2, 3]',
    ],
    ['a vector', () => linalg.qr(k.ones([2])), 'linalg.qr: expected a matrix or a batch of them'],
    [
      'integers',
      () => linalg.det(k.ones([2, 2], { dtype: 'int32' })),
      'linalg.det: expected a float32 tensor',
    ],
    ['right sides that do not fit', () => linalg.solve(k.eye(2), k.ones([3, 1])), 'need 2 rows'],
    [
      'no triangle chosen',
      () => linalg.solveTriangular(k.eye(2), k.eye(2), {} as never),
      "'upper' must be given",
    ],
    ['complex eigenvalues', () => linalg.eig(k.eye(2)), 'there are no complex tensors'],
    ['an unknown mode', () => linalg.qr(k.eye(2), 'raw' as never), "none of 'reduced', 'complete', 'r'"],
    ['an unknown norm', () => linalg.matrixNorm(k.eye(2), 3), 'there is no matrix norm of order 3'],
    ['an unknown option', () => linalg.svd(k.eye(2), { full: true } as never), "there is no option 'full'"],
  ])('is an error at once: %s', (_, call, message) => {
    expect(call).toThrow(message);
  });
});

it('batches of no matrices, and matrices of no rows', async () => {
  for (const shape of [
    [0, 3, 3],
    [2, 0, 0],
  ] as const) {
    const a = k.zeros(shape);
    const n = shape[2];
    expect(linalg.inv(a).shape).toEqual(shape);
    expect(linalg.cholesky(a).shape).toEqual(shape);
    expect(linalg.eigh(a)[0].shape).toEqual([shape[0], n]);
    expect(linalg.svd(a)[1].shape).toEqual([shape[0], n]);
    expect(linalg.solve(a, k.zeros([shape[0], n, 2])).shape).toEqual([shape[0], n, 2]);
    expect(Array.from(await linalg.det(a).data())).toEqual(new Array<number>(shape[0]).fill(1));
    expect(Array.from(await linalg.luFactorEx(a)[2].data())).toEqual(new Array<number>(shape[0]).fill(0));
  }
  const [u] = linalg.svd(k.zeros([3, 0]));
  expect(await distance(u, k.eye(3))).toBe(0);
});

it('values alone have a gradient where some are equal', async () => {
  for (const values of [linalg.svdvals, linalg.eigvalsh]) {
    const a = k.eye(3).requiresGrad_();
    values(a).sum().backward();
    expect(await distance(a.grad as k.Tensor, k.eye(3))).toBeLessThan(1e-6);
  }
});

it('gradients of a large decomposition agree with differences of the function', async () => {
  const a = symmetric(random(40, 40)).detach().requiresGrad_();
  const weight = k.arange(40).to('float32');
  linalg.eigvalsh(a).mul(weight).sum().backward();
  const [, v] = linalg.eigh(a.detach());
  const want = k.matmul(v.mul(inRows(weight)), v.transpose(0, 1));
  expect(await distance(a.grad as k.Tensor, want)).toBeLessThan(1e-5);
});
