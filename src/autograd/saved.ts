import type { DType } from '../tensor/dtype.js';
import { unwatchSaved, watchSaved } from '../tensor/lifetime.js';
import type { Shape } from '../tensor/shape.js';
import type { Borrower, Storage } from '../tensor/storage.js';
import { Tensor, type GradFn } from '../tensor/tensor.js';
import { setGradMode } from './mode.js';
import { primitives } from './primitives.js';
import { currentSaver, type Held } from './recompute.js';

class SavedEntry implements Borrower {
  /** Null once released, and in a checkpointed call. */
  storage: Storage | null;
  version: number;
  strides: readonly number[];
  offset: number;
  readonly shape: Shape;
  readonly dtype: DType;
  /** The leaf itself, for double backward. */
  readonly leaf: Tensor | null;
  /** Where it came from. */
  readonly node: GradFn | null;
  readonly outputIndex: number;
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
    this.node = own ? null : tensor.node;
    this.outputIndex = tensor.outputIndex;
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

  /** While lent, a write to the memory is no error: its values are copied before it. */
  lend(lent: boolean): void {
    if (this.held !== null || this.storage === null) return;
    if (lent) this.storage.lend(this);
    else this.storage.takeBack(this);
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
  watch(owner: GradFn): void {
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
  unpack(owner: GradFn): (Tensor | null)[] {
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
      } else if (entry.node !== null) {
        tensor.node = entry.node;
        tensor.outputIndex = entry.outputIndex;
      }
      return tensor;
    });
  }

  /** Runs `fn`, which may write over what was saved: the values are copied before it does. */
  lendTo<R>(fn: () => R): R {
    for (const entry of this.entries) entry?.lend(true);
    try {
      return fn();
    } finally {
      for (const entry of this.entries) entry?.lend(false);
    }
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
