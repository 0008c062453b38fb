import type { GradScaler } from '../amp/grad-scaler.js';
import type { TensorModule } from '../nn/index.js';
import { getRngState, setRngState, type RngState } from '../ops/index.js';
import type { EarlyStopping } from '../optim/early-stopping.js';
import type { lrScheduler, Optimizer, swaUtils } from '../optim/index.js';
import { isTensor } from '../tensor/tensor.js';
import type { TrainingState } from './keeper.js';
import type { Progress } from './progress.js';
import type { Schedule } from './schedule.js';

/** Everything of a training that changes, beside its progress. */
export interface Training {
  readonly model: TensorModule;
  /** Keys of the model's state that training may change; null for all. */
  readonly changing: ReadonlySet<string> | null;
  readonly average: swaUtils.AveragedModel | null;
  readonly optimizer: Optimizer;
  /** Of mixed precision. */
  readonly scaler: GradScaler | null;
  readonly schedule: Schedule | null;
  readonly earlyStopping: EarlyStopping | null;
}

export function stateOf(training: Training, progress: Progress, seed: number | null): TrainingState {
  const { model, changing, average, optimizer, scaler, schedule, earlyStopping } = training;
  const changed = model.stateDict();
  for (const [key, tensor] of changed) {
    if (changing?.has(key) ?? true) continue;
    tensor.dispose();
    changed.delete(key);
  }
  return {
    model: changed,
    average: average?.stateDict() ?? null,
    optimizer: optimizer.stateDict(),
    scaler: scaler?.stateDict() ?? null,
    schedule: schedule?.stateDict() ?? null,
    early_stopping: earlyStopping?.stateDict() ?? null,
    random: { ...getRngState() },
    // As text, because it is read back as it was written, names and all.
    progress: JSON.stringify(progress),
    ...(seed !== null && { loader: { seed } }),
  };
}

/** Frees the tensors of a state. */
export function disposeState(value: unknown): void {
  if (isTensor(value)) value.dispose();
  else if (value instanceof Map || Array.isArray(value)) value.forEach(disposeState);
  else if (typeof value === 'object' && value !== null) Object.values(value).forEach(disposeState);
}

/** The progress that a state tells of. @throws Error for what is no state of a training */
export function progressOf(state: Entries): Progress {
  const text = state.get('progress');
  if (typeof text !== 'string')
    throw new Error("Trainer.loadStateDict: this is not the state of a training; it has no 'progress'");
  return JSON.parse(text) as Progress;
}

/** A state as a file or an object has it. */
export function entriesOf(state: unknown): Entries {
  if (state instanceof Map) return state as Map<string, unknown>;
  return new Map(Object.entries(state ?? {}));
}

type Entries = ReadonlyMap<string, unknown>;
type Fields = lrScheduler.SchedulerState;

/**
 * Puts a training into the state that was saved.
 *
 * @throws Error where it is a training of another kind, before anything is changed
 */
export async function restoreState(state: ReadonlyMap<string, unknown>, training: Training): Promise<void> {
  const { model, changing, average, optimizer, scaler, schedule, earlyStopping } = training;
  const parts = { average, scaler, schedule, early_stopping: earlyStopping };
  for (const [name, part] of Object.entries(parts)) {
    const there = (state.get(name) ?? null) !== null;
    if (there === (part !== null)) continue;
    throw new Error(
      `Trainer.loadStateDict: the state ${there ? 'has' : 'lacks'} '${name}', and this Trainer ${there ? 'has none' : 'has one'}; make it with the options that the state was saved with`,
    );
  }
  const tensors = (name: string): Map<string, never> => state.get(name) as Map<string, never>;
  const saved = tensors('model');
  const missing = [...(changing ?? [])].find((key) => !saved.has(key));
  if (missing !== undefined)
    throw new Error(`Trainer.loadStateDict: the state lacks '${missing}', which this Trainer trains`);
  // What is not in it stands still, and came with the weights.
  await model.loadStateDict(saved, { strict: changing === null });
  await average?.loadStateDict(tensors('average'));
  await optimizer.loadStateDict(state.get('optimizer'));
  const fields = (name: string): Fields => plain(state.get(name) ?? null) as Fields;
  scaler?.loadStateDict(fields('scaler'));
  schedule?.loadStateDict(fields('schedule'));
  earlyStopping?.loadStateDict(fields('early_stopping'));
  setRngState(fields('random') as unknown as RngState);
}

/** The seed of the batches' order in a state. */
export function seedOf(state: ReadonlyMap<string, unknown>): number | null {
  const loader = plain(state.get('loader') ?? null) as { seed?: unknown } | null;
  return typeof loader?.seed === 'number' ? loader.seed : null;
}

/**
 * Maps with strings as keys become objects, big integers numbers. A state is shallow; one that holds itself
 * is none.
 */
export function plain(value: unknown, depth = 0): unknown {
  if (depth > 16)
    throw new Error('Trainer.loadStateDict: values are nested too deep for the state of a training');
  if (value instanceof Map)
    return Object.fromEntries([...value].map(([key, item]) => [String(key), plain(item, depth + 1)]));
  if (Array.isArray(value)) return value.map((item) => plain(item, depth + 1));
  return typeof value === 'bigint' ? Number(value) : value;
}
