/** `torch.nn.functional`: the ops under the names that PyTorch keeps there. */
import * as ops from '../ops/index.js';
import {
  celu_,
  elu_,
  hardsigmoid_,
  hardswish_,
  hardtanh_,
  leakyRelu_,
  mish_,
  relu6_,
  selu_,
  silu_,
} from '../ops/pointwise/activation.js';
import { inPlaceDropout } from '../ops/random/dropout.js';
import type { DropoutOptions } from '../ops/random/dropout.js';
import { optionReader, required, type Needed, type Trailing } from '../tensor/options.js';
import type { Tensor } from '../tensor/tensor.js';

export {
  adaptiveAvgPool1d,
  adaptiveAvgPool2d,
  adaptiveAvgPool3d,
  adaptiveMaxPool1d,
  adaptiveMaxPool2d,
  adaptiveMaxPool3d,
  affineGrid,
  avgPool1d,
  avgPool2d,
  avgPool3d,
  batchNorm,
  bilinear,
  binaryCrossEntropy,
  binaryCrossEntropyWithLogits,
  channelShuffle,
  conv1d,
  conv2d,
  conv3d,
  convTranspose1d,
  convTranspose2d,
  convTranspose3d,
  cosineEmbeddingLoss,
  cosineSimilarity,
  crossEntropy,
  ctcLoss,
  embedding,
  embeddingBag,
  featureDropout,
  fold,
  fractionalMaxPool2d,
  fractionalMaxPool3d,
  gaussianNllLoss,
  gelu,
  glu,
  gridSample,
  groupNorm,
  gumbelSoftmax,
  hardshrink,
  hingeEmbeddingLoss,
  huberLoss,
  instanceNorm,
  interpolate,
  klDiv,
  l1Loss,
  layerNorm,
  linear,
  localResponseNorm,
  logSoftmax,
  logsigmoid,
  lpPool1d,
  lpPool2d,
  marginRankingLoss,
  maxPool1d,
  maxPool2d,
  maxPool3d,
  maxUnpool1d,
  maxUnpool2d,
  maxUnpool3d,
  mseLoss,
  multiMarginLoss,
  multilabelMarginLoss,
  multilabelSoftMarginLoss,
  nllLoss,
  normalize,
  oneHot,
  pad,
  pairwiseDistance,
  pdist,
  pixelShuffle,
  pixelUnshuffle,
  poissonNllLoss,
  prelu,
  relu_,
  rmsNorm,
  rotaryEmbedding,
  rrelu_,
  scaledDotProductAttention,
  sigmoid,
  smoothL1Loss,
  softMarginLoss,
  softmax,
  softmin,
  softplus,
  softshrink,
  softsign,
  swiglu,
  tanh,
  tanhshrink,
  threshold_,
  tripletMarginLoss,
  tripletMarginWithDistanceLoss,
  upsample,
  upsampleBilinear,
  upsampleNearest,
} from '../ops/index.js';
export { celu_, elu_, hardtanh_, leakyRelu_, selu_ } from '../ops/pointwise/activation.js';
export { im2col as unfold } from '../ops/conv/fold.js';

type WithInPlace<P extends readonly unknown[], O> = (
  x: Tensor,
  ...args: Trailing<[...P, inplace: boolean], O & { inplace?: boolean }>
) => Tensor;
type MaybeInPlace = WithInPlace<[], unknown>;
type Activation<K extends string> = WithInPlace<[value: number], Partial<Record<K, number>>>;
type Dropout = WithInPlace<[p: number, training: boolean], DropoutOptions & { p?: number }>;

/**
 * As PyTorch has it here and not under `torch`: behind what else `op` takes, in the order of `defaults`,
 * `inplace` runs `over` instead, which writes the result over `x`.
 */
function maybeInPlace<F extends (...args: never) => Tensor>(
  name: string,
  op: (x: Tensor, ...args: never) => Tensor,
  over: (x: Tensor, ...args: never) => Tensor,
  defaults: Readonly<Record<string, unknown>> = {},
): F {
  const names = Object.keys(defaults);
  const read = optionReader<Record<string, unknown>>(
    name,
    { ...defaults, inplace: false },
    ...names,
    'inplace',
  );
  return ((x: Tensor, ...args: readonly unknown[]) => {
    const given = read(args);
    const chosen = (given['inplace'] === true ? over : op) as (x: Tensor, ...values: unknown[]) => Tensor;
    return chosen(x, ...names.map((key) => given[key]));
  }) as unknown as F;
}

const maybeInPlaceDropout = (name: string, op: ops.Dropout, training: boolean): Dropout =>
  maybeInPlace(name, op, inPlaceDropout(name, op), { p: 0.5, training });

/** `torch.nn.functional.hardsigmoid`. */
export const hardsigmoid: MaybeInPlace = maybeInPlace('hardsigmoid', ops.hardsigmoid, hardsigmoid_);
/** `torch.nn.functional.hardswish`. */
export const hardswish: MaybeInPlace = maybeInPlace('hardswish', ops.hardswish, hardswish_);
/** `torch.nn.functional.mish`. */
export const mish: MaybeInPlace = maybeInPlace('mish', ops.mish, mish_);
/** `torch.nn.functional.relu`. */
export const relu: MaybeInPlace = maybeInPlace('relu', ops.relu, ops.relu_);
/** `torch.nn.functional.relu6`. */
export const relu6: MaybeInPlace = maybeInPlace('relu6', ops.relu6, relu6_);
/** `torch.nn.functional.selu`. */
export const selu: MaybeInPlace = maybeInPlace('selu', ops.selu, selu_);
/** `torch.nn.functional.silu`. */
export const silu: MaybeInPlace = maybeInPlace('silu', ops.silu, silu_);

/** `torch.nn.functional.celu`. */
export const celu: Activation<'alpha'> = maybeInPlace('celu', ops.celu, celu_, { alpha: 1 });
/** `torch.nn.functional.elu`. */
export const elu: Activation<'alpha'> = maybeInPlace('elu', ops.elu, elu_, { alpha: 1 });
/** `torch.nn.functional.hardtanh`. */
export const hardtanh: WithInPlace<[minVal: number, maxVal: number], { minVal?: number; maxVal?: number }> =
  maybeInPlace('hardtanh', ops.hardtanh, hardtanh_, { minVal: -1, maxVal: 1 });
/** `torch.nn.functional.leaky_relu`. */
export const leakyRelu: Activation<'negativeSlope'> = maybeInPlace('leakyRelu', ops.leakyRelu, leakyRelu_, {
  negativeSlope: 0.01,
});
/** `torch.nn.functional.rrelu`. */
export const rrelu: WithInPlace<[lower: number, upper: number, training: boolean], ops.RreluOptions> =
  maybeInPlace('rrelu', ops.rrelu, ops.rrelu_, { lower: 1 / 8, upper: 1 / 3, training: false });
/** `torch.nn.functional.threshold`. */
export const threshold: (
  x: Tensor,
  ...args: Needed<
    [threshold: number, value: number],
    ['threshold', 'value'],
    [inplace: boolean],
    { inplace?: boolean }
  >
) => Tensor = maybeInPlace('threshold', ops.threshold, ops.threshold_, {
  threshold: required(),
  value: required(),
});

/** `torch.nn.functional.alpha_dropout`. */
export const alphaDropout: Dropout = maybeInPlaceDropout('alphaDropout', ops.alphaDropout, false);
/** `torch.nn.functional.dropout`. */
export const dropout: Dropout = maybeInPlaceDropout('dropout', ops.dropout, true);
/** `torch.nn.functional.dropout1d`. */
export const dropout1d: Dropout = maybeInPlaceDropout('dropout1d', ops.dropout1d, true);
/** `torch.nn.functional.dropout2d`. */
export const dropout2d: Dropout = maybeInPlaceDropout('dropout2d', ops.dropout2d, true);
/** `torch.nn.functional.dropout3d`. */
export const dropout3d: Dropout = maybeInPlaceDropout('dropout3d', ops.dropout3d, true);
/** `torch.nn.functional.feature_alpha_dropout`. */
export const featureAlphaDropout: Dropout = maybeInPlaceDropout(
  'featureAlphaDropout',
  ops.featureAlphaDropout,
  false,
);
