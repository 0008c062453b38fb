import type { DType } from '../tensor/dtype.js';
import { isTensor, type Tensor } from '../tensor/tensor.js';
import { expandsTo, showShape } from '../tensor/shape.js';
import { defineOp, type GradThunk } from './define.js';
import { shown } from './node.js';
import { primitives } from './primitives.js';

/** What a custom {@link Function}'s forward leaves for its backward. */
export interface FunctionContext {
  /** Keeps inputs or outputs for backward, guarded against in-place changes. */
  saveForBackward(...tensors: readonly (Tensor | null)[]): void;
  /** In backward: what was saved, in order. */
  readonly savedTensors: readonly (Tensor | null)[];
  /** Per argument of forward: is its gradient wanted? */
  readonly needsInputGrad: readonly boolean[];
  /** Anything else, as in PyTorch's `ctx`. */
  [key: string]: unknown;
}

type AnyResult = Tensor | readonly Tensor[];
type BackwardResult = Tensor | null | undefined | readonly (Tensor | null | undefined)[];

/** The static side of a custom function. */
export interface FunctionClass<A extends readonly unknown[], R extends AnyResult> {
  readonly name: string;
  forward(ctx: FunctionContext, ...args: A): R;
  backward(ctx: FunctionContext, ...grads: Tensor[]): BackwardResult;
}

interface Meta {
  readonly shape: readonly number[];
  readonly dtype: DType;
}

function listOf(name: string, result: BackwardResult): readonly (Tensor | null | undefined)[] {
  if (result === null || result === undefined || isTensor(result)) return [result];
  if (Array.isArray(result)) return result as readonly (Tensor | null | undefined)[];
  throw new Error(`${name}.backward returned ${shown(result)}; expected a tensor, null or an array of them`);
}

/**
 * `grad` as the gradient of argument `i`: summed over dims along which it was broadcast, in the argument's
 * dtype.
 */
function fitted(name: string, i: number, grad: Tensor, { shape, dtype }: Meta): Tensor {
  if (!isTensor(grad)) {
    throw new Error(`${name}.backward returned ${shown(grad)} as gradient ${i}; expected a tensor or null`);
  }
  if (!expandsTo(shape, grad.shape)) {
    throw new Error(
      `${name}.backward returned a gradient of shape ${showShape(grad.shape)} for argument ${i}, whose shape is ${showShape(shape)}`,
    );
  }
  return primitives().fit(grad, shape, dtype);
}

/**
 * `torch.autograd.Function`: an op with a gradient of your own.
 *
 * ```ts
 * class Exp extends Function {
 *   static forward(ctx: FunctionContext, x: Tensor) { const y = x.exp(); ctx.saveForBackward(y); return y; }
 *   static backward(ctx: FunctionContext, grad: Tensor) { return grad.mul(ctx.savedTensors[0]!); }
 * }
 * const y = Exp.apply(x);
 * ```
 * `backward` returns one gradient per argument of `forward` (null for arguments that are not tensors), of the
 * argument's shape or of one that it broadcasts to.
 */
export abstract class Function {
  static apply<A extends readonly unknown[], R extends AnyResult>(this: FunctionClass<A, R>, ...args: A): R {
    const { name } = this;
    const isTensorArg = args.map(isTensor);
    const metas = args.map((arg) => (isTensor(arg) ? { shape: arg.shape, dtype: arg.dtype } : null));
    const call = defineOp<A, R, FunctionContext>({
      name,
      forward: (op, ...given) => {
        let next = 0;
        const ctx: FunctionContext = {
          saveForBackward: (...tensors) => op.save(...tensors),
          savedTensors: [],
          needsInputGrad: isTensorArg.map((tensor) => tensor && (op.needs[next++] as boolean)),
        };
        op.state = ctx;
        const result = this.forward(ctx, ...given);
        const alias = (tensor: Tensor): Tensor => (given.includes(tensor) ? tensor.alias() : tensor);
        if (isTensor(result)) return alias(result) as R;
        if (Array.isArray(result) && result.every(isTensor))
          return result.map(alias) as readonly Tensor[] as R;
        throw new Error(
          `${name}.forward returned ${shown(result)}; expected a tensor or an array of tensors`,
        );
      },
      backward: (op, ...grads) => {
        const ctx = Object.assign(op.state, { savedTensors: op.saved });
        const list = listOf(name, this.backward(ctx, ...grads));
        const surplus = list.slice(metas.length).some((grad) => grad !== null && grad !== undefined);
        if (list.length < metas.length || surplus) {
          throw new Error(
            `${name}.backward returned ${list.length} gradients for ${metas.length} arguments of forward; ` +
              'return one per argument, null where there is none',
          );
        }
        const thunks: GradThunk[] = [];
        metas.forEach((meta, i) => {
          const grad = list[i];
          if (meta !== null) thunks.push(grad ? () => fitted(name, i, grad, meta) : null);
        });
        return thunks;
      },
    });
    return call(...args);
  }
}
