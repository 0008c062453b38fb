import { checkCount } from '../../tensor/options.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { Operand } from '../base/row.js';
import { checkTensors } from '../base/tensors.js';
import { where as choose } from '../pointwise/where.js';
import { nonzero } from './nonzero.js';

/**
 * `torch.where`: `a` where `condition` is true, `b` elsewhere; all three broadcast. With the condition alone
 * (of any dtype) where it is not zero, as `nonzero(condition, { asTuple: true })` says it: a promise.
 */
export function where(condition: Tensor): Promise<Tensor[]>;
export function where(condition: Tensor, a: Operand, b: Operand): Tensor;
export function where(condition: Tensor, ...chosen: readonly Operand[]): Tensor | Promise<Tensor[]> {
  checkCount('where', arguments.length, 3);
  checkTensors('where', condition);
  if (chosen.length === 0) return nonzero(condition, { asTuple: true });
  const [a, b] = chosen;
  if (a === undefined || b === undefined) throw new Error('where: give two values to choose from, or none');
  return choose(condition, a, b);
}
