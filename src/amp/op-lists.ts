/**
 * Which ops autocast runs in which dtype: PyTorch's lists for CUDA
 * (https://pytorch.org/docs/stable/amp.html#cuda-op-specific-behavior), by the names that ops have here.
 * What is in none of them runs in the dtypes that it is given; made of ops that are, it runs as they do
 * (`einsum`).
 */

/**
 * - `lower`: float32 tensors among the arguments are cast to the region's dtype.
 * - `float32`: float16 tensors are cast to float32.
 * - `float32Default`: the same, unless the call names a dtype.
 * - `widest`: where float16 and float32 tensors are mixed, all are cast to float32.
 * - `refused`: unsafe in float16.
 */
export type Policy = 'lower' | 'float32' | 'float32Default' | 'widest' | 'refused';

const names: Readonly<Record<Policy, string>> = {
  // `recurrent` has the products of RNN, LSTM, GRU and their cells.
  lower: `addbmm addmm addmv addr baddbmm bmm conv1d conv2d conv3d convTranspose1d convTranspose2d
    convTranspose3d linear matmul mm mv prelu recurrent scaledDotProductAttention`,
  float32: `acos asin binaryCrossEntropyWithLogits cdist cosh cosineEmbeddingLoss cosineSimilarity crossEntropy
    ctcLoss dist erfinv exp expm1 gaussianNllLoss groupNorm hingeEmbeddingLoss huberLoss klDiv l1Loss layerNorm
    log log10 log1p log2 logsumexp marginRankingLoss mseLoss multiMarginLoss multilabelMarginLoss nllLoss
    normalize pairwiseDistance pdist poissonNllLoss pow reciprocal renorm rmsNorm rsqrt sinh smoothL1Loss
    softMarginLoss softplus tan tripletMarginLoss`,
  float32Default: 'cumprod cumsum logSoftmax norm prod softmax sum',
  widest: `addcdiv addcmul atan2 bilinear cat cross dot gridSample indexPut scatterAdd stack tensordot`,
  refused: 'binaryCrossEntropy',
};

/** The policy of an op by its name. */
export const policies: ReadonlyMap<string, Policy> = new Map(
  (Object.entries(names) as [Policy, string][]).flatMap(([policy, list]) =>
    list.split(/\s+/).map((name): [string, Policy] => [name, policy]),
  ),
);
