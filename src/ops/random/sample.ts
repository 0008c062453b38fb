import { defineOp } from '../../autograd/define.js';
import { e, input } from '../../kernels/expr/expr.js';
import { isFloatingPoint } from '../../tensor/dtype.js';
import { showShape } from '../../tensor/shape.js';
import { Tensor } from '../../tensor/tensor.js';
import { checkOnDevice } from '../base/check.js';
import { lt } from '../pointwise/compare.js';
import { to } from '../base/copy.js';
import { drawInto, uniformRange } from './draw.js';
import { trueDivide as div, mul } from '../pointwise/pointwise.js';
import { runReduce } from '../base/reduction.js';
import { cumsum } from '../reduce/scan.js';
import { topk } from '../index/sort.js';
import { expand, narrow, reshape, unsqueeze } from '../base/view.js';
import { type Needed, optionReader, requireBoolean, required, type Trailing } from '../../tensor/options.js';
import { bernoulli_ } from './fill.js';

/* Draws from distributions that a tensor describes. None of them has a gradient. */

function requireFloat(op: string, x: Tensor): void {
  if (!isFloatingPoint(x.dtype))
    throw new Error(`${op}: expected a float32 or float16 tensor, got ${x.dtype}`);
}

type BernoulliArgs = Trailing<[p: number], { p?: number }>;
const readBernoulli = optionReader('bernoulli', { p: null as number | null }, 'p');

/**
 * `torch.bernoulli`: per element 1 with the probability that `x` holds there, else 0; in the dtype of `x`.
 *
 * @throws (at the next await) DataError for a value that is no probability
 */
export const bernoulli: (x: Tensor, ...args: BernoulliArgs) => Tensor = defineOp<
  [Tensor, ...BernoulliArgs],
  Tensor
>({
  name: 'bernoulli',
  forward(_, x, ...args) {
    const { p } = readBernoulli(args);
    if (p !== null) return bernoulli_(Tensor.empty(x.shape, x.dtype, 'bernoulli'), p);
    requireFloat('bernoulli', x);
    checkOnDevice('bernoulli', 'probability', x);
    return to(
      lt(drawInto(Tensor.empty(x.shape, 'float32', 'bernoulli'), uniformRange('bernoulli', 0, 1)), x),
      x.dtype,
    );
  },
});

export interface MultinomialOptions {
  /** Let the same category come up again. Default false. */
  replacement?: boolean;
}

/**
 * Category of a draw u: how many cumulated weights do not exceed it. The second test keeps rounding off
 * categories of weight 0.
 */
const passed = e.cast(e.and(e.le(input(1), input(0)), e.lt(input(1), input(2))), 'i32');

/** Row by row, the first category whose cumulated weight exceeds a uniform share of the total. */
function withReplacement(weights: Tensor, samples: number): Tensor {
  const [rows, categories] = weights.shape as [number, number];
  const cumulated = cumsum(weights, 1);
  const total = narrow(cumulated, 1, categories - 1, 1);
  checkOnDevice('multinomial', 'total', total);
  const draws = drawInto(
    Tensor.empty([rows, samples], 'float32', 'multinomial'),
    uniformRange('multinomial', 0, 1),
  );
  const all = [rows, samples, categories];
  const inputs = [
    expand(unsqueeze(mul(draws, total), 2), all),
    expand(unsqueeze(cumulated, 1), all),
    expand(unsqueeze(total, 2), all),
  ];
  return runReduce({
    name: 'multinomial',
    recipe: { op: 'sum', map: passed },
    inputs,
    dims: [2],
    keepdim: false,
    dtypes: ['int32'],
  })[0] as Tensor;
}

/**
 * The largest of `weight / exponential draw`: the order in which exponential clocks of these rates would
 * ring.
 */
function withoutReplacement(weights: Tensor, samples: number): Tensor {
  const clocks = drawInto(Tensor.empty(weights.shape, 'float32', 'multinomial'), {
    kind: 'exponential',
    rate: 1,
  });
  const [rung, drawn] = topk(div(weights, clocks), samples, { dim: 1 });
  checkOnDevice('multinomial', 'drawn', rung);
  return drawn;
}

type MultinomialArgs = Needed<
  [numSamples: number],
  ['numSamples'],
  [replacement: boolean],
  MultinomialOptions
>;
const readMultinomial = optionReader(
  'multinomial',
  { numSamples: required<number>(), replacement: false },
  'numSamples',
  'replacement',
);

/**
 * `torch.multinomial`: `numSamples` categories (int32) per row of weights `x`, [C] or [rows, C]; rows need
 * not add up to 1. Without replacement each row must have at least `numSamples` positive weights.
 *
 * @throws (at the next await) DataError for weights that are negative, infinite or NaN, and for a row without
 * enough positive ones
 */
export const multinomial: (x: Tensor, ...args: MultinomialArgs) => Tensor = defineOp<
  [Tensor, ...MultinomialArgs],
  Tensor
>({
  name: 'multinomial',
  forward(_, x, ...args) {
    const { numSamples, replacement } = readMultinomial(args);
    requireBoolean('multinomial: replacement', replacement);
    requireFloat('multinomial', x);
    const categories = x.shape[x.ndim - 1] ?? 0;
    if ((x.ndim !== 1 && x.ndim !== 2) || categories === 0) {
      throw new Error(`multinomial: expected weights of shape [C] or [rows, C], got ${showShape(x.shape)}`);
    }
    if (!Number.isInteger(numSamples) || numSamples < 1 || (!replacement && numSamples > categories)) {
      const most = replacement ? '' : ` and at most ${categories} (or pass { replacement: true })`;
      throw new Error(`multinomial: numSamples must be a positive integer${most}, got ${numSamples}`);
    }
    const weights = reshape(to(x, 'float32'), [-1, categories]);
    checkOnDevice('multinomial', 'weight', weights);
    const drawn = (replacement ? withReplacement : withoutReplacement)(weights, numSamples);
    return x.ndim === 1 ? reshape(drawn, [numSamples]) : drawn;
  },
});
