import {
  Adadelta,
  Adagrad,
  Adam,
  Adamax,
  AdamW,
  ASGD,
  LBFGS,
  NAdam,
  RAdam,
  RMSprop,
  Rprop,
  SGD,
} from '../optim/index.js';
import type { Optimizer } from '../optim/index.js';
import type { Tensor } from '../tensor/tensor.js';
import { UsageError } from './errors.js';

/** Parameters that share a learning rate. */
export interface RateGroup {
  readonly params: Tensor[];
  readonly lr: number;
}

/** What is not given, or null, has its default. */
export interface OptimizerChoice {
  readonly optimizer: OptimizerName;
  readonly lr?: number | null;
  readonly momentum?: number | null;
  readonly weightDecay?: number | null;
}

interface Hyper {
  readonly lr: number;
  readonly momentum?: number;
  readonly weightDecay?: number;
}

interface Entry {
  /** Used where the command line names none. */
  readonly lr: number;
  /** Default momentum; missing where there is no such thing. */
  readonly momentum?: number;
  /** Default weight decay; null where there is no such thing. */
  readonly weightDecay: number | null;
  readonly make: (groups: RateGroup[], hyper: Hyper) => Optimizer;
}

/**
 * The optimizers of `--optimizer`. Rates are PyTorch's defaults where it has some that suit; SGD's are those
 * of its transfer-learning tutorial, times 10 in the learning rate.
 */
const entries = {
  sgd: { lr: 0.01, momentum: 0.9, weightDecay: 0, make: (groups, hyper) => new SGD(groups, hyper) },
  adam: { lr: 1e-3, weightDecay: 0, make: (groups, hyper) => new Adam(groups, hyper) },
  adamw: { lr: 1e-3, weightDecay: 0.01, make: (groups, hyper) => new AdamW(groups, hyper) },
  rmsprop: { lr: 1e-3, momentum: 0, weightDecay: 0, make: (groups, hyper) => new RMSprop(groups, hyper) },
  adagrad: { lr: 1e-2, weightDecay: 0, make: (groups, hyper) => new Adagrad(groups, hyper) },
  adadelta: { lr: 1, weightDecay: 0, make: (groups, hyper) => new Adadelta(groups, hyper) },
  adamax: { lr: 2e-3, weightDecay: 0, make: (groups, hyper) => new Adamax(groups, hyper) },
  nadam: { lr: 2e-3, weightDecay: 0, make: (groups, hyper) => new NAdam(groups, hyper) },
  radam: { lr: 1e-3, weightDecay: 0, make: (groups, hyper) => new RAdam(groups, hyper) },
  asgd: { lr: 1e-2, weightDecay: 0, make: (groups, hyper) => new ASGD(groups, hyper) },
  rprop: { lr: 1e-2, weightDecay: null, make: (groups, { lr }) => new Rprop(groups, { lr }) },
  lbfgs: {
    lr: 1,
    weightDecay: null,
    make: (groups, { lr }) => {
      if (groups.length > 1)
        throw new UsageError('--optimizer lbfgs has one rate for all; leave out --head-lr');
      return new LBFGS(groups, { lr, lineSearchFn: 'strong_wolfe' });
    },
  },
} as const satisfies Record<string, Entry>;

export type OptimizerName = keyof typeof entries;

export const optimizerNames = Object.keys(entries) as OptimizerName[];

/** The learning rate that is used where none is given. */
export const defaultRate = (name: OptimizerName): number => entries[name].lr;

const entryOf = (name: OptimizerName): Entry => entries[name];

/** What the optimizers that have something of a name have where it is not given: `sgd 0.9, rmsprop 0`. */
const defaultsOf = (field: 'momentum' | 'weightDecay'): string =>
  optimizerNames
    .filter((name) => typeof entryOf(name)[field] === 'number')
    .map((name) => `${name} ${entryOf(name)[field]}`)
    .join(', ');

/** What the help says of the options that only some optimizers have. */
export const helpOf = {
  momentum: `default: ${defaultsOf('momentum')}; the others have none`,
  weightDecay: `default: ${defaultsOf('weightDecay')}; the others have none`,
} as const;

/** Whether `--weight-decay` means anything to this optimizer. */
export const hasDecay = (name: OptimizerName): boolean => entryOf(name).weightDecay !== null;

/** Whether `--momentum` means anything to this optimizer. */
export const hasMomentum = (name: OptimizerName): boolean => 'momentum' in entries[name];

export function makeOptimizer(
  params: readonly Tensor[] | readonly RateGroup[],
  choice: OptimizerChoice,
): Optimizer {
  const entry: Entry = entries[choice.optimizer];
  const weightDecay = choice.weightDecay ?? undefined;
  const lr = choice.lr ?? entry.lr;
  const groups = params.map((item) => ('params' in item ? item : { params: [item], lr }));
  const merged = params.every((item) => !('params' in item))
    ? [{ params: groups.flatMap((group) => group.params), lr }]
    : groups;
  return entry.make(merged, {
    lr,
    ...(entry.momentum !== undefined && { momentum: choice.momentum ?? entry.momentum }),
    ...(weightDecay !== undefined && { weightDecay }),
  });
}
