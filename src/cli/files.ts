import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { CliError } from './errors.js';

/**
 * Checks before a long run that a file can be written at its end.
 *
 * @throws CliError when the path is a folder, or its folder is missing or may not be written to
 */
export async function checkWritable(path: string): Promise<void> {
  const existing = await stat(path).catch(() => null);
  if (existing?.isDirectory()) throw new CliError(`${path}: is a folder; give the name of a file to write`);
  await checkFolder(dirname(path), path);
}

/**
 * @param path what messages name
 * @throws CliError when the folder is missing or may not be written to
 */
export async function checkFolder(folder: string, path = folder): Promise<void> {
  const entry = await stat(folder).catch(() => null);
  if (entry?.isDirectory() === false) throw new CliError(`${path}: cannot be written: ${folder} is a file`);
  await access(folder, constants.W_OK).catch((cause: NodeJS.ErrnoException) => {
    const why = cause.code === 'ENOENT' ? 'there is no such folder' : 'the folder may not be written to';
    throw new CliError(`${path}: cannot be written: ${why}`, { cause });
  });
}
