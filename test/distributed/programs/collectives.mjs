/** Each collective, checked against what the ranks' numbers say; prints a line per rank. */
import assert from 'node:assert/strict';
import * as k from 'kindling';
import * as distributed from 'kindling/distributed';

await k.init();
const { rank, worldSize } = await distributed.init();
const sum = (worldSize * (worldSize + 1)) / 2;

const x = k.full([3, 2], rank + 1);
await distributed.allReduce(x);
assert.deepEqual(await x.toArray(), Array(3).fill(Array(2).fill(sum)));

const mean = k.full([2], rank + 1, { dtype: 'float32' });
await distributed.allReduce(mean, { op: 'avg' });
assert.deepEqual(await mean.toArray(), Array(2).fill(sum / worldSize));

const counts = k.tensor([rank, 5], { dtype: 'int32' });
await distributed.allReduce(counts, { op: 'max' });
assert.deepEqual(await counts.toArray(), [worldSize - 1, 5]);

const all = await distributed.allGather(k.tensor([rank, -rank]));
assert.deepEqual(
  await Promise.all(all.map((y) => y.toArray())),
  Array.from({ length: worldSize }, (_, r) => [r, -r]),
);

const told = k.full([4], rank);
await distributed.broadcast(told, worldSize - 1);
assert.deepEqual(await told.toArray(), Array(4).fill(worldSize - 1));

const part = await distributed.reduceScatter(k.arange(2 * worldSize).mul(rank + 1));
assert.deepEqual(await part.toArray(), [2 * rank * sum, (2 * rank + 1) * sum]);

const half = k.full([2], 0.5 + rank).half();
await distributed.allReduce(half);
assert.equal(half.dtype, 'float16');
assert.deepEqual(
  await half.float().toArray(),
  Array(2).fill(0.5 * worldSize + (worldSize * (worldSize - 1)) / 2),
);

assert.deepEqual(
  await distributed.allGatherObject({ rank, text: 'x'.repeat(rank) }),
  Array.from({ length: worldSize }, (_, r) => ({ rank: r, text: 'x'.repeat(r) })),
);
assert.equal(await distributed.broadcastObject(`from ${rank}`, 1), 'from 1');
await distributed.barrier();
console.log(`rank ${rank} of ${worldSize} is done`);
