/**
 * Makes weights/shapes-cifar_resnet8.safetensors, the checkpoint that `kindling demo` fine-tunes: a CIFAR
 * ResNet-8 trained on the ten base shapes of ShapesDataset. Every epoch draws new images, so nothing can be
 * learnt by heart. `npm run pretrain -- [epochs] [images per class and epoch] [file]`; about ten minutes on
 * two idle cores.
 */
import { fileURLToPath } from 'node:url';
import { close, data, init, manualSeed, models, optim, runtime, saveWeights } from '../src/index.js';
import { cardMetadata } from '../src/cli/model-card.js';
import { percent } from '../src/cli/output.js';
import { Trainer } from '../src/train/index.js';

const epochs = Number(process.argv[2] ?? 24);
const perClass = Number(process.argv[3] ?? 256);
const file =
  process.argv[4] ?? fileURLToPath(new URL('../weights/shapes-cifar_resnet8.safetensors', import.meta.url));
const [seed, testSeed, batchSize, peakLr, warmup] = [0, 1_000_000, 64, 0.2, 2];

const interrupt = new AbortController();
process.once('SIGINT', () => interrupt.abort());

await init();
manualSeed(seed);
const model = models.cifarResnet8();
const optimizer = new optim.SGD(model.parameters(), {
  lr: peakLr,
  momentum: 0.9,
  nesterov: true,
  weightDecay: 5e-4,
});
const scheduler = new optim.lrScheduler.LambdaLR(optimizer, (epoch) =>
  epoch < warmup
    ? (epoch + 1) / (warmup + 1)
    : 0.5 * (1 + Math.cos((Math.PI * (epoch - warmup)) / (epochs - warmup))),
);
const { mean, std } = data.shapesStatistics;
const normalize = { mean: [...mean], std: [...std] };
const test = new data.ShapesDataset({ classes: 'base', perClass: 100, seed: testSeed, normalize });

const testLoader = new data.DataLoader(test, { batchSize: 100 });

/** New images for every epoch; the last batch is left out where it is not full. */
const images = (epoch: number) => {
  const dataset = new data.ShapesDataset({ classes: 'base', perClass, seed: seed + epoch, normalize });
  const order = new data.Random(seed + epoch).permutation(dataset.length);
  return new data.DataLoader(dataset, { batchSize, sampler: [...order], dropLast: true, seed });
};
const trainer = new Trainer({
  model,
  optimizer,
  scheduler,
  onEpochStart: (epoch) => ({ train: images(epoch) }),
});

const started = performance.now();
const training = trainer.fit(images(1), { epochs, validation: testLoader, signal: interrupt.signal });
for await (const event of training) {
  if (event.type !== 'epoch' || event.validation === null) continue;
  const { report, sums, validation: result } = event;
  const { epoch } = report;
  model.eval();
  const seconds = (performance.now() - started) / 1000;
  console.log(
    `epoch ${epoch}/${epochs}  loss ${report.loss.toFixed(4)}  train ${percent(sums.correct ?? 0, sums.count)}  ` +
      `test ${percent(result.correct ?? 0, result.count)}  ${seconds.toFixed(0)} s`,
  );
  const card = { model: 'cifar_resnet8', classes: test.classes, input: { resize: 32, size: 32, mean, std } };
  const recipe =
    `SGD nesterov, peak learning rate ${peakLr} (${warmup} epochs of warm-up, then a cosine), momentum 0.9, weight decay 5e-4, ` +
    `batch ${batchSize}, ${epoch} of ${epochs} epochs of ${10 * perClass} new images`;
  await saveWeights(model, file, {
    metadata: {
      ...cardMetadata(card),
      recipe,
      seed: String(seed),
      accuracy: `${result.correct}/${result.count} on new images of the same shapes (seed ${testSeed})`,
      adapter: runtime().info.description,
    },
  });
}
close();
