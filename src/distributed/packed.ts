import { readAll } from '../formats/device-tensor.js';
import type { HostDtype } from '../formats/dtypes.js';
import { HostTensor } from '../formats/host-tensor.js';
import { isPlainObject } from '../tensor/options.js';
import { isTensor } from '../tensor/tensor.js';

/** A tensor as `structuredClone` takes it. */
interface Packed {
  readonly packedTensor: HostDtype;
  readonly name: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

const isPacked = (value: object): value is Packed => Object.hasOwn(value, 'packedTensor');

/** Values with tensors in them, as `structuredClone` takes them. */
export async function pack(value: unknown): Promise<unknown> {
  if (isTensor(value)) return pack(readAll(new Map([['', value]])).get(''));
  if (value instanceof HostTensor)
    return {
      ...{ packedTensor: value.dtype, name: value.name, shape: [...value.shape] },
      bytes: await value.bytes(),
    } satisfies Packed;
  if (value instanceof Map) {
    const packed = new Map<unknown, unknown>();
    for (const [key, item] of value) packed.set(key, await pack(item));
    return packed;
  }
  if (Array.isArray(value)) {
    const packed: unknown[] = [];
    for (const item of value) packed.push(await pack(item));
    return packed;
  }
  if (!isPlainObject(value)) return value;
  const packed: Record<string, unknown> = {};
  for (const [key, item] of Object.entries(value)) packed[key] = await pack(item);
  return packed;
}

/** What {@link pack} was given; tensors are on the host. */
export function unpack(value: unknown): unknown {
  if (value instanceof Map) return new Map([...value].map(([key, item]) => [key, unpack(item)]));
  if (Array.isArray(value)) return value.map(unpack);
  if (!isPlainObject(value)) return value;
  if (isPacked(value)) {
    const { packedTensor, name, shape, bytes } = value;
    return HostTensor.fromBytes(packedTensor, [...shape], bytes, { name });
  }
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, unpack(item)]));
}
