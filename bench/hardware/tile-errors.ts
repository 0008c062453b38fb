/** Small products and convolutions with every tile, between operands that are NaN all around. */
import { runtime } from '../../src/device/index.js';
import { planConv2dInputGrad } from '../../src/kernels/conv/input-grad.js';
import { planConv2d } from '../../src/kernels/conv/plan.js';
import { planConv2dWeightGrad } from '../../src/kernels/conv/weight-grad.js';
import type { Target } from '../../src/kernels/base/kernel.js';
import { planGemm } from '../../src/kernels/matmul/plan.js';
import type { Tile } from '../../src/kernels/matmul/tile.js';
import { conv, limits, random, reference, relativeError, run } from '../../test/kernels/heavy-harness.js';

export const tileName = (t: Tile): string =>
  `${t.style} ${t.rows}x${t.cols * (t.vectors ?? 1)}, ${t.lanes}x${t.lanesY} lanes` +
  (t.style === 'shared' ? `, ${t.buffers ?? 1} x ${t.depth ?? 16} k` : '');

async function productError(target: Target, transA: boolean, transB: boolean): Promise<number> {
  const [m, n, k] = [70, 68, 37];
  const [a, b] = [random(m * k), random(k * n)];
  const sums = Float64Array.from({ length: m * n }, (_, i) => {
    const [row, column] = [Math.floor(i / n), i % n];
    let sum = 0;
    for (let q = 0; q < k; q++)
      sum += a[transA ? q * m + row : row * k + q]! * b[transB ? column * k + q : q * n + column]!;
    return sum;
  });
  const plan = planGemm(target, limits(), { m, n, k, transA, transB });
  return relativeError(
    await run(plan, { a: { data: a }, b: { data: b } }, { name: 'c', count: m * n }),
    sums,
  );
}

const planners = { forward: planConv2d, inputGrad: planConv2dInputGrad, weightGrad: planConv2dWeightGrad };
const outputs = { forward: 'y', inputGrad: 'dx', weightGrad: 'dw' };

async function convolutionError(
  target: Target,
  pass: keyof typeof planners,
  algorithm?: 'direct',
): Promise<number> {
  const p = conv({
    n: 2,
    h: 13,
    w: 11,
    cIn: 36,
    cOut: 40,
    pad: 1,
    ...(algorithm && { extra: { algorithm } }),
  });
  const x = random(p.n * p.h * p.w * p.cIn);
  const w = random(p.cOut * p.cIn * 9);
  const dy = random(p.n * p.outH * p.outW * p.cOut);
  const count = { forward: dy.length, inputGrad: x.length, weightGrad: w.length }[pass];
  const got = await run(
    planners[pass](target, limits(), p),
    { x: { data: x }, w: { data: w }, dy: { data: dy } },
    { name: outputs[pass], count },
  );
  return relativeError(got, reference(p, pass, x, w, dy));
}

/** Above the ids of measured tables. */
let id = 1e6;

/** Choices that plans follow wherever a product or convolution is planned. */
export const forced = (tile: Tile): { id: number; choose: () => { tile: Tile } } => ({
  id: ++id,
  choose: () => ({ tile }),
});

/** The largest error of each tile, relative to the results' root mean square; text where a tile fails. */
export async function tileErrors(tiles: readonly Tile[]): Promise<Record<string, number | string>> {
  const own = runtime().target;
  const errors: Record<string, number | string> = {};
  const tryTile = async (name: string, target: Target): Promise<void> => {
    try {
      const found: number[] = [];
      for (const transA of [false, true])
        for (const transB of [false, true]) found.push(await productError(target, transA, transB));
      for (const pass of ['forward', 'inputGrad', 'weightGrad'] as const)
        found.push(await convolutionError(target, pass, 'direct'));
      errors[name] = Math.max(...found);
    } catch (error) {
      errors[name] = (error as Error).message;
    }
  };
  await tryTile('default', own);
  for (const tile of tiles) {
    await tryTile(tileName(tile), { ...own, tuning: forced(tile) });
  }
  const winograd: number[] = [];
  for (const pass of ['forward', 'inputGrad', 'weightGrad'] as const)
    winograd.push(await convolutionError(own, pass));
  errors['Winograd'] = Math.max(...winograd);
  return errors;
}
