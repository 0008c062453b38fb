/** Parameters that a backward pass did not come to: which of them no rank used, only all of them know. */
import { noGrad } from '../autograd/mode.js';
import { clone, detach, zerosLike } from '../ops/index.js';
import type { Tensor } from '../tensor/tensor.js';

/** A gradient that may have to be taken back. */
interface StandIn {
  readonly parameter: Tensor;
  /** Its gradient before the pass: nothing, or what earlier passes have left. */
  readonly before: Tensor | null;
  readonly grad: Tensor;
  /** Versions of the parameter and of `grad` after the averages were written. */
  seal: readonly [parameter: number, grad: number];
}

/** @internal Gradients of what this rank did not use, until the ranks have told each other. */
export class StandIns {
  private readonly list: StandIn[] = [];

  /** Gives `parameter` what it adds to the ranks' mean: zeros, or a copy of the gradient that it has. */
  add(parameter: Tensor): void {
    const old = parameter.leafGrad;
    const before = old === null ? null : old.alias().keep();
    const grad = noGrad(() => (old === null ? zerosLike(detach(parameter)) : clone(detach(old))));
    parameter.grad = grad;
    this.list.push({ parameter, before, grad, seal: [0, 0] });
  }

  /** The averages have been recorded: what comes from now on is the program's. */
  seal(): void {
    for (const item of this.list) item.seal = [item.parameter.storage.version, item.grad.storage.version];
  }

  /**
   * Leaves the gradients as they were of what no rank used.
   *
   * @param isUsed by any rank
   * @throws Error where such a gradient has been used meanwhile, by an optimizer's step say
   */
  settle(isUsed: (parameter: Tensor) => boolean, namesOf: (parameters: readonly Tensor[]) => string): void {
    const late: Tensor[] = [];
    for (const { parameter, before, grad, seal } of this.list) {
      const stepped = parameter.isDisposed || parameter.storage.version !== seal[0];
      const replaced = parameter.leafGrad !== grad;
      const wrong = !isUsed(parameter) && (stepped || (!replaced && grad.storage.version !== seal[1]));
      if (wrong) late.push(parameter);
      if (isUsed(parameter) || replaced) before?.dispose();
      else parameter.grad = before;
    }
    this.list.length = 0;
    if (late.length > 0)
      throw new Error(
        `DistributedDataParallel: no rank used ${namesOf(late)}, whose gradient stays as it was, but a step was made, or the ` +
          'gradient changed, before that was known: await model.settle() between backward() and what uses gradients',
      );
  }
}
