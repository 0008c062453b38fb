/**
 * The two containers of `torch.save`: zip archives (PyTorch 1.6 and later) and the stream of pickles before
 * them.
 */

import type { ByteRange, ByteSource } from './byte-source.js';
import { checkRange, readRange, sliceSource } from './byte-source.js';
import { CheckpointError, inFile, quote } from './errors.js';
import { defaultReading, type Budget, type ReadOptions } from './limits.js';
import { unpickle } from './pickle.js';
import { PickleTruncatedError } from './pickle-types.js';
import type { PickleHost, PickleValue } from './pickle-types.js';
import { render } from './render.js';
import { explainGlobal, findGlobalOrForeign, persistentLoad } from './torch-globals.js';
import { StorageRef } from './torch-refs.js';
import { toPlainValue } from './torch-values.js';
import type { PlainValue } from './torch-values.js';
import { readZipDirectory, zipEntryRange } from './zip.js';
import type { ZipEntry } from './zip.js';

const torchHost: PickleHost = { find: findGlobalOrForeign, explain: explainGlobal, persistentLoad };

/** torch.serialization.MAGIC_NUMBER, the first pickle of a legacy file. */
const legacyMagic = 0x1950a86a20f9469cfc6cn;
const legacyProtocol = 1001;

/**
 * The object that `torch.save` wrote to a zip archive. Storages are read when a tensor's bytes are asked for.
 */
export async function readTorchZip(
  source: ByteSource,
  { budget, verify }: ReadOptions = defaultReading(source),
): Promise<PlainValue> {
  const entries = await readZipDirectory(source, budget);
  const folder = archiveFolder(source, entries);
  const description = entries.get(`${folder}data.pkl`)!;
  if (description.compressed)
    budget.holdWhole(description.size, `zip entry ${quote(description.name)}, which is compressed,`);
  const pickle = zipEntryRange(source, description, verify);
  const bigEndian = await isBigEndian(source, entries.get(`${folder}byteorder`));
  const ranges = new Map<string, ByteRange>();

  const resolve = (storage: StorageRef, tensor: string): ByteRange => {
    const name = `${folder}data/${storage.key}`;
    const entry = entries.get(name);
    if (!entry)
      throw new CheckpointError(
        `${source.name}: tensor ${quote(tensor)} is in zip entry ${quote(name)}, which is missing`,
      );
    if (entry.size < storage.byteLength) {
      throw new CheckpointError(
        `${source.name}: zip entry ${quote(name)} of tensor ${quote(tensor)} has ${entry.size} bytes, not ${storage.byteLength}`,
      );
    }
    let range = ranges.get(name);
    if (!range) ranges.set(name, (range = zipEntryRange(source, entry, verify)));
    return range;
  };

  const bytes = await pickle.read(0, pickle.size);
  try {
    const { value } = unpickle(bytes, torchHost, 0, budget);
    return toPlainValue(value, resolve, bigEndian, budget, source.name);
  } catch (error) {
    throw inFile(source.name, error, description.name);
  }
}

/** The folder in the archive that holds `data.pkl`, with its slash. */
function archiveFolder(source: ByteSource, entries: ReadonlyMap<string, ZipEntry>): string {
  const names = [...entries.keys()];
  const pickles = names.filter((name) => /^([^/]*\/)?data\.pkl$/.test(name));
  const folder = pickles[0]?.slice(0, -'data.pkl'.length);
  if (folder === undefined || pickles.length > 1) {
    const listed = names
      .slice(0, 4)
      .map((name) => quote(name, 60))
      .join(', ');
    throw new CheckpointError(
      `${source.name}: a zip archive, but not one by torch.save: it holds ${listed || 'nothing'}` +
        `${names.length > 4 ? ` and ${names.length - 4} more` : ''} and ${pickles.length === 0 ? 'no' : 'several'} data.pkl`,
    );
  }
  if (entries.has(`${folder}constants.pkl`) || names.some((name) => name.startsWith(`${folder}code/`))) {
    throw new CheckpointError(
      `${source.name}: a TorchScript archive (torch.jit.save), which holds code. Save its weights in Python: ` +
        "torch.save(torch.jit.load(path).state_dict(), 'weights.pth')",
    );
  }
  return folder;
}

async function isBigEndian(source: ByteSource, entry: ZipEntry | undefined): Promise<boolean> {
  if (!entry) return false;
  const order =
    entry.size > 16 ? '' : new TextDecoder().decode(await zipEntryRange(source, entry).read(0, entry.size));
  if (order !== 'little' && order !== 'big') {
    throw new CheckpointError(`${source.name}: zip entry ${quote(entry.name)} holds an unknown byte order`);
  }
  return order === 'big';
}

/** Reads pickles that follow each other, of lengths known only once they are read. */
class PickleStream {
  private window = new Uint8Array(0) as Uint8Array;
  private windowStart = 0;

  constructor(
    private readonly source: ByteSource,
    private budget: Budget,
    public position = 0,
  ) {}

  async next(what: string, host: PickleHost): Promise<PickleValue> {
    for (let wanted = 1 << 20; ;) {
      const length = Math.min(wanted, this.source.size - this.position);
      if (
        this.position < this.windowStart ||
        this.position + length > this.windowStart + this.window.length
      ) {
        this.window = await this.source.read(this.position, length);
        this.windowStart = this.position;
      }
      try {
        const attempt = this.budget.fork();
        const { value, end } = unpickle(this.window, host, this.position - this.windowStart, attempt);
        this.budget = attempt;
        this.position = this.windowStart + end;
        return value;
      } catch (error) {
        if (!(error instanceof PickleTruncatedError)) throw inFile(this.source.name, error, what);
        // `needed` counts from the window's start; growing at least twofold keeps the rereading linear.
        const needed = this.windowStart + error.needed - this.position;
        if (this.position + needed > this.source.size) throw inFile(this.source.name, error, what);
        wanted = Math.max(needed, 2 * (this.windowStart + this.window.length - this.position));
      }
    }
  }
}

/** The object in a legacy file (`_use_new_zipfile_serialization=False`, or PyTorch before 1.6). */
export async function readTorchLegacy(
  source: ByteSource,
  { budget }: ReadOptions = defaultReading(source),
): Promise<PlainValue> {
  const stream = new PickleStream(source, budget);
  const plainHost: PickleHost = { find: () => undefined };
  if ((await stream.next('the magic number', plainHost)) !== legacyMagic) {
    throw new CheckpointError(
      `${source.name}: a Python pickle, but not one that torch.save wrote (its magic number is missing)`,
    );
  }
  const protocol = await stream.next('the protocol version', plainHost);
  if (protocol !== legacyProtocol)
    throw new CheckpointError(`${source.name}: unknown legacy protocol version ${render(protocol, 40)}`);
  // System information. Storages are little-endian whatever it says: the writer swaps them
  // (torch/csrc/generic/serialization.cpp).
  await stream.next('the system information', plainHost);

  const storages = new Map<string, StorageRef>();
  const root = await stream.next('the object', {
    ...torchHost,
    persistentLoad(id) {
      const storage = persistentLoad(id);
      if (!(storage instanceof StorageRef)) return storage;
      const known = storages.get(storage.key);
      if (known !== undefined && known.byteLength !== storage.byteLength) {
        throw new CheckpointError(`storage ${quote(storage.key)} has two sizes`);
      }
      if (known === undefined) storages.set(storage.key, storage);
      return storage;
    },
  });
  const keys = await stream.next('the list of storages', plainHost);
  if (!Array.isArray(keys)) throw new CheckpointError(`${source.name}: the list of storages is missing`);

  const ranges = new Map<string, ByteRange>();
  let at = stream.position;
  for (const key of keys) {
    const storage = typeof key === 'string' ? storages.get(key) : undefined;
    if (!storage)
      throw new CheckpointError(
        `${source.name}: stores ${render(key, 60)}, which no tensor uses; the file is corrupt`,
      );
    if (ranges.has(storage.key))
      throw new CheckpointError(`${source.name}: stores ${quote(storage.key)} twice; the file is corrupt`);
    const what = `storage ${quote(storage.key)} (${ranges.size + 1} of ${keys.length})`;
    const header = await readRange(source, at, 8, `the size of ${what}`);
    const elements = new DataView(header.buffer, header.byteOffset, 8).getBigInt64(0, true);
    if (elements !== BigInt(storage.elements)) {
      throw new CheckpointError(
        `${source.name}: ${what} has ${elements} elements where ${storage.elements} are expected; the file is corrupt`,
      );
    }
    checkRange(source, at + 8, storage.byteLength, what);
    ranges.set(storage.key, sliceSource(source, at + 8, storage.byteLength, what));
    at += 8 + storage.byteLength;
  }
  try {
    return toPlainValue(
      root,
      (storage, tensor) => {
        const range = ranges.get(storage.key);
        if (!range)
          throw new CheckpointError(`storage ${quote(storage.key)} of tensor ${quote(tensor)} is missing`);
        return range;
      },
      false,
      budget,
      source.name,
    );
  } catch (error) {
    throw inFile(source.name, error, 'the object');
  }
}
