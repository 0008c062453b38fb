import { defineComposite } from '../../autograd/define.js';
import { type Needed, optionReader, required } from '../../tensor/options.js';
import { showShape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { asBatch } from '../base/as-batch.js';
import { pad } from '../shape/join.js';
import { sizesOf, type Size2d, type SizeNd } from '../base/sizes.js';
import { unfoldBackward, unfoldOp } from '../shape/unfold.js';
import { narrow, permute, reshape } from '../base/view.js';

export interface FoldOptions {
  dilation?: Size2d;
  /** Zeros around the image. */
  padding?: Size2d;
  stride?: Size2d;
}

type Places = [dilation: Size2d, padding: Size2d, stride: Size2d];
type UnfoldArgs = Needed<[kernelSize: Size2d], ['kernelSize'], Places, FoldOptions>;
type FoldArgs = Needed<
  [outputSize: Size2d, kernelSize: Size2d],
  ['outputSize', 'kernelSize'],
  Places,
  FoldOptions
>;

const common = {
  kernelSize: required<Size2d>(),
  dilation: 1 as Size2d,
  padding: 0 as Size2d,
  stride: 1 as Size2d,
};
const places = ['kernelSize', 'dilation', 'padding', 'stride'] as const;
const readUnfold = optionReader('unfold', common, ...places);
const readFold = optionReader('fold', { outputSize: required<Size2d>(), ...common }, 'outputSize', ...places);

interface Blocks {
  /** Of the image without its padding. */
  readonly size: number;
  readonly kernel: number;
  readonly dilation: number;
  readonly pad: number;
  readonly step: number;
  readonly count: number;
}

/** How blocks lie along the rows and the columns of an image. */
function blocksOf(
  op: string,
  image: readonly number[],
  kernel: SizeNd,
  { dilation, padding, stride }: Required<FoldOptions>,
): [Blocks, Blocks] {
  const kernels = sizesOf(op, 'the kernel size', kernel, 2, 1);
  const dilations = sizesOf(op, 'dilation', dilation, 2, 1);
  const pads = sizesOf(op, 'padding', padding, 2, 0);
  const strides = sizesOf(op, 'stride', stride, 2, 1);
  const blocks = image.map((size, i): Blocks => {
    const [k, d, p, step] = [kernels[i], dilations[i], pads[i], strides[i]] as [
      number,
      number,
      number,
      number,
    ];
    const count = Math.floor((size + 2 * p - d * (k - 1) - 1) / step) + 1;
    return { size, kernel: k, dilation: d, pad: p, step, count };
  });
  if (blocks.some(({ count }) => count < 1)) {
    throw new Error(
      `${op}: blocks of ${kernels.join('x')} do not fit an image of ${image.join('x')} with padding [${pads.join(', ')}]`,
    );
  }
  return blocks as [Blocks, Blocks];
}

/**
 * `torch.nn.functional.unfold`: the blocks of `kernelSize` of images `x` [N, C, H, W] (or unbatched) as the
 * columns of [N, C kH kW, L]. (`torch.Tensor.unfold`, windows along one dim, is `unfold` outside
 * `nn.functional`.)
 */
export const im2col: (x: Tensor, ...args: UnfoldArgs) => Tensor = defineComposite(
  'unfold',
  (x: Tensor, ...args: UnfoldArgs): Tensor => {
    const { kernelSize, ...options } = readUnfold(args);
    const columns = (images: Tensor): Tensor => {
      const [n, c, ...size] = images.shape as [number, number, number, number];
      const [y, z] = blocksOf('unfold', size, kernelSize, options);
      const padded = y.pad + z.pad > 0 ? pad(images, [z.pad, z.pad, y.pad, y.pad]) : images;
      const rows = unfoldOp(padded, 2, y.kernel, y.step, y.dilation);
      const blocks = unfoldOp(rows, 3, z.kernel, z.step, z.dilation);
      return reshape(permute(blocks, 0, 1, 4, 5, 2, 3), n, c * y.kernel * z.kernel, y.count * z.count);
    };
    return asBatch('unfold', x, 2, (images) => [columns(images)])[0] as Tensor;
  },
);

/**
 * `torch.nn.functional.fold`: the transpose of `torch.nn.functional.unfold`: the columns of `x` [N, C kH kW,
 * L] (or unbatched) as blocks of images of `outputSize`, [N, C, H, W]; what overlaps is added up.
 */
export const fold: (x: Tensor, ...args: FoldArgs) => Tensor = defineComposite(
  'fold',
  (x: Tensor, ...args: FoldArgs): Tensor => {
    const { outputSize, kernelSize, ...options } = readFold(args);
    const size = sizesOf('fold', 'the output size', outputSize, 2, 1);
    const [y, z] = blocksOf('fold', size, kernelSize, options);
    const images = (columns: Tensor): Tensor => {
      const [n, rows, count] = columns.shape as [number, number, number];
      const c = rows / (y.kernel * z.kernel);
      if (!Number.isInteger(c) || count !== y.count * z.count) {
        throw new Error(
          `fold: expected [N, C * ${y.kernel * z.kernel}, ${y.count * z.count}] for blocks of ${y.kernel}x${z.kernel} of an image of ${size.join('x')}, got ${showShape(columns.shape)}`,
        );
      }
      const split = reshape(columns, n, c, y.kernel, z.kernel, y.count, z.count);
      const [h, w] = [y.size + 2 * y.pad, z.size + 2 * z.pad];
      const lines = unfoldBackward(permute(split, 0, 1, 4, 5, 2, 3), {
        shape: [n, c, y.count, w, y.kernel],
        dim: 3,
        ...z,
        size: z.kernel,
      });
      const sum = unfoldBackward(lines, { shape: [n, c, h, w], dim: 2, ...y, size: y.kernel });
      return narrow(narrow(sum, 2, y.pad, y.size), 3, z.pad, z.size);
    };
    return asBatch('fold', x, 1, (columns) => [images(columns)])[0] as Tensor;
  },
);
