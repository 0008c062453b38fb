/**
 * The loop that flat-memory.test.ts watches, written as a PyTorch user would write it. Prints a JSON report.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import * as k from '../../src/index.js';
import { batchOf, parts } from './plain-training.js';

const steps = Number(process.argv[2]);

await k.init();
const { model, criterion, optimizer } = parts();
const report = { live: [] as number[], reserved: [] as number[], losses: [] as number[], settled: 0 };

for (let step = 0; step < steps; step++) {
  const { x, y } = batchOf(step, 16, 16);
  optimizer.zeroGrad();
  const out = model(x);
  const loss = criterion(out, y);
  loss.backward();
  optimizer.step();
  report.losses.push(await loss.item());
  const { liveBytes, reservedBytes } = k.memoryStats();
  report.live.push(liveBytes);
  report.reserved.push(reservedBytes);
}
// On a busy machine the collector may not have come to old scalars by itself.
setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
for (let i = 0; i < 3; i++) {
  collect();
  await pause(20);
}
report.settled = k.memoryStats().liveBytes;
console.log(JSON.stringify(report));
