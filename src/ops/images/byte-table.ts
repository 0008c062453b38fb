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
  const fits = (list: unknown): boolean => isList(list) && list.length === channels;
  if (!fits(mean) || !fits(std) || std.some((value) => !(value > 0))) {
    throw new Error(
      `${what}: normalize needs lists of ${channels} means and ${channels} positive standard deviations, got ${String(mean)} and ${String(std)}`,
    );
  }
  if (dtype !== 'float32' && dtype !== 'float16')
    throw new Error(`${what}: dtype must be 'float32' or 'float16', got ${String(dtype)}`);
  const values = byteTable(mean, std);
  const table = dtype === 'float16' ? Uint32Array.from(values, toHalf) : new Uint32Array(values.buffer);
  return { table, dtype };
}
