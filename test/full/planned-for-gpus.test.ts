/**
 * Whole training steps planned for a GPU, run on the adapter that is here with no more than the limits that
 * WebGPU guarantees, beside those that are planned for it. Kernels by themselves: test/kernels.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';
import { gpu, plannedFor } from '../forced-target.js';

beforeAll(() => k.init({ disable: ['limits'] }));
afterAll(() => k.close());

it('the device has no more than WebGPU guarantees', () => {
  const { limits, target } = k.runtime();
  expect(limits).toMatchObject({ maxStorageBuffersPerShaderStage: 8, minStorageBufferOffsetAlignment: 256 });
  expect(target).toMatchObject({ maxInvocations: 256, maxWorkgroupStorage: 16384 });
});

type Model = k.nn.Module & ((x: k.Tensor) => k.Tensor);

const models: Record<string, { make: () => Model; size: number; apart: number }> = {
  resnet18: { make: () => k.models.resnet18({ numClasses: 10 }), size: 64, apart: 1e-3 },
  // Some of its units are within rounding of a kink: two right ways differ by those.
  mobilenet_v2: { make: () => k.models.mobilenetV2({ numClasses: 10, dropout: 0 }), size: 64, apart: 2e-2 },
  'a vision transformer': {
    make: () =>
      new k.models.VisionTransformer(
        { patchSize: 8, numLayers: 2, numHeads: 3, hiddenDim: 96, mlpDim: 192 },
        { imageSize: 32, numClasses: 10 },
      ),
    size: 32,
    apart: 1e-4,
  },
};

interface Step {
  readonly loss: number;
  readonly grads: ReadonlyMap<string, Float32Array>;
}

async function step(make: () => Model, size: number): Promise<Step> {
  k.manualSeed(11);
  const model = make();
  model.train();
  const x = k.randn([4, 3, size, size]).contiguous({ memoryFormat: 'channelsLast' });
  const labels = k.tensor([1, 3, 0, 9], { dtype: 'int32' });
  const loss = k.nn.functional.crossEntropy(model(x), labels);
  loss.backward();
  const grads = new Map<string, Float32Array>();
  for (const [name, parameter] of model.namedParameters())
    grads.set(name, Float32Array.from(await parameter.grad!.contiguous().data()));
  return { loss: await loss.item(), grads };
}

const norm = (values: Float32Array): number => Math.sqrt(values.reduce((sum, v) => sum + v * v, 0));

/**
 * Relative L2 distances of the gradients: of all as one vector, and the worst of one parameter, where those
 * that are nearly nothing count by all.
 */
function distances(got: Step, expected: Step): { all: number; worst: number } {
  const length = (values: readonly number[]): number => Math.hypot(...values);
  const entries = [...expected.grads].map(([name, want]) => ({
    size: norm(want),
    apart: norm(got.grads.get(name)!.map((v, i) => v - want[i]!)),
  }));
  const whole = length(entries.map(({ size }) => size));
  return {
    all: length(entries.map(({ apart }) => apart)) / whole,
    worst: Math.max(...entries.map(({ size, apart }) => apart / Math.max(size, 1e-3 * whole))),
  };
}

describe.each(Object.keys(models))('a training step of %s', (name) => {
  const { make, size, apart } = models[name]!;
  let expected: Step;
  beforeAll(async () => {
    expected = await step(make, size);
  });

  // Tiles differ by class; what else there is runs in each.
  const classes =
    name === 'resnet18' ? (['discrete', 'apple', 'integrated'] as const) : (['discrete'] as const);
  it.each(classes)('planned for a GPU that is %s', async (kind) => {
    const got = await plannedFor(gpu(kind), () => step(make, size));
    expect(Math.abs(got.loss / expected.loss - 1)).toBeLessThan(1e-5);
    const { all, worst } = distances(got, expected);
    expect(all).toBeLessThan(apart);
    expect(worst).toBeLessThan(3 * apart);
  });
});
