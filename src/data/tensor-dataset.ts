import { indexSelect, select, tensor } from '../ops/index.js';
import { isPlainObject } from '../tensor/options.js';
import { showShape } from '../tensor/shape.js';
import { isTensor, type Tensor } from '../tensor/tensor.js';
import { tidy } from '../tensor/tidy.js';
import type { HostBatch } from './collate.js';
import { checkIndex, type Dataset } from './dataset.js';
import type { HostArray, HostData } from './host.js';

type Columns = readonly (Tensor | HostArray)[];
type Row<C extends Columns> = { -readonly [K in keyof C]: C[K] extends Tensor ? Tensor : HostArray };

function gather({ data, shape }: HostArray, indices: readonly number[]): HostArray {
  const size = data.length / shape[0]!;
  const Data = data.constructor as new (length: number) => HostData;
  const rows = new Data(indices.length * size);
  indices.forEach((index, position) =>
    rows.set(data.subarray(index * size, (index + 1) * size), position * size),
  );
  return { data: rows, shape: [indices.length, ...shape.slice(1)] };
}

/**
 * Samples are the rows of Tensors or host arrays of one length (PyTorch's `TensorDataset`): row `i` of the
 * sample's k-th entry is column k at `[i]`. Host arrays stay on the host until a batch is made, so they may
 * be larger than the GPU's memory.
 */
export class TensorDataset<const C extends Columns> implements Dataset<Row<C>> {
  readonly length: number;
  readonly columns: C;

  constructor(...columns: C) {
    const first = columns[0];
    if (first === undefined) throw new Error('TensorDataset: give it at least one tensor');
    columns.forEach((column: Tensor | HostArray | undefined, i) => {
      if (!isTensor(column) && !Array.isArray((column as HostArray | undefined)?.shape))
        throw new Error(
          `TensorDataset: argument ${i} is ${isPlainObject(column) ? `an object of ${Object.keys(column).join(', ')}` : String(column)}; give it tensors, or host arrays { data, shape }, and nothing else`,
        );
    });
    columns.forEach((column, i) => {
      if (column.shape.length === 0) {
        throw new Error(`TensorDataset: argument ${i} has no dimensions; the first one counts the samples`);
      }
      if (column.shape[0] !== first.shape[0]) {
        throw new Error(
          `TensorDataset: argument 0 has ${first.shape[0]} rows but argument ${i} has ${column.shape[0]} ` +
            `(shapes [${first.shape.join(', ')}] and [${column.shape.join(', ')}]); they must match`,
        );
      }
      if (
        !isTensor(column) &&
        column.shape.reduce((size, length) => size * length, 1) !== column.data.length
      ) {
        throw new Error(
          `TensorDataset: argument ${i} holds ${column.data.length} values, which do not fill [${column.shape.join(', ')}]`,
        );
      }
    });
    this.length = first.shape[0]!;
    this.columns = columns;
  }

  /** The number of samples, and of each column what it is and its shape. */
  toString(): string {
    const columns = this.columns.map((column) => {
      const kind = isTensor(column) ? column.dtype : column.data.constructor.name;
      return `${kind} ${showShape(column.shape)}`;
    });
    return `TensorDataset(length=${this.length}, columns=[${columns.join(', ')}])`;
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
  }

  get(index: number): Row<C> {
    checkIndex('TensorDataset', index, this.length);
    return this.columns.map((column) => {
      if (isTensor(column)) return select(column, 0, index);
      const row = gather(column, [index]);
      return { data: row.data, shape: row.shape.slice(1) };
    }) as Row<C>;
  }

  getBatch(indices: readonly number[]): HostBatch<Row<C>> {
    for (const index of indices) checkIndex('TensorDataset', index, this.length);
    return this.columns.map((column) =>
      isTensor(column)
        ? tidy(() => indexSelect(column, 0, tensor(Int32Array.from(indices))))
        : gather(column, indices),
    ) as HostBatch<Row<C>>;
  }
}
