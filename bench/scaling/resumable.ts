/**
 * A training on several ranks that can be killed: `resumable FOLDER STEPS EVERY [PAUSE]` goes on from FOLDER's
 * checkpoint, if there is one, and writes one every so many steps. Dropout, SyncBatchNorm, Adam, a schedule
 * and shuffled parts: whatever is lost on the way shows in the losses (`step NUMBER BITS`) and in the weights'
 * bits, the last line.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import * as k from '../../src/index.js';
import * as distributed from '../../src/distributed/index.js';
import { loadValue, saveTorch } from '../../src/formats/index.js';

export interface ResumableResult {
  readonly rank: number;
  /** Of all weights and running statistics, as hexadecimal words, hashed. */
  readonly bits: number;
}

const [folder = '', steps, every] = process.argv.slice(2);
const [count, interval] = [Number(steps), Number(every)];
console.log(`pid ${process.pid}`);
await k.init();
const { rank } = await distributed.init();
k.manualSeed(11 + rank);
const { nn } = k;
const net = distributed.SyncBatchNorm.convertSyncBatchnorm(
  new nn.Sequential(
    new nn.Conv2d(3, 8, 3),
    new nn.BatchNorm2d(8),
    new nn.ReLU(),
    new nn.AdaptiveAvgPool2d(2),
    new nn.Flatten(),
    new nn.Dropout(0.2),
    new nn.Linear(32, 4),
  ),
);
const model = new distributed.DistributedDataParallel(net, { bucketCapMb: 0.0005 });
const optimizer = new k.optim.Adam(model.parameters(), { lr: 0.01 });
const scheduler = new k.optim.lrScheduler.CosineAnnealingLR(optimizer, count);

const size = 8;
const samples = 36;
const batch = 4;
const pixels = 3 * size * size;
const sampler = new distributed.DistributedSampler({ length: samples }, { seed: 5 });
const perEpoch = Math.ceil(sampler.length / batch);

function batchAt(step: number): { images: k.Tensor; labels: k.Tensor } {
  sampler.setEpoch(Math.floor(step / perEpoch));
  const at = (step % perEpoch) * batch;
  const chosen = [...sampler].slice(at, at + batch);
  const values = chosen.flatMap((i) =>
    Array.from({ length: pixels }, (_, j) => Math.sin(i * 1.7 + j * (1 + (i % 4)))),
  );
  return {
    images: k.tensor(Float32Array.from(values), { shape: [chosen.length, 3, size, size] }),
    labels: k.tensor(
      chosen.map((i) => i % 4),
      { dtype: 'int32' },
    ),
  };
}

const path = join(folder, 'state.pth');

async function save(step: number): Promise<void> {
  const random = await distributed.allGatherObject(k.getRngState());
  if (rank !== 0) return;
  await saveTorch(path, {
    model: net.stateDict(),
    optimizer: optimizer.stateDict(),
    scheduler: scheduler.stateDict(),
    step,
    random: JSON.stringify(random),
  });
  console.log(`saved ${step}`);
}

async function resume(): Promise<number> {
  if (!existsSync(path)) return 0;
  const saved = (await loadValue(path)) as unknown as ReadonlyMap<string, never>;
  const get = (key: string): never => {
    const value = saved.get(key);
    if (value === undefined) throw new Error(`${path} has no '${key}'`);
    return value;
  };
  net.loadStateDict(get('model'));
  await optimizer.loadStateDict(get('optimizer'));
  scheduler.loadStateDict(get('scheduler'));
  k.setRngState((JSON.parse(get('random')) as k.RngState[])[rank] as k.RngState);
  return get('step');
}

const word = new DataView(new ArrayBuffer(4));
const first = await resume();
await distributed.barrier();
console.log(`from ${first}`);
for (let step = first; step < count; step++) {
  const { images, labels } = batchAt(step);
  optimizer.zeroGrad();
  const loss = nn.functional.crossEntropy(model(images), labels);
  loss.backward();
  optimizer.step();
  scheduler.step();
  word.setFloat32(0, await loss.item());
  console.log(`step ${step} ${word.getUint32(0).toString(16)}`);
  if ((step + 1) % interval === 0) await save(step + 1);
}
let bits = 0;
for (const tensor of net.stateDict().values())
  for (const value of new Int32Array((await tensor.data()).slice().buffer))
    bits = (Math.imul(bits, 31) + value) | 0;
await distributed.close();
console.log(JSON.stringify({ rank, bits } satisfies ResumableResult));
process.exit(0);
