import type { BatchRequest } from '../load-batch.js';
import type { Spec } from './worker-spec.js';

/** Given to a worker when it starts. */
export interface WorkerSettings {
  readonly spec: Spec;
}

export interface WorkerRequest {
  readonly id: number;
  readonly request: BatchRequest;
}

export interface WorkerReply {
  readonly id: number;
  /** A `Loaded`, stacked where it was not to be collated by the caller. */
  readonly loaded?: unknown;
  readonly error?: unknown;
  /** Files left out since the last reply: number of the dataset, path and reason. */
  readonly skipped: readonly (readonly [dataset: number, path: string, reason: string])[];
}
