/**
 * Weight files. Rooms above import from the files themselves: whoever reads one format is not to bring them
 * all.
 */
export { blobSource, memorySource } from './byte-source.js';
export type { ByteRange, ByteSource } from './byte-source.js';
export { loadCheckpoint, loadValue } from './checkpoint.js';
export type { Checkpoint, CheckpointSource, LoadCheckpointOptions, LoadValueOptions } from './checkpoint.js';
export { itemSize } from './dtypes.js';
export type { HostDtype } from './dtypes.js';
export { CheckpointError } from './errors.js';
export { readAll } from './device-tensor.js';
export type { FloatDtype, NamedTensors, TensorSource } from './device-tensor.js';
export { HostTensor } from './host-tensor.js';
export type { HostTensorInit } from './host-tensor.js';
export { downloadBlob } from './hub/browser-download.js';
export { DownloadError } from './hub/index.js';
export type { DownloadOptions, DownloadProgress } from './hub/index.js';
export { cacheFolder } from './hub/node-cache.js';
export { cachedFile, downloadFile } from './hub/node-download.js';
export type { FileLayout, Patch } from './layout.js';
export { defaultLimits } from './limits.js';
export type { ReadLimits } from './limits.js';
export { OpaqueObject } from './pickle-types.js';
export { saveNpz, saveSafetensors, saveTorch, writeFileAtomically } from './node-files.js';
export { readSafetensors } from './safetensors.js';
export type { SafetensorsContents } from './safetensors.js';
export { encodeSafetensors, layoutSafetensors } from './safetensors-writer.js';
export type { SafetensorsOptions } from './safetensors-writer.js';
export type { Container } from './sniff.js';
export { UnclearStateDictError } from './state-dict.js';
export type { PlainValue } from './torch-values.js';
export { encodeTorch, layoutTorch } from './torch-writer.js';
export type { TorchOptions, TorchValue } from './torch-writer.js';
export { encodeNpz, layoutNpz } from './numpy-files.js';
