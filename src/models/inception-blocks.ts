import { BatchNorm2d, Conv2d, fused, Module, type Conv2dOptions, type Size2d } from '../nn/index.js';
import { add, mul, tensor } from '../ops/index.js';
import type { Tensor } from '../tensor/tensor.js';
import { imagenetInput } from './declaration.js';

/** What GoogLeNet and Inception v3 share. */

/** Convolution without bias, batch norm with eps 0.001, ReLU. */
export class BasicConv2d extends Module {
  conv: Conv2d;
  bn: BatchNorm2d;

  constructor(into: number, out: number, kernelSize: Size2d, options: Omit<Conv2dOptions, 'bias'> = {}) {
    super();
    this.conv = new Conv2d(into, out, kernelSize, { ...options, bias: false });
    this.bn = new BatchNorm2d(out, { eps: 0.001 });
  }

  forward(x: Tensor): Tensor {
    return fused(x, [this.conv, this.bn], { activation: 'relu' });
  }
}

/** Images normalised by ImageNet's mean and standard deviation, as (x - 0.5) / 0.5 would have them. */
export function renormalize(x: Tensor): Tensor {
  const perChannel = (values: readonly number[]): Tensor => tensor(values, { shape: [1, 3, 1, 1] });
  const { mean, std } = imagenetInput;
  const scale = perChannel(std.map((value) => value / 0.5));
  const shift = perChannel(mean.map((value) => (value - 0.5) / 0.5));
  return add(mul(x, scale), shift);
}
