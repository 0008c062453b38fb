/** Python objects of PyTorch that a pickle refers to, before they are found in their container. */

import { CheckpointError } from './errors.js';
import type { HostDtype } from './dtypes.js';
import { itemSize } from './dtypes.js';
import { PickleGlobal, PickleObject } from './pickle-types.js';
import type { PickleLimits, PickleValue } from './pickle-types.js';

/** A storage that the pickle names and the container holds. */
export class StorageRef extends PickleObject {
  constructor(
    readonly key: string,
    /** null for an untyped storage, which counts bytes. */
    readonly dtype: HostDtype | null,
    readonly elements: number,
    /** Where the part that is meant starts; old files slice storages themselves. */
    readonly viewOffset = 0,
  ) {
    super();
  }

  get byteLength(): number {
    return this.elements * (this.dtype === null ? 1 : itemSize[this.dtype]);
  }
}

export class TensorRef extends PickleObject {
  constructor(
    readonly storage: StorageRef,
    readonly dtype: HostDtype,
    readonly offset: number,
    readonly shape: readonly number[],
    readonly strides: readonly number[],
    readonly requiresGrad: boolean,
    /** What the values need beyond the storage's: `{ neg: true }`. */
    readonly metadata: PickleValue = null,
  ) {
    super();
  }

  /**
   * Python attributes of a tensor are dropped; an old-style state would replace the data, so it is refused.
   */
  override setState(state: PickleValue): void {
    if (state !== null && !(state instanceof Map)) throw new CheckpointError('a tensor has an unknown state');
  }

  withGrad(requiresGrad: boolean): TensorRef {
    const { storage, dtype, offset, shape, strides, metadata } = this;
    return new TensorRef(storage, dtype, offset, shape, strides, requiresGrad, metadata);
  }
}

/** `argparse.Namespace` and `types.SimpleNamespace`: attributes only; becomes a Map. */
export class Namespace extends PickleObject {
  readonly attributes = new Map<PickleValue, PickleValue>();

  override setState(state: PickleValue, limits: PickleLimits): void {
    if (!(state instanceof Map)) throw new CheckpointError('a namespace has an unknown state');
    limits.spend(state.size);
    limits.hold(64 * state.size);
    for (const [key, value] of state) {
      limits.key(key);
      this.attributes.set(key, value);
    }
  }
}

/** A class of storages: `torch.FloatStorage`. */
export class StorageType extends PickleGlobal {
  constructor(
    path: string,
    readonly dtype: HostDtype | null,
  ) {
    super(path);
  }
}
