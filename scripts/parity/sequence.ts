/**
 * Trains LSTM, GRU, Transformer encoder and decoder beside PyTorch: `npx tsx scripts/parity/sequence.ts`
 *
 * sequence.py (run by $PYTHON, default python3) writes a state dict, an input and a target per model and
 * trains 50 steps; kindling loads the same and does so too, and PyTorch loads what came out. Prints the
 * largest relative difference of the losses, that of the weights at the end, and the times per step. Exits
 * with 1 when a loss is off by more than the limit.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { close, init, loadWeights, nn, optim, saveWeights, tensor, type Tensor } from '../../src/index.js';

const limit = 1e-4;
const [batch, length, features, hidden] = [8, 20, 16, 32];
const python = process.env['PYTHON'] ?? 'python3';
const script = fileURLToPath(new URL('sequence.py', import.meta.url));

interface Reference {
  readonly losses: readonly number[];
  readonly ms: number;
}

function run<T>(what: string, folder: string): Record<string, T> {
  const { status, stdout, stderr } = spawnSync(python, [script, what, folder], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${python} failed\n${stderr}`);
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Record<string, T>;
}

type Body = nn.LSTM | nn.GRU | nn.TransformerEncoder | nn.TransformerDecoder;

class Sequence extends nn.Module {
  embed = new nn.Linear(features, hidden);
  body: Body;
  head = new nn.Linear(hidden, features);

  constructor(body: Body) {
    super();
    this.body = body;
  }

  forward(x: Tensor, tgtMask: Tensor): Tensor {
    const { body } = this;
    const y = this.embed(x);
    if (body instanceof nn.LSTM || body instanceof nn.GRU) return this.head((body as nn.LSTM)(y)[0]);
    return this.head(body instanceof nn.TransformerEncoder ? body(y) : body(y, y, { tgtMask }));
  }
}

const options = { dimFeedforward: 64, dropout: 0, batchFirst: true };
const bodies: Readonly<Record<string, () => Body>> = {
  LSTM: () => new nn.LSTM(hidden, hidden, 2, { batchFirst: true }),
  GRU: () => new nn.GRU(hidden, hidden, 2, { batchFirst: true }),
  TransformerEncoder: () => new nn.TransformerEncoder(new nn.TransformerEncoderLayer(hidden, 4, options), 2),
  TransformerDecoder: () => new nn.TransformerDecoder(new nn.TransformerDecoderLayer(hidden, 4, options), 2),
};

function floats(path: string): Tensor {
  const file = readFileSync(path);
  const values = new Float32Array(file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength));
  return tensor(values, { shape: [batch, length, features] });
}

async function train(name: string, folder: string): Promise<Reference> {
  const net = new Sequence((bodies[name] as () => Body)());
  await loadWeights(net, join(folder, `${name}.pth`));
  const [x, target] = [floats(join(folder, `${name}.x`)), floats(join(folder, `${name}.target`))];
  const mask = nn.Transformer.generateSquareSubsequentMask(length);
  const optimizer = new optim.SGD(net.parameters(), { lr: 0.1, momentum: 0.9 });
  const losses: number[] = [];
  let start = 0;
  for (let step = 0; step < 50; step++) {
    // The first steps compile kernels.
    if (step === 5) start = performance.now();
    optimizer.zeroGrad();
    const loss = nn.functional.mseLoss(net(x, mask), target);
    loss.backward();
    optimizer.step();
    losses.push(await loss.item());
  }
  const ms = (performance.now() - start) / 45;
  await saveWeights(net, join(folder, `${name}.kindling.pth`));
  return { losses, ms };
}

const folder = mkdtempSync(join(tmpdir(), 'kindling-sequence-'));
try {
  const references = run<Reference>('make', folder);
  await init();
  const rows = [];
  for (const name of Object.keys(bodies)) {
    const want = references[name] as Reference;
    const got = await train(name, folder);
    const off = want.losses.map((loss, i) => Math.abs((got.losses[i] as number) - loss) / loss);
    rows.push({ name, off: Math.max(...off), want, got });
  }
  const weights = run<number>('check', folder);
  console.log('| model | first loss | last loss | loss off by | weights off by | PyTorch | kindling |');
  console.log('|---|---|---|---|---|---|---|');
  for (const { name, off, want, got } of rows) {
    const cells = [
      name,
      got.losses[0]?.toFixed(4),
      got.losses.at(-1)?.toFixed(4),
      off.toExponential(1),
      weights[name]?.toExponential(1),
      `${want.ms.toFixed(1)} ms`,
      `${got.ms.toFixed(1)} ms`,
    ];
    console.log(`| ${cells.join(' | ')} |`);
    if (!(off < limit)) process.exitCode = 1;
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
  close();
}
