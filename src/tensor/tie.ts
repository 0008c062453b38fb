import { showShape, type Shape } from './shape.js';
import type { Storage } from './storage.js';

/**
 * Ties a tensor to one that the engine lays out otherwise than PyTorch does, where PyTorch would have given a
 * view and memory order forced a copy, or the other way round: as long as neither is written, nobody can
 * tell.
 *
 * @internal
 */
export interface Tie {
  /** The op that made it. */
  readonly op: string;
  readonly source: Storage;
  /** Of `source` when it was made. */
  readonly version: number;
  readonly copied: boolean;
  readonly outer: Tie | null;
}

/** Values that would differ from PyTorch's are not read. */
export function checkTie(shape: Shape, tie: Tie): void {
  for (let at: Tie | null = tie; at !== null; at = at.outer) {
    if (at.source.version === at.version) continue;
    throw new Error(
      `${at.source.writer} changed the tensor that ${at.op} took this one (shape ${showShape(shape)}) from. ` +
        (at.copied
          ? `Stored channels-last it could not be viewed, so ${at.op} made a copy, which does not show the change: ` +
            `call ${at.op} again after the change, or clone() the result before it`
          : `Stored channels-last it could be viewed where PyTorch copies, so ${at.op} shares its memory: ` +
            `clone() the result before the change`),
    );
  }
}
