/** The device: finding a GPU, and the {@link Runtime} that runs kernels on it. */

export { close, init, runtime } from './lifecycle.js';
/** @internal */
export { currentRecording, isRunning } from './lifecycle.js';
export { Recording } from './recording.js';
export type { AdapterInfo, InitOptions } from './adapter.js';
export { cacheFolder } from './cache-folder.js';
export { loadTuning, saveTuning, tuningPath, type TunedEntry, type TunedFor } from './tuned.js';
export type { BufferArg } from './bindgroups.js';
export { DataError, DeviceError, DeviceLostError, OutOfMemoryError, ShaderError } from './errors.js';
/** @internal */
export { hostSteps, type HostTarget } from './host-steps.js';
export type { DeviceBuffer, MemoryStats } from './pool.js';
export type { DeviceProfile, ProfiledDispatch, ProfileRow } from './profiler.js';
export type { Runtime } from './runtime.js';
export type { HostSpan, Phase } from './trail.js';
/** @internal */
export { currentTrail } from './trail.js';
