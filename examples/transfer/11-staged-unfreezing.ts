/**
 * Staged unfreezing: the head first, then the last stage at a tenth of its rate, each group on the same
 * schedule.
 */
import { nn, optim } from '../../src/index.js';
import { accuracy, images, percent, pretrained, runIfScript, trainEpoch, type Options } from './common.js';

export async function main(options: Options = {}) {
  const data = images(options);
  const model = await pretrained(options);
  model.requiresGrad_(false);
  model.fc = new nn.Linear(model.fc.inFeatures, data.classes.length);
  model.eval();

  const epochs = options.epochs ?? 4;
  const optimizer = new optim.SGD(model.fc.parameters(), { lr: options.lr ?? 0.05, momentum: 0.9 });
  const scheduler = new optim.lrScheduler.CosineAnnealingLR(optimizer, epochs, { etaMin: 1e-4 });
  const history: { loss: number; rates: readonly number[]; trainable: number }[] = [];
  for (let epoch = 0; epoch < epochs; epoch++) {
    if (epoch === Math.floor(epochs / 2)) {
      model.layer3.requiresGrad_();
      optimizer.addParamGroup({ params: model.layer3.parameters(), lr: optimizer.paramGroups[0]!.lr / 10 });
      console.log('layer3 thaws');
    }
    const rates = optimizer.paramGroups.map((group) => group.lr);
    const loss = await trainEpoch(model, data, optimizer);
    scheduler.step();
    history.push({ loss, rates, trainable: model.parameters().filter((p) => p.requiresGrad).length });
    console.log(
      `epoch ${epoch + 1}: loss ${loss.toFixed(4)}, rates ${rates.map((rate) => rate.toPrecision(3)).join(' and ')}`,
    );
  }
  const after = await accuracy(model, data);
  console.log(`accuracy ${percent(after)}`);
  return { model, history, after };
}

await runIfScript(import.meta.url, main);
