/** Height and width. */
export type Pair = readonly [height: number, width: number];

/** Height and width; one number stands for both. */
export type Size2d = number | Pair;

/**
 * @internal Both numbers of `value`.
 *
 * @throws Error, naming `op` and `what`, when they are no integers of at least `least`
 */
export function pairOf(op: string, what: string, value: Size2d, least: number): Pair {
  const pair = typeof value === 'number' ? ([value, value] as const) : value;
  if (pair.length !== 2 || !pair.every((v) => Number.isInteger(v) && v >= least)) {
    throw new Error(
      `${op}: ${what} must be an integer of at least ${least} or a pair of them, got ${JSON.stringify(value)}`,
    );
  }
  return [pair[0], pair[1]];
}
