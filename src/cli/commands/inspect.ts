import { statSync } from 'node:fs';
import { HostTensor, loadCheckpoint, type PlainValue } from '../../formats/index.js';
import type { Context } from '../context.js';
import { byteSize, grouped, table } from '../output.js';

export interface InspectOptions {
  /** Keys that lead to the state dict. */
  readonly key?: readonly string[];
}

/** State that no gradient trains: batch norm's running statistics. */
const statistics = /(^|\.)(running_mean|running_var|num_batches_tracked)$/;

/** `kindling inspect`: what is in a weight file. */
export async function inspect({ output }: Context, file: string, options: InspectOptions): Promise<void> {
  const { key } = options;
  const checkpoint = await loadCheckpoint(file, key === undefined ? {} : { key });
  const tensors = [...checkpoint.tensors].map(([name, { dtype, shape, size, byteLength }]) => ({
    name,
    dtype,
    shape,
    count: size,
    bytes: byteLength,
    statistics: statistics.test(name),
  }));
  const sum = (of: (tensor: (typeof tensors)[number]) => number): number =>
    tensors.reduce((total, tensor) => total + of(tensor), 0);
  const report = {
    file,
    fileBytes: statSync(file).size,
    container: checkpoint.container,
    key: checkpoint.key,
    strippedPrefix: checkpoint.strippedPrefix,
    tensors,
    totals: {
      tensors: tensors.length,
      parameters: sum((tensor) => (tensor.statistics ? 0 : tensor.count)),
      statistics: sum((tensor) => (tensor.statistics ? tensor.count : 0)),
      bytes: sum((tensor) => tensor.bytes),
    },
    extra: Object.fromEntries([...checkpoint.extra].map(([name, value]) => [name, plain(value)])),
  };
  output.document(report);
  if (output.json) return;

  output.line(`${file}: ${report.container}, ${byteSize(report.fileBytes)}`);
  if (report.key.length > 0) output.line(`state dict at '${report.key.join('.')}'`);
  if (report.strippedPrefix !== null) output.line(`prefix '${report.strippedPrefix}' taken off every key`);
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

/** A value of a pickle as JSON can hold it. Tensors become a description, long lists are cut. */
function plain(value: PlainValue, depth = 0): unknown {
  if (value instanceof HostTensor) return `${value.dtype} tensor [${value.shape.join(', ')}]`;
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'number' && !Number.isFinite(value)) return String(value);
  if (typeof value !== 'object' || value === null) return value;
  if (depth >= maxDepth) return '...';
  if (value instanceof Map) {
    const entries = [...value].slice(0, maxItems).map(([k, v]) => [keyText(k), plain(v, depth + 1)] as const);
    if (value.size > maxItems) entries.push(['...', `${value.size - maxItems} more`]);
    return Object.fromEntries(entries);
  }
  const list = [...(value as Iterable<PlainValue>)];
  const items = list.slice(0, maxItems).map((item) => plain(item, depth + 1));
  return list.length > maxItems ? [...items, `${list.length - maxItems} more`] : items;
}

function keyText(key: PlainValue): string {
  return typeof key === 'object' && key !== null ? JSON.stringify(plain(key, maxDepth - 1)) : String(key);
}
