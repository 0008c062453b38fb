/** A profile: what `Runtime.profile` does. */

import { DeviceError } from './errors.js';
import type { Encoder } from './encoder.js';
import type { Gate } from './gate.js';
import { TimestampProfiler, WallClockProfiler, type DeviceProfile } from './profiler.js';
import type { CommandStream } from './stream.js';
import { setTrail, Trail } from './trail.js';
import type { PoliteWaiter } from './wait.js';

export interface ProfileParts {
  readonly device: GPUDevice;
  readonly stream: CommandStream;
  readonly gate: Gate;
  readonly encoder: Encoder;
  readonly waiter: PoliteWaiter;
  /** The adapter has timestamp queries. */
  readonly timestamps: boolean;
  readonly synchronize: () => Promise<void>;
}

export async function takeProfile<T>(
  { device, stream, gate, encoder, waiter, timestamps, synchronize }: ProfileParts,
  fn: () => T | Promise<T>,
): Promise<DeviceProfile<T>> {
  if (encoder.profiler) throw new DeviceError('profile: a profile is being taken already.');
  await synchronize();
  const profiler = timestamps
    ? new TimestampProfiler(device, () => stream.commands())
    : new WallClockProfiler(gate);
  encoder.profiler = profiler;
  const trail = new Trail();
  setTrail(trail);
  const start = performance.now();
  let result: T;
  try {
    result = await fn();
  } finally {
    encoder.profiler = undefined;
    setTrail(null);
    if (profiler instanceof TimestampProfiler) profiler.close();
    stream.flush();
    await gate.line?.opened();
    await waiter.during(profiler.finish());
  }
  await synchronize();
  const { dispatches } = profiler;
  const wallMs = performance.now() - start;
  return { result, rows: profiler.rows(), dispatches, spans: trail.spans, wallMs };
}
