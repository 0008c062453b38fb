/**
 * The safetensors format, read. Specification: https://github.com/huggingface/safetensors#format
 */

import type { ByteSource } from './byte-source.js';
import { checkRange, readRange, sliceSource } from './byte-source.js';
import { checkCrc, checkedRange } from './checked-range.js';
import { CheckpointError, inFile, quote } from './errors.js';
import type { HostDtype } from './dtypes.js';
import { itemSize } from './dtypes.js';
import { HostTensor } from './host-tensor.js';
import { isObject, measureJson, parseJson } from './json.js';
import { defaultReading, type Budget, type ReadOptions } from './limits.js';
import { render } from './render.js';
import { readChecksums } from './safetensors-checksums.js';

/** @internal */
export const maxHeaderBytes = 100_000_000;

/** @internal */
export const dtypeOfCode = new Map<string, HostDtype>([
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
