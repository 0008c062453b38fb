import { enableGrad, noGrad } from '../autograd/mode.js';
import type { UpdateRule } from '../kernels/optimizer.js';
import { snakeCase } from '../nn/naming.js';
import { clearGrad } from '../nn/parameter.js';
import { zero_ } from '../ops/index.js';
import { isTensor } from '../tensor/scope.js';
import { showShape } from '../tensor/shape.js';
import { type Tensor } from '../tensor/tensor.js';
import { scoped } from '../tensor/tidy.js';
import { applyRule, stateLike } from './fused.js';
import { readState, type LoadedState } from './state.js';

/** What every optimizer's options hold. */
export interface BaseOptions {
  /** Learning rate. */
  lr: number;
}

/** Parameters that share hyper-parameters. Change them between steps as you like: `group.lr *= 0.1`. */
export type ParamGroup<O extends BaseOptions = BaseOptions> = O & {
  params: Tensor[];
  /** The learning rate that a scheduler started from. */
  initialLr?: number;
};

/** A list of parameters, or of groups with options of their own. */
export type Params<O extends BaseOptions> =
  Iterable<Tensor> | Iterable<{ params: Tensor | Iterable<Tensor> } & Partial<O>>;

/** A parameter's state under PyTorch's names. */
export type ParamState = Record<string, Tensor | number>;

/** PyTorch's structure: state by the parameter's number, and groups that list numbers instead of tensors. */
export interface OptimizerStateDict {
  state: Record<number, ParamState>;
  param_groups: Record<string, unknown>[];
}

/** A step of one kind, and the values it takes: parameters with equal steps are updated together. */
export interface Step {
  readonly rule: UpdateRule;
  readonly hyper: readonly number[];
  /** State-dict names of the rule's state tensors, in its order. */
  readonly state: readonly string[];
}

/** `torch.optim.Optimizer`. */
export abstract class Optimizer<O extends BaseOptions = BaseOptions> {
  readonly paramGroups: ParamGroup<O>[] = [];
  /** State by parameter; empty before its first step. */
  readonly state = new Map<Tensor, ParamState>();

  /**
   * @throws Error when there are no parameters, when one is given twice, or is no leaf
   */
  constructor(
    params: Params<O>,
    readonly defaults: O,
  ) {
    const list = [...(params as Iterable<Tensor | ({ params: Tensor | Iterable<Tensor> } & Partial<O>)>)];
    if (list.length === 0) {
      throw new Error(
        `${this.constructor.name}: the list of parameters is empty; does the model have any that require grad?`,
      );
    }
    if (list.every(isTensor)) this.addParamGroup({ params: list } as { params: Tensor[] } & Partial<O>);
    else {
      for (const group of list) {
        if (isTensor(group) || typeof group !== 'object') {
          throw new Error(
            `${this.constructor.name}: give either parameters or groups { params, ... }, not both`,
          );
        }
        this.addParamGroup(group);
      }
    }
  }

  /** Checks a group's hyper-parameters. */
  protected abstract check(options: O): void;
  /** What the next step does with `parameter`; may change the numbers in `state` (step counts). */
  protected abstract plan(group: ParamGroup<O>, state: ParamState): Step;

  /** Adds parameters, for instance when a frozen layer is unfrozen; options not given are the optimizer's. */
  addParamGroup(group: { params: Tensor | Iterable<Tensor> } & Partial<O>): void {
    const name = this.constructor.name;
    const params = isTensor(group.params) ? [group.params] : [...group.params];
    if (params.length === 0) throw new Error(`${name}: a group of parameters is empty`);
    const known = new Set(this.paramGroups.flatMap((other) => other.params));
    params.forEach((parameter, i) => {
      if (!isTensor(parameter))
        throw new Error(`${name}: item ${i} is not a tensor; pass model.parameters()`);
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
    this.check(complete);
    this.paramGroups.push(complete);
  }

  /** Drops all gradients; with `setToNone: false` they become zeros. */
  zeroGrad({ setToNone = true }: { setToNone?: boolean } = {}): void {
    for (const group of this.paramGroups)
      for (const parameter of group.params) clearGrad(parameter, setToNone);
  }

  /**
   * Updates every parameter that requires grad and has a gradient. A `closure` is run first, with grad mode on, and its
   * result returned.
   */
  step(): void;
  step<R>(closure: () => R): R;
  step<R>(closure?: () => R): R | undefined {
    const result = closure === undefined ? undefined : enableGrad(closure);
    const op = `${this.constructor.name}.step`;
    scoped(op, () =>
      noGrad(() => {
        for (const group of this.paramGroups) this.stepGroup(op, group);
      }),
    );
    return result;
  }

  private stepGroup(op: string, group: ParamGroup<O>): void {
    interface Batch {
      readonly step: Step;
      readonly fresh: boolean;
      readonly updates: { parameter: Tensor; grad: Tensor; state: Tensor[] }[];
    }
    const batches = new Map<string, Batch>();
    for (const parameter of group.params) {
      const grad = parameter.leafGrad;
      if (grad === null || !parameter.requiresGrad) continue;
      let state = this.state.get(parameter);
      if (state === undefined) this.state.set(parameter, (state = {}));
      const step = this.plan(group, state);
      const own = state;
      const fresh = !step.state.some((name) => isTensor(own[name]));
      const tensors = step.state.map((name) => {
        const known = own[name];
        if (isTensor(known)) return known;
        const tensor = stateLike(parameter, op);
        own[name] = tensor;
        // The first step ignores what is in its state; an option switched on later (amsgrad) starts from zeros.
        return fresh ? tensor : zero_(tensor);
      });
      const key = `${step.rule.name}|${fresh}|${step.hyper.join()}`;
      let batch = batches.get(key);
      if (batch === undefined) batches.set(key, (batch = { step, fresh, updates: [] }));
      batch.updates.push({ parameter, grad, state: tensors });
    }
    for (const { step, fresh, updates } of batches.values())
      applyRule(op, step.rule, step.hyper, fresh, updates);
  }

  /** State and hyper-parameters in PyTorch's structure and names; tensors share the optimizer's memory. */
  stateDict(): OptimizerStateDict {
    const numbers = new Map<Tensor, number>();
    for (const group of this.paramGroups)
      for (const parameter of group.params) numbers.set(parameter, numbers.size);
    const state: Record<number, ParamState> = {};
    for (const [parameter, values] of this.state) {
      const number = numbers.get(parameter);
      if (number === undefined) continue;
      state[number] = Object.fromEntries(
        Object.entries(values).map(([name, value]) => [name, isTensor(value) ? value.alias() : value]),
      );
    }
    const groups = this.paramGroups.map((group) => {
      const { params, ...options } = group;
      const named = Object.entries(options).map(([name, value]) => [snakeCase(name), value] as const);
      return { ...Object.fromEntries(named), params: params.map((parameter) => numbers.get(parameter)) };
    });
    return { state, param_groups: groups };
  }

  /**
   * Takes over a state dict of the same optimizer over the same parameters in the same order, from `stateDict()` or from a
   * PyTorch file. Nothing changes when it does not fit.
   */
  async loadStateDict(stateDict: unknown): Promise<void> {
    const loaded: LoadedState = await readState(
      this.constructor.name,
      stateDict,
      this.paramGroups,
      (parameter) => stateLike(parameter, `${this.constructor.name}.loadStateDict`),
    );
    const groups = this.paramGroups.map((group, i) => {
      const options: Record<string, unknown> = {};
      for (const name of Object.keys(this.defaults)) {
        const value = loaded.groups[i]?.get(snakeCase(name));
        if (value !== undefined && value !== null) options[name] = value;
      }
      const initialLr = loaded.groups[i]?.get('initial_lr');
      if (typeof initialLr === 'number') options['initialLr'] = initialLr;
      return { ...group, ...options };
    });
    for (const group of groups) this.check(group);
    groups.forEach((group, i) => Object.assign(this.paramGroups[i] as ParamGroup<O>, group));
    for (const state of this.state.values())
      for (const value of Object.values(state)) if (isTensor(value)) value.dispose();
    this.state.clear();
    for (const [parameter, state] of loaded.state) this.state.set(parameter, state);
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
