import { named } from '../../autograd/define.js';
import type { Tensor } from '../../tensor/tensor.js';
import { indexAdd, scatterAdd } from './gather.js';
import { overwrite } from '../base/overwrite.js';
import { indexCopy, indexFill, indexReduce, scatter, scatterReduce } from './scatter.js';
import { put } from './take.js';

/* In-place forms: what PyTorch has with a trailing underscore. */

function inPlace<A extends readonly unknown[]>(
  op: string,
  compute: (x: Tensor, ...args: A) => Tensor,
): (self: Tensor, ...args: A) => Tensor {
  return named(op, (self: Tensor, ...args: A) => overwrite(op, self, () => compute(self, ...args)));
}

/** `torch.Tensor.index_add_`. */
export const indexAdd_: typeof indexAdd = inPlace('indexAdd_', indexAdd);
/** `torch.Tensor.index_copy_`. */
export const indexCopy_: typeof indexCopy = inPlace('indexCopy_', indexCopy);
/** `torch.Tensor.index_fill_`. */
export const indexFill_: typeof indexFill = inPlace('indexFill_', indexFill);
/** `torch.Tensor.index_reduce_`. */
export const indexReduce_: typeof indexReduce = inPlace('indexReduce_', indexReduce);
/** `torch.Tensor.put_`. */
export const put_: typeof put = inPlace('put_', put);
/** `torch.Tensor.scatter_`. */
export const scatter_: typeof scatter = inPlace('scatter_', scatter);
/** `torch.Tensor.scatter_add_`. */
export const scatterAdd_: typeof scatterAdd = inPlace('scatterAdd_', scatterAdd);
/** `torch.Tensor.scatter_reduce_`. */
export const scatterReduce_: typeof scatterReduce = inPlace('scatterReduce_', scatterReduce);
