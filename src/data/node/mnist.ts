import { noMore } from '../../tensor/options.js';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ByteImageOptions } from '../byte-images.js';
import type { DataFile } from '../cifar-records.js';
import type { HostArray } from '../host.js';
import { FashionMNIST, MNIST, type MNISTFiles } from '../mnist.js';

export interface LoadMNISTOptions<Sample> extends ByteImageOptions<Sample> {
  /** The 60,000 training images (true, the default) or the 10,000 test images. */
  readonly train?: boolean;
}

async function gunzip(what: string, name: string, packed: Uint8Array): Promise<Uint8Array> {
  try {
    const stream = new Blob([packed as Uint8Array<ArrayBuffer>])
      .stream()
      .pipeThrough(new DecompressionStream('gzip'));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  } catch (cause) {
    throw new Error(`${what}: ${name}: cannot be unpacked; the download was probably cut off`, { cause });
  }
}

/** Reads a file, plain or with `.gz`, from the first of the folders that has it. */
async function find(what: string, folders: readonly string[], name: string): Promise<DataFile> {
  for (const folder of folders) {
    for (const candidate of [name, `${name}.gz`, name.replace('-idx', '.idx')]) {
      const path = join(folder, candidate);
      const bytes = await readFile(path).catch((cause: NodeJS.ErrnoException) => {
        if (cause.code === 'ENOENT' || cause.code === 'ENOTDIR') return null;
        throw new Error(`${what}: ${path}: ${cause.message}`, { cause });
      });
      if (bytes === null) continue;
      const isPacked = bytes[0] === 0x1f && bytes[1] === 0x8b;
      return { name: path, bytes: isPacked ? await gunzip(what, path, bytes) : bytes };
    }
  }
  throw new Error(
    `${what}: ${folders[0]}: missing ${name} (or ${name}.gz); put the four original files there`,
  );
}

async function files(what: string, root: string, train: boolean): Promise<MNISTFiles> {
  // torchvision keeps them in root/MNIST/raw.
  const folders = [root, join(root, what, 'raw'), join(root, 'raw')];
  const half = train ? 'train' : 't10k';
  // One after the other, so that of two missing files the same one is named every time.
  const images = await find(what, folders, `${half}-images-idx3-ubyte`);
  const labels = await find(what, folders, `${half}-labels-idx1-ubyte`);
  return { images, labels };
}

/**
 * Reads MNIST from disk; see {@link MNIST}.
 * @param root the folder of the four IDX files (plain or `.gz`), or torchvision's root, which has them in
 * `MNIST/raw`
 */
export async function loadMNIST<Sample = HostArray<Float32Array>>(
  root: string,
  options: LoadMNISTOptions<Sample> = {},
): Promise<MNIST<Sample>> {
  noMore('loadMNIST', arguments, 2);
  const { train = true, ...rest } = options;
  return new MNIST(await files('MNIST', root, train), rest);
}

/**
 * Reads FashionMNIST from disk; see {@link FashionMNIST}.
 * @param root the folder of the four IDX files (plain or `.gz`), or torchvision's root, which has them in
 * `FashionMNIST/raw`
 */
export async function loadFashionMNIST<Sample = HostArray<Float32Array>>(
  root: string,
  options: LoadMNISTOptions<Sample> = {},
): Promise<FashionMNIST<Sample>> {
  noMore('loadFashionMNIST', arguments, 2);
  const { train = true, ...rest } = options;
  return new FashionMNIST(await files('FashionMNIST', root, train), rest);
}
