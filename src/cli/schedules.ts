import { lrScheduler, type Optimizer } from '../optim/index.js';
import { scheduleOf, type Schedule } from '../train/schedule.js';
import { UsageError } from './errors.js';

/** What is not given, or null, has its default. */
export interface ScheduleChoice {
  readonly schedule: ScheduleName;
  /** Epochs between two cuts of the learning rate (`step`) or two restarts (`warmrestarts`). */
  readonly stepSize: number;
  /** What it is multiplied by (`step`, `multistep`, `exponential`, `plateau`). */
  readonly gamma: number;
  /** Epochs of the cuts (`multistep`). */
  readonly milestones?: readonly number[] | null;
  /** Epochs without an improvement that `plateau` lets pass. */
  readonly patience?: number | null;
  /** Epochs of a linear rise to the full rate before all that. */
  readonly warmupEpochs?: number | null;
}

interface Length {
  readonly epochs: number;
  /** Batches of an epoch. */
  readonly batches: number;
}

/** What only some schedules look at. */
export const scheduleOptions = ['stepSize', 'gamma', 'milestones', 'patience'] as const;
export type ScheduleOption = (typeof scheduleOptions)[number];

interface Entry {
  /** Of {@link scheduleOptions}, those that it looks at. */
  readonly uses?: readonly ScheduleOption[];
  readonly per?: 'batch';
  /** Has a rise of its own, or cannot follow one. */
  readonly noWarmup?: true;
  /** Its course is laid out over all epochs, so that more of them are another training from the first on. */
  readonly overAll?: true;
  readonly make: (
    optimizer: Optimizer,
    choice: ScheduleChoice,
    length: Length,
  ) => lrScheduler.LRScheduler | lrScheduler.ReduceLROnPlateau;
}

/** The schedules of `--schedule`; `none` is there by name only. */
const entries = {
  step: {
    uses: ['stepSize', 'gamma'],
    make: (opt, { stepSize, gamma }) => new lrScheduler.StepLR(opt, stepSize, { gamma }),
  },
  multistep: {
    uses: ['milestones', 'gamma'],
    make: (opt, { milestones, gamma }) => {
      if (!milestones)
        throw new UsageError('--schedule multistep needs the epochs of the cuts: --milestones 10,20');
      return new lrScheduler.MultiStepLR(opt, milestones, { gamma });
    },
  },
  exponential: {
    uses: ['gamma'],
    make: (opt, { gamma }) => new lrScheduler.ExponentialLR(opt, gamma),
  },
  cosine: {
    overAll: true,
    make: (opt, _, { epochs }) => new lrScheduler.CosineAnnealingLR(opt, epochs),
  },
  linear: {
    overAll: true,
    make: (opt, _, { epochs }) =>
      new lrScheduler.LinearLR(opt, { startFactor: 1, endFactor: 0, totalIters: epochs }),
  },
  warmrestarts: {
    uses: ['stepSize'],
    make: (opt, { stepSize }) => new lrScheduler.CosineAnnealingWarmRestarts(opt, stepSize),
  },
  onecycle: {
    overAll: true,
    per: 'batch',
    noWarmup: true,
    make: (opt, _, { epochs, batches }) => {
      const rates = opt.paramGroups.map(({ lr }) => lr);
      // Optimizers without momentum or betas have nothing to move against the rate.
      const cycleMomentum = 'momentum' in opt.defaults || 'betas' in opt.defaults;
      return new lrScheduler.OneCycleLR(opt, rates, { epochs, stepsPerEpoch: batches, cycleMomentum });
    },
  },
  polynomial: {
    overAll: true,
    make: (opt, _, { epochs }) => new lrScheduler.PolynomialLR(opt, { totalIters: epochs, power: 2 }),
  },
  plateau: {
    uses: ['gamma', 'patience'],
    noWarmup: true,
    make: (opt, { gamma, patience }) =>
      new lrScheduler.ReduceLROnPlateau(opt, { factor: gamma, patience: patience ?? 3 }),
  },
} as const satisfies Record<string, Entry>;

export type ScheduleName = 'none' | keyof typeof entries;

export const scheduleNames = ['none', ...Object.keys(entries)] as ScheduleName[];

const entryOf = (name: ScheduleName): Entry | null => (name === 'none' ? null : entries[name]);

/**
 * Whether a training by this schedule goes on to more epochs as if it had been meant to have them from the
 * start.
 */
export const canBeExtended = (name: ScheduleName): boolean => entryOf(name)?.overAll !== true;

/** The schedules that look at an option. */
export const schedulesWith = (option: ScheduleOption): ScheduleName[] =>
  scheduleNames.filter((name) => entryOf(name)?.uses?.includes(option) === true);

/** What PyTorch's reference training starts a warm-up from. */
const warmupStart = 0.01;

/**
 * The schedule that the options ask for, or null for a rate that stays as it is.
 *
 * @throws UsageError for options that do not go together
 */
export function makeSchedule(
  optimizer: Optimizer,
  choice: ScheduleChoice,
  { epochs, batches }: Length,
): Schedule | null {
  const warmupEpochs = choice.warmupEpochs ?? 0;
  const entry = entryOf(choice.schedule);
  if (warmupEpochs === 0) {
    if (entry === null) return null;
    return scheduleOf(entry.make(optimizer, choice, { epochs, batches }), entry.per ?? 'epoch');
  }
  if (entry !== null && (entry.noWarmup === true || entry.per === 'batch'))
    throw new UsageError(`--warmup-epochs does not go with --schedule ${choice.schedule}`);
  if (warmupEpochs >= epochs)
    throw new UsageError(`--warmup-epochs ${warmupEpochs} leaves none of the ${epochs} epochs`);
  const totalIters = warmupEpochs;
  const rise = new lrScheduler.LinearLR(optimizer, { startFactor: warmupStart, totalIters });
  if (entry === null) return scheduleOf(rise, 'epoch');
  const main = entry.make(optimizer, choice, { epochs: epochs - warmupEpochs, batches });
  const both = [rise, main as lrScheduler.LRScheduler];
  return scheduleOf(new lrScheduler.SequentialLR(optimizer, both, [warmupEpochs]), 'epoch');
}
