import type { GradScaler } from '../../amp/index.js';
import { getRngState, setRngState, type RngState } from '../../index.js';
import {
  HostTensor,
  loadCheckpoint,
  loadValue,
  readAll,
  saveSafetensors,
  saveTorch,
  type PlainValue,
  type TorchValue,
} from '../../formats/index.js';
import { keyText } from '../../formats/render.js';
import type { TensorModule } from '../../nn/index.js';
import type { EarlyStopping, lrScheduler, Optimizer, swaUtils } from '../../optim/index.js';
import { isTensor } from '../../tensor/tensor.js';
import { CliError } from '../errors.js';
import type { EpochReport, Progress } from '../training-loop.js';
import type { Schedule } from '../schedules.js';
import { runFiles, type RunFolder } from './run-folder.js';

type SchedulerState = lrScheduler.SchedulerState;

/** Everything of a training that changes, beside its progress. */
export interface Training {
  readonly model: TensorModule;
  /** Keys of the model's state that training may change. */
  readonly changing: ReadonlySet<string>;
  /** What is validated and saved as weights: the model, or a moving average of it. */
  readonly saved: TensorModule;
  readonly average: swaUtils.AveragedModel | null;
  readonly optimizer: Optimizer;
  /** Of mixed precision. */
  readonly scaler: GradScaler | null;
  readonly schedule: Schedule | null;
  readonly earlyStopping: EarlyStopping | null;
}

/**
 * Writes a run's checkpoints. state.pth holds what training changes; the frozen rest is the same in every
 * last.safetensors, so that the two together are the training at the moment that state.pth names, whichever
 * epoch last.safetensors is from.
 */
export class Saver {
  private pendingBest: ReadonlyMap<string, HostTensor> | null = null;
  private savedAt = -Infinity;
  private cost = 0;

  constructor(
    private readonly run: RunFolder,
    private readonly training: Training,
    private readonly metadata: (epochs: readonly EpochReport[]) => Record<string, string>,
  ) {}

  /** Keeps the weights as the best so far; they are written with the next checkpoint. */
  async keepBest(): Promise<void> {
    this.pendingBest = await copyOf(this.training.saved, this.training.changing);
  }

  /**
   * Whether it is time for a checkpoint. Where an epoch takes less time than writing one (a head on cached
   * features), some epochs go without, so that writing takes at most a fifth of the time.
   */
  get isDue(): boolean {
    return performance.now() - this.savedAt >= 4 * this.cost;
  }

  /** Seconds since the last checkpoint. */
  get age(): number {
    return (performance.now() - this.savedAt) / 1000;
  }

  async save(progress: Progress): Promise<void> {
    const started = performance.now();
    const { run, training } = this;
    const best = progress.epochs[progress.bestEpoch - 1];
    if (this.pendingBest !== null && best !== undefined) {
      await this.saveWeights('best', this.metadata(progress.epochs.slice(0, best.epoch)), this.pendingBest);
      this.pendingBest = null;
    }
    await this.saveWeights('last', { ...this.metadata(progress.epochs), ...markOf(progress) });
    await saveState(run, training, progress);
    this.savedAt = performance.now();
    this.cost = this.savedAt - started;
  }

  private async saveWeights(
    name: 'best' | 'last',
    metadata: Record<string, string>,
    override?: ReadonlyMap<string, HostTensor>,
  ): Promise<void> {
    const state = this.training.saved.stateDict();
    try {
      const tensors = new Map([...readAll(state), ...(override ?? [])]);
      await saveSafetensors(this.run.file(name), tensors, { metadata: { format: 'pt', ...metadata } });
    } finally {
      for (const tensor of state.values()) tensor.dispose();
    }
  }
}

/** Copies of some of a model's tensors on the host. */
export async function copyOf(
  model: TensorModule,
  keys: ReadonlySet<string>,
): Promise<ReadonlyMap<string, HostTensor>> {
  const state = model.stateDict();
  const chosen = [...readAll(state)].filter(([key]) => keys.has(key));
  try {
    const bytes = await Promise.all(chosen.map(([, tensor]) => tensor.bytes()));
    return new Map(
      chosen.map(([key, { dtype, shape }], i) => [
        key,
        HostTensor.fromBytes(dtype, shape, bytes[i] ?? new Uint8Array(), { name: key }),
      ]),
    );
  } finally {
    for (const tensor of state.values()) tensor.dispose();
  }
}

async function saveState(run: RunFolder, training: Training, progress: Progress): Promise<void> {
  const { model, changing, average, optimizer, scaler, schedule, earlyStopping } = training;
  const changed = (): Map<string, TorchValue> => {
    const state = model.stateDict();
    for (const [key, tensor] of state) {
      if (changing.has(key)) continue;
      tensor.dispose();
      state.delete(key);
    }
    return state;
  };
  const value = {
    model: changed(),
    average: average?.stateDict() ?? null,
    optimizer: optimizer.stateDict() as unknown as TorchValue,
    scaler: (scaler?.stateDict() ?? null) as TorchValue,
    schedule: (schedule?.stateDict() ?? null) as TorchValue,
    early_stopping: (earlyStopping?.stateDict() ?? null) as TorchValue,
    random: { ...getRngState() },
    // As text, because it is read back as it was written, names and all.
    progress: JSON.stringify(progress),
  };
  try {
    await saveTorch(run.file('state'), value);
  } finally {
    disposeTensors(value);
  }
}

function disposeTensors(value: unknown): void {
  if (isTensor(value)) value.dispose();
  else if (value instanceof Map || Array.isArray(value)) value.forEach(disposeTensors);
  else if (typeof value === 'object' && value !== null) Object.values(value).forEach(disposeTensors);
}

/**
 * In last.safetensors: steps that its weights have seen, so that it is known without state.pth whether they
 * are worth keeping.
 */
const markOf = ({ epochs, sums }: Progress): Record<string, string> => ({
  seen: `${epochs.length} epochs, ${sums.batches} batches`,
});
const seenNothing = '0 epochs, 0 batches';

/** A run's state.pth. */
export interface RunState {
  readonly values: ReadonlyMap<string, PlainValue>;
  readonly progress: Progress;
  /** Early stopping has ended the training. */
  readonly stoppedEarly: boolean;
}

/**
 * A run's state.pth, or null where the run was ended before it had the first.
 *
 * @throws CliError when files are missing without which the run cannot go on, or could only start over and
 * lose what it has
 */
export async function readState(run: RunFolder): Promise<RunState | null> {
  if (!run.has('state')) {
    if (await hasTrained(run)) throw missing(run, 'state');
    return null;
  }
  const value = await loadValue(run.file('state'));
  if (!(value instanceof Map) || typeof value.get('progress') !== 'string')
    throw new CliError(`${run.file('state')}: is not the state of a training`);
  const values = value as ReadonlyMap<string, PlainValue>;
  const stored = JSON.parse(values.get('progress') as string) as Progress;
  const stoppedEarly = hasStoppedEarly(values);
  // Epochs may have been added to the plan since.
  const finished = stored.finished && (stoppedEarly || stored.epochs.length >= run.config.plan.epochs);
  const { bestEpoch } = stored;
  const needed =
    bestEpoch > 0 && !(finished && run.has('report')) ? (['last', 'best'] as const) : ['last' as const];
  for (const name of needed) if (!run.has(name)) throw missing(run, name);
  return { values, progress: { ...stored, finished }, stoppedEarly };
}

function hasStoppedEarly(values: ReadonlyMap<string, PlainValue>): boolean {
  const { num_bad_epochs: bad, patience } = (plain(values.get('early_stopping') ?? null) ?? {}) as Partial<
    Record<string, number>
  >;
  return bad !== undefined && patience !== undefined && bad >= patience;
}

/** Whether a run without state.pth has something that starting over would write over. */
async function hasTrained(run: RunFolder): Promise<boolean> {
  if (run.has('best') || run.has('report') || (await run.readHistory()).trim() !== '') return true;
  if (!run.has('last')) return false;
  const { extra } = await loadCheckpoint(run.file('last'));
  return extra.get('seen') !== seenNothing;
}

function missing(run: RunFolder, name: 'state' | 'last' | 'best'): CliError {
  const weights = (['best', 'last'] as const).filter((each) => run.has(each)).map((each) => run.file(each));
  const others =
    weights.length === 0 ? '' : `, or begin a new one with its weights (--weights ${weights[0]} --out NEW)`;
  return new CliError(
    `${run.path}: cannot be gone on with, as ${runFiles[name]} is missing; nothing was changed. ` +
      `Put the file back${others}`,
  );
}

/** Puts a training into the state that was saved. */
export async function restore({ values: state }: RunState, training: Training): Promise<void> {
  const { model, average, optimizer, scaler, schedule, earlyStopping } = training;
  const tensors = (name: string): Map<string, HostTensor> => state.get(name) as Map<string, HostTensor>;
  // What is not in it is frozen, and came with the weights.
  await model.loadStateDict(tensors('model'), { strict: false });
  await average?.loadStateDict(tensors('average'));
  await optimizer.loadStateDict(state.get('optimizer'));
  const fields = (name: string): SchedulerState => plain(state.get(name) ?? null) as SchedulerState;
  scaler?.loadStateDict(fields('scaler'));
  schedule?.loadStateDict(fields('schedule'));
  earlyStopping?.loadStateDict(fields('early_stopping'));
  setRngState(fields('random') as unknown as RngState);
}

/**
 * Maps with strings as keys become objects, big integers numbers. A state is shallow; one that holds itself
 * is none.
 */
function plain(value: PlainValue, depth = 0): unknown {
  if (depth > 16) throw new CliError('state.pth: its values are nested too deep for the state of a training');
  if (value instanceof Map)
    return Object.fromEntries([...value].map(([key, item]) => [keyText(key), plain(item, depth + 1)]));
  if (Array.isArray(value)) return value.map((item) => plain(item as PlainValue, depth + 1));
  return typeof value === 'bigint' ? Number(value) : value;
}

/** Loads a run's best weights into a model of its kind. */
export async function loadBest(run: RunFolder, model: TensorModule): Promise<void> {
  const { tensors } = await loadCheckpoint(run.file('best'));
  await model.loadStateDict(tensors);
}
