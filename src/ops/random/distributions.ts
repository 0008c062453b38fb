import { checkTensors } from '../base/tensors.js';
import {
  argumentReader,
  checkCount,
  type Needed,
  optionReader,
  type Trailing,
} from '../../tensor/options.js';
import { isFloatingPoint, type DType } from '../../tensor/dtype.js';
import { Tensor } from '../../tensor/tensor.js';
import { overwrite } from '../base/overwrite.js';
import { add, ceil, clampMin, div, exp, log1p, mul, neg, sub, tan } from '../pointwise/pointwise.js';
import { drawInto, integerRange, uniformRange } from './draw.js';

/* In-place draws that are made of uniform and normal ones. */

function requireFloat(op: string, x: Tensor): void {
  if (!isFloatingPoint(x.dtype))
    throw new Error(`${op}: expected a float32 or float16 tensor, got ${x.dtype}`);
}

/** Float32 draws of the shape of `x`, uniform in [0, 1). */
const uniform = (op: string, x: Tensor): Tensor =>
  drawInto(Tensor.empty(x.shape, 'float32', op), uniformRange(op, 0, 1));

const readCauchy = optionReader('cauchy_', { median: 0, sigma: 1 }, 'median', 'sigma');

/** `torch.Tensor.cauchy_`: density `sigma / (pi * ((x - median)^2 + sigma^2))`. */
export function cauchy_(
  x: Tensor,
  ...args: Trailing<[median: number | undefined, sigma: number], { median?: number; sigma?: number }>
): Tensor {
  checkTensors('cauchy_', x);
  const { median, sigma } = readCauchy(args);
  requireFloat('cauchy_', x);
  if (!(sigma > 0)) throw new Error(`cauchy_: sigma must be positive, got ${sigma}`);
  return overwrite('cauchy_', x, () =>
    add(mul(tan(mul(sub(uniform('cauchy_', x), 0.5), Math.PI)), sigma), median),
  );
}

const readLogNormal = optionReader('logNormal_', { mean: 1, std: 2 }, 'mean', 'std');

/** `torch.Tensor.log_normal_`: e to the power of normal draws of this mean and deviation. */
export function logNormal_(
  x: Tensor,
  ...args: Trailing<[mean: number | undefined, std: number], { mean?: number; std?: number }>
): Tensor {
  checkTensors('logNormal_', x);
  const { mean, std } = readLogNormal(args);
  requireFloat('logNormal_', x);
  if (!(std > 0)) throw new Error(`logNormal_: std must be positive, got ${std}`);
  return overwrite('logNormal_', x, () =>
    exp(drawInto(Tensor.empty(x.shape, 'float32', 'logNormal_'), { kind: 'normal', mean, std })),
  );
}

const readGeometric = argumentReader<[p: number]>('geometric_', 'p');

/** `torch.Tensor.geometric_`: how many tries of probability `p` it takes to succeed, from 1 on. */
export function geometric_(x: Tensor, ...args: Needed<[p: number], ['p']>): Tensor {
  const [p] = readGeometric(args);
  if (!(p > 0 && p < 1)) throw new Error(`geometric_: p must lie between 0 and 1, got ${p}`);
  // By inversion, of draws from (0, 1].
  return overwrite('geometric_', x, () =>
    clampMin(ceil(div(log1p(neg(uniform('geometric_', x))), Math.log1p(-p))), 1),
  );
}

/** One more than the largest integer that `random_` draws by default: all below it are exact. */
const limits: Readonly<Record<DType, number>> = {
  bool: 2,
  uint8: 256,
  int32: 2 ** 31,
  float16: 2 ** 11 + 1,
  float32: 2 ** 24 + 1,
};

/**
 * `torch.Tensor.random_`: integers from [low, high); `random_(high)` starts at 0, `random_()` draws from all
 * integers of 0 or more that the dtype holds exactly.
 */
export function random_(x: Tensor, lowOrHigh?: number, high?: number): Tensor {
  checkTensors('random_', x);
  checkCount('random_', arguments.length, 3);
  const [from, to] = high !== undefined ? [lowOrHigh ?? 0, high] : [0, lowOrHigh ?? limits[x.dtype]];
  const drawn: DType = x.dtype === 'bool' ? 'int32' : x.dtype;
  if (x.dtype === 'bool' && (from < 0 || to > 2))
    throw new Error(`random_: integers from ${from} to ${to - 1} do not fit bool`);
  const range = integerRange('random_', from, to, drawn);
  return overwrite('random_', x, () => drawInto(Tensor.empty(x.shape, drawn, 'random_'), range));
}
