import { access, constants, stat } from 'node:fs/promises';
import { RunFolderError } from './errors.js';

/**
 * @param path what messages name
 * @throws RunFolderError when the folder is missing or may not be written to
 */
export async function checkWritable(folder: string, path = folder): Promise<void> {
  const entry = await stat(folder).catch(() => null);
  if (entry?.isDirectory() === false)
    throw new RunFolderError(`${path}: cannot be written: ${folder} is a file`);
  await access(folder, constants.W_OK).catch((cause: NodeJS.ErrnoException) => {
    const why = cause.code === 'ENOENT' ? 'there is no such folder' : 'the folder may not be written to';
    throw new RunFolderError(`${path}: cannot be written: ${why}`, { cause });
  });
}
