import { open, stat } from 'node:fs/promises';
import { dirname, extname } from 'node:path';
import { checkWritable as checkFolder } from '../train/node/writable.js';
import { CliError } from './errors.js';

/**
 * Checks before a long run that a file can be written at its end.
 *
 * @throws CliError when the path is a folder, or its folder is missing or may not be written to
 */
async function checkWritable(path: string): Promise<void> {
  const existing = await stat(path).catch(() => null);
  if (existing?.isDirectory()) throw new CliError(`${path}: is a folder; give the name of a file to write`);
  await checkFolder(dirname(path), path);
}

/**
 * Checks before a long run that a file can be written at its end without the loss of another.
 *
 * @throws CliError as {@link checkWritable} does, or when the file is there already and `force` is not set
 */
export async function checkNewFile(path: string, force: boolean): Promise<void> {
  await checkWritable(path);
  if (!force && (await stat(path).catch(() => null))?.isFile() === true)
    throw new CliError(`${path}: is there already; --force replaces it`);
}

/**
 * Checks before a long run that JSON can be written to `path` at its end without the loss of anything else:
 * what is there already may be JSON as well, an earlier result, but not a weight file whose name stands in
 * the wrong place.
 *
 * @throws CliError as {@link checkWritable} does, or when the file holds something else
 */
export async function checkReplaceable(path: string): Promise<void> {
  await checkWritable(path);
  const entry = await stat(path).catch(() => null);
  // A device such as /dev/null has nothing to lose.
  if (entry === null || !entry.isFile() || entry.size === 0) return;
  const file = await open(path, 'r').catch((cause: Error) => {
    throw new CliError(`${path}: cannot be written: ${cause.message}`, { cause });
  });
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(64), 0, 64, 0);
    if (/^\s*[[{]/.test(buffer.toString('latin1', 0, bytesRead))) return;
  } finally {
    await file.close();
  }
  throw new CliError(`${path}: is there already and is no JSON; give another name, or delete it first`);
}

/** Endings of weight files and archives, which nobody gives a folder. */
const fileEndings = new Set(['.safetensors', '.pth', '.pt', '.th', '.ckpt', '.npz', '.npy', '.onnx', '.zip']);

/**
 * Whether a path that need not be there yet is meant as a folder: a dot in its name says nothing, as in
 * `run-0.1`.
 */
export async function namesFolder(path: string): Promise<boolean> {
  if (/[/\\]$/.test(path)) return true;
  if ((await stat(path).catch(() => null))?.isDirectory() === true) return true;
  return !fileEndings.has(extname(path).toLowerCase());
}
