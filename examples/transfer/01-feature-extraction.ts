/** Feature extraction: freeze a pretrained network, put a new head on it, and train the head alone. */
import { nn, optim } from '../../src/index.js';
import { accuracy, images, percent, pretrained, runIfScript, type Options } from './common.js';

export async function main(options: Options = {}) {
  const data = images(options);
  const model = await pretrained(options);

  model.requiresGrad_(false); // for p in model.parameters(): p.requires_grad = False
  model.fc = new nn.Linear(model.fc.inFeatures, data.classes.length); // new layers require grad
  const before = await accuracy(model, data);

  const criterion = new nn.CrossEntropyLoss();
  const optimizer = new optim.SGD(model.fc.parameters(), { lr: options.lr ?? 0.1, momentum: 0.9 });
  model.eval(); // the frozen batch norms keep their running statistics
  const losses: number[] = [];
  for (let epoch = 0; epoch < (options.epochs ?? 5); epoch++) {
    let sum = 0;
    for await (const [inputs, labels] of data.train) {
      optimizer.zeroGrad();
      const loss = criterion(model(inputs), labels);
      loss.backward(); // runs through the head only: nothing below it requires grad
      optimizer.step();
      sum += await loss.item();
    }
    losses.push(sum / data.train.length);
    console.log(`epoch ${epoch + 1}: loss ${(sum / data.train.length).toFixed(4)}`);
  }
  const after = await accuracy(model, data);
  console.log(`accuracy on ${data.classes.join(', ')}: ${percent(before)} before, ${percent(after)} after`);
  return { model, losses, before, after };
}

await runIfScript(import.meta.url, main);
