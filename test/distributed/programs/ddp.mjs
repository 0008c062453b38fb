/**
 * Trains a small network on this rank's part of each batch, as one process does on all of it: prints losses,
 * a checksum of the weights, and the traffic as JSON. Arguments: steps, the norm (group, batch or sync), and
 * how: `even` or `uneven` parts, `accumulate` over two passes, or a part of the network that some ranks leave
 * out (`unused`). /
 */
import { writeFileSync } from 'node:fs';
import * as k from 'kindling';
import * as distributed from 'kindling/distributed';

const steps = Number(process.argv[2] ?? 20);
const [norm = 'group', how = 'even', start] = process.argv.slice(3);
await k.init();
const { rank, worldSize } = await distributed.init();
console.log(`pid ${rank} ${process.pid}`);
// Different on every rank: rank 0's weights count.
k.manualSeed(7 + rank);
const { nn } = k;
const layers = new nn.Sequential(
  new nn.Conv2d(3, 8, 3),
  norm === 'group' ? new nn.GroupNorm(2, 8) : new nn.BatchNorm2d(8),
  new nn.ReLU(),
  new nn.AdaptiveAvgPool2d(1),
  new nn.Flatten(),
  new nn.Linear(8, 4),
);
const net = norm === 'sync' ? distributed.SyncBatchNorm.convertSyncBatchnorm(layers) : layers;
const aside = new nn.Linear(8, 4);
class WithAside extends nn.Module {
  net = net;
  aside = aside;
  /** @param {k.Tensor} x */
  forward(x) {
    const y = /** @type {typeof layers} */ (this.net)(x);
    // With one process, on the same samples as with several.
    return rank === 0 ? y.add(this.aside(y.detach().repeat(1, 2)).mul(mask)) : y;
  }
}
const batch = 12;
const share = batch / worldSize;
// Uneven: rank 1 has one sample more than rank 0, which has one less.
const shift = how === 'uneven' && worldSize > 1 ? 1 : 0;
const from = rank * share - (rank === 1 ? shift : 0);
const to = (rank + 1) * share - (rank === 0 ? shift : 0);
// The first half belongs to rank 0 of two.
const mask = k.tensor(Array.from({ length: to - from }, (_, i) => [from + i < batch / 2 ? 1 : 0]));
const trained = how === 'unused' ? new WithAside() : net;
const model = new distributed.DistributedDataParallel(trained, {
  bucketCapMb: 0.0005,
  findUnusedParameters: how === 'unused',
});
if (start !== undefined && rank === 0) {
  const values = await Promise.all(
    [...net.stateDict()].map(async ([name, x]) => [name, Array.from(await x.data())]),
  );
  writeFileSync(start, JSON.stringify(Object.fromEntries(values)));
}
const optimizer = new k.optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9 });
const losses = [];
for (let step = 0; step < steps; step++) {
  const values = Float32Array.from({ length: batch * 3 * 64 }, (_, i) => Math.sin(i * (step + 1)));
  const images = k.tensor(values, { shape: [batch, 3, 8, 8] });
  const labels = k.tensor(
    Array.from({ length: batch }, (_, i) => (i * 7 + step) % 4),
    { dtype: 'int32' },
  );
  /** @param {number} first @param {number} end */
  const lossOf = (first, end) => {
    const y = model(images.narrow(0, first, end - first));
    // The mean over ranks of these is the mean over the batch, however it is cut.
    return nn.functional
      .crossEntropy(y, labels.narrow(0, first, end - first), { reduction: 'sum' })
      .mul(worldSize / batch);
  };
  optimizer.zeroGrad();
  let loss;
  if (how === 'accumulate') {
    const middle = from + share / 2;
    const first = model.noSync(() => {
      const half = lossOf(from, middle);
      half.backward();
      return half.detach();
    });
    loss = lossOf(middle, to);
    loss.backward();
    loss = loss.detach().add(first);
  } else {
    loss = lossOf(from, to);
    loss.backward();
  }
  optimizer.step();
  const mean = loss.detach().clone();
  await distributed.allReduce(mean, { op: 'avg' });
  losses.push(await mean.item());
}
let bits = 0;
for (const parameter of [...model.parameters(), ...(norm === 'batch' ? [] : model.buffers())])
  for (const word of new Int32Array((await parameter.data()).slice().buffer))
    bits = (Math.imul(bits, 31) + word) | 0;
console.log(JSON.stringify({ rank, bits, losses, traffic: distributed.traffic() }));
