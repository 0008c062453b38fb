/**
 * VGG-16, whose first classifier layer of 411 MB is larger than the software adapter's bindings, against
 * torchvision.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';
import type { HostTensor } from '../../src/formats/index.js';
import { pythonWithTorch } from '../formats/python.js';

const python = pythonWithTorch();

function relativeL2(got: ArrayLike<number>, want: ArrayLike<number>): number {
  let [error, norm] = [0, 0];
  for (let i = 0; i < want.length; i++) {
    error += (got[i]! - want[i]!) ** 2;
    norm += want[i]! ** 2;
  }
  return Math.sqrt(error / norm);
}

/**
 * Resident memory of this process in bytes (Linux): now, or the most since `/proc/self/clear_refs` was
 * written.
 */
const memory = (field: 'VmRSS' | 'VmHWM') =>
  1024 * Number(new RegExp(`${field}:\\s+(\\d+)`).exec(readFileSync('/proc/self/status', 'utf8'))![1]);

describe.skipIf(python === undefined)('VGG-16', () => {
  const folder = mkdtempSync(join(tmpdir(), 'kindling-vgg-'));
  const model = () => k.models.vgg16().eval();
  const open = async (name: string) => (await k.loadCheckpoint(join(folder, name), { key: [] })).tensors;
  const floats = (file: Map<string, HostTensor>, key: string) => file.get(key)!.toFloat32Array();
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  beforeAll(async () => {
    const script = fileURLToPath(new URL('vgg16.py', import.meta.url));
    execFileSync(python!, [script, folder], { env: { ...process.env, OMP_NUM_THREADS: '2' } });
    await k.init();
  }, 300_000);

  it.each(['vgg16.pth', 'vgg16.legacy.pth'])(
    '%s loads in little memory and gives its logits',
    async (name) => {
      const net = model();
      await k.loadWeights(net, join(folder, name)); // once, so that code is compiled and pools are filled
      const path = join(folder, name);
      writeFileSync('/proc/self/clear_refs', '5'); // a new peak starts here
      const before = memory('VmRSS');
      await k.loadWeights(net, path);
      const added = memory('VmHWM') - before;
      console.log(`${name}: loading added ${(added / 2 ** 20).toFixed(0)} MiB`);
      expect(added).toBeLessThan(0.3 * statSync(path).size);
      const forward = await open('forward.pth');
      const [x, y] = [await floats(forward, 'x'), await floats(forward, 'y')];
      for (const batch of [1, 2]) {
        const images = k.tensor(x.subarray(0, batch * 3 * 224 * 224)).reshape([batch, 3, 224, 224]);
        const logits = await k.noGrad(() => net.forward(images)).data();
        expect(relativeL2(logits, y.subarray(0, 1000 * batch))).toBeLessThan(1e-4);
      }
    },
    120_000,
  );

  it.each([
    ['sgd', (p: k.Tensor[]) => new k.optim.SGD(p, { lr: 0.01, momentum: 0.9, weightDecay: 1e-3 })],
    ['adam', (p: k.Tensor[]) => new k.optim.Adam(p, { lr: 1e-3 })],
  ] as const)(
    'its largest layer trains as in PyTorch: %s',
    async (name, make) => {
      const [train, state] = [await open('train.pth'), await open('vgg16.pth')];
      const layer = new k.nn.Linear(25088, 4096);
      const [weight, bias] = ['weight', 'bias'].map((key) => state.get(`classifier.0.${key}`)!);
      await layer.loadStateDict(new Map([['weight', weight!], ['bias', bias!]])); // prettier-ignore
      const optimizer = make(layer.parameters());
      const x = k.tensor(await floats(train, 'x')).reshape([4, 25088]);
      const c = k.tensor(await floats(train, 'c')).reshape([4, 4096]);
      const norms: number[] = [];
      for (let step = 0; step < 2; step++) {
        optimizer.zeroGrad();
        layer.forward(x).relu().mul(c).mean().mul(10).backward();
        norms.push(await k.nn.utils.clipGradNorm_(layer.parameters(), 0.5).item());
        optimizer.step();
      }
      expect(relativeL2(norms, await floats(train, `${name}.norms`))).toBeLessThan(1e-6);
      const change = await floats(train, `${name}.change`);
      const rows = await train.get('rows')!.toInt32Array();
      const got = new Float32Array(change.length);
      for (const [i, row] of rows.entries()) {
        const before = new Float32Array((await weight!.range(row * 25088, 25088)).slice().buffer);
        const after = await layer.weight.detach().select(0, row).data();
        for (let j = 0; j < 25088; j++) got[i * 25088 + j] = after[j]! - before[j]!;
      }
      expect(relativeL2(got, change)).toBeLessThan(1e-4);
    },
    120_000,
  );
});
