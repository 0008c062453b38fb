import { noMore, readOptions } from '../tensor/options.js';
import { isFloatingPoint, type TypedArray } from './dtype.js';
import { numel } from './shape.js';
import type { Tensor } from './tensor.js';

/* PyTorch's printing (torch/_tensor_str.py): its choice of notation, widths, line breaks and elision. */

export interface PrintOptions {
  /** Digits after the point. Default 4. */
  precision?: number;
  /** Tensors of more elements are shown by their edges only. Default 1000. */
  threshold?: number;
  /** Entries shown at each edge of a shortened dim. Default 3. */
  edgeitems?: number;
  /** Default 80. */
  linewidth?: number;
}

interface Notation {
  readonly width: number;
  show(value: number): string;
}

/** JavaScript writes exponents with as few digits as it can; Python with at least two. */
const scientific = (value: number, precision: number): string =>
  value.toExponential(precision).replace(/e([+-])(\d)$/, 'e$10$2');

const special = (value: number): string => (Number.isNaN(value) ? 'nan' : value > 0 ? 'inf' : '-inf');

function notationFor(
  values: readonly number[],
  floating: boolean,
  bool: boolean,
  precision: number,
): Notation {
  if (bool || !floating) {
    const show = (value: number): string => (bool ? (value ? 'true' : 'false') : String(value));
    return { width: Math.max(1, ...values.map((value) => show(value).length)), show };
  }
  const finite = values.filter((value) => Number.isFinite(value) && value !== 0);
  const sizes = finite.map(Math.abs);
  const [low, high] = [Math.min(...sizes), Math.max(...sizes)];
  const whole = finite.every(Number.isInteger);
  const useScientific = finite.length > 0 && (high / low > 1000 || high > 1e8 || (!whole && low < 1e-4));
  const show = (value: number): string => {
    if (!Number.isFinite(value)) return special(value);
    if (useScientific) return scientific(value, precision);
    return whole ? `${Object.is(value, -0) ? '-0' : value.toFixed(0)}.` : value.toFixed(precision);
  };
  return { width: Math.max(1, ...finite.map((value) => show(value).length)), show };
}

/** Reads `x` and formats it as PyTorch prints a tensor. */
export async function format(x: Tensor, options: PrintOptions = {}): Promise<string> {
  noMore('format', arguments, 2);
  const { precision, threshold, edgeitems, linewidth } = readOptions<Required<PrintOptions>>(
    'format',
    { precision: 4, threshold: 1000, edgeitems: 3, linewidth: 80 },
    options,
  );
  const data = await x.data();
  const suffix = suffixOf(x);
  if (numel(x.shape) === 0) {
    const size = x.shape.length === 1 ? '' : `, size=(${x.shape.join(', ')})`;
    return `tensor([]${size}${suffix})`;
  }
  const summarize = data.length > threshold;
  const shown = visible(data, x.shape, summarize ? edgeitems : Infinity);
  const notation = notationFor(shown, isFloatingPoint(x.dtype), x.dtype === 'bool', precision);
  const cell = (value: number): string => notation.show(value).padStart(notation.width);
  const edge = summarize ? edgeitems : Infinity;

  const render = (dim: number, offset: number, indent: number): string => {
    if (x.shape.length === 0) return cell(data[0] as number);
    const size = x.shape[dim] as number;
    const step = numel(x.shape.slice(dim + 1));
    const cut = size > 2 * edge;
    const picks: (number | null)[] = cut
      ? [...range(0, edge), null, ...range(size - edge, size)]
      : range(0, size);
    if (dim === x.shape.length - 1) {
      const perLine = Math.max(1, Math.floor((linewidth - indent) / (notation.width + 2)));
      const cells = picks.map((i) => (i === null ? ' ...' : cell(data[offset + i] as number)));
      const lines: string[] = [];
      for (let i = 0; i < cells.length; i += perLine) lines.push(cells.slice(i, i + perLine).join(', '));
      return `[${lines.join(`,\n${' '.repeat(indent + 1)}`)}]`;
    }
    const parts = picks.map((i) => (i === null ? '...' : render(dim + 1, offset + i * step, indent + 1)));
    return `[${parts.join(`,${'\n'.repeat(x.shape.length - dim - 1)}${' '.repeat(indent + 1)}`)}]`;
  };
  const body = render(0, 0, 'tensor('.length);
  const lastLine = body.length - (body.lastIndexOf('\n') + 1);
  const wraps = suffix.length > 0 && lastLine + suffix.length + 1 > linewidth;
  return `tensor(${body}${wraps ? suffix.replace(', ', `,\n${' '.repeat(7)}`) : suffix})`;
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);

/** The values that will be printed. */
function visible(data: TypedArray, shape: readonly number[], edge: number): number[] {
  if (edge === Infinity) return Array.from(data);
  const out: number[] = [];
  const walk = (dim: number, offset: number): void => {
    if (dim === shape.length) {
      out.push(data[offset] as number);
      return;
    }
    const size = shape[dim] as number;
    const step = numel(shape.slice(dim + 1));
    for (let i = 0; i < size; i++)
      if (size <= 2 * edge || i < edge || i >= size - edge) walk(dim + 1, offset + i * step);
  };
  walk(0, 0);
  return out;
}

/** float32, int32 and bool go without saying, as PyTorch's default dtypes do. */
function suffixOf(x: Tensor): string {
  const dtype = x.dtype === 'float16' || x.dtype === 'uint8' ? `, dtype=${x.dtype}` : '';
  const grad =
    x.gradFn !== null ? `, gradFn=<${x.gradFn.name}>` : x.requiresGrad ? ', requiresGrad=true' : '';
  return dtype + grad;
}
