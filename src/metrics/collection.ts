import { readOptions, noMore } from '../tensor/options.js';
import type { Tensor } from '../tensor/tensor.js';
import { Metric, type Gatherer, type MetricState } from './metric.js';

export interface MetricCollectionOptions<P extends string = string, S extends string = string> {
  /** Before each name of what `compute` resolves to. Default ''. */
  prefix?: P;
  /** Behind it. Default ''. */
  postfix?: S;
}

/** What `compute` of a collection resolves to. */
export type CollectionValues<M, P extends string = '', S extends string = ''> = {
  [K in keyof M & string as `${P}${K}${S}`]: M[K] extends Metric<infer R> ? R : never;
};

/**
 * `torchmetrics.MetricCollection`: metrics by names of one's own, updated together.
 *
 * ```ts
 * const scores = new MetricCollection({
 *   top1: new Accuracy({ numClasses: 10 }),
 *   top5: new Accuracy({ numClasses: 10, topK: 5 }),
 * });
 * scores.update(logits, labels);
 * const { top1, top5 } = await scores.compute();
 * ```
 */
export class MetricCollection<
  M extends Readonly<Record<string, Metric>>,
  P extends string = '',
  S extends string = '',
> {
  private readonly prefix: string;
  private readonly postfix: string;

  /** @throws Error for what is no metric, and for a metric that has two names */
  constructor(
    readonly metrics: M,
    options?: MetricCollectionOptions<P, S>,
  ) {
    noMore(new.target.name, arguments, 2);
    const read = readOptions<Required<MetricCollectionOptions>>(
      'MetricCollection',
      { prefix: '', postfix: '' },
      options,
    );
    const all: unknown[] = Object.values(metrics);
    for (const [name, metric] of Object.entries<unknown>(metrics)) {
      if (!(metric instanceof Metric))
        throw new Error(`MetricCollection: '${name}' is no metric, got ${String(metric)}`);
      if (all.indexOf(metric) !== all.lastIndexOf(metric))
        throw new Error(`MetricCollection: '${name}' is in it twice; make a metric for each name`);
    }
    [this.prefix, this.postfix] = [read.prefix, read.postfix];
  }

  /** Updates all of them; where one throws, those before it have taken the batch in. */
  update(preds: Tensor, target: Tensor): void {
    for (const metric of Object.values(this.metrics)) metric.update(preds, target);
  }

  /** The values of all, by their names; with a prefix or postfix by what these make of them. */
  async compute(): Promise<CollectionValues<M, P, S>> {
    const values = await Promise.all(Object.values(this.metrics).map((metric) => metric.compute()));
    const names = Object.keys(this.metrics).map((name) => `${this.prefix}${name}${this.postfix}`);
    return Object.fromEntries(names.map((name, i) => [name, values[i]])) as CollectionValues<M, P, S>;
  }

  /** Of all of them. */
  reset(): void {
    for (const metric of Object.values(this.metrics)) metric.reset();
  }

  /** The states of all, by their names (without prefix and postfix). */
  async stateDict(): Promise<Record<string, MetricState>> {
    const states = await Promise.all(Object.values(this.metrics).map((metric) => metric.stateDict()));
    return Object.fromEntries(Object.keys(this.metrics).map((name, i) => [name, states[i]!]));
  }

  /** @throws Error where names differ, or for a state that does not fit; then nothing has been taken over */
  loadStateDict(states: Readonly<Record<string, MetricState>>): void {
    this.check('loadStateDict', states);
    for (const [name, metric] of Object.entries(this.metrics)) metric.checkState(states[name]);
    for (const [name, metric] of Object.entries(this.metrics)) metric.loadStateDict(states[name]!);
  }

  /**
   * Adds what another collection of the same metrics, or its state dict, has seen.
   *
   * @throws Error, as loadStateDict does
   */
  merge(other: MetricCollection<M, string, string> | Readonly<Record<string, MetricState>>): void {
    const theirs = other instanceof MetricCollection ? other.metrics : other;
    this.check('merge', theirs);
    for (const [name, metric] of Object.entries(this.metrics)) metric.checkMerge(theirs[name]!);
    for (const [name, metric] of Object.entries(this.metrics)) metric.merge(theirs[name]!);
  }

  /** Each becomes what those of all processes have seen together, until `unsync()`; see `Metric.sync`. */
  async sync(ranks: Gatherer): Promise<void> {
    for (const metric of Object.values(this.metrics)) await metric.sync(ranks);
  }

  /** Each goes back to what this process alone has seen. */
  unsync(): void {
    for (const metric of Object.values(this.metrics)) metric.unsync();
  }

  /** Its metrics, a line each. */
  toString(): string {
    const lines = Object.entries(this.metrics).map(([name, metric]) => `  (${name}): ${metric.toString()}\n`);
    const named = { prefix: this.prefix, postfix: this.postfix };
    const more = Object.entries(named).filter(([, text]) => text !== '');
    return `MetricCollection(\n${lines.join('')}${more.map(([key, text]) => `  ${key}='${text}'\n`).join('')})`;
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
  }

  private check(method: string, other: unknown): asserts other is object {
    if (typeof other !== 'object' || other === null)
      throw new Error(`MetricCollection.${method}: expected states by name, got ${String(other)}`);
    const [mine, theirs] = [this.metrics, other].map((x) => Object.keys(x).sort().join(', '));
    if (mine !== theirs)
      throw new Error(`MetricCollection.${method}: expected ${String(mine)}; got ${String(theirs)}`);
  }
}
