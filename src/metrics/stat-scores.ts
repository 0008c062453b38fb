import { noMore } from '../tensor/options.js';
import type { Tensor } from '../tensor/tensor.js';
import {
  checkThreshold,
  classesOf,
  marksOf,
  matricesOf,
  oneOf,
  pairsOf,
  placesOf,
  readTask,
  type Task,
  type TaskOptions,
} from './inputs.js';
import { Metric, type MetricSettings } from './metric.js';
import { Counts } from './state.js';

/** How the values of classes become one. */
export type Average = 'micro' | 'macro' | 'weighted' | 'none';

export interface StatOptions<A extends Average = Average> extends TaskOptions {
  /**
   * Of multiclass and multilabel tasks. 'micro' (the default): of all samples together; 'macro': the mean of
   * the classes that there are among labels or predictions, or of all labels of a multilabel task;
   * 'weighted': the mean by how often each is there; 'none': one value per class or label.
   */
  average?: A;
  /**
   * A prediction is right if the label has one of the k highest scores. Needs scores of a multiclass task.
   * Default 1.
   */
  topK?: number;
  /** Of binary and multilabel tasks: the probability above which a score means class 1. Default 0.5. */
  threshold?: number;
}

export interface ZeroDivisionOptions<A extends Average = Average> extends StatOptions<A> {
  /** The value of 0 / 0. Default 0. */
  zeroDivision?: 0 | 1;
}

export interface FBetaOptions<A extends Average = Average> extends ZeroDivisionOptions<A> {
  /** How many times recall counts what precision does. Default 1. */
  beta?: number;
}

/** A number, or with `average: 'none'` a number for each class or label. */
export type PerAverage<A extends Average> = 'none' extends A
  ? [A] extends ['none']
    ? number[]
    : number | number[]
  : number;

/** Of a class, or of all. */
interface Stats {
  /** True and false positives and negatives. */
  readonly tp: number;
  readonly fp: number;
  readonly tn: number;
  readonly fn: number;
}

const ratio = (part: number, whole: number, zeroDivision = 0): number =>
  whole === 0 ? zeroDivision : part / whole;

const defaults = {
  average: 'micro' as Average,
  topK: 1,
  threshold: 0.5,
  zeroDivision: 0 as 0 | 1,
  beta: 1,
};

type Settings = Readonly<Required<FBetaOptions>>;

/** Counts per class how many labels and predictions it has, and how many of them agree. */
abstract class StatScores<A extends Average> extends Metric<PerAverage<A>> {
  private readonly counts: Counts;
  private readonly task: Task;
  protected readonly settings: Settings;

  protected constructor(
    name: string,
    options: Partial<FBetaOptions<A>> | undefined,
    own: readonly (keyof typeof defaults)[],
  ) {
    const known = ['average', 'topK', 'threshold', ...own] as const;
    const asked = Object.fromEntries(known.map((key) => [key, defaults[key]])) as Partial<typeof defaults>;
    const [read, task] = readTask<FBetaOptions>(name, asked, options);
    const settings = { ...defaults, ...read } as Settings;
    const { average, topK, threshold, zeroDivision, beta } = settings;
    oneOf(name, 'average', average, ['micro', 'macro', 'weighted', 'none']);
    oneOf(name, 'zeroDivision', zeroDivision, [0, 1]);
    const most = task.kind === 'multiclass' ? task.classes : 1;
    if (!Number.isInteger(topK) || topK < 1 || topK > most)
      throw new Error(`${name}: topK must be an integer from 1 to ${most}, got ${String(topK)}`);
    checkThreshold(name, threshold);
    if (!(beta > 0 && beta < Infinity))
      throw new Error(`${name}: beta must be a positive number, got ${String(beta)}`);
    const counts = task.kind === 'multilabel' ? new Counts(1, placesOf(task)) : new Counts(3, task.classes);
    super(name, { counts }, read as MetricSettings);
    [this.counts, this.task, this.settings] = [counts, task, settings];
  }

  /**
   * @param preds scores [N, C, ...], logits or probabilities, or classes (int32) of the shape of `target`;
   *   of binary and multilabel tasks scores or classes of the shape of `target`. Scores of these are logits
   *   if one of the batch is below 0 or above 1
   * @param target classes (int32) [N, ...]; of a multilabel task 0 and 1 (int32, bool) [N, labels, ...]
   * @throws Error for shapes and dtypes that do not fit; at once or at the next await for a label that is no
   *   class, and a score of a binary or multilabel task that is NaN
   */
  update(preds: Tensor, target: Tensor): void {
    this.record(() => {
      const { task, settings, name } = this;
      const [predicted, labels] = classesOf(name, task, settings, preds, target);
      this.counts.count(
        `${name}.update`,
        task.kind === 'multilabel' ? pairsOf(task, predicted, labels) : marksOf(task, predicted, labels),
      );
    });
  }

  protected async value(): Promise<PerAverage<A>> {
    const counts = await this.counts.read();
    const { classes, kind } = this.task;
    if (kind === 'multilabel') return this.ofLabels(counts) as PerAverage<A>;
    const sum = (row: number): number =>
      counts.slice(row * classes, (row + 1) * classes).reduce((a, b) => a + b, 0);
    const [all, hits] = [sum(0), sum(2)];
    const stats = Array.from({ length: classes }, (_, c): Stats => {
      const [labels, guesses, tp] = [0, 1, 2].map((row) => counts[row * classes + c]) as [
        number,
        number,
        number,
      ];
      return { tp, fp: guesses - tp, fn: labels - tp, tn: all - labels - guesses + tp };
    });
    const wrong = all - hits;
    const together = { tp: hits, fp: wrong, fn: wrong, tn: classes * all - 2 * wrong - hits };
    const result =
      kind === 'binary'
        ? this.ofBinary(stats[1] as Stats)
        : this.averaged(stats, together, (one) => this.score(one));
    return result as PerAverage<A>;
  }

  private ofLabels(counts: readonly number[]): number | number[] {
    const stats = matricesOf(this.task, counts).map((matrix): Stats => {
      const [tn, fp, fn, tp] = matrix.flat() as [number, number, number, number];
      return { tp, fp, tn, fn };
    });
    const sum = (of: keyof Stats): number => stats.reduce((all, one) => all + one[of], 0);
    const together = { tp: sum('tp'), fp: sum('fp'), tn: sum('tn'), fn: sum('fn') };
    return this.averaged(stats, together, (one) => this.ofBinary(one));
  }

  private averaged(
    stats: readonly Stats[],
    together: Stats,
    score: (of: Stats) => number,
  ): number | number[] {
    const { average } = this.settings;
    if (average === 'micro') return score(together);
    const scores = stats.map(score);
    if (average === 'none') return scores;
    const isThere = (one: Stats): boolean => this.task.kind === 'multilabel' || this.isThere(one);
    const weights = stats.map((one) => (average === 'weighted' ? one.tp + one.fn : isThere(one) ? 1 : 0));
    const total = weights.reduce((a, b) => a + b, 0);
    return scores.reduce((mean, one, c) => mean + ratio(one * (weights[c] as number), total), 0);
  }

  /** Whether 'macro' counts the class. Beyond the first score the others are no predictions. */
  protected isThere({ tp, fp, fn }: Stats): boolean {
    return tp + fn + (this.settings.topK === 1 ? fp : 0) > 0;
  }

  protected ofBinary(positive: Stats): number {
    return this.score(positive);
  }

  protected abstract score(stats: Stats): number;
}

/**
 * `torchmetrics.Accuracy`: how many of the predictions are right; with 'macro', 'weighted' and 'none' how
 * many of a class's labels are found, which is its recall. Of a multilabel task it is how many yes and no are
 * right, of all together or label by label.
 *
 * ```ts
 * const accuracy = new Accuracy({ numClasses: 10 });
 * for await (const [x, y] of loader) accuracy.update(model(x), y);
 * console.log(await accuracy.compute());
 * ```
 */
export class Accuracy<A extends Average = 'micro'> extends StatScores<A> {
  constructor(options?: StatOptions<A>) {
    noMore(new.target.name, arguments, 1);
    super('Accuracy', options, []);
  }

  protected score({ tp, fn }: Stats): number {
    return ratio(tp, tp + fn);
  }

  protected override ofBinary({ tp, fp, tn, fn }: Stats): number {
    return ratio(tp + tn, tp + fp + tn + fn);
  }
}

/** `torchmetrics.Precision`: how many of the predictions of a class are right, tp / (tp + fp). */
export class Precision<A extends Average = 'micro'> extends StatScores<A> {
  constructor(options?: ZeroDivisionOptions<A>) {
    noMore(new.target.name, arguments, 1);
    super('Precision', options, ['zeroDivision']);
  }

  protected score({ tp, fp }: Stats): number {
    return ratio(tp, tp + fp, this.settings.zeroDivision);
  }
}

/** `torchmetrics.Recall`: how many of a class's labels are found, tp / (tp + fn). */
export class Recall<A extends Average = 'micro'> extends StatScores<A> {
  constructor(options?: ZeroDivisionOptions<A>) {
    noMore(new.target.name, arguments, 1);
    super('Recall', options, ['zeroDivision']);
  }

  protected score({ tp, fn }: Stats): number {
    return ratio(tp, tp + fn, this.settings.zeroDivision);
  }
}

/** Precision and recall as one number, (1 + b^2) tp / ((1 + b^2) tp + b^2 fn + fp). */
abstract class FScore<A extends Average> extends StatScores<A> {
  protected score({ tp, fp, fn }: Stats): number {
    const weight = this.settings.beta ** 2;
    const found = (1 + weight) * tp;
    return ratio(found, found + weight * fn + fp, this.settings.zeroDivision);
  }

  protected override isThere({ tp, fp, fn }: Stats): boolean {
    return tp + fp + fn > 0;
  }
}

/** `torchmetrics.F1Score`: the harmonic mean of precision and recall. */
export class F1Score<A extends Average = 'micro'> extends FScore<A> {
  constructor(options?: ZeroDivisionOptions<A>) {
    noMore(new.target.name, arguments, 1);
    super('F1Score', options, ['zeroDivision']);
  }
}

/** `torchmetrics.FBetaScore`: as F1Score, with recall `beta` times as important as precision. */
export class FBetaScore<A extends Average = 'micro'> extends FScore<A> {
  constructor(options?: FBetaOptions<A>) {
    noMore(new.target.name, arguments, 1);
    super('FBetaScore', options, ['zeroDivision', 'beta']);
  }
}
