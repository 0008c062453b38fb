/**
 * What a training step keeps of the forward pass, layer by layer, beside what the formulas of the gradients
 * need at least. `npx tsx scripts/activation-memory.ts` writes the table into docs/memory.md; a model and a
 * shape as arguments print another's.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as k from '../src/index.js';
import type { GradNode } from '../src/autograd/node.js';
import { observeCalls } from '../src/nn/base/call.js';
import type { Storage } from '../src/tensor/storage.js';

export interface ActivationRow {
  /** Path of the layer, or of the layers that ran as one. */
  readonly layer: string;
  /**
   * Bytes that the tape holds from here on; memory that an earlier layer's node holds as well counts there.
   */
  readonly held: number;
  /** What is held, as `op: shape dtype`. */
  readonly what: readonly string[];
}

export interface ActivationTable {
  readonly rows: readonly ActivationRow[];
  readonly held: number;
  /** By formula: see {@link minimum}. */
  readonly minimum: number;
  /** By kind of layer, in the order of the first. */
  readonly minimumByKind: ReadonlyMap<string, number>;
}

type Model = k.nn.Module & ((x: k.Tensor) => k.Tensor);

/** The model's tape for an input of `shape`; the GPU runs nothing. */
export async function activationTable(model: Model, shape: readonly number[]): Promise<ActivationTable> {
  model.train();
  const own = new Set([...model.parameters(), ...model.buffers()].map(({ storage }) => storage));
  const x = k.randn(...shape);
  // While a profile is taken, tape nodes know their layer.
  const { result: y } = await k.profile(() => k.runtime().withoutWork(() => model(x)));
  const rows = new Map<string, { layer: string; held: number; what: string[] }>();
  const seen = new Set<Storage>(own);
  for (const node of tapeOf(y.gradFn as GradNode | null)) {
    for (const { storage, shape: saved, dtype } of node.saved?.held() ?? []) {
      if (seen.has(storage)) continue;
      seen.add(storage);
      const layer = node.path.replace(/^[^.]*\.?/, '') || '(model)';
      const row = rows.get(layer) ?? { layer, held: 0, what: [] };
      row.held += storage.bytes;
      row.what.push(`${node.name}: ${saved.join('x')} ${dtype}`);
      rows.set(layer, row);
    }
  }
  const held = [...rows.values()].reduce((sum, row) => sum + row.held, 0);
  const minimumByKind = minimum(model, x);
  const least = [...minimumByKind.values()].reduce((sum, bytes) => sum + bytes, 0);
  y.dispose();
  x.dispose();
  return { rows: [...rows.values()], held, minimum: least, minimumByKind };
}

/** Every node that `root` leads to, in the order of recording. */
function tapeOf(root: GradNode | null): GradNode[] {
  const found = new Set<GradNode>();
  const stack = root === null ? [] : [root];
  while (stack.length > 0) {
    const node = stack.pop() as GradNode;
    if (found.has(node)) continue;
    found.add(node);
    for (const edge of node.edges) if (edge !== null) stack.push(edge.node);
  }
  return [...found].sort((a, b) => a.sequence - b.sequence);
}

const { Conv2d, BatchNorm2d, ReLU, MaxPool2d, Linear } = k.nn;

/**
 * Bytes that backward needs of each layer run by itself, a tensor that several need counted once: a
 * convolution and a linear layer their input; batch norm its input and two numbers per channel; ReLU its
 * output; max pooling a byte per output (windows of up to 256); sums, averages and reshapes nothing.
 */
function minimum(model: Model, x: k.Tensor): Map<string, number> {
  const kinds = new Map<string, number>();
  const counted = new WeakSet<k.Tensor>();
  const count = (kind: string, bytes: number): void => void kinds.set(kind, (kinds.get(kind) ?? 0) + bytes);
  const needs = (kind: string, tensor: k.Tensor): void => {
    if (!counted.has(tensor)) count(kind, tensor.nbytes);
    counted.add(tensor);
  };
  const inputs: k.Tensor[] = [];
  const watch = {
    enter: (_: k.nn.Module, [input]: readonly unknown[]) => void inputs.push(input as k.Tensor),
    leave: (module: k.nn.Module, result: unknown) => {
      const [input, output] = [inputs.pop() as k.Tensor, result as k.Tensor];
      if (module instanceof Conv2d) needs('convolution: input', input);
      else if (module instanceof Linear) needs('linear: input', input);
      else if (module instanceof ReLU) needs('ReLU: output', output);
      else if (module instanceof MaxPool2d) count('max pool: places', output.numel());
      else if (module instanceof BatchNorm2d) {
        needs('batch norm: input', input);
        count('batch norm: statistics', 8 * module.numFeatures);
      }
    },
  };
  // What is counted by identity must not be replaced by a later tensor in its place: nothing is freed
  // meanwhile.
  k.tidy(() => k.noGrad(() => k.runtime().withoutWork(() => observeCalls(watch, () => void model(x)))));
  return kinds;
}

const kib = (bytes: number): string => (bytes / 1024).toLocaleString('en-US', { maximumFractionDigits: 1 });

/** The table as Markdown. */
export function markdown(name: string, shape: readonly number[], table: ActivationTable): string {
  const { rows, held, minimum: least, minimumByKind } = table;
  return [
    `What the tape of ${name} holds after a forward pass of ${shape.join('x')} in training mode:`,
    '',
    '| layer | KiB | what |',
    '|---|---:|---|',
    ...rows.map(({ layer, held: bytes, what }) => `| ${layer} | ${kib(bytes)} | ${what.join('; ')} |`),
    `| **all** | **${kib(held)}** | |`,
    '',
    'What the formulas need, layer by layer:',
    '',
    '| need | KiB |',
    '|---|---:|',
    ...[...minimumByKind].map(([kind, bytes]) => `| ${kind} | ${kib(bytes)} |`),
    `| **all** | **${kib(least)}** |`,
    '',
    `Held: ${((100 * held) / least).toFixed(1)} % of that.`,
  ].join('\n');
}

const [begin, end] = ['<!-- activations -->', '<!-- /activations -->'];

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [name = 'resnet50', shapeText = '1x3x224x224'] = process.argv.slice(2);
  const shape = shapeText.split('x').map(Number);
  await k.init();
  const text = markdown(name, shape, await activationTable(k.models.get(name)() as Model, shape));
  if (process.argv.length > 2) console.log(text);
  else {
    const page = fileURLToPath(new URL('../docs/memory.md', import.meta.url));
    const [before, after] = readFileSync(page, 'utf8').split(new RegExp(`${begin}[^]*${end}`)) as [
      string,
      string,
    ];
    writeFileSync(page, `${before}${begin}\n${text}\n${end}${after}`);
  }
  k.close();
}
