/**
 * The safetensors format, read and written. Specification: https://github.com/huggingface/safetensors#format
 */

import type { ByteSource } from './byte-source.js';
import { checkRange, readRange, sliceSource } from './byte-source.js';
import { crc32 } from './crc32.js';
import { checkCrc, checkedRange } from './checked-range.js';
import { readAll, type NamedTensors } from './device-tensor.js';
import { CheckpointError, inFile, quote, quoteKey } from './errors.js';
import type { HostDtype } from './dtypes.js';
import { itemSize } from './dtypes.js';
import { HostTensor } from './host-tensor.js';
import { isObject, measureJson, parseJson } from './json.js';
import { collect, type FileLayout } from './layout.js';
import { defaultReading, type Budget, type ReadOptions } from './limits.js';
import { hasLoneSurrogates } from './pickle-text.js';
import { render } from './render.js';
import { ChecksumWriter, checksumKey, readChecksums } from './safetensors-checksums.js';

const maxHeaderBytes = 100_000_000;

const dtypeOfCode = new Map<string, HostDtype>([
  ['F64', 'float64'],
  ['F32', 'float32'],
  ['F16', 'float16'],
  ['BF16', 'bfloat16'],
  ['F8_E4M3', 'float8_e4m3fn'],
  ['F8_E5M2', 'float8_e5m2'],
  ['I64', 'int64'],
  ['I32', 'int32'],
  ['I16', 'int16'],
  ['I8', 'int8'],
  ['U64', 'uint64'],
  ['U32', 'uint32'],
  ['U16', 'uint16'],
  ['U8', 'uint8'],
  ['BOOL', 'bool'],
  ['C64', 'complex64'],
]);
const codeOfDtype = new Map([...dtypeOfCode].map(([code, dtype]) => [dtype, code]));

export interface SafetensorsContents {
  readonly tensors: Map<string, HostTensor>;
  readonly metadata: Map<string, string>;
}

/** Bytes of host memory that a tensor's description and handle take. */
const tensorCost = 1200;

interface Span {
  readonly name: string;
  readonly dtype: HostDtype;
  readonly shape: number[];
  readonly begin: number;
  readonly end: number;
}

/**
 * Reads the header and checks all that the specification asks: sizes, dtypes, shapes, and that the tensors
 * fill the data without a hole or an overlap. The tensors' bytes stay in the source until asked for; in a
 * file that kindling wrote they are checked then.
 */
export async function readSafetensors(
  source: ByteSource,
  { budget, verify }: ReadOptions = defaultReading(source),
): Promise<SafetensorsContents> {
  try {
    return await read(source, budget, verify);
  } catch (error) {
    throw inFile(source.name, error);
  }
}

const fail: Fail = (what) => {
  throw new CheckpointError(what);
};

async function read(source: ByteSource, budget: Budget, verify: boolean): Promise<SafetensorsContents> {
  const sizeField = await readRange(source, 0, 8, 'the length of the safetensors header');
  const headerBytes = Number(new DataView(sizeField.buffer, sizeField.byteOffset, 8).getBigUint64(0, true));
  checkRange(source, 8, headerBytes, 'the safetensors header');
  budget.checkHeader(headerBytes, 'a safetensors header');
  const dataStart = 8 + headerBytes;
  const json = await source.read(8, headerBytes);
  const measure = measureJson(json);
  budget.checkTensors(measure.members[0] ?? 0);
  budget.hold(tensorCost * (measure.members[0] ?? 0));
  const header = parseJson(json, measure, 'the safetensors header', budget);
  if (!isObject(header)) return fail('the safetensors header is not a JSON object');

  const metadata = new Map<string, string>();
  const spans: Span[] = [];
  for (const [name, info] of Object.entries(header)) {
    if (name === '__metadata__') {
      if (!isObject(info)) return fail('safetensors `__metadata__` is not an object');
      for (const [key, value] of Object.entries(info)) {
        if (typeof value !== 'string') return fail(`safetensors metadata ${quote(key)} is not a string`);
        metadata.set(key, value);
      }
    } else {
      spans.push({ name, ...parseTensor(name, info) });
    }
  }

  let filled = 0;
  for (const span of spans.toSorted((a, b) => a.begin - b.begin || a.end - b.end)) {
    if (span.begin !== filled) {
      const what = span.begin < filled ? 'overlaps another tensor' : 'leaves a hole before it';
      fail(`safetensors tensor ${quote(span.name)} at data bytes ${span.begin} to ${span.end} ${what}`);
    }
    checkRange(source, dataStart + span.begin, span.end - span.begin, `tensor ${quote(span.name)}`);
    filled = span.end;
  }
  if (dataStart + filled !== source.size) {
    fail(`safetensors data should end at byte ${dataStart + filled}, but the file has ${source.size} bytes`);
  }
  const checksums = readChecksums(json, metadata, spans.length);
  if (verify && checksums !== null) checkCrc(`${source.name}: the safetensors header`, ...checksums.header);
  const tensors = new Map<string, HostTensor>();
  for (const [i, { name, dtype, shape, begin, end }] of spans.entries()) {
    let storage = sliceSource(source, dataStart + begin, end - begin, 'a tensor');
    if (verify && checksums !== null && end > begin)
      storage = checkedRange(storage, checksums.tensors(i), `${source.name}: tensor ${quote(name)}`);
    tensors.set(name, new HostTensor({ name, dtype, shape, storage, file: source.name }));
  }
  return { tensors, metadata };
}

type Fail = (what: string) => never;

function parseTensor(name: string, info: unknown) {
  const what = `safetensors tensor ${quote(name)}`;
  if (!isObject(info)) return fail(`${what} has no description`);
  const { dtype: code, shape, data_offsets: offsets } = info;
  const dtype = typeof code === 'string' ? dtypeOfCode.get(code) : undefined;
  if (dtype === undefined) return fail(`${what} has dtype ${render(code, 20)}, which is not supported`);
  if (!isSizes(shape) || shape.length > 64) return fail(`${what} has no valid shape`);
  if (!isSizes(offsets) || offsets.length !== 2) return fail(`${what} has no valid data_offsets`);
  const [begin, end] = offsets as [number, number];
  const expected = shape.reduce((product, dim) => product * dim, itemSize[dtype]);
  if (end - begin !== expected) {
    return fail(
      `${what} of shape [${shape.join(', ')}] and dtype ${dtype} takes ${expected} bytes, but its offsets span ${end - begin}`,
    );
  }
  return { dtype, shape, begin, end };
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && (item as number) >= 0);
}

export interface SafetensorsOptions {
  /** Stored as `__metadata__`. `{ format: 'pt' }` is what Hugging Face's loaders look for. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/**
 * Lays out a safetensors file. Data is ordered by element size, widest first, so that every tensor is
 * aligned, as the reference writer does; the header keeps the order of `tensors`. Strided and shared tensors
 * are written out in full. Tensors on the GPU are read as the file is made.
 */
export function layoutSafetensors(named: NamedTensors, options: SafetensorsOptions = {}): FileLayout {
  const tensors = readAll(named);
  const byWidth = [...tensors].sort(([, a], [, b]) => itemSize[b.dtype] - itemSize[a.dtype]);
  const begins = new Map<string, number>();
  let dataBytes = 0;
  for (const [name, tensor] of byWidth) {
    begins.set(name, dataBytes);
    dataBytes += tensor.byteLength;
  }

  // First of all, so that the checksums have a place that does not depend on anything else.
  const checksums = new ChecksumWriter(tensors.size);
  const metadata = { [checksumKey]: checksums.placeholder, ...options.metadata };
  const fields = [`"__metadata__":${JSON.stringify(metadata)}`];
  for (const [name, tensor] of tensors) {
    const code = codeOfDtype.get(tensor.dtype);
    if (name === '__metadata__')
      throw new CheckpointError("safetensors: a tensor may not be called '__metadata__'");
    if (code === undefined)
      throw new CheckpointError(
        `safetensors: tensor ${quoteKey(name)}: the format has no dtype ${tensor.dtype}`,
      );
    if (hasLoneSurrogates(name))
      throw new CheckpointError(
        `safetensors: the name ${JSON.stringify(name)} is no Unicode text (it has half of a surrogate pair)`,
      );
    const begin = begins.get(name)!;
    const offsets = `[${begin},${begin + tensor.byteLength}]`;
    fields.push(
      `${JSON.stringify(name)}:{"dtype":"${code}","shape":[${tensor.shape.join(',')}],"data_offsets":${offsets}}`,
    );
  }
  const json = new TextEncoder().encode(`{${fields.join(',')}}`);
  const headerBytes = Math.ceil(json.length / 8) * 8;
  if (headerBytes > maxHeaderBytes)
    throw new CheckpointError(`safetensors: the header would take ${headerBytes} bytes`);
  const head = new Uint8Array(8 + headerBytes).fill(0x20);
  new DataView(head.buffer).setBigUint64(0, BigInt(headerBytes), true);
  head.set(json, 8);

  const places = new Map([...tensors.keys()].map((name, i) => [name, i]));
  return {
    size: head.length + dataBytes,
    async *chunks() {
      yield head;
      for (const [name, tensor] of byWidth) {
        let crc = 0;
        for await (const chunk of tensor.chunks()) {
          crc = crc32(chunk, crc);
          yield chunk;
        }
        checksums.set(places.get(name)!, crc);
      }
    },
    patches: () => checksums.patches(head.subarray(8)),
  };
}

/**
 * A whole safetensors file in memory, e.g. for a download in the browser: `await
 * encodeSafetensors(model.stateDict())`.
 */
export async function encodeSafetensors(
  tensors: NamedTensors,
  options: SafetensorsOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  return collect(layoutSafetensors(tensors, options), 'safetensors');
}
