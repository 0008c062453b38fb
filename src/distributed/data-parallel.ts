import { isGradEnabled, noGrad } from '../autograd/mode.js';
import { queueCallback } from '../autograd/passes.js';
import { Module, type Inputs, type Output } from '../nn/index.js';
import { detach, zerosLike } from '../ops/index.js';
import { optionReader } from '../tensor/options.js';
import type { HookHandle, Tensor } from '../tensor/tensor.js';
import { bucketsOf, type Bucket, type Travel } from './buckets.js';
import { broadcastInStream, ranksFor, type Ranks } from './collectives.js';
import { allreduceHook, checkReduced, GradBucket, GradFuture, type CommHook } from './comm-hooks.js';
import type { WireArray } from './mpi.js';
import { Joining, type JoinOptions } from './join.js';
import { observing } from './observe.js';
import { groupFor } from './process.js';
import { StandIns } from './unused.js';
import { byType, flatten, spread, writeFlats } from './wire.js';

export interface DataParallelOptions {
  /** A bucket of gradients travels once it has so many MiB. Default 25, the first at 1, as PyTorch's. */
  readonly bucketCapMb?: number;
  /**
   * Rank 0's buffers (running statistics) go to all others before every forward pass in training. Default
   * true.
   */
  readonly broadcastBuffers?: boolean;
  /**
   * Parameters that a rank did not use in a pass count as having gradients of zero there; gradients of those
   * that no rank used stay as they were. Default false: a parameter that is not used is an error. Which ones
   * no rank used is known once {@link DistributedDataParallel.settle} has been awaited.
   */
  readonly findUnusedParameters?: boolean;
  /**
   * Every pass uses the same parameters as the first: unused ones are found there, once, and hold nothing up
   * afterwards. Default false.
   */
  readonly staticGraph?: boolean;
}

const readOptions = optionReader<Required<DataParallelOptions>>('DistributedDataParallel', {
  bucketCapMb: 25,
  broadcastBuffers: true,
  findUnusedParameters: false,
  staticGraph: false,
});

const readJoin = optionReader<Required<JoinOptions>>('DistributedDataParallel.join', {
  divideByInitialWorldSize: true,
});

/** What the first pass of a static graph has shown. */
interface Graph {
  /** What this rank does not use. */
  readonly unused: ReadonlySet<Tensor>;
  /** What no rank uses; null until they have told each other. */
  nobody: ReadonlySet<Tensor> | null;
}

/**
 * `torch.nn.parallel.DistributedDataParallel`: the same module on every rank, which differ in their data; all
 * begin with rank 0's parameters and buffers. `backward()` averages the gradients over the ranks: a bucket of
 * them sets out as soon as it is complete, while the GPU is at work on the rest, and what is recorded after
 * `backward()` sees averages. Nothing has to be awaited (but see `findUnusedParameters`).
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
  private commHook: ((bucket: GradBucket) => unknown) | null = null;
  /** What this rank has used since gradients were averaged, passes within `noSync` included. */
  private readonly used = new Set<Tensor>();
  private graph: Graph | null = null;
  private settling: Promise<unknown> = Promise.resolve();
  private joining: Joining | null = null;

  /**
   * @throws Error where nothing requires grad, or before `init()`
   */
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
    this.buckets = bucketsOf(trained, settings.bucketCapMb * 2 ** 20).map((parameters) => ({
      parameters,
      ready: new Set(),
      travel: null,
    }));
    if (worldSize === 1) return;
    this.listen();
    share([...module.parameters(), ...module.buffers()]);
  }

  private listen(): void {
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

  forward(...args: Inputs<M>): Output<M> {
    // A backward pass that ended in an error has left them.
    this.reset();
    if (this.training && isGradEnabled()) {
      const shares = this.averages && this.settings.broadcastBuffers;
      this.averages = !this.silent;
      this.joining?.announce(this.averages, shares);
      const buffers = shares && this.worldSize > 1 ? this.module.buffers() : [];
      if (this.joining === null) share(buffers);
      else this.joining.share(buffers);
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
   * `join`: lets ranks have different numbers of batches. One whose `fn`, its loop over them, is done goes
   * along with the others, with gradients of zero, until all are done; then all have the parameters and
   * buffers of the first rank that had the last batch. Within `fn` nothing else may be called on all ranks:
   * no `SyncBatchNorm`, no `ZeroRedundancyOptimizer`, no collectives.
   *
   *     await model.join(async () => {
   *       for await (const [x, y] of loader) { ... }
   *     });
   */
  async join<T>(fn: () => T | Promise<T>, ...args: [options?: JoinOptions]): Promise<T> {
    const { divideByInitialWorldSize } = readJoin(args);
    if (this.joining !== null) throw new Error('DistributedDataParallel.join: it is under way already');
    if (this.settings.staticGraph)
      throw new Error(
        'DistributedDataParallel.join: it does not go with staticGraph; use findUnusedParameters',
      );
    if (this.worldSize === 1) return fn();
    const joining = new Joining(divideByInitialWorldSize);
    this.joining = joining;
    try {
      const result = await fn();
      await joining.finish({
        buckets: this.buckets,
        hook: this.commHook ?? ownHook,
        buffers: this.module.buffers(),
        state: [...this.module.parameters(), ...this.module.buffers()],
        told: this.findsUnused ? this.bucketOf.size : null,
      });
      return result;
    } finally {
      this.joining = null;
    }
  }

  /**
   * `register_comm_hook`: `hook` says how gradients become their mean, with `state` as its first argument:
   * `fp16CompressHook`, say. To be called once, on all ranks.
   */
  registerCommHook<S>(state: S, hook: CommHook<S>): void {
    if (typeof hook !== 'function')
      throw new Error(
        `DistributedDataParallel.registerCommHook: hook must be a function, got ${String(hook)}`,
      );
    if (this.commHook !== null)
      throw new Error('DistributedDataParallel.registerCommHook: it can be called once only');
    if (this.underWay)
      throw new Error('DistributedDataParallel.registerCommHook: a backward pass is under way');
    if (this.worldSize === 1) this.listen();
    this.commHook = (bucket) => hook(state, bucket);
  }

  /**
   * With `findUnusedParameters`: waits until the ranks have told each other what they used in the last
   * `backward()`. Gradients of what no rank used are then as they were before, none say, as after PyTorch's
   * `backward()`. A step made before that is an error if there are any.
   */
  async settle(): Promise<void> {
    await this.settling;
  }

  private get findsUnused(): boolean {
    return this.settings.findUnusedParameters || this.settings.staticGraph;
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
      const { travel } = bucket;
      if (travel === null) continue;
      travel.flat.dispose();
      if (!(travel.reduced instanceof GradFuture)) travel.reduced.dispose();
      for (const blank of travel.blanks) blank.dispose();
      bucket.travel = null;
    }
  }

  private arrived(parameter: Tensor): void {
    this.used.add(parameter);
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
    for (;;) {
      const first = this.buckets[this.next];
      if (first === undefined || !this.isComplete(first)) return;
      this.send(first);
    }
  }

  private isComplete({ parameters, ready }: Bucket): boolean {
    const unused = this.graph?.unused;
    return parameters.every((parameter) => ready.has(parameter) || unused?.has(parameter));
  }

  private send(bucket: Bucket): void {
    const index = this.next++;
    const blanks: Tensor[] = [];
    const grads = bucket.parameters.map((parameter) => {
      const grad = parameter.leafGrad;
      const stays = this.graph?.nobody?.has(parameter) === true;
      if (grad !== null && !stays) return grad;
      const zeros = noGrad(() => zerosLike(detach(parameter)));
      if (stays) blanks.push(zeros.keep());
      else parameter.grad = zeros;
      return zeros;
    });
    const flat = flatten(grads);
    const given = new GradBucket(index, index === this.buckets.length - 1, bucket.parameters, flat);
    const reduced = checkReduced(
      noGrad(() => (this.commHook ?? ownHook)(given)),
      flat,
    );
    if (!(reduced instanceof GradFuture)) reduced.keep();
    bucket.travel = { flat, grads, blanks, reduced };
  }

  /** All gradients of this pass have come. */
  private finish(): void {
    try {
      const standIns = this.standIns();
      while (this.next < this.buckets.length) this.send(this.buckets[this.next] as Bucket);
      const travels = this.buckets.map(({ travel }) => travel as Travel);
      const [values, flats]: [Promise<WireArray>[], Tensor[]] = [[], []];
      for (const { reduced, flat } of travels)
        if (reduced instanceof GradFuture) {
          values.push(reduced.values);
          flats.push(flat);
        }
      const told = this.tell(standIns);
      const scale = this.scale(values.length === travels.length);
      const means = Promise.all([Promise.all(values), scale, told]).then(([all, factor]) =>
        all.map((v) => times(v, factor)),
      );
      const seen = observing();
      if (seen !== null)
        means.then(
          () => {
            seen.averaged(performance.now());
          },
          () => undefined,
        );
      writeFlats(means, flats);
      for (const { reduced, flat, grads } of travels)
        spread(reduced instanceof GradFuture ? flat : reduced, grads);
      standIns?.seal();
    } finally {
      this.reset();
    }
  }

  /** What the ranks' means are multiplied by. */
  private async scale(onHost: boolean): Promise<number> {
    if (this.joining === null) return 1;
    if (this.joining.scales && !onHost)
      throw new Error(
        'DistributedDataParallel.join: divideByInitialWorldSize: false needs a comm hook that returns bucket.allReduce()',
      );
    return this.joining.scale();
  }

  /** Gradients for what this rank did not use; null where it is known what no rank uses. */
  private standIns(): StandIns | null {
    const unused = [...this.bucketOf]
      .filter(([parameter, { ready }]) => !ready.has(parameter))
      .map(([parameter]) => parameter);
    if (unused.length > 0 && !this.findsUnused)
      throw new Error(
        `DistributedDataParallel: backward() gave no gradient to ${this.namesOf(unused)}; freeze what ` +
          'is not used, or make it with { findUnusedParameters: true }',
      );
    if (this.graph !== null) {
      this.checkGraph(this.graph, unused);
      return null;
    }
    if (this.settings.staticGraph) this.graph = { unused: new Set(unused), nobody: null };
    const standIns = new StandIns();
    for (const parameter of unused) standIns.add(parameter);
    return standIns;
  }

  private checkGraph(graph: Graph, unused: readonly Tensor[]): void {
    const others = [...this.bucketOf.keys()].filter(
      (parameter) => unused.includes(parameter) !== graph.unused.has(parameter),
    );
    if (others.length > 0)
      throw new Error(
        `DistributedDataParallel: with staticGraph every pass must use what the first one used, which is otherwise for ` +
          `${this.namesOf(others)}; use { findUnusedParameters: true } instead`,
      );
    if (graph.nobody === null && unused.length > 0)
      throw new Error(
        `DistributedDataParallel: backward() gives no gradient to ${this.namesOf(unused)}: with staticGraph, await model.settle() ` +
          'after the first backward()',
      );
  }

  /** Tells the other ranks what this one used. */
  private async tell(standIns: StandIns | null): Promise<void> {
    if (standIns === null || !this.findsUnused) return;
    const parameters = [...this.bucketOf.keys()];
    const own = Int32Array.from(parameters, (parameter) => (this.used.has(parameter) ? 1 : 0));
    this.used.clear();
    const { graph } = this;
    const told = groupFor('DistributedDataParallel')
      .allReduce(own, 'int32', 'sum')
      .then((counts) => {
        const nobody = new Set(parameters.filter((_, i) => counts[i] === 0));
        if (graph !== null) graph.nobody = nobody;
        standIns.settle(
          (parameter) => !nobody.has(parameter),
          (unused) => this.namesOf(unused),
        );
      });
    told.catch(() => undefined);
    this.settling = told;
    return told;
  }

  private namesOf(parameters: readonly Tensor[]): string {
    const named = this.module.namedParameters().filter(([, parameter]) => parameters.includes(parameter));
    return named.map(([name]) => `'${name}'`).join(', ');
  }
}

const ownHook = (bucket: GradBucket): GradFuture => allreduceHook(null, bucket);

function times(values: WireArray, factor: number): WireArray {
  if (factor !== 1) for (let i = 0; i < values.length; i++) (values as Float32Array)[i]! *= factor;
  return values;
}

/** @internal Rank 0's values for all. */
export function share(tensors: readonly Tensor[]): void {
  for (const list of byType(tensors)) {
    // An error comes up again with the gradients.
    broadcastInStream('DistributedDataParallel', list, 0).catch(() => undefined);
  }
}
