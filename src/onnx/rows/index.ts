/** Every op that has a counterpart. */
import { rowOf } from '../../ops/base/row.js';
import { inside, type Row, type RowTable } from '../row.js';
import { activationRows } from './activation.js';
import { rowOfExpression } from './expr.js';
import { imageRows } from './images.js';
import { productRows } from './products.js';
import { recurrentRows } from './recurrent.js';
import { rotaryRows } from './rotary.js';
import { scatterRows } from './scatter.js';
import { shapeRows } from './shape.js';

const table: RowTable = {
  ...activationRows,
  ...imageRows,
  ...productRows,
  ...recurrentRows,
  ...rotaryRows,
  ...scatterRows,
  ...shapeRows,
};

/** Their names, besides pointwise ops, which are written as their expressions say. */
export const exportedOps: readonly string[] = Object.keys(table);

/** What stands for the op in a graph; null: what it is made of. */
export function findRow(name: string, op: (...args: never[]) => unknown): Row | null {
  const own = Object.hasOwn(table, name) ? (table[name] as Row) : null;
  const pointwise = rowOf(op);
  if (pointwise === null) return own;
  const written = rowOfExpression(pointwise);
  if (own === null) return written;
  return (t, args, result) => {
    const made = own(t, args, result);
    return made === inside ? written(t, args, result) : made;
  };
}
