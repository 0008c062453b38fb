import { detach, zerosLike } from '../ops/index.js';
import { isGradEnabled, noGrad } from '../autograd/mode.js';
import { queueCallback } from '../autograd/passes.js';
import { Module, type Inputs, type Output } from '../nn/index.js';
import { optionReader } from '../tensor/options.js';
import { numel } from '../tensor/shape.js';
import type { HookHandle, Tensor } from '../tensor/tensor.js';
import { averaged, broadcastInStream, ranksFor, type Ranks } from './collectives.js';
import type { WireArray } from './mpi.js';
import { groupFor } from './process.js';
import { byType, flatten, readFlat, spread, wireOf, writeFlats } from './wire.js';

export interface DataParallelOptions {
  /** MiB of gradients that travel together. Default 25, of the first bucket at most 1, as PyTorch's. */
  readonly bucketCapMb?: number;
  /**
   * Rank 0's buffers (running statistics) go to all others before every forward pass in training. Default
   * true.
   */
  readonly broadcastBuffers?: boolean;
  /**
   * Parameters that a rank did not use in a pass count as having gradients of zero there. Default false: they
   * are an error. Where no rank used one its gradient becomes zero, while PyTorch's stays as it was: none,
   * say.
   */
  readonly findUnusedParameters?: boolean;
}

const readOptions = optionReader<Required<DataParallelOptions>>('DistributedDataParallel', {
  bucketCapMb: 25,
  broadcastBuffers: true,
  findUnusedParameters: false,
});

const firstBucket = 2 ** 20;

/** Gradients that have set out, and come back as averages. */
interface Travel {
  readonly flat: Tensor;
  readonly values: Promise<WireArray>;
}

/** Parameters whose gradients travel together. */
interface Bucket {
  readonly parameters: readonly Tensor[];
  /** Those whose gradients have come in this step. */
  readonly ready: Set<Tensor>;
  travel: Travel | null;
}

/** In the order in which backward comes to them: the last first. */
function bucketsOf(parameters: readonly Tensor[], cap: number): Bucket[] {
  const buckets: Tensor[][] = [];
  let bytes = Infinity;
  for (const parameter of [...parameters].reverse()) {
    const size = 4 * numel(parameter.shape);
    const limit = buckets.length === 1 ? Math.min(firstBucket, cap) : cap;
    if (bytes + size > limit) {
      buckets.push([]);
      bytes = 0;
    }
    buckets.at(-1)!.push(parameter);
    bytes += size;
  }
  return buckets.map((list) => ({ parameters: list, ready: new Set(), travel: null }));
}

/**
 * `torch.nn.parallel.DistributedDataParallel`: the same module on every rank, which differ in their data; all
 * begin with rank 0's parameters and buffers. `backward()` averages the gradients over the ranks: a bucket of
 * them sets out as soon as it is complete, while the GPU is at work on the rest, and what is recorded after
 * `backward()` sees averages. Nothing has to be awaited.
 *
 *     const model = new DistributedDataParallel(net);
 *     loss.backward();
 *     optimizer.step();
 *
 * Freeze first: what does not require grad when it is made is not averaged. An error, of a rank that is gone
 * say, rejects the next await, and the steps since have not happened.
 */
export class DistributedDataParallel<M extends Module = Module> extends Module {
  readonly module: M;
  /** The processes that it averages over. */
  readonly ranks: Ranks;
  private readonly hooks: HookHandle[] = [];
  private readonly buckets: readonly Bucket[];
  private readonly bucketOf = new Map<Tensor, Bucket>();
  private readonly settings: Required<DataParallelOptions>;
  private readonly worldSize: number;
  private silent = false;
  /** The last forward pass was outside of `noSync`. */
  private averages = true;
  /** Gradients are coming. */
  private underWay = false;
  /** Buckets travel in one order on all ranks. */
  private next = 0;

  constructor(module: M, ...args: [options?: DataParallelOptions]) {
    const settings = readOptions(args);
    const { worldSize } = groupFor('DistributedDataParallel');
    if (!(settings.bucketCapMb > 0))
      throw new Error(`DistributedDataParallel: bucketCapMb must be above 0, got ${settings.bucketCapMb}`);
    super();
    this.module = module;
    this.ranks = ranksFor('DistributedDataParallel');
    this.settings = settings;
    this.worldSize = worldSize;
    const trained = [...new Set<Tensor>(module.parameters())].filter((parameter) => parameter.requiresGrad);
    if (trained.length === 0)
      throw new Error('DistributedDataParallel: no parameter requires grad, so there is nothing to average');
    this.buckets = bucketsOf(trained, settings.bucketCapMb * 2 ** 20);
    if (worldSize === 1) return;
    for (const bucket of this.buckets)
      for (const parameter of bucket.parameters) {
        this.bucketOf.set(parameter, bucket);
        this.hooks.push(
          parameter.registerPostAccumulateGradHook((leaf) => {
            this.arrived(leaf);
          }),
        );
      }
    share([...module.parameters(), ...module.buffers()]);
  }

  forward(...args: Inputs<M>): Output<M> {
    // A backward pass that ended in an error has left them.
    this.reset();
    if (this.training && isGradEnabled()) {
      if (this.averages && this.settings.broadcastBuffers) share(this.module.buffers());
      this.averages = !this.silent;
    }
    return (this.module as unknown as (...args: Inputs<M>) => Output<M>)(...args);
  }

  /**
   * `no_sync`: the backward passes of forward passes within `fn` only accumulate; the first one after it
   * averages all that has gathered.
   */
  noSync<T>(fn: () => T): T {
    const before = this.silent;
    this.silent = true;
    const restore = (): void => {
      this.silent = before;
    };
    let result: T;
    try {
      result = fn();
    } catch (error) {
      restore();
      throw error;
    }
    if (result instanceof Promise) return result.finally(restore) as T;
    restore();
    return result;
  }

  /**
   * @internal Rank 0's buffers for all now, where forward passes would share them, and those of an average of
   * the module: what is measured or saved next is the same on all ranks.
   */
  shareBuffers(average: Module | null): void {
    if (this.worldSize > 1 && this.settings.broadcastBuffers)
      share([...this.module.buffers(), ...(average?.buffers() ?? [])]);
  }

  /** @internal It averages nothing any more: another one of the same parameters may be made. */
  removeHooks(): void {
    for (const hook of this.hooks) hook.remove();
  }

  private reset(): void {
    this.underWay = false;
    this.next = 0;
    for (const bucket of this.buckets) {
      bucket.ready.clear();
      bucket.travel?.flat.dispose();
      bucket.travel = null;
    }
  }

  private arrived(parameter: Tensor): void {
    if (!this.averages) return;
    if (!this.underWay) {
      this.underWay = true;
      queueCallback(() => {
        this.finish();
      });
    }
    const bucket = this.bucketOf.get(parameter) as Bucket;
    if (bucket.travel !== null)
      throw new Error(
        `DistributedDataParallel: parameter '${parameter.name}' was given a gradient twice in one backward pass, the second time ` +
          'after the first was sent: by a backward() within a hook or a Function',
      );
    bucket.ready.add(parameter);
    while (this.buckets[this.next]?.ready.size === this.buckets[this.next]?.parameters.length) {
      const complete = this.buckets[this.next];
      if (complete === undefined) return;
      this.send(complete);
    }
  }

  private send(bucket: Bucket): void {
    this.next++;
    const flat = flatten(bucket.parameters.map((parameter) => parameter.grad as Tensor));
    const group = groupFor('DistributedDataParallel');
    const sums = group.allReduce(readFlat(flat), wireOf(flat), 'sum');
    const values = sums.then((all) => averaged(all, 'avg', this.worldSize));
    // The end of the pass waits for it.
    values.catch(() => undefined);
    bucket.travel = { flat, values };
  }

  /** All gradients of this pass have come. */
  private finish(): void {
    try {
      this.settleUnused();
      while (this.next < this.buckets.length) this.send(this.buckets[this.next] as Bucket);
      const travels = this.buckets.map(({ travel }) => travel as Travel);
      writeFlats(
        Promise.all(travels.map(({ values }) => values)),
        travels.map(({ flat }) => flat),
      );
      for (const { parameters, travel } of this.buckets) {
        spread(
          (travel as Travel).flat,
          parameters.map((parameter) => parameter.grad as Tensor),
        );
      }
    } finally {
      this.reset();
    }
  }

  /** Zeros for gradients of what this rank did not use. */
  private settleUnused(): void {
    const unused = [...this.bucketOf]
      .filter(([parameter, { ready }]) => !ready.has(parameter))
      .map(([parameter]) => parameter);
    if (unused.length === 0) return;
    if (!this.settings.findUnusedParameters) {
      const names = this.module.namedParameters().filter(([, parameter]) => unused.includes(parameter));
      throw new Error(
        `DistributedDataParallel: backward() gave no gradient to ${names.map(([name]) => `'${name}'`).join(', ')}; freeze what ` +
          'is not used, or make it with { findUnusedParameters: true }',
      );
    }
    for (const parameter of unused)
      if (parameter.grad === null) parameter.grad = noGrad(() => zerosLike(detach(parameter)));
  }
}

/** @internal Rank 0's values for all. */
export function share(tensors: readonly Tensor[]): void {
  for (const list of byType(tensors)) {
    // An error comes up again with the gradients.
    broadcastInStream('DistributedDataParallel', list, 0).catch(() => undefined);
  }
}
