import { optionReader, type Trailing } from '../../tensor/options.js';

/* Ops whose only optional argument is the dim that they go along. */

/** The dim, 0 by default, by position or by name. */
export type AlongArgs = Trailing<[dim: number], { dim?: number }>;

/** @internal The dim that `args` of `op` say. */
export function readAlong(op: string, args: readonly unknown[]): number {
  const [dim] = args;
  return args.length === 1 && typeof dim === 'number' ? dim : optionReader(op, { dim: 0 }, 'dim')(args).dim;
}
