import { showShape } from '../tensor/shape.js';
import type { Tensor, TensorView, ViewLimit } from '../tensor/tensor.js';
import { edgeOf, GradNode } from './node.js';
import { primitives, type Geometry } from './primitives.js';

/** @internal */
export const geometryOf = ({ shape, strides, offset }: Tensor): Geometry => ({ shape, strides, offset });

/** Makes `view` a differentiable view of `source`, or of what that is a view of. */
export function markView(view: Tensor, source: Tensor, recorded: boolean): void {
  const of = source.viewOf;
  view.viewOf = new View(view, of?.base ?? source, recorded ? (of?.limit ?? null) : 'noGrad');
}

class View implements TensorView {
  /** `storage.version` for which the view's node is right. */
  private version: number;

  constructor(
    private readonly view: Tensor,
    readonly base: Tensor,
    public limit: ViewLimit | null,
  ) {
    this.version = view.storage.version;
  }

  private get isCurrent(): boolean {
    return this.version === this.view.storage.version;
  }

  get isLost(): boolean {
    if (this.limit === null || this.isCurrent) return false;
    return this.view.node !== null || (this.limit === 'several' && this.base.requiresGrad);
  }

  /**
   * After an in-place write to shared memory, a view's own history no longer tells its gradient: it becomes a
   * slice of what its base is now.
   */
  refresh(): void {
    const { view, base } = this;
    if (view.isDisposed || this.isCurrent || this.limit !== null) return;
    const edge = edgeOf(base);
    // Of a base that was switched off meanwhile, the view's gradient goes nowhere.
    if (edge === null && view.node === null) return;
    this.version = view.storage.version;
    const place = geometryOf(base);
    const slice = geometryOf(view);
    new GradNode('view', [edge], null, ([grad]) => [
      grad ? primitives().placeRegion(grad, place, slice) : null,
    ]).addOutput(view);
  }

  settle(): void {
    this.refresh();
    if (!this.isLost) return;
    const { shape, storage } = this.view;
    throw new Error(
      `the memory of a view (shape ${showShape(shape)}) was changed in place by ${storage.writer}: ${limitOf(this)}`,
    );
  }
}

/** @internal Why a view cannot be written on the tape, or used after a write; '' for others. */
export function limitOf(view: TensorView | null): string {
  const limit = view?.limit ?? null;
  if (limit === null) return '';
  return limit === 'noGrad'
    ? 'a view that was made without grad mode has no place on the tape; make it with grad mode on'
    : 'split, chunk and unbind give several views at once, which cannot be told apart after a write; use narrow, slice or select';
}
