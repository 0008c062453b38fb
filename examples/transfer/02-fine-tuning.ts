/** Fine-tuning: a new head, and everything trains, at a rate small enough to keep what the network knows. */
import { nn, optim } from '../../src/index.js';
import { accuracy, images, percent, pretrained, runIfScript, trainEpoch, type Options } from './common.js';

export async function main(options: Options = {}) {
  const data = images(options);
  const model = await pretrained(options);
  model.fc = new nn.Linear(model.fc.inFeatures, data.classes.length);

  const epochs = options.epochs ?? 4;
  const optimizer = new optim.SGD(model.parameters(), {
    lr: options.lr ?? 0.02,
    momentum: 0.9,
    weightDecay: 1e-4,
  });
  const scheduler = new optim.lrScheduler.CosineAnnealingLR(optimizer, epochs);
  const losses: number[] = [];
  for (let epoch = 0; epoch < epochs; epoch++) {
    model.train(); // batch norms use, and learn from, the new images
    const loss = await trainEpoch(model, data, optimizer);
    scheduler.step();
    losses.push(loss);
    console.log(
      `epoch ${epoch + 1}: loss ${loss.toFixed(4)}, accuracy ${percent(await accuracy(model, data))}`,
    );
  }
  return { model, losses, after: await accuracy(model, data) };
}

await runIfScript(import.meta.url, main);
