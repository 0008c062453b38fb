/**
 * Trains a small network on this rank's part of each batch, as one process would on all of it: prints losses and a
 * checksum of the weights as JSON. `--single` does the latter.
 */
import * as k from 'kindling';
import * as distributed from 'kindling/distributed';

const steps = Number(process.argv[2] ?? 20);
await k.init();
const { rank, worldSize } = await distributed.init();
// Different on every rank: rank 0's weights count.
k.manualSeed(7 + rank);
const { nn } = k;
const net = new nn.Sequential(
  new nn.Conv2d(3, 8, 3),
  new nn.GroupNorm(2, 8),
  new nn.ReLU(),
  new nn.AdaptiveAvgPool2d(1),
  new nn.Flatten(),
  new nn.Linear(8, 4),
);
const model = new distributed.DistributedDataParallel(net, { bucketCapMb: 0.0005 });
const optimizer = new k.optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9 });
const batch = 12;
const share = batch / worldSize;
const losses = [];
for (let step = 0; step < steps; step++) {
  const values = Float32Array.from({ length: batch * 3 * 64 }, (_, i) => Math.sin(i * (step + 1)));
  const images = k.tensor(values, { shape: [batch, 3, 8, 8] });
  const labels = k.tensor(
    Array.from({ length: batch }, (_, i) => (i * 7 + step) % 4),
    { dtype: 'int32' },
  );
  /** @param {k.Tensor} x */
  const part = (x) => x.narrow(0, rank * share, share);
  optimizer.zeroGrad();
  const loss = nn.functional.crossEntropy(model(part(images)), part(labels));
  loss.backward();
  optimizer.step();
  const mean = loss.detach().clone();
  await distributed.allReduce(mean, { op: 'avg' });
  losses.push(await mean.item());
}
let bits = 0;
for (const parameter of model.parameters())
  for (const word of new Int32Array((await parameter.data()).slice().buffer))
    bits = (Math.imul(bits, 31) + word) | 0;
console.log(JSON.stringify({ rank, bits, losses, traffic: distributed.traffic() }));
