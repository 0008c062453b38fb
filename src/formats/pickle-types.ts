import { CheckpointError } from './errors.js';

/** A Python object that has no plain JavaScript form yet (a storage, a tensor, a numpy dtype, ...). */
export abstract class PickleObject {
  /** @internal What `obj.__setstate__(state)` would do; throws if the class takes no state. */
  setState(_state: PickleValue, _limits: PickleLimits): void {
    throw new CheckpointError(`an object of kind ${this.constructor.name} takes no state`);
  }
}

/**
 * An object that only its own Python class could make sense of: a criterion, a scheduler, `datetime`,
 * `functools.partial`. It stands where the object was and knows the name of its class; nothing was run to
 * make it, and what the file says of its contents is not kept.
 */
export class OpaqueObject extends PickleObject {
  constructor(
    /** Its class, or the function that made it: `torch.nn.modules.loss.CrossEntropyLoss`. */
    readonly className: string,
  ) {
    super();
  }

  /** @internal */
  override setState(): void {}

  override toString(): string {
    return `<object of ${this.className}>`;
  }
}

/**
 * tuple and list become arrays, dict becomes a Map (order kept, keys of any kind), set becomes a Set, bytes
 * become a Uint8Array, int becomes a number or, beyond 2^53, a bigint.
 */
export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | PickleValue[]
  | Map<PickleValue, PickleValue>
  | Set<PickleValue>
  | PickleObject;

/** A class or function the table allows; `call` builds the inert value that calling it would give. */
export class PickleGlobal extends PickleObject {
  constructor(
    readonly path: string,
    readonly call?: (args: readonly PickleValue[], limits: PickleLimits) => PickleValue,
    /** Whether the table does not hold it: what it makes is an {@link OpaqueObject}. */
    readonly foreign = false,
  ) {
    super();
  }
}

/** Guards against small pickles that ask for much work or much memory. */
export interface PickleLimits {
  /**
   * Accounts for copying `amount` elements or bytes; throws when the pickle has asked for too much in total.
   */
  spend(amount: number): void;
  /** Accounts for host memory, in bytes, beyond that of a call's result. */
  hold(bytes: number): void;
  /** Accounts for a key of a dict or a member of a set. */
  key(value: PickleValue): void;
}

export interface PickleHost {
  /** The allowed global, or undefined. */
  find(module: string, name: string): PickleGlobal | undefined;
  /** Extra advice for the error about a refused global. */
  explain?(module: string, name: string): string | undefined;
  persistentLoad?(id: PickleValue): PickleValue;
}

/** The bytes end before the pickle does; `needed` is the length the data must at least have. */
export class PickleTruncatedError extends CheckpointError {
  constructor(
    message: string,
    readonly needed: number,
  ) {
    super(message);
  }
}
