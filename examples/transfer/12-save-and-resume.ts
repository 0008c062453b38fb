/**
 * Saving: state dicts in PyTorch's file format, the best weights so far, and a run that stops and goes on as
 * if it had not.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formats, nn, optim } from '../../src/index.js';
import { saveTorch } from '../../src/node.js';
import {
  accuracy,
  images,
  percent,
  pretrained,
  runIfScript,
  trainEpoch,
  type Images,
  type Options,
} from './common.js';

async function start(options: Options, data: Images) {
  const model = await pretrained(options);
  model.requiresGrad_(false);
  model.fc = new nn.Linear(model.fc.inFeatures, data.classes.length);
  nn.init.zeros_(model.fc.weight); // so that both runs begin alike
  nn.init.zeros_(model.fc.bias!);
  model.eval();
  const optimizer = new optim.Adam(model.fc.parameters(), { lr: options.lr ?? 0.02 });
  return { model, optimizer, scheduler: new optim.lrScheduler.StepLR(optimizer, 1, { gamma: 0.7 }) };
}

export async function main(options: Options = {}) {
  const epochs = options.epochs ?? 4;
  const folder = await mkdtemp(join(tmpdir(), 'kindling-'));
  const path = join(folder, 'half-way.pth');

  const data = images(options);
  const { model, optimizer, scheduler } = await start(options, data);
  let [best, bestWeights] = [-1, nn.deepcopy(model)]; // best_model_wts = copy.deepcopy(model.state_dict())
  for (let epoch = 0; epoch < epochs; epoch++) {
    await trainEpoch(model, data, optimizer);
    scheduler.step();
    const score = await accuracy(model, data);
    console.log(`epoch ${epoch + 1}: ${percent(score)}${score > best ? ', the best so far' : ''}`);
    if (score > best) [best, bestWeights] = [score, nn.deepcopy(model)];
    if (epoch + 1 === Math.floor(epochs / 2)) {
      // torch.save({'model': model.state_dict(), ...}, path); torch.load reads the file.
      await saveTorch(path, {
        epoch,
        loader: data.train.epoch,
        model: model.stateDict(),
        optimizer: optimizer.stateDict(),
        scheduler: scheduler.stateDict(),
      });
    }
  }

  // Another process would begin here.
  const saved = (await formats.loadValue(path)) as Map<string, unknown>;
  const again = images(options);
  const resumed = await start(options, again);
  await resumed.model.loadStateDict(saved.get('model') as Map<string, formats.HostTensor>);
  await resumed.optimizer.loadStateDict(saved.get('optimizer'));
  resumed.scheduler.loadStateDict(saved.get('scheduler') as Map<string, unknown>);
  again.train.epoch = saved.get('loader') as number; // the same shuffles as the unbroken run
  for (let epoch = (saved.get('epoch') as number) + 1; epoch < epochs; epoch++) {
    await trainEpoch(resumed.model, again, resumed.optimizer);
    resumed.scheduler.step();
  }
  await rm(folder, { recursive: true });

  const [one, other] = [await model.fc.weight.data(), await resumed.model.fc.weight.data()];
  const same = one.every((value, i) => value === other[i]);
  model.loadStateDict(bestWeights.stateDict());
  const restored = await accuracy(model, data);
  console.log(
    `resumed after epoch ${Math.floor(epochs / 2)}: the weights are ${same ? 'the same, bit for bit' : 'different'}`,
  );
  console.log(`best weights restored: ${percent(restored)}`);
  return { same, best, restored };
}

await runIfScript(import.meta.url, main);
