import { currentInterceptor, interceptedBy } from '../../autograd/mode.js';
import type { GradNode } from '../../autograd/node.js';
import { sameShape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { scoped } from '../../tensor/tidy.js';
import { standsAlone } from './apply.js';
import { copy_ } from './copy.js';
import { checkWrite } from './write.js';
import { checkStored } from './row.js';

/** Of the interceptors only those that follow writes see how the result is made. */
const madeBy = (result: () => Tensor): Tensor =>
  currentInterceptor()?.write === undefined ? interceptedBy(null, result) : result();

function replace(self: Tensor, made: Tensor, write: () => void): void {
  const written = currentInterceptor()?.write?.('copy_', copy_, [self, made]);
  if (written === undefined) write();
  else {
    interceptedBy(null, write);
    written();
  }
}

/**
 * @internal The in-place form `op` of an op that makes a new tensor: computes, then writes the result over
 * `self`. As in PyTorch, `amp.autocast` leaves it alone.
 */
export function overwrite(op: string, self: Tensor, result: () => Tensor): Tensor {
  checkWrite(op, self);
  scoped(op, () => {
    const made = madeBy(result);
    checkStored(op, made.dtype, self.dtype);
    if (made !== self) replace(self, made, () => void copy_(self, made));
  });
  self.storage.writer = op;
  return self;
}

/**
 * @internal The same for a result of the shape and dtype of `self` whose gradient does not read `self`
 * (dropout): where nobody else shows the memory of `self` it becomes the result, without a copy.
 */
export function overwriteUnread(op: string, self: Tensor, result: () => Tensor): Tensor {
  checkWrite(op, self);
  if (!standsAlone(self)) return overwrite(op, self, result);
  scoped(op, () => {
    const made = madeBy(result);
    if (made === self) return;
    if (!sameShape(made.strides, self.strides)) {
      replace(self, made, () => void copy_(self, made));
      return;
    }
    const { node, outputIndex } = made;
    replace(self, made, () => {
      self.storage.beginWrite(op);
      self.becomes(made);
    });
    (node as GradNode | null)?.placeOutput(self, outputIndex);
  });
  self.storage.writer = op;
  return self;
}
