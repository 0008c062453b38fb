/** What bytes stand for, as kernels look it up. It loads without the engine, for worker threads. */
import { byteTable, type ByteMeaning } from '../../kernels/images/packed.js';
import { toHalf } from '../../tensor/dtype.js';

/** @internal Whether `value` is an array, typed or not. */
export const isList = (value: unknown): value is readonly unknown[] =>
  Array.isArray(value) || ArrayBuffer.isView(value);

/**
 * @internal (byte / 255 - mean) / std for each channel.
 * @throws Error, naming `what`, unless each channel has a mean and a positive standard deviation
 */
export function byteMeaning(
  what: string,
  channels: number,
  mean: readonly number[],
  std: readonly number[],
  dtype: ByteMeaning['dtype'],
): ByteMeaning {
  for (const [name, list] of Object.entries({ mean, std })) {
    if (!isList(list))
      throw new TypeError(`${what}: ${name} must be a list of ${channels} numbers, got ${String(list)}`);
  }
  if (mean.length !== channels || std.length !== channels || std.some((value) => !(value > 0))) {
    throw new Error(
      `${what}: normalize needs ${channels} means and ${channels} positive standard deviations, got [${mean.join(', ')}] and [${std.join(', ')}]`,
    );
  }
  if (dtype !== 'float32' && dtype !== 'float16')
    throw new Error(`${what}: dtype must be 'float32' or 'float16', got ${String(dtype)}`);
  const values = byteTable(mean, std);
  const table = dtype === 'float16' ? Uint32Array.from(values, toHalf) : new Uint32Array(values.buffer);
  return { table, dtype };
}
