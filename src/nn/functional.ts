/** `torch.nn.functional`: the ops under the names that PyTorch keeps there. */
import { named } from '../autograd/define.js';
import * as ops from '../ops/index.js';
import { isRecordedWrite } from '../ops/base/apply.js';
import { overwrite } from '../ops/base/overwrite.js';
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
export { im2col as unfold } from '../ops/conv/fold.js';

/** `op` with its result written over its tensor. On the tape it reads a copy, since its gradient may. */
const inPlace = <A extends readonly unknown[]>(
  name: string,
  op: (x: Tensor, ...args: A) => Tensor,
): ((x: Tensor, ...args: A) => Tensor) =>
  named(name, (x, ...args) => overwrite(name, x, () => op(isRecordedWrite([x]) ? ops.clone(x) : x, ...args)));

type WithInPlace<P extends readonly unknown[], O> = (
  x: Tensor,
  ...args: Trailing<[...P, inplace: boolean], O & { inplace?: boolean }>
) => Tensor;
type MaybeInPlace = WithInPlace<[], unknown>;
type Activation<K extends string> = WithInPlace<[value: number], Partial<Record<K, number>>>;
type Dropout = WithInPlace<[p: number, training: boolean], DropoutOptions & { p?: number }>;

/**
 * As PyTorch has it here and not under `torch`: behind what else `op` takes, in the order of `defaults`,
 * `inplace` writes the result over `x`.
 */
function maybeInPlace<F extends (...args: never) => Tensor>(
  name: string,
  op: (x: Tensor, ...args: never) => Tensor,
  defaults: Readonly<Record<string, unknown>> = {},
): F {
  const names = Object.keys(defaults);
  const read = optionReader<Record<string, unknown>>(
    name,
    { ...defaults, inplace: false },
    ...names,
    'inplace',
  );
  const plain = op as (x: Tensor, ...values: unknown[]) => Tensor;
  const over = inPlace(name, plain);
  return ((x: Tensor, ...args: readonly unknown[]) => {
    const given = read(args);
    return (given['inplace'] === true ? over : plain)(x, ...names.map((key) => given[key]));
  }) as unknown as F;
}

/** `torch.nn.functional.celu_`. */
export const celu_: typeof ops.celu = inPlace('celu_', ops.celu);
/** `torch.nn.functional.elu_`. */
export const elu_: typeof ops.elu = inPlace('elu_', ops.elu);
/** `torch.nn.functional.hardtanh_`. */
export const hardtanh_: typeof ops.hardtanh = inPlace('hardtanh_', ops.hardtanh);
/** `torch.nn.functional.leaky_relu_`. */
export const leakyRelu_: typeof ops.leakyRelu = inPlace('leakyRelu_', ops.leakyRelu);
/** `torch.nn.functional.rrelu_`. */
export const rrelu_: typeof ops.rrelu = inPlace('rrelu_', ops.rrelu);
/** `torch.nn.functional.selu_`. */
export const selu_: typeof ops.selu = inPlace('selu_', ops.selu);

/** `torch.nn.functional.hardsigmoid`. */
export const hardsigmoid: MaybeInPlace = maybeInPlace('hardsigmoid', ops.hardsigmoid);
/** `torch.nn.functional.hardswish`. */
export const hardswish: MaybeInPlace = maybeInPlace('hardswish', ops.hardswish);
/** `torch.nn.functional.mish`. */
export const mish: MaybeInPlace = maybeInPlace('mish', ops.mish);
/** `torch.nn.functional.relu`. */
export const relu: MaybeInPlace = maybeInPlace('relu', ops.relu);
/** `torch.nn.functional.relu6`. */
export const relu6: MaybeInPlace = maybeInPlace('relu6', ops.relu6);
/** `torch.nn.functional.selu`. */
export const selu: MaybeInPlace = maybeInPlace('selu', ops.selu);
/** `torch.nn.functional.silu`. */
export const silu: MaybeInPlace = maybeInPlace('silu', ops.silu);

/** `torch.nn.functional.celu`. */
export const celu: Activation<'alpha'> = maybeInPlace('celu', ops.celu, { alpha: 1 });
/** `torch.nn.functional.elu`. */
export const elu: Activation<'alpha'> = maybeInPlace('elu', ops.elu, { alpha: 1 });
/** `torch.nn.functional.hardtanh`. */
export const hardtanh: WithInPlace<[minVal: number, maxVal: number], { minVal?: number; maxVal?: number }> =
  maybeInPlace('hardtanh', ops.hardtanh, { minVal: -1, maxVal: 1 });
/** `torch.nn.functional.leaky_relu`. */
export const leakyRelu: Activation<'negativeSlope'> = maybeInPlace('leakyRelu', ops.leakyRelu, {
  negativeSlope: 0.01,
});
/** `torch.nn.functional.rrelu`. */
export const rrelu: WithInPlace<[lower: number, upper: number, training: boolean], ops.RreluOptions> =
  maybeInPlace('rrelu', ops.rrelu, { lower: 1 / 8, upper: 1 / 3, training: false });
/** `torch.nn.functional.threshold`. */
export const threshold: (
  x: Tensor,
  ...args: Needed<
    [threshold: number, value: number],
    ['threshold', 'value'],
    [inplace: boolean],
    { inplace?: boolean }
  >
) => Tensor = maybeInPlace('threshold', ops.threshold, { threshold: required(), value: required() });

/** `torch.nn.functional.alpha_dropout`. */
export const alphaDropout: Dropout = maybeInPlace('alphaDropout', ops.alphaDropout, {
  p: 0.5,
  training: false,
});
/** `torch.nn.functional.dropout`. */
export const dropout: Dropout = maybeInPlace('dropout', ops.dropout, { p: 0.5, training: true });
/** `torch.nn.functional.dropout1d`. */
export const dropout1d: Dropout = maybeInPlace('dropout1d', ops.dropout1d, { p: 0.5, training: true });
/** `torch.nn.functional.dropout2d`. */
export const dropout2d: Dropout = maybeInPlace('dropout2d', ops.dropout2d, { p: 0.5, training: true });
/** `torch.nn.functional.dropout3d`. */
export const dropout3d: Dropout = maybeInPlace('dropout3d', ops.dropout3d, { p: 0.5, training: true });
/** `torch.nn.functional.feature_alpha_dropout`. */
export const featureAlphaDropout: Dropout = maybeInPlace('featureAlphaDropout', ops.featureAlphaDropout, {
  p: 0.5,
  training: false,
});
