import { noMore } from '../tensor/options.js';
import type { ByteImageOptions } from './byte-images.js';
import { CIFARRecords, type DataFile } from './cifar-records.js';
import type { HostArray } from './host.js';
import { exportedClass, type ModuleExport } from './portable.js';

/** CIFAR-10's classes, indexed by label. */
export const cifar10Classes = [
  'airplane',
  'automobile',
  'bird',
  'cat',
  'deer',
  'dog',
  'frog',
  'horse',
  'ship',
  'truck',
] as const;

/** The training set's per-channel mean and standard deviation in 0 ... 1. */
export const cifar10Statistics = {
  mean: [0.4914, 0.4822, 0.4465],
  std: [0.247, 0.2435, 0.2616],
} as const;

/** A file of the binary version: its name (for errors) and its content. */
export type CIFAR10File = DataFile;

/**
 * CIFAR-10 in the official binary format (https://www.cs.toronto.edu/~kriz/cifar.html, "binary version"):
 * records of one label byte and 3,072 bytes of pixels, planes red, green, blue of 32 x 32. Any number of
 * records per file is fine. Samples are `[float32 [3, 32, 32], label]`. In Node, `loadCIFAR10` reads the
 * files from disk.
 */
export class CIFAR10<Sample = HostArray<Float32Array>> extends CIFARRecords<Sample> {
  readonly classes: readonly string[] = cifar10Classes;

  constructor(
    files: readonly DataFile[],
    private readonly options: ByteImageOptions<Sample> = {},
  ) {
    noMore(new.target.name, arguments, 2);
    super({ what: 'CIFAR10', archive: 'cifar-10-binary.tar.gz', labels: [10], label: 0 }, files, options);
  }

  override source(): ModuleExport | undefined {
    return exportedClass(this, CIFAR10, import.meta.url, 'CIFAR10');
  }

  override settings(): readonly unknown[] {
    return [[{ name: 'CIFAR-10', bytes: this.records }], this.options];
  }
}
