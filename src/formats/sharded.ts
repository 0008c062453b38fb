/** Sharded safetensors: `model.safetensors.index.json` says which file holds each tensor. */

import type { ByteSource } from './byte-source.js';
import { CheckpointError, inFile, quote } from './errors.js';
import type { HostTensor } from './host-tensor.js';
import { isObject, measureJson, parseJson } from './json.js';
import { Budget, defaultReading, type ReadOptions } from './limits.js';
import { render } from './render.js';
import { readSafetensors } from './safetensors.js';
import type { PlainValue } from './torch-values.js';

export interface ShardedContents {
  readonly tensors: Map<string, HostTensor>;
  readonly metadata: Map<string, PlainValue>;
}

/**
 * Reads an index and the headers of the files it names, which `open` finds beside it. Names that lead out of
 * the folder are refused.
 */
export async function readSharded(
  index: ByteSource,
  open: (name: string) => Promise<ByteSource>,
  reading: ReadOptions = defaultReading(index),
): Promise<ShardedContents> {
  try {
    return await read(index, open, reading);
  } catch (error) {
    throw inFile(index.name, error);
  }
}

async function read(
  index: ByteSource,
  open: (name: string) => Promise<ByteSource>,
  { budget, verify }: ReadOptions,
): Promise<ShardedContents> {
  const fail = (what: string): never => {
    throw new CheckpointError(what);
  };
  budget.checkHeader(index.size, 'an index');
  const bytes = await index.read(0, index.size);
  const measure = measureJson(bytes);
  budget.checkTensors(measure.members[1] ?? 0);
  const json = parseJson(bytes, measure, 'the index', budget);
  const places = isObject(json) ? json['weight_map'] : undefined;
  if (!isObject(json) || !isObject(places))
    return fail('JSON, but not an index of safetensors files (it has no `weight_map`)');

  const shards = new Map<string, Map<string, HostTensor>>();
  const tensors = new Map<string, HostTensor>();
  let total = 0;
  for (const [key, file] of Object.entries(places)) {
    if (typeof file !== 'string' || !/^[^/\\:\0]+$/.test(file) || file === '.' || file === '..')
      return fail(
        `tensor ${quote(key)} is said to be in ${render(file)}, which is no name of a file beside it`,
      );
    let shard = shards.get(file);
    if (shard === undefined) {
      try {
        const source = await open(file);
        // Each shard is a file of its own, but what is read of them all is held at once.
        const own = new Budget(budget.limits, source.size);
        shard = (await readSafetensors(source, { budget: own, verify })).tensors;
        budget.checkTensors((total += shard.size));
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error);
        throw new CheckpointError(`shard ${quote(file)}: ${message}`, { cause: error });
      }
      shards.set(file, shard);
    }
    const tensor = shard.get(key);
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
