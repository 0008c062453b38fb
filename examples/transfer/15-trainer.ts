/**
 * The same with a Trainer: the loop, the validation, the best weights and a run that can be gone on with are
 * its own.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nn, optim } from '../../src/index.js';
import { Trainer, Unfreezing } from '../../src/train/index.js';
import { RunFolder } from '../../src/train/node/index.js';
import { images, percent, pretrained, runIfScript, type Options } from './common.js';

/** Started again with the same folder, it goes on where it was stopped. */
export async function fineTune(path: string, options: Options) {
  const { train, val, classes } = images(options);
  const epochs = options.epochs ?? 6;
  const model = await pretrained(options);
  model.fc = new nn.Linear(model.fc.inFeatures, classes.length);
  const stages = new Unfreezing(model, { at: [{ epoch: 4, names: ['layer3'] }] }); // the head, then layer3
  const optimizer = new optim.SGD(stages.parameters, { lr: options.lr ?? 0.05, momentum: 0.9 });
  const scheduler = new optim.lrScheduler.CosineAnnealingLR(optimizer, epochs);
  const onEpochStart = (epoch: number) => stages.enter(epoch);
  const trainer = new Trainer({ model, optimizer, scheduler, onEpochStart, changing: stages.changing });

  const folder = await RunFolder.openOrCreate(path); // best.safetensors, history.jsonl, state.pth, ...
  await trainer.resume(folder);
  for await (const event of trainer.fit(train, { epochs, validation: val, folder }))
    if (event.type === 'epoch') console.log(`epoch ${event.report.epoch}: loss ${event.report.loss}`);
  await folder.loadBest(model);
  await folder.close();
  return trainer;
}

export async function main(options: Options = {}) {
  const path = await mkdtemp(join(tmpdir(), 'kindling-'));
  const trainer = await fineTune(path, options);
  const { accuracy } = await trainer.evaluate(images(options).val);
  console.log(`accuracy of the best weights, of epoch ${trainer.best?.epoch}: ${percent(accuracy ?? 0)}`);
  await rm(path, { recursive: true });
  return { model: trainer.model, history: trainer.history, best: trainer.best, accuracy };
}

await runIfScript(import.meta.url, main);
