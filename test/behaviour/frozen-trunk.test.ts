import { beforeAll, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';

const { nn, optim } = k;

/**
 * A pretrained-looking network whose trunk is frozen and whose head is new: the feature-extraction recipe.
 */
function frozen() {
  const model = k.models.get('cifar_resnet20')();
  model.requiresGrad_(false);
  const linear = model.getSubmodule('linear') as InstanceType<typeof nn.Linear>;
  (model as unknown as Record<string, unknown>)['linear'] = new nn.Linear(linear.inFeatures, 2);
  const optimizer = new optim.SGD(
    model.parameters().filter((p) => p.requiresGrad),
    { lr: 0.1, momentum: 0.9 },
  );
  return { model, optimizer };
}

const batch = (): [k.Tensor, k.Tensor] => [
  k.randn(8, 3, 32, 32),
  k.tensor([0, 1, 0, 1, 0, 1, 0, 1], { dtype: 'int32' }),
];

async function trunkBytes(model: InstanceType<typeof nn.Module>): Promise<Map<string, string>> {
  const bytes = new Map<string, string>();
  for (const [key, tensor] of model.stateDict()) {
    if (!key.startsWith('linear.'))
      bytes.set(key, Buffer.from((await tensor.data()).slice().buffer).toString('base64'));
  }
  return bytes;
}

beforeAll(async () => {
  await k.init();
  k.manualSeed(1);
});

describe('training the head on a frozen trunk', () => {
  it('leaves every byte of the trunk as it was, running statistics included', async () => {
    const { model, optimizer } = frozen();
    model.eval();
    const before = await trunkBytes(model);
    for (let i = 0; i < 2; i++) {
      const [x, y] = batch();
      optimizer.zeroGrad();
      k.crossEntropy(model(x), y).backward();
      optimizer.step();
    }
    expect(await trunkBytes(model)).toEqual(before);
  });

  it('records only the head and the loss', () => {
    const { model } = frozen();
    const [x, y] = batch();
    const before = k.autograd.recordedNodes();
    const loss = k.crossEntropy(model(x), y);
    expect(k.autograd.recordedNodes() - before).toBe(2);
    expect(loss.gradFn?.name).toBe('crossEntropy');
  });

  it('runs no weight or input gradient of a convolution, and no gradient of batch norm', () => {
    const { model, optimizer } = frozen();
    const [x, y] = batch();
    k.runtime().resetOpCounts();
    k.crossEntropy(model(x), y).backward();
    optimizer.step();
    const ran = [...k.runtime().opCounts()].filter(([, count]) => count > 0).map(([name]) => name);
    expect(ran.filter((name) => /weightGrad|inputGrad|Backward|GradSums/i.test(name))).toEqual([
      'crossEntropyBackward',
    ]);
  });

  it('saves no activation: after the forward only the features and the logits are held', () => {
    const { model } = frozen();
    const [x, y] = batch();
    model(x).dispose();
    const before = k.memoryStats().liveBytes;
    const loss = k.crossEntropy(model(x), y);
    const held = k.memoryStats().liveBytes - before;
    expect(loss.requiresGrad).toBe(true);
    // 8 x 64 features, 8 x 2 logits twice, row statistics, the loss: no image-sized activation (the smallest
    // is 128 KiB).
    expect(held).toBeLessThan(8 * 1024);
  });
});
