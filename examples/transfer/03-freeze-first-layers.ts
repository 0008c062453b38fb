/** Freezing the first N children: edges and textures stay, what is special to the old classes moves on. */
import { nn, optim } from '../../src/index.js';
import { accuracy, images, percent, pretrained, runIfScript, trainEpoch, type Options } from './common.js';

const frozenChildren = 5; // conv1, bn1, relu, (maxpool,) layer1, (layer2)

export async function main(options: Options = {}) {
  const data = images(options);
  const model = await pretrained(options);
  model.fc = new nn.Linear(model.fc.inFeatures, data.classes.length);

  const frozen = model.children().slice(0, frozenChildren);
  for (const child of frozen) child.requiresGrad_(false);
  for (const [name, child] of model.namedChildren()) {
    const weights = child.parameters();
    const state = weights.length === 0 ? 'no weights' : weights[0]?.requiresGrad ? 'trains' : 'frozen';
    console.log(`${name.padEnd(8)} ${child.constructor.name.padEnd(18)} ${state}`);
  }

  const optimizer = new optim.SGD(
    model.parameters().filter((p) => p.requiresGrad),
    { lr: options.lr ?? 0.02, momentum: 0.9 },
  );
  const losses: number[] = [];
  for (let epoch = 0; epoch < (options.epochs ?? 4); epoch++) {
    model.train();
    for (const child of frozen) child.eval(); // or their batch norms' statistics would still move
    losses.push(await trainEpoch(model, data, optimizer));
  }
  const after = await accuracy(model, data);
  console.log(`loss ${losses.map((loss) => loss.toFixed(3)).join(' -> ')}, accuracy ${percent(after)}`);
  return {
    model,
    frozen: model
      .namedChildren()
      .slice(0, frozenChildren)
      .map(([name]) => name),
    losses,
    after,
  };
}

await runIfScript(import.meta.url, main);
