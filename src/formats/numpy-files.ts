/**
 * numpy's `.npy` (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html) and `.npz`, a ZIP
 * archive of them: read in ranges and written.
 */

import { noMore } from '../tensor/options.js';
import { latin1, type ByteRange, type ByteSource } from './byte-source.js';
import { itemSize } from './dtypes.js';
import type { HostDtype } from './dtypes.js';
import { readAll, type NamedTensors } from './device-tensor.js';
import { CheckpointError, quote } from './errors.js';
import { HostTensor } from './host-tensor.js';
import { collect, type FileLayout } from './layout.js';
import { defaultReading, type ReadOptions } from './limits.js';
import { numpyCodes, numpyDtypes } from './numpy-values.js';
import { npyMagic } from './sniff.js';
import { contiguousStrides } from './strided.js';
import { layoutZip } from './zip-writer.js';
import { readZipDirectory, zipEntryRange, type ZipRange } from './zip.js';

// numpy itself refuses headers of more than 10,000 characters, and needs that many only for record dtypes.
const maxHeaderBytes = 64 * 1024;
const maxDimensions = 64;
/** Bytes of host memory that an array's handle takes. */
const handleCost = 1500;

type Fail = (what: string) => never;

/** The array of an `.npy` file; its bytes stay in the source until asked for. `what` names it in errors. */
export async function readNpy(source: ByteRange | ZipRange, what: string, name: string): Promise<HostTensor> {
  const fail: Fail = (problem) => {
    throw new CheckpointError(`${what}: ${problem}`);
  };
  if (source.size < 10) fail(`truncated: an .npy file of ${source.size} bytes`);
  // Of an archive's entry only the beginning is read here, unchecked: its checksum is taken with the data.
  const first = (bytes: number) => ('head' in source ? source.head(bytes) : source.read(0, bytes));
  const head = await first(Math.min(12, source.size));
  if (latin1(head.subarray(0, 6)) !== npyMagic) fail('not an .npy file (its magic string is missing)');
  const view = new DataView(head.buffer, head.byteOffset, head.length);
  const major = view.getUint8(6);
  if (major < 1 || major > 3) fail(`.npy format version ${major}; only 1 to 3 are known`);
  if (major > 1 && head.length < 12) fail('truncated in its header');
  const start = major === 1 ? 10 : 12;
  const length = major === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (length > maxHeaderBytes) fail(`.npy header of ${length} bytes; at most ${maxHeaderBytes} are read`);
  if (start + length > source.size) fail('truncated in its header');
  const bytes = (await first(start + length)).subarray(start);
  const { dtype, bigEndian, fortran, shape } = parseHeader(
    major === 3 ? new TextDecoder().decode(bytes) : latin1(bytes),
    fail,
  );
  const data = source.size - start - length;
  const expected = shape.reduce((product, dim) => product * dim, itemSize[dtype]);
  if (data !== expected) {
    fail(
      `${data < expected ? 'truncated: ' : ''}an array of shape [${shape.join(', ')}] and dtype ${dtype} takes ${expected} bytes, ` +
        `the file holds ${data}`,
    );
  }
  const strides = fortran ? contiguousStrides([...shape].reverse()).reverse() : contiguousStrides(shape);
  const storage: ByteRange = {
    size: data,
    read: (offset, count, into) => source.read(start + length + offset, count, into),
  };
  return new HostTensor({ name, dtype, shape, strides, storage, bigEndian, file: what });
}

/** The header is a Python dict literal of three entries, which `numpy.save` always writes in this form. */
function parseHeader(text: string, fail: Fail) {
  const descr = /['"]descr['"]\s*:\s*(?:'([^']*)'|"([^"]*)"|(\[))/.exec(text);
  const order = /['"]fortran_order['"]\s*:\s*(True|False)/.exec(text);
  const sizes = /['"]shape['"]\s*:\s*\(([\d\s,L]*)\)/.exec(text);
  if (descr === null || order === null || sizes === null || !/^\s*\{[^]*\}\s*$/.test(text))
    return fail(`bad .npy header ${quote(text, 80)}`);
  if (descr[3] !== undefined) return fail('numpy record dtypes are not supported');
  const code = descr[1] ?? descr[2] ?? '';
  const dtype = numpyDtypes.get(code.replace(/^[<>|=]/, ''));
  if (dtype === undefined) {
    return fail(
      code.endsWith('O')
        ? 'arrays of Python objects are not read (they are pickles)'
        : `numpy dtype ${quote(code, 20)} is not supported`,
    );
  }
  const shape = sizes[1]!
    .split(',')
    .map((size) => size.trim().replace(/L$/, ''))
    .filter((size) => size !== '')
    .map(Number);
  if (shape.length > maxDimensions || !shape.every((size) => Number.isSafeInteger(size) && size >= 0))
    return fail(`bad .npy shape ${quote(sizes[1]!, 60)}`);
  return { dtype, bigEndian: code.startsWith('>'), fortran: order[1] === 'True', shape };
}

/** The arrays of an `.npz` file, stored or deflated, under their names without `.npy`. */
export async function readNpz(
  source: ByteSource,
  { budget, verify }: ReadOptions = defaultReading(source),
): Promise<Map<string, HostTensor>> {
  const tensors = new Map<string, HostTensor>();
  for (const entry of (await readZipDirectory(source, budget)).values()) {
    budget.hold(handleCost);
    const what = `${source.name}: zip entry ${quote(entry.name)}`;
    if (!entry.name.endsWith('.npy')) throw new CheckpointError(`${what} is no .npy file`);
    const key = entry.name.slice(0, -'.npy'.length);
    tensors.set(key, await readNpy(zipEntryRange(source, entry, verify), what, key));
  }
  return tensors;
}

/** Magic string, version and header, padded so that the data starts at a multiple of 64, as numpy does. */
function npyHeader(dtype: HostDtype, shape: readonly number[], name: string): Uint8Array {
  const code = numpyCodes.get(dtype);
  if (code === undefined) {
    throw new CheckpointError(
      `npz: tensor '${name}': numpy has no ${dtype}; convert it to float32 or float16`,
    );
  }
  const order = itemSize[dtype] === 1 ? '|' : '<';
  const sizes = shape.length === 1 ? `${shape[0]},` : shape.join(', ');
  const text = `{'descr': '${order}${code}', 'fortran_order': False, 'shape': (${sizes}), }`;
  // Sixty-four sizes of sixteen digits fit the two bytes that version 1 has for the length.
  const length = Math.ceil((10 + text.length + 1) / 64) * 64;
  const bytes = new TextEncoder().encode(`??????\x01\0??${text.padEnd(length - 11)}\n`);
  bytes.set([0x93, ...new TextEncoder().encode('NUMPY')]);
  new DataView(bytes.buffer).setUint16(8, length - 10, true);
  return bytes;
}

/** Lays out what `numpy.savez` writes: a ZIP archive with one stored `.npy` for each tensor. */
export function layoutNpz(tensors: NamedTensors): FileLayout {
  noMore('layoutNpz', arguments, 1);
  return layoutZip(
    [...readAll(tensors)].map(([key, tensor]) => {
      const header = npyHeader(tensor.dtype, tensor.shape, key);
      return {
        name: `${key}.npy`,
        size: header.length + tensor.byteLength,
        async *chunks() {
          yield header;
          yield* tensor.chunks();
        },
      };
    }),
  );
}

/** The bytes of an `.npz` file in memory, e.g. for a download in the browser. */
export async function encodeNpz(tensors: NamedTensors): Promise<Uint8Array<ArrayBuffer>> {
  noMore('encodeNpz', arguments, 1);
  return collect(layoutNpz(tensors), 'npz');
}
