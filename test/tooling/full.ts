/** Whether this is `npm run test:full`. `npm test` takes a part of what is long, the same part each time. */
export const full = process.env['KINDLING_FULL'] === '1';

/** All of `list` in full runs, otherwise every nth from number `from` on. */
export const every = <T>(nth: number, list: readonly T[], from = 0): T[] =>
  list.filter((_, i) => full || i % nth === from);
