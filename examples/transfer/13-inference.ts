/** Inference: `eval()` and `noGrad()`, probabilities, and the names of the classes. */
import { autograd, data, models, noGrad, softmax, topk, type Tensor } from '../../src/index.js';
import { ImageFolder } from '../../src/node.js';
import { percent, pretrained, runIfScript, shapes, type Options } from './common.js';

/** Images as `[3, H, W]` arrays with what they show, and the names of the model's outputs. */
async function pictures({ data: folder, model = 'resnet18' }: Options) {
  if (folder === undefined) {
    const drawn = shapes('base', 2, 5000);
    return { dataset: drawn, shown: drawn.classes, names: drawn.classes };
  }
  const entry = await models.getWeight('DEFAULT', model);
  const dataset = new ImageFolder(folder, { transform: entry.transforms() });
  return { dataset, shown: dataset.classes, names: await entry.categories() };
}

export async function main(options: Options = {}) {
  const model = (await pretrained(options)).eval(); // dropout off, batch norm by its running statistics
  const { dataset, shown, names } = await pictures(options);
  const before = autograd.recordedNodes();
  const guesses: { shown: string; guess: string; probability: number }[] = [];
  const loader = new data.DataLoader(dataset as data.Dataset<[data.HostArray, number]>, { batchSize: 20 });
  for await (const [inputs, labels] of loader as AsyncIterable<[Tensor, Tensor]>) {
    const [values, indices] = noGrad(() => topk(softmax(model(inputs), 1), 3));
    const [probabilities, classes, truth] = await Promise.all([values.data(), indices.data(), labels.data()]);
    truth.forEach((label: number, row: number) => {
      const top = [0, 1, 2].map(
        (k) => `${names[classes[3 * row + k]!]} ${percent(probabilities[3 * row + k]!)}`,
      );
      console.log(`${shown[label]!.padEnd(10)} ${top.join(', ')}`);
      guesses.push({
        shown: shown[label]!,
        guess: names[classes[3 * row]!]!,
        probability: probabilities[3 * row]!,
      });
    });
  }
  const recorded = autograd.recordedNodes() - before;
  console.log(`${recorded} operations were recorded for backward`);
  return { guesses, recorded };
}

await runIfScript(import.meta.url, main);
