import { interceptedBy } from '../../autograd/mode.js';
import type { Tensor } from '../../tensor/tensor.js';
import { scoped } from '../../tensor/tidy.js';
import { copy_ } from './copy.js';
import { checkWrite } from './write.js';
import { checkStored } from './row.js';

/**
 * @internal The in-place form `op` of an op that makes a new tensor: computes, then writes the result over
 * `self`. As in PyTorch, `amp.autocast` leaves it alone.
 */
export function overwrite(op: string, self: Tensor, result: () => Tensor): Tensor {
  checkWrite(op, self);
  scoped(op, () => {
    const made = interceptedBy(null, result);
    checkStored(op, made.dtype, self.dtype);
    if (made !== self) copy_(self, made);
  });
  self.storage.writer = op;
  return self;
}
