import { argumentReader, type Needed } from '../../tensor/options.js';
import { defineComposite, defineOp } from '../../autograd/define.js';
import { toFloatType } from '../../tensor/dtype.js';
import { normalizeDim } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { gt, lt } from '../pointwise/compare.js';
import { to } from '../base/copy.js';
import { zeros } from '../creation/creation.js';
import { scatterAdd } from '../gather/gather.js';
import { add, exp, log, neg, sub } from '../pointwise/pointwise.js';
import { runScan, type Scan, type ScanState } from './scan.js';
import { where } from '../pointwise/where.js';

/* Running extremes and logarithms of running sums. */

interface CumState {
  readonly dim: number;
  readonly shape: readonly number[];
}

const extremeOp = (name: 'cummax' | 'cummin'): ((x: Tensor, dim: number) => [Tensor, Tensor]) =>
  defineOp<[Tensor, number], [Tensor, Tensor], CumState>({
    name,
    forward(ctx, x, dim) {
      ctx.state = { dim, shape: x.shape };
      const [values, indices] = runScan({ name, op: name, x, dim }) as [Tensor, Tensor];
      ctx.save(indices);
      return [values, indices];
    },
    backward(ctx, grad) {
      const { dim, shape } = ctx.state;
      return [() => scatterAdd(zeros(shape, { dtype: grad.dtype }), dim, ctx.saved[0] as Tensor, grad)];
    },
  });

type DimArgs = Needed<[dim: number], ['dim']>;
type CumulativeExtreme = (x: Tensor, ...args: DimArgs) => [values: Tensor, indices: Tensor];

const cumulativeExtreme = (name: 'cummax' | 'cummin'): CumulativeExtreme => {
  const op = extremeOp(name);
  const read = argumentReader<[dim: number]>(name, 'dim');
  return defineComposite(name, (x: Tensor, ...args: DimArgs): [Tensor, Tensor] => {
    const [dim] = read(args);
    const d = normalizeDim(name, dim, x.ndim);
    if (x.ndim === 0) return [to(x, { copy: true }), zeros([], { dtype: 'int32' })];
    if (x.dtype !== 'bool') return op(x, d);
    const [values, indices] = op(to(x, 'uint8'), d);
    return [to(values, 'bool'), indices];
  });
};

/** `torch.cummax`: the largest value so far along `dim`, and where it last stood (int32). NaN wins. */
export const cummax: CumulativeExtreme = cumulativeExtreme('cummax');
/** `torch.cummin`: the smallest value so far along `dim`, and where it last stood (int32). NaN wins. */
export const cummin: CumulativeExtreme = cumulativeExtreme('cummin');

const logcumsumexpOp: Scan = defineOp<[Tensor, number, boolean], Tensor, ScanState>({
  name: 'logcumsumexp',
  forward(ctx, x, dim, reverse) {
    ctx.state = { dim, reverse };
    const out = runScan({ name: 'logcumsumexp', op: 'logsumexp', x, dim, reverse })[0] as Tensor;
    ctx.save(x, out);
    return out;
  },
  backward(ctx, grad) {
    const [x, out] = ctx.saved as [Tensor, Tensor];
    const { dim, reverse } = ctx.state;
    // The sum of grad * exp(x - out) behind each element, in logarithms, by sign: exp(-out) may overflow.
    const part = (positive: Tensor, size: Tensor): Tensor => {
      const logs = where(positive, log(where(positive, size, 1)), -3.4028234663852886e38);
      return exp(add(logcumsumexpOp(sub(logs, out), dim, !reverse), x));
    };
    return [() => sub(part(gt(grad, 0), grad), part(lt(grad, 0), neg(grad)))];
  },
});

const readLogcumsumexp = argumentReader<[dim: number]>('logcumsumexp', 'dim');

/** `torch.logcumsumexp`: the logarithm of running sums of exponentials along `dim`, without overflow. */
export const logcumsumexp: (x: Tensor, ...args: DimArgs) => Tensor = defineComposite(
  'logcumsumexp',
  (x: Tensor, ...args: DimArgs): Tensor => {
    const [dim] = readLogcumsumexp(args);
    const source = to(x, toFloatType(x.dtype));
    const d = normalizeDim('logcumsumexp', dim, x.ndim);
    if (x.ndim === 0) return to(source, { copy: true });
    // Of large values float16 keeps too little for the gradient's exponentials.
    return to(logcumsumexpOp(to(source, 'float32'), d, false), source.dtype);
  },
);
