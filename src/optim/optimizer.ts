import { isPlainObject, optionReader, readOptions, requireBoolean } from '../tensor/options.js';
import { snakeCase } from '../nn/base/naming.js';
import {
  checkLive,
  clearGrads,
  readZeroGrad,
  UninitializedParameter,
  type ZeroGradArgs,
} from '../nn/base/parameter.js';
import { isTensor, Tensor } from '../tensor/tensor.js';
import { showShape, type Shape } from '../tensor/shape.js';
import type { PlainState } from './scheduler-state.js';
import { show } from './show.js';
import { disposeState, readState, sharedState, type LoadedState, type ParamState } from './state.js';

/** What every optimizer's options hold. */
export interface BaseOptions {
  /** Learning rate. */
  lr: number;
}

/** Parameters that share hyper-parameters. Change them between steps as you like: `group.lr *= 0.1`. */
export type ParamGroup<O extends BaseOptions = BaseOptions> = O & {
  params: Tensor[];
} & ScheduleFields;

/** What schedulers keep in a group, as PyTorch's do: a saved group resumes with them. */
export interface ScheduleFields {
  /** The learning rate that a scheduler started from. */
  initialLr?: number;
  maxLr?: number;
  minLr?: number;
  baseMomentum?: number;
  maxMomentum?: number;
  swaLr?: number;
}
const scheduleFields = ['initialLr', 'maxLr', 'minLr', 'baseMomentum', 'maxMomentum', 'swaLr'] as const;

/** A list of parameters, or of groups with options of their own. */
export type Params<O extends BaseOptions> =
  Iterable<Tensor> | Iterable<{ params: Tensor | Iterable<Tensor> } & Partial<O>>;

/** PyTorch's structure: state by the parameter's number, and groups that list numbers instead of tensors. */
export type OptimizerStateDict = {
  state: Record<number, ParamState>;
  param_groups: Record<string, PlainState>[];
};

/** `torch.optim.Optimizer`. */
export abstract class Optimizer<O extends BaseOptions = BaseOptions> {
  /** What groups have that say nothing else. */
  readonly defaults: O;
  readonly paramGroups: ParamGroup<O>[] = [];
  /** A value of the right kind for each option; a learning rate is a number where it has no default. */
  private readonly kinds: O;
  /** Knows which options a group may have. */
  private readonly readGroup: (group: readonly unknown[]) => unknown;
  /** State by parameter; empty before its first step. */
  readonly state = new Map<Tensor, ParamState>();
  /** A `loadStateDict()` has not finished: the state is the old one. */
  private loading = false;

  /**
   * @param defaults every option there is
   * @param options those that differ
   * @throws Error for an unknown option, when there are no parameters, when one is given twice, or is no leaf
   */
  constructor(params: Params<O>, defaults: O, options: Partial<O> = {}) {
    const name = this.constructor.name;
    this.defaults = readOptions<O>(name, defaults, options);
    this.kinds = { ...defaults, lr: 0 };
    const known = [...Object.keys(defaults), ...scheduleFields, 'params'];
    this.readGroup = optionReader(`${name}, group`, Object.fromEntries(known.map((key) => [key, undefined])));
    if (this.defaults.lr !== undefined) this.validate(this.defaults);
    const list = listed(name, params) as (Tensor | ({ params: Tensor | Iterable<Tensor> } & Partial<O>))[];
    if (list.length === 0) {
      throw new Error(
        `${this.constructor.name}: the list of parameters is empty; does the model have any that require grad?`,
      );
    }
    if (list.every(isTensor)) this.addParamGroup({ params: list } as { params: Tensor[] } & Partial<O>);
    else {
      if (!list.every(isPlainObject)) refuseParams(name, list);
      for (const group of list) this.addParamGroup(group as Exclude<typeof group, Tensor>);
    }
  }

  private checkLoaded(): void {
    if (this.loading)
      throw new Error(
        `${this.constructor.name}: loadStateDict() has not finished: await it before the optimizer is used`,
      );
  }

  /**
   * What each step asks first.
   * @throws Error while a state is being loaded, for a parameter that is gone, and for options of the wrong
   * kind, which would make the weights NaN
   */
  protected checkStep(): void {
    this.checkLoaded();
    const op = `${this.constructor.name}.step`;
    this.paramGroups.forEach((group, i) => {
      group.params.forEach((parameter, k) => {
        checkLive(op, parameter, k, ` in group ${i}`);
      });
      this.checkKinds(`${op}: group ${i}: `, group);
    });
  }

  private checkKinds(at: string, options: O): void {
    for (const [key, kind] of Object.entries(this.kinds)) requireKind(at, key, kind, options[key as keyof O]);
  }

  /** Checks a group's hyper-parameters, which are of the kinds of the defaults. */
  protected abstract check(options: O): void;

  /** Checks that hyper-parameters are of the kinds of the defaults, then what they are. */
  private validate(options: O): void {
    const name = this.constructor.name;
    if (options.lr === undefined)
      throw new Error(`${name}: 'lr' is missing; as in new ${name}(model.parameters(), { lr: 0.01 })`);
    this.checkKinds(`${name}: `, options);
    this.check(options);
  }

  /** Adds parameters, for instance when a frozen layer is unfrozen; options not given are the optimizer's. */
  addParamGroup(group: { params: Tensor | Iterable<Tensor> } & Partial<O>): void {
    const name = this.constructor.name;
    if (!isPlainObject(group)) refuseParams(name, group);
    this.readGroup([group]);
    const params = isTensor(group.params) ? [group.params] : (listed(name, group.params) as Tensor[]);
    if (params.some((param) => param instanceof UninitializedParameter))
      throw new Error(
        `${name}: a parameter of a lazy layer has no size yet; call the model once before the optimizer is made`,
      );
    const known = new Set(this.paramGroups.flatMap((other) => other.params));
    params.forEach((parameter, i) => {
      if (!isTensor(parameter))
        throw new Error(`${name}: item ${i} is not a tensor; pass model.parameters()`);
      checkLive(name, parameter, i);
      const what = `parameter ${i}${parameter.name ? ` '${parameter.name}'` : ''} of shape ${showShape(parameter.shape)}`;
      if (!parameter.isLeaf)
        throw new Error(
          `${name}: ${what} is the result of ${parameter.gradFn?.name}; only leaves can be optimised`,
        );
      if (known.has(parameter)) throw new Error(`${name}: ${what} is given twice`);
      known.add(parameter);
    });
    const own = Object.fromEntries(Object.entries(group).filter(([, value]) => value !== undefined));
    const complete = { ...this.defaults, ...own, params } as ParamGroup<O>;
    this.validate(complete);
    this.paramGroups.push(complete);
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
  }

  /** @throws Error saying how an optimizer is saved */
  toJSON(): never {
    throw new Error(
      `JSON of ${this.constructor.name}: its state is made of tensors; save stateDict() with saveTorch() or encodeTorch()`,
    );
  }

  /** Drops all gradients; with `setToNone: false` they become zeros. */
  zeroGrad(...args: ZeroGradArgs): void {
    const { setToNone } = readZeroGrad(args);
    clearGrads(() => this.paramGroups.flatMap(({ params }) => params), setToNone);
  }

  /** One step. A `closure` is run first, with grad mode on, and its result returned. */
  abstract step(closure?: () => unknown): unknown;

  /** Names without which a parameter's saved state, unless it is empty, is another optimizer's. */
  protected needs(_group: ParamGroup<O>): readonly string[] {
    return [];
  }

  /** The shape that PyTorch keeps `name` of `parameter`'s state in; null for a number. */
  protected shapeOf(name: string, parameter: Tensor): Shape | null {
    return name === 'step' ? null : parameter.shape;
  }

  /** @internal A tensor for `name` of `parameter`'s state, contents undefined, kept past every scope. */
  protected blankState(name: string, parameter: Tensor): Tensor {
    const shape = this.shapeOf(name, parameter) ?? [];
    return Tensor.empty(shape, 'float32', `${this.constructor.name}.${name}`).keep();
  }

  /**
   * State and hyper-parameters in PyTorch's structure and names. Tensors share the optimizer's memory and
   * change with the next step. A file to resume from, for PyTorch too:
   *
   * ```ts
   * const [weights, steps] = [model.stateDict(), optimizer.stateDict()];
   * await saveTorch(path, { model: weights, optimizer: steps, scheduler: scheduler.stateDict(), epoch });
   * const saved = (await formats.loadValue(path)) as Map<string, Map<string, HostTensor>>;
   * await model.loadStateDict(saved.get('model'));
   * await optimizer.loadStateDict(saved.get('optimizer'));
   * scheduler.loadStateDict(saved.get('scheduler'));
   * ```
   */
  stateDict(): OptimizerStateDict {
    this.checkLoaded();
    const numbers = new Map<Tensor, number>();
    for (const group of this.paramGroups)
      for (const parameter of group.params) numbers.set(parameter, numbers.size);
    const state: Record<number, ParamState> = {};
    for (const [parameter, values] of this.state) {
      const number = numbers.get(parameter);
      if (number === undefined) continue;
      state[number] = sharedState(values);
    }
    const groups = this.paramGroups.map((group) => {
      const { params, ...options } = group;
      const named: Record<string, PlainState> = {};
      for (const [name, value] of Object.entries(options)) named[snakeCase(name)] = value as PlainState;
      return { ...named, params: params.map((parameter) => numbers.get(parameter) as number) };
    });
    return { state, param_groups: groups };
  }

  /**
   * Takes over a state dict of the same optimizer over the same parameters in the same order: from
   * `stateDict()`, or from a file of ours or of PyTorch's. Training goes on as if it had not stopped, bit for
   * bit. Make schedulers before this, since they set the learning rate when they are made. Await it: until
   * then the optimizer cannot be used. Nothing changes when it does not fit.
   */
  async loadStateDict(stateDict: unknown): Promise<void> {
    this.checkLoaded();
    this.loading = true;
    try {
      await this.load(stateDict);
    } finally {
      this.loading = false;
    }
  }

  private async load(stateDict: unknown): Promise<void> {
    const loaded: LoadedState = await readState(this.constructor.name, stateDict, this.paramGroups, {
      shapeOf: (name, parameter) => this.shapeOf(name, parameter),
      blank: (name, parameter) => this.blankState(name, parameter),
    });
    const groups = this.paramGroups.map((group, i) => {
      const options: Record<string, unknown> = {};
      for (const name of Object.keys(this.defaults)) {
        const value = loaded.groups[i]?.get(snakeCase(name));
        if (value !== undefined && value !== null) options[name] = value;
      }
      for (const name of scheduleFields) {
        const value = loaded.groups[i]?.get(snakeCase(name));
        if (typeof value === 'number') options[name] = value;
      }
      return { ...group, ...options };
    });
    try {
      for (const group of groups) {
        this.validate(group);
        this.checkNeeds(group, loaded.state);
      }
    } catch (error) {
      for (const state of loaded.state.values()) disposeState(state);
      throw error;
    }
    groups.forEach((group, i) => Object.assign(this.paramGroups[i] as ParamGroup<O>, group));
    for (const state of this.state.values()) disposeState(state);
    this.state.clear();
    for (const [parameter, state] of loaded.state) this.state.set(parameter, state);
  }

  private checkNeeds(group: ParamGroup<O>, loaded: ReadonlyMap<Tensor, ParamState>): void {
    const { name } = this.constructor;
    const needs = this.needs(group);
    group.params.forEach((parameter, k) => {
      const state = loaded.get(parameter);
      const missing = state === undefined ? [] : needs.filter((need) => state[need] === undefined);
      if (missing.length > 0)
        throw new Error(
          `${name}.loadStateDict: the state of parameter ${k} has no ${missing.join(', ')}, only ` +
            `${Object.keys(state as ParamState).join(', ')}: it is not of ${name} with these options`,
        );
    });
  }

  /** PyTorch's `print(optimizer)`, with this package's option names. */
  toString(): string {
    const groups = this.paramGroups.map((group, i) => {
      const lines = Object.entries(group)
        .filter(([name]) => name !== 'params')
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([name, value]) => `    ${name}: ${String(value)}`);
      return `Parameter Group ${i}\n${lines.join('\n')}\n`;
    });
    return `${this.constructor.name} (\n${groups.join('\n')})`;
  }
}

/** @internal Shared checks of hyper-parameters. */
export function requireAtLeast(optimizer: string, name: string, value: number, least: number): void {
  if (!(value >= least))
    throw new Error(`${optimizer}: ${name} must be at least ${least}, got ${String(value)}`);
}

function refuseParams(optimizer: string, given: unknown): never {
  throw new Error(
    `${optimizer}: expected a list of tensors, as model.parameters() gives it, or of groups { params, ... }, got ${show(given).slice(0, 80)}`,
  );
}

/** The items of what an optimizer or a group is given as its parameters. */
function listed(optimizer: string, params: unknown): unknown[] {
  const items = params as Partial<Iterable<unknown>> | null | undefined;
  if (isTensor(params) || typeof params === 'string' || typeof items?.[Symbol.iterator] !== 'function')
    refuseParams(optimizer, params);
  return [...(items as Iterable<unknown>)];
}

const isNumber = (value: unknown): boolean => typeof value === 'number' && !Number.isNaN(value);

/** @throws Error unless `value` is of the kind of `like`: a number, a pair of numbers, or true or false */
function requireKind(at: string, key: string, like: unknown, value: unknown): void {
  if (typeof like === 'boolean') return requireBoolean(at + key, value);
  const pair = Array.isArray(like);
  if (!pair && typeof like !== 'number') return;
  if (pair ? Array.isArray(value) && value.length === 2 && value.every(isNumber) : isNumber(value)) return;
  throw new Error(`${at}${key} must be ${pair ? 'two numbers' : 'a number'}, got ${show(value)}`);
}

/** @internal */
export function requireBetas(optimizer: string, betas: readonly number[]): void {
  if (!betas.every((beta) => beta >= 0 && beta < 1))
    throw new Error(`${optimizer}: betas must be from 0 to below 1, got ${betas.join(' and ')}`);
}
