import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, it } from 'vitest';
import { formats, init, noGrad, optim, tensor, type Tensor } from '../../src/index.js';
import { saveTorch } from '../../src/node.js';
import { pythonWithTorch } from '../formats/python.js';

const python = pythonWithTorch();
const names = [
  'SGD',
  'Adam',
  'AdamW',
  'RMSprop',
  'Adagrad',
  'Adadelta',
  'Adamax',
  'NAdam',
  'RAdam',
  'Rprop',
  'ASGD',
] as const;
const options: Partial<Record<(typeof names)[number], object>> = {
  SGD: { lr: 0.1, momentum: 0.9, weightDecay: 0.01 },
  Adam: { lr: 0.1, amsgrad: true },
  RMSprop: { momentum: 0.5, centered: true },
};

beforeAll(() => init());

function make(name: (typeof names)[number], weight: Tensor): optim.FusedOptimizer {
  const Optimizer = optim[name] as new (params: Tensor[], options?: object) => optim.FusedOptimizer;
  return new Optimizer([weight], options[name]);
}
function step(weight: Tensor, optimizer: optim.FusedOptimizer, k: number): void {
  weight.grad = tensor([Math.sin(k), Math.cos(k), 0.5]);
  optimizer.step();
}

it.runIf(python !== undefined)(
  'PyTorch goes on where kindling stopped, and kindling where PyTorch stopped',
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'kindling-'));
    const [ours, theirs] = [join(folder, 'ours.pth'), join(folder, 'theirs.pth')];
    const runs = names.map((name) => {
      const weight = tensor([1, -2, 3]).requiresGrad_();
      const optimizer = make(name, weight);
      for (let k = 0; k < 7; k++) step(weight, optimizer, k);
      return { name, weight, optimizer };
    });
    const entries = runs.map(({ name, weight, optimizer }) => [
      name,
      { step: 7, weight: weight.detach(), state: optimizer.stateDict() },
    ]);
    await saveTorch(ours, Object.fromEntries(entries) as formats.TorchValue);
    const script = fileURLToPath(new URL('resume.py', import.meta.url));
    execFileSync(python as string, [script, ours, theirs], { env: { ...process.env, OMP_NUM_THREADS: '2' } });

    type Saved = Map<string, Map<string, unknown>>;
    const saved = (await formats.loadValue(theirs)) as Saved;
    for (const { name, weight, optimizer } of runs) {
      const run = saved.get(name) as Map<string, unknown>;
      const resumed = tensor(
        await (run.get('weight') as formats.HostTensor).toFloat32Array(),
      ).requiresGrad_();
      step(weight, optimizer, 7);
      expect(
        await resumed
          .sub(noGrad(() => weight.detach()))
          .abs()
          .max()
          .item(),
        name,
      ).toBeLessThan(1e-6);
      const back = make(name, resumed);
      await back.loadStateDict(run.get('state'));
      for (const [one, its] of [
        [weight, optimizer],
        [resumed, back],
      ] as const)
        step(one, its, 8);
      expect(await resumed.detach().sub(weight.detach()).abs().max().item(), name).toBeLessThan(1e-6);
    }
    rmSync(folder, { recursive: true });
  },
);
