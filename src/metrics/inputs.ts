import { labelOutOfRange } from '../kernels/base/faults.js';
import { e, input, param } from '../kernels/expr/expr.js';
import { applyPointwise, type Pointwise } from '../ops/base/apply.js';
import { checkOnDevice, integersOf } from '../ops/base/check.js';
import { to } from '../ops/base/copy.js';
import { movedim, narrow, reshape, squeeze, unsqueeze } from '../ops/base/view.js';
import { topk } from '../ops/index/sort.js';
import { eq } from '../ops/pointwise/compare.js';
import { sigmoid } from '../ops/pointwise/pointwise.js';
import { where } from '../ops/pointwise/where.js';
import { argmax, any } from '../ops/reduce/reduce.js';
import { softmax } from '../ops/reduce/softmax.js';
import { readOptions } from '../tensor/options.js';
import { sameShape, showShape } from '../tensor/shape.js';
import { isTensor, Tensor } from '../tensor/tensor.js';

/* What classification metrics are given, brought into one form. */

export interface TaskOptions {
  /** Default: 'multiclass' where `numClasses` is given. */
  task?: 'binary' | 'multiclass';
  /** Of a multiclass task. */
  numClasses?: number | null;
  /** Samples with this label count nothing. Default: none. */
  ignoreIndex?: number | null;
}

/** What is told apart. */
export interface Task {
  readonly binary: boolean;
  /** Two for a binary task. */
  readonly classes: number;
  readonly ignored: number | null;
}

/** @internal Defaults of the options that say what the task is. */
export const taskDefaults = {
  task: undefined as 'binary' | 'multiclass' | undefined,
  numClasses: null as number | null,
  ignoreIndex: null as number | null,
};

/** @internal The options of metric `name`, read, and what they say of the task. */
export function readTask<T extends TaskOptions>(
  name: string,
  defaults: Readonly<T>,
  options: Partial<T> | undefined,
): readonly [Readonly<T>, Task] {
  const read = readOptions<TaskOptions & T>(
    name,
    { ...taskDefaults, ...defaults } as TaskOptions & T,
    options as Partial<TaskOptions & T>,
  );
  const { task, numClasses = null, ignoreIndex = null } = read as TaskOptions;
  if (ignoreIndex !== null && !Number.isInteger(ignoreIndex))
    throw new Error(`${name}: ignoreIndex must be an integer, got ${String(ignoreIndex)}`);
  const kind = task ?? (numClasses === null ? undefined : 'multiclass');
  oneOf(name, 'task', kind, ['binary', 'multiclass'], "; or give numClasses, for 'multiclass'");
  if (kind === 'binary') {
    if (numClasses !== null && numClasses !== 2)
      throw new Error(`${name}: a binary task has two classes, got numClasses ${numClasses}`);
    return [read, { binary: true, classes: 2, ignored: ignoreIndex }];
  }
  if (numClasses === null || !Number.isInteger(numClasses) || numClasses < 2)
    throw new Error(`${name}: numClasses must be an integer of 2 or more, got ${String(numClasses)}`);
  return [read, { binary: false, classes: numClasses, ignored: ignoreIndex }];
}

/** @internal @throws Error unless `value` is among `allowed` */
export function oneOf(
  name: string,
  option: string,
  value: unknown,
  allowed: readonly unknown[],
  more = '',
): void {
  if (allowed.includes(value)) return;
  const shown = allowed.map((x) => (typeof x === 'string' ? `'${x}'` : String(x))).join(', ');
  throw new Error(`${name}: ${option} must be one of ${shown}${more}; got ${String(value)}`);
}

/** @internal @throws Error unless both are tensors */
export function checkTensors(name: string, preds: unknown, target: unknown): void {
  for (const [what, x] of Object.entries({ preds, target }))
    if (!isTensor(x))
      throw new Error(`${name}.update: ${what} must be a tensor, got ${String(x)}; use tensor([...])`);
}

/** @internal For a label that is never there. */
export const noLabel = -(2 ** 31);

/** @internal Labels as int32 [n]; those that are no class are told of. */
export function labelsOf(
  name: string,
  what: string,
  labels: Tensor,
  { binary, classes, ignored }: Task,
): Tensor {
  const integers = integersOf(
    `${name}.update`,
    what,
    labels.dtype === 'bool' && binary ? to(labels, 'int32') : labels,
  );
  // The text leaves an ignored label out that is one of the classes.
  const besides = ignored ?? 0;
  const op = `${name}.update (${what})`;
  const values = labels.hostValues();
  if (values === null) checkOnDevice(op, 'label', integers, [classes, besides]);
  else
    values.forEach((label, i) => {
      if ((label < 0 || label >= classes) && label !== ignored)
        throw new Error(labelOutOfRange(op, label, i, classes, besides));
    });
  return reshape(integers, [-1]);
}

/** @internal `[N, C, ...]` scores beside `[N, ...]` labels. */
function checkScores(name: string, preds: Tensor, target: Tensor, classes: number): void {
  const fits =
    preds.ndim === target.ndim + 1 &&
    preds.shape[0] === target.shape[0] &&
    preds.shape[1] === classes &&
    sameShape(preds.shape.slice(2), target.shape.slice(1));
  if (!fits)
    throw new Error(
      `${name}.update: target ${showShape(target.shape)} needs scores of shape [N, C, ...] with C = ${classes}, N and ... as in target, got preds ${showShape(preds.shape)}`,
    );
}

function checkSame(name: string, preds: Tensor, target: Tensor, otherwise: string): void {
  if (!sameShape(preds.shape, target.shape))
    throw new Error(
      `${name}.update: preds ${showShape(preds.shape)} do not fit target ${showShape(target.shape)}: ${otherwise}`,
    );
}

const float = (name: string, what: string, x: Tensor): Tensor => {
  if (!x.isFloatingPoint()) throw new Error(`${name}.update: ${what} must be floating point, got ${x.dtype}`);
  return to(x, 'float32');
};

const outside = ((): Pointwise => {
  const x = input(0);
  return {
    name: 'metric.outside',
    expr: e.or(e.lt(x, 0), e.gt(x, 1)),
    inputs: ['float32'],
    dtype: 'bool',
    params: [],
  };
})();

/** @internal Whether scores are logits: some of them is no probability. bool, zero-dim. */
const areLogits = (scores: Tensor): Tensor => any(applyPointwise(outside, [scores], []));

/** @internal How a class is told from scores. */
export interface Decision {
  readonly topK: number;
  /** Of a binary task. */
  readonly threshold: number;
}

/** @internal The class of each sample and its label, int32 [n]. */
export function classesOf(
  name: string,
  task: Task,
  { topK, threshold }: Decision,
  preds: Tensor,
  target: Tensor,
): readonly [predicted: Tensor, labels: Tensor] {
  checkTensors(name, preds, target);
  if (preds.isFloatingPoint() && !task.binary) {
    checkScores(name, preds, target, task.classes);
    const labels = labelsOf(name, 'target', target, task);
    if (topK === 1) return [reshape(argmax(preds, 1), [-1]), labels];
    // As right as one of the first k makes it, else as wrong as the first.
    const best = topk(preds, topK, 1)[1];
    const among = any(eq(best, unsqueeze(target, 1)), 1);
    const first = squeeze(narrow(best, 1, 0, 1), 1);
    return [reshape(where(among, to(target, 'int32'), first), [-1]), labels];
  }
  if (topK !== 1)
    throw new Error(`${name}.update: topK ${topK} needs scores [N, C, ...], got preds of ${preds.dtype}`);
  checkSame(
    name,
    preds,
    target,
    task.binary ? 'they must have the same shape' : 'class indices must have its shape, scores one dim more',
  );
  const labels = labelsOf(name, 'target', target, task);
  if (preds.isFloatingPoint()) {
    const scores = reshape(float(name, 'preds', preds), [-1]);
    checkOnDevice(`${name}.update (preds)`, 'number', scores);
    // Sigmoid rises: logits are compared with the logit of the threshold.
    const from = where(areLogits(scores), Math.log(threshold / (1 - threshold)), threshold);
    return [applyPointwise(above, [scores, from], []), labels];
  }
  if (task.ignored === null) return [labelsOf(name, 'preds', preds, task), labels];
  const counted = where(eq(target, task.ignored), 0, preds);
  return [labelsOf(name, 'preds', counted, { ...task, ignored: null }), labels];
}

const above: Pointwise = {
  name: 'metric.above',
  expr: e.cast(e.gt(input(0), input(1)), 'i32'),
  inputs: ['float32', 'float32'],
  dtype: 'int32',
  params: [],
};

/**
 * @internal Probabilities, float32 [n, C] ([n, 1] for a binary task, of class 1), and labels, int32 [n].
 * Scores of a batch of which one is below 0 or above 1 are logits.
 */
export function scoresOf(
  name: string,
  task: Task,
  preds: Tensor,
  target: Tensor,
): readonly [scores: Tensor, labels: Tensor] {
  checkTensors(name, preds, target);
  if (task.binary) checkSame(name, preds, target, 'they must have the same shape');
  else checkScores(name, preds, target, task.classes);
  const scores = float(name, 'preds', preds);
  const labels = labelsOf(name, 'target', target, task);
  const rows = task.binary ? reshape(scores, [-1, 1]) : reshape(movedim(scores, 1, -1), [-1, task.classes]);
  if (rows.numel() === 0) return [rows, labels];
  const probabilities = where(areLogits(rows), task.binary ? sigmoid(rows) : softmax(rows, -1), rows);
  // Softmax makes NaN of infinity too.
  checkOnDevice(`${name}.update (preds)`, 'number', probabilities);
  return [probabilities, labels];
}

const [part, label, guess] = [input(0, 'i32'), input(1, 'i32'), input(2, 'i32')];
const [classes, ignored] = [param('classes', 'i32'), param('ignored', 'i32')];
const isClass = (x: typeof label) => e.and(e.ge(x, 0), e.lt(x, classes));
const isCounted = e.and(e.and(isClass(label), isClass(guess)), e.ne(label, ignored));

const marks: Pointwise = {
  name: 'metric.marks',
  expr: e.select(
    isCounted,
    e.select(
      e.eq(part, 0),
      label,
      e.select(e.eq(part, 1), guess, e.select(e.eq(label, guess), label, classes)),
    ),
    classes,
  ),
  inputs: ['int32', 'int32', 'int32'],
  dtype: 'int32',
  params: ['classes', 'ignored'],
};

const pairs: Pointwise = {
  name: 'metric.pairs',
  expr: e.select(isCounted, e.add(e.mul(label, classes), guess), e.mul(classes, classes)),
  inputs: ['int32', 'int32', 'int32'],
  dtype: 'int32',
  params: ['classes', 'ignored'],
};

const paramsOf = (task: Task): readonly number[] => [task.classes, task.ignored ?? noLabel];

/** @internal Places in rows of counts by class, [3, n]: of labels, of predictions, of those that agree. */
export const marksOf = (task: Task, predicted: Tensor, labels: Tensor): Tensor =>
  applyPointwise(
    marks,
    [Tensor.fromHost([0, 1, 2], [3, 1], 'int32'), unsqueeze(labels, 0), unsqueeze(predicted, 0)],
    paramsOf(task),
  );

/** @internal Places in a matrix of counts, labels by predictions, [1, n]. */
export const pairsOf = (task: Task, predicted: Tensor, labels: Tensor): Tensor =>
  applyPointwise(
    pairs,
    [labels, labels, predicted].map((x) => unsqueeze(x, 0)),
    paramsOf(task),
  );
