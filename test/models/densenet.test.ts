import { beforeAll, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';

beforeAll(() => k.init());

const small = (memoryEfficient: boolean): k.nn.Module & ((x: k.Tensor) => k.Tensor) =>
  k.models.densenet121({
    growthRate: 8,
    blockConfig: [6, 6],
    numInitFeatures: 16,
    numClasses: 5,
    memoryEfficient,
  });

describe('memoryEfficient DenseNet', () => {
  it('has the same layers, outputs, gradients and running statistics, at a lower peak', async () => {
    const [plain, efficient] = [small(false), small(true)];
    efficient.loadStateDict(plain.stateDict());
    expect(efficient.toString()).toBe(plain.toString());
    const x = k.randn(2, 3, 64, 64);
    const peaks = [plain, efficient].map((model) => {
      // The first pass compiles and packs; its gradients stay out of the measurement.
      k.tidy(() => model(x).square().sum()).backward();
      model.zeroGrad();
      const before = k.memoryStats().liveBytes;
      k.runtime().resetPeakMemory();
      const loss = k.tidy(() => model(x).square().sum());
      loss.backward();
      loss.dispose();
      return k.memoryStats().peakBytes - before;
    }) as [number, number];
    expect(peaks[1]).toBeLessThan(0.75 * peaks[0]);
    const worst = async (a: k.Tensor, b: k.Tensor): Promise<number> =>
      await a.sub(b).abs().max().div(a.abs().max().add(1e-12)).item();
    const expected = plain.namedParameters();
    for (const [i, [name, p]] of efficient.namedParameters().entries())
      expect(await worst(expected[i]![1].grad!, p.grad!), name).toBeLessThan(1e-4);
    for (const [i, [name, b]] of efficient.namedBuffers().entries())
      expect(await worst(plain.buffers()[i]!.to('float32'), b.to('float32')), name).toBeLessThan(1e-5);
  });
});
