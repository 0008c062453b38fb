import type { Node } from './node.js';
import { NdArray, positions, rowMajor, type Shape } from './ndarray.js';

/** PyTorch would have refused the statement; `kind` says by which rule. */
export class Refused extends Error {
  constructor(readonly kind: RefusalKind) {
    super(kind);
  }
}

/** PyTorch accepts the statement, but does not define what it gives; programs have none. */
export class Undefined extends Error {}

export type RefusalKind =
  /** A leaf that requires grad is written in place. */
  | 'leaf'
  /** A view of such a leaf is. */
  | 'view of leaf'
  /** A view from split, chunk or unbind is written in place, or used after a write to its base. */
  | 'multi-output view'
  /** A view made in noGrad is written in place on the record, or used after a write to its base. */
  | 'noGrad view'
  /** The written tensor refers to one memory location several times (expand). */
  | 'internal overlap'
  /** Source and destination of a write overlap without being the same. */
  | 'partial overlap'
  /** A tensor that backward needs was changed since it was saved. */
  | 'version'
  /** Backward a second time through what the first has freed. */
  | 'freed'
  /** A leaf of the graph was written in place since and is none any more. */
  | 'moved leaf'
  /** The shapes, or the strides for `view`, do not fit. */
  | 'shape'
  /** The tensor does not require grad. */
  | 'no grad'
  /** `autograd.grad` of something that the outputs do not depend on. */
  | 'unused'
  /** `detach_` of a view. */
  | 'detach view'
  /** `requiresGrad_(false)` of a result. */
  | 'not a leaf';

/** Memory, and how often it was written in place (PyTorch's version counter, which all views share). */
export class Storage {
  version = 0;
  constructor(readonly data: Float64Array) {}
}

/** How a view came about, which decides what may be done to it (PyTorch's `CreationMeta`). */
export type Creation = 'default' | 'multi-output' | 'noGrad';

export interface ViewInfo {
  /** The tensor that is no view itself. */
  readonly base: Tensor;
  readonly creation: Creation;
  /**
   * Whether it requires grad when its base does: by PyTorch's code always; by its documentation not when it
   * was made in noGrad, and only since the last write when the base was told so after the view was made
   * (PyTorch 1.13 calls them tensors that require grad, and sends no gradient through them).
   */
  readonly inherits: 'always' | 'since a write' | 'never';
  /** The version for which `gradFn` is right; if the storage's is another, it is made anew from the base. */
  version: number;
}

export interface Geometry {
  readonly shape: Shape;
  readonly strides: readonly number[];
  readonly offset: number;
}

export type Hook = (grad: NdArray) => NdArray;

/** `torch.Tensor`: a strided window on a storage, and its place on the tape. */
export class Tensor implements Geometry {
  readonly shape: Shape;
  readonly strides: readonly number[];
  readonly offset: number;
  /** What `requires_grad_()` set; results require grad through `gradFn`. */
  wantsGrad = false;
  /** As it was last set; ask `gradFnOf`, which renews that of a view. */
  gradFn: Node | null = null;
  /** Which of the outputs of `gradFn` this is. */
  outputIndex = 0;
  view: ViewInfo | null = null;
  /** The node that adds to `grad`, once something was computed from this leaf. */
  accumulator: Node | null = null;
  grad: NdArray | null = null;
  /** Of a leaf. Those of a result belong to its node. */
  readonly hooks: Hook[] = [];
  /** The node at which `retain_grad` waits. */
  retainedBy: Node | null = null;

  constructor(
    readonly storage: Storage,
    { shape, strides, offset }: Geometry,
  ) {
    this.shape = shape;
    this.strides = strides;
    this.offset = offset;
  }

  /** A tensor with memory of its own. */
  static from(values: NdArray, strides: readonly number[] = rowMajor(values.shape)): Tensor {
    const result = new Tensor(new Storage(new Float64Array(values.data.length)), {
      shape: values.shape,
      strides,
      offset: 0,
    });
    result.write(values);
    return result;
  }

  read(): NdArray {
    const at = positions(this.shape, this.strides, this.offset);
    return new NdArray(
      this.shape,
      Float64Array.from(at, (i) => this.storage.data[i] as number),
    );
  }

  write(values: NdArray): void {
    positions(this.shape, this.strides, this.offset).forEach(
      (to, i) => (this.storage.data[to] = values.data[i] as number),
    );
  }

  get requiresGrad(): boolean {
    return this.wantsGrad || this.gradFn !== null || this.inheritsGrad;
  }

  /** It requires grad because its base does. */
  get inheritsGrad(): boolean {
    const { view } = this;
    if (view === null || view.inherits === 'never' || !view.base.requiresGrad) return false;
    return view.inherits === 'always' || view.version !== this.storage.version;
  }
}
