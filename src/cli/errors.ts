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
