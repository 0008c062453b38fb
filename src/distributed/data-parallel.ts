import { cat, copy_, split, tensor, zerosLike } from '../ops/index.js';
import { noGrad } from '../autograd/mode.js';
import { Module, type Inputs, type Output } from '../nn/index.js';
import { optionReader } from '../tensor/options.js';
import { numel } from '../tensor/shape.js';
import type { HookHandle, Tensor } from '../tensor/tensor.js';
import { broadcast, reduceValues } from './collectives.js';
import { groupFor } from './process.js';

export interface DataParallelOptions {
  /** MiB of gradients that travel together. Default 25, of the first bucket at most 1, as PyTorch's. */
  readonly bucketCapMb?: number;
  /** Rank 0's buffers (running statistics) go to all others with every `synchronize()`. Default true. */
  readonly broadcastBuffers?: boolean;
  /**
   * Parameters that a forward pass did not use count as having gradients of zero, or none where no rank used them.
   * Default false: they are an error.
   */
  readonly findUnusedParameters?: boolean;
}

const readOptions = optionReader<Required<DataParallelOptions>>('DistributedDataParallel', {
  bucketCapMb: 25,
  broadcastBuffers: true,
  findUnusedParameters: false,
});

const firstBucket = 2 ** 20;

/** Parameters whose gradients travel together. */
interface Bucket {
  readonly parameters: readonly Tensor[];
  /** Those whose gradients have come in this step. */
  readonly ready: Set<Tensor>;
  /** Done when the gradients are averages. */
  travel: Promise<void> | null;
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
 * `torch.nn.parallel.DistributedDataParallel`: the same module on every rank, which differ in their data. Gradients are
 * averaged over the ranks while backward is still at work on the GPU; `await model.synchronize()` between `backward()` and
 * the optimizer's step waits for that, and a step without it is an error.
 *
 *     const model = await DistributedDataParallel.create(net);
 *     loss.backward();
 *     await model.synchronize();
 *     optimizer.step();
 */
export class DistributedDataParallel<M extends Module = Module> extends Module {
  readonly module: M;
  private readonly buckets: readonly Bucket[];
  private readonly bucketOf = new Map<Tensor, Bucket>();
  private readonly hooks: HookHandle[] = [];
  private readonly settings: Required<DataParallelOptions>;
  private silent = false;
  /** Buckets travel in one order on all ranks. */
  private next = 0;

  private constructor(module: M, settings: Required<DataParallelOptions>) {
    super();
    this.module = module;
    this.settings = settings;
    const trained = [...new Set<Tensor>(module.parameters())].filter((parameter) => parameter.requiresGrad);
    if (trained.length === 0)
      throw new Error('DistributedDataParallel: no parameter requires grad, so there is nothing to average');
    this.buckets = bucketsOf(trained, settings.bucketCapMb * 2 ** 20);
    for (const bucket of this.buckets)
      for (const parameter of bucket.parameters) {
        this.bucketOf.set(parameter, bucket);
        this.hooks.push(
          parameter.registerPostAccumulateGradHook((leaf) => {
            this.arrived(leaf);
          }),
        );
      }
  }

  /**
   * Gives all ranks the parameters and buffers of rank 0. Freeze first: what does not require grad now is not averaged.
   */
  static async create<M extends Module>(
    module: M,
    ...args: [options?: DataParallelOptions]
  ): Promise<DistributedDataParallel<M>> {
    groupFor('DistributedDataParallel');
    const options = readOptions(args);
    if (!(options.bucketCapMb > 0))
      throw new Error(`DistributedDataParallel: bucketCapMb must be above 0, got ${options.bucketCapMb}`);
    const model = new DistributedDataParallel(module, options);
    await model.share([...new Set([...module.parameters(), ...module.buffers()])]);
    return model;
  }

  /** Rank 0's values for all. */
  private async share(tensors: readonly Tensor[]): Promise<void> {
    const byType = new Map<string, Tensor[]>();
    for (const x of tensors) byType.set(x.dtype, [...(byType.get(x.dtype) ?? []), x]);
    for (const list of byType.values()) {
      const flat = noGrad(() => cat(list.map((x) => x.detach().flatten())));
      await broadcast(flat);
      this.spread(flat, list);
      flat.dispose();
    }
  }

  private spread(flat: Tensor, list: readonly Tensor[]): void {
    noGrad(() => {
      const parts = split(
        flat,
        list.map((x) => x.numel()),
      );
      parts.forEach((part, i) => {
        const to = list[i] as Tensor;
        copy_(to, part.reshape(...to.shape));
      });
    });
  }

  forward(...args: Inputs<M>): Output<M> {
    if (this.training && this.next > 0)
      throw new Error(
        "DistributedDataParallel: gradients are still being averaged; 'await model.synchronize()' after backward()",
      );
    return (this.module as unknown as (...args: Inputs<M>) => Output<M>)(...args);
  }

  /** Within `fn` backward passes only accumulate; the first one after it averages all that has gathered. */
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

  private arrived(parameter: Tensor): void {
    if (this.silent) return;
    const bucket = this.bucketOf.get(parameter) as Bucket;
    if (bucket.ready.has(parameter))
      throw new Error(
        'DistributedDataParallel: a second backward() before synchronize(); accumulate within model.noSync(() => ...)',
      );
    parameter.gradPending =
      "its gradient is still being averaged over the ranks: 'await model.synchronize()' first";
    bucket.ready.add(parameter);
    this.advance();
  }

  /** Sends the buckets that are complete and whose turn it is. */
  private advance(): void {
    for (;;) {
      const bucket = this.buckets[this.next];
      if (bucket === undefined || bucket.ready.size < bucket.parameters.length) return;
      this.send(bucket);
    }
  }

  private send(bucket: Bucket): void {
    this.next++;
    bucket.travel = this.average(bucket.parameters);
    // It is awaited by synchronize(); until then it must not go unhandled.
    bucket.travel.catch(() => undefined);
  }

  private async average(parameters: readonly Tensor[]): Promise<void> {
    const grads = parameters.map((parameter) => parameter.grad as Tensor);
    const flat = noGrad(() => cat(grads.map((grad) => grad.detach().flatten()))).keep();
    const { shape, dtype } = flat;
    const values = (await flat.data()) as Float32Array;
    flat.dispose();
    await reduceValues('DistributedDataParallel', values, 'float32', 'avg');
    const averaged = tensor(values, { shape, dtype });
    this.spread(averaged, grads);
    averaged.dispose();
  }

  /**
   * Waits until all gradients are averages, and buffers those of rank 0. After an error, of a rank that is gone say, the
   * gradients stay unusable.
   */
  async synchronize(): Promise<void> {
    const unused = [...this.bucketOf.keys()].filter(
      (parameter) => this.bucketOf.get(parameter)?.ready.has(parameter) !== true,
    );
    const nobodys = await this.settleUnused(unused);
    while (this.next < this.buckets.length) this.send(this.buckets[this.next] as Bucket);
    for (const { travel } of this.buckets) await travel;
    for (const parameter of nobodys) parameter.grad = null;
    if (this.settings.broadcastBuffers) await this.share([...new Set(this.module.buffers())]);
    this.next = 0;
    for (const bucket of this.buckets) {
      for (const parameter of bucket.parameters) parameter.gradPending = null;
      bucket.ready.clear();
      bucket.travel = null;
    }
  }

  /** Gives zeros for gradients to what this rank did not use; returns what no rank has a gradient for. */
  private async settleUnused(unused: readonly Tensor[]): Promise<readonly Tensor[]> {
    const all = [...this.bucketOf.keys()];
    if (!this.settings.findUnusedParameters) {
      if (unused.length === 0) return [];
      if (unused.length === all.length)
        throw new Error(
          'DistributedDataParallel: synchronize() before backward(): there are no gradients to average',
        );
      const names = this.module.namedParameters().filter(([, parameter]) => unused.includes(parameter));
      throw new Error(
        `DistributedDataParallel: backward() gave no gradient to ${names.map(([name]) => `'${name}'`).join(', ')}; freeze what ` +
          'is not used, or create with { findUnusedParameters: true }',
      );
    }
    const has = Int32Array.from(all, (parameter) => (parameter.grad === null ? 0 : 1));
    await reduceValues('DistributedDataParallel', has, 'int32', 'max');
    for (const parameter of unused)
      if (parameter.grad === null) parameter.grad = noGrad(() => zerosLike(parameter.detach()));
    return all.filter((_, i) => has[i] === 0);
  }
}
