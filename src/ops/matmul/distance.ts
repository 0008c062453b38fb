import { defineComposite } from '../../autograd/define.js';
import { optionReader, type Trailing } from '../../tensor/options.js';
import { sameShape, showShape } from '../../tensor/shape.js';
import { Tensor } from '../../tensor/tensor.js';
import { indexSelect } from '../gather/gather.js';
import { matmul } from './matmul.js';
import { add, mul, sub } from '../pointwise/pointwise.js';
import { sum } from '../reduce/reduce.js';
import { norm } from '../reduce/statistics.js';
import { permute, reshape, unsqueeze } from '../base/view.js';

const readPdist = optionReader('pdist', { p: 2 }, 'p');

/**
 * `torch.nn.functional.pdist`: the `p` norms of the differences of all pairs of rows of `x` [N, D], in the
 * order (0, 1), (0, 2), ..., (1, 2), ...: N (N - 1) / 2 of them.
 */
export const pdist: (x: Tensor, ...args: Trailing<[p: number], { p?: number }>) => Tensor = defineComposite(
  'pdist',
  (x: Tensor, ...args: Trailing<[p: number], { p?: number }>): Tensor => {
    const { p } = readPdist(args);
    if (x.ndim !== 2) throw new Error(`pdist: expected a matrix [N, D], got shape ${showShape(x.shape)}`);
    if (!(p >= 0)) throw new Error(`pdist: p must be at least 0, got ${p}`);
    const n = x.shape[0] as number;
    const count = (n * (n - 1)) / 2;
    const first = new Int32Array(count);
    const second = new Int32Array(count);
    for (let i = 0, k = 0; i < n; i++) for (let j = i + 1; j < n; j++, k++) [first[k], second[k]] = [i, j];
    const rows = (at: Int32Array): Tensor => indexSelect(x, 0, Tensor.fromHost(at, [count], 'int32'));
    return norm(sub(rows(first), rows(second)), { p, dim: 1 });
  },
);

/**
 * `torch.nn.functional.bilinear`: `y[..., o] = x1[..., :] weight[o] x2[..., :] + bias[o]` of `x1` [..., I],
 * `x2` [..., J] and a weight [O, I, J].
 */
export const bilinear: (x1: Tensor, x2: Tensor, weight: Tensor, bias?: Tensor | null) => Tensor =
  defineComposite(
    'bilinear',
    (x1: Tensor, x2: Tensor, weight: Tensor, bias: Tensor | null = null): Tensor => {
      const [outputs, inner1, inner2] = weight.shape as [number, number, number];
      const lead = x1.shape.slice(0, -1);
      const fits =
        weight.ndim === 3 &&
        x1.ndim >= 1 &&
        sameShape(x1.shape, [...lead, inner1]) &&
        sameShape(x2.shape, [...lead, inner2]);
      if (!fits) {
        const shapes = [x1, x2, weight].map((t) => showShape(t.shape)).join(', ');
        throw new Error(`bilinear: expected inputs [..., I], [..., J] and a weight [O, I, J], got ${shapes}`);
      }
      if (bias !== null && !sameShape(bias.shape, [outputs]))
        throw new Error(`bilinear: bias must have shape [${outputs}], got ${showShape(bias.shape)}`);
      const table = reshape(permute(weight, 1, 0, 2), [inner1, outputs * inner2]);
      const mixed = reshape(matmul(x1, table), [...lead, outputs, inner2]);
      const y = sum(mul(mixed, unsqueeze(x2, -2)), -1);
      return bias === null ? y : add(y, bias);
    },
    4,
  );
