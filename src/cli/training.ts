import type { TensorModule } from '../nn/index.js';
import * as train from '../train/evaluate.js';
import { NotANumberError } from '../train/errors.js';
import { OtherRankEndedError } from '../train/ranks.js';
import { SampleLoader } from './batches.js';
import type { Samples } from './classes.js';
import { interruptionOf, type Context } from './context.js';
import { CliError } from './errors.js';
import { shareSkipped } from './ranks.js';

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
  { batchSize, label, top }: EvaluateOptions,
): Promise<Evaluation> {
  const { output, signal, ranks } = context;
  const { length } = samples.dataset;
  const predictions = new Int32Array(length).fill(-1);
  const losses = new Float64Array(length);
  const confidences = new Float64Array(length);
  const share = ranks === null ? length : Math.ceil(length / ranks.worldSize);
  const bar = label === undefined ? null : output.progress(label, share);
  const loader = new SampleLoader(samples, { batchSize, ranks });
  const seen: number[] = [];
  try {
    const { count, correct, topCorrect, loss } = await train.evaluate(model, loader, {
      top,
      signal,
      ranks,
      onBatch: ({ count, correct }, batch) => {
        seen.push(...loader.indices);
        loader.indices.forEach((index, i) => {
          predictions[index] = batch?.predictions[i] ?? -1;
          losses[index] = batch?.losses[i] ?? NaN;
          confidences[index] = batch?.confidences[i] ?? NaN;
        });
        bar?.advance(loader.indices.length, accuracyNote(correct, count));
      },
    });
    bar?.stop();
    if (ranks !== null) {
      const all = await ranks.allGatherObject({ seen, predictions, losses, confidences });
      for (const theirs of all)
        for (const index of theirs.seen) {
          predictions[index] = theirs.predictions[index] ?? -1;
          losses[index] = theirs.losses[index] ?? NaN;
          confidences[index] = theirs.confidences[index] ?? NaN;
        }
      await shareSkipped(context, samples);
    }
    return {
      ...{ count, predictions, losses, confidences },
      // In the data's order, as one process adds them up.
      loss: ranks === null ? loss : losses.reduce((sum, each) => sum + each, 0) / count,
      correct: correct ?? 0,
      topCorrect: topCorrect ?? 0,
    };
  } catch (error) {
    throw inWordsOf(error, signal, loader);
  }
}

/** `92.51 %` behind a bar. */
export const accuracyNote = (correct: number | null, count: number): string =>
  `${((100 * (correct ?? 0)) / count).toFixed(2)} %`;

/** What `kindling/train` throws, as the command says it. */
export function inWordsOf(error: unknown, signal: AbortSignal, loader: SampleLoader | null): unknown {
  if (error instanceof OtherRankEndedError || (signal.aborted && error === signal.reason))
    return interruptionOf(signal);
  if (error instanceof NotANumberError && loader !== null) {
    const sample = loader.indexOf(error.sample);
    return new CliError(`sample ${sample}: the model's output is not a number (NaN)`, { cause: error });
  }
  return error;
}
