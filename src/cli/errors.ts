/** Something the user can put right: printed as one line, without a stack. */
export class CliError extends Error {
  override readonly name: string = 'CliError';
}

/** Options that do not go together: exit status 2. */
export class UsageError extends CliError {
  override readonly name = 'UsageError';
}

/** The work was ended from outside: by Ctrl-C, another signal, or because its output has no place to go. */
export class Interrupted extends CliError {
  override readonly name = 'Interrupted';
  constructor(
    message = 'interrupted',
    readonly exitCode = 130,
  ) {
    super(message);
  }
}

export const exitCodes = { ok: 0, failure: 1, usage: 2 } as const;

/** The error that was written for the user, which others may have wrapped; else the error itself. */
export function plainest(error: unknown): Error {
  for (let at = error; at instanceof Error; at = at.cause) if (at instanceof CliError) return at;
  return error instanceof Error ? error : new Error(String(error));
}

/** Those of `names` that `wrong` may be a slip for, closest first. */
export function closeNames(wrong: string, names: readonly string[]): string[] {
  const plain = (name: string): string => name.toLowerCase().replace(/[^a-z0-9]/g, '');
  const target = plain(wrong);
  const scored = names.map((name) => {
    const candidate = plain(name);
    const contained = target.length >= 3 && (candidate.includes(target) || target.includes(candidate));
    return { name, distance: contained ? 1 : editDistance(target, candidate) };
  });
  const limit = Math.max(2, Math.floor(target.length / 3));
  return scored
    .filter(({ distance }) => distance <= limit)
    .sort((a, b) => a.distance - b.distance)
    .slice(0, 4)
    .map(({ name }) => name);
}

/** Levenshtein's distance: insertions, deletions and replacements of one character. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replace = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replace, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
