import { defineComposite } from '../../autograd/define.js';
import { noGrad } from '../../autograd/mode.js';
import { e, type Expr } from '../../kernels/expr/expr.js';
import { argumentReader, type Needed, optionReader, type Trailing } from '../../tensor/options.js';
import { Tensor } from '../../tensor/tensor.js';
import { leakyRelu, leakyRelu_ } from '../pointwise/activation.js';
import { scatter } from '../gather/scatter.js';
import { zerosLike } from '../creation/creation.js';
import { add, div, log, neg, sub } from '../pointwise/pointwise.js';
import { exponential_, uniform_ } from './fill.js';
import { argmax } from '../reduce/reduce.js';
import { inPlaceFunction, inPlaceOf, rowFunction, type PointwiseFn, type Row } from '../base/row.js';
import { softmax, type SoftmaxArgs } from '../reduce/softmax.js';
import { detach, unsqueeze } from '../base/view.js';

/** `torch.nn.functional.softmin`: softmax of `-x` along `dim`. */
export const softmin: (x: Tensor, ...args: SoftmaxArgs) => Tensor = defineComposite(
  'softmin',
  (x: Tensor, ...args: SoftmaxArgs): Tensor => softmax(neg(x), ...args),
);

const thresholdRow: Row = {
  name: 'threshold',
  kind: 'promote',
  expr: (x: Expr, limit: Expr, value: Expr) => e.select(e.le(x, limit), value, x),
};
const thresholdFn = rowFunction(thresholdRow);

const thresholdInPlace = inPlaceFunction(thresholdRow);

type ThresholdArgs = Needed<[threshold: number, value: number], ['threshold', 'value']>;
const thresholdReader = (op: string) =>
  argumentReader<[threshold: number, value: number]>(op, 'threshold', 'value');
const readThreshold = thresholdReader('threshold');
const readThresholdInPlace = thresholdReader('threshold_');

/** `torch.nn.functional.threshold`: `x` above `limit`, `value` elsewhere. */
export function threshold(x: Tensor, ...args: ThresholdArgs): Tensor {
  const [limit, value] = readThreshold(args);
  return thresholdFn(x, limit, value);
}

/** `torch.nn.functional.threshold_`: {@link threshold} in place. */
export function threshold_(x: Tensor, ...args: ThresholdArgs): Tensor {
  const [limit, value] = readThresholdInPlace(args);
  return thresholdInPlace(x, limit, value);
}

export interface RreluOptions {
  /** Least slope. Default 1/8. */
  lower?: number;
  /** Greatest slope. Default 1/3. */
  upper?: number;
  /** Draw the slopes; otherwise take the middle one. Default false. */
  training?: boolean;
}

const readRrelu = optionReader<Required<RreluOptions>>(
  'rrelu',
  { lower: 1 / 8, upper: 1 / 3, training: false },
  'lower',
  'upper',
  'training',
);

const slopeFn = rowFunction({
  name: 'rrelu',
  kind: 'float',
  expr: (x, slope) => e.select(e.le(x, 0), e.mul(x, slope), x),
});

const slopeInPlace = inPlaceOf(slopeFn);

type Rrelu = (
  x: Tensor,
  ...args: Trailing<[lower: number, upper: number, training: boolean], RreluOptions>
) => Tensor;

const rreluWith = (name: string, leaky: typeof leakyRelu, sloped: PointwiseFn): Rrelu =>
  defineComposite(name, (x, ...args) => {
    const { lower, upper, training } = readRrelu(args);
    if (!(lower <= upper)) throw new Error(`${name}: lower must be at most upper, got ${lower} and ${upper}`);
    if (!training) return leaky(x, { negativeSlope: (lower + upper) / 2 });
    return sloped(x, uniform_(Tensor.empty(x.shape, x.dtype, name), lower, upper));
  });

/**
 * `torch.nn.functional.rrelu` (Xu et al. 2015): leaky ReLU whose slope is drawn anew for each element from
 * `lower` to `upper` in training, and is their mean otherwise.
 */
export const rrelu: Rrelu = rreluWith('rrelu', leakyRelu, slopeFn);
/** `torch.nn.functional.rrelu_`: {@link rrelu} in place. */
export const rrelu_: Rrelu = rreluWith('rrelu_', leakyRelu_, slopeInPlace);

export interface GumbelSoftmaxOptions {
  /** Temperature. Default 1. */
  tau?: number;
  /** Give one-hot samples, with the gradient of the soft ones. */
  hard?: boolean;
  /** Default -1. */
  dim?: number;
}

const readGumbel = optionReader<Required<GumbelSoftmaxOptions>>(
  'gumbelSoftmax',
  { tau: 1, hard: false, dim: -1 },
  'tau',
  'hard',
);

type GumbelArgs = Trailing<[tau: number, hard: boolean], GumbelSoftmaxOptions>;

/**
 * `torch.nn.functional.gumbel_softmax` (Jang et al. 2017): softmax along `dim` of `(logits + g) / tau` with
 * Gumbel noise `g`.
 */
export const gumbelSoftmax: (logits: Tensor, ...args: GumbelArgs) => Tensor = defineComposite(
  'gumbelSoftmax',
  (logits: Tensor, ...args: GumbelArgs): Tensor => {
    const { tau, hard, dim } = readGumbel(args);
    const noise = noGrad(() =>
      neg(log(exponential_(Tensor.empty(logits.shape, logits.dtype, 'gumbelSoftmax')))),
    );
    const soft = softmax(div(add(logits, noise), tau), dim);
    if (!hard) return soft;
    // The value is that of the one-hot sample, the gradient that of the soft one.
    const rest = noGrad(() => {
      const at = unsqueeze(argmax(soft, dim), dim);
      return sub(scatter(zerosLike(soft), dim, at, 1), soft);
    });
    return add(soft, detach(rest));
  },
);
