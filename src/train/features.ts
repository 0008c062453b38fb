import { autocast } from '../amp/autocast.js';
import type { HostArray } from '../data/host.js';
import { TensorDataset } from '../data/tensor-dataset.js';
import { findHead, type Head } from '../models/head.js';
import type { TensorModule } from '../nn/index.js';
import { noGrad } from '../ops/autograd/autograd.js';
import type { Tensor } from '../tensor/tensor.js';
import { modesOf } from './evaluate.js';
import { disposeBatch, ownsBatches, passOf, type Loader } from './loader.js';

/** Features beyond this many bytes are not kept. */
const mostBytes = 2 ** 30;

export interface TrunkFeaturesOptions {
  /** Default: `findHead(model)`. */
  readonly head?: Head | undefined;
  /** Runs the trunk in mixed precision. */
  readonly amp?: boolean | undefined;
  /** Most bytes of features. Default 2^30. */
  readonly maxBytes?: number | undefined;
  /** Ends it before the next batch: the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Called after each batch, with the samples so far. */
  readonly onBatch?: ((count: number) => void) | undefined;
}

/** Features [samples, width] with their labels. */
export type FeatureDataset = TensorDataset<readonly [HostArray<Float32Array>, HostArray<Int32Array>]>;

/** What a trunk made of a batch: rows of `width` features, and the targets. */
export interface FeatureRows {
  readonly rows: Float32Array;
  readonly labels: Int32Array;
  readonly count: number;
}

/**
 * What the head of a model is given for every sample. A frozen trunk in evaluation mode gives the same
 * features in every epoch, so running it once and training the head on what it gave is the same computation,
 * done once:
 *
 * ```ts
 * const features = await trunkFeatures(model, new DataLoader(dataset, { batchSize: 16 }));
 * const train = new DataLoader(features, { batchSize: 32, shuffle: true, seed: 0 });
 * new Trainer({ model, optimizer, onEpochStart: () => ({ model: findHead(model).layer, train }) });
 * ```
 *
 * @param loader one that does not shuffle; targets are labels [N]
 * @returns the features [samples, width] with the labels, in the loader's order, or null where the head's
 *   output is not the model's, its input no list of rows, or they would need too much memory
 */
export async function trunkFeatures(
  model: TensorModule,
  loader: Loader,
  options: TrunkFeaturesOptions = {},
): Promise<FeatureDataset | null> {
  const { head = findHead(model), maxBytes = mostBytes } = options;
  const parts: FeatureRows[] = [];
  let count = 0;
  for await (const part of featureRows(model, loader, { ...options, head })) {
    if (part === null) return null;
    count += part.count;
    if (count * head.inFeatures * 4 > maxBytes) return null;
    parts.push(part);
    options.onBatch?.(count);
  }
  const features = new Float32Array(count * head.inFeatures);
  const labels = new Int32Array(count);
  let at = 0;
  for (const part of parts) {
    features.set(part.rows, at * head.inFeatures);
    labels.set(part.labels, at);
    at += part.count;
  }
  const columns: [HostArray<Float32Array>, HostArray<Int32Array>] = [
    { data: features, shape: [count, head.inFeatures] },
    { data: labels, shape: [count] },
  ];
  return new TensorDataset(...columns);
}

/** {@link trunkFeatures}, batch by batch; null where they cannot be had. */
export async function* featureRows(
  model: TensorModule,
  loader: Loader,
  { head, amp = false, signal }: TrunkFeaturesOptions & { readonly head: Head },
): AsyncGenerator<FeatureRows | null, void> {
  const seen: { input?: Tensor; output?: Tensor } = {};
  const hook = head.layer.registerForwardHook((_, [input], output) => {
    Object.assign(seen, { input, output });
  });
  const modes = modesOf(model);
  model.eval();
  try {
    for await (const { batch } of passOf('trunkFeatures', loader, 1, 0)) {
      signal?.throwIfAborted();
      const [inputs, targets] = batch;
      const count = targets.shape[0] ?? 0;
      const logits = noGrad(() => autocast({ enabled: amp }, () => model(inputs)));
      const { input, output } = seen;
      const usable = output === logits && input?.ndim === 2 && input.shape[0] === count && targets.ndim === 1;
      const [rows, labels] = usable ? await Promise.all([input.data(), targets.data()]) : [null, null];
      disposeBatch([logits, input].filter((tensor) => tensor !== inputs));
      if (ownsBatches(loader)) disposeBatch(batch);
      yield rows === null ? null : { rows: rows as Float32Array, labels: labels as Int32Array, count };
    }
  } finally {
    hook.remove();
    for (const [module, training] of modes) module.training = training;
  }
}
