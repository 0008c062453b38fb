import { defineComposite } from '../../autograd/define.js';
import { e } from '../../kernels/expr/expr.js';
import { showShape } from '../../tensor/shape.js';
import { Tensor } from '../../tensor/tensor.js';
import {
  channelDropout,
  checkProbability,
  dropoutReader,
  type Dropout,
  type DropoutArgs,
} from './dropout.js';
import { mul } from '../pointwise/pointwise.js';
import { bernoulli_ } from './fill.js';
import { rowFunction } from '../base/row.js';
import { squeeze, unsqueeze } from '../base/view.js';

/** Drops whole channels of [N, C, ...] with `rank` positions' dims, or of [C, ...] without a batch. */
function batchedOrNot(op: string, rank: number): Dropout {
  const read = dropoutReader(op);
  return defineComposite(op, (x: Tensor, ...args: DropoutArgs): Tensor => {
    const { p, training } = read(args);
    if (x.ndim === rank + 2) return channelDropout(op, x, p, training);
    if (x.ndim === rank + 1) {
      const y = channelDropout(op, unsqueeze(x, 0), p, training);
      return squeeze(y, 0);
    }
    throw new Error(`${op}: expected an input of ${rank + 1} or ${rank + 2} dims, got ${showShape(x.shape)}`);
  });
}

/** `torch.nn.functional.dropout1d`: drops whole channels of `x` [N, C, L] or [C, L] in training. */
export const dropout1d: Dropout = batchedOrNot('dropout1d', 1);

/**
 * `torch.nn.functional.dropout3d`: drops whole channels of `x` [N, C, D, H, W] or [C, D, H, W] in training.
 */
export const dropout3d: Dropout = batchedOrNot('dropout3d', 3);

/** What SELU tends to for very negative inputs: minus its scale times its alpha. */
const saturation = 1.7580993408473766;

const alphaFn = rowFunction({
  name: 'alphaDropout',
  kind: 'float',
  expr: (x, kept, scale, shift) => e.add(e.mul(e.select(e.ne(kept, 0), x, -saturation), scale), shift),
});

function alphaDropped(op: string, x: Tensor, p: number, training: boolean, noise: readonly number[]): Tensor {
  checkProbability(op, x, p);
  if (!training || p === 0) return x;
  if (p === 1) return mul(x, 0);
  const kept = bernoulli_(Tensor.empty(noise, x.dtype, op), 1 - p);
  // Scale and shift restore mean 0 and variance 1.
  const scale = 1 / Math.sqrt((1 - p) * (1 + p * saturation ** 2));
  return alphaFn(x, kept, scale, scale * saturation * p);
}

// As in PyTorch, these are off unless training is asked for.
const readAlpha = dropoutReader('alphaDropout', false);
const readFeatureAlpha = dropoutReader('featureAlphaDropout', false);

/**
 * `torch.nn.functional.alpha_dropout` (Klambauer et al. 2017): dropout for SELU, which sets elements to its
 * negative saturation and keeps mean and variance. Unlike the other kinds it is off by default.
 */
export const alphaDropout: Dropout = defineComposite(
  'alphaDropout',
  (x: Tensor, ...args: DropoutArgs): Tensor => {
    const { p, training } = readAlpha(args);
    return alphaDropped('alphaDropout', x, p, training, x.shape);
  },
);

/** `torch.nn.functional.feature_alpha_dropout`: {@link alphaDropout} of whole channels of `x` [N, C, ...]. */
export const featureAlphaDropout: Dropout = defineComposite(
  'featureAlphaDropout',
  (x: Tensor, ...args: DropoutArgs): Tensor => {
    const { p, training } = readFeatureAlpha(args);
    if (x.ndim < 2)
      throw new Error(
        `featureAlphaDropout: expected an input of shape [N, C, ...], got ${showShape(x.shape)}`,
      );
    const noise = x.shape.map((size, i) => (i < 2 ? size : 1));
    return alphaDropped('featureAlphaDropout', x, p, training, noise);
  },
);
