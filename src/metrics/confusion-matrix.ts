import { noMore } from '../tensor/options.js';
import type { Tensor } from '../tensor/tensor.js';
import { classesOf, oneOf, pairsOf, readTask, type Task, type TaskOptions } from './inputs.js';
import { Metric } from './metric.js';
import { Counts } from './state.js';

export interface ConfusionMatrixOptions extends TaskOptions {
  /**
   * 'true': of each label's samples; 'pred': of each prediction's; 'all': of all. Default 'none': counts.
   */
  normalize?: 'none' | 'true' | 'pred' | 'all';
  /** Of a binary task: the probability above which a score means class 1. Default 0.5. */
  threshold?: number;
}

/**
 * `torchmetrics.ConfusionMatrix`: how often label i (row) was predicted as j (column), [C][C]. Normalised, a
 * row, column or matrix without samples is 0.
 */
export class ConfusionMatrix extends Metric<number[][]> {
  private readonly counts: Counts;
  private readonly task: Task;
  private readonly normalize: string;
  private readonly threshold: number;

  constructor(options?: ConfusionMatrixOptions) {
    noMore(new.target.name, arguments, 1);
    const name = 'ConfusionMatrix';
    const [read, task] = readTask<ConfusionMatrixOptions>(
      name,
      { normalize: 'none', threshold: 0.5 },
      options,
    );
    const { normalize = 'none', threshold = 0.5 } = read;
    oneOf(name, 'normalize', normalize, ['none', 'true', 'pred', 'all']);
    if (!(threshold >= 0 && threshold <= 1))
      throw new Error(`${name}: threshold must be a number from 0 to 1, got ${String(threshold)}`);
    if (task.classes ** 2 > 2 ** 31 - 1)
      throw new Error(`${name}: a matrix of ${task.classes} classes has more than 2^31 - 1 places`);
    const counts = new Counts(1, task.classes ** 2);
    super(name, { counts });
    [this.counts, this.task, this.normalize, this.threshold] = [counts, task, normalize, threshold];
  }

  /** As `Accuracy.update`. */
  update(preds: Tensor, target: Tensor): void {
    this.record(() => {
      const { task, threshold, name } = this;
      const [predicted, labels] = classesOf(name, task, { topK: 1, threshold }, preds, target);
      this.counts.count(`${name}.update`, pairsOf(task, predicted, labels));
    });
  }

  protected async value(): Promise<number[][]> {
    const counts = await this.counts.read();
    const { classes } = this.task;
    const rows = Array.from({ length: classes }, (_, i) => counts.slice(i * classes, (i + 1) * classes));
    const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
    const [perLabel, all] = [rows.map(sum), sum(counts)];
    const perGuess = rows.map((_, j) => sum(rows.map((row) => row[j] as number)));
    const whole = (i: number, j: number): number =>
      this.normalize === 'true'
        ? (perLabel[i] as number)
        : this.normalize === 'pred'
          ? (perGuess[j] as number)
          : all;
    if (this.normalize === 'none') return rows;
    return rows.map((row, i) => row.map((count, j) => (count === 0 ? 0 : count / whole(i, j))));
  }
}
