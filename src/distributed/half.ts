/** Numbers in two bytes each, for the way between ranks. */
import { convertBytes, decodeFloat32 } from '../formats/dtypes.js';

/** How a gradient may travel in half the bytes. */
export type HalfType = 'float16' | 'bfloat16';

const bytesOf = (values: Float32Array): Uint8Array =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

/**
 * @internal The nearest numbers of `type`, ties to even; in float16 what is beyond 65504 becomes
 * infinite.
 */
export const encodeHalf = (values: Float32Array, type: HalfType): Uint8Array =>
  convertBytes(bytesOf(values), 'float32', type, 'distributed');

/** @internal */
export const decodeHalf = (bytes: Uint8Array, type: HalfType): Float32Array =>
  decodeFloat32(bytes, type, 'distributed');
