import { autocast } from '../amp/autocast.js';
import type { GradScaler } from '../amp/grad-scaler.js';
import { crossEntropy } from '../nn/functional.js';
import { clipGradNorm_ } from '../nn/tools/utils.js';
import type { Module } from '../nn/index.js';
import { backward, enableGrad, noGrad } from '../ops/autograd/autograd.js';
import { add, argmax, detach, div, eq, float, mean, mul, mul_, reshape, stack, sum } from '../ops/index.js';
import { LBFGS } from '../optim/lbfgs.js';
import type { Optimizer } from '../optim/optimizer.js';
import type { TypedArray } from '../tensor/dtype.js';
import { isTensor, type Tensor } from '../tensor/tensor.js';
import { tidy } from '../tensor/tidy.js';
import { requireClassWeights } from './checks.js';
import { checkBatch, type TrainBatch } from './loader.js';
import { settled } from './ranks.js';

/** A module that makes `O` of a tensor: a tensor, or tensors in a list or under names. */
export interface Trainable<O = Tensor> extends Module {
  forward(x: Tensor): O;
}

/**
 * The mean loss of a batch, a tensor of one element; of what the model's forward has returned, whole, and the
 * targets.
 */
export type LossFunction<O = Tensor> = (outputs: O, targets: Tensor) => Tensor;

/** Which batch a step is made of. */
export interface Place {
  /** From 1. */
  readonly epoch: number;
  /** Batches of the epoch that are done with this one. */
  readonly batch: number;
}

/** Another batch in the place of one: blended samples with distributions over the classes, for one. */
export type Mix = (
  batch: { readonly inputs: Tensor; readonly targets: Tensor },
  place: Place,
) => { readonly inputs: Tensor; readonly targets: Tensor };

/** How a step is made, besides forward, backward and update. */
export interface StepRecipe<O = Tensor> {
  /** Default: cross-entropy, which takes scores [N, classes, ...] and labels [N, ...] or probabilities. */
  readonly loss?: LossFunction<O> | undefined;
  /** Share of each label that is spread over all classes; of the default loss. */
  readonly labelSmoothing?: number | undefined;
  /** A factor per class, [classes]; of the default loss. */
  readonly classWeights?: Tensor | null | undefined;
  /** Changes batches before they are learnt from (`mixing`). */
  readonly mix?: Mix | undefined;
  /** The gradients' norm as one vector is cut to this. */
  readonly clipGradNorm?: number | undefined;
  /** Runs forward and loss in mixed precision, and makes the steps. */
  readonly scaler?: GradScaler | null | undefined;
  /** Called after each update. */
  readonly afterStep?: (() => void) | undefined;
}

/** A batch's part of a step over several. */
export interface Part {
  /** Batches of the step; the loss is divided by it. */
  readonly of: number;
  /** Drops the gradients that are there. */
  readonly first: boolean;
  /** Makes the step. */
  readonly last: boolean;
  /** Another factor of the loss. Default 1. */
  readonly weight?: number;
}

const whole: Part = { of: 1, first: true, last: true };

export interface StepValues {
  /** The batch's mean loss, measured before the step. */
  readonly loss: number;
  /**
   * Samples that were classified right, for outputs [N, classes, ...] with labels [N, ...] (a share where a
   * sample has several labels); else null.
   */
  readonly correct: number | null;
  /**
   * Samples that count: those whose label is not -100, which cross-entropy leaves out (a share where a sample
   * has several labels).
   */
  readonly count: number;
}

export interface StepResult {
  /** Samples of the batch. */
  readonly count: number;
  /** What was measured. Await it after the next step, and the GPU never waits for the host. */
  readonly values: Promise<StepValues>;
}

/**
 * What the papers add of the losses of auxiliary classifiers (https://arxiv.org/abs/1409.4842, section 5).
 */
const auxiliaryShare = 0.3;

/**
 * GoogLeNet and Inception v3 return the outputs of their auxiliary classifiers as well while they are
 * trained: `{ logits, auxLogits, ... }`.
 */
export function outputsOf(outputs: unknown): {
  readonly logits: Tensor;
  readonly auxiliary: readonly Tensor[];
} {
  if (isTensor(outputs)) return { logits: outputs, auxiliary: [] };
  const { logits, ...auxiliary } = (outputs ?? {}) as Readonly<Record<string, Tensor>> & {
    readonly logits: Tensor;
  };
  if (!isTensor(logits))
    throw new Error(
      'trainStep: the model must return a tensor, or tensors by name with `logits` among them; for anything else give a `loss` of your own, which gets it whole',
    );
  return { logits, auxiliary: Object.values(auxiliary).filter(isTensor) };
}

/** What tells classes apart of anything a model may return: the tensor, or the one named `logits`. */
export function logitsOf(outputs: unknown): Tensor | null {
  if (isTensor(outputs)) return outputs;
  const named = (outputs as { readonly logits?: unknown } | null | undefined)?.logits;
  return isTensor(named) ? named : null;
}

/** Whether outputs are scores of classes, and targets their numbers. */
export const isClassified = (outputs: Tensor, targets: Tensor): boolean =>
  outputs.ndim >= 2 &&
  targets.ndim === outputs.ndim - 1 &&
  (outputs.shape[1] ?? 0) > 1 &&
  (targets.dtype === 'int32' || targets.dtype === 'uint8');

/** The label that cross-entropy leaves out, as in PyTorch. */
export const ignoredLabel = -100;

/**
 * The loss and, for scores of classes, what {@link readMeasures} makes counts of, as one float32 tensor: it
 * is read at once.
 */
export function measuresOf(loss: Tensor, outputs: Tensor | null, targets: Tensor): Tensor {
  if (outputs === null || !isClassified(outputs, targets)) return stack([loss]);
  const values = [loss, correctOf(outputs, targets)];
  // The other labels have no sign.
  if (targets.dtype === 'int32') values.push(float(sum(eq(targets, ignoredLabel))));
  return stack(values);
}

/** @param targets of the batch, of which only the shape is asked for */
export function readMeasures(values: TypedArray, targets: { readonly shape: readonly number[] }): StepValues {
  const [loss = NaN, correct = null, ignored = 0] = values as unknown as [number, number?, number?];
  const [samples = 0, ...each] = targets.shape;
  const labels = each.reduce((product, size) => product * size, 1);
  return { loss, correct, count: samples - ignored / labels };
}

/** Samples that are classified right, as a float32 tensor of one element. */
export function correctOf(outputs: Tensor, targets: Tensor): Tensor {
  const right = eq(argmax(outputs, 1), targets);
  return targets.ndim === 1 ? float(sum(right)) : mul(mean(float(right)), targets.shape[0] ?? 0);
}

const plainLoss = (outputs: Tensor, targets: Tensor, recipe: StepRecipe<never>): Tensor =>
  crossEntropy(outputs, targets, {
    labelSmoothing: recipe.labelSmoothing ?? 0,
    weight: recipe.classWeights ?? null,
  });

/** @throws Error for a loss that is not one number */
export function oneNumber(what: string, loss: Tensor): Tensor {
  if (!isTensor(loss) || loss.numel() !== 1) {
    const found = isTensor(loss) ? `has the shape [${loss.shape.join(', ')}]` : `is ${typeof loss}`;
    throw new Error(`${what}: the loss must be a tensor of one element and ${found}; take its mean`);
  }
  return loss.ndim === 0 ? loss : reshape(loss, []);
}

/**
 * One step of training: forward, backward, update. The modes (`model.train()`) are the caller's.
 *
 * ```ts
 * for await (const batch of loader) {
 *   const { values } = await trainStep(model, optimizer, batch, { clipGradNorm: 1 });
 *   console.log((await values).loss);
 * }
 * ```
 *
 * With LBFGS, which evaluates a batch several times, and with a scaler it waits for the GPU, else for
 * nothing.
 *
 * @param batch stays yours: nothing of it is freed
 * @throws Error (a rejection) for what is no batch, and for a loss that is not one number
 */
export async function trainStep<O = Tensor>(
  model: Trainable<O>,
  optimizer: Optimizer,
  batch: TrainBatch,
  recipe: StepRecipe<O> & { readonly place?: Place; readonly part?: Part } = {},
): Promise<StepResult> {
  checkBatch('trainStep', batch);
  requireClassWeights('trainStep', recipe.classWeights);
  const { mix, scaler = null, place = { epoch: 1, batch: 1 }, part = whole } = recipe;
  const [inputs, targets] = batch;
  const mixed = mix === undefined ? { inputs, targets } : mix({ inputs, targets }, place);
  const forward = (): { readonly logits: Tensor | null; readonly loss: Tensor } => {
    const outputs = model(mixed.inputs) as O;
    if (recipe.loss !== undefined)
      return {
        logits: logitsOf(outputs),
        loss: oneNumber('trainStep', recipe.loss(outputs, mixed.targets)),
      };
    const { logits, auxiliary } = outputsOf(outputs);
    const main = oneNumber('trainStep', plainLoss(logits, mixed.targets, recipe));
    const loss = auxiliary.reduce(
      (sum, other) => add(sum, mul(plainLoss(other, mixed.targets, recipe), auxiliaryShare)),
      main,
    );
    return { logits, loss };
  };
  const gradients = (): Tensor => {
    if (part.first) optimizer.zeroGrad();
    return tidy(() =>
      enableGrad(() => {
        const { logits, loss } = scaler === null ? forward() : autocast({}, forward);
        const factor = (part.weight ?? 1) / part.of;
        const share =
          factor === 1 ? loss : part.weight === undefined ? div(loss, part.of) : mul(loss, factor);
        backward(scaler?.scale(share) ?? share);
        return noGrad(() => {
          const value = loss.dtype === 'float32' ? detach(loss) : float(detach(loss));
          return measuresOf(value, logits, targets);
        });
      }),
    );
  };
  let statistics: Tensor;
  if (optimizer instanceof LBFGS) {
    let first: Tensor | null = null;
    // It evaluates a batch several times; the first time is from before the step.
    await optimizer.step(async () => {
      const values = gradients();
      clip(optimizer, recipe);
      const [loss = NaN] = await values.data();
      if (first === null) first = values;
      else values.dispose();
      return loss;
    });
    statistics = first as unknown as Tensor;
    recipe.afterStep?.();
  } else {
    statistics = gradients();
    await settled(model);
    if (part.last) await update(optimizer, recipe);
  }
  if (mixed.inputs !== inputs) mixed.inputs.dispose();
  if (mixed.targets !== targets) mixed.targets.dispose();
  return { count: targets.shape[0] ?? 0, values: readOnce(statistics, [...targets.shape]) };
}

/** Clips the gradients and makes the step. */
export async function update(optimizer: Optimizer, recipe: StepRecipe<never>, factor = 1): Promise<void> {
  const { scaler = null, afterStep } = recipe;
  if (factor !== 1) {
    for (const { params } of optimizer.paramGroups)
      for (const { grad } of params) if (grad !== null) noGrad(() => mul_(grad, factor));
  }
  clip(optimizer, recipe);
  if (scaler === null) await optimizer.step();
  else {
    await scaler.step(optimizer);
    await scaler.update();
  }
  afterStep?.();
}

function clip(optimizer: Optimizer, { scaler, clipGradNorm }: StepRecipe<never>): void {
  if (clipGradNorm === undefined) return;
  scaler?.unscale_(optimizer);
  const parameters = optimizer.paramGroups.flatMap(({ params }) => params);
  clipGradNorm_(parameters, clipGradNorm).dispose();
}

/** The values of a tensor that nobody else needs. */
function readOnce(tensor: Tensor, shape: readonly number[]): Promise<StepValues> {
  const values = tensor.data().then((read) => readMeasures(read, { shape }));
  // It is awaited one step later; an error in between must not go unhandled.
  values.catch(() => undefined);
  void values.finally(() => tensor.dispose()).catch(() => undefined);
  return values;
}
