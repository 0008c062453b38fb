import { runtime, type DeviceBuffer, type Runtime } from '../device/index.js';

interface Derived {
  readonly version: number;
  /** `Runtime.breaks` when it was made: since then its work may have been lost. */
  readonly breaks: number;
  readonly others: readonly { readonly id: number; readonly version: number }[];
  readonly storage: Storage;
}

/** Holds contents that it copies only if they are about to change. */
export interface Borrower {
  takeCopy(): void;
}

const isCurrent = (known: Derived['others'], others: readonly Storage[]): boolean =>
  known.every(({ id, version }, i) => others[i]?.id === id && others[i].version === version);

/**
 * A GPU buffer with its holders (tensor handles and tape entries), its version, and the op that last wrote
 * it. When the last holder lets go the buffer returns to the pool; reuse is safe because the queue runs in
 * order.
 */
export class Storage {
  /** Bytes in all storages that are alive. */
  static liveBytes = 0;
  /** @internal How many there have been: the id of the next. */
  static made = 0;
  readonly id = Storage.made++;
  private holders = 0;
  private handles = 0;
  private buffer: DeviceBuffer | null;
  private readonly owner: Runtime;
  /** One more with every in-place write; the tape compares it to find a saved tensor that was changed. */
  version = 0;
  /** The op that made the current contents, for error messages. */
  writer: string;
  /**
   * Its memory order is the engine's choice (channels-last, kernels' weights), where PyTorch's would be
   * row-major.
   */
  ownOrder = false;
  /** Copies derived from these contents (packed weights, ...), dropped when the version moves on. */
  derived: Map<string, Derived> | null = null;
  private borrowers: Set<Borrower> | null = null;
  private readonly isOwn: boolean;

  /** @param adopted memory of somebody else's, in place of the pool's */
  constructor(
    readonly bytes: number,
    op: string,
    adopted?: DeviceBuffer,
  ) {
    this.writer = op;
    this.owner = runtime();
    this.buffer = adopted ?? this.owner.alloc(bytes, op);
    this.isOwn = adopted === undefined;
    Storage.liveBytes += bytes;
  }

  get deviceBuffer(): DeviceBuffer {
    if (this.buffer === null)
      throw new Error(`internal: the storage made by ${this.writer} was already released`);
    if (this.owner !== runtime())
      throw new Error(
        `a tensor made by ${this.writer} belongs to a device that was closed or lost; after init() make it anew, or ` +
          'restore() its model from a snapshot or a checkpoint',
      );
    return this.buffer;
  }

  /** Its memory was on a device that is gone. */
  get isStranded(): boolean {
    return this.owner !== runtime();
  }

  /** True when one holder is left, so that its contents may be taken over. */
  get exclusive(): boolean {
    return this.holders === 1 && this.isOwn;
  }

  /** No second tensor handle shows this memory; the tape may hold it. */
  get hasOneHandle(): boolean {
    return this.handles === 1 && this.isOwn;
  }

  retain(): this {
    this.holders++;
    return this;
  }

  /** As {@link retain}, by a tensor handle. */
  retainHandle(): this {
    this.handles++;
    return this.retain();
  }

  releaseHandle(): void {
    this.handles--;
    this.release();
  }

  release(): void {
    if (--this.holders > 0 || this.buffer === null) return;
    this.dropDerived();
    Storage.liveBytes -= this.bytes;
    const buffer = this.buffer;
    this.buffer = null;
    this.owner.free(buffer);
  }

  /**
   * Announces an in-place write by `op`; the write itself is recorded after this call. Whoever was lent these
   * contents takes a copy now, and everybody else can tell by the version that they changed.
   */
  beginWrite(op: string): void {
    if (this.borrowers !== null) {
      const { borrowers } = this;
      this.borrowers = null;
      for (const borrower of borrowers) borrower.takeCopy();
    }
    this.version++;
    this.writer = op;
    this.dropDerived();
    this.owner.recording?.prepare(this, () => {
      if (this.buffer !== null) this.beginWrite(op);
    });
  }

  /** Has `borrower` told before the contents change. */
  lend(borrower: Borrower): void {
    (this.borrowers ??= new Set()).add(borrower);
  }

  /** `borrower` needs the contents no more. */
  takeBack(borrower: Borrower): void {
    this.borrowers?.delete(borrower);
  }

  /**
   * A storage computed from the present contents of this one and of `others`, made once per version: `make`
   * runs when there is none yet. It lives as long as this storage or until the next in-place write.
   */
  derive(key: string, make: () => Storage, others: readonly Storage[] = []): Storage {
    this.derived ??= new Map();
    const known = this.derived.get(key);
    const { breaks } = this.owner;
    if (
      known !== undefined &&
      known.version === this.version &&
      known.breaks === breaks &&
      isCurrent(known.others, others)
    ) {
      this.guardDerived(key, known);
      return known.storage;
    }
    this.derived.delete(key);
    known?.storage.release();
    const storage = make().retain();
    this.derived.set(key, {
      // What was made without its work must not be found again.
      version: this.owner.isIdle ? -1 : this.version,
      breaks,
      others: others.map(({ id, version }) => ({ id, version })),
      storage,
    });
    return storage;
  }

  /** What is recorded now counts on `known`, unless it was made by the same recording. */
  private guardDerived(key: string, known: Derived): void {
    const { recording } = this.owner;
    if (recording === null || recording.own.has(known.storage.deviceBuffer.block)) return;
    recording.guard(() => this.derived?.get(key) === known && known.version === this.version);
  }

  private dropDerived(): void {
    if (this.derived === null) return;
    for (const { storage } of this.derived.values()) storage.release();
    this.derived = null;
  }
}
