import type { Distribution } from '../../kernels/random/fill.js';
import { bytesPerElement, isFloatingPoint, type DType } from '../../tensor/dtype.js';
import { showShape } from '../../tensor/shape.js';
import { Tensor } from '../../tensor/tensor.js';
import { isRecordedWrite } from '../base/apply.js';
import { copy_ } from '../base/copy.js';
import { readOptions, type CreationOptions, type ReadOptions } from '../creation/creation.js';
import { drawInto, integerRange, uniformRange } from './draw.js';
import { checkWrite } from '../base/write.js';
import { checkCount, requireNumber } from '../../tensor/options.js';

/** Draws over `x` in place; on the tape it is a copy from fresh numbers. */
function drawOver(op: string, x: Tensor, distribution: Distribution): Tensor {
  checkWrite(op, x);
  const recorded = isRecordedWrite([x]);
  // In the order of the indices: a seed gives the same values in every memory layout.
  const owns = x.offset === 0 && x.isContiguous() && x.storage.bytes === x.numel() * bytesPerElement[x.dtype];
  if (owns && !recorded) {
    x.storage.beginWrite(op);
    drawInto(x, distribution);
    return x;
  }
  const fresh = drawInto(Tensor.empty(x.shape, x.dtype, op), distribution);
  copy_(x, fresh);
  fresh.dispose();
  return x;
}

function requireFloat(op: string, dtype: DType): void {
  if (!isFloatingPoint(dtype)) throw new Error(`${op}: expected a float32 or float16 tensor, got ${dtype}`);
}

function probability(op: string, p: number): Distribution {
  if (!(p >= 0 && p <= 1)) throw new Error(`${op}: p must be between 0 and 1, got ${p}`);
  return { kind: 'bernoulli', p };
}

/** `torch.Tensor.uniform_`: values from [low, high). */
export function uniform_(x: Tensor, low = 0, high = 1): Tensor {
  checkCount('uniform_', arguments.length, 3);
  requireFloat('uniform_', x.dtype);
  return drawOver('uniform_', x, uniformRange('uniform_', low, high));
}

/** `torch.Tensor.normal_`. */
export function normal_(x: Tensor, mean = 0, std = 1): Tensor {
  checkCount('normal_', arguments.length, 3);
  requireFloat('normal_', x.dtype);
  requireNumber('normal_', mean);
  if (!(std >= 0)) throw new Error(`normal_: std must not be negative, got ${std}`);
  return drawOver('normal_', x, { kind: 'normal', mean, std });
}

/** `torch.Tensor.exponential_`: density `rate * exp(-rate * x)`. */
export function exponential_(x: Tensor, rate = 1): Tensor {
  checkCount('exponential_', arguments.length, 2);
  requireFloat('exponential_', x.dtype);
  if (!(rate > 0)) throw new Error(`exponential_: the rate must be positive, got ${rate}`);
  return drawOver('exponential_', x, { kind: 'exponential', rate });
}

/** `torch.Tensor.bernoulli_`: 1 with probability `p`, else 0, in any dtype. */
export function bernoulli_(x: Tensor, p = 0.5): Tensor {
  checkCount('bernoulli_', arguments.length, 2);
  return drawOver('bernoulli_', x, probability('bernoulli_', p));
}

type Like = (x: Tensor, options?: CreationOptions) => Tensor;

function like(op: string, distribution: Distribution): Like {
  return (x, given = {}) => {
    const options = readOptions(op, given);
    const dtype = options.dtype ?? x.dtype;
    requireFloat(op, dtype);
    return drawLike(op, x, dtype, distribution, options);
  };
}

function drawLike(
  op: string,
  x: Tensor,
  dtype: DType,
  distribution: Distribution,
  options: ReadOptions,
): Tensor {
  const out = drawInto(
    Tensor.empty(x.shape, dtype, op, x.isDense() ? x.strides : undefined, x),
    distribution,
  );
  if (options.requiresGrad) out.requiresGrad = true;
  return out;
}

/** `torch.rand_like`: uniform in [0, 1) with the shape, dtype and memory order of `x`. */
export const randLike: Like = like('randLike', { kind: 'uniform', low: 0, high: 1 });
/** `torch.randn_like`: standard normal with the shape, dtype and memory order of `x`. */
export const randnLike: Like = like('randnLike', { kind: 'normal', mean: 0, std: 1 });

/**
 * `torch.randint_like`: integers from [low, high) with the shape, dtype (float dtypes too) and memory order
 * of `x`.
 */
export function randintLike(x: Tensor, low: number, high: number, given: CreationOptions = {}): Tensor {
  checkCount('randintLike', arguments.length, 4);
  const options = readOptions('randintLike', given);
  const dtype = options.dtype ?? x.dtype;
  if (dtype === 'bool') throw new Error('randintLike: integers do not fit bool; use bernoulli_()');
  return drawLike(
    'randintLike',
    x,
    dtype,
    integerRange(`randintLike of shape ${showShape(x.shape)}`, low, high, dtype),
    options,
  );
}
