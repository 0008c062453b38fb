import { defineOp } from '../../autograd/define.js';
import { isGradEnabled } from '../../autograd/mode.js';
import { checkHooked } from '../../autograd/node.js';
import { noMore } from '../../tensor/options.js';
import { isTensor, type HookHandle, type Tensor } from '../../tensor/tensor.js';

/** @internal @throws Error unless `hook`, all that `op` was given, is a function */
export function checkHook(op: string, given: ArrayLike<unknown>, hook: unknown): void {
  noMore(op, given, 1);
  if (typeof hook !== 'function') throw new Error(`${op}: expected a function to call, got ${String(hook)}`);
}

/** @internal An ordered list of callbacks; `add` returns the handle that takes one out again. */
export class HookList<F> {
  readonly list: F[] = [];

  add(hook: F): HookHandle {
    this.list.push(hook);
    return {
      remove: () => {
        const at = this.list.indexOf(hook);
        if (at >= 0) this.list.splice(at, 1);
      },
    };
  }
}

/** Gradients as a backward hook sees them; null where none is computed. */
export type HookGrads = readonly (Tensor | null)[];

/** @internal */
export type BackwardHook = (gradInput: HookGrads, gradOutput: HookGrads) => Tensor | HookGrads | null | void;

type OnGrads = (grads: readonly Tensor[]) => HookGrads;

/** Passes several tensors through one tape node, so that their gradients can be seen together. */
const watchGrads = defineOp<[readonly Tensor[], OnGrads], readonly Tensor[], OnGrads>({
  name: 'moduleBackwardHook',
  forward(ctx, tensors, onGrads) {
    ctx.state = onGrads;
    return tensors.map((tensor) => tensor.alias());
  },
  backward(ctx, ...grads) {
    const given = ctx.state(grads);
    return given.map((grad) => (grad === null ? null : () => grad));
  },
});

function passThrough(values: readonly unknown[], onGrads: OnGrads): unknown[] {
  const tensors = values.filter((value): value is Tensor => isTensor(value) && value.requiresGrad);
  const watched = watchGrads(tensors, onGrads);
  let next = 0;
  return values.map((value) => (isTensor(value) && value.requiresGrad ? watched[next++] : value));
}

const keepAll = (grads: HookGrads): void => grads.forEach((grad) => grad?.keep());

/**
 * @internal One call of a module with full backward hooks (`torch.nn.Module.register_full_backward_hook`):
 * the outputs' gradients are noted when they arrive, and the hooks run when the inputs' gradients are known;
 * with no input that requires grad they run at once.
 */
export class BackwardWatch {
  private gradOutput: HookGrads = [];
  private watchesInputs = false;

  constructor(
    private readonly name: string,
    private readonly hooks: readonly BackwardHook[],
  ) {}

  inputs(args: readonly unknown[]): unknown[] {
    if (!isGradEnabled() || !args.some((arg) => isTensor(arg) && arg.requiresGrad)) return [...args];
    this.watchesInputs = true;
    return passThrough(args, (grads) => this.run(grads));
  }

  output(result: unknown, args: readonly unknown[]): unknown {
    const list: readonly unknown[] = Array.isArray(result) ? result : [result];
    if (!isGradEnabled() || !list.some((value) => isTensor(value) && value.requiresGrad)) return result;
    const watched = passThrough(list, (grads) => {
      keepAll(grads);
      this.gradOutput = grads;
      if (!this.watchesInputs) this.run(args.filter(isTensor).map(() => null));
      return grads;
    });
    return Array.isArray(result) ? watched : watched[0];
  }

  private run(grads: HookGrads): HookGrads {
    keepAll(grads);
    for (const hook of [...this.hooks]) {
      const changed = hook(grads, this.gradOutput);
      if (changed === null || changed === undefined) continue;
      const list = isTensor(changed) ? [changed] : changed;
      if (list.length !== grads.length) {
        throw new Error(
          `${this.name}: a full backward hook returned ${list.length} gradients for ${grads.length} inputs that require grad`,
        );
      }
      list.forEach((grad, i) => {
        const given = grads[i] ?? null;
        if (grad === null || given === null || grad === given) return;
        checkHooked(`${this.name}: a full backward hook`, grad, given);
        grad.keep();
      });
      grads = list;
    }
    return grads;
  }
}
