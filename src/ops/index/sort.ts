import { checkTensors } from '../base/tensors.js';
import { runtime } from '../../device/index.js';
import { defineOp } from '../../autograd/define.js';
import { planSort, planTopk } from '../../kernels/index/sort.js';
import { normalizeDim, showShape } from '../../tensor/shape.js';
import { Tensor } from '../../tensor/tensor.js';
import { zeros } from '../creation/creation.js';
import { scatterAdd } from '../gather/gather.js';
import { planLimits, runPlan } from '../base/run-plan.js';
import { detach, reshape } from '../base/view.js';
import { optionReader, required, requireBoolean, type Needed, type Trailing } from '../../tensor/options.js';

/* Order along a dim. NaN counts as the largest value, equal elements keep their order. */

interface SortState {
  readonly shape: readonly number[];
  readonly dim: number;
}

/** The first `k` of `dim` in order, with their positions. */
const orderOp: (
  x: Tensor,
  k: number,
  dim: number,
  descending: boolean,
  name: 'sort' | 'topk',
) => [Tensor, Tensor] = defineOp<
  [Tensor, number, number, boolean, 'sort' | 'topk'],
  [Tensor, Tensor],
  SortState
>({
  name: 'sort',
  forward(ctx, x, k, dim, descending, name) {
    ctx.state = { shape: x.shape, dim };
    const shape = x.shape.map((size, i) => (i === dim ? k : size));
    const values = Tensor.empty(shape, x.dtype, name);
    const indices = Tensor.empty(shape, 'int32', name);
    if (values.numel() > 0) {
      const plan = (name === 'sort' ? planSort : planTopk)(runtime().target, {
        name,
        x,
        dim,
        descending,
        values,
        indices,
        ...planLimits(),
      });
      runPlan(name, plan, { x, values, indices });
    }
    ctx.save(indices);
    return [values, indices];
  },
  backward(ctx, grad) {
    const { shape, dim } = ctx.state;
    return [() => scatterAdd(zeros(shape, { dtype: grad.dtype }), dim, ctx.saved[0] as Tensor, grad)];
  },
});

export interface SortOptions {
  dim?: number;
  descending?: boolean;
  /** Equal elements keep their order; always so here. */
  stable?: boolean;
}

/** `sort(x, dim, descending)` or `sort(x, { dim, descending })`. */
type SortArgs = Trailing<[dim: number, descending: boolean], SortOptions>;

const sortDefaults: Required<SortOptions> = { dim: -1, descending: false, stable: true };
const readSort = optionReader('sort', sortDefaults, 'dim', 'descending');
const readArgsort = optionReader('argsort', sortDefaults, 'dim', 'descending');

/** `torch.sort`: values in order along a dim (the last by default) and their int32 indices. */
export function sort(x: Tensor, ...args: SortArgs): [values: Tensor, indices: Tensor] {
  checkTensors('sort', x);
  const { dim, descending } = readSort(args);
  requireBoolean('sort: descending', descending);
  const d = normalizeDim('sort', dim, x.ndim);
  if (x.ndim === 0) return unlift(sort(reshape(x, [1]), 0));
  return orderOp(x, x.shape[d] as number, d, descending, 'sort');
}

/** `torch.argsort`: the indices that sort a dim. */
export function argsort(x: Tensor, ...args: SortArgs): Tensor {
  checkTensors('argsort', x);
  return sort(detach(x), readArgsort(args))[1];
}

export interface TopkOptions {
  dim?: number;
  /** The largest (default) or the smallest. */
  largest?: boolean;
  /** In order; always so here. */
  sorted?: boolean;
}

const readTopk = optionReader<Required<TopkOptions> & { k: number }>(
  'topk',
  { k: required(), dim: -1, largest: true, sorted: true },
  'k',
  'dim',
  'largest',
  'sorted',
);

/** `torch.topk`: the `k` largest (or smallest) of a dim, in order, and their int32 indices. */
export function topk(
  x: Tensor,
  ...args: Needed<[k: number], ['k'], [dim: number, largest: boolean, sorted: boolean], TopkOptions>
): [values: Tensor, indices: Tensor] {
  const { k, dim, largest } = readTopk(args);
  requireBoolean('topk: largest', largest);
  const d = normalizeDim('topk', dim, x.ndim);
  const size = x.shape[d] ?? 1;
  if (!Number.isInteger(k) || k < 0 || k > size)
    throw new Error(`topk: k = ${k} is out of range for dim ${dim} of shape ${showShape(x.shape)}`);
  if (x.ndim === 0) return unlift(topk(reshape(x, [1]), k, { dim: 0, largest }));
  return orderOp(x, k, d, largest, 'topk');
}

const unlift = ([values, indices]: [Tensor, Tensor]): [Tensor, Tensor] => [
  reshape(values, []),
  reshape(indices, []),
];
