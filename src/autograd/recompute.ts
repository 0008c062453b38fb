import { scoped } from '../tensor/tidy.js';
import type { DType } from '../tensor/dtype.js';
import { watchSaved } from '../tensor/lifetime.js';
import { sameShape, showShape, type Shape } from '../tensor/shape.js';
import type { Storage } from '../tensor/storage.js';
import type { Tensor } from '../tensor/tensor.js';
import { currentInterceptor, interceptedBy, setGradMode } from './mode.js';

/**
 * Gradient checkpointing (Chen et al. 2016, https://arxiv.org/abs/1604.06174) as a matter of saved tensors,
 * the way PyTorch's non-reentrant form does it: the tape is recorded as always, but what its nodes would save
 * is only counted. The first node that needs a saved tensor in backward runs the function again, which fills
 * in all that were counted.
 */

/** What a node saved, before it is known again. */
export interface Held {
  /** The tensor's memory; the caller releases it. */
  take(): Captured;
  /** It will not be asked for again. */
  drop(): void;
}

export interface Captured {
  readonly storage: Storage;
  readonly version: number;
  readonly strides: readonly number[];
  readonly offset: number;
}

/** Stands between tape nodes and what they save, while one is in force. */
export interface Saver {
  /** Nodes recorded under it are never run: they keep nothing at all. */
  readonly discards: boolean;
  hold(tensor: Tensor): Held | null;
  /** An op with this name and these inputs is about to be computed and recorded. */
  beforeOp(name: string, inputs: readonly Tensor[]): void;
  /** It saves what it needs from here ... */
  beginSaving(inputs: readonly Tensor[]): void;
  /** ... to here. */
  endSaving(): void;
  /** An op with this name has been recorded. */
  recorded(name: string): void;
}

let saver: Saver | null = null;

export const currentSaver = (): Saver | null => saver;

function under<R>(next: Saver, fn: () => R): R {
  const before = saver;
  saver = next;
  try {
    return fn();
  } finally {
    saver = before;
  }
}

interface Expected {
  readonly shape: Shape;
  readonly dtype: DType;
}

/** The last op that saves something, where that is inputs of its only: then it need not run again. */
interface LastOp {
  readonly ordinal: number;
  /** Number of tensors counted before it. */
  readonly first: number;
  readonly positions: readonly number[];
}

/**
 * The tensors counted in one checkpointed call. What holds it must not keep the tape alive (see lifetime.ts).
 */
class Slots {
  /** What was recorded, in order: an op that saves nothing (dropout has its key) must come again as well. */
  readonly ops: string[] = [];
  readonly expected: Expected[] = [];
  readonly captured: (Captured | null)[] = [];
  readonly wanted: boolean[] = [];
  last: LastOp | null = null;
  outstanding = 0;
  call: WeakRef<CheckpointedCall> | null = null;

  take(index: number): Captured {
    if (this.captured[index] === null) {
      const call = this.call?.deref();
      if (call === undefined) throw new Error('internal: a checkpointed call was collected before its tape');
      call.recompute();
    }
    const found = this.captured[index] as Captured;
    this.captured[index] = null;
    return found;
  }

  drop(index: number): void {
    if (!this.wanted[index]) return;
    this.wanted[index] = false;
    this.captured[index]?.storage.release();
    this.captured[index] = null;
    if (--this.outstanding === 0) this.call?.deref()?.forget();
  }
}

class Slot implements Held {
  constructor(
    private readonly slots: Slots,
    private readonly index: number,
  ) {}

  take(): Captured {
    return this.slots.take(this.index);
  }

  drop(): void {
    this.slots.drop(this.index);
  }
}

/** Ends a recomputation that has all it needs. */
const enough = new Error('internal: recomputation complete');

const nothing: Held = {
  take() {
    throw new Error(noBackwardInside('checkpoint'));
  },
  drop() {},
};

const noBackwardInside = (name: string): string =>
  `${name}: backward() or grad() was called inside the checkpointed function on what it computes; call it outside`;

const alike =
  'The function must do the same each time it is called with the same inputs, in the same mode (train, eval)';

/** Captures, in a second run, what the first one counted. */
class Recorder implements Saver {
  readonly discards = true;
  count = 0;
  private ordinal = 0;
  private ops = 0;

  constructor(
    private readonly slots: Slots,
    private readonly name: string,
  ) {}

  hold(tensor: Tensor): Held {
    const { slots } = this;
    const index = this.count;
    const expected = slots.expected[index];
    if (expected === undefined) throw enough;
    if (!sameShape(expected.shape, tensor.shape) || expected.dtype !== tensor.dtype) {
      throw new Error(
        `${this.name}: computed again for backward, it saved a ${tensor.dtype} tensor of shape ${showShape(tensor.shape)} ` +
          `where the first time it was ${expected.dtype} of shape ${showShape(expected.shape)}. ${alike}`,
      );
    }
    if (slots.wanted[index] && slots.captured[index] === null) {
      const { storage, strides, offset } = tensor;
      slots.captured[index] = { storage: storage.retain(), version: storage.version, strides, offset };
    }
    this.count++;
    return nothing;
  }

  beforeOp(op: string, inputs: readonly Tensor[]): void {
    this.expectOp(op);
    const { last } = this.slots;
    if (last === null || last.ordinal !== this.ordinal || last.first !== this.count) return;
    for (const position of last.positions) this.hold(inputs[position] as Tensor);
    throw enough;
  }

  beginSaving(): void {
    this.ordinal++;
  }

  endSaving(): void {
    if (this.count === this.slots.expected.length) throw enough;
  }

  recorded(op: string): void {
    this.expectOp(op);
    this.ops++;
  }

  private expectOp(op: string): void {
    const { ops } = this.slots;
    const first = ops[this.ops];
    if (first === op) return;
    throw new Error(
      `${this.name}: computed again for backward, its op ${this.ops + 1} is ${op} where the first time ` +
        `${first === undefined ? `there were ${ops.length}` : `it was ${first}`}. ${alike}`,
    );
  }
}

/** One checkpointed call: counts what would be saved and knows how to compute it again. */
export class CheckpointedCall implements Saver {
  readonly discards = false;
  /** Where this call's inputs may have to come from. */
  readonly outer: Saver | null = saver;
  /** The function runs again as it ran (`amp.autocast`). */
  private readonly interceptor = currentInterceptor();
  private readonly slots = new Slots();
  private open = true;
  private ordinal = 0;
  private opInputs: readonly Tensor[] | null = null;
  private first = 0;
  private positions: number[] = [];

  /**
   * @param name of the call, for messages
   * @param again computes the function once more from the same inputs
   * @param inputs holds those inputs
   */
  constructor(
    private readonly name: string,
    private again: (() => void) | null,
    private readonly inputs: { release(): void },
  ) {
    this.slots.call = new WeakRef(this);
    watchSaved(this, inputs);
  }

  /** The first run, in which nothing is kept for backward. */
  run<R>(fn: () => R): R {
    try {
      return scoped('checkpoint()', () => under(this, fn));
    } finally {
      this.open = false;
      if (this.slots.outstanding === 0) this.forget();
    }
  }

  /** Runs the function again and fills in what is still wanted of it. */
  recompute(): void {
    if (this.open || this.again === null) throw new Error(noBackwardInside(this.name));
    const { slots, again } = this;
    const recorder = new Recorder(slots, this.name);
    const before = setGradMode(true);
    try {
      interceptedBy(this.interceptor, () => scoped('checkpoint()', () => under(recorder, again)));
    } catch (error) {
      if (error !== enough) throw this.explained(error);
    } finally {
      setGradMode(before);
    }
    if (recorder.count < slots.expected.length) {
      throw new Error(
        `${this.name}: computed again for backward, it saved ${recorder.count} tensors where the first time it saved ` +
          `${slots.expected.length}. ${alike}`,
      );
    }
  }

  private explained(error: unknown): unknown {
    if (!(error instanceof Error) || !/ was freed by /.test(error.message)) return error;
    return new Error(
      `${this.name}: computed again for backward, it uses a tensor that is gone; pass the tensors it works on as inputs. ` +
        error.message,
      { cause: error },
    );
  }

  /** Nothing is wanted any more. */
  forget(): void {
    if (this.open || this.again === null) return;
    this.again = null;
    this.inputs.release();
  }

  hold(tensor: Tensor): Held {
    const { slots } = this;
    const index = slots.expected.push({ shape: tensor.shape, dtype: tensor.dtype }) - 1;
    slots.captured.push(null);
    slots.wanted.push(true);
    slots.outstanding++;
    const position = this.opInputs?.indexOf(tensor) ?? -1;
    this.positions.push(position);
    const onlyInputs = this.opInputs !== null && !this.positions.includes(-1);
    slots.last = onlyInputs
      ? { ordinal: this.ordinal - 1, first: this.first, positions: this.positions }
      : null;
    return new Slot(slots, index);
  }

  beforeOp(): void {}

  beginSaving(inputs: readonly Tensor[]): void {
    this.opInputs = inputs;
    this.positions = [];
    this.first = this.slots.expected.length;
    this.ordinal++;
  }

  endSaving(): void {
    this.opInputs = null;
  }

  recorded(name: string): void {
    this.slots.ops.push(name);
  }
}
