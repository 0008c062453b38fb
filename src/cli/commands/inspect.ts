import { statSync } from 'node:fs';
import { HostTensor, loadCheckpoint, OpaqueObject, type PlainValue } from '../../formats/index.js';
import { defineCommand } from '../command.js';
import type { Context } from '../context.js';
import { keyText } from '../../formats/render.js';
import { isStatistic } from '../../models/file-match.js';
import type { Options } from '../option-rows.js';
import { byteSize, grouped, table } from '../output.js';
import { json, model, reading, readingOf, weights, weightsOperand } from '../shared-options.js';
import { weightsPath } from '../weights-file.js';

const inspectOptions = { weights, model, ...reading, json };

/** `kindling inspect`: what is in a weight file. */
async function inspect(context: Context, options: Options<typeof inspectOptions>): Promise<void> {
  const { output } = context;
  const { path: file } = await weightsPath(context, options.model, options.weights ?? '');
  const checkpoint = await loadCheckpoint(file, readingOf(options));
  const tensors = [...checkpoint.tensors].map(([name, { dtype, shape, size, byteLength }]) => ({
    name,
    dtype,
    shape,
    count: size,
    bytes: byteLength,
    statistics: isStatistic(name),
  }));
  const sum = (of: (tensor: (typeof tensors)[number]) => number): number =>
    tensors.reduce((total, tensor) => total + of(tensor), 0);
  const report = {
    file,
    fileBytes: statSync(file).size,
    container: checkpoint.container,
    key: checkpoint.key,
    strippedPrefix: checkpoint.strippedPrefix,
    wrappers: checkpoint.wrappers,
    tensors,
    totals: {
      tensors: tensors.length,
      parameters: sum((tensor) => (tensor.statistics ? 0 : tensor.count)),
      statistics: sum((tensor) => (tensor.statistics ? tensor.count : 0)),
      bytes: sum((tensor) => tensor.bytes),
    },
    extra: Object.fromEntries([...checkpoint.extra].map(([name, value]) => [name, plain(value, listing())])),
  };
  output.document(report);
  if (output.json) return;

  output.line(`${file}: ${report.container}, ${byteSize(report.fileBytes)}`);
  if (report.key.length > 0) output.line(`state dict at '${report.key.join('.')}'`);
  if (report.strippedPrefix !== null) output.line(`prefix '${report.strippedPrefix}' taken off every key`);
  for (const path of report.wrappers) output.line(`wrapper '${path}' taken out of the keys`);
  output.line();
  const rows = tensors.map(({ name, dtype, shape, count }) => [
    name,
    dtype,
    `[${shape.join(', ')}]`,
    grouped(count),
  ]);
  for (const line of table([['tensor', 'dtype', 'shape', 'values'], ...rows], [3])) output.line(line);
  output.line();
  const { totals } = report;
  const rest = totals.statistics > 0 ? ` and ${grouped(totals.statistics)} running statistics` : '';
  output.line(
    `${totals.tensors} tensors, ${grouped(totals.parameters)} parameters${rest}, ${byteSize(totals.bytes)}`,
  );
  for (const [name, value] of Object.entries(report.extra)) {
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    output.line(`${name}: ${text.length > 160 ? `${text.slice(0, 160)}...` : text}`);
  }
}

const maxDepth = 6;
const maxItems = 64;
const maxText = 4096;
const maxValues = 4096;

/**
 * How many more values of one entry are listed: a value may hold the same list a thousand times, a thousand
 * levels deep.
 */
interface Listing {
  left: number;
}

const listing = (): Listing => ({ left: maxValues });

/** A value of a pickle as JSON can hold it. Tensors become a description, long lists and texts are cut. */
function plain(value: PlainValue, budget: Listing, depth = 0): unknown {
  if (--budget.left < 0) return '...';
  if (value instanceof HostTensor) return `${value.dtype} tensor [${value.shape.join(', ')}]`;
  if (value instanceof OpaqueObject) return value.toString();
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  if (typeof value === 'string') return cut(value);
  if (typeof value === 'bigint') return cut(value.toString());
  if (typeof value === 'number' && !Number.isFinite(value)) return String(value);
  if (typeof value !== 'object' || value === null) return value;
  if (depth >= maxDepth) return '...';
  const taken = firstOf(value as Iterable<unknown>);
  const size = Array.isArray(value) ? value.length : value.size;
  if (value instanceof Map) {
    const entries = (taken as [PlainValue, PlainValue][]).map(
      ([key, item]) => [cut(keyText(key)), plain(item, budget, depth + 1)] as const,
    );
    if (size > maxItems) entries.push(['...', `${size - maxItems} more`]);
    return Object.fromEntries(entries);
  }
  const items = taken.map((item) => plain(item as PlainValue, budget, depth + 1));
  return size > maxItems ? [...items, `${size - maxItems} more`] : items;
}

function firstOf(values: Iterable<unknown>): unknown[] {
  const taken: unknown[] = [];
  for (const value of values) {
    if (taken.length === maxItems) break;
    taken.push(value);
  }
  return taken;
}

const cut = (text: string): string => (text.length > maxText ? `${text.slice(0, maxText)}...` : text);

export const inspectCommand = defineCommand({
  name: 'inspect',
  help: 'list what is in a weight file (.pth, .pt, .th, .safetensors, .npz, .npy)',
  operands: [weightsOperand('<weights>')],
  options: inspectOptions,
  examples: [
    ['kindling inspect resnet50.pth'],
    ['kindling inspect checkpoint.pth --key ema', 'one of several state dicts in it'],
    ['kindling inspect resnet50:IMAGENET1K_V1 --json', 'published weights'],
  ],
  run: ({ context, options }) => inspect(context, options),
});
