/**
 * What to give the optimizer when part of the network is frozen: what requires grad, or everything. It is the
 * same.
 */
import { nn, optim, type Tensor } from '../../src/index.js';
import { images, pretrained, runIfScript, trainEpoch, type Options } from './common.js';

const optimizers: Record<string, (params: Tensor[]) => optim.Optimizer> = {
  RMSprop: (params) => new optim.RMSprop(params, { lr: 1e-3 }),
  SGD: (params) => new optim.SGD(params, { lr: 0.05, momentum: 0.9 }),
  Adam: (params) => new optim.Adam(params, { lr: 1e-2 }),
};

export async function main(options: Options = {}) {
  const model = await pretrained(options);
  model.requiresGrad_(false);
  model.fc = new nn.Linear(model.fc.inFeatures, images(options).classes.length);

  const results: { name: string; filtered: number; everything: number; same: boolean }[] = [];
  for (const [name, make] of Object.entries(optimizers)) {
    const runs = [];
    for (const choose of [(p: nn.Parameter) => p.requiresGrad, () => true]) {
      const copy = nn.deepcopy(model).eval();
      const optimizer = make(copy.parameters().filter(choose));
      let loss = NaN;
      // A loader of its own: the same order of images for both.
      const data = images(options);
      for (let epoch = 0; epoch < (options.epochs ?? 1); epoch++)
        loss = await trainEpoch(copy, data, optimizer);
      runs.push({ loss, weights: await copy.fc.weight.data(), stateful: optimizer.state.size });
    }
    const [filtered, everything] = runs;
    if (filtered === undefined || everything === undefined) continue;
    const same = filtered.weights.every((value, i) => value === everything.weights[i]);
    results.push({ name, filtered: filtered.loss, everything: everything.loss, same });
    console.log(
      `${name.padEnd(8)} loss ${filtered.loss.toFixed(4)} given what requires grad, ${everything.loss.toFixed(4)} given everything; ` +
        `the weights are ${same ? 'the same, bit for bit' : 'different'}; ` +
        `state is kept for ${filtered.stateful} and ${everything.stateful} parameters`,
    );
  }
  return results;
}

await runIfScript(import.meta.url, main);
