/**
 * Trains a small network by a Trainer, on this rank's part of the samples, and prints on each rank as JSON what it
 * has come to. Arguments: the run's folder, the epochs, and what is unusual: `uneven` loaders, `spare` parameters
 * that no rank uses, or the epoch after which rank 1 is told to stop.
 */
import * as k from 'kindling';
import * as distributed from 'kindling/distributed';
import { Accuracy } from 'kindling/metrics';
import { Trainer } from 'kindling/train';
import { RunFolder } from 'kindling/train/node';

const [path = '', epochs = '3', how = ''] = process.argv.slice(2);
await k.init();
const { rank, worldSize } = await distributed.init();
k.manualSeed(3);
const { nn } = k;
const points = (/** @type {number} */ count, /** @type {number} */ seed) => {
  const random = new k.data.Random(seed);
  const at = Float32Array.from({ length: 2 * count }, () => 2 * random.float() - 1);
  const labels = Int32Array.from({ length: count }, (_, i) =>
    Math.hypot(at[2 * i] ?? 0, at[2 * i + 1] ?? 0) < 0.6 ? 0 : 1,
  );
  return new k.data.TensorDataset({ data: at, shape: [count, 2] }, { data: labels, shape: [count] });
};
const [samples, others] = [points(48, 1), points(29, 2)];
const sampler = new distributed.DistributedSampler(samples);
const part =
  how === 'uneven' && rank === 1
    ? Array.from({ length: 12 }, (_, i) => i)
    : /** @type {typeof sampler} */ (sampler);
const train = new k.data.DataLoader(samples, { batchSize: 12 / worldSize, sampler: part });
const validation = new k.data.DataLoader(others, {
  batchSize: 5,
  sampler: new distributed.UnrepeatedDistributedSampler(others),
});
const net = new nn.Sequential(new nn.Linear(2, 8), new nn.Tanh(), new nn.Linear(8, 2));
if (how === 'spare') net.registerParameter('spare', new nn.Parameter(k.zeros(2)));
const model = new distributed.DistributedDataParallel(net, { findUnusedParameters: how === 'spare' });
const optimizer = new k.optim.SGD(model.parameters(), { lr: 0.2, momentum: 0.9 });
const ending = new AbortController();
const trainer = new Trainer({
  model,
  optimizer,
  metrics: { accuracy: new Accuracy({ numClasses: 2 }) },
  ema: 0.9,
  clipGradNorm: 1,
  earlyStopping: new k.optim.EarlyStopping({ patience: 5 }),
  onEpochStart: (epoch) => {
    sampler.setEpoch(epoch);
    if (rank === 1 && how === String(epoch - 1)) ending.abort();
  },
});
const folder = rank === 0 && path !== '' ? await RunFolder.openOrCreate(path) : null;
if (path !== '') await trainer.resume(folder);
const result = await trainer.fit(train, {
  epochs: Number(epochs),
  validation,
  folder,
  signal: ending.signal,
});
await folder?.close();
let bits = 0;
for (const parameter of net.parameters())
  for (const word of new Int32Array((await parameter.data()).slice().buffer))
    bits = (Math.imul(bits, 31) + word) | 0;
console.log(
  JSON.stringify({
    ...{ rank, bits, interrupted: result.interrupted, batches: result.sums.batches },
    epochs: result.epochs.map((report) => ({ ...report, seconds: 0 })),
  }),
);
