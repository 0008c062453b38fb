import { currentRecording } from '../device/index.js';
import { noGrad } from '../autograd/mode.js';
import { lineOf } from '../tensor/line.js';
import { isPlainObject } from '../tensor/options.js';
import type { Tensor } from '../tensor/tensor.js';
import { scoped } from '../tensor/tidy.js';
import type { StatePart, StateValue } from './state.js';

/** With which options a metric was made, as plain data. */
export type MetricSettings = Readonly<Record<string, string | number | boolean | null | readonly number[]>>;

/**
 * What a metric has seen, as plain data: JSON and back leaves it as it is, unless it holds NaN. `settings`
 * holds its class and its options, `updates` a count, the rest the parts of its state.
 */
export type MetricState = Readonly<Record<string, StateValue | MetricSettings>>;

/** The first option that is not the same, in words; null if all are. */
function difference(mine: MetricSettings, theirs: MetricSettings): string | null {
  const show = (value: unknown): string => (value === undefined ? 'not there' : JSON.stringify(value));
  for (const key of new Set([...Object.keys(mine), ...Object.keys(theirs)])) {
    const [here, there] = [show(mine[key]), show(theirs[key])];
    if (here !== there) return `${key} is ${here} here and ${there} there`;
  }
  return null;
}

/** What brings the states of several processes together: `kindling/distributed`, or its `Ranks`. */
export interface Gatherer {
  allGatherObject<T>(value: T): Promise<T[]>;
}

/**
 * `torchmetrics.Metric`: takes predictions batch by batch and tells a value of all of them.
 *
 * `update` records its counting for the GPU and returns at once; it keeps no tensor but its own state, and
 * nothing of it is on the tape. `compute` waits. What cannot be counted (a label out of range, a score that
 * is NaN) throws at once where the host knows the values, else at the next await of anything; what is counted
 * until then is without it, so `reset()` after such an error.
 *
 * A measure of one's own gives the parts of its state to the constructor, updates them within `this.record`,
 * and makes its `value` of what their `read()` resolves to.
 */
export abstract class Metric<R = unknown> {
  private updates = 0;
  /** What this process has seen, while the state is that of all. */
  private own: MetricState | null = null;
  private readonly made: MetricSettings;

  /**
   * @param name in errors
   * @param parts the state; the names are those of the state dict
   * @param settings the options that it was made with: only states of a metric with the same are taken over
   */
  protected constructor(
    protected readonly name: string,
    private readonly parts: Readonly<Record<string, StatePart>>,
    settings: MetricSettings = {},
  ) {
    // As JSON gives it back.
    const entries = Object.entries(settings).filter(([, value]) => (value as unknown) !== undefined);
    this.made = { metric: name, ...Object.fromEntries(entries) };
  }

  /** The class with its options and how many batches it has seen. */
  toString(): string {
    const { metric: _, ...options } = this.made;
    const shown = Object.entries(options).filter(([, value]) => value !== null);
    return lineOf(this.name, { ...Object.fromEntries(shown), updates: this.updates });
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
  }

  /** Takes a batch in. */
  abstract update(preds: Tensor, target: Tensor): void;

  /**
   * The value of everything since the start or the last `reset()`. Updates that follow the call do not change
   * what it resolves to.
   *
   * @throws Error (a rejection) before any update
   */
  async compute(): Promise<R> {
    if (this.updates === 0)
      throw new Error(`${this.name}.compute: there is no value yet; call update(preds, target) first`);
    return this.value();
  }

  /** What `compute` resolves to, from the state at the time of the call. */
  protected abstract value(): Promise<R>;

  /**
   * Runs what an update does, off the tape, frees what it made and nobody kept, and counts it unless it
   * throws.
   */
  protected record(update: () => void): void {
    currentRecording()?.refuse(`${this.name}.update is called in it`);
    if (this.own !== null)
      throw new Error(`${this.name}.update: the state is that of all ranks; call unsync() first`);
    scoped(`${this.name}.update`, () => noGrad(update));
    this.updates++;
  }

  /** Forgets everything and frees the GPU's memory. */
  reset(): void {
    this.updates = 0;
    this.own = null;
    for (const part of Object.values(this.parts)) part.reset();
  }

  /** What it has seen, to go on from with `loadStateDict`, or to `merge` elsewhere. */
  async stateDict(): Promise<MetricState> {
    const { updates } = this;
    const names = Object.keys(this.parts);
    const values = await Promise.all(Object.values(this.parts).map((part) => part.read()));
    return {
      settings: this.made,
      updates: [updates],
      ...Object.fromEntries(names.map((name, i) => [name, values[i]!])),
    };
  }

  /**
   * Takes over what `stateDict` gave.
   *
   * @throws Error, and stays as it was, for a state of another kind of metric or of other options
   */
  loadStateDict(state: MetricState): void {
    this.check('loadStateDict', state);
    this.reset();
    this.add(state);
  }

  /**
   * Adds what another metric of the same kind and options, or its state dict, has seen: afterwards this one
   * is as if it had been given all of it. The other stays as it is.
   *
   * @throws Error, and stays as it was, for a state of another kind of metric or of other options
   */
  merge(other: Metric<R> | MetricState): void {
    this.checkMerge(other);
    if (!(other instanceof Metric)) {
      this.add(other);
      return;
    }
    this.updates += other.updates;
    for (const [name, part] of Object.entries(this.parts)) {
      const where = `${this.name}.merge: '${name}'`;
      const read = other.parts[name]!.read();
      part.merge(
        read.then((value) => {
          part.check(where, value);
          return value;
        }),
      );
    }
  }

  /**
   * Becomes what the metrics of all processes have seen together, until `unsync()`; to be called on all of
   * them. Unlike torchmetrics' `compute` ours does not do it by itself:
   *
   * ```ts
   * await accuracy.sync(distributed);
   * const ofAll = await accuracy.compute();
   * accuracy.unsync();
   * ```
   *
   * @throws Error (a rejection) where it is in sync already, or another process has a metric of another kind
   */
  async sync(ranks: Gatherer): Promise<void> {
    if (this.own !== null) throw new Error(`${this.name}.sync: it is in sync already; call unsync() first`);
    const own = await this.stateDict();
    const states = await ranks.allGatherObject(own);
    for (const state of states) this.check('sync', state);
    this.reset();
    for (const state of states) this.add(state);
    this.own = own;
  }

  /** Goes back to what this process alone has seen. @throws Error where it is not in sync */
  unsync(): void {
    const { own } = this;
    if (own === null)
      throw new Error(`${this.name}.unsync: it is not in sync; sync(distributed) goes before`);
    this.loadStateDict(own);
  }

  /** @internal @throws Error for what {@link merge} would refuse */
  checkMerge(other: Metric<R> | MetricState): void {
    if (!(other instanceof Metric)) {
      this.check('merge', other);
      return;
    }
    const names = (metric: Metric<R>): string => `${metric.name} (${Object.keys(metric.parts).join(', ')})`;
    if (other === this) throw new Error(`${this.name}.merge: cannot be merged with itself`);
    if (names(other) !== names(this) || other.constructor !== this.constructor)
      throw new Error(`${this.name}.merge: expected another ${names(this)}, got ${names(other)}`);
    this.checkSettings('merge', other.made);
  }

  /** @internal @throws Error for what {@link loadStateDict} would refuse */
  checkState(state: unknown): void {
    this.check('loadStateDict', state);
  }

  private checkSettings(method: string, theirs: unknown): void {
    if (!isPlainObject(theirs))
      throw new Error(`${this.name}.${method}: 'settings' must be the options that the metric was made with`);
    const differs = difference(this.made, theirs as MetricSettings);
    if (differs !== null)
      throw new Error(
        `${this.name}.${method}: it is of a metric with other options: ${differs}; make both with the same`,
      );
  }

  private add(state: MetricState): void {
    const values = state as Readonly<Record<string, StateValue>>;
    this.updates += values['updates']![0] as number;
    for (const [name, part] of Object.entries(this.parts)) part.merge(values[name]!);
  }

  private check(method: string, state: unknown): void {
    const where = `${this.name}.${method}`;
    if (!isPlainObject(state))
      throw new Error(`${where}: expected what stateDict() resolves to, got ${String(state)}`);
    const wanted = ['settings', 'updates', ...Object.keys(this.parts)];
    const missing = wanted.filter((name) => !Object.hasOwn(state, name));
    const unknown = Object.keys(state).filter((name) => !wanted.includes(name));
    if (missing.length + unknown.length > 0)
      throw new Error(
        `${where}: expected ${wanted.join(', ')}; missing: ${missing.join(', ') || 'none'}, unexpected: ${unknown.join(', ') || 'none'}`,
      );
    this.checkSettings(method, state['settings']);
    const updates = (state['updates'] as readonly unknown[] | null)?.[0];
    if (!Number.isSafeInteger(updates) || (updates as number) < 0)
      throw new Error(`${where}: 'updates' must be a list of one count`);
    for (const [name, part] of Object.entries(this.parts)) part.check(`${where}: '${name}'`, state[name]);
  }
}
