import { beforeAll, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';

beforeAll(() => k.init());

const offsets = [15, 1e3, 1e4, 1e5];
const scores = (offset: number): k.Tensor =>
  k.tensor([[0, 1, -1, 0.5]].map((row) => row.map((v) => v + offset)));

/** Of the scores as float32 has them, in float64. */
async function logSoftmax(x: k.Tensor): Promise<number[]> {
  const values = Array.from(await x.data());
  const largest = Math.max(...values);
  const rest = Math.log(values.reduce((sum, v) => sum + Math.exp(v - largest), 0));
  return values.map((v) => v - largest - rest);
}

describe('scores far from zero lose no digits', () => {
  it.each(offsets)('in logSoftmax: %d', async (offset) => {
    const x = scores(offset);
    const want = await logSoftmax(x);
    for (const got of [k.logSoftmax(x, 1), k.logSoftmax(x.t(), 0)])
      (await got.data()).forEach((value, i) => expect(Math.abs(value - want[i]!)).toBeLessThan(5e-7));
  });

  it.each(offsets)('in crossEntropy and its gradient: %d', async (offset) => {
    const x = scores(offset).requiresGrad_();
    const want = await logSoftmax(x);
    for (const labelSmoothing of [0, 0.1]) {
      x.grad = null;
      const loss = k.nn.functional.crossEntropy(x, k.tensor([2], { dtype: 'int32' }), { labelSmoothing });
      loss.backward();
      const target = want.map((_, i) => (i === 2 ? 1 - labelSmoothing : 0) + labelSmoothing / 4);
      const exact = -want.reduce((sum, value, i) => sum + target[i]! * value, 0);
      expect(Math.abs((await loss.item()) - exact)).toBeLessThan(5e-7);
      (await x.grad!.data()).forEach((value, i) =>
        expect(Math.abs(value - (Math.exp(want[i]!) - target[i]!))).toBeLessThan(5e-7),
      );
    }
  });
});
