import { autocast } from '../amp/index.js';
import { noGrad } from '../index.js';
import { TensorDataset } from '../data/tensor-dataset.js';
import type { HostArray } from '../data/host.js';
import type { Head } from '../models/head.js';
import type { TensorModule } from '../nn/index.js';
import type { Tensor } from '../tensor/tensor.js';
import { batchesOf } from './batches.js';
import type { Samples } from './classes.js';
import { checkInterrupted, type Context } from './context.js';

/** Features beyond this are not kept. */
const maxBytes = 2 ** 30;

/**
 * What the head of a model is given for every image. A frozen trunk in evaluation mode gives the same
 * features in every epoch, so running it once and training the head on what it gave is the same computation,
 * done once.
 *
 * @returns the features with the images' labels, or null where that would not be the same (the head's output
 * is not the model's) or would need too much memory
 * @throws Interrupted after Ctrl-C
 */
export async function trunkFeatures(
  context: Context,
  model: TensorModule,
  head: Head,
  images: Samples,
  options: { readonly batchSize: number; readonly label: string; readonly amp?: boolean },
): Promise<Samples | null> {
  const count = images.dataset.length;
  const width = head.inFeatures;
  if (count * width * 4 > maxBytes) return null;
  const features = new Float32Array(count * width);
  const seen: { input?: Tensor; output?: Tensor } = {};
  const hook = head.layer.registerForwardHook((_, [input], output) => {
    Object.assign(seen, { input, output });
  });
  const bar = context.output.progress(options.label, count);
  try {
    for await (const { inputs, targets, indices } of batchesOf(images, { batchSize: options.batchSize })) {
      checkInterrupted(context);
      const logits = noGrad(() => autocast({ enabled: options.amp === true }, () => model(inputs)));
      const { input, output } = seen;
      const usable = output === logits && input?.ndim === 2 && input.shape[0] === indices.length;
      if (usable) {
        const rows = (await input.data()) as Float32Array;
        indices.forEach((index, i) => features.set(rows.subarray(i * width, (i + 1) * width), index * width));
      }
      for (const tensor of [inputs, targets, logits, input]) tensor?.dispose();
      if (!usable) return null;
      bar.advance(indices.length);
    }
  } finally {
    bar.stop();
    hook.remove();
  }
  return rowsOf({ data: features, shape: [count, width] }, images);
}

/** Rows of features as samples; images that could not be read have none. */
function rowsOf(features: HostArray<Float32Array>, { labels, skipped }: Samples): Samples {
  const rows = new TensorDataset(features, { data: labels, shape: [labels.length] });
  const { getBatch } = rows;
  const get = (index: number): [HostArray<Float32Array>, number] => [
    rows.get(index)[0] as HostArray<Float32Array>,
    labels[index] ?? 0,
  ];
  return {
    labels,
    ...(skipped && { skipped }),
    dataset: {
      length: rows.length,
      get: (index) => (skipped?.(index) === undefined ? get(index) : null),
      // A batch that is built at once has no gaps.
      ...(skipped === undefined && {
        getBatch: (indices: readonly number[]) =>
          getBatch.call(rows, indices) as unknown as [HostArray<Float32Array>, HostArray],
      }),
    },
  };
}
