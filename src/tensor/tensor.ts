import { runtime, type DeviceBuffer } from '../device/index.js';
import { bytesPerElement, decode, encode, isFloatingPoint, type DType, type TypedArray } from './dtype.js';
import { addHook, addLeafHook, type HookHandle } from './hooks.js';
import { noteEscape, unwatch, watch } from './lifetime.js';
import { currentScope, isHandle, tensorBrand } from './scope.js';
import {
  contiguousStrides,
  isContiguous,
  isDense,
  numel,
  sameShape,
  showShape,
  spanOf,
  type Shape,
} from './shape.js';
import { Storage } from './storage.js';
import { gatherElements, nested } from './elements.js';
import { checkTie, type Tie } from './tie.js';
import { checkCount, requireBoolean } from './options.js';
import { formatCheck } from './memory-format.js';
import { recordGradSet } from './record-grad.js';

/** Nested arrays as `toArray()` gives and `tensor()` takes. */
export type NestedArray = number | boolean | readonly NestedArray[];

/** A function that sees, and may replace, a gradient on its way back. */
export type TensorHook = (grad: Tensor) => Tensor | void;

/**
 * `noGrad`: the view was made without grad mode and has no history of its own. `several`: it is one of
 * several views of an op (`split`, `chunk`, `unbind`). PyTorch refuses recorded writes to both.
 *
 * @internal
 */
export type ViewLimit = 'noGrad' | 'several';

/**
 * What a tensor knows of the one that it is a differentiable view of (autograd/view.ts).
 *
 * @internal
 */
export interface TensorView {
  readonly base: Tensor;
  limit: ViewLimit | null;
  /** It requires grad, or would since a write to its memory, and has no place on the tape any more. */
  readonly isLost: boolean;
  /** Takes its place on the tape anew where its memory was changed since it had one. */
  refresh(): void;
  /** As {@link refresh}. @throws Error when it is lost. */
  settle(): void;
}

/** The op on the tape that made a tensor (`torch.autograd.graph.Node`). */
export interface GradFn {
  /** Of the op. */
  readonly name: string;
  /** The module that it was recorded in, while a profile is taken. */
  readonly path: string;
  /** @internal The hooks on output `index`, to add to and take from. */
  hooksOf(index: number): TensorHook[];
  /** @internal Keeps the gradient of `tensor`, one of its outputs. */
  retainGrad(tensor: Tensor): void;
  /** @internal */
  dropRetained(tensor: Tensor): void;
}

export type { HookHandle };

export interface TensorInit {
  readonly strides?: readonly number[];
  /** In elements. */
  readonly offset?: number;
}

/**
 * A strided view of GPU memory, as `torch.Tensor`. Values are read asynchronously (`await t.item()`,
 * `await t.data()`, `await t.toArray()`); everything else is synchronous and recorded for the GPU.
 */
export class Tensor {
  declare readonly [tensorBrand]: true;
  readonly shape: Shape;
  /** In elements. */
  readonly strides: readonly number[];
  /** In elements, from the start of the storage. */
  readonly offset: number;
  readonly dtype: DType;

  /** Name a parameter or buffer got from its module; used in messages. */
  name = '';

  /** @internal */ node: GradFn | null = null;
  /** @internal */ outputIndex = 0;
  /** @internal */ wantsGrad = false;
  /** @internal */ leafGrad: Tensor | null = null;
  /** @internal Set once user code has held the gradient: then only the garbage collector may free it. */
  gradSeen = false;
  /** @internal */ accumulator: GradFn | null = null;
  /** @internal */ hooks: TensorHook[] | null = null;
  /** @internal */ gradHooks: ((leaf: Tensor) => void)[] | null = null;
  /** @internal The node at which `retainGrad()` waits for the gradient. */
  retainedBy: GradFn | null = null;
  /** @internal Set on differentiable views. */ viewOf: TensorView | null = null;
  /** @internal */ tie: Tie | null = null;
  /** @internal */ isInference = false;
  /** @internal */ scopeMark = 0;
  /** @internal */ isKept = false;
  private uploaded: { readonly values: Int32Array; readonly version: number } | null = null;
  private memory: Storage | null;
  private watched = false;
  private freedBy = '';

  /**
   * @internal Use `tensor()` and its kin. The handle joins the open scope, or else the garbage collector's
   * care.
   */
  constructor(storage: Storage, shape: Shape, dtype: DType, init?: TensorInit) {
    this.memory = storage.retainHandle();
    this.shape = shape;
    this.dtype = dtype;
    this.strides = init?.strides ?? contiguousStrides(shape);
    this.offset = init?.offset ?? 0;
    const scope = currentScope();
    if (scope !== null) scope.made.push(this);
    else this.watch();
  }

  /**
   * A tensor with fresh, undefined contents; strides with gaps get the memory they span.
   *
   * @param like whose memory order `strides` follow; without it they are the engine's own choice
   * @internal
   */
  static empty(shape: Shape, dtype: DType, op: string, strides?: readonly number[], like?: Tensor): Tensor {
    const elements = strides === undefined ? numel(shape) : spanOf(shape, strides);
    const storage = new Storage(elements * bytesPerElement[dtype], op);
    if (strides !== undefined) storage.ownOrder = like === undefined || like.storage.ownOrder;
    return new Tensor(storage, shape, dtype, strides === undefined ? undefined : { strides });
  }

  /**
   * @internal Uploads row-major values. Short lists of integers (labels, indices) are remembered for checks
   * on the host.
   */
  static fromHost(values: ArrayLike<number>, shape: Shape, dtype: DType): Tensor {
    const result = Tensor.empty(shape, dtype, 'tensor');
    if (values.length > 0) runtime().write(result.deviceBuffer, 0, encode(values, dtype));
    if ((dtype === 'int32' || dtype === 'uint8') && values.length <= rememberedValues) {
      result.uploaded = { values: Int32Array.from(values), version: result.storage.version };
    }
    return result;
  }

  /**
   * @internal The values as uploaded, in row-major order, if they are known and still true. Views know them
   * too.
   */
  hostValues(): Int32Array | null {
    const { uploaded, shape, strides, offset } = this;
    if (uploaded === null || uploaded.version !== this.storage.version) return null;
    const { values } = uploaded;
    const count = this.numel();
    if (values.length === count && isContiguous(shape, strides)) return values;
    return count > rememberedValues ? null : (gatherElements(values, shape, strides, offset) as Int32Array);
  }

  /** @internal Another handle on the same memory. */
  alias(shape: Shape = this.shape, strides: readonly number[] = this.strides, offset = this.offset): Tensor {
    const other = new Tensor(this.storage, shape, this.dtype, { strides, offset });
    other.tie = this.tie;
    other.uploaded = this.uploaded;
    return other;
  }

  /** @internal The live storage; throws when the tensor was freed. */
  get storage(): Storage {
    if (this.memory === null) {
      throw new Error(
        `tensor of shape ${showShape(this.shape)} was freed by ${this.freedBy}. To use a tensor after the call that made it, ` +
          'return it, store it on the module, or call .keep() on it',
      );
    }
    if (this.tie !== null) checkTie(this.shape, this.tie);
    return this.memory;
  }

  /** @internal */
  get deviceBuffer(): DeviceBuffer {
    return this.storage.deviceBuffer;
  }

  get ndim(): number {
    return this.shape.length;
  }

  /** `torch.Tensor.dim()`. */
  dim(): number {
    checkCount('dim', arguments.length + 1, 1);
    return this.shape.length;
  }

  /** Number of elements. */
  numel(): number {
    checkCount('numel', arguments.length + 1, 1);
    return numel(this.shape);
  }

  /** The shape, or the size of one (possibly negative) dim. */
  size(): Shape;
  size(dim: number): number;
  size(dim?: number): Shape | number {
    if (dim === undefined) return this.shape;
    const size = this.shape[dim < 0 ? dim + this.shape.length : dim];
    if (size === undefined)
      throw new Error(`size: dim ${dim} is out of range for shape ${showShape(this.shape)}`);
    return size;
  }

  /** Bytes of GPU memory its elements take. */
  get nbytes(): number {
    return this.numel() * bytesPerElement[this.dtype];
  }

  isFloatingPoint(): boolean {
    return isFloatingPoint(this.dtype);
  }

  /**
   * Row-major in memory, or in another `memoryFormat`. 4-D activations are channels-last in memory from the
   * first convolution on.
   */
  isContiguous(...args: [options?: { memoryFormat?: 'contiguous' | 'channelsLast' }]): boolean {
    const { shape, strides } = this;
    return (args.length === 0 ? isContiguous : formatCheck(args))(shape, strides);
  }

  /** @internal */
  isDense(): boolean {
    return isDense(this.shape, this.strides);
  }

  // ---- autograd state

  get requiresGrad(): boolean {
    if (this.viewOf !== null) {
      this.viewOf.refresh();
      if (this.viewOf.isLost) return true;
    }
    return this.wantsGrad || this.node !== null;
  }

  set requiresGrad(value: boolean) {
    if (value && !isFloatingPoint(this.dtype)) {
      throw new Error(
        `requiresGrad: only floating point tensors can require gradients, this one is ${this.dtype}`,
      );
    }
    if (!value) this.viewOf?.refresh();
    if (this.node !== null) {
      if (value) return;
      throw new Error(
        `requiresGrad: this tensor is the result of ${this.node.name}; only leaves can be switched off. Use .detach()`,
      );
    }
    this.wantsGrad = value;
  }

  /** As `tensor.requiresGrad = value`, returning the tensor. */
  requiresGrad_(value = true): this {
    requireBoolean('requiresGrad_', value);
    this.requiresGrad = value;
    return this;
  }

  get isLeaf(): boolean {
    return this.gradFn === null;
  }

  /** The tape node that made this tensor; null for leaves. */
  get gradFn(): GradFn | null {
    this.viewOf?.refresh();
    return this.node;
  }

  /**
   * The accumulated gradient: on leaves that require grad after `backward()`, and where `retainGrad()` was
   * asked.
   */
  get grad(): Tensor | null {
    if (this.leafGrad !== null) this.gradSeen = true;
    return this.leafGrad;
  }

  set grad(value: Tensor | null) {
    if (value !== null && (!sameShape(value.shape, this.shape) || value.dtype !== this.dtype)) {
      throw new Error(
        `grad: a gradient of shape ${showShape(value.shape)} (${value.dtype}) does not fit a tensor of shape ` +
          `${showShape(this.shape)} (${this.dtype})`,
      );
    }
    recordGradSet(this, value);
    const old = this.leafGrad;
    this.leafGrad = value;
    if (old !== null && old !== value && !old.isDisposed) {
      if (this.gradSeen) noteEscape(old.storage);
      else old.disposeBy('a new gradient');
    }
    this.gradSeen = value !== null;
    value?.keep();
  }

  /** Keep `.grad` of a non-leaf tensor after `backward()`. */
  retainGrad(): void {
    if (!this.requiresGrad) throw new Error('retainGrad: this tensor does not require grad');
    this.viewOf?.settle();
    if (this.node !== null && this.retainedBy === null) this.node.retainGrad(this);
  }

  /**
   * Calls `hook` with the gradient of this tensor when it is computed; what it returns replaces the gradient.
   */
  registerHook(hook: TensorHook): HookHandle {
    if (!this.requiresGrad) throw new Error('registerHook: this tensor does not require grad');
    this.viewOf?.settle();
    const hooks = this.node === null ? (this.hooks ??= []) : this.node.hooksOf(this.outputIndex);
    return addHook(hooks, hook);
  }

  /** Calls `hook` with this leaf whenever `backward()` has set or added to its `.grad`. */
  registerPostAccumulateGradHook(hook: (leaf: Tensor) => void): HookHandle {
    return addLeafHook<Tensor>(this, hook);
  }

  // ---- lifetime

  get isDisposed(): boolean {
    return this.memory === null;
  }

  /** Frees this handle now; the memory goes back to the pool unless the tape or another handle holds it. */
  dispose(): void {
    if (this.memory !== null) this.disposeBy('dispose()');
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** Exempts this handle from the end of every enclosing scope. */
  keep(): this {
    if (this.memory !== null && !this.isKept) {
      this.isKept = true;
      if (!this.watched) this.watch();
    }
    return this;
  }

  /** @internal As {@link keep}, for a leaf's gradient: its leaf frees it. */
  keepAsGrad(): this {
    this.isKept = true;
    this.watch(true);
    return this;
  }

  /** @internal */
  watch(held = false): void {
    if (this.watched || this.memory === null) return;
    this.watched = true;
    watch(this, this.memory, held);
  }

  /** @internal */
  disposeBy(who: string): void {
    const memory = this.memory;
    if (memory === null) return;
    this.memory = null;
    this.freedBy = who;
    if (this.watched) unwatch(this);
    memory.releaseHandle();
  }

  /** @internal Its memory was on a device that is gone. */
  get isStranded(): boolean {
    return this.storage.isStranded;
  }

  /**
   * @internal If the device is gone that its memory was on: gives this handle memory of the same layout on
   * the present one, contents undefined. `moved` says what became of storages, so that handles which shared
   * memory still do.
   */
  moveToDevice(moved: Map<Storage, Storage>): void {
    const old = this.storage;
    if (!old.isStranded) return;
    let fresh = moved.get(old);
    if (fresh === undefined) moved.set(old, (fresh = new Storage(old.bytes, old.writer)));
    this.setMemory(fresh);
    this.node = null;
    this.viewOf = null;
  }

  /** @internal Puts the memory of `other`, of the same layout, under this handle and disposes the other. */
  takeOver(other: Tensor): void {
    this.setMemory(other.storage);
    other.dispose();
  }

  /**
   * @internal Puts memory with the values that an in-place op gave this tensor under it, of the same layout,
   * and disposes `result`. Only for what no other handle shows: the tape keeps the old values as they were.
   */
  becomes(result: Tensor): void {
    const { storage } = result;
    storage.version = this.storage.version;
    storage.ownOrder = this.storage.ownOrder;
    this.setMemory(storage, this.watched);
    this.viewOf = null;
    result.dispose();
  }

  private setMemory(storage: Storage, watched = true): void {
    const old = this.memory;
    if (this.watched) unwatch(this);
    this.watched = false;
    this.memory = storage.retainHandle();
    this.uploaded = null;
    if (watched) this.watch(true);
    old?.releaseHandle();
  }

  // ---- reading

  /**
   * All elements in logical row-major order: Float32Array, Int32Array, or Uint8Array (uint8, bool).
   *
   * @throws DataError where a computation met values it could not work with (an index out of range, an
   * integer sum past int32)
   */
  async data(): Promise<TypedArray> {
    const { shape, strides, dtype } = this;
    const count = this.numel();
    const size = bytesPerElement[dtype];
    if (count === 0) return decode(new ArrayBuffer(0), dtype, 0);
    const span = spanOf(shape, strides);
    const start = Math.floor((this.offset * size) / 4) * 4;
    const skip = (this.offset * size - start) / size;
    const bytes = Math.ceil(((span + skip) * size) / 4) * 4;
    const raw = decode(await runtime().read(this.deviceBuffer, start, bytes), dtype, span + skip);
    if (skip === 0 && isContiguous(shape, strides)) return raw.length === count ? raw : raw.slice(0, count);
    return gatherElements(raw, shape, strides, skip);
  }

  /** The value of a tensor of one element. */
  async item(): Promise<number> {
    if (this.numel() !== 1) {
      throw new Error(
        `item: a tensor of shape ${showShape(this.shape)} has ${this.numel()} elements, expected one`,
      );
    }
    return (await this.data())[0] as number;
  }

  /** Nested arrays; a number for a zero-dim tensor; booleans for bool. */
  async toArray(): Promise<NestedArray> {
    return nested(await this.data(), this.shape, this.dtype);
  }

  /** @throws Error saying how the values are read, of which JSON would know nothing */
  toJSON(): never {
    throw new Error('JSON of a tensor: values are read asynchronously; take await x.toArray() instead');
  }

  /** What is known without a read; `await format(t)` shows the values. */
  toString(): string {
    const grad =
      this.node !== null ? `, gradFn=<${this.node.name}>` : this.wantsGrad ? ', requiresGrad=true' : '';
    return `tensor(shape=${showShape(this.shape)}, dtype=${this.dtype}${grad}${this.isDisposed ? ', freed' : ''})`;
  }

  /** JavaScript would compare and add the text: `loss > best` would be false without a word. */
  [Symbol.toPrimitive](hint: string): string {
    if (hint === 'string') return this.toString();
    throw new Error(
      'a tensor is no number: use add(), gt() and their kin, or wait for the value with await x.item()',
    );
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
  }
}

Object.defineProperty(Tensor.prototype, tensorBrand, { value: true });

/** By brand, so that a tensor of another copy of this package is one too. */
export const isTensor = (value: unknown): value is Tensor => isHandle(value);

const rememberedValues = 1 << 16;
