import { convolve, convolveBack } from './conv.js';
import {
  convOf,
  convTransposeOf,
  type Conv,
  type ConvAxis,
  type Convolve,
  type ConvTranspose,
} from './shape.js';
import type { Size1d } from '../base/sizes.js';
import { squeeze, unsqueeze } from '../base/view.js';

const still: ConvAxis = { size: 1, out: 1, kernel: 1, stride: 1, dilation: 1, low: 0, high: 0 };

/** Lines as images of one row. */
const overLines =
  (run: Convolve): Convolve =>
  (x, w, b, shape) =>
    squeeze(run(unsqueeze(x, 2), unsqueeze(w, 2), b, { ...shape, axes: [still, ...shape.axes] }), 2);

/**
 * `torch.nn.functional.conv1d`: `x` [N, Cin, L] (or [Cin, L]) with `w` [Cout, Cin / groups, k] and `b` [Cout]
 * gives [N, Cout, Lout], `Lout = floor((L + 2 pad - dilation (k - 1) - 1) / stride + 1)`.
 */
export const conv1d: Conv<Size1d> = convOf('conv1d', 1, overLines(convolve));

/**
 * `torch.nn.functional.conv_transpose1d`: `x` [N, Cin, L] (or [Cin, L]) with `w` [Cin, Cout / groups, k]; the
 * size is as `convTranspose2d` has it.
 */
export const convTranspose1d: ConvTranspose<Size1d> = convTransposeOf(
  'convTranspose1d',
  1,
  overLines(convolveBack),
);
