import type { GradScaler } from '../amp/grad-scaler.js';
import type { Module } from '../nn/index.js';
import { noGrad } from '../ops/autograd/autograd.js';
import { clone, getRngState, setRngState, type RngState } from '../ops/index.js';
import type { EarlyStopping } from '../optim/early-stopping.js';
import type { lrScheduler, Optimizer, swaUtils } from '../optim/index.js';
import { isTensor, type Tensor } from '../tensor/tensor.js';
import type { TrainingState } from './keeper.js';
import type { Progress } from './progress.js';
import type { Schedule } from './schedule.js';

/** Everything of a training that changes, beside its progress. */
export interface Training<M extends Module = Module> {
  readonly model: M;
  /** Keys of the model's state that training may change; null for all. */
  readonly changing: ReadonlySet<string> | null;
  readonly average: swaUtils.AveragedModel<M> | null;
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
  try {
    return JSON.parse(text) as Progress;
  } catch (cause) {
    throw new Error("Trainer.loadStateDict: the state's 'progress' is damaged: it is not JSON", { cause });
  }
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
 * @param weights all weights of the model, where the state holds only those that change
 * @throws Error where it is of another training, or cannot be read; then everything is as it was before
 */
export async function restoreState(
  state: Entries,
  training: Training,
  weights: ReadonlyMap<string, unknown> | null,
): Promise<void> {
  checkParts(state, training);
  const undo = undoing(training);
  try {
    // All weights, of which the state's come after.
    if (weights !== null && training.changing !== null)
      await training.model.loadStateDict(weights as ReadonlyMap<string, never>);
    await loadParts(state, training);
  } catch (error) {
    await undo.run();
    throw error;
  } finally {
    undo.dispose();
  }
}

/** What there is now of a training, to be put back. */
function undoing(training: Training): { run(): Promise<void>; dispose(): void } {
  const { model, average, optimizer, scaler, schedule, earlyStopping } = training;
  const [weights, averaged] = [copied(model), average === null ? null : copied(average)];
  // Loading puts other tensors into the optimizer's place, so handles are enough.
  const steps = optimizer.stateDict();
  const [scale, rates, stopping] = [scaler?.stateDict(), schedule?.stateDict(), earlyStopping?.stateDict()];
  const random = { ...getRngState() };
  return {
    async run() {
      if (weights !== null) model.loadStateDict(weights);
      if (averaged !== null) average?.loadStateDict(averaged);
      await optimizer.loadStateDict(steps);
      if (scale !== undefined) scaler?.loadStateDict(scale);
      if (rates !== undefined) schedule?.loadStateDict(rates);
      if (stopping !== undefined) earlyStopping?.loadStateDict(stopping);
      setRngState(random);
    },
    dispose: () => [weights, averaged, steps].forEach(disposeState),
  };
}

/**
 * Copies of a module's weights and buffers, as loading writes over them; null where an earlier load has left
 * them half old, so that there is nothing to put back.
 */
function copied(module: Module): Map<string, Tensor> | null {
  let state: Map<string, Tensor>;
  try {
    state = module.stateDict();
  } catch {
    return null;
  }
  for (const [key, shared] of state) {
    state.set(
      key,
      noGrad(() => clone(shared)),
    );
    shared.dispose();
  }
  return state;
}

/** @throws Error where it is a training of another kind */
function checkParts(state: Entries, training: Training): void {
  const { changing, average, scaler, schedule, earlyStopping } = training;
  const parts = { average, scaler, schedule, early_stopping: earlyStopping };
  for (const [name, part] of Object.entries(parts)) {
    const there = (state.get(name) ?? null) !== null;
    if (there === (part !== null)) continue;
    throw new Error(
      `Trainer.loadStateDict: the state ${there ? 'has' : 'lacks'} '${name}', and this Trainer ${there ? 'has none' : 'has one'}; make it with the options that the state was saved with`,
    );
  }
  const keys = new Set(entriesOf(state.get('model')).keys());
  const missing = [...(changing ?? [])].find((key) => !keys.has(key));
  if (missing !== undefined)
    throw new Error(`Trainer.loadStateDict: the state lacks '${missing}', which this Trainer trains`);
}

async function loadParts(state: Entries, training: Training): Promise<void> {
  const { model, changing, average, optimizer, scaler, schedule, earlyStopping } = training;
  const tensors = (name: string): Map<string, never> => entriesOf(state.get(name)) as Map<string, never>;
  // What is not in it stands still, and came with the weights.
  await model.loadStateDict(tensors('model'), { strict: changing === null });
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
