import { beforeAll, expect, it } from 'vitest';
import * as k from '../../src/index.js';

beforeAll(() => k.init());

it('a training that waits for the GPU once in thousands of steps goes on', { timeout: 600_000 }, async () => {
  k.manualSeed(1);
  const model = new k.nn.Sequential(new k.nn.Linear(8, 16), new k.nn.ReLU(), new k.nn.Linear(16, 4));
  const optimizer = new k.optim.SGD(model.parameters(), { lr: 0.01, momentum: 0.9 });
  const x = k.randn([16, 8]);
  const step = (): k.Tensor => {
    optimizer.zeroGrad();
    const loss = model(x).square().mean();
    loss.backward();
    optimizer.step();
    return loss;
  };
  const losses: number[] = [];
  // Each step gives up 14 bind groups; the software driver crashes with 65,530 of them.
  for (let round = 0; round < 3; round++) {
    for (let i = 1; i < 2000; i++) step();
    losses.push(await step().item());
  }
  expect(losses[2]).toBeLessThan(losses[0]!);
});
