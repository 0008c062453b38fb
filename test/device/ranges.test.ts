import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';

const { nn } = k;

/** Results with bindings of 64 KiB, of tensors several times that size, against those with whole bindings. */
const small = 64 * 1024;

type Case = () => readonly k.Tensor[];

/** Forward and gradient of a module on `x`. */
function through(module: k.nn.Module & ((x: k.Tensor) => k.Tensor), x: k.Tensor): readonly k.Tensor[] {
  const input = x.detach().requiresGrad_();
  const y = module(input);
  y.mul(y.detach().cos()).sum().backward();
  return [y.detach(), input.grad!, ...module.parameters().map((p) => p.grad!)];
}

const image = (): k.Tensor => k.randn(24, 16, 17, 19);

const cases: Readonly<Record<string, Case>> = {
  'pointwise chain': () => [image().mul(2).add(1).relu()],
  'sum over pixels': () => [image().sum([2, 3])],
  'sum over everything': () => [image().mul(image()).sum()],
  softmax: () => through(new nn.Softmax(1), k.randn(1500, 40)),
  'convolution 7x7, stride 2': () => through(new nn.Conv2d(16, 12, 7, { stride: 2, padding: 3 }), image()),
  'convolution 3x3': () => through(new nn.Conv2d(16, 24, 3, { padding: 1 }), image()),
  'convolution 1x1': () => through(new nn.Conv2d(16, 24, 1), image()),
  'depthwise convolution': () => through(new nn.Conv2d(16, 16, 3, { padding: 1, groups: 16 }), image()),
  'batch norm, training': () => through(new nn.BatchNorm2d(16), image()),
  'batch norm, eval': () => through(new nn.BatchNorm2d(16).eval(), image()),
  'layer norm': () => through(new nn.LayerNorm([40]), k.randn(1500, 40)),
  'max pool': () => through(new nn.MaxPool2d(3, { stride: 2, padding: 1 }), image()),
  'average pool': () => through(new nn.AvgPool2d(2), image()),
  'linear with a large weight': () => through(new nn.Linear(700, 150), k.randn(6, 700)),
};

async function results(name: string): Promise<Float32Array[]> {
  k.manualSeed(3);
  const tensors = cases[name]!();
  return Promise.all(tensors.map(async (t) => Float32Array.from(await t.data())));
}

describe('tensors larger than a binding give the same results', () => {
  const expected = new Map<string, Float32Array[]>();

  beforeAll(async () => {
    await k.init();
    for (const name of Object.keys(cases)) expected.set(name, await results(name));
    k.close();
    await k.init({ maxBinding: small });
  });
  afterAll(() => k.close());

  it.each(Object.keys(cases))('%s', async (name) => {
    const got = await results(name);
    const wanted = expected.get(name)!;
    got.forEach((values, i) => {
      const want = wanted[i]!;
      let worst = 0;
      let scale = 0;
      for (let j = 0; j < want.length; j++) {
        worst = Math.max(worst, Math.abs(values[j]! - want[j]!));
        scale = Math.max(scale, Math.abs(want[j]!));
      }
      expect(worst, `${name}, result ${i}`).toBeLessThanOrEqual(2e-5 * scale);
    });
  });
});
