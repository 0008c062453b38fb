/**
 * A rank of the measurements: `steps MODEL BATCH SIZE STEPS ddp|apart` trains, `sums BYTES,...` sums. Ends its
 * output with a line of JSON.
 */
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import * as k from '../../src/index.js';
import * as distributed from '../../src/distributed/index.js';
import { averaged } from '../../src/distributed/collectives.js';
import { observe, type CollectiveTimes } from '../../src/distributed/observe.js';
import { groupFor } from '../../src/distributed/process.js';
import { median } from '../report.js';
import { meanSplit, splitStep, type Split } from './split.js';

export interface StepsResult extends Split {
  readonly rank: number;
  readonly host: string;
  readonly adapter: string;
  readonly gradientBytes: number;
  /** Given to collectives, per step. */
  readonly mpiBytes: number;
  /** That left by the link, per step, headers and acknowledgements among them; null where there is none. */
  readonly wireBytes: number | null;
}

export interface SumsResult {
  readonly rank: number;
  readonly sums: readonly {
    readonly bytes: number;
    readonly ms: number;
    readonly wireBytes: number | null;
  }[];
}

/** Bytes that have left by the interface of this network namespace that the measurement is about. */
function sentSoFar(): number | null {
  const link = process.env['KINDLING_BENCH_LINK'];
  if (link === undefined) return null;
  const line = readFileSync('/proc/self/net/dev', 'utf8')
    .split('\n')
    .find((text) => text.trimStart().startsWith(`${link}:`));
  if (line === undefined) throw new Error(`there is no interface ${link}`);
  // Eight counters of what was received, then of what was sent.
  return Number(line.split(':')[1]?.trim().split(/\s+/)[8]);
}

const perTurn = (before: number | null, turns: number): number | null =>
  before === null ? null : ((sentSoFar() ?? NaN) - before) / turns;

console.log(`pid ${process.pid}`);
const { rank, worldSize } = await distributed.init({ timeout: 120_000 });

async function steps(
  name: string,
  batch: number,
  size: number,
  count: number,
  how: string,
): Promise<StepsResult> {
  await k.init();
  k.manualSeed(3 + rank);
  const net = k.models.get(name)();
  const model = how === 'ddp' ? new distributed.DistributedDataParallel(net) : net;
  const optimizer = new k.optim.SGD(model.parameters(), { lr: 1e-3, momentum: 0.9 });
  const images = k.randn([batch, 3, size, size]);
  const labels = k.tensor(
    Array.from({ length: batch }, (_, i) => i % 10),
    { dtype: 'int32' },
  );
  let collectives: CollectiveTimes[] = [];
  let averagedAt = NaN;
  if (how === 'ddp')
    observe({
      collective: (times) => collectives.push(times),
      averaged: (at) => (averagedAt = at),
    });
  const step = async (): Promise<Split> => {
    collectives = [];
    const began = performance.now();
    optimizer.zeroGrad();
    const loss = k.nn.functional.crossEntropy(
      (model as k.nn.Module & ((x: k.Tensor) => k.Tensor))(images),
      labels,
    );
    loss.backward();
    optimizer.step();
    await k.synchronize();
    return splitStep({ began, ended: performance.now(), averaged: averagedAt, collectives, rank });
  };
  // Pipelines compile, and pools fill.
  for (let i = 0; i < 3; i++) await step();
  await distributed.barrier();
  console.log('training');
  const [bytes, wire] = [distributed.traffic().bytes, sentSoFar()];
  const splits: Split[] = [];
  for (let i = 0; i < count; i++) splits.push(await step());
  const mpiBytes = (distributed.traffic().bytes - bytes) / count;
  const wireBytes = perTurn(wire, count);
  observe(null);
  const parameters = model.parameters().reduce((sum, parameter) => sum + parameter.numel(), 0);
  return {
    rank,
    host: hostname(),
    adapter: k.runtime().info.device,
    gradientBytes: 4 * parameters,
    mpiBytes,
    wireBytes,
    ...meanSplit(splits),
  };
}

/** From a call, for which all are there, to averages on the host. */
async function sums(sizes: readonly number[]): Promise<SumsResult> {
  const group = groupFor('bench');
  const results = [];
  for (const bytes of sizes) {
    const values = new Float32Array(bytes / 4).fill(rank + 1);
    // About as much time for each size; the same number on all ranks.
    const turns = Math.max(3, Math.min(15, Math.round(2 ** 25 / bytes)));
    const times: number[] = [];
    let before: number | null = null;
    for (let i = -1; i < turns; i++) {
      await distributed.barrier();
      if (i === 0) before = sentSoFar();
      const began = performance.now();
      averaged(await group.allReduce(values, 'float32', 'sum'), 'avg', worldSize);
      if (i >= 0) times.push(performance.now() - began);
    }
    results.push({ bytes, ms: median(times), wireBytes: perTurn(before, turns) });
    if (!(Math.abs((values[0] ?? NaN) - (worldSize + 1) / 2) < 1e-6))
      throw new Error(`wrong sum: ${values[0]}`);
  }
  return { rank, sums: results };
}

const [what, ...args] = process.argv.slice(2);
const [first = '', batch, size, count, how = 'ddp'] = args;
const result =
  what === 'steps'
    ? await steps(first, Number(batch), Number(size), Number(count), how)
    : await sums(first.split(',').map(Number));
await distributed.close();
console.log(JSON.stringify(result));
process.exit(0);
