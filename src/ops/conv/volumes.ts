import { convolve, convolveBack, withBias } from './conv.js';
import {
  convOf,
  convTransposeOf,
  type Conv,
  type ConvAxis,
  type Convolve,
  type ConvTranspose,
} from './shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { pad } from '../shape/join.js';
import { rowMajor } from '../base/copies.js';
import type { Size3d } from '../base/sizes.js';
import { unfoldBackward, unfoldOp } from '../shape/unfold.js';
import { narrow, permute, reshape, view } from '../base/view.js';
import { slicesOf, volumesOf } from '../base/volumes.js';

/** A weight [Cout, Cin / groups, kD, kH, kW] for images that have each slice of the kernel as channels. */
function flatWeight(w: Tensor): Tensor {
  const [cOut, perGroup, kernelD, ...kernels] = w.shape as [number, number, number, ...number[]];
  return reshape(w, [cOut, perGroup * kernelD, ...kernels]);
}

/** The slices that each output slice sums over are channels of one image: [N Dout, Cin kD, H, W]. */
const forward: Convolve = (x, w, b, { axes, ...shape }) => {
  const [deep, high, wide] = axes as [ConvAxis, ConvAxis, ConvAxis];
  const { n, cIn } = shape;
  const { low, kernel, stride, dilation, out } = deep;
  const padded = low + deep.high > 0 ? pad(x, [0, 0, 0, 0, low, deep.high]) : x;
  const windows = permute(unfoldOp(padded, 2, kernel, stride, dilation), 0, 2, 3, 4, 1, 5);
  const images = permute(view(rowMajor(windows), n * out, high.size, wide.size, cIn * kernel), 0, 3, 1, 2);
  const flat = { ...shape, n: n * out, cIn: cIn * kernel, axes: [high, wide] };
  return volumesOf(convolve(images, flatWeight(w), b, flat), out);
};

/** The transpose of {@link forward}: each slice has shares for kD slices, which are added up. */
const backward: Convolve = (x, w, b, { axes, ...shape }) => {
  const [deep, ...others] = axes as [ConvAxis, ConvAxis, ConvAxis];
  const { n, cIn } = shape;
  const { low, high, kernel, stride, dilation, out, size } = deep;
  const flat = { ...shape, n: n * out, cIn: cIn * kernel, axes: others };
  const shares = volumesOf(convolveBack(slicesOf(x), flatWeight(w), null, flat), out);
  const sizes = others.map((axis) => axis.size);
  const windows = permute(view(shares, n, cIn, kernel, out, ...sizes), 0, 1, 3, 4, 5, 2);
  const whole = [n, cIn, size + low + high, ...sizes];
  const sum = unfoldBackward(windows, { shape: whole, dim: 2, size: kernel, step: stride, dilation });
  return withBias(low + high > 0 ? narrow(sum, 2, low, size) : sum, b);
};

/**
 * `torch.nn.functional.conv3d`: `x` [N, Cin, D, H, W] (or unbatched) with `w` [Cout, Cin / groups, kD, kH,
 * kW] and `b` [Cout] gives [N, Cout, Dout, Hout, Wout], sizes as `conv2d` has them. Works on a copy of the
 * input, with its depth unfolded (kD times as large at stride 1), that the gradient keeps.
 */
export const conv3d: Conv<Size3d> = convOf('conv3d', 3, forward);

/**
 * `torch.nn.functional.conv_transpose3d`: `x` [N, Cin, D, H, W] (or unbatched) with `w` [Cin, Cout / groups,
 * kD, kH, kW]; sizes as `convTranspose2d` has them.
 */
export const convTranspose3d: ConvTranspose<Size3d> = convTransposeOf('convTranspose3d', 3, backward);
