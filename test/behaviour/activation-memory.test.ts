import { beforeAll, describe, expect, it } from 'vitest';
import { activationTable } from '../../scripts/activation-memory.js';
import * as k from '../../src/index.js';

type Model = k.nn.Module & ((x: k.Tensor) => k.Tensor);

beforeAll(() => k.init());

describe('what a training step keeps of the forward pass', () => {
  it.each(['resnet50', 'vgg11_bn'])('of %s is no more than the formulas need', async (name) => {
    const { held, minimum, rows } = await activationTable(k.models.get(name)() as Model, [1, 3, 64, 64]);
    expect(rows.length).toBeGreaterThan(10);
    // Two numbers per channel of batch norm more than needed; dropout keeps a seed where the formula has a
    // mask.
    expect(held).toBeLessThanOrEqual(1.02 * minimum);
  });

  it('holds nothing twice for a ReLU between convolutions, and a byte per window of a max pool', async () => {
    const [first, second] = [new k.nn.Conv2d(4, 8, 3, { padding: 1 }), new k.nn.Conv2d(8, 8, 1)];
    const model = new k.nn.Sequential(first, new k.nn.ReLU(), second, new k.nn.MaxPool2d(2));
    const { held } = await activationTable(model, [2, 4, 8, 8]);
    const image = 2 * 8 * 8 * 4;
    expect(held).toBe(image * 4 + image * 8 + 2 * 8 * 4 * 4);
  });
});

describe('a head-only training step on a frozen trunk', () => {
  it('peaks at what its forward pass needs and the head', () => {
    const model = k.models.get('cifar_resnet20')({ numClasses: 10 });
    model.eval().requiresGrad_(false);
    const head = model.getSubmodule('linear', k.nn.Linear).requiresGrad_();
    const [x, y] = [k.randn(8, 3, 32, 32), k.randint(10, [8])];
    const rt = k.runtime();
    const forward = (): void => k.noGrad(() => model(x)).dispose();
    const step = (): void => {
      const loss = k.tidy(() => k.crossEntropy(model(x), y));
      loss.backward();
      loss.dispose();
    };
    const peak = (run: () => void): number => {
      model.zeroGrad();
      const before = k.memoryStats().liveBytes;
      rt.resetPeakMemory();
      run();
      return k.memoryStats().peakBytes - before;
    };
    forward();
    step();
    const [forwardPeak, stepPeak] = [peak(forward), peak(step)];
    const trained = head.parameters().reduce((sum, p) => sum + p.nbytes, 0);
    // The features, logits and their gradients of 8 images, the head's gradients: no second image-sized
    // buffer (128 KiB).
    expect(stepPeak - forwardPeak).toBeLessThan(trained + 8 * 1024);
    expect(forwardPeak).toBeGreaterThan(512 * 1024);
    const frozen = model.parameters().filter((p) => !p.requiresGrad);
    expect(frozen.length).toBeGreaterThan(50);
    expect(frozen.every((p) => p.grad === null)).toBe(true);
  });
});
