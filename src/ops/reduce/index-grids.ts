import { defineComposite } from '../../autograd/define.js';
import { showShape } from '../../tensor/shape.js';
import { type Needed, optionReader, required, type Trailing } from '../../tensor/options.js';
import { Tensor } from '../../tensor/tensor.js';
import { readOptions, ones, type CreationOptions } from '../creation/creation.js';
import { cat, flip } from '../shape/join.js';
import { cumprod } from './scan.js';
import { expand, unsqueeze } from '../base/view.js';

/* Positions in a triangle, and powers in columns. */

/** The positions [row, column] that lie on the wanted side of a diagonal, row by row: int32 [2, count]. */
function triangleIndices(
  op: string,
  [rows, columns, offset]: readonly number[],
  rangeOf: (row: number, columns: number, offset: number) => [from: number, to: number],
  given: CreationOptions,
): Tensor {
  const { dtype } = readOptions(op, given);
  if (![rows, columns].every((n) => Number.isInteger(n) && (n as number) >= 0) || !Number.isInteger(offset)) {
    throw new Error(
      `${op}: expected rows and columns of 0 or more and an integer offset, got ${rows}, ${columns}, ${offset}`,
    );
  }
  if (dtype !== null && dtype !== 'int32') throw new Error(`${op}: dtype must be int32, got ${dtype}`);
  const [ofRow, ofColumn]: [number[], number[]] = [[], []];
  for (let row = 0; row < (rows as number); row++) {
    const [from, to] = rangeOf(row, columns as number, offset as number);
    for (let column = from; column < to; column++) {
      ofRow.push(row);
      ofColumn.push(column);
    }
  }
  const count = ofRow.length;
  return Tensor.fromHost(Int32Array.from([...ofRow, ...ofColumn]), [2, count], 'int32');
}

export interface TriangleIndicesOptions extends CreationOptions {
  /** 0 is the main diagonal, positive ones lie above it. Default 0. */
  offset?: number;
}

type TriangleArgs = Needed<
  [row: number, col: number],
  ['row', 'col'],
  [offset: number],
  TriangleIndicesOptions
>;

const triangleDefaults = {
  row: required<number>(),
  col: required<number>(),
  offset: 0,
  dtype: undefined as CreationOptions['dtype'],
  device: undefined as unknown,
};
const readTril = optionReader('trilIndices', triangleDefaults, 'row', 'col', 'offset');
const readTriu = optionReader('triuIndices', triangleDefaults, 'row', 'col', 'offset');

/** `torch.tril_indices`: where the lower triangle of a matrix lies, int32 [2, count]. */
export function trilIndices(...args: TriangleArgs): Tensor {
  const { row, col, offset, ...options } = readTril(args);
  return triangleIndices(
    'trilIndices',
    [row, col, offset],
    (i, n, k) => [0, Math.min(n, i + k + 1)],
    options,
  );
}

/** `torch.triu_indices`: where the upper triangle of a matrix lies, int32 [2, count]. */
export function triuIndices(...args: TriangleArgs): Tensor {
  const { row, col, offset, ...options } = readTriu(args);
  return triangleIndices('triuIndices', [row, col, offset], (i, n, k) => [Math.max(0, i + k), n], options);
}

export interface VanderOptions {
  /** How many columns. Default: as many as `x` has elements. */
  N?: number;
  /** Powers rise from left to right. Default false. */
  increasing?: boolean;
}

const readVander = optionReader('vander', { N: null as number | null, increasing: false }, 'N', 'increasing');

/** `torch.vander`: the powers of a vector's elements as columns, the highest first unless `increasing`. */
export const vander: (
  x: Tensor,
  ...args: Trailing<[N: number, increasing: boolean], VanderOptions>
) => Tensor = defineComposite('vander', (x: Tensor, ...args: readonly unknown[]): Tensor => {
  const { N, increasing } = readVander(args);
  if (x.ndim !== 1) throw new Error(`vander: expected a vector, got shape ${showShape(x.shape)}`);
  const count = N ?? x.numel();
  if (!Number.isInteger(count) || count < 0)
    throw new Error(`vander: N must be an integer of 0 or more, got ${count}`);
  const first = ones([x.numel(), Math.min(1, count)], { dtype: x.dtype });
  if (count < 2) return first;
  const rising = cat([first, cumprod(expand(unsqueeze(x, -1), [x.numel(), count - 1]), -1)], -1);
  return increasing ? rising : flip(rising, -1);
});
