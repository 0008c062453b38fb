/** `torch.nn.functional`: the ops under the names that PyTorch keeps there. */
import { named } from '../autograd/define.js';
import * as ops from '../ops/index.js';
import { isRecordedWrite } from '../ops/base/apply.js';
import { overwrite } from '../ops/base/overwrite.js';
import { optionReader, type Trailing } from '../tensor/options.js';
import type { Tensor } from '../tensor/tensor.js';

export {
  adaptiveAvgPool1d,
  adaptiveAvgPool2d,
  adaptiveAvgPool3d,
  adaptiveMaxPool1d,
  adaptiveMaxPool2d,
  adaptiveMaxPool3d,
  affineGrid,
  alphaDropout,
  avgPool1d,
  avgPool2d,
  avgPool3d,
  batchNorm,
  bilinear,
  binaryCrossEntropy,
  binaryCrossEntropyWithLogits,
  celu,
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
  dropout,
  dropout1d,
  dropout2d,
  dropout3d,
  elu,
  embedding,
  embeddingBag,
  featureAlphaDropout,
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
  hardtanh,
  hingeEmbeddingLoss,
  huberLoss,
  instanceNorm,
  interpolate,
  klDiv,
  l1Loss,
  layerNorm,
  leakyRelu,
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
  rrelu,
  scaledDotProductAttention,
  sigmoid,
  smoothL1Loss,
  softMarginLoss,
  softmax,
  softmin,
  softplus,
  softshrink,
  softsign,
  tanh,
  tanhshrink,
  threshold,
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

type MaybeInPlace = (x: Tensor, ...args: Trailing<[inplace: boolean], { inplace?: boolean }>) => Tensor;

/** As PyTorch has it here and not under `torch`: `inplace` writes the result over `x`. */
function maybeInPlace(name: string, op: (x: Tensor) => Tensor): MaybeInPlace {
  const read = optionReader(name, { inplace: false }, 'inplace');
  const over = inPlace(name, op);
  return (x, ...args) => (read(args).inplace ? over(x) : op(x));
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
