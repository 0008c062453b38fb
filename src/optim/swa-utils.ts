import { noGrad } from '../autograd/mode.js';
import { averageRule } from '../kernels/optim/rules.js';
import { BatchNorm1d, BatchNorm2d, BatchNorm3d, deepcopy, Module, type TensorModule } from '../nn/index.js';
import { checkLoaded } from '../nn/base/call.js';
import { add_, copy_, detach, eq, tensor, where } from '../ops/index.js';
import { isTensor, type Tensor } from '../tensor/tensor.js';
import { sameShape, showShape } from '../tensor/shape.js';
import { scoped } from '../tensor/tidy.js';
import { checkCount, optionReader, required, type Needed, type Trailing, noMore } from '../tensor/options.js';
import { applyRules } from './fused.js';
import { aNumber, aWhole, eachGroup, oneOf, readSchedule, requireOptimizer } from './lr-args.js';
import { LRScheduler, perGroup } from './lr-base.js';
import type { Optimizer } from './optimizer.js';

/** `torch.optim.swa_utils`: averages of a model's weights over training. */

/** A new value for one averaged tensor; `numAveraged` is a zero-dim int32 tensor. */
export type AvgFn = (averaged: Tensor, current: Tensor, numAveraged: Tensor) => Tensor;
/** Moves all averaged tensors, in place; while `numAveraged` is 0 it must copy. */
export type MultiAvgFn = (
  averaged: readonly Tensor[],
  current: readonly Tensor[],
  numAveraged: Tensor,
) => void;

const fused =
  (kind: 'equal' | 'exponential', hyper: readonly number[]): MultiAvgFn =>
  (averaged, current, numAveraged) => {
    const updates = averaged.map((parameter, i) => ({ parameter, grad: current[i] as Tensor, state: [] }));
    const use = { rule: averageRule(kind), hyper, fresh: false, updates, shared: [numAveraged] };
    applyRules('AveragedModel', [use], () => undefined);
  };

/** Equal weights: stochastic weight averaging (Izmailov et al. 2018, https://arxiv.org/abs/1803.05407). */
export function getSwaMultiAvgFn(): MultiAvgFn {
  noMore('getSwaMultiAvgFn', arguments, 0);
  return fused('equal', []);
}

/** An exponential moving average: `decay * averaged + (1 - decay) * current`. */
export function getEmaMultiAvgFn(decay = 0.999): MultiAvgFn {
  checkCount('getEmaMultiAvgFn', arguments.length, 1);
  if (!(decay >= 0 && decay <= 1))
    throw new Error(`getEmaMultiAvgFn: decay must be between 0 and 1, got ${String(decay)}`);
  return fused('exponential', [1 - decay]);
}

export interface AveragedModelOptions {
  /** What to do with each tensor; default: equal weights. */
  avgFn?: AvgFn;
  /** The same for all at once: `getEmaMultiAvgFn(0.99)`, which is one dispatch for several parameters. */
  multiAvgFn?: MultiAvgFn;
  /**
   * Average floating point buffers (running statistics) too. Default false: they are copied from the model.
   */
  useBuffers?: boolean;
}

const readAverage = optionReader('AveragedModel', {
  avgFn: undefined as AvgFn | undefined,
  multiAvgFn: undefined as MultiAvgFn | undefined,
  useBuffers: false,
});

/**
 * `torch.optim.swa_utils.AveragedModel`: a copy of a model, as `module`, that holds the average of the
 * weights at each `updateParameters(model)`. It is called like the model. With equal weights, run
 * `updateBn(loader, averaged)` at the end.
 */
export class AveragedModel<M extends Module = TensorModule> extends Module {
  module: M;
  declare nAveraged: Tensor;
  readonly useBuffers: boolean;
  private readonly average: MultiAvgFn;

  constructor(model: M, ...args: Trailing<[], AveragedModelOptions>) {
    const { avgFn, multiAvgFn, useBuffers } = readAverage(args);
    if (!(model instanceof Module))
      throw new Error(`AveragedModel: expected a module to average, got ${String(model)}`);
    super();
    if (avgFn !== undefined && multiAvgFn !== undefined)
      throw new Error('AveragedModel: give either avgFn or multiAvgFn, not both');
    this.module = deepcopy(model);
    this.registerBuffer('nAveraged', tensor(0, { dtype: 'int32' }));
    this.useBuffers = useBuffers;
    this.average = multiAvgFn ?? (avgFn === undefined ? getSwaMultiAvgFn() : oneByOne(avgFn));
  }

  forward(...args: Parameters<M['forward']>): ReturnType<M['forward']> {
    return this.module(...args) as ReturnType<M['forward']>;
  }

  /**
   * Takes the present weights of `model` into the average; nothing waits for the GPU.
   *
   * @throws Error when its parameters are not those of the model that this was made from
   */
  updateParameters(model: M): void {
    for (const module of [...this.modules(), ...model.modules()]) checkLoaded(module);
    const averaged: Tensor[] = [];
    const current: Tensor[] = [];
    for (const [mine, theirs] of [...this.pairs('parameters', model), ...this.pairs('buffers', model)]) {
      const counts = !mine.isFloatingPoint();
      const isBuffer = averaged.length >= this.module.parameters().length;
      if (counts || (isBuffer && !this.useBuffers)) noGrad(() => copy_(mine, theirs));
      else {
        averaged.push(mine);
        current.push(theirs);
      }
    }
    scoped('AveragedModel', () =>
      noGrad(() => {
        this.average(averaged, current, this.nAveraged);
        add_(this.nAveraged, 1);
      }),
    );
  }

  private pairs(kind: 'parameters' | 'buffers', model: M): [Tensor, Tensor][] {
    const [mine, theirs]: [Tensor[], Tensor[]] = [this.module[kind](), model[kind]()];
    if (mine.length !== theirs.length)
      throw new Error(`AveragedModel: the model has ${theirs.length} ${kind}, the average ${mine.length}`);
    return mine.map((tensor, i) => {
      const other = theirs[i] as Tensor;
      if (!sameShape(tensor.shape, other.shape)) {
        throw new Error(
          `AveragedModel: ${kind} ${i} of the model is ${showShape(other.shape)}, of the average ${showShape(tensor.shape)}`,
        );
      }
      return [tensor, other];
    });
  }
}

const oneByOne =
  (avgFn: AvgFn): MultiAvgFn =>
  (averaged, current, numAveraged) => {
    averaged.forEach((mine, i) =>
      scoped('avgFn', () => {
        const theirs = detach(current[i] as Tensor);
        copy_(mine, where(eq(numAveraged, 0), theirs, avgFn(detach(mine), theirs, numAveraged)));
      }),
    );
  };

/**
 * `torch.optim.swa_utils.update_bn`: new running statistics for the batch norms of a model, averaged over one
 * pass of the data. Batches are tensors or arrays whose first item is one.
 */
export async function updateBn(
  loader: AsyncIterable<Tensor | readonly unknown[]> | Iterable<Tensor | readonly unknown[]>,
  model: TensorModule | AveragedModel,
): Promise<void> {
  checkCount('updateBn', arguments.length, 2);
  const layers = model
    .modules()
    .filter(
      (module): module is TensorModule & BatchNorm2d =>
        module instanceof BatchNorm2d || module instanceof BatchNorm1d || module instanceof BatchNorm3d,
    );
  if (layers.length === 0) return;
  const momenta = layers.map((layer) => layer.momentum);
  const modes = model.modules().map((module) => [module, module.training] as const);
  model.train();
  try {
    for (const layer of layers) {
      layer.resetRunningStats();
      layer.momentum = null;
    }
    for await (const batch of loader) {
      const input = isTensor(batch) ? batch : batch[0];
      if (!isTensor(input)) throw new Error('updateBn: a batch is no tensor and does not start with one');
      noGrad(() => model(input)).dispose();
    }
  } finally {
    layers.forEach((layer, i) => (layer.momentum = momenta[i] as number | null));
    for (const [module, training] of modes) module.training = training;
  }
}

export interface SWALROptions {
  /** Epochs until the rate is constant. Default 10. */
  annealEpochs?: number;
  annealStrategy?: 'cos' | 'linear';
  lastEpoch?: number;
}

/** `torch.optim.swa_utils.SWALR`: from the present rate to `swaLr`, which then stays. */
export class SWALR extends LRScheduler {
  readonly annealEpochs: number;
  private readonly anneal: (part: number) => number;

  /** @throws Error without `swaLr`, and for values without a meaning */
  constructor(
    optimizer: Optimizer,
    ...args: Needed<
      [swaLr: number | readonly number[]],
      ['swaLr'],
      [annealEpochs: number, annealStrategy: 'cos' | 'linear', lastEpoch: number],
      SWALROptions
    >
  ) {
    requireOptimizer('SWALR', optimizer);
    const { swaLr, annealEpochs, annealStrategy, lastEpoch } = readSchedule<
      Required<SWALROptions> & { swaLr: number | readonly number[] }
    >(
      'SWALR',
      optimizer,
      args,
      { swaLr: required(), annealEpochs: 10, annealStrategy: 'cos', lastEpoch: -1 },
      { swaLr: eachGroup(optimizer, aNumber), annealEpochs: aWhole, annealStrategy: oneOf('cos', 'linear') },
    );
    const rates = perGroup('SWALR: swaLr', optimizer, swaLr);
    optimizer.paramGroups.forEach((group, i) => (group.swaLr = rates[i] as number));
    super(optimizer, lastEpoch);
    this.annealEpochs = annealEpochs;
    this.anneal = annealStrategy === 'cos' ? (part) => (1 - Math.cos(Math.PI * part)) / 2 : (part) => part;
    this.start();
  }

  protected getLr(): number[] {
    const last = Math.max(1, this.annealEpochs);
    const step = this.annealEpochs === 0 ? Math.max(1, this.stepCount - 1) : this.stepCount - 1;
    const at = (epoch: number): number => this.anneal(Math.max(0, Math.min(1, epoch / last)));
    const [before, now] = [at(step - 1), at(step)];
    return this.optimizer.paramGroups.map(({ lr, swaLr = lr }) => {
      const start = before === 1 ? swaLr : (lr - before * swaLr) / (1 - before);
      return swaLr * now + start * (1 - now);
    });
  }
}
