import { noMore } from '../../tensor/options.js';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { ByteImageOptions } from '../byte-images.js';
import type { DataFile } from '../cifar-records.js';
import { CIFAR10 } from '../cifar10.js';
import { CIFAR100, type CIFAR100Options } from '../cifar100.js';
import type { HostArray } from '../host.js';

export interface LoadCIFAR10Options<Sample> extends ByteImageOptions<Sample> {
  /**
   * In a folder: `data_batch_1.bin` ... `data_batch_5.bin` (true, the default) or `test_batch.bin`. Files
   * given by name are read as they are.
   */
  readonly train?: boolean;
}

export interface LoadCIFAR100Options<Sample> extends CIFAR100Options<Sample> {
  /** In a folder: `train.bin` (true, the default) or `test.bin`. Files given by name are read as they are. */
  readonly train?: boolean;
}

/** The official files of one half of a data set. */
interface Official {
  readonly what: 'CIFAR10' | 'CIFAR100';
  /** The folder that the archive makes. */
  readonly folder: string;
  readonly archive: string;
  readonly files: readonly string[];
}

/** The files in a folder, which may also be the folder the archive was extracted in. */
async function filesIn(folder: string, official: Official): Promise<string[]> {
  const { what, archive, files } = official;
  const names = await readdir(folder);
  const missing = files.filter((name) => !names.includes(name));
  if (missing.length === 0) return files.map((name) => join(folder, name));
  if (names.includes(official.folder)) return filesIn(join(folder, official.folder), official);
  const others = names.filter((name) => name.endsWith('.bin'));
  throw new Error(
    `${what}: ${folder}: missing ${missing.join(', ')}. Download ${archive} and extract it there` +
      (others.length > 0 ? `, or give the files by name (this folder holds ${others.join(', ')})` : ''),
  );
}

async function readOfficial(path: string | readonly string[], official: Official): Promise<DataFile[]> {
  const paths: string[] = [];
  for (const each of typeof path === 'string' ? [path] : path) {
    const entry = await stat(each).catch((cause: NodeJS.ErrnoException) => {
      const reason = cause.code === 'ENOENT' ? 'no such file or folder' : cause.message;
      throw new Error(`${official.what}: ${each}: ${reason}`, { cause });
    });
    if (entry.isDirectory()) paths.push(...(await filesIn(each, official)));
    else paths.push(each);
  }
  return Promise.all(paths.map(async (file) => ({ name: file, bytes: await readFile(file) })));
}

/**
 * Reads CIFAR-10 from disk; see {@link CIFAR10}.
 * @param path one `.bin` file, several, or the folder that holds the official files or `cifar-10-batches-bin`
 */
export async function loadCIFAR10<Sample = HostArray<Float32Array>>(
  path: string | readonly string[],
  options: LoadCIFAR10Options<Sample> = {},
): Promise<CIFAR10<Sample>> {
  noMore('loadCIFAR10', arguments, 2);
  const { train = true, ...rest } = options;
  const files = train ? [1, 2, 3, 4, 5].map((i) => `data_batch_${i}.bin`) : ['test_batch.bin'];
  const archive = 'cifar-10-binary.tar.gz';
  return new CIFAR10(
    await readOfficial(path, { what: 'CIFAR10', folder: 'cifar-10-batches-bin', archive, files }),
    rest,
  );
}

/**
 * Reads CIFAR-100 from disk; see {@link CIFAR100}.
 * @param path one `.bin` file, several, or the folder that holds the official files or `cifar-100-binary`
 */
export async function loadCIFAR100<Sample = HostArray<Float32Array>>(
  path: string | readonly string[],
  options: LoadCIFAR100Options<Sample> = {},
): Promise<CIFAR100<Sample>> {
  noMore('loadCIFAR100', arguments, 2);
  const { train = true, ...rest } = options;
  const files = [train ? 'train.bin' : 'test.bin'];
  const archive = 'cifar-100-binary.tar.gz';
  return new CIFAR100(
    await readOfficial(path, { what: 'CIFAR100', folder: 'cifar-100-binary', archive, files }),
    rest,
  );
}
