import type { Tensor } from '../../tensor/tensor.js';
import { mean, sum } from '../reduce/reduce.js';
import { rowFunction, type PointwiseFn, type Row } from '../base/row.js';
import { checkReduction, type Reduction } from '../reduce/softmax.js';

export interface LossOptions {
  /** Default: the mean over all elements. */
  reduction?: Reduction;
}

/** @internal A loss per element. */
export const lossRow = (name: string, expr: Row['expr'], options: Partial<Row> = {}): PointwiseFn =>
  rowFunction({ name, kind: 'float', expr, ...options });

/** @internal `losses` as `reduction` says. @throws for another reduction. */
export function reduced(op: string, losses: () => Tensor, reduction: Reduction): Tensor {
  checkReduction(op, reduction);
  const all = losses();
  if (reduction === 'none') return all;
  return reduction === 'mean' ? mean(all) : sum(all);
}
