/** What work of the host in the command stream needs of the device. */

import type { Commits } from './commits.js';
import type { ErrorLog } from './errors.js';
import type { Gate } from './gate.js';
import type { StagingPool } from './readback.js';
import type { Recording } from './recording.js';
import type { CommandStream } from './stream.js';
import type { PoliteWaiter } from './wait.js';

/** What reads of the device, awaited or within the stream, work with. */
export interface StreamParts {
  readonly device: GPUDevice;
  readonly errors: ErrorLog;
  readonly stream: CommandStream;
  readonly gate: Gate;
  readonly commits: Commits;
  readonly staging: StagingPool;
  readonly waiter: PoliteWaiter;
}

export interface HostStepParts extends StreamParts {
  /** Nothing is done on the GPU. */
  readonly isIdle: () => boolean;
  readonly recording: () => Recording | null;
}
