import { runtime } from '../device/index.js';
import { planScatter } from '../kernels/index/gather.js';
import { planLimits, runPlan } from '../ops/base/run-plan.js';
import { copyInto } from '../ops/base/copies.js';
import { expand } from '../ops/base/view.js';
import { zeros } from '../ops/creation/creation.js';
import { Tensor } from '../tensor/tensor.js';
import { addTo, roundSum } from './exact-sum.js';

/*
 * What metrics remember. Updates are recorded for the GPU and nothing waits for them; sums that would outgrow
 * what the GPU holds are read behind the updates, without waiting either, and go on as numbers of the host.
 */

/** One part of a state as plain data. */
export type StateValue = readonly number[] | readonly (readonly number[])[];

/** One part of a metric's state. */
export interface StatePart {
  /** All that has come until now, whatever comes while it is being read. */
  read(): Promise<StateValue>;
  /** @throws Error, which begins with `where`, for what is no such part */
  check(where: string, value: unknown): void;
  /** Adds what has been checked. */
  merge(value: StateValue | Promise<StateValue>): void;
  reset(): void;
}

const isNumbers = (value: unknown): value is readonly number[] =>
  Array.isArray(value) && value.every((x) => typeof x === 'number');

/** A promise that somebody may never await; an error of it is told to those who do. */
function unheard<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}

/** How often each of `rows` * `columns` things was counted. */
export class Counts implements StatePart {
  private onHost: Promise<readonly number[]>;
  private onDevice: Tensor | null = null;
  /** How many may still be counted before an int32 could overflow. */
  private room = 0;

  constructor(
    private readonly rows: number,
    private readonly columns: number,
    private readonly most = 2 ** 31 - 1,
  ) {
    this.onHost = Promise.resolve(this.none());
  }

  private none(): number[] {
    return new Array<number>(this.rows * this.columns).fill(0);
  }

  /**
   * Counts `places`, int32 [rows, n]: columns of their rows. One that is `columns` counts nothing; none is
   * negative.
   */
  count(op: string, places: Tensor): void {
    const n = places.shape[1] as number;
    if (n === 0) return;
    if (n > this.room) this.fold();
    if (this.onDevice === null) {
      this.onDevice = zeros([this.rows, this.columns], { dtype: 'int32' }).keep();
      this.room = this.most;
    }
    this.room -= n;
    const out = this.onDevice;
    const src = expand(Tensor.fromHost([1], [1, 1], 'int32'), places.shape);
    out.storage.beginWrite(op);
    const problem = { name: op, checked: false, out, index: places, src, dim: 1, reduce: 'add' as const };
    runPlan(op, planScatter(runtime().target, { ...problem, ...planLimits() }), { out, index: places, src });
  }

  /** Leaves what the GPU has counted to the host. */
  private fold(): void {
    const counted = this.onDevice;
    if (counted === null) return;
    this.merge(unheard(counted.data().then((values) => Array.from(values))));
    this.forget();
  }

  private forget(): void {
    this.onDevice?.dispose();
    this.onDevice = null;
    this.room = 0;
  }

  async read(): Promise<readonly number[]> {
    const { onHost, onDevice } = this;
    if (onDevice === null) return onHost;
    const [before, now] = await Promise.all([onHost, onDevice.data()]);
    return before.map((count, i) => count + (now[i] as number));
  }

  check(where: string, value: unknown): void {
    const size = this.rows * this.columns;
    if (!isNumbers(value) || value.length !== size || value.some((x) => !Number.isSafeInteger(x) || x < 0))
      throw new Error(`${where}: expected ${size} counts; it is of a metric with other options, or damaged`);
  }

  merge(value: StateValue | Promise<StateValue>): void {
    const { onHost } = this;
    const sum = async (): Promise<readonly number[]> => {
      const [before, more] = await Promise.all([onHost, value as readonly number[]]);
      return before.map((count, i) => count + (more[i] as number));
    };
    this.onHost = unheard(sum());
  }

  reset(): void {
    this.forget();
    this.onHost = Promise.resolve(this.none());
  }
}

/** What an update adds to sums, from what the GPU has computed for it and what the host knows of it. */
export type Terms = (computed: readonly number[], known: number) => readonly number[];

/** Updates that wait on the GPU until they are read together. */
const batch = 64;

/**
 * Sums of float32 values, each kept to the last bit as numbers that add up to it. So it does not matter in
 * which order values come, or how they were spread over metrics that are merged.
 */
export class ExactSums implements StatePart {
  private onHost: Promise<readonly (readonly number[])[]>;
  private onDevice: Tensor | null = null;
  /** What the host knows of each update that waits. */
  private known: number[] = [];

  /** @param terms what is added, of `size` numbers; default: what was computed */
  constructor(
    private readonly size: number,
    private readonly terms: Terms = (computed) => computed,
  ) {
    this.onHost = Promise.resolve(this.none());
  }

  private none(): readonly (readonly number[])[] {
    return Array.from({ length: this.size }, () => []);
  }

  /** Adds numbers of the host. */
  add(values: readonly number[]): void {
    this.merge(values.map((value) => [value]));
  }

  /** Adds what comes of `values`, float32 [n], always as many. */
  push(op: string, values: Tensor, known = 0): void {
    const width = values.shape[0] as number;
    this.onDevice ??= zeros([batch, width]).keep();
    this.onDevice.storage.beginWrite(op);
    copyInto(this.onDevice.alias([width], [1], this.known.length * width), values);
    this.known.push(known);
    if (this.known.length === batch) {
      this.merge(unheard(this.waiting(this.onDevice)));
      this.forget();
    }
  }

  /** The sums of what waits on the GPU. */
  private async waiting(device: Tensor): Promise<readonly (readonly number[])[]> {
    const known = [...this.known];
    const values = Array.from(await device.data());
    const width = device.shape[1] as number;
    const sums = known.map((of, i) => this.terms(values.slice(i * width, (i + 1) * width), of));
    return sums.reduce<readonly (readonly number[])[]>(
      (total, terms) => total.map((sum, i) => addTo(sum, [terms[i] as number])),
      this.none(),
    );
  }

  private forget(): void {
    this.onDevice?.dispose();
    this.onDevice = null;
    this.known = [];
  }

  async read(): Promise<readonly (readonly number[])[]> {
    const { onHost, onDevice } = this;
    if (onDevice === null) return onHost;
    const [before, now] = await Promise.all([onHost, this.waiting(onDevice)]);
    return before.map((sum, i) => addTo(sum, now[i] as readonly number[]));
  }

  /** The sums, rounded once. */
  async totals(): Promise<readonly number[]> {
    return (await this.read()).map(roundSum);
  }

  check(where: string, value: unknown): void {
    if (!Array.isArray(value) || value.length !== this.size || !value.every(isNumbers))
      throw new Error(
        `${where}: expected ${this.size} sums, each a list of numbers; it is of a metric with other options, or damaged`,
      );
  }

  merge(value: StateValue | Promise<StateValue>): void {
    const { onHost } = this;
    const sum = async (): Promise<readonly (readonly number[])[]> => {
      const [before, more] = await Promise.all([onHost, value as readonly (readonly number[])[]]);
      return before.map((parts, i) => addTo(parts, more[i] as readonly number[]));
    };
    this.onHost = unheard(sum());
  }

  reset(): void {
    this.forget();
    this.onHost = Promise.resolve(this.none());
  }
}

/** Scores with their labels, all of them, for what needs their order. On the GPU until they are read. */
export class Samples implements StatePart {
  private chunks: Chunk[] = [];

  /** @param width scores per sample @param perSample labels per sample */
  constructor(
    private readonly width: number,
    private readonly perSample = 1,
  ) {}

  /** @param scores float32 [n, width] @param labels int32 [n * perSample]; they are taken over */
  add(scores: Tensor, labels: Tensor): void {
    if (labels.numel() > 0) this.chunks.push(new Chunk(scores.keep(), labels.keep()));
  }

  /** The scores, sample by sample, and the labels. */
  async read(): Promise<readonly [scores: readonly number[], labels: readonly number[]]> {
    const read = await Promise.all(this.chunks.map((chunk) => chunk.read()));
    return [read.flatMap(([scores]) => scores), read.flatMap(([, labels]) => labels)];
  }

  check(where: string, value: unknown): void {
    const [scores, labels] = Array.isArray(value) ? (value as unknown[]) : [];
    const { width, perSample } = this;
    if (!isNumbers(scores) || !isNumbers(labels) || scores.length * perSample !== labels.length * width)
      throw new Error(
        `${where}: expected ${width} scores of each sample and ${perSample === 1 ? 'its label' : `${perSample} labels`}; it is of a metric with other options, or damaged`,
      );
  }

  merge(value: StateValue | Promise<StateValue>): void {
    this.chunks.push(new Chunk(unheard(Promise.resolve(value as unknown as Lists | Promise<Lists>))));
  }

  reset(): void {
    for (const chunk of this.chunks) chunk.dispose();
    this.chunks = [];
  }
}

type Lists = readonly [scores: readonly number[], labels: readonly number[]];

/** Some of the samples: on the GPU, or on their way to the host. */
class Chunk {
  private tensors: readonly [Tensor, Tensor] | null = null;
  private lists: Promise<Lists> | null = null;

  constructor(first: Tensor | Promise<Lists>, labels?: Tensor) {
    if (first instanceof Promise) this.lists = first;
    else this.tensors = [first, labels as Tensor];
  }

  read(): Promise<Lists> {
    this.lists ??= this.fetch(this.tensors as readonly [Tensor, Tensor]);
    return this.lists;
  }

  private fetch([scores, labels]: readonly [Tensor, Tensor]): Promise<Lists> {
    const reading = Promise.all([scores.data(), labels.data()]);
    this.dispose();
    return unheard(reading.then(([s, l]): Lists => [Array.from(s), Array.from(l)]));
  }

  dispose(): void {
    for (const tensor of this.tensors ?? []) tensor.dispose();
    this.tensors = null;
  }
}
