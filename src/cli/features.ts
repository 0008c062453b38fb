import { TensorDataset } from '../data/tensor-dataset.js';
import type { HostArray } from '../data/host.js';
import type { Head } from '../models/head.js';
import type { TensorModule } from '../nn/index.js';
import { featureRows } from '../train/features.js';
import { SampleLoader } from './batches.js';
import type { Samples } from './classes.js';
import type { Context } from './context.js';
import { inWordsOf } from './training.js';

/** Features beyond this are not kept. */
const maxBytes = 2 ** 30;

/**
 * What the head of a model is given for every image, as samples; what could not be read has none.
 *
 * @returns null where training the head on it would not be the same (the head's output is not the model's) or
 * would need too much memory
 * @throws Interrupted after Ctrl-C
 */
export async function trunkFeatures(
  { output, signal }: Context,
  model: TensorModule,
  head: Head,
  images: Samples,
  { batchSize, label, amp }: { readonly batchSize: number; readonly label: string; readonly amp?: boolean },
): Promise<Samples | null> {
  const count = images.dataset.length;
  const width = head.inFeatures;
  if (count * width * 4 > maxBytes) return null;
  const features = new Float32Array(count * width);
  const loader = new SampleLoader(images, { batchSize });
  const bar = output.progress(label, count);
  try {
    for await (const part of featureRows(model, loader, { head, amp, signal })) {
      if (part === null) return null;
      loader.indices.forEach((index, i) =>
        features.set(part.rows.subarray(i * width, (i + 1) * width), index * width),
      );
      bar.advance(part.count);
    }
  } catch (error) {
    throw inWordsOf(error, signal, loader);
  } finally {
    bar.stop();
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
