import { noGrad } from '../ops/autograd/autograd.js';
import { crossEntropy } from '../nn/functional.js';
import type { Module } from '../nn/index.js';
import { float } from '../ops/index.js';
import type { TypedArray } from '../tensor/dtype.js';
import { isPlainObject, optionReader } from '../tensor/options.js';
import { isTensor, type Tensor } from '../tensor/tensor.js';
import { tidy } from '../tensor/tidy.js';
import type { Evaluation } from './evaluation.js';
export type { Evaluation };
import { requireLoader, requireMetrics, requireModule } from './checks.js';
import { NotANumberError } from './errors.js';
import { disposeBatch, noBatches, ownsBatches, passOf, type Loader } from './loader.js';
import {
  joinMetrics,
  joinParts,
  OtherRankEndedError,
  requireMergeable,
  statesOf,
  type Part,
  type Ranks,
} from './ranks.js';
import {
  ignoredLabel,
  isClassified,
  measuresOf,
  oneNumber,
  logitsOf,
  outputsOf,
  readMeasures,
  type LossFunction,
  type Trainable,
} from './step.js';

/** What a metric is given of what a model has returned: its scores, or else all of it. */
export type Scored<O> = O extends Tensor | { readonly logits: Tensor } ? Tensor : O;

/** What is measured besides loss and accuracy; classes of `kindling/metrics` are such. */
export interface MetricLike<P = Tensor> {
  /**
   * The tensors are freed afterwards.
   *
   * @param outputs the model's scores; what it returned where that is neither a tensor nor has `logits`
   */
  update(outputs: P, targets: Tensor): void;
  /** Plain data (numbers, lists, objects), as a history is written as JSON. */
  compute(): Promise<unknown>;
  reset(): void;
}

export type Metrics<P = Tensor> = Readonly<Record<string, MetricLike<P>>>;

/** How samples of a batch were classified. */
export interface ClassifiedBatch {
  /** The likeliest class of each; of equals the first. */
  readonly predictions: Int32Array;
  /** Cross-entropy of each, in nats; 0 for labels of -100, which are left out of all sums. */
  readonly losses: Float64Array;
  /** The likeliest class's probability, for each. */
  readonly confidences: Float64Array;
}

export interface EvaluateOptions<O = Tensor> {
  /** Default: cross-entropy. */
  readonly loss?: LossFunction<O> | undefined;
  /** What `topCorrect` counts. Default 1. */
  readonly top?: number | undefined;
  /** Reset first, then updated with every batch. */
  readonly metrics?: Metrics<Scored<O>> | undefined;
  /**
   * Ends it before the next batch: the promise rejects with the signal's reason; with several ranks on all of
   * them, where one is ended.
   */
  readonly signal?: AbortSignal | undefined;
  /**
   * Processes that each go through a part of the samples (an `UnrepeatedDistributedSampler` of
   * `kindling/distributed`): all get the measures of all samples, and metrics are left with what all have
   * seen. `onBatch` is about the own part.
   */
  readonly ranks?: Ranks | null | undefined;
  /**
   * Called after each batch.
   *
   * @param far how far it has come
   * @param classified the batch's samples, where outputs are scores [N, classes], targets labels [N], and no
   *   `loss` is given
   */
  readonly onBatch?: ((far: Seen, classified: ClassifiedBatch | null) => void) | undefined;
}

/** Samples so far. */
export interface Seen {
  readonly count: number;
  readonly correct: number | null;
}

const readEvaluate = optionReader<EvaluateOptions<unknown>>('evaluate', {
  loss: undefined,
  top: 1,
  metrics: {},
  signal: undefined,
  ranks: null,
  onBatch: undefined,
});

/**
 * Runs a model over all samples, in evaluation mode and without gradients; afterwards every module is in the
 * mode that it was in.
 *
 * Where outputs are scores [N, classes] and targets labels [N], loss and accuracy are added up on the host,
 * in double precision.
 *
 * @throws Error (a rejection) for a loader that gives nothing; NotANumberError
 */
export async function evaluate<O = Tensor>(
  model: Trainable<O>,
  loader: Loader,
  options: EvaluateOptions<O> = {},
): Promise<Evaluation> {
  const pass = evaluating(model, loader, options);
  for (;;) {
    const next = await pass.next();
    if (next.done === true) return next.value;
  }
}

/** {@link evaluate}, batch by batch. */
export async function* evaluating<O = Tensor>(
  model: Trainable<O>,
  loader: Loader,
  options: EvaluateOptions<O> = {},
): AsyncGenerator<Seen, Evaluation> {
  const {
    top = 1,
    metrics = {},
    signal,
    ranks = null,
    onBatch,
    ...read
  } = readEvaluate([options]) as EvaluateOptions<unknown>;
  requireModule('evaluate', model);
  requireLoader('evaluate', loader);
  requireMetrics('evaluate', metrics);
  if (ranks !== null) requireMergeable(metrics);
  const modes = modesOf(model);
  model.eval();
  for (const metric of Object.values(metrics)) metric.reset();
  let [count, correct, topCorrect, loss]: [number, number | null, number | null, number] = [0, 0, 0, 0];
  let samples = 0;
  try {
    for await (const { batch } of passOf('evaluate', loader, 1, 0)) {
      if (signal?.aborted === true) {
        if (ranks === null) throw signal.reason;
        break;
      }
      const [inputs, targets] = batch;
      const outputs: unknown = noGrad(() => model(inputs));
      try {
        const seen = await measure(outputs, targets, { before: samples, top, loss: read.loss });
        for (const metric of Object.values(metrics))
          noGrad(() => metric.update(logitsOf(outputs) ?? outputs, targets));
        samples += targets.shape[0] ?? 0;
        count += seen.count;
        loss = seen.addTo(loss);
        correct = seen.correct === null || correct === null ? null : correct + seen.correct;
        topCorrect = seen.topCorrect === null || topCorrect === null ? null : topCorrect + seen.topCorrect;
        onBatch?.({ count, correct }, seen.classified);
      } finally {
        disposeOutputs(outputs, inputs, model);
        if (ownsBatches(loader)) disposeBatch(batch);
      }
      yield { count, correct };
    }
  } finally {
    for (const [module, training] of modes) module.training = training;
  }
  let part: Part = { count, loss, correct, topCorrect, samples, states: {} };
  if (ranks !== null) {
    // Of a rank without a batch nothing is known about classes.
    const states = signal?.aborted === true ? null : await statesOf(metrics);
    const parts = await ranks.allGatherObject(states === null ? null : { ...part, states });
    if (parts.includes(null)) throw signal?.aborted === true ? signal.reason : new OtherRankEndedError();
    part = joinParts(parts as Part[]);
    joinMetrics(metrics, parts as Part[]);
  }
  ({ count, loss, correct, topCorrect, samples } = part);
  if (samples === 0) throw noBatches('evaluate');
  if (count === 0)
    throw new Error(
      `evaluate: all labels of ${samples} samples are ${ignoredLabel}, which is left out; nothing is left to measure`,
    );
  const values: Record<string, unknown> = {};
  for (const [name, metric] of Object.entries(metrics)) values[name] = await metric.compute();
  const accuracy = correct === null ? null : correct / count;
  return { count, loss: loss / count, correct, accuracy, topCorrect, metrics: values };
}

export const modesOf = (model: Module): (readonly [Module, boolean])[] =>
  model.modules().map((module) => [module, module.training]);

interface Measured {
  readonly count: number;
  /** The sum of losses with this batch's. */
  readonly addTo: (sum: number) => number;
  readonly correct: number | null;
  readonly topCorrect: number | null;
  readonly classified: ClassifiedBatch | null;
}

interface How {
  /** Samples before the batch. */
  readonly before: number;
  readonly top: number;
  readonly loss: LossFunction<unknown> | undefined;
}

/** Frees what a model has returned, but for its input and what is the model's own. */
function disposeOutputs(outputs: unknown, inputs: Tensor, model: Module): void {
  if (isTensor(outputs)) {
    if (outputs !== inputs) outputs.dispose();
    return;
  }
  const own = new Set<Tensor>([inputs, ...model.parameters(), ...model.buffers()]);
  const free = (value: unknown): void => {
    if (isTensor(value)) {
      if (!own.has(value)) value.dispose();
    } else if (Array.isArray(value)) value.forEach(free);
    else if (isPlainObject(value)) Object.values(value).forEach(free);
  };
  free(outputs);
}

async function measure(outputs: unknown, targets: Tensor, how: How): Promise<Measured> {
  const logits = how.loss === undefined ? outputsOf(outputs).logits : logitsOf(outputs);
  if (how.loss === undefined && logits?.ndim === 2 && isClassified(logits, targets)) {
    const [scores, labels] = await Promise.all([logits.data(), targets.data()]);
    return classify(scores, labels, logits.shape[1] ?? 0, how);
  }
  const values = tidy(() =>
    noGrad(() => {
      const loss = oneNumber(
        'evaluate',
        how.loss === undefined
          ? crossEntropy(logits ?? (outputs as Tensor), targets)
          : how.loss(outputs, targets),
      );
      return measuresOf(float(loss), logits, targets);
    }),
  );
  const { loss, correct, count } = readMeasures(await values.data(), targets);
  values.dispose();
  // The mean over no labels is no number.
  const share = count === 0 ? 0 : loss * count;
  return { count, addTo: (sum) => sum + share, correct, topCorrect: null, classified: null };
}

/** The scores of a batch, row by row. */
function classify(scores: TypedArray, labels: TypedArray, classes: number, { before, top }: How): Measured {
  const n = labels.length;
  const [predictions, losses, confidences] = [new Int32Array(n), new Float64Array(n), new Float64Array(n)];
  let [count, correct, topCorrect] = [0, 0, 0];
  for (let i = 0; i < n; i++) {
    const target = labels[i] ?? 0;
    const row = scores.subarray(i * classes, (i + 1) * classes);
    const best = likeliest(row, before + i);
    const logSum = logSumExp(row);
    predictions[i] = best;
    if (target !== ignoredLabel && !(target >= 0 && target < classes))
      throw new Error(
        `evaluate: sample ${before + i} has the label ${target}, but the model tells ${classes} classes apart, 0 to ${classes - 1}`,
      );
    confidences[i] = Math.exp((row[best] ?? NaN) - logSum);
    if (target === ignoredLabel) continue;
    count++;
    losses[i] = logSum - (row[target] ?? NaN);
    if (best === target) correct++;
    if (best === target || rankOf(row, target) < top) topCorrect++;
  }
  const addTo = (sum: number): number => losses.reduce((all, loss) => all + loss, sum);
  return { count, addTo, correct, topCorrect, classified: { predictions, losses, confidences } };
}

function likeliest(logits: ArrayLike<number>, sample: number): number {
  let best = 0;
  for (let i = 0; i < logits.length; i++) {
    const value = logits[i] ?? NaN;
    if (Number.isNaN(value)) throw new NotANumberError(sample);
    if (value > (logits[best] ?? NaN)) best = i;
  }
  return best;
}

/** Classes that are likelier than `target`; of equals the first comes first. */
function rankOf(logits: ArrayLike<number>, target: number): number {
  const own = logits[target] ?? NaN;
  let rank = 0;
  for (let i = 0; i < logits.length; i++) {
    const value = logits[i] ?? NaN;
    if (value > own || (value === own && i < target)) rank++;
  }
  return rank;
}

function logSumExp(logits: TypedArray): number {
  let top = -Infinity;
  for (const value of logits) top = Math.max(top, value);
  let sum = 0;
  for (const value of logits) sum += Math.exp(value - top);
  return top + Math.log(sum);
}
