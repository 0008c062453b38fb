import { defineComposite } from '../../autograd/define.js';
import { showShape } from '../../tensor/shape.js';
import { optionReader, type Trailing } from '../../tensor/options.js';
import { isTensor, type Tensor } from '../../tensor/tensor.js';
import { isFloatingPoint } from '../../tensor/dtype.js';
import { to } from '../base/copy.js';
import { matmul } from './matmul.js';
import { clamp, div, mul, sqrt, sub } from '../pointwise/pointwise.js';
import { sumDims } from '../base/sum-to.js';
import { diagonal } from '../shape/diagonal.js';
import { permute, reshape, squeeze, unsqueeze } from '../base/view.js';

export interface CovOptions {
  /** Subtracted from the number of observations in the divisor. Default 1. */
  correction?: number;
  /** How often each observation was made: integers. */
  fweights?: Tensor | null;
  /** How much each observation counts. */
  aweights?: Tensor | null;
}

const readCov = optionReader(
  'cov',
  { correction: 1, fweights: null as Tensor | null, aweights: null as Tensor | null },
  'correction',
  'fweights',
  'aweights',
);

type CovArgs = Trailing<[correction: number, fweights: Tensor | null, aweights: Tensor | null], CovOptions>;

function checkWeights(name: string, weights: Tensor | null, count: number): void {
  if (weights !== null && (weights.ndim !== 1 || weights.shape[0] !== count))
    throw new Error(
      `cov: ${name} must have one weight per observation, shape [${count}], got ${showShape(weights.shape)}`,
    );
}

/**
 * `torch.cov`: the covariance matrix of variables (rows) over observations (columns), which may be weighted;
 * of a single variable the variance
 * (https://numpy.org/doc/stable/reference/generated/numpy.cov.html).
 */
export const cov: (x: Tensor, ...args: CovArgs) => Tensor = defineComposite(
  'cov',
  (x: Tensor, ...args: CovArgs): Tensor => {
    const { correction, fweights, aweights } = readCov(args);
    if (x.ndim > 2)
      throw new Error(
        `cov: expected at most two dims, variables and observations, got ${showShape(x.shape)}`,
      );
    const rows = to(x.ndim < 2 ? reshape(x, [1, -1]) : x, isFloatingPoint(x.dtype) ? x.dtype : 'float32');
    const count = rows.shape[1] as number;
    checkWeights('fweights', fweights, count);
    checkWeights('aweights', aweights, count);
    if (fweights !== null && isFloatingPoint(fweights.dtype))
      throw new Error(`cov: fweights count observations and must be int32, got ${fweights.dtype}`);
    const weights = [fweights, aweights].filter(isTensor).map((w) => to(w, rows.dtype));
    const [first, second] = weights;
    const w = first === undefined || second === undefined ? (first ?? null) : mul(first, second);
    const weighted = (t: Tensor): Tensor => (w === null ? t : mul(t, w));
    const total = w === null ? count : sumDims(w, [0], false);
    const average = div(sumDims(weighted(rows), [1], true), total);
    const centred = sub(rows, average);
    const products = matmul(centred, permute(weighted(centred), [1, 0]));
    return squeeze(div(products, divisor(total, correction, w, aweights)));
  },
);

/** The number of observations that the sums of products are divided by; 0 rather than less. */
function divisor(
  total: number | Tensor,
  correction: number,
  w: Tensor | null,
  aweights: Tensor | null,
): number | Tensor {
  if (!isTensor(total)) return Math.max(0, total - correction);
  const less =
    w === null || aweights === null || correction === 0
      ? correction
      : mul(div(sumDims(mul(w, aweights), [0], false), total), correction);
  return clamp(sub(total, less), { min: 0 });
}

/** `torch.corrcoef`: the correlations of variables (rows) over observations (columns). */
export const corrcoef: (x: Tensor) => Tensor = defineComposite(
  'corrcoef',
  (x: Tensor): Tensor => {
    const c = cov(x);
    if (c.ndim === 0) return div(c, c);
    const deviation = sqrt(diagonal(c));
    return clamp(div(div(c, unsqueeze(deviation, 1)), deviation), { min: -1, max: 1 });
  },
  1,
);
