import {
  LBFGS,
  Optimizer,
  type BaseOptions,
  type OptimizerStateDict,
  type ParamGroup,
  type Params,
  type ParamState,
  type StateValue,
} from '../optim/index.js';
import { currentRecording } from '../device/index.js';
import { tensor } from '../ops/index.js';
import { isPlainObject } from '../tensor/options.js';
import { isTensor, type Tensor } from '../tensor/tensor.js';
import type { Shape } from '../tensor/shape.js';
import { allGatherObject, broadcastInStream } from './collectives.js';
import { groupFor } from './process.js';
import { byType, writeFlats } from './wire.js';

/** An optimizer's class, as `k.optim.AdamW`. */
export type OptimizerClass<O extends BaseOptions> = new (
  params: Params<O>,
  options: Partial<O> & Pick<O, 'lr'>,
) => Optimizer<O>;

/** `optimizerClass`, and what that one takes. */
export type ZeroOptions<O extends BaseOptions> = { readonly optimizerClass: OptimizerClass<O> } & Partial<O>;

/** A state's value on the host. */
type HostValue = number | { readonly shape: Shape; readonly data: Float32Array };
type HostState = Record<string, HostValue>;

/** What ranks tell each other of a state: which values are tensors, whose numbers follow. */
type Outline = Record<string, number | { readonly shape: Shape }>;

const op = 'ZeroRedundancyOptimizer';

/** Which rank owns a parameter: the largest first, each to the rank that has least (as PyTorch's). */
class Shares {
  readonly owner = new Map<Tensor, number>();
  private readonly sizes: number[];

  constructor(private readonly ranks: number) {
    this.sizes = Array<number>(ranks).fill(0);
  }

  /** `params`, of one group, of which this rank has the ones that are returned. */
  divide(params: readonly Tensor[], rank: number): Tensor[] {
    for (const parameter of [...params].sort((a, b) => b.numel() - a.numel())) {
      const least = this.sizes.indexOf(Math.min(...this.sizes));
      this.sizes[least]! += parameter.numel();
      this.owner.set(parameter, least);
    }
    return params.filter((parameter) => this.owner.get(parameter) === rank);
  }

  of(rank: number): Tensor[] {
    return [...this.owner].filter(([, owner]) => owner === rank).map(([parameter]) => parameter);
  }

  get all(): number[] {
    return Array.from({ length: this.ranks }, (_, rank) => rank);
  }
}

/**
 * `torch.distributed.optim.ZeroRedundancyOptimizer` (ZeRO-1, Rajbhandari et al. 2020,
 * https://arxiv.org/abs/1910.02054): each rank keeps the state of its share of the parameters only and
 * makes the step of these; then all get the new parameters from their owners. The weights are those of
 * `optimizerClass` alone, bit for bit, and so is the state, which files of the plain optimizer and of
 * this one exchange. Gradients must be the same on all ranks, as DistributedDataParallel leaves them.
 *
 *     const optimizer = new ZeroRedundancyOptimizer(model.parameters(), {
 *       optimizerClass: k.optim.AdamW, lr: 1e-3,
 *     });
 */
export class ZeroRedundancyOptimizer<O extends BaseOptions = BaseOptions> extends Optimizer<O> {
  /** State of this rank's share. */
  override readonly state: Map<Tensor, ParamState>;
  private readonly inner: Optimizer<O>;
  private readonly shares: Shares;
  /** By the parameter's number, after `consolidateStateDict`; null where that was not for this rank. */
  private whole: Record<number, HostState> | null = null;

  /**
   * @throws Error for LBFGS, whose state is not divided by parameters, and for what `optimizerClass`
   * refuses
   */
  constructor(params: Params<O>, options: ZeroOptions<O>) {
    const { worldSize, rank } = groupFor(op);
    if (!isPlainObject(options) || typeof options.optimizerClass !== 'function')
      throw new Error(
        `${op}: expected { optimizerClass, ... }, as in new ${op}(model.parameters(), { optimizerClass: k.optim.AdamW, lr: 1e-3 })`,
      );
    const { optimizerClass, ...rest } = options;
    if ((optimizerClass as unknown) === LBFGS)
      throw new Error(`${op}: LBFGS keeps one state for all parameters, which cannot be divided`);
    // It says what is wrong with the options, and what all of them are.
    const whole = new optimizerClass(params, rest as unknown as Partial<O> & Pick<O, 'lr'>);
    super(whole.paramGroups.map((group) => ({ ...group })) as Params<O>, whole.defaults);
    this.shares = new Shares(worldSize);
    const own = whole.paramGroups.map((group) => ({
      ...group,
      params: this.shares.divide(group.params, rank),
    }));
    this.inner = new optimizerClass(own as Params<O>, rest as unknown as Partial<O> & Pick<O, 'lr'>);
    this.state = this.inner.state;
  }

  /** The optimizer's own checks are made where its groups are. */
  protected check(): void {}

  override addParamGroup(group: { params: Tensor | Iterable<Tensor> } & Partial<O>): void {
    super.addParamGroup(group);
    // While it is made, the groups are not divided yet.
    if ((this.inner as Optimizer<O> | undefined) === undefined) return;
    const added = this.paramGroups.at(-1) as ParamGroup<O>;
    const own = this.shares.divide(added.params, groupFor(op).rank);
    try {
      this.inner.addParamGroup({ ...added, params: own });
    } catch (error) {
      this.paramGroups.pop();
      for (const parameter of added.params) this.shares.owner.delete(parameter);
      throw error;
    }
    this.whole = null;
  }

  /** Learning rates and their like go from the groups here to those of the share. */
  private passOptions(): void {
    this.paramGroups.forEach((group, i) => {
      const { params: _, ...options } = group;
      Object.assign(this.inner.paramGroups[i] as object, options);
    });
  }

  /**
   * Steps on this rank's share, and has all parameters go round. Nothing has to be awaited. A `closure`
   * is run first, and its result returned.
   */
  override step(): void;
  override step<R>(closure: () => R): R;
  override step(closure?: () => unknown): unknown {
    currentRecording()?.refuse(`${op}.step is called in it`);
    this.checkStep();
    this.passOptions();
    this.whole = null;
    const result = closure === undefined ? this.inner.step() : this.inner.step(closure);
    const group = groupFor(op);
    for (const source of this.shares.all)
      for (const list of byType(this.shares.of(source))) {
        const sent = broadcastInStream(op, list, source);
        sent.catch(() => undefined);
        // The owner writes nothing, and learns so whether the others have it.
        if (source === group.rank && group.worldSize > 1)
          writeFlats(
            sent.then(() => []),
            [],
          );
      }
    return result;
  }

  /**
   * `consolidate_state_dict`: brings the state of all shares to rank `to` (default 0), on the host, for
   * `stateDict()` there. All ranks call it.
   */
  async consolidateStateDict(to = 0): Promise<void> {
    const group = groupFor(op);
    group.checkRank(`${op}.consolidateStateDict`, to);
    const outline: Record<number, Outline> = {};
    const tensors: Tensor[] = [];
    for (const [number, parameter] of this.paramGroups.flatMap(({ params }) => params).entries()) {
      const state = this.state.get(parameter);
      if (state === undefined) continue;
      const own: Outline = (outline[number] = {});
      for (const [name, value] of Object.entries(state)) {
        if (isTensor(value)) tensors.push(value);
        own[name] = outlineOf(name, value);
      }
    }
    const reads = Promise.all(tensors.map(async (value) => (await value.data()) as Float32Array));
    const outlines = await allGatherObject(outline);
    const whole: Record<number, HostState> = {};
    for (const source of this.shares.all) {
      const theirs = outlines[source] as Record<number, Outline>;
      const length = Object.values(theirs)
        .flatMap((state) => Object.values(state))
        .reduce<number>((sum, value) => sum + (typeof value === 'number' ? 0 : product(value.shape)), 0);
      const values = source === group.rank ? reads.then(joined) : new Float32Array(length);
      const flat = await group.broadcast(values, 'float32', source);
      if (group.rank === to) cut(theirs, flat, whole);
    }
    this.whole = group.rank === to ? whole : null;
  }

  /**
   * The whole state, in the structure and names of the optimizer that `optimizerClass` is, whose
   * `loadStateDict()` takes it; a copy, unlike that one's.
   *
   * @throws Error where `consolidateStateDict` has not brought it to this rank since the last step
   */
  override stateDict(): OptimizerStateDict {
    const { rank, worldSize } = groupFor(op);
    this.passOptions();
    if (worldSize === 1) return this.inner.stateDict();
    if (this.whole === null)
      throw new Error(
        `${op}.stateDict: rank ${rank} does not have the whole state; all ranks must 'await optimizer.consolidateStateDict(${rank})' ` +
          'after the last step',
      );
    const dict = super.stateDict();
    for (const value of Object.values(dict.state).flatMap((state) => Object.values(state)))
      if (isTensor(value)) value.dispose();
    const state = Object.entries(this.whole).map(([number, values]): [string, ParamState] => [
      number,
      Object.fromEntries(Object.entries(values).map(([name, value]) => [name, onDevice(value)])),
    ]);
    return { ...dict, state: Object.fromEntries(state) };
  }

  /**
   * Takes over a state dict of the plain optimizer or of this one, of any number of ranks; each rank
   * keeps its share. Await it.
   */
  override async loadStateDict(stateDict: unknown): Promise<void> {
    await this.inner.loadStateDict(this.shareOf(stateDict));
    this.inner.paramGroups.forEach((group, i) => {
      const { params: _, ...options } = group;
      Object.assign(this.paramGroups[i] as object, options);
    });
    this.whole = null;
  }

  /** `stateDict` with this rank's parameters only; what is malformed the optimizer itself refuses. */
  private shareOf(stateDict: unknown): unknown {
    const groups = field(stateDict, 'param_groups');
    if (!Array.isArray(groups) || groups.length !== this.paramGroups.length) return stateDict;
    const { rank } = groupFor(op);
    const own = groups.map((group: unknown, i): unknown => {
      const { params } = this.paramGroups[i] as ParamGroup<O>;
      const numbers = field(group, 'params');
      if (!Array.isArray(numbers) || numbers.length !== params.length)
        throw new Error(
          `${op}.loadStateDict: group ${i} has ${Array.isArray(numbers) ? numbers.length : 'no'} parameters in the state dict and ${params.length} here`,
        );
      const entries =
        group instanceof Map ? [...(group as Map<unknown, unknown>)] : Object.entries(group as object);
      const kept = numbers.filter((_, k) => this.shares.owner.get(params[k] as Tensor) === rank) as unknown[];
      return new Map<unknown, unknown>([...entries, ['params', kept]]);
    });
    return new Map<string, unknown>([
      ['state', field(stateDict, 'state')],
      ['param_groups', own],
    ]);
  }
}

function outlineOf(name: string, value: StateValue): Outline[string] {
  if (typeof value === 'number') return value;
  if (isTensor(value)) return { shape: value.shape };
  throw new Error(
    `${op}.consolidateStateDict: state '${name}' is a list, which is not divided by parameters`,
  );
}

const product = (shape: Shape): number => shape.reduce((n, size) => n * size, 1);

function joined(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((n, part) => n + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Puts the values of `flat`, in the order of `outlines`, into `whole`. */
function cut(
  outlines: Readonly<Record<number, Outline>>,
  flat: Float32Array,
  whole: Record<number, HostState>,
): void {
  let at = 0;
  for (const [number, outline] of Object.entries(outlines)) {
    const own: HostState = (whole[Number(number)] = {});
    for (const [name, value] of Object.entries(outline)) {
      if (typeof value === 'number') own[name] = value;
      else own[name] = { shape: value.shape, data: flat.slice(at, (at += product(value.shape))) };
    }
  }
}

const onDevice = (value: HostValue): number | Tensor =>
  typeof value === 'number' ? value : tensor(value.data, { shape: value.shape }).keep();

/** Python's dicts come as Maps or as objects. */
function field(dict: unknown, name: string): unknown {
  if (dict instanceof Map) return (dict as Map<unknown, unknown>).get(name);
  return typeof dict === 'object' && dict !== null ? (dict as Record<string, unknown>)[name] : undefined;
}
