import { enableGrad, noGrad, stack, tidy, type Tensor, type TypedArray } from '../index.js';
import { DataLoader } from '../data/loader.js';
import type { Dataset } from '../data/dataset.js';
import type { HostArray } from '../data/host.js';
import type { TensorModule } from '../nn/index.js';
import { functional } from '../nn/index.js';
import type { Optimizer } from '../optim/index.js';
import { checkInterrupted, type Context } from './context.js';
import { CliError } from './errors.js';

/** Inputs of a classifier with their labels. */
export type Labelled = Dataset<[HostArray<Float32Array>, number]>;

export interface Evaluation {
  readonly count: number;
  readonly correct: number;
  /** Mean cross-entropy in nats. */
  readonly loss: number;
  /** The likeliest class of every sample, in the data's order. */
  readonly predictions: Int32Array;
}

export interface EvaluateOptions {
  readonly batchSize: number;
  /** The progress bar's label; no bar without it. */
  readonly label?: string;
}

/**
 * Runs a classifier over all samples, in order.
 *
 * @param labels the class of every sample
 * @throws Interrupted after Ctrl-C; CliError for outputs that are no numbers
 */
export async function evaluate(
  context: Context,
  model: TensorModule,
  data: Labelled,
  labels: Int32Array,
  options: EvaluateOptions,
): Promise<Evaluation> {
  const { batchSize, label } = options;
  const predictions = new Int32Array(data.length);
  let correct = 0;
  let loss = 0;
  let at = 0;
  const bar = label === undefined ? null : context.output.progress(label, data.length);
  for await (const [inputs, targets] of new DataLoader(data, { batchSize })) {
    checkInterrupted(context);
    const logits = noGrad(() => model(inputs));
    const values = await logits.data();
    const classes = logits.shape[1] ?? 0;
    for (const tensor of [inputs, targets, logits]) tensor.dispose();
    const count = values.length / classes;
    for (let i = 0; i < count; i++, at++) {
      const target = labels[at] ?? 0;
      const row = values.subarray(i * classes, (i + 1) * classes);
      const best = likeliest(row, at);
      predictions[at] = best;
      if (best === target) correct++;
      loss += crossEntropy(row, target);
    }
    bar?.advance(count, `${((100 * correct) / at).toFixed(2)} %`);
  }
  bar?.stop();
  return { count: at, correct, loss: loss / at, predictions };
}

function likeliest(logits: ArrayLike<number>, sample: number): number {
  let best = 0;
  for (let i = 0; i < logits.length; i++) {
    const value = logits[i] ?? NaN;
    if (Number.isNaN(value)) throw new CliError(`sample ${sample}: the model's output is not a number (NaN)`);
    if (value > (logits[best] ?? NaN)) best = i;
  }
  return best;
}

function crossEntropy(logits: TypedArray, target: number): number {
  let top = -Infinity;
  for (const value of logits) top = Math.max(top, value);
  let sum = 0;
  for (const value of logits) sum += Math.exp(value - top);
  return top + Math.log(sum) - (logits[target] ?? NaN);
}

export interface EpochOptions {
  readonly model: TensorModule;
  readonly optimizer: Optimizer;
  readonly loader: DataLoader<[HostArray<Float32Array>, number]>;
  /** From 1; used in messages. */
  readonly epoch: number;
  readonly label?: string;
}

export interface EpochResult {
  /** Samples seen; fewer than all after Ctrl-C. */
  readonly count: number;
  /** Mean over the samples seen, each measured before the step that it was part of. */
  readonly loss: number;
  readonly correct: number;
  readonly interrupted: boolean;
}

/**
 * One pass of training by cross-entropy. Ctrl-C ends it after the batch under way.
 *
 * @throws CliError when the loss is not a finite number
 */
export async function trainEpoch(context: Context, options: EpochOptions): Promise<EpochResult> {
  const { model, optimizer, loader, epoch, label } = options;
  const bar = label === undefined ? null : context.output.progress(label, loader.length);
  let [count, loss, correct, batch] = [0, 0, 0, 0];
  const settle = async (step: Step): Promise<void> => {
    const [stepLoss = NaN, stepCorrect = NaN] = await step.values;
    batch++;
    if (!Number.isFinite(stepLoss)) {
      const lr = optimizer.paramGroups[0]?.lr;
      throw new CliError(
        `epoch ${epoch}, batch ${batch}: the loss is ${stepLoss}; try a lower --lr (now ${lr}), and look for bad values in the data`,
      );
    }
    count += step.count;
    loss += stepLoss * step.count;
    correct += stepCorrect;
    bar?.advance(1, `loss ${(loss / count).toFixed(4)}`);
  };

  // The statistics of a step are awaited after the next one is under way, so that the GPU need not wait for the host.
  let previous: Step | null = null;
  try {
    for await (const [inputs, targets] of loader) {
      const step = trainStep(model, optimizer, inputs, targets);
      if (previous !== null) await settle(previous);
      previous = step;
      if (context.signal.aborted) break;
    }
    if (previous !== null) await settle(previous);
  } finally {
    bar?.stop();
  }
  return { count, loss: loss / count, correct, interrupted: context.signal.aborted };
}

interface Step {
  readonly count: number;
  /** Mean loss, and number of samples that were classified right. */
  readonly values: Promise<TypedArray>;
}

function trainStep(model: TensorModule, optimizer: Optimizer, inputs: Tensor, targets: Tensor): Step {
  optimizer.zeroGrad();
  const statistics = tidy(() =>
    enableGrad(() => {
      const logits = model(inputs);
      const loss = functional.crossEntropy(logits, targets);
      loss.backward();
      return noGrad(() => stack([loss.detach(), logits.argmax(1).eq(targets).sum().float()]));
    }),
  );
  optimizer.step();
  inputs.dispose();
  targets.dispose();
  const values = statistics.data();
  // It is awaited one step later; an error in between must not go unhandled.
  values.catch(() => undefined);
  void values.finally(() => statistics.dispose()).catch(() => undefined);
  return { count: targets.shape[0] ?? 0, values };
}
