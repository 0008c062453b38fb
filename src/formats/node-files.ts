/**
 * Files on disk, for Node. The file system is fetched at run time rather than imported, so that bundlers for
 * the browser can follow the import of this module without meeting `node:` names.
 */

import { noMore } from '../tensor/options.js';
import type { FileHandle } from 'node:fs/promises';
import { printable } from '../tensor/printable.js';
import type { ByteSource } from './byte-source.js';
import { checkRange } from './byte-source.js';
import { allocate, CheckpointError } from './errors.js';
import { checkPath, type NamedTensors } from './device-tensor.js';
import type { FileLayout } from './layout.js';
import { removeAtExit } from './leftovers.js';
import { layoutNpz } from './numpy-files.js';
import { layoutSafetensors } from './safetensors-writer.js';
import type { SafetensorsOptions } from './safetensors-writer.js';
import { layoutTorch } from './torch-writer.js';
import type { TorchOptions, TorchValue } from './torch-writer.js';

function node() {
  if (typeof process !== 'object' || typeof process.getBuiltinModule !== 'function') {
    throw new CheckpointError(
      'reading and writing paths needs Node 20.16 or later; elsewhere pass an ArrayBuffer or a Blob',
    );
  }
  return { fs: process.getBuiltinModule('node:fs/promises'), path: process.getBuiltinModule('node:path') };
}

// One read call is limited to 2^31 - 1 bytes.
const maxRead = 2 ** 30;

/**
 * A file to read in ranges. It is opened for each read and not kept open, so nothing needs closing; if it was
 * replaced or changed since the first look, reads throw rather than mix two files.
 */
export async function fileSource(path: string): Promise<ByteSource> {
  const { fs } = node();
  const label = printable(path);
  const first = await fs.stat(path).catch((cause: NodeJS.ErrnoException) => {
    const why = cause.code === 'ENOENT' ? 'no such file' : cause.message;
    throw new CheckpointError(`${label}: ${why}`, { cause });
  });
  if (!first.isFile())
    throw new CheckpointError(`${label}: ${first.isDirectory() ? 'is a folder' : 'is not a plain file'}`);
  const size = first.size;
  return {
    name: label,
    path,
    size,
    async read(offset, length, into) {
      checkRange({ name: label, size }, offset, length, 'a read');
      const bytes = into && into.length >= length ? into.subarray(0, length) : allocate(length, label);
      const file = await fs.open(path, 'r').catch((cause: Error) => {
        throw new CheckpointError(`${label}: ${cause.message}`, { cause });
      });
      try {
        const now = await file.stat();
        if (
          now.ino !== first.ino ||
          now.dev !== first.dev ||
          now.size !== size ||
          now.mtimeMs !== first.mtimeMs
        ) {
          throw new CheckpointError(`${label}: was changed after it was opened; load it again`);
        }
        for (let filled = 0; filled < length;) {
          const wanted = Math.min(maxRead, length - filled);
          const { bytesRead } = await file.read(bytes, filled, wanted, offset + filled);
          if (bytesRead === 0)
            throw new CheckpointError(`${label}: ends at byte ${offset + filled}, earlier than it said`);
          filled += bytesRead;
        }
      } finally {
        await file.close();
      }
      return bytes;
    },
  };
}

type Chunks = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

/**
 * Writes a file so that a reader, or a crash at any moment, finds either the old content or the new, whole:
 * the bytes go to a temporary file in the same folder, are flushed to the disk, and then take the name. Links
 * are followed. SIGKILL or a loss of power midway leaves `.<name>.<random>.tmp` behind, which may be deleted.
 * What is no plain file (a pipe, `/dev/null`) is written to as it is.
 *
 * @param patches called when all chunks are written (see {@link FileLayout})
 */
export async function writeFileAtomically(
  path: string,
  chunks: Chunks,
  patches?: FileLayout['patches'],
): Promise<void> {
  checkPath('writeFileAtomically(path, chunks)', path);
  const place = await placeOf(path);
  if (place.kind === 'stream') {
    await writeInPlace(path, chunks);
    return;
  }
  const { temporary, release } = await writeBeside(place, path, chunks, patches);
  try {
    await node().fs.rename(temporary, place.target);
  } catch (error) {
    await node().fs.rm(temporary, { force: true });
    throw writeError(path, error);
  } finally {
    release();
  }
  await syncFolder(place.folder);
}

/**
 * Writes files that belong together, the last of which refers to the others: all are written beside their
 * names first, and then take them, the last one last. No reader finds the last one beside others that are not
 * its own: an old one is out of the way before the first file takes its name. An error puts all old ones
 * back.
 *
 * @throws CheckpointError also where one of the paths is no plain file
 */
export async function writeFilesAtomically(
  files: readonly { readonly path: string; readonly chunks: Chunks }[],
): Promise<void> {
  const { fs } = node();
  const written: (Beside & { readonly path: string })[] = [];
  const aside: { readonly target: string; readonly old: string }[] = [];
  const moved: string[] = [];
  try {
    for (const { path, chunks } of files) {
      const place = await placeOf(path);
      if (place.kind !== 'file')
        throw new CheckpointError(`${path}: is no plain file, and what is written there is several files`);
      written.push({ path, ...(await writeBeside(place, path, chunks)) });
    }
    try {
      for (const { place, temporary } of [...written].reverse()) {
        if (!place.isThere) continue;
        const old = `${temporary.slice(0, -'.tmp'.length)}.old.tmp`;
        await fs.rename(place.target, old);
        aside.push({ target: place.target, old });
      }
      for (const { place, temporary } of written) {
        await fs.rename(temporary, place.target);
        moved.push(place.target);
      }
    } catch (error) {
      for (const target of moved.reverse()) await fs.rm(target, { force: true });
      for (const { target, old } of aside.reverse()) await fs.rename(old, target);
      throw writeError((written[moved.length] ?? (written[0] as (typeof written)[number])).path, error);
    }
    for (const { old } of aside) await fs.rm(old, { force: true });
  } finally {
    for (const { temporary, release } of written) {
      await fs.rm(temporary, { force: true });
      release();
    }
  }
  for (const { place } of written) await syncFolder(place.folder);
}

interface Place {
  /** A stream (a pipe, a device) takes bytes as they come. */
  readonly kind: 'file' | 'folder' | 'stream';
  /** Where links lead. */
  readonly target: string;
  readonly folder: string;
  readonly isThere: boolean;
  readonly mode: number;
}

async function placeOf(path: string): Promise<Place> {
  const { fs, path: paths } = node();
  const target = await fs.realpath(path).catch(() => path);
  const there = await fs.stat(target).catch(() => null);
  return {
    kind: there === null || there.isFile() ? 'file' : there.isDirectory() ? 'folder' : 'stream',
    target,
    folder: paths.dirname(target),
    isThere: there !== null,
    mode: there === null ? 0o666 : there.mode & 0o777,
  };
}

/** A file that is whole, and on the disk, under another name. */
interface Beside {
  readonly place: Place;
  readonly temporary: string;
  /** It need not be removed any more. */
  readonly release: () => void;
}

async function writeBeside(
  place: Place,
  path: string,
  chunks: Chunks,
  patches?: FileLayout['patches'],
): Promise<Beside> {
  const { fs, path: paths } = node();
  const temporary = paths.join(place.folder, `.${paths.basename(place.target)}.${crypto.randomUUID()}.tmp`);
  const release = removeAtExit(temporary);
  try {
    const file = await fs.open(temporary, 'wx', place.mode);
    try {
      for await (const chunk of chunks) await writeAll(file, chunk);
      for (const { offset, bytes } of patches?.() ?? []) await writeAll(file, bytes, offset);
      await file.sync();
    } finally {
      await file.close();
    }
  } catch (error) {
    await fs.rm(temporary, { force: true });
    release();
    throw writeError(path, error);
  }
  return { place, temporary, release };
}

function writeLayout(path: string, layout: FileLayout): Promise<void> {
  return writeFileAtomically(path, layout.chunks(), () => layout.patches?.() ?? []);
}

async function writeInPlace(path: string, chunks: Chunks): Promise<void> {
  try {
    const file = await node().fs.open(path, 'w');
    try {
      // At no position, which pipes do not have.
      for await (const chunk of chunks) await file.writeFile(chunk);
    } finally {
      await file.close();
    }
  } catch (error) {
    throw writeError(path, error);
  }
}

function writeError(path: string, error: unknown): CheckpointError {
  if (error instanceof CheckpointError) return error;
  return new CheckpointError(`${path}: cannot be written: ${messageOf(error)}`, { cause: error });
}

/**
 * The index of a sharded model, if `path` is a folder that holds just one; undefined for files and missing
 * paths.
 */
export async function indexInFolder(path: string): Promise<string | undefined> {
  const { fs, path: paths } = node();
  const isFolder = await fs.stat(path).then(
    (stats) => stats.isDirectory(),
    () => false,
  );
  if (!isFolder) return undefined;
  const found = (await fs.readdir(path)).filter((name) => name.endsWith('.safetensors.index.json'));
  if (found.length === 1) return paths.join(path, found[0]!);
  const problem = found.length === 0 ? 'without' : `with ${found.length} of`;
  throw new CheckpointError(
    `${path}: is a folder ${problem} *.safetensors.index.json; give the path of a weight file`,
  );
}

/** Writes on, or from `offset` of the file. */
async function writeAll(file: FileHandle, chunk: Uint8Array, offset: number | null = null): Promise<void> {
  for (let written = 0; written < chunk.length;) {
    const length = Math.min(maxRead, chunk.length - written);
    const at = offset === null ? null : offset + written;
    const { bytesWritten } = await file.write(chunk, written, length, at);
    written += bytesWritten;
  }
}

/**
 * Makes the rename itself durable. Windows cannot open folders, and some network file systems refuse; the
 * file is whole either way.
 */
async function syncFolder(folder: string): Promise<void> {
  try {
    const handle = await node().fs.open(folder, 'r');
    await handle.sync().finally(() => handle.close());
  } catch {
    return;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/**
 * Writes tensors (on the host or the GPU, such as `model.stateDict()`) as a safetensors file, atomically (see
 * {@link writeFileAtomically}), holding one tensor in memory at a time.
 */
export async function saveSafetensors(
  path: string,
  tensors: NamedTensors,
  options: SafetensorsOptions = {},
): Promise<void> {
  noMore('saveSafetensors', arguments, 3);
  checkPath('saveSafetensors(path, tensors)', path);
  await writeLayout(path, layoutSafetensors(tensors, options));
}

/**
 * `torch.save(value, path)`: tensors (on the host or the GPU), a state dict, or a whole training checkpoint
 * `{ model: model.stateDict(), optimizer: optimizer.stateDict(), epoch }`, as a zip `.pth` file that
 * `torch.load` reads. Atomic (see {@link writeFileAtomically}); tensors are fetched piece by piece and must
 * not change until the promise resolves.
 *
 * @throws CheckpointError for a value that cannot be written (naming its place), or when the file cannot be
 */
export async function saveTorch(path: string, value: TorchValue, options: TorchOptions = {}): Promise<void> {
  noMore('saveTorch', arguments, 3);
  checkPath('saveTorch(path, value)', path);
  await writeLayout(path, layoutTorch(value, options));
}

/**
 * Writes tensors (on the host or the GPU) as `numpy.savez` does, atomically (see {@link
 * writeFileAtomically}), holding a piece in memory at a time.
 */
export async function saveNpz(path: string, tensors: NamedTensors): Promise<void> {
  noMore('saveNpz', arguments, 2);
  checkPath('saveNpz(path, tensors)', path);
  await writeLayout(path, layoutNpz(tensors));
}
