import { defineComposite } from '../../autograd/define.js';
import { type Needed, optionReader, required } from '../../tensor/options.js';
import { numel, sameShape, showShape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { asBatch } from '../base/as-batch.js';
import { zeros } from '../creation/creation.js';
import { scatter } from '../gather/scatter.js';
import { sizesOf, type Size1d, type Size2d, type Size3d, type SizeNd } from '../base/sizes.js';
import { reshape } from '../base/view.js';

export interface MaxUnpoolOptions<S extends SizeNd = SizeNd> {
  /** Default: the kernel size. */
  stride?: S | null;
  padding?: S;
  /** The size that was pooled (dims before it may stand in front); by default the least that fits. */
  outputSize?: readonly number[] | null;
}

export type MaxUnpool<S extends SizeNd> = (
  x: Tensor,
  indices: Tensor,
  ...args: Needed<
    [k: S],
    ['kernelSize'],
    [stride: S | null, padding: S, outputSize: readonly number[] | null],
    MaxUnpoolOptions<S>
  >
) => Tensor;

function unpoolOf<S extends SizeNd>(op: string, dims: number): MaxUnpool<S> {
  const read = optionReader<Required<MaxUnpoolOptions> & { kernelSize: S }>(
    op,
    { kernelSize: required(), stride: null, padding: 0, outputSize: null },
    'kernelSize',
    'stride',
    'padding',
    'outputSize',
  );
  return defineComposite(op, (x: Tensor, indices: Tensor, ...args: readonly unknown[]): Tensor => {
    const { kernelSize: k, stride, padding, outputSize } = read(args);
    const kernels = sizesOf(op, 'the kernel size', k, dims, 1);
    const strides = sizesOf(op, 'stride', stride ?? k, dims, 1);
    const pads = sizesOf(op, 'padding', padding, dims, 0);
    if (!sameShape(x.shape, indices.shape)) {
      throw new Error(
        `${op}: values of shape ${showShape(x.shape)} need indices of that shape, got ${showShape(indices.shape)}`,
      );
    }
    const unpool = (batch: Tensor): Tensor => {
      const [n, c, ...sizes] = batch.shape as [number, number, ...number[]];
      const least = sizes.map(
        (size, i) => (size - 1) * (strides[i] as number) - 2 * (pads[i] as number) + (kernels[i] as number),
      );
      const given: unknown = outputSize ?? least;
      const all = Array.isArray(given) ? (given as readonly number[]) : [];
      const out = all.slice(-dims);
      const fits = out.every(
        (size, i) => Number.isInteger(size) && Math.abs(size - (least[i] as number)) < (strides[i] as number),
      );
      if (!fits || out.length !== dims || (all.length !== dims && all.length !== x.ndim)) {
        throw new Error(
          `${op}: outputSize must be ${dims} or ${x.ndim} integers within a stride of [${least.join(', ')}], got [${String(outputSize)}]`,
        );
      }
      const flat = [n, c, numel(sizes)];
      const into = zeros([n, c, numel(out)], { dtype: batch.dtype });
      return reshape(scatter(into, 2, reshape(indices, flat), reshape(batch, flat)), [n, c, ...out]);
    };
    return asBatch(op, x, dims, (batch) => [unpool(batch)])[0] as Tensor;
  });
}

/**
 * `torch.nn.functional.max_unpool1d`: the values `x` [N, C, L] (or [C, L]) at the `indices` that `maxPool1d`
 * gave with them, and zeros elsewhere. Of several values for one place the last stays; each has the gradient
 * of its place.
 */
export const maxUnpool1d: MaxUnpool<Size1d> = unpoolOf('maxUnpool1d', 1);

/** `torch.nn.functional.max_unpool2d`: as {@link maxUnpool1d}, of images [N, C, H, W] or [C, H, W]. */
export const maxUnpool2d: MaxUnpool<Size2d> = unpoolOf('maxUnpool2d', 2);

/** `torch.nn.functional.max_unpool3d`: as {@link maxUnpool1d}, of volumes [N, C, D, H, W] or [C, D, H, W]. */
export const maxUnpool3d: MaxUnpool<Size3d> = unpoolOf('maxUnpool3d', 3);
