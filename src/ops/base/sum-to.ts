import { defineOp } from '../../autograd/define.js';
import { mayOverflow } from '../../kernels/reduce/exact-int.js';
import type { Reduction } from '../../kernels/reduce/plan.js';
import { isFloatingPoint } from '../../tensor/dtype.js';
import { normalizeDims, numel, sameShape, type Shape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { countOf, loaded, runReduce, spread, type Span } from './reduction.js';
import { reshape } from './view.js';

const sumOp: (x: Tensor, dims: readonly number[], keepdim: boolean) => Tensor = defineOp<
  [Tensor, readonly number[], boolean],
  Tensor,
  Span
>({
  name: 'sum',
  forward(ctx, x, dims, keepdim) {
    ctx.state = { shape: x.shape, dims };
    const dtype = isFloatingPoint(x.dtype) ? x.dtype : 'int32';
    const exact = mayOverflow('exactSum', x.dtype, countOf(ctx.state));
    const recipe: Reduction = { op: exact ? 'exactSum' : 'sum', map: loaded(x.dtype) };
    return runReduce({ name: 'sum', recipe, inputs: [x], dims, keepdim, dtypes: [dtype] })[0] as Tensor;
  },
  backward: (ctx, grad) => [() => spread(grad, ctx.state)],
});

/** @internal `sum` with everything settled. */
export function sumDims(x: Tensor, dims: readonly number[], keepdim: boolean): Tensor {
  return sumOp(x, normalizeDims('sum', dims, x.ndim), keepdim);
}

/** The gradient of broadcasting: sums `x` over the dims along which `shape` was repeated. */
export function sumTo(x: Tensor, shape: Shape): Tensor {
  if (sameShape(x.shape, shape)) return x;
  if (numel(x.shape) === numel(shape)) return reshape(x, shape);
  const lead = x.ndim - shape.length;
  const dims: number[] = [];
  x.shape.forEach((size, i) => {
    if (i < lead || (shape[i - lead] === 1 && size !== 1)) dims.push(i);
  });
  const summed = sumDims(x, dims, true);
  return lead === 0 ? summed : reshape(summed, shape);
}
