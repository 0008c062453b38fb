import { defineComposite } from '../../autograd/define.js';
import { type Needed, optionReader, required } from '../../tensor/options.js';
import { sameShape, showShape } from '../../tensor/shape.js';
import { Tensor } from '../../tensor/tensor.js';
import { asBatch } from '../base/as-batch.js';
import { to } from '../base/copy.js';
import { arange, full } from '../creation/creation.js';
import { gather } from '../gather/gather.js';
import { cat } from '../shape/join.js';
import { add, mul, sub, trunc } from '../pointwise/pointwise.js';
import type { MaxPool } from './pool-core.js';
import { maxPool3d } from './pool-volumes.js';
import { maxPool2d } from './pool.js';
import { rand } from '../random/create.js';
import { sizesOf, type Size2d, type Size3d, type SizeNd } from '../base/sizes.js';
import { expand, reshape, select, unsqueeze } from '../base/view.js';

export interface FractionalMaxPoolOptions<S extends SizeNd = SizeNd> {
  outputSize?: S | null;
  /** The output size as a part of the input's, in (0, 1), instead. */
  outputRatio?: S | null;
  /** Also return the winners' positions in their image, row-major, int32. */
  returnIndices?: boolean;
  /** Where windows lie, [N, C, 2] (3 for volumes) in [0, 1); drawn if not given. */
  randomSamples?: Tensor | null;
}

/** With `returnIndices: true` the result is `[values, indices]`. */
export interface FractionalMaxPool<S extends SizeNd> {
  (
    x: Tensor,
    ...args:
      | [k: S, options: FractionalMaxPoolOptions<S> & { returnIndices: true }]
      | [options: FractionalMaxPoolOptions<S> & { kernelSize: S; returnIndices: true }]
  ): [values: Tensor, indices: Tensor];
  (
    x: Tensor,
    ...args: Needed<
      [k: S],
      ['kernelSize'],
      [outputSize: S | null, outputRatio: S | null],
      FractionalMaxPoolOptions<S>
    >
  ): Tensor;
}

/**
 * Where windows begin along one dim, [N, C, out] int32, from samples `u` [N, C]: steps of `a = (size - k) /
 * (out - 1)` from `u a` on, cut to integers (Graham 2014, https://arxiv.org/abs/1412.6071), the last at the
 * end.
 */
function startsOf(u: Tensor, size: number, out: number, k: number): Tensor {
  const last = full([...u.shape, 1], size - k, { dtype: 'int32' });
  if (out === 1) return last;
  const step = (size - k) / (out - 1);
  const from = unsqueeze(u, -1);
  const steps = arange(out - 1, { dtype: 'float32' });
  return cat([to(sub(trunc(mul(add(steps, from), step)), trunc(mul(from, step))), 'int32'), last], -1);
}

function fractionalOf<S extends SizeNd>(
  op: string,
  sampleOf: readonly number[],
  pool: MaxPool<S>,
): FractionalMaxPool<S> {
  const dims = sampleOf.length;
  const read = optionReader<Required<FractionalMaxPoolOptions> & { kernelSize: S }>(
    op,
    {
      kernelSize: required(),
      outputSize: null,
      outputRatio: null,
      returnIndices: false,
      randomSamples: null,
    },
    'kernelSize',
    'outputSize',
    'outputRatio',
    'returnIndices',
    'randomSamples',
  );
  return defineComposite(op, ((x: Tensor, ...args: unknown[]) => {
    const { kernelSize: k, outputSize, outputRatio, returnIndices, randomSamples } = read(args);
    const kernels = sizesOf(op, 'the kernel size', k, dims, 1);
    if ((outputSize === null) === (outputRatio === null))
      throw new Error(`${op}: give either outputSize or outputRatio`);
    const windows = (batch: Tensor): readonly Tensor[] => {
      const [n, c, ...sizes] = batch.shape as [number, number, ...number[]];
      const outs =
        outputSize === null
          ? byRatio(op, sizes, outputRatio)
          : sizesOf(op, 'outputSize', outputSize, dims, 1);
      outs.forEach((out, i) => {
        if (out + (kernels[i] as number) - 1 > (sizes[i] as number))
          throw new Error(
            `${op}: ${outs.join('x')} windows of ${kernels.join('x')} do not fit input ${showShape(batch.shape)}`,
          );
      });
      const samples = randomSamples ?? rand([n, c, dims]);
      if (!sameShape(samples.shape, [n, c, dims]))
        throw new Error(
          `${op}: expected randomSamples of shape ${showShape([n, c, dims])}, got ${showShape(samples.shape)}`,
        );
      // Windows side by side, and the position that each of their values has in its image.
      let values = batch;
      let places: Tensor = Tensor.fromHost([0], [], 'int32');
      sampleOf.forEach((at, i) => {
        const [size, out, kernel] = [sizes[i], outs[i], kernels[i]] as [number, number, number];
        const starts = startsOf(select(samples, 2, at), size, out, kernel);
        const from = add(unsqueeze(starts, -1), arange(kernel, { dtype: 'int32' }));
        const shape = [n, c, ...sizes.map((_, j) => (j === i ? out * kernel : 1))];
        const index = reshape(from, shape);
        places = add(mul(places, size), index);
        values = gather(
          values,
          i + 2,
          expand(
            index,
            values.shape.map((s, d) => (d === i + 2 ? out * kernel : s)),
          ),
        );
      });
      if (!returnIndices) return [pool(values, k, { stride: k })];
      const [best, where] = pool(values, k, { stride: k, returnIndices: true });
      const flat = (t: Tensor): Tensor => reshape(t, n, c, -1);
      return [best, reshape(gather(flat(places), 2, flat(where)), where.shape)];
    };
    const results = asBatch(op, x, dims, windows);
    return returnIndices ? results : results[0];
  }) as unknown as FractionalMaxPool<S>);
}

function byRatio(op: string, sizes: readonly number[], ratio: SizeNd | null): number[] {
  const ratios = Array.isArray(ratio) ? (ratio as readonly number[]) : sizes.map(() => ratio as number);
  if (ratios.length !== sizes.length || !ratios.every((r) => r > 0 && r < 1))
    throw new Error(`${op}: outputRatio must be in (0, 1), got ${JSON.stringify(ratio)}`);
  return sizes.map((size, i) => Math.floor(size * (ratios[i] as number)));
}

/**
 * `torch.nn.functional.fractional_max_pool2d` (Graham 2014): the largest values of windows of `k` of `x` [N,
 * C, H, W] or [C, H, W] that begin at pseudo-random steps, other ones for each image and channel.
 */
export const fractionalMaxPool2d: FractionalMaxPool<Size2d> = fractionalOf(
  'fractionalMaxPool2d',
  // The first sample is for the columns.
  [1, 0],
  maxPool2d,
);

/** `torch.nn.functional.fractional_max_pool3d`: as {@link fractionalMaxPool2d}, of volumes. */
export const fractionalMaxPool3d: FractionalMaxPool<Size3d> = fractionalOf(
  'fractionalMaxPool3d',
  [0, 1, 2],
  maxPool3d,
);
