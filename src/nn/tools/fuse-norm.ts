import { noMore } from '../../tensor/options.js';
import { noGrad } from '../../autograd/mode.js';
import { add, mul, reshape, rsqrt, sub, zerosLike } from '../../ops/index.js';
import type { Tensor } from '../../tensor/tensor.js';
import { tidy } from '../../tensor/tidy.js';
import { deepcopy } from '../base/deepcopy.js';
import type { Linear } from '../layers/linear.js';
import type { Module } from '../base/module.js';
import type { BatchNorm1d, BatchNorm2d, BatchNorm3d } from '../layers/norm.js';
import { Parameter } from '../base/parameter.js';

type Norm = BatchNorm1d | BatchNorm2d | BatchNorm3d;
type Weighted = Module & { training: boolean; weight: Parameter; bias: Parameter | null };

function fused<M extends Weighted>(op: string, layer: M, norm: Norm, dim: number): M {
  if (layer.training || norm.training) throw new Error(`${op}: only layers in evaluation mode can be fused`);
  const { runningMean, runningVar } = norm;
  if (runningMean === null || runningVar === null)
    throw new Error(`${op}: a norm without running statistics cannot be fused`);
  const copy = deepcopy(layer);
  const [weight, bias] = noGrad(() =>
    tidy((): [Tensor, Tensor] => {
      const root = rsqrt(add(runningVar, norm.eps));
      const scale = norm.weight === null ? root : mul(root, norm.weight);
      const along = layer.weight.shape.map((_, d) => (d === dim ? -1 : 1));
      const centred = sub(layer.bias ?? zerosLike(runningMean), runningMean);
      const shifted = mul(centred, scale);
      return [
        mul(layer.weight, reshape(scale, along)),
        norm.bias === null ? shifted : add(shifted, norm.bias),
      ];
    }),
  );
  copy.weight.dispose();
  copy.bias?.dispose();
  copy.weight = new Parameter(weight, { requiresGrad: layer.weight.requiresGrad });
  copy.bias = new Parameter(bias, { requiresGrad: layer.bias?.requiresGrad ?? layer.weight.requiresGrad });
  return copy;
}

/**
 * `torch.nn.utils.fuse_conv_bn_eval`: a copy of a convolution that does what it and the batch norm after it
 * do in evaluation. `transpose` for transposed convolutions.
 */
export function fuseConvBnEval<M extends Weighted>(conv: M, norm: Norm, transpose = false): M {
  noMore('fuseConvBnEval', arguments, 3);
  return fused('fuseConvBnEval', conv, norm, transpose ? 1 : 0);
}

/** `torch.nn.utils.fuse_linear_bn_eval`: the same for a linear layer. */
export function fuseLinearBnEval(linear: Linear, norm: Norm): Linear {
  noMore('fuseLinearBnEval', arguments, 2);
  return fused('fuseLinearBnEval', linear, norm, 0);
}

/**
 * `torch.nn.utils.skip_init`: a new layer. Here it is initialized all the same, which costs a launch per
 * parameter and nothing else.
 */
export function skipInit<A extends readonly unknown[], M extends Module>(
  type: new (...args: A) => M,
  ...args: A
): M {
  return new type(...args);
}
