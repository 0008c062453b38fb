import { currentTrail } from '../device/index.js';
import { isFloatingPoint, type DType } from '../tensor/dtype.js';
import { unwatchSaved, watchSaved } from '../tensor/lifetime.js';
import { isTensor } from '../tensor/scope.js';
import { sameShape, showShape, type Shape } from '../tensor/shape.js';
import type { Borrower, Storage } from '../tensor/storage.js';
import { Tensor, type TensorHook } from '../tensor/tensor.js';
import { isAnomalyEnabled } from './anomaly.js';
import { setGradMode } from './mode.js';
import { primitives, type Geometry } from './primitives.js';
import { currentSaver, type Held, type Saver } from './recompute.js';

/** Where a gradient goes next: input `index` of `node`. */
export interface Edge {
  readonly node: GradNode;
  readonly index: number;
}

/** Gradients of a node's inputs, in the order of its edges; null where none flows. */
export type InputGrads = readonly (Tensor | null | undefined)[];

export type BackwardFn = (grads: readonly (Tensor | null)[], needs: readonly boolean[]) => InputGrads;

let sequence = 0;
let liveNodes = 0;

/** Number of tape nodes recorded since the process started; a frozen prefix adds none. */
export const recordedNodes = (): number => liveNodes;

export interface OutputMeta {
  readonly shape: Shape;
  readonly dtype: DType;
}

/** One recorded op. Nodes only point towards the leaves. */
export class GradNode {
  /** Later ops have larger numbers; the engine runs nodes from the largest down. */
  readonly sequence: number;
  readonly outputs: OutputMeta[] = [];
  /** Stack of the forward call, kept in anomaly mode. */
  readonly trace: string | undefined;
  /** The checkpointed call that it was recorded in, which computes again what `saved` stands for. */
  readonly saver: Saver | null;
  /** The module that it was recorded in, while a profile is taken. */
  readonly path: string;
  private hookLists: TensorHook[][] | null = null;
  private retained: (WeakRef<Tensor> | undefined)[] | null = null;

  constructor(
    readonly name: string,
    readonly edges: readonly (Edge | null)[],
    readonly saved: SavedTensors | null,
    private readonly fn: BackwardFn,
    order?: number,
  ) {
    this.sequence = order ?? sequence++;
    if (order === undefined) liveNodes++;
    this.path = currentTrail()?.path ?? '';
    this.saver = saved === null ? null : currentSaver();
    if (saved !== null && this.saver?.discards !== true) saved.watch(this);
    if (isAnomalyEnabled()) this.trace = new Error(`forward of ${name}`).stack;
  }

  /**
   * Makes `tensor` this node's next output. Its `retainGrad()` comes along, so that it gets the gradient of
   * the values it has now; not so where only part of it was written, through a view (PyTorch's rule).
   */
  addOutput(tensor: Tensor, whole = true): void {
    const index = this.outputs.length;
    this.outputs.push({ shape: tensor.shape, dtype: tensor.dtype });
    if (!isFloatingPoint(tensor.dtype)) return;
    tensor.node = this;
    tensor.outputIndex = index;
    tensor.wantsGrad = false;
    if (whole && tensor.retainedBy !== null) {
      tensor.retainedBy.dropRetained(tensor);
      this.retainGrad(tensor);
    }
  }

  backward(grads: readonly (Tensor | null)[], needs: readonly boolean[]): InputGrads {
    return this.fn(grads, needs);
  }

  hooksOf(index: number): TensorHook[] {
    this.hookLists ??= [];
    return (this.hookLists[index] ??= []);
  }

  retainGrad(tensor: Tensor): void {
    this.retained ??= [];
    this.retained[tensor.outputIndex] = new WeakRef(tensor);
    tensor.retainedBy = this;
  }

  private dropRetained(tensor: Tensor): void {
    const { retained } = this;
    if (retained === null) return;
    for (let i = 0; i < retained.length; i++) if (retained[i]?.deref() === tensor) retained[i] = undefined;
  }

  /** @internal Runs tensor hooks and `retainGrad` for output `index`. */
  finishGrad(index: number, grad: Tensor): Tensor {
    const hooks = this.hookLists?.[index];
    if (hooks !== undefined) grad = runHooks(hooks, grad);
    const keeper = this.retained?.[index]?.deref();
    if (keeper !== undefined) {
      const before = keeper.leafGrad;
      keeper.grad = (before === null ? grad : primitives().add(before, grad)).keep();
    }
    return grad;
  }
}

/** @internal A user's hook may hold on to the gradient it sees, so from then on only the collector may free it. */
export function runHooks(hooks: readonly TensorHook[], grad: Tensor): Tensor {
  for (const hook of [...hooks]) {
    grad.keep();
    const changed: unknown = hook(grad) ?? grad;
    if (changed !== grad) checkHooked('a tensor hook', changed, grad);
    grad = changed as Tensor;
  }
  return grad;
}

/**
 * @internal Throws unless `changed`, which `hook` returned in place of `grad`, is a tensor of its shape and
 * dtype.
 */
export function checkHooked(hook: string, changed: unknown, grad: Tensor): void {
  const should = `expected a tensor of shape ${showShape(grad.shape)} (${grad.dtype}), or nothing to keep the gradient as it is`;
  if (!isTensor(changed))
    throw new Error(`${hook} returned ${typeof changed} '${String(changed)}': ${should}`);
  if (!sameShape(changed.shape, grad.shape))
    throw new Error(`${hook} changed the gradient's shape to ${showShape(changed.shape)}: ${should}`);
  if (changed.dtype !== grad.dtype)
    throw new Error(`${hook} changed the gradient's dtype to ${changed.dtype}: ${should}`);
}

/**
 * After an in-place write to shared memory, a view's own history no longer tells its gradient: it becomes a
 * slice of what its base is now.
 *
 * @internal
 */
export function refreshView(view: Tensor): void {
  const base = view.viewBase;
  if (base === null || view.isDisposed || isCurrentView(view) || view.viewLimit !== null) return;
  const edge = edgeOf(base);
  // Of a base that was switched off meanwhile, the view's gradient goes nowhere.
  if (edge === null && view.node === null) return;
  view.viewVersion = view.storage.version;
  const place = geometryOf(base);
  const slice = geometryOf(view);
  new GradNode('view', [edge], null, ([grad]) => [
    grad ? primitives().placeRegion(grad, place, slice) : null,
  ]).addOutput(view);
}

const isCurrentView = (view: Tensor): boolean => view.viewVersion === view.storage.version;

/**
 * @internal A view that requires grad, or would since a write to its memory, and has no place on the tape any
 * more.
 */
export const isLostView = (view: Tensor): boolean =>
  view.viewLimit !== null &&
  !isCurrentView(view) &&
  (view.node !== null || (view.viewLimit === 'several' && view.viewBase?.requiresGrad === true));

/** @internal Why a view cannot be written on the tape, or used after a write; '' for others. */
export function viewLimitOf({ viewLimit }: Tensor): string {
  if (viewLimit === null) return '';
  return viewLimit === 'noGrad'
    ? 'a view that was made without grad mode has no place on the tape; make it with grad mode on'
    : 'split, chunk and unbind give several views at once, which cannot be told apart after a write; use narrow, slice or select';
}

/** @internal */
export const geometryOf = ({ shape, strides, offset }: Tensor): Geometry => ({ shape, strides, offset });

/** @internal Where the gradient of `tensor` goes; null when it needs none. */
export function edgeOf(tensor: Tensor): Edge | null {
  if (tensor.viewBase !== null) {
    refreshView(tensor);
    if (isLostView(tensor)) {
      throw new Error(
        `the memory of a view (shape ${showShape(tensor.shape)}) was changed in place by ${tensor.storage.writer}: ${viewLimitOf(tensor)}`,
      );
    }
  }
  if (tensor.node !== null) return { node: tensor.node, index: tensor.outputIndex };
  if (!tensor.wantsGrad) return null;
  tensor.accumulator ??= new AccumulateGrad(tensor);
  return { node: tensor.accumulator, index: 0 };
}

/** The end of the tape: adds into a leaf's `.grad`. It runs as soon as the whole gradient is known. */
export class AccumulateGrad extends GradNode {
  constructor(readonly leaf: Tensor) {
    super('AccumulateGrad', [], null, () => [], Number.MAX_SAFE_INTEGER);
    this.outputs.push({ shape: leaf.shape, dtype: leaf.dtype });
  }
}

class SavedEntry implements Borrower {
  /** Null once released, and in a checkpointed call. */
  storage: Storage | null;
  version: number;
  strides: readonly number[];
  offset: number;
  readonly shape: Shape;
  readonly dtype: DType;
  /** The leaf itself, or where the tensor came from; for double backward. */
  leaf: Tensor | null;
  readonly edge: Edge | null;
  private copied = false;

  constructor(
    tensor: Tensor,
    /** Where it comes from in a checkpointed call. */
    readonly held: Held | null,
    /** Index among the saving node's own outputs, or -1. */
    readonly ownOutput: number,
    /** A write to the memory is no error: the values are copied before it. */
    lent: boolean,
  ) {
    const { storage } = tensor;
    this.version = storage.version;
    this.shape = tensor.shape;
    this.strides = tensor.strides;
    this.offset = tensor.offset;
    this.dtype = tensor.dtype;
    const own = ownOutput >= 0;
    this.leaf = !own && tensor.node === null && tensor.wantsGrad ? tensor : null;
    this.edge = !own && tensor.node !== null ? { node: tensor.node, index: tensor.outputIndex } : null;
    this.storage = held === null ? storage.retain() : null;
    if (lent && held === null) storage.lend(this);
  }

  takeCopy(): void {
    const { storage } = this;
    if (storage === null) return;
    const { strides, offset, shape } = this;
    const before = setGradMode(false);
    const source = new Tensor(storage, shape, this.dtype, { strides, offset });
    const copy = primitives().cloneLike(source, source);
    setGradMode(before);
    this.storage = copy.storage.retain();
    this.version = this.storage.version;
    this.strides = copy.strides;
    this.offset = 0;
    this.copied = true;
    for (const handle of [source, copy]) handle.dispose();
    storage.release();
  }

  /**
   * The leaf itself, so that what is computed from it goes on the tape, unless it holds other values by now.
   */
  get sameLeaf(): Tensor | null {
    return this.leaf !== null && !this.leaf.isDisposed && !this.copied ? this.leaf : null;
  }

  release(): void {
    this.held?.drop();
    this.storage?.takeBack(this);
    this.storage?.release();
    this.storage = null;
  }
}

/** What a node keeps for its backward: storages with the versions they had, not handles. */
export class SavedTensors {
  private readonly entries: (SavedEntry | null)[] = [];
  private released = false;
  private watched = false;

  /** Has the entries released when `owner` is collected without having run. */
  watch(owner: GradNode): void {
    if (this.entries.length === 0) return;
    this.watched = true;
    watchSaved(owner, this);
  }

  /** Bytes held by the entries, shared storages counted once. */
  get bytes(): number {
    const seen = new Set<Storage>();
    for (const entry of this.entries) if (entry?.storage) seen.add(entry.storage);
    let sum = 0;
    for (const storage of seen) sum += storage.bytes;
    return sum;
  }

  /** What is held in memory: not what a checkpointed call computes again. */
  held(): { readonly storage: Storage; readonly shape: Shape; readonly dtype: DType }[] {
    return this.entries.flatMap((entry) => {
      if (entry === null || entry.storage === null) return [];
      const { storage, shape, dtype } = entry;
      return [{ storage, shape, dtype }];
    });
  }

  /** @param lent a later write to the tensor is no error: its values are copied before it. */
  save(tensor: Tensor | null | undefined, ownOutput = -1, lent = false): void {
    if (tensor === null || tensor === undefined) {
      this.entries.push(null);
      return;
    }
    if (tensor.isInference) {
      throw new Error(
        'a tensor made in inferenceMode cannot be saved for backward; clone() it outside first',
      );
    }
    const isLeaf = ownOutput < 0 && tensor.node === null && tensor.wantsGrad;
    const saver = currentSaver();
    // A leaf is its owner's: to keep it costs nothing, and a change of it before backward is noticed.
    const held = saver !== null && !isLeaf ? saver.hold(tensor) : null;
    if (saver?.discards === true) {
      this.entries.push(null);
      return;
    }
    this.entries.push(new SavedEntry(tensor, held, ownOutput, lent));
  }

  /** Handles on the saved tensors, checked for in-place changes. */
  unpack(owner: GradNode): (Tensor | null)[] {
    if (this.released) {
      throw new Error(
        `backward: the tensors that ${owner.name} saved were already freed by an earlier backward(). ` +
          'Pass { retainGraph: true } to the first one to go back twice',
      );
    }
    return this.entries.map((entry) => {
      if (entry === null) return null;
      const captured = entry.held?.take() ?? null;
      const { version, strides, offset } = captured ?? entry;
      const storage = captured?.storage ?? (entry.storage as Storage);
      if (storage.version !== version) {
        captured?.storage.release();
        throw new Error(
          `backward: a tensor of shape [${entry.shape.join(', ')}] that ${owner.name} needs was changed in place by ` +
            `${storage.writer} after it was saved (version ${storage.version}, expected ${version}). ` +
            'Use the out-of-place form, or clone() before changing it',
        );
      }
      if (entry.sameLeaf !== null) return entry.sameLeaf;
      const tensor = new Tensor(storage, entry.shape, entry.dtype, { strides, offset });
      captured?.storage.release();
      if (entry.leaf !== null) {
        tensor.wantsGrad = true;
        tensor.accumulator = entry.leaf.accumulator;
      } else if (entry.ownOutput >= 0) {
        tensor.node = owner;
        tensor.outputIndex = entry.ownOutput;
      } else if (entry.edge !== null) {
        tensor.node = entry.edge.node;
        tensor.outputIndex = entry.edge.index;
      }
      return tensor;
    });
  }

  /** Frees what was saved. What saved nothing can go back as often as one likes, as in PyTorch. */
  release(): void {
    if (this.released || this.entries.every((entry) => entry === null)) return;
    this.released = true;
    if (this.watched) unwatchSaved(this);
    for (const entry of this.entries) entry?.release();
    this.entries.length = 0;
  }
}
