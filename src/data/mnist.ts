import { noMore } from '../tensor/options.js';
import { ByteImageDataset, type ByteImageOptions } from './byte-images.js';
import type { DataFile } from './cifar-records.js';
import type { HostArray } from './host.js';
import { exportedClass, type ModuleExport } from './portable.js';

/** MNIST's classes, indexed by label, as torchvision names them. */
export const mnistClasses = [
  '0 - zero',
  '1 - one',
  '2 - two',
  '3 - three',
  '4 - four',
  '5 - five',
  '6 - six',
  '7 - seven',
  '8 - eight',
  '9 - nine',
] as const;

/** FashionMNIST's classes, indexed by label, as torchvision names them. */
export const fashionMNISTClasses = [
  'T-shirt/top',
  'Trouser',
  'Pullover',
  'Dress',
  'Coat',
  'Sandal',
  'Shirt',
  'Sneaker',
  'Bag',
  'Ankle boot',
] as const;

/** The training sets' mean and standard deviation in 0 ... 1. */
export const mnistStatistics = { mean: [0.1307], std: [0.3081] } as const;
export const fashionMNISTStatistics = { mean: [0.286], std: [0.353] } as const;

/** Reads an IDX file of unsigned bytes (http://yann.lecun.com/exdb/mnist, "file format"). */
function parseIDX(what: string, { name, bytes }: DataFile, dimensions: number): HostArray<Uint8Array> {
  const fail = (problem: string): never => {
    throw new Error(`${what}: ${name}: ${problem}`);
  };
  const start = 4 + 4 * dimensions;
  if (bytes.length === 0) fail('the file is empty; download it again');
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) fail('the file is still compressed; unpack it (gunzip)');
  if (bytes[0] !== 0 || bytes[1] !== 0 || bytes[2] !== 8) {
    fail('this is not an IDX file of bytes; download the original files again');
  }
  if (bytes[3] !== dimensions) {
    fail(
      `it holds ${bytes[3]} dimensions where ${dimensions} are expected; ` +
        (dimensions === 3 ? 'is it the file of labels?' : 'is it the file of images?'),
    );
  }
  if (bytes.length < start) fail('the header is cut off; download it again');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const shape = Array.from({ length: dimensions }, (_, i) => view.getUint32(4 + 4 * i));
  const size = shape.reduce((product, length) => product * length, 1);
  if (bytes.length !== start + size) {
    fail(
      `${bytes.length - start} bytes follow the header where [${shape.join(', ')}] needs ${size}; ` +
        'the download was probably cut off: download it again',
    );
  }
  return { data: bytes.subarray(start), shape };
}

export interface MNISTFiles {
  /** `train-images-idx3-ubyte` or `t10k-images-idx3-ubyte`, unpacked. */
  readonly images: DataFile;
  /** `train-labels-idx1-ubyte` or `t10k-labels-idx1-ubyte`, unpacked. */
  readonly labels: DataFile;
}

/**
 * MNIST (LeCun et al., 1998) in its original IDX files. Samples are `[float32 [1, 28, 28], label]`; a
 * `transform` sees the grey levels in three equal channels. In Node, `loadMNIST` reads the files from disk.
 */
export class MNIST<Sample = HostArray<Float32Array>> extends ByteImageDataset<Sample> {
  readonly classes: readonly string[] = mnistClasses;
  readonly length: number;
  private readonly pixels: Uint8Array;
  private readonly labels: Uint8Array;

  constructor(
    private readonly files: MNISTFiles,
    private readonly options: ByteImageOptions<Sample> = {},
    what = 'MNIST',
  ) {
    noMore(new.target.name, arguments, 3);
    const images = parseIDX(what, files.images, 3);
    const [count, height, width] = images.shape as [number, number, number];
    super(what, width, height, options, 1);
    const labels = parseIDX(what, files.labels, 1).data;
    if (labels.length !== count) {
      throw new Error(
        `${what}: ${files.images.name} holds ${count} images but ${files.labels.name} ${labels.length} labels`,
      );
    }
    const wrong = labels.findIndex((label) => label > 9);
    if (wrong >= 0) {
      throw new Error(
        `${what}: ${files.labels.name}: label ${labels[wrong]} of image ${wrong} is not in 0 ... 9`,
      );
    }
    this.length = count;
    this.pixels = images.data;
    this.labels = labels;
  }

  override source(): ModuleExport | undefined {
    return exportedClass(this, MNIST, import.meta.url, 'MNIST');
  }

  override settings(): readonly unknown[] {
    return [this.files, this.options];
  }

  override bytes(index: number): Uint8Array {
    const size = this.width * this.height;
    return this.pixels.subarray(index * size, (index + 1) * size);
  }

  override label(index: number): number {
    return this.labels[index]!;
  }
}

/** FashionMNIST (Xiao et al., 2017, arXiv:1708.07747): {@link MNIST}'s files with pictures of clothes. */
export class FashionMNIST<Sample = HostArray<Float32Array>> extends MNIST<Sample> {
  override readonly classes: readonly string[] = fashionMNISTClasses;

  constructor(files: MNISTFiles, options: ByteImageOptions<Sample> = {}) {
    noMore(new.target.name, arguments, 2);
    super(files, options, 'FashionMNIST');
  }

  override source(): ModuleExport | undefined {
    return exportedClass(this, FashionMNIST, import.meta.url, 'FashionMNIST');
  }
}
