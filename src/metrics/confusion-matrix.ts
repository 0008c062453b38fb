import { noMore } from '../tensor/options.js';
import type { Tensor } from '../tensor/tensor.js';
import {
  allTasks,
  checkThreshold,
  classesOf,
  matricesOf,
  oneOf,
  pairsOf,
  placesOf,
  readTask,
  type Task,
  type TaskName,
  type TaskOptions,
} from './inputs.js';
import { Metric, type MetricSettings } from './metric.js';
import { Counts } from './state.js';

export interface PairOptions<T extends TaskName = TaskName> extends TaskOptions {
  task?: T;
  /** Of binary and multilabel tasks: the probability above which a score means class 1. Default 0.5. */
  threshold?: number;
}

/** Counts how often each label was predicted as each other. */
export abstract class PairMetric<R> extends Metric<R> {
  private readonly counts: Counts;
  protected readonly task: Task;
  private readonly threshold: number;

  /** @internal */
  protected constructor(
    name: string,
    own: Readonly<Record<string, unknown>>,
    options: PairOptions | undefined,
    tasks: readonly TaskName[] = allTasks,
  ) {
    const [read, task] = readTask<PairOptions>(name, { threshold: 0.5, ...own }, options, tasks);
    const { threshold = 0.5 } = read;
    checkThreshold(name, threshold);
    if (placesOf(task) > 2 ** 31 - 1)
      throw new Error(`${name}: a matrix of ${task.classes} classes has more than 2^31 - 1 places`);
    const counts = new Counts(1, placesOf(task));
    super(name, { counts }, read as MetricSettings);
    [this.counts, this.task, this.threshold] = [counts, task, threshold];
  }

  /** As `Accuracy.update`. */
  update(preds: Tensor, target: Tensor): void {
    this.record(() => {
      const { task, threshold, name } = this;
      const [predicted, labels] = classesOf(name, task, { topK: 1, threshold }, preds, target);
      this.counts.count(`${name}.update`, pairsOf(task, predicted, labels));
    });
  }

  /** [C][C], labels by predictions: one, or of a multilabel task one for each label. */
  protected async matrices(): Promise<number[][][]> {
    return matricesOf(this.task, await this.counts.read());
  }
}

export interface ConfusionMatrixOptions<T extends TaskName = TaskName> extends PairOptions<T> {
  /**
   * 'true': of each label's samples; 'pred': of each prediction's; 'all': of all. Default 'none': counts.
   */
  normalize?: 'none' | 'true' | 'pred' | 'all';
}

/** [C][C], or of a multilabel task [labels][2][2]. */
export type ConfusionMatrices<T extends TaskName> = T extends 'multilabel' ? number[][][] : number[][];

/**
 * `torchmetrics.ConfusionMatrix`: how often label i (row) was predicted as j (column), [C][C]; of a
 * multilabel task one for each label, [labels][2][2].
 *
 * Normalised, a row, column or matrix without samples is 0.
 */
export class ConfusionMatrix<T extends TaskName = 'multiclass'> extends PairMetric<ConfusionMatrices<T>> {
  private readonly normalize: string;

  constructor(options?: ConfusionMatrixOptions<T>) {
    noMore(new.target.name, arguments, 1);
    const { normalize = 'none' } = options ?? {};
    super('ConfusionMatrix', { normalize: 'none' }, options);
    oneOf('ConfusionMatrix', 'normalize', normalize, ['none', 'true', 'pred', 'all']);
    this.normalize = normalize;
  }

  protected async value(): Promise<ConfusionMatrices<T>> {
    const matrices = (await this.matrices()).map((rows) => this.normalized(rows));
    return (this.task.kind === 'multilabel' ? matrices : matrices[0]) as ConfusionMatrices<T>;
  }

  private normalized(rows: number[][]): number[][] {
    if (this.normalize === 'none') return rows;
    const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
    const perLabel = rows.map(sum);
    const all = sum(perLabel);
    const perGuess = rows.map((_, j) => sum(rows.map((row) => row[j] as number)));
    const whole = (i: number, j: number): number =>
      this.normalize === 'true'
        ? (perLabel[i] as number)
        : this.normalize === 'pred'
          ? (perGuess[j] as number)
          : all;
    return rows.map((row, i) => row.map((count, j) => (count === 0 ? 0 : count / whole(i, j))));
  }
}
