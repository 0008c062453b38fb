import { noMore } from '../tensor/options.js';
import { e, input, param } from '../kernels/expr/expr.js';
import { applyPointwise, type Pointwise } from '../ops/base/apply.js';
import { reshape, unsqueeze } from '../ops/base/view.js';
import { clone } from '../ops/base/copy.js';
import { bucketize } from '../ops/index/search.js';
import { Tensor } from '../tensor/tensor.js';
import { noLabel, oneOf, readTask, scoresOf, type Task, type TaskOptions } from './inputs.js';
import { Metric, type MetricSettings } from './metric.js';
import { Counts, Samples } from './state.js';

/**
 * How the values of classes become one: their mean, the mean by number of labels, or a list of them; 'micro',
 * of a multilabel task: one curve of all its yes and no.
 */
export type CurveAverage = 'micro' | 'macro' | 'weighted' | 'none';

export interface CurveOptions<A extends CurveAverage = CurveAverage> extends TaskOptions {
  /** Of a multiclass task, each class against the rest, or of a multilabel one. Default 'macro'. */
  average?: A;
  /**
   * Null (the default): exact, and every score is kept, on the GPU until it is first read. A number (from 0
   * to 1 in equal steps) or a rising list of thresholds: the curve has these points, and counts are kept.
   */
  thresholds?: number | readonly number[] | null;
}

type PerClass<A extends CurveAverage> = 'none' extends A
  ? [A] extends ['none']
    ? number[]
    : number | number[]
  : number;

/** A point of a curve: how many samples have a score of at least some threshold. */
interface Point {
  /** Of the class. */
  readonly tp: number;
  /** Of the rest. */
  readonly fp: number;
}

const slot = input(0, 'i32');
const label = input(1, 'i32');
const below = input(2, 'i32');
const placeParams = ['size', 'first', 'step', 'classes', 'width', 'ignored'] as const;
const [size, first, step, classes, width, ignored] = placeParams.map((name) => param(name, 'i32')) as [
  typeof slot,
  typeof slot,
  typeof slot,
  typeof slot,
  typeof slot,
  typeof slot,
];
/** The label that is a slot's own. */
const own = e.add(e.mul(slot, step), first);

const isCounted = e.and(e.and(e.ge(label, 0), e.lt(label, classes)), e.ne(label, ignored));

/** Counts per class: of the rest and of the class, by how many thresholds the score reaches. */
const places: Pointwise = {
  name: 'metric.places',
  expr: e.select(
    isCounted,
    e.add(e.mul(e.add(e.mul(slot, 2), e.cast(e.eq(label, own), 'i32')), size), below),
    e.mul(e.mul(width, 2), size),
  ),
  inputs: ['int32', 'int32', 'int32'],
  dtype: 'int32',
  params: placeParams,
};

function thresholdsOf(name: string, given: number | readonly number[] | null): readonly number[] | null {
  if (given === null) return null;
  if (typeof given === 'number') {
    if (!Number.isInteger(given) || given < 2)
      throw new Error(`${name}: thresholds must be an integer of 2 or more, or a list, got ${given}`);
    return Array.from({ length: given }, (_, i) => Math.fround(i / (given - 1)));
  }
  const list = Array.isArray(given) ? [...(given as readonly number[])] : [];
  const rising = list.every((x, i) => x >= 0 && x <= 1 && (i === 0 || x > (list[i - 1] as number)));
  if (list.length === 0 || !rising)
    throw new Error(
      `${name}: thresholds must be numbers from 0 to 1, each above the last, got ${String(given)}`,
    );
  return list.map(Math.fround);
}

/** Keeps scores or, by thresholds, counts of them; what the curve is for, subclasses know. */
abstract class CurveMetric<A extends CurveAverage> extends Metric<PerClass<A>> {
  private readonly kept: Samples | Counts;
  protected readonly task: Task;
  private readonly average: CurveAverage;
  protected readonly thresholds: readonly number[] | null;
  private readonly width: number;

  protected constructor(name: string, options?: CurveOptions<A>) {
    const [read, task] = readTask<CurveOptions>(name, { average: 'macro', thresholds: null }, options);
    const { average = 'macro' } = read;
    const several = ['macro', 'weighted', 'none'];
    oneOf(name, 'average', average, task.kind === 'multilabel' ? ['micro', ...several] : several);
    const thresholds = thresholdsOf(name, read.thresholds ?? null);
    const width = task.kind === 'multiclass' ? task.classes : task.labels;
    const kept =
      thresholds === null
        ? new Samples(width, task.labels)
        : new Counts(1, 2 * width * (thresholds.length + 1));
    const settings = { ...read, thresholds } as MetricSettings;
    super(name, thresholds === null ? { samples: kept } : { counts: kept }, settings);
    [this.kept, this.task, this.average, this.thresholds, this.width] = [
      kept,
      task,
      average,
      thresholds,
      width,
    ];
  }

  /**
   * @param preds scores, floating point: [N, C, ...], of binary and multilabel tasks of the shape of
   *   `target`. Probabilities; if one of the batch is below 0 or above 1 they are logits
   * @param target classes (int32) [N, ...]; of a multilabel task 0 and 1 (int32, bool) [N, labels, ...]
   * @throws Error for shapes and dtypes that do not fit; at once or at the next await for a label that is no
   *   class and a score that is NaN
   */
  update(preds: Tensor, target: Tensor): void {
    this.record(() => {
      const { task, kept, name } = this;
      const [scores, labels] = scoresOf(name, task, preds, target);
      if (kept instanceof Counts) kept.count(`${name}.update`, this.placesOf(scores, labels));
      // The caller may write over what it gave.
      else kept.add(clone(scores, { memoryFormat: 'contiguous' }), clone(labels));
    });
  }

  private placesOf(scores: Tensor, labels: Tensor): Tensor {
    const { task, width } = this;
    const thresholds = this.thresholds as readonly number[];
    const reached = bucketize(scores, Tensor.fromHost(thresholds, [thresholds.length], 'float32'), {
      right: true,
    });
    const slots = Tensor.fromHost(
      Array.from({ length: width }, (_, c) => c),
      [1, width],
      'int32',
    );
    // A slot for each class, or for the yes of each label.
    const [from, by] = task.kind === 'multiclass' ? [0, 1] : [1, 0];
    const params = [thresholds.length + 1, from, by, task.classes, width, task.ignored ?? noLabel];
    const rows = task.kind === 'multiclass' ? unsqueeze(labels, 1) : reshape(labels, [-1, width]);
    return reshape(applyPointwise(places, [slots, rows, reached], params), [1, -1]);
  }

  protected async value(): Promise<PerClass<A>> {
    const { kept, task, average, width } = this;
    const read = await kept.read();
    const curveOf = (slots: readonly number[]): Point[] =>
      kept instanceof Counts
        ? this.countedCurve(read as readonly number[], slots)
        : this.exactCurve(read as readonly [readonly number[], readonly number[]], slots);
    const each = Array.from({ length: width }, (_, c) => c);
    if (task.kind === 'binary' || average === 'micro') return this.area(curveOf(each)) as PerClass<A>;
    const curves = each.map((c) => curveOf([c]));
    const areas = curves.map((curve) => this.area(curve));
    if (average === 'none') return areas as PerClass<A>;
    const weights = curves.map((curve) => (average === 'weighted' ? (curve.at(-1)?.tp ?? 0) : 1));
    let [sum, total] = [0, 0];
    areas.forEach((area, c) => {
      if (Number.isNaN(area)) return;
      sum += area * (weights[c] as number);
      total += weights[c] as number;
    });
    return (total === 0 && average === 'weighted' ? 0 : sum / total) as PerClass<A>;
  }

  /** From the highest threshold to the lowest, and a last point with everything. */
  private countedCurve(counts: readonly number[], slots: readonly number[]): Point[] {
    const n = (this.thresholds as readonly number[]).length + 1;
    const points: Point[] = [];
    let [tp, fp] = [0, 0];
    for (let reached = n - 1; reached >= 0; reached--) {
      for (const c of slots) {
        fp += counts[2 * c * n + reached] as number;
        tp += counts[(2 * c + 1) * n + reached] as number;
      }
      points.push({ tp, fp });
    }
    return points;
  }

  /** A point for each different score, from the highest. */
  private exactCurve(
    [scores, labels]: readonly [readonly number[], readonly number[]],
    slots: readonly number[],
  ): Point[] {
    const { task, width } = this;
    const multiclass = task.kind === 'multiclass';
    const rows = scores.length / width;
    // float32 values leave the last bits of a double free: there whether it is of the class, so that one
    // numeric sort does for both. Scores are not negative, and + 0 makes -0 a 0.
    const keys = new Float64Array(rows * slots.length);
    const words = new Uint32Array(keys.buffer);
    let count = 0;
    for (let row = 0; row < rows; row++)
      for (const c of slots) {
        const is = labels[multiclass ? row : row * width + c];
        if (is === task.ignored) continue;
        keys[count] = (scores[row * width + c] as number) + 0;
        if (is === (multiclass ? c : 1)) words[2 * count + lowWord]! |= 1;
        count++;
      }
    const sorted = keys.subarray(0, count).sort();
    const points: Point[] = [];
    let [tp, fp] = [0, 0];
    for (let i = count - 1; i >= 0; i--) {
      const isPositive = (words[2 * i + lowWord]! & 1) === 1;
      words[2 * i + lowWord]! &= ~1;
      if (isPositive) tp++;
      else fp++;
      const isLast = i === 0 || withoutMark(sorted[i - 1] as number) !== sorted[i];
      if (isLast) points.push({ tp, fp });
    }
    return points;
  }

  protected abstract area(curve: readonly Point[]): number;
}

const probe = new Float64Array([1]);
const probeWords = new Uint32Array(probe.buffer);
/** Where the low half of a double lies: 1 is 0x3ff00000_00000000. */
const lowWord = probeWords[0] === 0 ? 0 : 1;

function withoutMark(key: number): number {
  probe[0] = key;
  probeWords[lowWord]! &= ~1;
  return probe[0];
}

/**
 * `torchmetrics.AUROC`: the area under the curve of true positives over false ones, which is the chance that
 * a sample of the class has a higher score than one of the rest; of several classes, each against the rest.
 * Where a class or its rest is without samples it is 0, as torchmetrics has it, and 'macro' counts it.
 */
export class AUROC<A extends CurveAverage = 'macro'> extends CurveMetric<A> {
  constructor(options?: CurveOptions<A>) {
    noMore(new.target.name, arguments, 1);
    super('AUROC', options);
  }

  protected area(curve: readonly Point[]): number {
    const all = curve.at(-1) ?? { tp: 0, fp: 0 };
    if (all.tp === 0 || all.fp === 0) return 0;
    // By thresholds the curve has these points and no others: neither (0, 0) nor (1, 1).
    const [from, points] =
      this.thresholds === null ? [{ tp: 0, fp: 0 }, curve] : [curve[0] as Point, curve.slice(1, -1)];
    let [area, before] = [0, from];
    for (const point of points) {
      area += (point.fp - before.fp) * (point.tp + before.tp);
      before = point;
    }
    return area / 2 / all.tp / all.fp;
  }
}

/**
 * `torchmetrics.AveragePrecision`: the mean of the precision at each threshold by how much the recall grows
 * there. Without samples of the class it is NaN, which averages leave out, and of other tasks or by
 * thresholds 0.
 */
export class AveragePrecision<A extends CurveAverage = 'macro'> extends CurveMetric<A> {
  constructor(options?: CurveOptions<A>) {
    noMore(new.target.name, arguments, 1);
    super('AveragePrecision', options);
  }

  protected area(curve: readonly Point[]): number {
    const all = curve.at(-1)?.tp ?? 0;
    if (all === 0) return this.task.kind === 'multiclass' && this.thresholds === null ? NaN : 0;
    let [sum, before] = [0, 0];
    for (const { tp, fp } of this.thresholds === null ? curve : curve.slice(0, -1)) {
      if (tp + fp > 0) sum += ((tp - before) * tp) / (tp + fp);
      before = tp;
    }
    return sum / all;
  }
}
