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

/** What is asked of each sample. */
export type TaskName = 'binary' | 'multiclass' | 'multilabel';

export interface TaskOptions {
  /** Default: 'multiclass' where `numClasses` is given. 'multilabel': several yes or no for each sample. */
  task?: TaskName;
  /** Of a multiclass task. */
  numClasses?: number | null;
  /** Of a multilabel task. */
  numLabels?: number | null;
  /** What has this label counts nothing. Default: none. */
  ignoreIndex?: number | null;
}

/** What is told apart. */
export interface Task {
  readonly kind: TaskName;
  /** Two for yes and no. */
  readonly classes: number;
  /** Of a multilabel task, how many yes or no a sample has; else 1. */
  readonly labels: number;
  readonly ignored: number | null;
}

/** @internal Defaults of the options that say what the task is. */
export const taskDefaults = {
  task: undefined as TaskName | undefined,
  numClasses: null as number | null,
  numLabels: null as number | null,
  ignoreIndex: null as number | null,
};

/** @internal All there are. */
export const allTasks = ['binary', 'multiclass', 'multilabel'] as const;

/** @internal The options of metric `name`, read, and what they say of the task, which is one of `allowed`. */
export function readTask<T extends TaskOptions>(
  name: string,
  defaults: Readonly<Partial<T>>,
  options: Partial<T> | undefined,
  allowed: readonly TaskName[] = allTasks,
): readonly [Readonly<T>, Task] {
  const { numLabels: _, ...others } = taskDefaults;
  const known = allowed.includes('multilabel') ? taskDefaults : others;
  const given = readOptions<TaskOptions & T>(
    name,
    { ...known, ...defaults } as TaskOptions & T,
    options as Partial<TaskOptions & T>,
  );
  const { task: asked, numClasses = null, numLabels = null, ignoreIndex = null } = given as TaskOptions;
  if (ignoreIndex !== null && !Number.isInteger(ignoreIndex))
    throw new Error(`${name}: ignoreIndex must be an integer, got ${String(ignoreIndex)}`);
  const kind = asked ?? (numClasses === null ? undefined : 'multiclass');
  oneOf(name, 'task', kind, allowed, "; or give numClasses, for 'multiclass'");
  const read = { ...given, task: kind };
  const several = (option: string, count: number | null): number => {
    if (count !== null && Number.isInteger(count) && count >= 2) return count;
    throw new Error(`${name}: ${option} must be an integer of 2 or more, got ${String(count)}`);
  };
  if (kind !== 'multilabel' && numLabels !== null)
    throw new Error(`${name}: numLabels is of a multilabel task; say { task: 'multilabel' }`);
  if (kind === 'multilabel') {
    if (numClasses !== null)
      throw new Error(`${name}: a multilabel task has numLabels, got numClasses ${numClasses}`);
    const labels = several('numLabels', numLabels);
    return [read, { kind, classes: 2, labels, ignored: ignoreIndex }];
  }
  if (kind === 'multiclass')
    return [read, { kind, classes: several('numClasses', numClasses), labels: 1, ignored: ignoreIndex }];
  if (numClasses !== null && numClasses !== 2)
    throw new Error(`${name}: a binary task has two classes, got numClasses ${numClasses}`);
  return [read, { kind: 'binary', classes: 2, labels: 1, ignored: ignoreIndex }];
}

/** @internal @throws Error unless a threshold is a probability */
export function checkThreshold(name: string, threshold: number): void {
  if (!(threshold >= 0 && threshold <= 1))
    throw new Error(`${name}: threshold must be a number from 0 to 1, got ${String(threshold)}`);
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
  { kind, classes, ignored }: Task,
): Tensor {
  const integers = integersOf(
    `${name}.update`,
    what,
    labels.dtype === 'bool' && kind !== 'multiclass' ? to(labels, 'int32') : labels,
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

/** With the samples' own dims first and, of a multilabel task, their labels last. */
const lined = ({ kind }: Task, x: Tensor): Tensor =>
  kind === 'multilabel' && x.ndim > 2 ? movedim(x, 1, -1) : x;

/** Both of the same shape, [N, labels, ...] of a multilabel task. */
function checkAlike(name: string, task: Task, preds: Tensor, target: Tensor): void {
  const { kind, labels } = task;
  checkSame(
    name,
    preds,
    target,
    kind === 'multiclass'
      ? 'class indices must have its shape, scores one dim more'
      : 'they must have the same shape',
  );
  if (kind === 'multilabel' && (target.ndim < 2 || target.shape[1] !== labels))
    throw new Error(
      `${name}.update: numLabels ${labels} needs shape [N, ${labels}, ...], got ${showShape(target.shape)}`,
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
  /** Of binary and multilabel tasks. */
  readonly threshold: number;
}

/** @internal The class of each sample and its label, int32 [n]; of a multilabel task [n * labels]. */
export function classesOf(
  name: string,
  task: Task,
  { topK, threshold }: Decision,
  preds: Tensor,
  target: Tensor,
): readonly [predicted: Tensor, labels: Tensor] {
  checkTensors(name, preds, target);
  if (preds.isFloatingPoint() && task.kind === 'multiclass') {
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
  checkAlike(name, task, preds, target);
  const [given, wanted] = [lined(task, preds), lined(task, target)];
  const labels = labelsOf(name, 'target', wanted, task);
  if (preds.isFloatingPoint()) {
    const scores = reshape(float(name, 'preds', given), [-1]);
    checkOnDevice(`${name}.update (preds)`, 'number', scores);
    // Sigmoid rises: logits are compared with the logit of the threshold.
    const from = where(areLogits(scores), Math.log(threshold / (1 - threshold)), threshold);
    return [applyPointwise(above, [scores, from], []), labels];
  }
  if (task.ignored === null) return [labelsOf(name, 'preds', given, task), labels];
  const counted = where(eq(wanted, task.ignored), 0, given);
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
 * @internal Probabilities and labels; scores of a batch of which one is below 0 or above 1 are logits.
 *
 * @returns float32 [n, C] and int32 [n]; of a binary task [n, 1], of class 1, and int32 [n]; of a multilabel
 *   task [n, labels] and int32 [n * labels]
 */
export function scoresOf(
  name: string,
  task: Task,
  preds: Tensor,
  target: Tensor,
): readonly [scores: Tensor, labels: Tensor] {
  checkTensors(name, preds, target);
  const { kind } = task;
  if (kind === 'multiclass') checkScores(name, preds, target, task.classes);
  else checkAlike(name, task, preds, target);
  const scores = float(name, 'preds', preds);
  const labels = labelsOf(name, 'target', lined(task, target), task);
  const rows =
    kind === 'multiclass'
      ? reshape(movedim(scores, 1, -1), [-1, task.classes])
      : reshape(lined(task, scores), [-1, task.labels]);
  if (rows.numel() === 0) return [rows, labels];
  const likely = kind === 'multiclass' ? softmax(rows, -1) : sigmoid(rows);
  const probabilities = where(areLogits(rows), likely, rows);
  // Softmax makes NaN of infinity too.
  checkOnDevice(`${name}.update (preds)`, 'number', probabilities);
  return [probabilities, labels];
}

const [part, label, guess] = [input(0, 'i32'), input(1, 'i32'), input(2, 'i32')];
const [classes, ignored] = [param('classes', 'i32'), param('ignored', 'i32')];
const labelled = param('labelled', 'i32');
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

/** As `pairs` of two classes, in a matrix for each label. */
const pairsByLabel: Pointwise = {
  name: 'metric.pairs_by_label',
  expr: e.select(isCounted, e.add(e.mul(e.add(e.mul(part, 2), label), 2), guess), e.mul(classes, labelled)),
  inputs: ['int32', 'int32', 'int32'],
  dtype: 'int32',
  params: ['classes', 'ignored', 'labelled'],
};

const paramsOf = (task: Task): readonly number[] => [task.classes, task.ignored ?? noLabel];

/** @internal Places in rows of counts by class, [3, n]: of labels, of predictions, of those that agree. */
export const marksOf = (task: Task, predicted: Tensor, labels: Tensor): Tensor =>
  applyPointwise(
    marks,
    [Tensor.fromHost([0, 1, 2], [3, 1], 'int32'), unsqueeze(labels, 0), unsqueeze(predicted, 0)],
    paramsOf(task),
  );

/** @internal How many places {@link pairsOf} has: a matrix of the classes, or one for each label. */
export const placesOf = ({ classes, labels }: Task): number => labels * classes ** 2;

/** @internal Places in a matrix of counts, labels by predictions, or in one for each label, [1, n]. */
export function pairsOf(task: Task, predicted: Tensor, labels: Tensor): Tensor {
  if (task.kind !== 'multilabel')
    return applyPointwise(
      pairs,
      [labels, labels, predicted].map((x) => unsqueeze(x, 0)),
      paramsOf(task),
    );
  const slots = Tensor.fromHost(
    Array.from({ length: task.labels }, (_, l) => l),
    [1, task.labels],
    'int32',
  );
  const rows = [labels, predicted].map((x) => reshape(x, [-1, task.labels]));
  return reshape(
    applyPointwise(pairsByLabel, [slots, ...rows], [...paramsOf(task), 2 * task.labels]),
    [1, -1],
  );
}

/** @internal Counts at the places of {@link pairsOf}, [labels][classes][classes]. */
export const matricesOf = ({ classes, labels }: Task, counts: readonly number[]): number[][][] =>
  Array.from({ length: labels }, (_, l) =>
    Array.from({ length: classes }, (_, i) => {
      const from = (l * classes + i) * classes;
      return counts.slice(from, from + classes);
    }),
  );
