/**
 * What reading a file may cost before it is refused: files come from strangers, and some are made to fill the
 * memory.
 */

import { CheckpointError, formatBytes } from './errors.js';

/**
 * Bounds on reading a weight file. Each error that comes of one says its number and how to raise it, for a
 * file you trust: `loadCheckpoint(path, { limits: { tensors: 500_000 } })`.
 */
export interface ReadLimits {
  /**
   * Bytes of host memory that the description of a file may take beyond twice the file's size: inflated
   * pickles, the values they push, JSON headers, one handle for each tensor. Default 64 MiB. The tensors' own
   * bytes are no part of it: they stay in the file until asked for.
   */
  readonly memory?: number;
  /** Tensors of a file or of a sharded model, or entries of an archive. Default 100,000. */
  readonly tensors?: number;
  /**
   * Bytes of a safetensors header or of a sharded model's index. Default 100,000,000, as the reference reader
   * has it.
   */
  readonly headerBytes?: number;
  /** How deep values of a pickle may be nested. Default 1,000. */
  readonly depth?: number;
  /**
   * Bytes that a tensor with a stride of 0 may have beyond twice its storage, once written out. Default 64
   * MiB.
   */
  readonly expandedBytes?: number;
  /**
   * Keys of dicts and members of sets that are fractions or integers past 2^20. Default 10,000. JavaScript
   * finds such keys by a hash that anybody can compute, so that a file with many of one hash would block for
   * minutes.
   */
  readonly numberKeys?: number;
}

export type Limits = Required<ReadLimits>;

export const defaultLimits: Limits = {
  memory: 64 * 1024 ** 2,
  tensors: 100_000,
  headerBytes: 100_000_000,
  depth: 1000,
  expandedBytes: 64 * 1024 ** 2,
  numberKeys: 10_000,
};

/** @throws CheckpointError for an unknown bound or one that is no number of at least 0 */
export function resolveLimits(given: ReadLimits = {}): Limits {
  for (const [name, value] of Object.entries(given)) {
    if (!Object.hasOwn(defaultLimits, name))
      throw new CheckpointError(
        `limits: there is no bound '${name}'; there are ${Object.keys(defaultLimits).join(', ')}`,
      );
    if (value !== undefined && !(typeof value === 'number' && value >= 0))
      throw new CheckpointError(`limits: ${name} must be a number of at least 0`);
  }
  const chosen = Object.entries(given).filter(([, value]) => value !== undefined);
  return { ...defaultLimits, ...Object.fromEntries(chosen) };
}

const grouped = (value: number): string => value.toLocaleString('en-US');

const howToRaise = (name: keyof Limits, wanted: number): string =>
  `If you trust the file, raise the bound: { limits: { ${name}: ${wanted} } }`;

/** Counts what one file costs while it is read. */
export class Budget {
  private held = 0;
  private readonly allowance: number;
  private numbers = 0;

  constructor(
    readonly limits: Limits,
    private readonly fileBytes: number,
  ) {
    this.allowance = 2 * fileBytes + limits.memory;
  }

  /** The same, to be used for an attempt that may have to be made again. */
  fork(): Budget {
    const copy = new Budget(this.limits, this.fileBytes);
    copy.held = this.held;
    copy.numbers = this.numbers;
    return copy;
  }

  /** Accounts for host memory that lives as long as the file is being read. */
  hold(bytes: number): void {
    this.held += bytes;
    if (this.held > this.allowance) this.refuseMemory();
  }

  /** As {@link hold}, for one thing whose size is known before it is made. */
  holdWhole(bytes: number, what: string): void {
    if (this.held + bytes > this.allowance) {
      const { memory } = this.limits;
      throw new CheckpointError(
        `${what} takes ${formatBytes(bytes)} (${grouped(bytes)} bytes), and at most ${formatBytes(memory)} beyond twice the file's ` +
          `${formatBytes(this.fileBytes)} are used; refused. ${howToRaise('memory', Math.ceil(memory + bytes))}`,
      );
    }
    this.held += bytes;
  }

  private refuseMemory(): never {
    const { memory } = this.limits;
    throw new CheckpointError(
      `what the file describes takes more than ${formatBytes(this.allowance)} of host memory: twice the file's ` +
        `${formatBytes(this.fileBytes)} and ${grouped(memory)} bytes; refused. ${howToRaise('memory', 4 * memory || 2 ** 26)}`,
    );
  }

  checkTensors(count: number, what = 'tensors'): void {
    const { tensors } = this.limits;
    if (count <= tensors) return;
    throw new CheckpointError(
      `it holds ${grouped(count)} ${what}, and at most ${grouped(tensors)} are read; refused. ${howToRaise('tensors', count)}`,
    );
  }

  checkHeader(bytes: number, what: string): void {
    const { headerBytes } = this.limits;
    if (bytes <= headerBytes) return;
    throw new CheckpointError(
      `${what} of ${bytes} bytes; at most ${headerBytes} are read. ${howToRaise('headerBytes', bytes)}`,
    );
  }

  checkDepth(depth: number): void {
    const { depth: most } = this.limits;
    if (depth <= most) return;
    throw new CheckpointError(
      `values are nested more than ${most} deep; refused. ${howToRaise('depth', Math.max(1, 10 * most))}`,
    );
  }

  /** Accounts for a key of a dict or a member of a set. */
  key(value: unknown): void {
    if (typeof value !== 'number' && typeof value !== 'bigint') return;
    // Small integers are too few for many of them to share a hash.
    if (typeof value === 'number' && Number.isInteger(value) && Math.abs(value) < 2 ** 20) return;
    const { numberKeys } = this.limits;
    if (++this.numbers > numberKeys) {
      throw new CheckpointError(
        `more than ${grouped(numberKeys)} keys are fractions or large integers; refused. ` +
          howToRaise('numberKeys', Math.max(1, 10 * numberKeys)),
      );
    }
  }
}

/** How the readers of all formats are told what a file may cost, and whether checksums are looked at. */
export interface ReadOptions {
  readonly budget: Budget;
  readonly verify: boolean;
}

export const defaultReading = (source: { readonly size: number }): ReadOptions => ({
  budget: new Budget(defaultLimits, source.size),
  verify: true,
});
