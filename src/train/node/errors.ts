/**
 * `file`: a file is where the folder should be; `run`: the folder holds a run that would be lost; `kind`: its
 * configuration is another program's; `missing`: the run cannot go on without a file.
 */
export type RunFolderProblem = 'file' | 'run' | 'kind' | 'missing' | 'other';

interface Details extends ErrorOptions {
  readonly problem?: RunFolderProblem;
  readonly file?: string;
  readonly weights?: string | null;
}

/** A run's folder cannot be used. */
export class RunFolderError extends Error {
  override readonly name = 'RunFolderError';
  readonly problem: RunFolderProblem;
  /** The name of the file that is missing. */
  readonly file: string | null;
  /** The path of weights that are there nevertheless. */
  readonly weights: string | null;

  constructor(message: string, details: Details = {}) {
    super(message, details);
    this.problem = details.problem ?? 'other';
    this.file = details.file ?? null;
    this.weights = details.weights ?? null;
  }
}
