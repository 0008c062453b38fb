import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { ByteImageOptions } from '../byte-images.js';
import { CIFAR10 } from '../cifar10.js';
import type { HostArray } from '../host.js';

export interface LoadCIFAR10Options<Sample> extends ByteImageOptions<Sample> {
  /** In a folder: `data_batch_1.bin` ... `data_batch_5.bin` (true, the default) or `test_batch.bin`. Files given by name are read as they are. */
  readonly train?: boolean;
}

const folderOfArchive = 'cifar-10-batches-bin';

/** The files of one half of the data set in a folder, which may also be the folder the archive was extracted in. */
async function filesIn(folder: string, train: boolean): Promise<string[]> {
  const names = await readdir(folder);
  const wanted = train ? [1, 2, 3, 4, 5].map((i) => `data_batch_${i}.bin`) : ['test_batch.bin'];
  const missing = wanted.filter((name) => !names.includes(name));
  if (missing.length === 0) return wanted.map((name) => join(folder, name));
  if (names.includes(folderOfArchive)) return filesIn(join(folder, folderOfArchive), train);
  const others = names.filter((name) => name.endsWith('.bin'));
  throw new Error(
    `CIFAR10: ${folder}: missing ${missing.join(', ')}. Download cifar-10-binary.tar.gz and extract it there` +
      (others.length > 0 ? `, or give the files by name (this folder holds ${others.join(', ')})` : ''),
  );
}

/**
 * Reads CIFAR-10 from disk; see {@link CIFAR10}.
 * @param path one `.bin` file, several, or the folder that holds the official files
 */
export async function loadCIFAR10<Sample = HostArray<Float32Array>>(
  path: string | readonly string[],
  options: LoadCIFAR10Options<Sample> = {},
): Promise<CIFAR10<Sample>> {
  const { train = true, ...rest } = options;
  const paths: string[] = [];
  for (const each of typeof path === 'string' ? [path] : path) {
    const entry = await stat(each).catch((cause: NodeJS.ErrnoException) => {
      throw new Error(
        `CIFAR10: ${each}: ${cause.code === 'ENOENT' ? 'no such file or folder' : cause.message}`,
        {
          cause,
        },
      );
    });
    if (entry.isDirectory()) paths.push(...(await filesIn(each, train)));
    else paths.push(each);
  }
  const files = await Promise.all(paths.map(async (file) => ({ name: file, bytes: await readFile(file) })));
  return new CIFAR10(files, rest);
}
