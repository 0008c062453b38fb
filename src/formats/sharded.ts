/** Sharded safetensors: `model.safetensors.index.json` says which file holds each tensor. */

import type { ByteSource } from './byte-source.js';
import { CheckpointError, formatBytes, quote } from './errors.js';
import type { HostTensor } from './host-tensor.js';
import { readSafetensors } from './safetensors.js';
import type { PlainValue } from './torch-values.js';

const maxIndexBytes = 100_000_000;

export interface ShardedContents {
  readonly tensors: Map<string, HostTensor>;
  readonly metadata: Map<string, PlainValue>;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/**
 * Reads an index and the headers of the files it names, which `open` finds beside it. Names that lead out of the folder are
 * refused.
 */
export async function readSharded(
  index: ByteSource,
  open: (name: string) => Promise<ByteSource>,
): Promise<ShardedContents> {
  const fail = (what: string): never => {
    throw new CheckpointError(`${index.name}: ${what}`);
  };
  if (index.size > maxIndexBytes) fail(`an index of ${formatBytes(index.size)} is not read`);
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(await index.read(0, index.size)));
  } catch (error) {
    fail(`is not valid JSON (${error instanceof Error ? error.message.slice(0, 120) : 'unreadable'})`);
  }
  const places = isObject(json) ? json['weight_map'] : undefined;
  if (!isObject(json) || !isObject(places))
    return fail('JSON, but not an index of safetensors files (it has no `weight_map`)');

  const shards = new Map<string, Map<string, HostTensor>>();
  const tensors = new Map<string, HostTensor>();
  for (const [key, file] of Object.entries(places)) {
    if (typeof file !== 'string' || !/^[^/\\:\0]+$/.test(file) || file === '.' || file === '..')
      return fail(
        `tensor ${quote(key)} is said to be in ${quote(String(file))}, which is no name of a file beside it`,
      );
    let shard = shards.get(file);
    if (shard === undefined) {
      try {
        shard = (await readSafetensors(await open(file))).tensors;
      } catch (cause) {
        fail(`shard ${quote(file)}: ${cause instanceof Error ? cause.message : String(cause)}`);
      }
      shards.set(file, shard!);
    }
    const tensor = shard!.get(key);
    if (tensor === undefined)
      return fail(`tensor ${quote(key)} is not in ${quote(file)}, where it should be`);
    tensors.set(key, tensor);
  }
  const metadata = new Map<string, PlainValue>();
  for (const [key, value] of Object.entries(isObject(json['metadata']) ? json['metadata'] : {}))
    if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean')
      metadata.set(key, value);
  return { tensors, metadata };
}
