/** PyTorch's `x.add(y)` beside `add(x, y)`: loading this file makes methods of the ops in tensor-ops.ts. */
import type { BackwardOptions } from '../autograd/engine.js';
import type { DeviceName } from '../tensor/dtype.js';
import { checkCount } from '../tensor/options.js';
import { Tensor } from '../tensor/tensor.js';
import { backward } from './autograd/autograd.js';
import { matrixTranspose, reversed } from './shape/rearrange.js';
import type { Operand } from './base/row.js';
import { where } from './pointwise/where.js';
import * as tensorOps from './tensor-ops.js';

// PyTorch has `rsub` as a function only.
const { rsub: _, ...methods } = tensorOps;

type Same<A, B> = [A, B] extends [B, A] ? true : false;

/**
 * An op as a method; up to three overloads survive. For a function with fewer, inference repeats the last or
 * the first, which is folded again.
 */
type Method<F> = F extends {
  (self: Tensor, ...args: infer A extends readonly unknown[]): infer R;
  (self: Tensor, ...args: infer B extends readonly unknown[]): infer S;
  (self: Tensor, ...args: infer C extends readonly unknown[]): infer T;
}
  ? Same<B, C> extends true
    ? Same<A, C> extends true
      ? (...args: C) => T
      : { (...args: A): R; (...args: C): T }
    : Same<A, B> extends true
      ? { (...args: A): R; (...args: C): T }
      : { (...args: A): R; (...args: B): S; (...args: C): T }
  : never;
type TensorMethods = { [K in keyof typeof methods]: Method<(typeof methods)[K]> };

declare module '../tensor/tensor.js' {
  // The build writes these out with their names and comments (scripts/build/tensor-methods.mjs).
  interface Tensor extends TensorMethods {
    /** Adds the gradients of this tensor into the leaves' `.grad`; see {@link backward}. */
    backward(
      gradient?: Tensor | (BackwardOptions & { gradient?: Tensor | null }) | null,
      options?: BackwardOptions,
    ): void;
    /** `where(condition, this, other)`. */
    where(condition: Tensor, other: Operand): Tensor;
    /** The dims in reverse order; a view. */
    readonly T: Tensor;
    /** A matrix transposed (there are no complex numbers to conjugate); a view. */
    readonly H: Tensor;
    /** The last two dims swapped; a view. */
    readonly mT: Tensor;
    /** As `mT` (there are no complex numbers to conjugate). */
    readonly mH: Tensor;
    /** `'webgpu'`: every tensor is on the one device. */
    readonly device: DeviceName;
    /** The tensor itself: it is on the GPU. */
    cuda(): this;
    /** The tensor itself. Its values are read by `await x.data()`, `x.toArray()` or `x.item()`. */
    cpu(): this;
    /** @throws Error saying how values are read, which takes an `await` */
    numpy(): never;
  }
}

// PyTorch's method has the first choice before the condition.
const whereOf = (self: Tensor, ...args: readonly unknown[]): Tensor => {
  checkCount('where', args.length + 1, 3);
  return where(args[0] as Tensor, self, args[1] as Operand);
};

const here = (self: Tensor, ...args: readonly unknown[]): Tensor => {
  checkCount('cuda and cpu', args.length + 1, 1);
  return self;
};
const numpy = (): never => {
  throw new Error(
    'numpy: values are read asynchronously: await x.data() gives a typed array, await x.toArray() nested arrays',
  );
};

for (const [name, op] of Object.entries({
  ...methods,
  backward,
  where: whereOf,
  cuda: here,
  cpu: here,
  numpy,
})) {
  const apply = op as (self: Tensor, ...args: never[]) => unknown;
  // Named by its key in stack traces.
  const { [name]: value } = {
    [name](this: Tensor, ...args: never[]): unknown {
      return apply(this, ...args);
    },
  };
  Object.defineProperty(Tensor.prototype, name, { configurable: true, writable: true, value });
}

for (const [name, op] of Object.entries({
  T: reversed,
  H: reversed,
  mT: matrixTranspose,
  mH: matrixTranspose,
})) {
  Object.defineProperty(Tensor.prototype, name, {
    configurable: true,
    // Tools that list a prototype read it there too, where there is nothing to transpose.
    get(this: Tensor): Tensor | undefined {
      return this === Tensor.prototype ? undefined : op(name, this);
    },
  });
}

Object.defineProperty(Tensor.prototype, 'device', {
  configurable: true,
  get: (): DeviceName => 'webgpu',
});
