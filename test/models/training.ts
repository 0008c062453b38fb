import { describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';
import { labels, parameter, uniform } from './fill.js';
import { ModelGolden, relativeL2, worst, type TorchvisionGolden, type TrainingGolden } from './goldens.js';

/**
 * Relative L2. PyTorch's own float32 is within 5e-7 on logits and 1e-5 on gradients, and so are we, but for
 * this: of the millions of values before a ReLU some lie within rounding of zero, and one whose sign differs
 * from float64's changes the gradients of the layers before it by about 1e-3, and that of a bias whose
 * contributions nearly cancel by 1e-2. Gradients get that much room where there are ReLUs (one of the zoo has
 * SiLUs instead); a wrong kernel is off by far more.
 */
export const limits = {
  logits: 5e-5,
  loss: 1e-5,
  gradient: 1e-4,
  gradientWithReLU: 2e-2,
  statistics: 1e-5,
  sgdLoss: 5e-3,
};

const kinked = (model: k.nn.Module): boolean =>
  !model.modules().some((module) => module instanceof k.nn.SiLU || module instanceof k.nn.GELU);

export const slow = 600_000;

function fill(model: k.nn.Module): void {
  const state = new Map<string, k.Tensor>();
  for (const [key, tensor] of model.stateDict()) {
    const value = key.endsWith('num_batches_tracked') ? new Float32Array(1) : parameter(key, tensor.shape);
    state.set(key, k.tensor(value, { shape: tensor.shape }).to(tensor.dtype));
  }
  model.loadStateDict(state);
}

/** Loss, gradients, running statistics and five steps of SGD, against the golden. */
export async function checkTraining<G>(
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
  const limit = kinked(model) ? limits.gradientWithReLU : limits.gradient;
  const tooFar = [...gradients]
    .filter(([, e]) => !(e < limit))
    .map(([name, e]) => `${name}: ${e.toExponential(1)}`);
  expect(tooFar, 'gradients too far from PyTorch').toEqual([]);
  expect(
    Math.max(...off),
    `losses ${losses.join(', ')}, expected ${training.sgdLosses.join(', ')}`,
  ).toBeLessThan(limits.sgdLoss);
}

/**
 * Logits, gradients, running statistics and five steps of SGD of a model, as the golden of its name has them;
 * the logits alone where it is told not to train.
 */
export function describeTorchvision(name: string, { trains = true } = {}): void {
  describe(`${name} against torchvision`, () => {
    const golden = new ModelGolden<TorchvisionGolden>(name);
    const { classes, options, evaluations, training } = golden.json;

    for (const { batch, size, logits } of evaluations) {
      it(`eval, ${batch}x3x${size}x${size}`, { timeout: slow }, async () => {
        const model = k.models.get(name)(options);
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

    it.runIf(trains)('one training step and five of SGD', { timeout: slow }, async () => {
      const model = k.models.get(name)(options);
      fill(model);
      const shape = [training.batch, 3, training.size, training.size];
      const x = k.tensor(uniform('input', shape, Math.sqrt(3)), { shape });
      const y = k.tensor(labels('labels', training.batch, classes));
      await checkTraining(model, golden, training, x, y);
    });
  });
}
