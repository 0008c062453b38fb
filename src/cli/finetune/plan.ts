import { existsSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseClasses, parseMap, type ClassMap } from '../classes.js';
import { UsageError } from '../errors.js';
import { builderOf } from '../load-model.js';
import { cardInput, type CardInput, type ModelCard } from '../model-card.js';
import { fallbacks, flagOf, plannedOf, type PlannedOf } from '../option-rows.js';
import { defaultRate, hasDecay, hasMomentum } from '../optimizers.js';
import { scheduleOptions, schedulesWith } from '../schedules.js';
import { finetuneOptions, type FinetuneOptions } from './options.js';

/** From an epoch on, these parameters are trained as well. */
export interface Unfreezing {
  readonly epoch: number;
  /** Beginnings of parameter names, or `trunk` for all. */
  readonly names: readonly string[];
}

/** A training with nothing left to decide; plain data, which is what config.json holds. */
export interface Plan extends PlannedOf<typeof finetuneOptions> {
  /** Absolute paths, so that a run goes on from anywhere. */
  readonly train: string;
  readonly val: string | null;
  readonly valSplit: number | null;
  readonly classMap: readonly (readonly [string, readonly string[]])[] | null;
  readonly model: string;
  readonly input: CardInput;
  /** Options of the model that its weights need. */
  readonly modelOptions: ModelCard['options'] | null;
  readonly freeze: readonly string[];
  readonly unfreezeAt: readonly Unfreezing[];
  readonly lr: number;
  readonly earlyStop: { readonly patience: number; readonly minDelta: number } | null;
}

/**
 * A plan from a config.json, which may be older than some options: those have the value of not being given.
 */
export const completePlan = (stored: Plan): Plan => ({
  ...plannedOf(finetuneOptions, fallbacks(finetuneOptions)),
  ...stored,
});

/** The new classes that the options ask for. */
export function classMapOf(options: Pick<FinetuneOptions, 'classes' | 'map'>): ClassMap | null {
  const { classes, map } = options;
  if (classes !== undefined && map !== undefined)
    throw new UsageError('--classes and --map exclude each other');
  if (classes !== undefined) return parseClasses(classes);
  return map === undefined ? null : parseMap(map);
}

/** What the options say about the input, else the weight file's card, else the model's declaration. */
export function inputOf(
  modelName: string,
  options: Pick<FinetuneOptions, 'mean' | 'std'>,
  card: ModelCard,
): CardInput {
  const { mean, std } = options;
  if ((mean === undefined) !== (std === undefined))
    throw new UsageError('--mean and --std go together: give both or neither');
  if (std?.some((value) => value <= 0))
    throw new UsageError(`--std: every value must be above 0, got ${std.join(',')}`);
  const input = (card.model === modelName ? card.input : undefined) ?? cardInput(builderOf(modelName).input);
  return mean === undefined || std === undefined ? input : { ...input, mean, std };
}

/**
 * Checks of the options that need neither a file nor the model, so that a slip is told at once: one that has
 * no effect beside the others is one.
 *
 * @param given what was typed, and is no default
 */
export function checkOptions(options: FinetuneOptions, given: ReadonlySet<string>): void {
  classMapOf(options);
  if (options.val !== undefined && options.valSplit !== undefined)
    throw new UsageError('--val and --val-split exclude each other');
  if (options.momentum !== undefined && !hasMomentum(options.optimizer))
    throw new UsageError(`--momentum means nothing to --optimizer ${options.optimizer}`);
  if (options.weightDecay !== undefined && !hasDecay(options.optimizer))
    throw new UsageError(`--weight-decay means nothing to --optimizer ${options.optimizer}`);
  for (const option of scheduleOptions) {
    const schedules = schedulesWith(option);
    if (given.has(option) && !schedules.includes(options.schedule))
      throw new UsageError(
        `${flagOf(option)} goes with --schedule ${schedules.join(', ')}, not with ${options.schedule}`,
      );
  }
  const { epochs, milestones, stepSize } = options;
  if (milestones !== undefined && milestones.every((epoch) => epoch >= epochs))
    throw new UsageError(
      `--milestones ${milestones.join(',')}: the rate is cut after these epochs, and there are ${epochs}`,
    );
  if (options.schedule === 'step' && given.has('stepSize') && stepSize >= epochs)
    throw new UsageError(
      `--step-size ${stepSize}: the rate is cut after as many epochs, and there are ${epochs}`,
    );
  if (options.amp === true && options.optimizer === 'lbfgs')
    throw new UsageError(
      '--amp does not go with --optimizer lbfgs, whose steps evaluate the loss themselves',
    );
  if (given.has('minDelta') && options.earlyStop === undefined)
    throw new UsageError('--min-delta goes with --early-stop');
  const freeze = options.freeze ?? [];
  if (freeze.includes('none') && freeze.length > 1)
    throw new UsageError(`--freeze: 'none' and other names (${freeze.join(', ')}) exclude each other`);
  if (options.force === true && options.out === undefined) throw new UsageError('--force goes with --out');
  if (options.cacheFeatures === true && !options.featureCache)
    throw new UsageError('--cache-features and --no-feature-cache exclude each other');
  const nothingFrozen = freeze.includes('none') || (freeze.length === 0 && options.weights === undefined);
  if (unfreezings(options).length > 0 && nothingFrozen)
    throw new UsageError('--unfreeze-at goes with --freeze, or with --weights: nothing is frozen');
}

/** `5:layer4,layer3` as data. */
function unfreezings({ unfreezeAt = [], epochs }: FinetuneOptions): Unfreezing[] {
  return unfreezeAt
    .map((text) => {
      const [, digits, list] = /^\s*(\d+)\s*:(.+)$/.exec(text) ?? [];
      const names = (list ?? '').split(',').map((name) => name.trim());
      if (digits === undefined || names.includes(''))
        throw new UsageError(`--unfreeze-at '${text}' is not of the form EPOCH:NAME, such as 5:layer4`);
      const epoch = Number(digits);
      if (epoch < 1 || epoch > epochs)
        throw new UsageError(`--unfreeze-at '${text}': epochs are counted from 1 to ${epochs}`);
      return { epoch, names };
    })
    .sort((a, b) => a.epoch - b.epoch);
}

/** What the command line comes to for this model. */
export function planOf(
  dataPath: string,
  modelName: string,
  card: ModelCard,
  pretrained: boolean,
  options: FinetuneOptions,
): Plan {
  const { freeze = pretrained ? ['trunk'] : ['none'] } = options;
  const map = classMapOf(options);
  return {
    ...splitPaths(dataPath, options),
    classMap: map === null ? null : [...map],
    model: modelName,
    input: inputOf(modelName, options, card),
    modelOptions: (card.model === modelName ? card.options : undefined) ?? null,
    freeze: freeze[0] === 'none' ? [] : freeze,
    unfreezeAt: unfreezings(options),
    lr: options.lr ?? defaultRate(options.optimizer),
    earlyStop:
      options.earlyStop === undefined ? null : { patience: options.earlyStop, minDelta: options.minDelta },
    ...plannedOf(finetuneOptions, options),
  };
}

/** A folder with `train` and `val` in it is both at once. */
function splitPaths(
  path: string,
  { val, valSplit }: FinetuneOptions,
): { train: string; val: string | null; valSplit: number | null } {
  const isFolder = (name: string): boolean => existsSync(name) && statSync(name).isDirectory();
  const [train, validation] = [join(path, 'train'), join(path, 'val')];
  if (val === undefined && isFolder(train) && isFolder(validation)) {
    if (valSplit !== undefined)
      throw new UsageError(`--val-split: ${path} has a val folder; leave the option out, or give ${train}`);
    return { train: resolve(train), val: resolve(validation), valSplit: null };
  }
  return {
    train: resolve(path),
    val: val === undefined ? null : resolve(val),
    valSplit: valSplit ?? null,
  };
}
