import { optionReader, required, type Needed, type Trailing } from '../../tensor/options.js';

/* Ops whose only optional argument is the dim that they go along. */

/** The dim, 0 by default, by position or by name. */
export type AlongArgs = Trailing<[dim: number], { dim?: number }>;

/** @internal The dim that `args` of `op` say. */
export function readAlong(op: string, args: readonly unknown[]): number {
  const [dim] = args;
  return args.length === 1 && typeof dim === 'number' ? dim : optionReader(op, { dim: 0 }, 'dim')(args).dim;
}

/** One value that must be given, as `K` if by name, and the dim. */
export type ValueAlongArgs<V, K extends string> = Needed<[value: V], [K], [dim: number], { dim?: number }>;

/** @internal What `args` of `op` say, of which the first is `name`. */
export function readValueAlong<V>(
  op: string,
  name: string,
  args: readonly unknown[],
): [value: V, dim: number] {
  const read = optionReader<Record<string, unknown>>(op, { [name]: required(), dim: 0 }, name, 'dim')(args);
  return [read[name] as V, read['dim'] as number];
}
