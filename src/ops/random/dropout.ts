import { checkTensors } from '../base/tensors.js';
import { defineComposite, defineOp } from '../../autograd/define.js';
import { planDropout, type RandomKey } from '../../kernels/random/fill.js';
import { optionReader, type Trailing } from '../../tensor/options.js';
import { contiguousStrides, sameShape, showShape } from '../../tensor/shape.js';
import { Tensor } from '../../tensor/tensor.js';
import { copyAs } from '../base/copies.js';
import { zerosLike } from '../creation/creation.js';
import { overwriteUnread } from '../base/overwrite.js';
import { nextKey } from './state.js';
import { mul } from '../pointwise/pointwise.js';
import { bernoulli_ } from './fill.js';
import { elemOf, planLimits, runPlan } from '../base/run-plan.js';

export interface DropoutOptions {
  /** False: the input comes back as it is. Default true. */
  training?: boolean;
}

interface Draw {
  readonly key: RandomKey;
  readonly p: number;
  /** Memory order in which the elements are numbered. */
  readonly strides: readonly number[];
}

/** Linear in `x`, and its own transpose: the mask is drawn again from the key, never stored. */
const dropoutOp: (x: Tensor, draw: Draw) => Tensor = defineOp<[Tensor, Draw], Tensor, Draw>({
  name: 'dropout',
  forward(ctx, x, draw) {
    ctx.state = draw;
    const { key, p, strides } = draw;
    const same = x.offset === 0 && sameShape(x.strides, strides);
    const source = same ? x : copyAs(x, strides);
    const y = Tensor.empty(x.shape, x.dtype, 'dropout', strides, x);
    if (y.numel() > 0)
      runPlan('dropout', planDropout(planLimits(), elemOf('dropout', x.dtype), y.numel(), key, p), {
        x: source,
        y,
      });
    return y;
  },
  backward: (ctx, grad) => [() => dropoutOp(grad, ctx.state)],
});

/** @internal */
export function checkProbability(op: string, x: Tensor, p: number): void {
  if (!(p >= 0 && p <= 1)) throw new Error(`${op}: p must be between 0 and 1, got ${p}`);
  elemOf(op, x.dtype);
}

/**
 * `torch.nn.functional.dropout` (Srivastava et al. 2014): in training each element becomes 0 with probability
 * `p`, and the rest is scaled by `1 / (1 - p)`.
 */
export function dropout(x: Tensor, ...args: DropoutArgs): Tensor {
  checkTensors('dropout', x);
  const { p, training } = readDropout(args);
  checkProbability('dropout', x, p);
  if (!training || p === 0) return x;
  return dropoutOp(x, { key: nextKey(), p, strides: x.isDense() ? x.strides : contiguousStrides(x.shape) });
}

/** @internal */
export function channelDropout(op: string, x: Tensor, p: number, training: boolean): Tensor {
  checkProbability(op, x, p);
  if (x.ndim < 2) throw new Error(`${op}: expected an input of shape [N, C, ...], got ${showShape(x.shape)}`);
  if (!training || p === 0) return x;
  const mask = Tensor.empty([...x.shape.slice(0, 2), ...x.shape.slice(2).map(() => 1)], x.dtype, op);
  return mul(x, p === 1 ? zerosLike(mask) : mul(bernoulli_(mask, 1 - p), 1 / (1 - p)));
}

/** What follows the tensor: the probability, and whether this is training. */
export type DropoutArgs = Trailing<[p: number, training: boolean], DropoutOptions & { p?: number }>;
/** A kind of dropout. */
export type Dropout = (x: Tensor, ...args: DropoutArgs) => Tensor;

/** @internal `op` written over its tensor. */
export const inPlaceDropout =
  (name: string, op: Dropout): Dropout =>
  (x, ...args) =>
    overwriteUnread(`${name}_`, x, () => op(x, ...args));

/** @internal */
export const dropoutReader = (op: string, training = true) =>
  optionReader(op, { p: 0.5, training }, 'p', 'training');
const readDropout = dropoutReader('dropout');
const readFeature = dropoutReader('featureDropout');
const readDropout2d = dropoutReader('dropout2d');

/**
 * `torch.nn.functional.feature_dropout`: in training, drops whole channels of `x` [N, C, ...] with
 * probability `p`.
 */
export const featureDropout: Dropout = defineComposite(
  'featureDropout',
  (x: Tensor, ...args: DropoutArgs): Tensor => {
    const { p, training } = readFeature(args);
    return channelDropout('featureDropout', x, p, training);
  },
);

/**
 * `torch.nn.functional.dropout2d` (Tompson et al. 2015): drops whole channels of `x` [N, C, H, W] (or [N, C,
 * L]) in training.
 */
export const dropout2d: Dropout = defineComposite('dropout2d', (x: Tensor, ...args: DropoutArgs): Tensor => {
  const { p, training } = readDropout2d(args);
  return channelDropout('dropout2d', x, p, training);
});
