import { isGradEnabled, isInferenceMode } from '../../autograd/mode.js';
import { isDense, overlapsItself, sameShape, showShape, spanOf } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { checkTensors } from './tensors.js';

/*
 * What may be written in place. Every op that overwrites a tensor asks here first; the rules are PyTorch's
 * (https://pytorch.org/docs/stable/notes/autograd.html#in-place-correctness-checks and ATen's MemoryOverlap).
 */

export interface WriteOptions {
  /** Every element gets the same value: elements that share an address do not matter. */
  readonly uniform?: boolean;
}

/** Throws when `name` may not write over `self`, which it may do while reading `sources`. */
export function checkWrite(
  name: string,
  self: Tensor,
  sources: readonly Tensor[] = [],
  { uniform = false }: WriteOptions = {},
): void {
  checkTensors(name, self);
  if (isGradEnabled()) checkLeaf(name, self);
  if (self.isInference && !isInferenceMode()) {
    throw new Error(`${name}: a tensor made in inferenceMode cannot be changed outside it; clone() it first`);
  }
  if (self.tie !== null) {
    const { op, copied } = self.tie;
    throw new Error(
      `${name}: this tensor (shape ${showShape(self.shape)}) is ${copied ? 'a copy' : 'a view'} made by ${op} where PyTorch has ` +
        `${copied ? 'a view' : 'a copy'}, because its source is stored channels-last; clone() it and write to the clone` +
        (copied ? `, or write to the source before ${op}` : ''),
    );
  }
  if (!uniform && overlapsItself(self.shape, self.strides)) {
    throw new Error(
      `${name}: several elements of this tensor (shape ${showShape(self.shape)}, strides ${showShape(self.strides)}) share one place in ` +
        'memory, as after expand(); clone() it before writing to it',
    );
  }
  for (const source of sources) {
    if (source !== self && overlapsPartly(self, source)) {
      throw new Error(
        `${name}: the tensor that is read (shape ${showShape(source.shape)}) shares part of its memory with the one that is written ` +
          `(shape ${showShape(self.shape)}), so that the order of the elements would matter; clone() it first`,
      );
    }
  }
}

function checkLeaf(name: string, self: Tensor): void {
  const base = self.viewOf?.base ?? null;
  const isView = base !== null && base.isLeaf && (base.wantsGrad || self.requiresGrad);
  if (!isView && !(self.isLeaf && self.wantsGrad)) return;
  throw new Error(
    `${name}: ${isView ? 'a view of a leaf' : 'a leaf'} that requires grad cannot be changed in place while grad mode is on; ` +
      'wrap the change in noGrad()',
  );
}

/**
 * ATen's `get_overlap_status`: what has gaps is not looked into (such a source is copied before the write).
 */
function overlapsPartly(a: Tensor, b: Tensor): boolean {
  if (a.storage !== b.storage || a.numel() === 0 || b.numel() === 0) return false;
  if (!isDense(a.shape, a.strides) || !isDense(b.shape, b.strides)) return false;
  const [endA, endB] = [a.offset + spanOf(a.shape, a.strides), b.offset + spanOf(b.shape, b.strides)];
  if (a.offset === b.offset && endA === endB) {
    const sameOrder = (size: number, d: number): boolean => size === 1 || a.strides[d] === b.strides[d];
    return !(sameShape(a.shape, b.shape) && a.shape.every(sameOrder));
  }
  return a.offset < endB && b.offset < endA;
}
