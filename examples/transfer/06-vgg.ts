/** VGG: freeze `features`, replace the last layer of `classifier` by its index. */
import { models, nn, optim } from '../../src/index.js';
import { images, runIfScript, trainEpoch, type Options } from './common.js';

const numClasses = 10;

export async function main(options: Options = {}) {
  // Without weights a fresh VGG-11, whose 123 million parameters take half a gigabyte; images of 32x32 are
  // the least it takes.
  const { weights } = options;
  const model = weights === undefined ? models.vgg11() : await models.vgg16({ weights });

  for (const p of model.features.parameters()) p.requiresGrad = false;
  for (const p of model.classifier.parameters()) p.requiresGrad = false;
  model.classifier[6] = new nn.Linear(4096, numClasses);
  console.log(String(model.classifier));

  const optimizer = new optim.SGD(
    model.parameters().filter((p) => p.requiresGrad),
    { lr: options.lr ?? 0.1, momentum: 0.9 },
  );
  model.eval(); // no dropout, so that a few images show it learns
  const data = images(options, 10, 2);
  const losses: number[] = [];
  for (let epoch = 0; epoch < (options.epochs ?? 5); epoch++) {
    losses.push(await trainEpoch(model, data, optimizer));
    console.log(`epoch ${epoch + 1}: loss ${losses.at(-1)?.toFixed(4)}`);
  }
  const withGrad = model.namedParameters().filter(([, p]) => p.grad !== null);
  console.log(`gradients were made for: ${withGrad.map(([name]) => name).join(', ')}`);
  return { model, losses, withGrad: withGrad.map(([name]) => name) };
}

await runIfScript(import.meta.url, main);
