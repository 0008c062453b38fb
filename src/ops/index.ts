import { Tensor } from '../tensor/tensor.js';
import { installPrimitives } from './creation.js';
import * as tensorOps from './tensor-ops.js';

type Method<F> = F extends (self: Tensor, ...args: infer A) => infer R ? (...args: A) => R : never;
type TensorMethods = { [K in keyof typeof tensorOps]: Method<(typeof tensorOps)[K]> };

declare module '../tensor/tensor.js' {
  // Methods follow from the op table: PyTorch's `x.add(y)` beside `add(x, y)`.
  interface Tensor extends TensorMethods {}
}

for (const [name, op] of Object.entries(tensorOps)) {
  Object.defineProperty(Tensor.prototype, name, {
    configurable: true,
    writable: true,
    value(this: Tensor, ...args: never[]): unknown {
      return (op as (self: Tensor, ...rest: never[]) => unknown)(this, ...args);
    },
  });
}

installPrimitives({
  add: (a, b) => tensorOps.add(a, b),
  hasNaN: (x) => tensorOps.isnan(x).any(),
});

export * from './creation.js';
export * from './tensor-ops.js';
