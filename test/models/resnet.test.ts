import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';
import { labels, parameter, uniform } from './fill.js';
import {
  ModelGolden,
  relativeL2,
  worst,
  type CifarGolden,
  type TorchvisionGolden,
  type TrainingGolden,
} from './goldens.js';

/** Relative L2. PyTorch's own float32 is within 5e-7 on logits and 1e-5 on gradients; a Winograd convolution is less exact. */
const limits = { logits: 5e-5, loss: 1e-5, gradient: 1e-4, statistics: 1e-5, sgdLoss: 1e-3 };

const slow = 600_000;
const data = process.env['KINDLING_DATA'] ?? fileURLToPath(new URL('../../../shared/data', import.meta.url));
const checkpoint = `${data}/cifar_resnet/resnet20-12fca82f.th`;
const testImages = `${data}/cifar10/test_subset.bin`;

beforeAll(() => k.init());

function fill(model: k.nn.Module): void {
  const state = new Map<string, k.Tensor>();
  for (const [key, tensor] of model.stateDict()) {
    const value = key.endsWith('num_batches_tracked') ? new Float32Array(1) : parameter(key, tensor.shape);
    state.set(key, k.tensor(value, { shape: tensor.shape }).to(tensor.dtype));
  }
  model.loadStateDict(state);
}

/** Loss, gradients, running statistics and five steps of SGD, against the golden. */
async function checkTraining<G>(
  model: k.nn.Module & ((x: k.Tensor) => k.Tensor),
  golden: ModelGolden<G>,
  training: TrainingGolden,
  x: k.Tensor,
  y: k.Tensor,
): Promise<void> {
  model.train();
  const optimizer = new k.optim.SGD(model.parameters(), { lr: 0.01, momentum: 0.9, weightDecay: 1e-4 });
  const losses: number[] = [];
  let gradients = new Map<string, number>();
  for (let step = 0; step < training.sgdLosses.length; step++) {
    optimizer.zeroGrad();
    const loss = k.nn.functional.crossEntropy(model(x), y);
    loss.backward();
    if (step === 0) {
      const named = model.namedParameters();
      expect(named.map(([key]) => key).sort()).toEqual(Object.keys(training.gradients).sort());
      gradients = new Map(
        await Promise.all(
          named.map(async ([key, p]): Promise<[string, number]> => {
            const grad = (await p.grad!.data()) as Float32Array;
            return [key, golden.error(key, training.gradients[key]!, grad)];
          }),
        ),
      );
      const buffers = model.namedBuffers().filter(([key]) => key in training.statistics);
      expect(buffers.length).toBe(Object.keys(training.statistics).length);
      for (const [key, buffer] of buffers) {
        const error = golden.error(key, training.statistics[key]!, (await buffer.data()) as Float32Array);
        expect(error, `${key} after one forward pass`).toBeLessThan(limits.statistics);
      }
    }
    optimizer.step();
    losses.push(await loss.item());
  }
  const off = losses.map((loss, i) => Math.abs(loss / training.sgdLosses[i]! - 1));
  const { key, error } = worst(gradients);
  console.log(
    `  loss off by ${off.map((o) => o.toExponential(1)).join(' ')}; worst gradient ${error.toExponential(1)} (${key})` +
      (golden.isStrict ? '' : ', estimated from projections'),
  );
  expect(off[0], 'loss').toBeLessThan(limits.loss);
  const tooFar = [...gradients]
    .filter(([, e]) => !(e < limits.gradient))
    .map(([name, e]) => `${name}: ${e.toExponential(1)}`);
  expect(tooFar, 'gradients too far from PyTorch').toEqual([]);
  expect(
    Math.max(...off),
    `losses ${losses.join(', ')}, expected ${training.sgdLosses.join(', ')}`,
  ).toBeLessThan(limits.sgdLoss);
}

for (const name of ['resnet18', 'resnet50'] as const) {
  describe(`${name} against torchvision`, () => {
    const golden = new ModelGolden<TorchvisionGolden>(name);
    const { classes, evaluations, training } = golden.json;

    for (const { batch, size, logits } of evaluations) {
      it(`eval, ${batch}x3x${size}x${size}`, { timeout: slow }, async () => {
        const model = k.models[name]({ numClasses: classes });
        fill(model);
        model.eval();
        const x = k.tensor(uniform('input', [batch, 3, size, size], Math.sqrt(3)), {
          shape: [batch, 3, size, size],
        });
        const got = await k.noGrad(() => model(x)).data();
        const error = relativeL2(got, golden.slice(logits, batch * classes));
        console.log(`  logits off by ${error.toExponential(1)}`);
        expect(error).toBeLessThan(limits.logits);
      });
    }

    it('one training step and five of SGD', { timeout: slow }, async () => {
      const model = k.models[name]({ numClasses: classes });
      fill(model);
      const shape = [training.batch, 3, training.size, training.size];
      const x = k.tensor(uniform('input', shape, Math.sqrt(3)), { shape });
      const y = k.tensor(labels('labels', training.batch, classes));
      await checkTraining(model, golden, training, x, y);
    });
  });
}

const missing = [checkpoint, testImages].filter((path) => !existsSync(path));
describe.skipIf(missing.length > 0)('the published CIFAR ResNet-20 against PyTorch', () => {
  if (missing.length > 0) {
    console.log(`skipped: CIFAR ResNet-20 (not there: ${missing.join(', ')}; set KINDLING_DATA)`);
    return;
  }
  const golden = new ModelGolden<CifarGolden>('cifar_resnet20');
  const { logits, predictions, correct, training } = golden.json;
  const pixels = 3 * 32 * 32;
  const bytes = readFileSync(testImages);
  const count = bytes.length / (pixels + 1);
  const mean = [0.485, 0.456, 0.406];
  const std = [0.229, 0.224, 0.225];

  function images(from: number, to: number): k.Tensor {
    const values = new Float32Array((to - from) * pixels);
    for (let n = from; n < to; n++) {
      for (let i = 0; i < pixels; i++) {
        const c = Math.floor(i / 1024);
        values[(n - from) * pixels + i] = (bytes[n * (pixels + 1) + 1 + i]! / 255 - mean[c]!) / std[c]!;
      }
    }
    return k.tensor(values, { shape: [to - from, 3, 32, 32] });
  }

  async function load(): Promise<ReturnType<typeof k.models.cifarResnet20>> {
    const model = k.models.cifarResnet20();
    await k.loadWeights(model, checkpoint);
    return model;
  }

  it('logits and all predictions', { timeout: slow }, async () => {
    const model = await load();
    model.eval();
    let agreeing = 0;
    let right = 0;
    for (let from = 0; from < count; from += 128) {
      const to = Math.min(from + 128, count);
      const got = await k.noGrad(() => model(images(from, to))).data();
      if (from === 0) {
        const error = relativeL2(got.slice(0, 640), golden.slice(logits, 640));
        console.log(`  logits off by ${error.toExponential(1)}`);
        expect(error).toBeLessThan(limits.logits);
      }
      for (let n = from; n < to; n++) {
        const row = Array.from(got.slice((n - from) * 10, (n - from + 1) * 10));
        const best = row.indexOf(Math.max(...row));
        if (best === Number(predictions[n])) agreeing++;
        if (best === bytes[n * (pixels + 1)]) right++;
      }
    }
    expect({ agreeing, right }).toEqual({ agreeing: count, right: correct });
  });

  it('one training step and five of SGD', { timeout: slow }, async () => {
    const model = await load();
    const y = k.tensor(labels('labels', training.batch, 10));
    await checkTraining(model, golden, training, images(0, training.batch), y);
  });
});
