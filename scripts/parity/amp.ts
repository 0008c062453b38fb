/**
 * Training in mixed precision beside float32: `npx tsx scripts/parity/amp.ts [--steps 60] [--cifar FILE]`
 *
 * A ResNet-20 on CIFAR-10 (records in the official binary format; made-up images without `--cifar`) and a GPT of two
 * layers, 256 wide, on the letters of this repository's documents. Each is trained from the same weights on the
 * same batches in float32, under amp.autocast with amp.GradScaler, and by PyTorch (amp.py, run by $PYTHON, default
 * python3) in float32 and under its CPU autocast, which has bfloat16 only (1.13). Prints the losses side by side, and
 * for kindling the memory and launches of a step: the tables of docs/amp.md.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import * as k from '../../src/index.js';
import type { Tensor } from '../../src/index.js';

const { values: options } = parseArgs({
  options: {
    steps: { type: 'string', default: '60' },
    cifar: { type: 'string' },
    /** Only this net. */
    only: { type: 'string', default: '' },
  },
});
const steps = Number(options.steps);
const { nn } = k;

interface Batch {
  readonly x: Tensor;
  readonly y: Tensor;
}

interface Task {
  readonly name: string;
  readonly make: () => k.nn.TensorModule;
  readonly optimizer: (params: Iterable<Tensor>) => k.optim.Optimizer;
  readonly batches: readonly Batch[];
}

/** Self-attention with a mask, and a network of two layers; norms come first (GPT-2's order). */
class Block extends nn.Module {
  ln1: k.nn.LayerNorm;
  qkv: k.nn.Linear;
  out: k.nn.Linear;
  ln2: k.nn.LayerNorm;
  up: k.nn.Linear;
  down: k.nn.Linear;

  constructor(
    private readonly width: number,
    private readonly heads: number,
  ) {
    super();
    this.ln1 = new nn.LayerNorm(width);
    this.qkv = new nn.Linear(width, 3 * width);
    this.out = new nn.Linear(width, width);
    this.ln2 = new nn.LayerNorm(width);
    this.up = new nn.Linear(width, 4 * width);
    this.down = new nn.Linear(4 * width, width);
  }

  forward(x: Tensor): Tensor {
    const [n, length] = x.shape as [number, number];
    const [q, key, v] = this.qkv(this.ln1(x))
      .chunk(3, -1)
      .map((part) => part.reshape([n, length, this.heads, -1]).transpose(1, 2)) as [Tensor, Tensor, Tensor];
    const seen = nn.functional.scaledDotProductAttention(q, key, v, { isCausal: true });
    const y = x.add(this.out(seen.transpose(1, 2).reshape([n, length, this.width])));
    return y.add(this.down(nn.functional.gelu(this.up(this.ln2(y)))));
  }
}

class GPT extends nn.Module {
  wte: k.nn.Embedding;
  wpe: k.nn.Embedding;
  blocks: k.nn.Sequential;
  ln: k.nn.LayerNorm;
  head: k.nn.Linear;

  constructor(vocabulary: number, length: number, width = 256, layers = 2, heads = 4) {
    super();
    this.wte = new nn.Embedding(vocabulary, width);
    this.wpe = new nn.Embedding(length, width);
    this.blocks = new nn.Sequential(...Array.from({ length: layers }, () => new Block(width, heads)));
    this.ln = new nn.LayerNorm(width);
    this.head = new nn.Linear(width, vocabulary, { bias: false });
  }

  forward(ids: Tensor): Tensor {
    const x = this.wte(ids).add(this.wpe(k.arange(ids.shape[1] as number)));
    return this.head(this.ln(this.blocks(x))).flatten(0, 1);
  }
}

const ints = (values: number[], shape: number[]): Tensor =>
  k.tensor(values, { dtype: 'int32' }).reshape(shape);

function imageTask(): Task {
  const batch = 32;
  const pixels = 3 * 32 * 32;
  const records = options.cifar === undefined ? null : readFileSync(options.cifar);
  const batches = Array.from({ length: steps }, (_, step): Batch => {
    const values = new Float32Array(batch * pixels);
    const labels: number[] = [];
    for (let i = 0; i < batch; i++) {
      const at = (step * batch + i) * (pixels + 1);
      const label = records === null ? (step + i) % 10 : (records[at] as number);
      labels.push(label);
      for (let p = 0; p < pixels; p++) {
        const made = Math.sin(label + (p % 32) * (1 + label / 7)) + Math.random();
        values[i * pixels + p] = records === null ? made : (records[at + 1 + p] as number) / 64 - 2;
      }
    }
    return { x: k.tensor(values).reshape([batch, 3, 32, 32]), y: ints(labels, [batch]) };
  });
  return {
    name: 'resnet20',
    make: () => k.models.cifarResnet20(),
    optimizer: (params) => new k.optim.SGD(params, { lr: 0.05, momentum: 0.9 }),
    batches,
  };
}

function textTask(): Task {
  const [batch, length] = [8, 64];
  const documents = ['architecture', 'memory', 'numerics', 'tuning'].map((name) =>
    readFileSync(new URL(`../../docs/${name}.md`, import.meta.url), 'utf8'),
  );
  const text = documents.join('').replace(/[^ -~\n]/g, ' ');
  const id = (at: number): number => Math.max(0, text.charCodeAt(at % text.length) - 31);
  const batches = Array.from({ length: steps }, (_, step): Batch => {
    const starts = Array.from({ length: batch }, (_, i) => (step * batch + i) * 211);
    const from = (by: number): number[] =>
      starts.flatMap((start) => Array.from({ length }, (_, i) => id(start + i + by)));
    return { x: ints(from(0), [batch, length]), y: ints(from(1), [batch * length]) };
  });
  return {
    name: 'gpt',
    make: () => new GPT(96, length),
    optimizer: (params) => new k.optim.AdamW(params, { lr: 1e-3 }),
    batches,
  };
}

interface Run {
  readonly losses: number[];
  /** Bytes in use at the most in the third step, without the batches. */
  readonly peak: number;
  readonly launches: number;
  readonly bySort: ReadonlyMap<string, number>;
  readonly seconds: number;
  readonly scale: number;
  readonly skipped: number;
}

async function train(
  { make, optimizer: makeOptimizer, batches }: Task,
  amp: boolean,
  start: string,
  data: number,
): Promise<Run> {
  const model = make();
  await model.loadStateDict((await k.loadCheckpoint(start)).tensors);
  const optimizer = makeOptimizer(model.parameters());
  const scaler = new k.amp.GradScaler({ enabled: amp });
  const losses: number[] = [];
  let [peak, launches, skipped] = [0, 0, 0];
  let bySort: ReadonlyMap<string, number> = new Map();
  const started = performance.now();
  for (const [i, { x, y }] of batches.entries()) {
    const rt = k.runtime();
    await k.synchronize();
    rt.resetPeakMemory();
    rt.resetOpCounts();
    const before = scaler.getScale();
    optimizer.zeroGrad();
    const loss = k.tidy(() => {
      const value = k.amp.autocast({ enabled: amp }, () => nn.functional.crossEntropy(model(x), y));
      scaler.scale(value).backward();
      return value.detach();
    });
    await scaler.step(optimizer);
    await scaler.update();
    losses.push(await loss.item());
    loss.dispose();
    if (scaler.getScale() < before) skipped++;
    if (i !== 2) continue;
    peak = k.memoryStats().peakBytes - data;
    bySort = rt.opCounts();
    launches = [...bySort.values()].reduce((a, b) => a + b, 0);
  }
  const seconds = (performance.now() - started) / 1000;
  optimizer.zeroGrad();
  discard(model, optimizer);
  await k.synchronize();
  return { losses, peak, launches, bySort, seconds, scale: scaler.getScale(), skipped };
}

/** Nothing of it may be there while the next one is measured. */
function discard(model: k.nn.TensorModule, optimizer?: k.optim.Optimizer): void {
  const state = [...(optimizer?.state.values() ?? [])].flatMap((one) => Object.values(one));
  for (const tensor of [...model.parameters(), ...model.buffers(), ...state])
    if (tensor instanceof k.Tensor) tensor.dispose();
}

interface Reference {
  readonly float32: number[];
  readonly bfloat16: number[];
}

/** What PyTorch makes of the same weights and batches. */
function reference(folder: string, task: string): Reference {
  const script = fileURLToPath(new URL('amp.py', import.meta.url));
  const run = spawnSync(process.env['PYTHON'] ?? 'python3', [script, folder, task], { encoding: 'utf8' });
  if (run.status !== 0) throw new Error(`amp.py failed\n${run.stderr}`);
  return JSON.parse(run.stdout.trim().split('\n').at(-1) ?? '') as Reference;
}

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

await k.init();
for (const makeTask of [imageTask, textTask]) {
  if (options.only !== '' && !makeTask.name.startsWith(options.only)) continue;
  const before = k.memoryStats().liveBytes;
  const task = makeTask();
  const data = k.memoryStats().liveBytes - before;
  k.manualSeed(0);
  const folder = mkdtempSync(join(tmpdir(), 'kindling-amp-'));
  try {
    const weights = join(folder, 'start.safetensors');
    const first = task.make();
    await k.saveWeights(first, weights);
    discard(first);
    await k.formats.saveTorch(join(folder, 'start.pth'), {
      model: new Map((await k.loadCheckpoint(weights)).tensors),
      batches: task.batches.map(({ x, y }) => [x, y]),
    });
    const float32 = await train(task, false, weights, data);
    const amp = await train(task, true, weights, data);
    const torch = reference(folder, task.name);
    console.log(`\n${task.name}, ${steps} steps: losses, means of ten\n`);
    console.log('| steps | float32 | amp (float16) | PyTorch float32 | PyTorch bfloat16 |');
    console.log('|---|---:|---:|---:|---:|');
    for (let at = 0; at < steps; at += 10) {
      const of = (losses: readonly number[]): string => mean(losses.slice(at, at + 10)).toFixed(4);
      const row = [float32.losses, amp.losses, torch.float32, torch.bfloat16].map(of);
      console.log(`| ${at + 1} to ${Math.min(at + 10, steps)} | ${row.join(' | ')} |`);
    }
    console.log('\n| | float32 | amp |\n|---|---:|---:|');
    const line = (name: string, of: (run: Run) => string): void =>
      console.log(`| ${name} | ${of(float32)} | ${of(amp)} |`);
    line('peak memory of a step, MB', ({ peak }) => (peak / 1e6).toFixed(2));
    line('launches of a step', ({ launches }) => String(launches));
    line('of them casts', ({ bySort }) => String(bySort.get('to') ?? 0));
    line('seconds of the run', ({ seconds }) => seconds.toFixed(1));
    console.log(`\nthe scale ended at ${amp.scale}, ${amp.skipped} steps were left out`);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
k.close();
