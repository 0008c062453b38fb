import { noGrad } from '../index.js';
import { DataLoader } from '../data/loader.js';
import { TensorDataset } from '../data/tensor-dataset.js';
import type { HostArray } from '../data/host.js';
import type { Head } from '../models/head.js';
import type { TensorModule } from '../nn/index.js';
import type { Tensor } from '../tensor/tensor.js';
import type { LabelledImages } from './classes.js';
import { checkInterrupted, type Context } from './context.js';
import type { Labelled } from './training.js';

/** Features beyond this are not kept. */
const maxBytes = 2 ** 30;

/**
 * What the head of a model is given for every image. A frozen trunk in evaluation mode gives the same features in every
 * epoch, so running it once and training the head on what it gave is the same computation, done once.
 *
 * @returns the features with the images' labels, or null where that would not be the same (the head's output is not the
 * model's) or would need too much memory
 * @throws Interrupted after Ctrl-C
 */
export async function trunkFeatures(
  context: Context,
  model: TensorModule,
  head: Head,
  images: LabelledImages,
  options: { readonly batchSize: number; readonly label: string },
): Promise<Labelled | null> {
  const count = images.dataset.length;
  const width = head.layer.inFeatures;
  if (count * width * 4 > maxBytes) return null;
  const features = new Float32Array(count * width);
  const seen: { input?: Tensor; output?: Tensor } = {};
  const hook = head.layer.registerForwardHook((_, [input], output) => {
    Object.assign(seen, { input, output });
  });
  const bar = context.output.progress(options.label, count);
  try {
    let at = 0;
    for await (const [inputs, targets] of new DataLoader(images.dataset, { batchSize: options.batchSize })) {
      checkInterrupted(context);
      const logits = noGrad(() => model(inputs));
      const { input, output } = seen;
      const rows = inputs.shape[0] ?? 0;
      const usable = output === logits && input?.ndim === 2 && input.shape[0] === rows;
      if (usable) features.set((await input.data()) as Float32Array, at * width);
      for (const tensor of [inputs, targets, logits, input]) tensor?.dispose();
      if (!usable) return null;
      at += rows;
      bar.advance(rows);
    }
  } finally {
    bar.stop();
    hook.remove();
  }
  const inputs: HostArray<Float32Array> = { data: features, shape: [count, width] };
  const labels: HostArray<Int32Array> = { data: images.labels, shape: [count] };
  return rowsOf(inputs, labels);
}

/** Rows of features with their labels as samples. */
function rowsOf(inputs: HostArray<Float32Array>, labels: HostArray<Int32Array>): Labelled {
  const rows = new TensorDataset(inputs, labels);
  const { getBatch } = rows;
  return {
    length: rows.length,
    get: (index) => {
      const [row, label] = rows.get(index);
      return [row as HostArray<Float32Array>, label.data[0] ?? 0];
    },
    getBatch: (indices) => getBatch.call(rows, indices) as unknown as [HostArray, HostArray],
  };
}
