import { currentRecording, runtime } from '../device/index.js';
import { enableGrad, noGrad } from '../autograd/mode.js';
import type { UpdateRule } from '../kernels/optim/kernel.js';
import { zero_ } from '../ops/index.js';
import { isTensor, type Tensor } from '../tensor/tensor.js';
import { callSync, scoped } from '../tensor/tidy.js';
import { applyRules, stateLike, type RuleUse, type Update } from './fused.js';
import { Optimizer, type BaseOptions, type ParamGroup } from './optimizer.js';
import type { ParamState } from './state.js';

/** A step of one kind, and the values it takes: parameters with equal steps are updated together. */
export interface Step {
  readonly rule: UpdateRule;
  readonly hyper: readonly number[];
  /** State-dict names of the rule's state tensors, in its order. */
  readonly state: readonly string[];
}

/** The parameters of a step with their state, and what was in it before: nothing before the first. */
type Before = Map<Tensor, { readonly now: ParamState; readonly old: ParamState | undefined }>;

/** An optimizer whose step is one {@link UpdateRule}, run on several parameters per dispatch. */
export abstract class FusedOptimizer<O extends BaseOptions = BaseOptions> extends Optimizer<O> {
  /** What the next step does with a parameter; may change the numbers in `state` (step counts). */
  protected abstract plan(group: ParamGroup<O>, state: ParamState): Step;

  protected override blankState(_name: string, parameter: Tensor): Tensor {
    return stateLike(parameter, this.constructor.name);
  }

  /** The tensors of a step, and the numbers that it keeps (step counts). */
  protected override needs(group: ParamGroup<O>): readonly string[] {
    const numbers: ParamState = {};
    const { state } = this.plan(group, numbers);
    return [...Object.keys(numbers), ...state];
  }

  /**
   * Updates every parameter that requires grad and has a gradient. A `closure` is run first, with grad mode
   * on, and its result returned.
   */
  override step(): void;
  override step<R>(closure: () => R): R;
  override step<R>(closure?: () => R): R | undefined {
    // Rates and counts change from step to step: a replay makes the step itself.
    const recording = currentRecording();
    if (recording !== null && closure === undefined) return recording.host(() => this.step(closure as never));
    recording?.refuse(`${this.constructor.name}.step is given a closure`);
    this.checkStep();
    const op = `${this.constructor.name}.step`;
    const result =
      closure === undefined
        ? undefined
        : enableGrad(() => callSync(op, 'await what it does first, then call step()', closure, closure));
    const before: Before = new Map();
    const undo = (): void => this.takeBack(before);
    try {
      scoped(op, () =>
        noGrad(() => {
          const uses = this.paramGroups.flatMap((group) => this.usesOf(op, group, before));
          applyRules(op, uses, undo);
        }),
      );
    } catch (error) {
      undo();
      throw error;
    }
    runtime().endStep();
    return result;
  }

  /** The state as it was before a step that did not happen. */
  private takeBack(before: Before): void {
    for (const [parameter, { now, old }] of before) {
      // Another has been loaded since.
      if (this.state.get(parameter) !== now) continue;
      for (const [name, value] of Object.entries(now))
        if (isTensor(value) && old?.[name] !== value) value.dispose();
      if (old === undefined) this.state.delete(parameter);
      else {
        for (const name of Object.keys(now)) if (!(name in old)) Reflect.deleteProperty(now, name);
        Object.assign(now, old);
      }
    }
  }

  private usesOf(op: string, group: ParamGroup<O>, before: Before): RuleUse[] {
    interface Batch extends RuleUse {
      readonly updates: Update[];
    }
    const batches = new Map<string, Batch>();
    for (const parameter of group.params) {
      const grad = parameter.leafGrad;
      if (grad === null || !parameter.requiresGrad) continue;
      let state = this.state.get(parameter);
      const old = state === undefined ? undefined : { ...state };
      if (state === undefined) this.state.set(parameter, (state = {}));
      before.set(parameter, { now: state, old });
      const step = this.plan(group, state);
      const own = state;
      const fresh = !step.state.some((name) => isTensor(own[name]));
      const tensors = step.state.map((name) => {
        const known = own[name];
        if (isTensor(known)) return known;
        const tensor = stateLike(parameter, op);
        own[name] = tensor;
        // The first step ignores what is in its state; an option switched on later (amsgrad) starts from
        // zeros.
        return fresh ? tensor : zero_(tensor);
      });
      const key = `${step.rule.name}|${fresh}|${step.hyper.join()}`;
      let batch = batches.get(key);
      if (batch === undefined) {
        batch = { rule: step.rule, hyper: step.hyper, fresh, updates: [] };
        batches.set(key, batch);
      }
      batch.updates.push({ parameter, grad, state: tensors });
    }
    return [...batches.values()];
  }
}

/** @internal Counts a parameter's steps, from 1. */
export function countStep(state: ParamState): number {
  const count = ((state['step'] as number | undefined) ?? 0) + 1;
  state['step'] = count;
  return count;
}
