import { TensorDataset } from '../data/tensor-dataset.js';
import type { HostArray } from '../data/host.js';
import type { Head } from '../models/head.js';
import type { TensorModule } from '../nn/index.js';
import { featureRows } from '../train/features.js';
import type { Ranks } from '../train/ranks.js';
import { SampleLoader } from './batches.js';
import type { Samples } from './classes.js';
import type { Context } from './context.js';
import { shareSkipped } from './ranks.js';
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
  context: Context,
  model: TensorModule,
  head: Head,
  images: Samples,
  { batchSize, label, amp }: { readonly batchSize: number; readonly label: string; readonly amp?: boolean },
): Promise<Samples | null> {
  const { output, signal, ranks } = context;
  const count = images.dataset.length;
  const width = head.inFeatures;
  if (count * width * 4 > maxBytes) return null;
  const features = new Float32Array(count * width);
  const loader = new SampleLoader(images, { batchSize, ranks });
  const bar = output.progress(label, ranks === null ? count : Math.ceil(count / ranks.worldSize));
  const seen: number[] = [];
  let usable = true;
  try {
    for await (const part of featureRows(model, loader, { head, amp, signal })) {
      if (part === null) {
        usable = false;
        break;
      }
      seen.push(...loader.indices);
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
  if (ranks !== null) {
    usable = !(await ranks.allGatherObject(usable)).includes(false);
    if (usable) await shareRows(ranks, seen, features, width);
    await shareSkipped(context, images);
  }
  if (!usable) return null;
  return rowsOf({ data: features, shape: [count, width] }, images);
}

/** Bytes that each rank tells at once. */
const pieceBytes = 2 ** 25;

/** Each rank's rows, which are those of `own`, go to all. */
async function shareRows(
  ranks: Ranks,
  own: readonly number[],
  features: Float32Array,
  width: number,
): Promise<void> {
  const rows = Math.max(1, Math.floor(pieceBytes / (4 * width)));
  const most = Math.max(...(await ranks.allGatherObject(own.length)));
  for (let from = 0; from < most; from += rows) {
    const indices = own.slice(from, from + rows);
    const values = new Float32Array(indices.length * width);
    indices.forEach((index, i) =>
      values.set(features.subarray(index * width, (index + 1) * width), i * width),
    );
    for (const piece of await ranks.allGatherObject({ indices, values }))
      piece.indices.forEach((index, i) =>
        features.set(piece.values.subarray(i * width, (i + 1) * width), index * width),
      );
  }
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
