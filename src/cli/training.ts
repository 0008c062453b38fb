import { autocast, type GradScaler } from '../amp/index.js';
import { enableGrad, noGrad, stack, tidy, type Tensor, type TypedArray } from '../index.js';
import { functional, utils, type TensorModule } from '../nn/index.js';
import { LBFGS, type Optimizer } from '../optim/index.js';
import { batchesOf, type LabelledBatch } from './batches.js';
import type { Labelled, Samples } from './classes.js';
import { isTensor } from '../tensor/tensor.js';
import { checkInterrupted, type Context } from './context.js';
import { CliError } from './errors.js';

export type { Labelled, Samples };

export interface Evaluation {
  /** Samples that were seen; those left out do not count. */
  readonly count: number;
  readonly correct: number;
  /** Samples whose class is among the likeliest `top`. */
  readonly topCorrect: number;
  /** Mean cross-entropy in nats. */
  readonly loss: number;
  /** The likeliest class of every sample, in the data's order; -1 for one that was left out. */
  readonly predictions: Int32Array;
  /** Cross-entropy of every sample. */
  readonly losses: Float64Array;
  /** The likeliest class's probability, for every sample. */
  readonly confidences: Float64Array;
}

export interface EvaluateOptions {
  readonly batchSize: number;
  /** The progress bar's label; no bar without it. */
  readonly label?: string;
  /** What `topCorrect` counts. Default 1. */
  readonly top?: number;
}

/**
 * Images at once where nothing is trained: 16 of 224 x 224 pixels, more of smaller ones. Larger batches gain
 * no speed and cost memory (a ResNet-50 on the software adapter: 1.2 GB with 16 images, 3.7 GB with 64, at
 * the same time per image).
 *
 * @param size side of the square images, in pixels
 */
export const inferenceBatch = (size: number): number =>
  Math.max(4, Math.min(128, Math.floor(16 * (224 / size) ** 2)));

/**
 * Runs a classifier over all samples, in order.
 *
 * @throws Interrupted after Ctrl-C; CliError for outputs that are no numbers
 */
export async function evaluate(
  context: Context,
  model: TensorModule,
  samples: Samples,
  options: EvaluateOptions,
): Promise<Evaluation> {
  const { batchSize, label, top = 1 } = options;
  const { length } = samples.dataset;
  const predictions = new Int32Array(length).fill(-1);
  const losses = new Float64Array(length);
  const confidences = new Float64Array(length);
  let [count, correct, topCorrect, loss] = [0, 0, 0, 0];
  const bar = label === undefined ? null : context.output.progress(label, length);
  for await (const { inputs, targets, indices } of batchesOf(samples, { batchSize })) {
    checkInterrupted(context);
    const logits = noGrad(() => model(inputs));
    const values = await logits.data();
    const classes = logits.shape[1] ?? 0;
    for (const tensor of [inputs, targets, logits]) tensor.dispose();
    indices.forEach((index, i) => {
      const target = samples.labels[index] ?? 0;
      const row = values.subarray(i * classes, (i + 1) * classes);
      const best = likeliest(row, index);
      const logSum = logSumExp(row);
      const sampleLoss = logSum - (row[target] ?? NaN);
      predictions[index] = best;
      losses[index] = sampleLoss;
      confidences[index] = Math.exp((row[best] ?? NaN) - logSum);
      loss += sampleLoss;
      if (best === target) correct++;
      if (best === target || rankOf(row, target) < top) topCorrect++;
    });
    count += indices.length;
    bar?.advance(indices.length, `${((100 * correct) / count).toFixed(2)} %`);
  }
  bar?.stop();
  return { count, correct, topCorrect, loss: loss / count, predictions, losses, confidences };
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

/** A batch after mixup or cutmix: a distribution over the classes in the place of each label. */
export type Mix = (
  batch: { readonly inputs: Tensor; readonly targets: Tensor },
  epoch: number,
  batchNumber: number,
) => { readonly inputs: Tensor; readonly targets: Tensor };

/** How a step is made, besides forward, backward and update. */
export interface StepRecipe {
  readonly labelSmoothing?: number | undefined;
  /** A factor of the loss per class, [classes]. */
  readonly classWeights?: Tensor | null;
  readonly mix?: Mix | undefined;
  /** The gradients' norm as one vector is cut to this. */
  readonly clipGradNorm?: number | undefined;
  /** Runs forward and loss in mixed precision, and makes the steps. */
  readonly scaler?: GradScaler | null;
  /** Called after each update. */
  readonly afterStep?: (() => void) | undefined;
}

/** What an epoch has come to so far. */
export interface EpochSums {
  /** Samples seen. */
  readonly count: number;
  /** Sum over the samples, each measured before the step that it was part of. */
  readonly loss: number;
  readonly correct: number;
  /** Batches done. */
  readonly batches: number;
}

export const noSums: EpochSums = { count: 0, loss: 0, correct: 0, batches: 0 };

export interface EpochOptions extends StepRecipe {
  readonly model: TensorModule;
  readonly optimizer: Optimizer;
  readonly samples: Samples;
  readonly order: ArrayLike<number>;
  readonly batchSize: number;
  readonly seed: number;
  /** From 1. */
  readonly epoch: number;
  readonly label?: string;
  /** Where an interrupted epoch is taken up again. */
  readonly sums?: EpochSums;
  /** Called between two batches; true ends the pass there. */
  readonly pause?: (sums: () => Promise<EpochSums>) => Promise<boolean> | boolean;
}

/**
 * One pass of training by cross-entropy. Ctrl-C ends it after the batch under way.
 *
 * @throws CliError when the loss is not a finite number
 */
export async function trainEpoch(
  context: Context,
  options: EpochOptions,
): Promise<EpochSums & { readonly interrupted: boolean }> {
  const { model, optimizer, samples, order, batchSize, seed, epoch, label, pause } = options;
  let { count, loss, correct, batches } = options.sums ?? noSums;
  const total = Math.ceil(order.length / batchSize);
  const bar = label === undefined ? null : context.output.progress(label, total);
  bar?.advance(batches);
  const settle = async (step: Step): Promise<void> => {
    const [stepLoss = NaN, stepCorrect = NaN] = await step.values;
    if (!Number.isFinite(stepLoss)) {
      const lr = optimizer.paramGroups[0]?.lr;
      throw new CliError(
        `epoch ${epoch}, batch ${step.batch}: the loss is ${stepLoss}; try a lower --lr (now ${lr}), and look for bad values in the data`,
      );
    }
    count += step.count;
    loss += stepLoss * step.count;
    correct += stepCorrect;
    bar?.advance(step.batch - batches, `loss ${(loss / count).toFixed(4)}`);
    batches = step.batch;
  };

  // The statistics of a step are awaited after the next one is under way, so that the GPU need not wait for
  // the host.
  let previous: Step | null = null;
  const settled = async (): Promise<EpochSums> => {
    if (previous !== null) await settle(previous);
    previous = null;
    return { count, loss, correct, batches };
  };
  let interrupted = false;
  try {
    if (batches < total) {
      // The order of epoch 1 has the loader's number 0.
      const loading = { batchSize, order, seed, epoch: epoch - 1, from: batches };
      for await (const batch of batchesOf(samples, loading)) {
        const step = await trainStep(model, optimizer, batch, epoch, options);
        if (previous !== null) await settle(previous);
        previous = step;
        interrupted = context.signal.aborted || (await pause?.(settled)) === true;
        if (interrupted) break;
      }
    }
    await settled();
  } finally {
    bar?.stop();
  }
  return { count, loss, correct, batches, interrupted };
}

interface Step {
  readonly count: number;
  /** Batches of the epoch that are done with this one. */
  readonly batch: number;
  /** Mean loss, and number of samples that were classified right. */
  readonly values: Promise<TypedArray>;
}

/**
 * What the papers add of the losses of auxiliary classifiers (https://arxiv.org/abs/1409.4842, section 5).
 */
const auxiliaryShare = 0.3;

/**
 * GoogLeNet and Inception v3 return the outputs of their auxiliary classifiers as well while they are
 * trained.
 */
export function outputsOf(outputs: Tensor | { readonly logits: Tensor }): {
  readonly logits: Tensor;
  readonly auxiliary: readonly Tensor[];
} {
  if (isTensor(outputs)) return { logits: outputs, auxiliary: [] };
  const { logits, ...auxiliary } = outputs as Readonly<Record<string, Tensor>> & { readonly logits: Tensor };
  return { logits, auxiliary: Object.values(auxiliary) };
}

async function trainStep(
  model: TensorModule,
  optimizer: Optimizer,
  { inputs, targets, done }: LabelledBatch,
  epoch: number,
  recipe: StepRecipe,
): Promise<Step> {
  const { labelSmoothing = 0, classWeights: weight = null, mix, clipGradNorm, afterStep } = recipe;
  const { scaler = null } = recipe;
  const mixed = mix === undefined ? { inputs, targets } : mix({ inputs, targets }, epoch, done);
  const gradients = (): Tensor => {
    optimizer.zeroGrad();
    const forward = (): { readonly logits: Tensor; readonly loss: Tensor } => {
      const { logits, auxiliary } = outputsOf(model(mixed.inputs));
      const lossOf = (outputs: Tensor): Tensor =>
        functional.crossEntropy(outputs, mixed.targets, { labelSmoothing, weight });
      const loss = auxiliary.reduce(
        (sum, outputs) => sum.add(lossOf(outputs).mul(auxiliaryShare)),
        lossOf(logits),
      );
      return { logits, loss };
    };
    const values = tidy(() =>
      enableGrad(() => {
        const { logits, loss } = scaler === null ? forward() : autocast({}, forward);
        (scaler?.scale(loss) ?? loss).backward();
        return noGrad(() => stack([loss.detach(), logits.argmax(1).eq(targets).sum().float()]));
      }),
    );
    if (clipGradNorm !== undefined) {
      scaler?.unscale_(optimizer);
      const parameters = optimizer.paramGroups.flatMap(({ params }) => params);
      utils.clipGradNorm_(parameters, clipGradNorm).dispose();
    }
    return values;
  };
  let statistics: Tensor;
  if (optimizer instanceof LBFGS) {
    let first: Tensor | null = null;
    // It evaluates a batch several times; the first time is from before the step.
    await optimizer.step(async () => {
      const values = gradients();
      const [loss = NaN] = await values.data();
      if (first === null) first = values;
      else values.dispose();
      return loss;
    });
    statistics = first as unknown as Tensor;
  } else {
    statistics = gradients();
    if (scaler === null) optimizer.step();
    else {
      await scaler.step(optimizer);
      await scaler.update();
    }
  }
  afterStep?.();
  const count = targets.shape[0] ?? 0;
  for (const tensor of new Set([inputs, targets, mixed.inputs, mixed.targets])) tensor.dispose();
  return { count, batch: done, values: readOnce(statistics) };
}

/** The values of a tensor that nobody else needs. */
function readOnce(tensor: Tensor): Promise<TypedArray> {
  const values = tensor.data();
  // It is awaited one step later; an error in between must not go unhandled.
  values.catch(() => undefined);
  void values.finally(() => tensor.dispose()).catch(() => undefined);
  return values;
}
