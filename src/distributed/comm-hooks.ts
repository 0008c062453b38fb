/**
 * How gradients travel: `torch.distributed.algorithms.ddp_comm_hooks.default_hooks`, and hooks of your
 * own.
 */
import { noGrad } from '../autograd/mode.js';
import { reshape, split } from '../ops/index.js';
import { isTensor, type Tensor } from '../tensor/tensor.js';
import { sameShape, showShape } from '../tensor/shape.js';
import { averaged } from './collectives.js';
import type { HalfType } from './half.js';
import type { WireArray } from './mpi.js';
import { groupFor } from './process.js';
import { readFlat } from './wire.js';

/** The mean that has set out for a bucket; the end of `backward()` puts it into the gradients. */
export class GradFuture {
  /** @internal */
  constructor(readonly values: Promise<WireArray>) {
    // The end of the pass waits for it.
    values.catch(() => undefined);
  }
}

/** `torch.distributed.GradBucket`: gradients that travel together. */
export class GradBucket {
  /** @internal */
  constructor(
    private readonly number: number,
    private readonly last: boolean,
    private readonly list: readonly Tensor[],
    private readonly flat: Tensor,
  ) {}

  /** Its number, from 0, in the order in which buckets set out. */
  index(): number {
    return this.number;
  }

  /** Whether it is the last one of the pass. */
  isLast(): boolean {
    return this.last;
  }

  parameters(): readonly Tensor[] {
    return this.list;
  }

  /** This rank's gradients [n], float32, one after another; not yet averaged. */
  buffer(): Tensor {
    return this.flat;
  }

  /** Views of `buffer()` in the shapes of the parameters. */
  gradients(): Tensor[] {
    return noGrad(() =>
      split(
        this.flat,
        this.list.map((parameter) => parameter.numel()),
      ).map((part, i) => reshape(part, (this.list[i] as Tensor).shape)),
    );
  }

  /**
   * Sends `buffer()` for its mean over the ranks, as float32 or in two bytes each (sums are float32 then
   * too), while backward goes on.
   */
  allReduce(type: 'float32' | HalfType = 'float32'): GradFuture {
    if (type !== 'float32' && type !== 'float16' && type !== 'bfloat16')
      throw new Error(
        `GradBucket.allReduce: expected 'float32', 'float16' or 'bfloat16', got '${String(type)}'`,
      );
    const group = groupFor('DistributedDataParallel');
    const own = readFlat(this.flat);
    if (type !== 'float32') return new GradFuture(group.meanInHalf(own as Promise<Float32Array>, type));
    const sums = group.allReduce(own, 'float32', 'sum');
    return new GradFuture(sums.then((all) => averaged(all, 'avg', group.worldSize)));
  }
}

/**
 * Gives what the gradients of a bucket become, averaging included: a tensor [n], float32, of ops and
 * collectives recorded here, or what `bucket.allReduce()` returns. What is recorded after a collective,
 * the rest of backward too, waits for that; after `bucket.allReduce()` nothing does.
 */
export type CommHook<S = unknown> = (state: S, bucket: GradBucket) => Tensor | GradFuture;

/** `default_hooks.allreduce_hook`: the mean in float32, as without a hook. */
export const allreduceHook = (_state: unknown, bucket: GradBucket): GradFuture => bucket.allReduce();

/**
 * `default_hooks.fp16_compress_hook`: half the bytes. Each rank's gradients are rounded to float16,
 * summed and divided in float32 by the rank that a part of them belongs to, and the mean is rounded once
 * more. What is beyond 65504 becomes infinite: with a GradScaler that step is left out.
 */
export const fp16CompressHook = (_state: unknown, bucket: GradBucket): GradFuture =>
  bucket.allReduce('float16');

/** `default_hooks.bf16_compress_hook`: as {@link fp16CompressHook}, with float32's range and 8 bits. */
export const bf16CompressHook = (_state: unknown, bucket: GradBucket): GradFuture =>
  bucket.allReduce('bfloat16');

/** @internal What `hook` gave for `flat`, checked. */
export function checkReduced(given: unknown, flat: Tensor): Tensor | GradFuture {
  if (given instanceof GradFuture) return given;
  if (!isTensor(given))
    throw new Error(
      `DistributedDataParallel: the comm hook must return a tensor, or what bucket.allReduce() returns, got ${given instanceof Promise ? 'a promise (leave async and await out: what is recorded after a collective sees its result)' : String(given)}`,
    );
  if (!sameShape(given.shape, flat.shape) || given.dtype !== flat.dtype)
    throw new Error(
      `DistributedDataParallel: the comm hook returned ${showShape(given.shape)} (${given.dtype}) for a bucket of ` +
        `${showShape(flat.shape)} (${flat.dtype})`,
    );
  return given;
}
