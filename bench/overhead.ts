/**
 * `npx tsx bench/overhead.ts`: what recording an op costs in JavaScript, in microseconds. `engine` leaves the
 * GPU's commands out (`withoutWork`), `all` has them in; a software adapter's threads take the same cores, so
 * the lower quartile is shown. `--built` measures `dist` (after `npm run build`), which is what users run:
 * tsx wraps every closure.
 */
import { parseArgs } from 'node:util';
import type * as Kindling from '../src/index.js';
import { markdownTable } from './report.js';

const { values: options } = parseArgs({
  options: {
    built: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    /** Passes over 64 ops; each figure is the lower quartile of the later three quarters. */
    passes: { type: 'string', default: '80' },
    /** Another build's folder. */
    from: { type: 'string' },
  },
});
const source = options.from ?? (options.built ? '../dist' : '../src');
const k = (await import(`${source}/index.js`)) as typeof Kindling;
type Tensor = Kindling.Tensor;

interface Case {
  readonly name: string;
  /** From a fresh input that requires grad, or none, to a result of the same shape unless `once`. */
  readonly op: (x: Tensor) => Tensor;
  readonly shape: readonly number[];
  /** The result cannot be fed back: every pass is one op. */
  readonly once?: boolean;
}

const ops = 64;

interface Cost {
  readonly off: number;
  readonly on: number;
  readonly back: number;
}

/** Lower quartiles of the milliseconds of each part of `pass`, the device left to finish between passes. */
async function quartiles(pass: () => number[], idle: boolean): Promise<number[]> {
  const rt = k.runtime();
  const samples: number[][] = [];
  const passes = Number(options.passes);
  for (let i = 0; i < passes; i++) {
    samples.push(idle ? rt.withoutWork(pass) : pass());
    await k.synchronize();
  }
  // The first ones are compiled, by V8 and by the driver.
  const counted = samples.slice(passes / 4);
  return (samples[0] ?? []).map((_, part) => quartile(counted.map((sample) => sample[part] ?? 0)));
}

/** Microseconds per op, and per tape node of the backward. */
async function measure({ op, shape, once = false }: Case, idle: boolean): Promise<Cost> {
  const x = k.randn(shape);
  const leaf = k.randn(shape).requiresGrad_();
  const forward = (start: Tensor): Tensor[] => {
    if (once) return Array.from({ length: ops }, () => op(start));
    let y = start;
    for (let i = 0; i < ops; i++) y = op(y);
    return [y];
  };
  const seed = k.noGrad(() => k.onesLike(op(x)));
  const before = k.autograd.recordedNodes();
  k.tidy(() => void forward(leaf));
  const nodes = k.autograd.recordedNodes() - before;
  const [off = 0] = await quartiles(() => {
    const start = performance.now();
    k.tidy(() => void k.noGrad(() => forward(x)));
    return [performance.now() - start];
  }, idle);
  const [on = 0, back = 0] = await quartiles(() => {
    const times = [performance.now()];
    k.tidy(() => {
      const results = forward(leaf);
      times.push(performance.now());
      k.autograd.backward(
        results,
        results.map(() => seed),
      );
    });
    times.push(performance.now());
    leaf.grad = null;
    return intervals(times);
  }, idle);
  return { off: (1000 * off) / ops, on: (1000 * on) / ops, back: (1000 * back) / nodes };
}

function quartile(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 4)] ?? NaN;
}

const intervals = (times: readonly number[]): number[] =>
  times.slice(1).map((time, i) => time - (times[i] ?? 0));

function cases(): Case[] {
  const small = [4, 16];
  const image = [2, 16, 8, 8];
  const other = k.randn(small);
  const conv = new k.nn.Conv2d(16, 16, 3, { padding: 1, bias: false });
  const norm = new k.nn.BatchNorm2d(16);
  const linear = new k.nn.Linear(16, 16);
  const relu = new k.nn.ReLU();
  const { weight } = conv;
  const target = k.tensor([1, 2, 3, 4], { dtype: 'int32' });
  return [
    { name: 'add(x, y)', shape: small, op: (x) => k.add(x, other) },
    { name: 'add(x, x)', shape: small, op: (x) => k.add(x, x) },
    { name: 'mul(x, 2)', shape: small, op: (x) => k.mul(x, 2) },
    { name: 'relu', shape: small, op: (x) => k.relu(x) },
    { name: 'relu, channels last', shape: image, op: (x) => k.relu(x) },
    { name: 'nn.ReLU', shape: small, op: (x) => relu(x) },
    { name: 'reshape', shape: small, op: (x) => k.reshape(x, [4, 16]) },
    { name: 'sum([1])', shape: small, op: (x) => k.sum(x, [1]), once: true },
    { name: 'matmul', shape: [16, 16], op: (x) => k.matmul(x, x) },
    { name: 'nn.Linear', shape: small, op: (x) => linear(x) },
    { name: 'conv2d', shape: image, op: (x) => k.conv2d(x, weight, null, { padding: 1 }) },
    { name: 'nn.Conv2d', shape: image, op: (x) => conv(x) },
    { name: 'nn.BatchNorm2d', shape: image, op: (x) => norm(x) },
    { name: 'maxPool2d', shape: image, op: (x) => k.maxPool2d(x, 3, { stride: 1, padding: 1 }) },
    { name: 'crossEntropy', shape: small, op: (x) => k.crossEntropy(x, target), once: true },
  ];
}

const header = [
  'op',
  'engine: grad off',
  'grad on',
  'backward per node',
  'all: grad off',
  'grad on',
  'backward per node',
];

async function printOps(): Promise<void> {
  const [head, rule] = markdownTable(header, []).split('\n');
  console.log(`${head}\n${rule}`);
  for (const one of cases()) {
    if (!one.name.includes(options.only)) continue;
    const costs = [await measure(one, true), await measure(one, false)];
    const figures = costs.flatMap(({ off, on, back }) => [off, on, back].map((us) => us.toFixed(1)));
    console.log(`| ${[one.name, ...figures].join(' | ')} |`);
  }
}

/** A training step of the CIFAR ResNet-20; the batch is small because the recording is the same. */
async function stepTable(): Promise<string> {
  const rt = k.runtime();
  const model = k.models.cifarResnet20();
  const criterion = new k.nn.CrossEntropyLoss();
  const optimizer = new k.optim.SGD(model.parameters(), { lr: 0.01, momentum: 0.9 });
  const x = k.randn([2, 3, 32, 32]);
  const y = k.tensor([1, 2], { dtype: 'int32' });
  const parts = ['forward', 'backward', 'optimizer'] as const;
  const step = (): number[] =>
    k.tidy(() => {
      const times = [performance.now()];
      optimizer.zeroGrad();
      const loss = criterion(model(x), y);
      times.push(performance.now());
      loss.backward();
      times.push(performance.now());
      optimizer.step();
      times.push(performance.now());
      return intervals(times);
    });
  for (let i = 0; i < 3; i++) step();
  await k.synchronize();
  rt.resetOpCounts();
  const before = k.autograd.recordedNodes();
  step();
  const nodes = k.autograd.recordedNodes() - before;
  const dispatches = [...rt.opCounts().values()].reduce((sum, count) => sum + count, 0);
  await k.synchronize();
  const rows: string[][] = [];
  for (const idle of [true, false]) {
    const ms = await quartiles(step, idle);
    const total = ms.reduce((sum, t) => sum + t, 0);
    rows.push([
      idle ? 'engine' : 'all',
      ...[...ms, total].map((t) => t.toFixed(2)),
      ((1000 * total) / dispatches).toFixed(1),
      ((1000 * total) / nodes).toFixed(1),
    ]);
  }
  return (
    `CIFAR ResNet-20 training step: ${dispatches} dispatches, ${nodes} tape nodes; milliseconds of recording\n\n` +
    markdownTable(['', ...parts, 'step', 'us per dispatch', 'us per node'], rows)
  );
}

await k.init();
if (options.only !== 'step') await printOps();
if (options.only === '' || options.only === 'step') console.log(`\n${await stepTable()}`);
k.close();
