/**
 * Cached features: a frozen trunk says the same in every epoch, so it is run once and the head trains on what
 * it said.
 */
import { argmax, cat, data, nn, noGrad, optim, synchronize, type Tensor } from '../../src/index.js';
import { images, percent, pretrained, runIfScript, type Options } from './common.js';

type Loader = AsyncIterable<[Tensor, Tensor]>;

/** Everything that `trunk` makes of the images, and the labels. */
async function extract(trunk: nn.TensorModule, loader: Loader): Promise<[Tensor, Tensor]> {
  const [features, labels]: [Tensor[], Tensor[]] = [[], []];
  for await (const [inputs, targets] of loader) {
    features.push(noGrad(() => trunk(inputs)));
    labels.push(targets);
  }
  return [cat(features), cat(labels)];
}

export async function main(options: Options = {}) {
  const { train, val, classes } = images(options);
  const model = (await pretrained(options)).eval();
  const { inFeatures } = model.fc;
  model.fc = new nn.Identity();

  let started = performance.now();
  const seconds = (): string => `${((performance.now() - started) / 1000).toFixed(2)} s`;
  const [features, labels] = await extract(model, train);
  const [testFeatures, testLabels] = await extract(model, val);
  await synchronize(); // only to time it: nothing else waits for the GPU here
  console.log(`${features.shape[0]} + ${testFeatures.shape[0]} images through the trunk: ${seconds()}`);

  const head = new nn.Linear(inFeatures, classes.length);
  const optimizer = new optim.AdamW(head.parameters(), { lr: options.lr ?? 0.02 });
  const criterion = new nn.CrossEntropyLoss({ labelSmoothing: 0.05 });
  const loader = new data.DataLoader(new data.TensorDataset(features, labels), {
    batchSize: 20,
    shuffle: true,
    seed: 1,
  });
  const epochs = options.epochs ?? 20;
  started = performance.now();
  const losses: number[] = [];
  for (let epoch = 0; epoch < epochs; epoch++) {
    let last: Tensor | undefined;
    for await (const [inputs, targets] of loader as Loader) {
      optimizer.zeroGrad();
      last = criterion(head(inputs), targets);
      last.backward();
      optimizer.step();
    }
    losses.push((await last?.item()) ?? NaN);
  }
  console.log(`${epochs} epochs of the head: ${seconds()}`);

  model.fc = head; // the whole network again
  const hits = noGrad(() => argmax(head(testFeatures), 1).eq(testLabels).sum());
  const after = (await hits.item()) / (testLabels.shape[0] ?? 1);
  console.log(`accuracy ${percent(after)}`);
  return { model, losses, after };
}

await runIfScript(import.meta.url, main);
