import { closeNames } from '../tensor/close-names.js';

/** Fewer letters than this that two names share say nothing. */
const leastShared = 3;

/** Names that `wrong` may be a slip for, else those that have most letters in a row in common with it. */
export function nearNames(wrong: string, names: readonly string[]): string[] {
  const close = closeNames(wrong, names);
  if (close.length > 0) return close;
  const scored = names.map((name) => ({
    name,
    shared: longestShared(wrong.toLowerCase(), name.toLowerCase()),
  }));
  const most = Math.max(0, ...scored.map(({ shared }) => shared));
  if (most < leastShared) return [];
  return scored
    .filter(({ shared }) => shared === most)
    .slice(0, 4)
    .map(({ name }) => name);
}

/** `did you mean 'resnet18' or 'resnet34'?`, or nothing. */
export function meant(wrong: string, names: readonly string[]): string {
  const near = nearNames(wrong, names);
  return near.length === 0 ? '' : `did you mean ${near.map((name) => `'${name}'`).join(' or ')}?`;
}

/** Length of the longest piece that is in both. */
function longestShared(a: string, b: string): number {
  for (let length = Math.min(a.length, b.length); length > 0; length--)
    for (let from = 0; from + length <= a.length; from++)
      if (b.includes(a.slice(from, from + length))) return length;
  return 0;
}
