/** The works of work-list.mjs in kindling. */
import * as k from '../src/index.js';
import { GptBlock } from './gpt-block.js';
import type {
  ConvolutionWork,
  ImageWork,
  LayerWork,
  LinearWork,
  ModelWork,
  Network,
  NetworkWork,
  SequenceWork,
  SimpleWork,
  Work,
} from './work-list.mjs';
import {
  classesOf,
  heads,
  imageValues,
  initialValues,
  labels,
  parametersOf,
  seeds,
  sequenceParameters,
  sequenceResult,
  sgd,
  sumOfSquares,
  uniform,
} from './works.mjs';

/** What one run needs at least. */
interface Moves {
  /** Operands, results and gradients, each once; of a model its parameters and input. */
  readonly bytes: number;
  /** Roughly, of a work without multiply-adds; only its place in the roofline plot follows from it. */
  readonly operations: number;
}

/** `operations` are `flops` where there are any. */
export interface Needs extends Moves {
  /** Of convolutions and matrix products, as the ops count them: a multiply-add is two. */
  readonly flops: number;
}

export interface Prepared {
  /** Does the work once and waits for it; training steps give their loss. */
  run(): Promise<number | void>;
  /** Sums of squares of what the last run gave: result, then gradients. */
  check?(): Promise<number[]>;
  /** Of the last run. */
  needs(): Needs;
  /** Another work on the same tensors that this one is held against. */
  readonly beside?: { readonly name: string; readonly run: () => Promise<void> };
}

interface Case extends Omit<Prepared, 'needs'> {
  /** After a run. */
  moves(): Moves;
}

const filled = (seed: number, shape: readonly number[]): k.Tensor =>
  k.tensor(uniform(seed, shape), { shape });
const squares = (...tensors: readonly k.Tensor[]): Promise<number[]> =>
  Promise.all(tensors.map(async (tensor) => sumOfSquares(await tensor.data())));
/** All are float32 or int32. */
const bytesOf = (tensors: readonly k.Tensor[]): number =>
  tensors.reduce((sum, tensor) => sum + 4 * tensor.numel(), 0);

interface KernelCase {
  readonly forward: () => k.Tensor;
  /** What it reads. */
  readonly inputs: readonly k.Tensor[];
  /** Inputs whose gradients are part of the work. */
  readonly leaves?: readonly k.Tensor[];
  /** The forward pass is made once and only the backward pass is the work. */
  readonly backwardOnly?: boolean;
  /** {@link Moves.operations}; default: one per element of the first input. */
  readonly operations?: number;
}

/**
 * A gradient laid out as the result is, which is how it comes inside a network; none is needed for a scalar.
 */
function seedFor(result: k.Tensor): k.Tensor | undefined {
  if (result.ndim === 0) return undefined;
  const seed = filled(seeds.grad, result.shape);
  return result.isContiguous() ? seed : seed.contiguous({ memoryFormat: 'channelsLast' });
}

/** Runs `forward`, and its backward with a fixed gradient of the result where `leaves` are given. */
function kernel({ forward, inputs, leaves = [], backwardOnly = false, operations }: KernelCase): Case {
  for (const leaf of leaves) leaf.requiresGrad = true;
  let result: k.Tensor | undefined = backwardOnly ? forward() : undefined;
  let grads: readonly k.Tensor[] = [];
  let seed: k.Tensor | undefined = result && seedFor(result);
  return {
    run: async () => {
      for (const old of grads) old.dispose();
      if (!backwardOnly || result === undefined) {
        result?.dispose();
        result = forward();
      }
      if (leaves.length > 0) {
        seed ??= seedFor(result);
        grads = k.autograd.grad(result, leaves, { gradOutputs: seed ?? null, retainGraph: backwardOnly });
      }
      await k.synchronize();
    },
    check: () => squares(...(result ? [result] : []), ...grads),
    moves: () => {
      const read = backwardOnly ? inputs.filter((input) => !leaves.includes(input)) : inputs;
      const results = result && !backwardOnly ? [result] : [];
      return {
        bytes: bytesOf([...read, ...results, ...(seed ? [seed] : []), ...grads]),
        operations: operations ?? inputs[0]?.numel() ?? 0,
      };
    },
  };
}

const networks: Readonly<Record<Network, () => k.nn.TensorModule>> = {
  'cifar-resnet20': () => k.models.cifarResnet20(),
  resnet18: () => k.models.resnet18(),
  'mobilenet-v2': () => k.models.mobilenetV2({ dropout: 0 }),
  'vit-b16': () => k.models.vitB16(),
  'gpt-block': () => new GptBlock(),
};

async function networkOf(work: NetworkWork): Promise<k.nn.TensorModule> {
  const model = networks[work.network]();
  await fill(model, parametersOf(work));
  return model;
}

async function fill(model: k.nn.Module, parameters: ReturnType<typeof parametersOf>): Promise<void> {
  const values = parameters.map(
    (parameter) => [parameter.name, { shape: parameter.shape, data: initialValues(parameter) }] as const,
  );
  const { unexpectedKeys } = await model.loadStateDict(new Map(values), { strict: false });
  if (unexpectedKeys.length > 0) throw new Error(`the network has no ${unexpectedKeys.join(', ')}`);
}

/** SGD with momentum reads a weight, its gradient and its momentum and writes weight and momentum. */
const sgdPasses = 5;

/** By class labels, or without classes towards a random result of the input's shape. */
function training(
  model: k.nn.TensorModule,
  input: readonly number[],
  classes: number | null,
  options = sgd(),
): Case {
  const criterion = classes === null ? new k.nn.MSELoss() : new k.nn.CrossEntropyLoss();
  const x = filled(seeds.input, input);
  const y = classes === null ? filled(seeds.labels, input) : k.tensor(labels(x.size(0), classes));
  return steps(model, options, [x], () => {
    const result = model(x);
    return [criterion(result, y), result];
  });
}

/** The layer's result for the input, and for the decoder another sequence of that shape. */
async function sequence(work: SequenceWork): Promise<Case> {
  const { layer, input, width } = work;
  const size = input[2] ?? 0;
  const x = filled(seeds.input, input);
  const memory = filled(seeds.other, input);
  const y = filled(seeds.labels, sequenceResult(work));
  const parts = { dimFeedforward: width, dropout: 0, batchFirst: true };
  const recurrent = { batchFirst: true };
  const layers: Readonly<Record<SequenceWork['layer'], () => [k.nn.Module, () => k.Tensor]>> = {
    lstm: () => {
      const lstm = new k.nn.LSTM(size, width, recurrent);
      return [lstm, () => lstm(x)[0]];
    },
    gru: () => {
      const gru = new k.nn.GRU(size, width, recurrent);
      return [gru, () => gru(x)[0]];
    },
    encoder: () => {
      const encoder = new k.nn.TransformerEncoderLayer(size, heads, parts);
      return [encoder, () => encoder(x)];
    },
    decoder: () => {
      const decoder = new k.nn.TransformerDecoderLayer(size, heads, parts);
      return [decoder, () => decoder(x, memory)];
    },
  };
  const [model, forward] = layers[layer]();
  await fill(model, sequenceParameters(work));
  return steps(model, sgd(), [x, memory, y], () => {
    const out = forward();
    return [k.mseLoss(out, y), out];
  });
}

/** A step of all parameters that require grad. `lossOf` gives the loss, and what else it made. */
function steps(
  model: k.nn.Module,
  options: ReturnType<typeof sgd>,
  inputs: k.Tensor[],
  lossOf: () => [k.Tensor, ...k.Tensor[]],
): Case {
  const trainable = model.parameters().filter((parameter) => parameter.requiresGrad);
  const frozen = model.parameters().filter((parameter) => !parameter.requiresGrad);
  const optimizer = new k.optim.SGD(trainable, options);
  return {
    run: async () => {
      optimizer.zeroGrad();
      const [loss, ...others] = lossOf();
      loss.backward();
      optimizer.step();
      // A collection would free it too, some time: the peak of memory shall not depend on when.
      for (const tensor of others) tensor.dispose();
      const value = await loss.item();
      loss.dispose();
      return value;
    },
    moves: () => ({ bytes: sgdPasses * bytesOf(trainable) + bytesOf([...frozen, ...inputs]), operations: 0 }),
  };
}

function inference(model: k.nn.TensorModule, input: readonly number[]): Case {
  model.eval();
  const x = filled(seeds.input, input);
  return kernel({
    forward: () => k.noGrad(() => model(x)),
    inputs: [x, ...model.parameters()],
  });
}

function builtModel({ model: name, pass, input }: ModelWork): Case {
  const model = k.models.get(name)() as k.nn.TensorModule;
  if (pass === 'forward') return inference(model, input);
  if (pass === 'train') return training(model, input, 1000);
  model.requiresGrad_(false);
  k.models.replaceHead(model, 1000);
  model.eval();
  const step = training(model, input, 1000);
  const forward = inference(model, input);
  return {
    ...step,
    beside: {
      name: 'forward alone',
      run: async () => void (await forward.run()),
    },
  };
}

const rules = {
  sgd: {
    make: (parameters: k.nn.Parameter[]) => new k.optim.SGD(parameters, sgd()),
    passes: sgdPasses,
    operations: 4,
  },
  adam: { make: (parameters: k.nn.Parameter[]) => new k.optim.Adam(parameters), passes: 7, operations: 12 },
  rmsprop: {
    make: (parameters: k.nn.Parameter[]) => new k.optim.RMSprop(parameters),
    passes: 5,
    operations: 8,
  },
};

export async function prepare(work: Work): Promise<Prepared> {
  const { run, moves, ...rest } = await caseOf(work);
  let counted = { multiplyAdds: 0 };
  return {
    ...rest,
    // Ops are recorded before the run first waits.
    run: () => k.countWork((counted = { multiplyAdds: 0 }), run),
    needs: () => {
      const flops = 2 * counted.multiplyAdds;
      const { bytes, operations } = moves();
      return { flops, bytes, operations: flops || operations };
    },
  };
}

async function caseOf(work: Work): Promise<Case> {
  switch (work.op) {
    case 'train':
      return training(await networkOf(work), work.input, classesOf(work), sgd(work));
    case 'forward':
      return inference(await networkOf(work), work.input);
    case 'model':
      return builtModel(work);
    case 'sequence':
      return sequence(work);
    case 'optimizer': {
      const { make, passes, operations } = rules[work.rule];
      const parameters = parametersOf(work).map(({ shape }) => new k.nn.Parameter(k.randn(shape)));
      const optimizer = make(parameters);
      for (const parameter of parameters) parameter.grad = k.randn(parameter.shape);
      const bytes = bytesOf(parameters);
      return {
        run: () => {
          optimizer.step();
          return k.synchronize();
        },
        moves: () => ({ bytes: passes * bytes, operations: (operations * bytes) / 4 }),
      };
    }
    case 'matmul': {
      const shape = [work.n, work.n];
      const [a, b] = [filled(seeds.input, shape), filled(seeds.other, shape)];
      return kernel({ forward: () => k.matmul(a, b), inputs: [a, b] });
    }
    case 'linear':
      return linear(work);
    case 'convolution':
      return convolution(work);
    case 'add': {
      const [a, b] = [filled(seeds.input, work.input), filled(seeds.other, work.input)];
      return kernel({ forward: () => k.add(a, b), inputs: [a, b] });
    }
    case 'cross-entropy-grad': {
      const x = filled(seeds.input, work.input);
      const y = k.tensor(labels(x.size(0), x.size(1)));
      return kernel({
        forward: () => k.crossEntropy(x, y),
        inputs: [x, y],
        leaves: [x],
        operations: 6 * x.numel(),
      });
    }
    case 'relu':
    case 'gelu-chain':
    case 'sum-all':
    case 'sum-rows':
    case 'transpose':
      return plain(work.op, filled(seeds.input, work.input));
    default:
      return image(work);
  }
}

/**
 * A layer's parts; the one whose gradient is taken requires grad, the other does not, so that only its kernel
 * runs.
 */
const inPass = (pass: LinearWork['pass'], forward: () => k.Tensor, x: k.Tensor, weight: k.Tensor): Case =>
  pass === 'forward'
    ? kernel({ forward, inputs: [x, weight] })
    : kernel({
        forward,
        inputs: [x, weight],
        leaves: [pass === 'input-grad' ? x : weight],
        backwardOnly: true,
      });

function linear({ input, out, pass }: LinearWork): Case {
  const x = filled(seeds.input, input);
  const weight = filled(seeds.other, [out, input[1] ?? 0]);
  return inPass(pass, () => k.linear(x, weight), x, weight);
}

/** As activations are inside a network. */
const channelsLast = (values: Float32Array, shape: readonly number[]): k.Tensor =>
  k.tensor(values, { shape }).contiguous({ memoryFormat: 'channelsLast' });

function convolution({ input, out, kernel: size, stride, groups, pass }: ConvolutionWork): Case {
  const x = channelsLast(uniform(seeds.input, input), input);
  const weight = filled(seeds.other, [out, (input[1] ?? 0) / groups, size, size]);
  const padding = Math.floor(size / 2);
  return inPass(pass, () => k.conv2d(x, weight, null, { stride, padding, groups }), x, weight);
}

function plain(op: SimpleWork['op'], x: k.Tensor): Case {
  const run = (forward: () => k.Tensor, perElement = 1): Case =>
    kernel({ forward, inputs: [x], operations: perElement * x.numel() });
  switch (op) {
    case 'relu':
      return run(() => k.relu(x));
    case 'gelu-chain':
      return run(() => k.tidy(() => k.mul(k.gelu(k.add(k.mul(x, 1.5), 0.5)), x)), 16);
    case 'sum-all':
      return run(() => k.sum(x));
    case 'sum-rows':
      return run(() => k.sum(x, 1));
    case 'transpose':
      return run(() => x.t().contiguous());
  }
}

function image(work: ImageWork | LayerWork): Case {
  const { op, input } = work;
  const channels = input[1] ?? 0;
  const x = channelsLast(imageValues(work), input);
  const pixels = x.numel();
  const maxPool = (): k.Tensor => k.maxPool2d(x, 3, { stride: 2, padding: 1 });
  switch (op) {
    case 'conv':
    case 'conv-grad': {
      const w = filled(seeds.other, [channels, channels, 3, 3]);
      const forward = (): k.Tensor => k.conv2d(x, w, null, { padding: 1 });
      return kernel({ forward, inputs: [x, w], leaves: op === 'conv' ? [] : [x, w] });
    }
    case 'batch-norm':
    case 'batch-norm-grad': {
      const norm = new k.nn.BatchNorm2d(channels);
      const inputs = [x, ...norm.parameters()];
      return op === 'batch-norm'
        ? kernel({ forward: () => k.noGrad(() => norm(x)), inputs, operations: 5 * pixels })
        : kernel({ forward: () => norm(x), inputs, leaves: inputs, operations: 13 * pixels });
    }
    case 'batch-norm-eval': {
      const norm = new k.nn.BatchNorm2d(channels).eval();
      return kernel({
        forward: () => k.noGrad(() => norm(x)),
        inputs: [x, ...norm.parameters(), ...norm.buffers()],
        operations: 2 * pixels,
      });
    }
    case 'max-pool':
      return kernel({ forward: maxPool, inputs: [x], operations: 2.25 * pixels });
    case 'max-pool-grad':
      return kernel({ forward: maxPool, inputs: [x], leaves: [x], operations: 4.5 * pixels });
    case 'avg-pool':
      return kernel({ forward: () => k.avgPool2d(x, 2), inputs: [x] });
    case 'mean-hw':
      return kernel({ forward: () => k.mean(x, [2, 3]), inputs: [x] });
    case 'channels-last': {
      const planes = x.contiguous();
      return kernel({ forward: () => planes.contiguous({ memoryFormat: 'channelsLast' }), inputs: [planes] });
    }
  }
}
