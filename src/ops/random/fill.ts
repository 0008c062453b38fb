import { checkTensors } from '../base/tensors.js';
import type { Distribution } from '../../kernels/random/fill.js';
import { bytesPerElement, isFloatingPoint, type DType } from '../../tensor/dtype.js';
import { showShape } from '../../tensor/shape.js';
import { Tensor } from '../../tensor/tensor.js';
import { isRecordedWrite } from '../base/apply.js';
import { copy_ } from '../base/copy.js';
import { readCreation, readOptions, type CreationOptions, type ReadOptions } from '../creation/creation.js';
import { drawInto, integerRange, uniformRange } from './draw.js';
import { checkWrite } from '../base/write.js';
import { noMore, optionReader, required, requireNumber, type Trailing } from '../../tensor/options.js';

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

const readUniform = optionReader('uniform_', { from: 0, to: 1 }, 'from', 'to');

/** `torch.Tensor.uniform_`: values from [from, to). */
export function uniform_(
  x: Tensor,
  ...args: Trailing<[from: number | undefined, to: number], { from?: number; to?: number }>
): Tensor {
  checkTensors('uniform_', x);
  const { from: low, to: high } = readUniform(args);
  requireFloat('uniform_', x.dtype);
  return drawOver('uniform_', x, uniformRange('uniform_', low, high));
}

const readNormal = optionReader('normal_', { mean: 0, std: 1 }, 'mean', 'std');

/** `torch.Tensor.normal_`. */
export function normal_(
  x: Tensor,
  ...args: Trailing<[mean: number | undefined, std: number], { mean?: number; std?: number }>
): Tensor {
  checkTensors('normal_', x);
  const { mean, std } = readNormal(args);
  requireFloat('normal_', x.dtype);
  requireNumber('normal_', mean);
  if (!(std >= 0)) throw new Error(`normal_: std must not be negative, got ${std}`);
  return drawOver('normal_', x, { kind: 'normal', mean, std });
}

const readExponential = optionReader('exponential_', { lambd: 1 }, 'lambd');

/** `torch.Tensor.exponential_`: density `lambd * exp(-lambd * x)`. */
export function exponential_(x: Tensor, ...args: Trailing<[lambd: number], { lambd?: number }>): Tensor {
  checkTensors('exponential_', x);
  const { lambd: rate } = readExponential(args);
  requireFloat('exponential_', x.dtype);
  if (!(rate > 0)) throw new Error(`exponential_: the rate must be positive, got ${rate}`);
  return drawOver('exponential_', x, { kind: 'exponential', rate });
}

const readBernoulli = optionReader('bernoulli_', { p: 0.5 }, 'p');

/** `torch.Tensor.bernoulli_`: 1 with probability `p`, else 0, in any dtype. */
export function bernoulli_(x: Tensor, ...args: Trailing<[p: number], { p?: number }>): Tensor {
  const { p } = readBernoulli(args);
  return drawOver('bernoulli_', x, probability('bernoulli_', p));
}

type Like = (x: Tensor, options?: CreationOptions) => Tensor;

function like(op: string, distribution: Distribution): Like {
  return function (x, given = {}) {
    noMore(op, arguments, 2);
    checkTensors(op, x);
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
 * `torch.randint_like`: integers from [low, high), of one number from [0, high), with the shape, dtype (float
 * dtypes too) and memory order of `x`.
 */
export function randintLike(
  x: Tensor,
  ...args:
    | [high: number, options?: CreationOptions]
    | [low: number, high: number, options?: CreationOptions]
    | [options: CreationOptions & { low?: number; high: number }]
): Tensor {
  const fields = { low: 0, high: required<number>() };
  const { low, high, options } =
    typeof args[0] === 'number' && typeof args[1] !== 'number'
      ? readCreation('randintLike', args, fields, 'high')
      : readCreation('randintLike', args, fields, 'low', 'high');
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
