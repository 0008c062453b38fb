/** What an importer may do with a file of a stranger, and whether it did. */

import { CheckpointError, HostTensor, loadCheckpoint, loadValue } from '../../src/formats/index.js';
import { memorySource } from '../../src/formats/byte-source.js';
import { render } from '../../src/formats/render.js';
import { readSharded } from '../../src/formats/sharded.js';
import { shards } from './mutants.js';

/**
 * What a file may take beyond twice its size: the readers' own bound, and what the collector leaves lying
 * about.
 */
export const memoryConstant = 128 * 1024 ** 2;
/** Seconds after which a file counts as one that hangs. */
export const hangSeconds = 10;

export const fileName = 'stranger.bin';

// Typed arrays are counted as they are made: memory that is never touched shows in no other measure.
let allocated = 0;

type ArrayType = new (...args: unknown[]) => ArrayBufferView;

function counting(type: ArrayType): ArrayType {
  const proxy: ArrayType = new Proxy(type, {
    construct(target, args: unknown[], newTarget) {
      const made = Reflect.construct(target, args, newTarget === proxy ? target : (newTarget as ArrayType));
      if (typeof args[0] === 'number') allocated += made.byteLength;
      return made;
    },
  });
  return proxy;
}

/** Starts counting the bytes of typed arrays that are made by their length. */
export function countAllocations(): void {
  const all = globalThis as unknown as Record<string, ArrayType>;
  for (const name of ['Uint8Array', 'Uint16Array', 'Uint32Array', 'Float32Array', 'Float64Array'])
    all[name] = counting(all[name]!);
}

export interface Verdict {
  readonly outcome: 'accepted' | 'refused';
  /** What it did that no importer may do; '' for nothing. */
  readonly finding: string;
  readonly cpuMs: number;
  /** Bytes beyond what the process had at its peak before, or of typed arrays made, whichever is more. */
  readonly memory: number;
}

async function readAll(format: string, bytes: Uint8Array, whole: boolean): Promise<void> {
  const options = { name: fileName };
  let tensors: Iterable<HostTensor>;
  const texts: unknown[] = [];
  if (format === 'safetensors index') {
    const read = await readSharded(memorySource(bytes, fileName), async (file) => {
      const shard = shards.get(file);
      if (shard === undefined) throw new CheckpointError(`${fileName}: no such shard`);
      return memorySource(shard, file);
    });
    tensors = read.tensors.values();
  } else if (whole) {
    const value = await loadValue(bytes, options);
    texts.push(render(value));
    tensors =
      value instanceof HostTensor
        ? [value]
        : value instanceof Map
          ? [...value.values()].filter((item) => item instanceof HostTensor)
          : [];
  } else {
    const checkpoint = await loadCheckpoint(bytes, options);
    for (const [key, value] of checkpoint.extra) texts.push(render(key), render(value));
    tensors = checkpoint.tensors.values();
  }
  for (const tensor of tensors) for await (const chunk of tensor.chunks()) texts.push(chunk.length);
  const longest = Math.max(0, ...texts.map((text) => (typeof text === 'string' ? text.length : 0)));
  if (longest > 200) throw new Error(`a value was rendered with ${longest} characters`);
}

const controls = /[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]/;

function problemOf(error: unknown): string {
  if (!(error instanceof CheckpointError))
    return `not a CheckpointError: ${error instanceof Error ? `${error.name}: ${error.message}` : String(error)}`;
  const { message } = error;
  if (!message.startsWith(fileName)) return `does not name the file: ${message}`;
  if (message.includes(': cannot be read: ')) return `an error of another kind inside: ${message}`;
  if (controls.test(message)) return `control characters in ${JSON.stringify(message)}`;
  if (message.length > 40_000) return `a message of ${message.length} characters`;
  return '';
}

/** Reads a file, its tensors and what is beside them. */
export async function judge(format: string, bytes: Uint8Array, whole: boolean): Promise<Verdict> {
  const peak = process.resourceUsage().maxRSS;
  const cpu = process.cpuUsage();
  allocated = 0;
  let outcome: Verdict['outcome'] = 'accepted';
  let finding = '';
  try {
    await readAll(format, bytes, whole);
  } catch (error) {
    outcome = 'refused';
    finding = problemOf(error);
  }
  const { user, system } = process.cpuUsage(cpu);
  const memory = Math.max(allocated, 1024 * (process.resourceUsage().maxRSS - peak));
  const cpuMs = (user + system) / 1000;
  if (finding === '' && memory > 2 * bytes.length + memoryConstant)
    finding = `took ${memory} bytes of memory`;
  if (finding === '' && cpuMs > 1000 * hangSeconds) finding = `took ${cpuMs} ms`;
  return { outcome, finding, cpuMs, memory };
}
