import { argumentReader, type Needed } from '../../tensor/options.js';
import { defineOp } from '../../autograd/define.js';
import { primitives } from '../../autograd/primitives.js';
import { normalizeDim, showShape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { addInto, copyInto } from '../base/copies.js';
import { narrow, reshape, select, slice } from '../base/view.js';

interface Windows {
  readonly shape: readonly number[];
  readonly dim: number;
  readonly size: number;
  readonly step: number;
  /** How far the places within a window are apart. */
  readonly dilation: number;
}

/** @internal A checked {@link unfold}, whose windows may be dilated. */
export const unfoldOp: (x: Tensor, dim: number, size: number, step: number, dilation: number) => Tensor =
  defineOp<[Tensor, number, number, number, number], Tensor, Windows>({
    name: 'unfold',
    forward(ctx, x, dim, size, step, dilation) {
      ctx.state = { shape: x.shape, dim, size, step, dilation };
      const length = x.shape[dim] ?? 1;
      const stride = x.strides[dim] ?? 1;
      const count = Math.floor((length - dilation * (size - 1) - 1) / step) + 1;
      return x.alias(
        [...x.shape.map((n, d) => (d === dim ? count : n)), size],
        [...x.strides.map((s, d) => (d === dim ? s * step : s)), stride * dilation],
      );
    },
    backward: (ctx, grad) => [() => unfoldBackward(grad, ctx.state)],
  });

/** @internal Zeros of the unfolded shape with the windows of `grad` added where they were. */
export const unfoldBackward: (grad: Tensor, windows: Windows) => Tensor = defineOp<
  [Tensor, Windows],
  Tensor,
  Windows & { readonly count: number }
>({
  name: 'unfoldBackward',
  forward(ctx, grad, windows) {
    const { shape, dim, size, step, dilation } = windows;
    const count = grad.shape[dim] as number;
    ctx.state = { ...windows, count };
    const out = primitives().zeros(shape, grad.dtype);
    if (grad.numel() === 0) return out;
    if (shape.length === 0) {
      copyInto(out, reshape(grad, []));
      return out;
    }
    // One place of all windows at a time: `step` apart, they do not overlap.
    const last = grad.ndim - 1;
    for (let i = 0; i < size; i++) {
      const places = slice(out, dim, i * dilation, i * dilation + (count - 1) * step + 1, step);
      const part = select(grad, last, i);
      if (step >= dilation * (size - 1) + 1) copyInto(places, part);
      else addInto(places, part);
    }
    return out;
  },
  backward(ctx, grad) {
    const { dim, size, step, dilation, count } = ctx.state;
    // The shape may have room for more windows (a transposed convolution's with output padding).
    return [() => narrow(unfoldOp(grad, dim, size, step, dilation), dim, 0, count)];
  },
});

const readUnfold = argumentReader<[dimension: number, size: number, step: number]>(
  'unfold',
  'dimension',
  'size',
  'step',
);

/** `torch.Tensor.unfold`: windows of `size` along `dimension`, `step` apart, as a new last dim; a view. */
export function unfold(
  x: Tensor,
  ...args: Needed<[dimension: number, size: number, step: number], ['dimension', 'size', 'step']>
): Tensor {
  const [dim, size, step] = readUnfold(args);
  const d = normalizeDim('unfold', dim, x.ndim);
  const length = x.shape[d] ?? 1;
  if (!(Number.isInteger(size) && size >= 0 && size <= length && Number.isInteger(step) && step > 0)) {
    throw new Error(
      `unfold: windows of ${size} with step ${step} do not fit dim ${dim} of shape ${showShape(x.shape)}`,
    );
  }
  return unfoldOp(x, d, size, step, 1);
}
