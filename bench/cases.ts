/** The works of works.mjs in kindling. */
import * as k from '../src/index.js';
import {
  classesOf,
  imageValues,
  initialValues,
  labels,
  parametersOf,
  seeds,
  sgd,
  sumOfSquares,
  uniform,
  type ImageWork,
  type NetworkWork,
  type Work,
} from './works.mjs';

export interface Prepared {
  /** Does the work once and waits for it; training steps give their loss. */
  run(): Promise<number | void>;
  /** Sums of squares of what the last run gave: result, then gradients. */
  check?(): Promise<number[]>;
}

const filled = (seed: number, shape: readonly number[]): k.Tensor =>
  k.tensor(uniform(seed, shape), { shape });
const squares = (...tensors: readonly k.Tensor[]): Promise<number[]> =>
  Promise.all(tensors.map(async (tensor) => sumOfSquares(await tensor.data())));

async function networkOf(work: NetworkWork): Promise<k.nn.TensorModule> {
  const model = work.network === 'resnet18' ? k.models.resnet18() : k.models.cifarResnet20();
  const values = parametersOf(work).map(
    (parameter) => [parameter.name, { shape: parameter.shape, data: initialValues(parameter) }] as const,
  );
  const { unexpectedKeys } = await model.loadStateDict(new Map(values), { strict: false });
  if (unexpectedKeys.length > 0) throw new Error(`the network has no ${unexpectedKeys.join(', ')}`);
  return model;
}

async function training(work: NetworkWork): Promise<Prepared> {
  const model = await networkOf(work);
  const criterion = new k.nn.CrossEntropyLoss();
  const optimizer = new k.optim.SGD(model.parameters(), sgd);
  const x = filled(seeds.input, work.input);
  const y = k.tensor(labels(x.size(0), classesOf(work)));
  return {
    run: () => {
      optimizer.zeroGrad();
      const loss = criterion(model(x), y);
      loss.backward();
      optimizer.step();
      return loss.item();
    },
  };
}

/** Runs `forward`, and its backward with a fixed gradient of the result where `leaves` are given. */
function kernel(forward: () => k.Tensor, leaves: readonly k.Tensor[] = []): Prepared {
  let result: k.Tensor | undefined;
  let grads: readonly k.Tensor[] = [];
  let seed: k.Tensor | undefined;
  for (const leaf of leaves) leaf.requiresGrad = true;
  return {
    run: async () => {
      for (const old of [result, ...grads]) old?.dispose();
      result = forward();
      if (leaves.length > 0) {
        if (result.ndim > 0) seed ??= filled(seeds.grad, result.shape).contiguous();
        grads = k.autograd.grad(result, leaves, seed && { gradOutputs: seed });
      }
      await k.synchronize();
    },
    check: () => squares(...(result ? [result] : []), ...grads),
  };
}

export async function prepare(work: Work): Promise<Prepared> {
  switch (work.op) {
    case 'train':
      return training(work);
    case 'forward': {
      const model = await networkOf(work);
      model.eval();
      const x = filled(seeds.input, work.input);
      return kernel(() => k.noGrad(() => model(x)));
    }
    case 'sgd': {
      const parameters = parametersOf(work).map(({ shape }) => new k.nn.Parameter(k.randn(shape)));
      const optimizer = new k.optim.SGD(parameters, sgd);
      for (const parameter of parameters) parameter.grad = k.randn(parameter.shape);
      return {
        run: () => {
          optimizer.step();
          return k.synchronize();
        },
      };
    }
    case 'matmul': {
      const shape = [work.n, work.n];
      const [a, b] = [filled(seeds.input, shape), filled(seeds.other, shape)];
      return kernel(() => k.matmul(a, b));
    }
    case 'add': {
      const [a, b] = [filled(seeds.input, work.input), filled(seeds.other, work.input)];
      return kernel(() => k.add(a, b));
    }
    case 'cross-entropy-grad': {
      const x = filled(seeds.input, work.input);
      const y = k.tensor(labels(x.size(0), x.size(1)));
      return kernel(() => k.crossEntropy(x, y), [x]);
    }
    default:
      return image(work);
  }
}

function image(work: ImageWork): Prepared {
  const { op, input } = work;
  const values = imageValues(work);
  const channels = input[1] ?? 0;
  // As activations are inside a network.
  const x = k.tensor(values, { shape: input }).contiguous({ memoryFormat: 'channelsLast' });
  switch (op) {
    case 'conv':
    case 'conv-grad': {
      const w = filled(seeds.other, [channels, channels, 3, 3]);
      const forward = (): k.Tensor => k.conv2d(x, w, null, { padding: 1 });
      return op === 'conv' ? kernel(forward) : kernel(forward, [x, w]);
    }
    case 'batch-norm-grad': {
      const norm = new k.nn.BatchNorm2d(channels);
      return kernel(() => norm(x), [x, ...norm.parameters()]);
    }
    case 'max-pool':
      return kernel(() => k.maxPool2d(x, 3, { stride: 2, padding: 1 }));
    case 'max-pool-grad':
      return kernel(() => k.maxPool2d(x, 3, { stride: 2, padding: 1 }), [x]);
  }
}
