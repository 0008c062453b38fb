import { named } from '../autograd/define.js';
import { Tensor } from '../tensor/tensor.js';
import { installPrimitives } from './creation.js';
import { placeRegion } from './region.js';
import * as tensorOps from './tensor-ops.js';

/** An op as a method; up to three overloads survive. */
type Method<F> = F extends {
  (self: Tensor, ...args: infer A): infer R;
  (self: Tensor, ...args: infer B): infer S;
  (self: Tensor, ...args: infer C): infer T;
}
  ? { (...args: A): R; (...args: B): S; (...args: C): T }
  : never;
type TensorMethods = { [K in keyof typeof tensorOps]: Method<(typeof tensorOps)[K]> };

declare module '../tensor/tensor.js' {
  // Methods follow from the op table: PyTorch's `x.add(y)` beside `add(x, y)`.
  interface Tensor extends TensorMethods {}
}

for (const [name, op] of Object.entries(tensorOps)) {
  const method = function (this: Tensor, ...args: never[]): unknown {
    return (op as (self: Tensor, ...rest: never[]) => unknown)(this, ...args);
  };
  Object.defineProperty(Tensor.prototype, name, {
    configurable: true,
    writable: true,
    value: named(name, method),
  });
}

installPrimitives({
  add: (a, b) => tensorOps.add(a, b),
  hasNaN: (x) => tensorOps.isnan(x).any(),
  placeRegion,
});

export { scaledDotProductAttention, type AttentionOptions } from './attention.js';
export * from './creation.js';
export { cat, stack } from './join.js';
export * from './random.js';
export * from './tensor-ops.js';
export { where } from './where.js';
export { countWork, type Work } from './work.js';
