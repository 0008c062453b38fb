import {
  argmax,
  backward,
  crossEntropy,
  indexSelect,
  memoryStats,
  noGrad,
  softmax,
  tensor,
  tidy,
  type Tensor,
} from 'kindling/core';
import { Linear } from 'kindling/nn';
import { Adam } from 'kindling/optim';
import type { Epoch } from './messages.js';

/** Pictures as their features, [n, features] row by row, with the class of each. */
export interface Examples {
  readonly features: readonly Float32Array[];
  readonly labels: readonly number[];
}

/** The layer that is trained: features to a score for each class. */
export class Head {
  readonly layer: Linear;
  readonly optimizer: Adam;
  /** How many epochs it has seen. */
  epoch = 0;

  constructor(
    readonly classes: readonly string[],
    readonly features: number,
  ) {
    this.layer = new Linear(features, classes.length);
    this.optimizer = new Adam(this.layer.parameters());
  }

  /** What is to be kept of it, and brought back when the device was lost. */
  get parts(): { layer: Linear; optimizer: Adam } {
    return { layer: this.layer, optimizer: this.optimizer };
  }

  setLearningRate(rate: number): void {
    for (const group of this.optimizer.paramGroups) group.lr = rate;
  }

  /** A head for other classes, which knows what this one knows of those that both have. */
  async forClasses(classes: readonly string[]): Promise<Head> {
    const next = new Head(classes, this.features);
    const [from, to] = await Promise.all([this.values(), next.values()]);
    classes.forEach((name, row) => {
      const known = this.classes.indexOf(name);
      if (known < 0) return;
      const weights = from.weight.subarray(known * this.features, (known + 1) * this.features);
      to.weight.set(weights, row * this.features);
      to.bias[row] = from.bias[known] ?? 0;
    });
    next.setValues(to.weight, to.bias);
    return next;
  }

  setValues(weight: Float32Array, bias: Float32Array): void {
    tidy(() => {
      this.layer.loadStateDict({
        weight: tensor(weight, { shape: [this.classes.length, this.features] }),
        bias: tensor(bias),
      });
    });
  }

  /** The share of each class in what it believes of each picture. */
  async believe(features: readonly Float32Array[]): Promise<Float32Array[]> {
    using shares = tidy(() => noGrad(() => softmax(this.layer(this.rows(features)), 1)));
    const values = (await shares.data()) as Float32Array;
    const n = this.classes.length;
    return features.map((_, i) => values.slice(i * n, (i + 1) * n));
  }

  /** The mean loss, and the class that it takes each picture for. */
  async judge({ features, labels }: Examples): Promise<{ loss: number; found: Int32Array }> {
    const [loss, found] = tidy(() =>
      noGrad(() => {
        const scores = this.layer(this.rows(features));
        return [crossEntropy(scores, tensor(Int32Array.from(labels))), argmax(scores, 1)] as const;
      }),
    );
    const read = await Promise.all([loss.item(), found.data()]);
    loss.dispose();
    found.dispose();
    return { loss: read[0], found: read[1] as Int32Array };
  }

  /** One pass over the training pictures in a new order. */
  async trainEpoch(training: Examples, heldOut: Examples, batchSize: number): Promise<Epoch> {
    using all = this.rows(training.features);
    using labels = tensor(Int32Array.from(training.labels));
    const order = shuffled(training.labels.length);
    const started = performance.now();
    let steps = 0;
    for (let at = 0; at < order.length; at += batchSize, steps++) {
      tidy(() => {
        const batch = tensor(order.slice(at, at + batchSize));
        this.optimizer.zeroGrad();
        backward(crossEntropy(this.layer(indexSelect(all, 0, batch)), indexSelect(labels, 0, batch)));
        this.optimizer.step();
      });
    }
    // Reading waits for all that was asked of the GPU.
    const here = await this.judge(training);
    const stepTime = (performance.now() - started) / steps;
    const there = heldOut.labels.length > 0 ? await this.judge(heldOut) : null;
    this.epoch++;
    return {
      kind: 'epoch',
      epoch: this.epoch,
      loss: here.loss,
      accuracy: accuracy(here.found, training.labels),
      heldOutLoss: there?.loss ?? null,
      heldOutAccuracy: there && accuracy(there.found, heldOut.labels),
      stepTime,
      memory: memoryStats().liveBytes,
    };
  }

  async values(): Promise<{ weight: Float32Array; bias: Float32Array }> {
    const [weight, bias] = await Promise.all(this.layer.parameters().map((parameter) => parameter.data()));
    return { weight: weight as Float32Array, bias: bias as Float32Array };
  }

  dispose(): void {
    for (const parameter of this.layer.parameters()) parameter.dispose();
  }

  private rows(features: readonly Float32Array[]): Tensor {
    const values = new Float32Array(features.length * this.features);
    features.forEach((row, i) => values.set(row, i * this.features));
    return tensor(values, { shape: [features.length, this.features] });
  }
}

function accuracy(found: Int32Array, labels: readonly number[]): number {
  return labels.filter((label, i) => found[i] === label).length / labels.length;
}

/** 0 ... n - 1 in a random order (Fisher and Yates). */
function shuffled(n: number): Int32Array {
  const order = Int32Array.from({ length: n }, (_, i) => i);
  for (let i = n - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [order[i], order[j]] = [order[j] as number, order[i] as number];
  }
  return order;
}
