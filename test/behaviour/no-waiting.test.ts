import { beforeAll, expect, it } from 'vitest';
import * as k from '../../src/index.js';

/** Calls that the driver may hold up until it is through with what was submitted. */
const dear = ['createComputePipeline', 'createShaderModule'] as const;

let device: GPUDevice;

beforeAll(async () => {
  await k.init();
  device = (k.runtime() as unknown as { readonly device: GPUDevice }).device;
});

it('a training loop that reads nothing asks nothing of the device but its work', async () => {
  const model = new k.nn.Sequential(
    new k.nn.Conv2d(3, 8, 3, { padding: 1 }),
    new k.nn.BatchNorm2d(8),
    new k.nn.ReLU(),
    new k.nn.Flatten(),
    new k.nn.Linear(8 * 8 * 8, 4),
  );
  const criterion = new k.nn.CrossEntropyLoss();
  const optimizer = new k.optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9 });
  const x = k.randn([4, 3, 8, 8]);
  const y = k.tensor([0, 1, 2, 3], { dtype: 'int32' });
  const step = (): k.Tensor => {
    optimizer.zeroGrad();
    const loss = criterion(model(x), y);
    loss.backward();
    optimizer.step();
    return loss;
  };
  for (let i = 0; i < 5; i++) await step().item();

  const calls: string[] = [];
  const undo = dear.map((name) => {
    const original = device[name].bind(device) as (...args: unknown[]) => unknown;
    Object.defineProperty(device, name, {
      configurable: true,
      value: (...args: unknown[]) => {
        calls.push(name);
        return original(...args);
      },
    });
    return () => Reflect.deleteProperty(device, name);
  });
  const make = device.createBuffer.bind(device);
  Object.defineProperty(device, 'createBuffer', {
    configurable: true,
    value: (descriptor: GPUBufferDescriptor) => {
      // A loss or a batch that nobody disposed is small; a buffer to map is for a read.
      if (descriptor.size > 1024 || (descriptor.usage & 3) !== 0) calls.push(`buffer ${descriptor.label}`);
      return make(descriptor);
    },
  });
  try {
    for (let i = 0; i < 5; i++) step();
  } finally {
    undo.forEach((restore) => restore());
    Reflect.deleteProperty(device, 'createBuffer');
  }
  expect(calls).toEqual([]);
  // The loop never gave up its turn, so nothing of it can have waited; the work is still done.
  expect(Number.isFinite(await step().item())).toBe(true);
});
