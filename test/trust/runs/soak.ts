/**
 * `npx tsx test/trust/runs/soak.ts [--steps 20000] [--only plain]`: plain training loops that dispose of
 * nothing, for so long that whatever a step leaves behind shows.
 *
 * Printed are slopes by least squares, in bytes (or pieces) per step: each point is the state after a
 * collection of garbage, so that what is only waiting for the collector does not count. The first fifth warms
 * up: pools, plans, V8's compilers.
 */
import { setFlagsFromString } from 'node:v8';
import { fileURLToPath } from 'node:url';
import { runInNewContext } from 'node:vm';
import { parseArgs } from 'node:util';
import * as k from '../../../src/index.js';
import { batchOf, parts } from '../../behaviour/plain-training.js';

const batch = 8;
const side = 8;

/** One step of a loop, numbered from 0; the loss that it came to. */
type Step = (step: number) => Promise<number>;

const pixelsOf = (step: number): { x: k.Tensor; y: k.Tensor } => batchOf(step, batch, side);

/** The loop of PyTorch's tutorials. */
function plain(): Step {
  const { model, criterion, optimizer } = parts();
  return async (step) => {
    const { x, y } = pixelsOf(step);
    optimizer.zeroGrad();
    const loss = criterion(model(x), y);
    loss.backward();
    optimizer.step();
    return loss.item();
  };
}

/** A penalty on the gradient at the input: the backward itself is on the tape. */
function createGraph(): Step {
  const { model, criterion, optimizer } = parts();
  return async (step) => {
    const { x, y } = pixelsOf(step);
    x.requiresGrad_();
    optimizer.zeroGrad();
    const loss = criterion(model(x), y);
    const [slope] = k.autograd.grad(loss, [x], { createGraph: true }) as [k.Tensor];
    const total = loss.add(slope.square().sum().mul(0.1));
    total.backward();
    optimizer.step();
    return total.item();
  };
}

/** Results are collected in a buffer, through views; parameters and statistics are changed in place. */
function inPlace(): Step {
  const { model, criterion, optimizer } = parts();
  const running = k.zeros([2]);
  return async (step) => {
    const { x, y } = pixelsOf(step);
    optimizer.zeroGrad();
    const outputs = k.zeros([batch, 2]);
    const half = batch / 2;
    for (const from of [0, half])
      outputs.slice(0, from, from + half).copy_(model(x.slice(0, from, from + half)));
    outputs.slice(1, 0, 1).mul_(1.01);
    const loss = criterion(outputs, y);
    loss.backward();
    k.noGrad(() => {
      running.mul_(0.9).add_(outputs.detach().mean(0).mul(0.1));
      model.head.weight.mul_(0.9999);
    });
    optimizer.step();
    return loss.item();
  };
}

/** Batches come from a DataLoader, one epoch after another. */
function loader(): Step {
  const { model, criterion, optimizer } = parts();
  const count = 64;
  const rows = Float32Array.from({ length: count * 3 * side * side }, (_, i) => Math.sin(i * 0.37));
  const labels = Int32Array.from({ length: count }, (_, i) => i % 2);
  const dataset = new k.data.TensorDataset(
    { data: rows, shape: [count, 3, side, side] },
    { data: labels, shape: [count] },
  );
  const batches = new k.data.DataLoader(dataset, { batchSize: batch, shuffle: true, seed: 1 });
  let epoch = batches[Symbol.asyncIterator]();
  const next = async (): Promise<[k.Tensor, k.Tensor]> => {
    const { value, done } = await epoch.next();
    if (done !== true) return value as [k.Tensor, k.Tensor];
    epoch = batches[Symbol.asyncIterator]();
    return next();
  };
  return async () => {
    const [x, y] = await next();
    optimizer.zeroGrad();
    const loss = criterion(model(x), y);
    loss.backward();
    optimizer.step();
    return loss.item();
  };
}

/** Training and validation by turns. */
function evaluation(): Step {
  const { model, criterion, optimizer } = parts();
  return async (step) => {
    const { x, y } = pixelsOf(step);
    if (step % 2 === 1) {
      model.eval();
      const right = k.noGrad(() => model(x).argmax(1).eq(y).sum());
      model.train();
      return (await right.item()) === batch ? 0 : 1;
    }
    optimizer.zeroGrad();
    const loss = criterion(model(x), y);
    loss.backward();
    optimizer.step();
    return loss.item();
  };
}

export const loops = { plain, createGraph, inPlace, loader, evaluation } as const;
export type LoopName = keyof typeof loops;

/** What is measured, and the slope per step that is still flat. */
export const measures = {
  'live GPU bytes': { limit: 0.5, of: () => k.memoryStats().liveBytes },
  'pooled GPU bytes': { limit: 16, of: () => k.memoryStats().pooledBytes },
  'resident bytes': { limit: 1024, of: () => process.memoryUsage.rss() },
  'heap bytes': { limit: 64, of: () => process.memoryUsage().heapUsed },
  'tape nodes in a step': { limit: 1e-5, of: (nodes: number) => nodes },
  pipelines: { limit: 1e-5, of: () => k.runtime().pipelineCount() },
} as const;
export type Measure = keyof typeof measures;

export type Slopes = Readonly<Record<Measure, number>>;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/**
 * Until nothing is left that only waits for the collector. Finalizers run between two turns of the event
 * loop.
 */
async function settle(): Promise<void> {
  for (let i = 0; i < 3; i++) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 1));
    await k.synchronize();
  }
}

/** The slope of a line through equidistant points, by least squares. */
export function slope(values: readonly number[], distance: number): number {
  const middle = (values.length - 1) / 2;
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  let [above, below] = [0, 0];
  values.forEach((value, i) => {
    above += (i - middle) * (value - mean);
    below += (i - middle) ** 2;
  });
  return above / below / distance;
}

/** Runs a loop and returns its slopes, with the mean losses of its first and its last 50 steps. */
export async function soak(
  name: LoopName,
  steps: number,
): Promise<{ slopes: Slopes; losses: readonly [number, number]; seconds: number }> {
  const step = loops[name]();
  // Even: the steps of a loop that takes turns are not alike.
  const every = 2 * Math.max(1, Math.floor(steps / 160));
  const warm = Math.floor(steps / 5);
  const points = Object.fromEntries(Object.keys(measures).map((each) => [each, [] as number[]])) as Record<
    Measure,
    number[]
  >;
  const [first, last]: [number[], number[]] = [[], []];
  let nodes: [number, number] = [0, 0];
  const started = performance.now();
  for (let i = 0; i < steps; i++) {
    const before = k.autograd.recordedNodes();
    const loss = await step(i);
    // A loop whose steps differ takes turns of two.
    nodes = [k.autograd.recordedNodes() - before, nodes[0]];
    if (i < 50) first.push(loss);
    if (i >= steps - 50) last.push(loss);
    if (i < warm || (i - warm) % every !== 0) continue;
    await settle();
    for (const [each, { of }] of Object.entries(measures))
      points[each as Measure].push(of(nodes[0] + nodes[1]));
  }
  const mean = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0) / list.length;
  return {
    slopes: Object.fromEntries(
      Object.entries(points).map(([each, values]) => [each, slope(values, every)]),
    ) as Slopes,
    losses: [mean(first), mean(last)],
    seconds: (performance.now() - started) / 1000,
  };
}

/** The measures whose slope is not flat. */
export const risen = (slopes: Slopes): Measure[] =>
  (Object.keys(measures) as Measure[]).filter((each) => slopes[each] > measures[each].limit);

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: { steps: { type: 'string', default: '20000' }, only: { type: 'string' } },
  });
  const steps = Number(values.steps);
  await k.init();
  let failed = false;
  const heads = Object.entries(measures).map(([name, { limit }]) => `${name} (at most ${limit})`);
  console.log(`| loop | steps | s | loss | ${heads.join(' | ')} |\n|${'---|'.repeat(heads.length + 4)}`);
  for (const name of Object.keys(loops) as LoopName[]) {
    if (values.only !== undefined && values.only !== name) continue;
    const { slopes, losses, seconds } = await soak(name, steps);
    const cells = (Object.keys(measures) as Measure[]).map((each) => {
      const text = slopes[each].toFixed(slopes[each] % 1 === 0 ? 0 : 4);
      return slopes[each] > measures[each].limit ? `${text} RISES` : text;
    });
    const [from, to] = losses.map((loss) => loss.toFixed(3)) as [string, string];
    console.log(`| ${name} | ${steps} | ${seconds.toFixed(0)} | ${from} -> ${to} | ${cells.join(' | ')} |`);
    failed ||= risen(slopes).length > 0 || !(losses[1] <= losses[0]);
  }
  k.close();
  process.exitCode = failed ? 1 : 0;
}
