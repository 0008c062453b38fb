import { ByteImageDataset, type ByteImageOptions } from './byte-images.js';
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

const pixelBytes = 3072;
const recordBytes = 1 + pixelBytes;

/** A file of the binary version: its name (for errors) and its content. */
export interface CIFAR10File {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/**
 * CIFAR-10 in the official binary format (https://www.cs.toronto.edu/~kriz/cifar.html, "binary version"): records of one label
 * byte and 3,072 bytes of pixels, planes red, green, blue of 32 x 32. Any number of records per file is fine. Samples are
 * `[float32 [3, 32, 32], label]`. In Node, `loadCIFAR10` reads the files from disk.
 */
export class CIFAR10<Sample = HostArray<Float32Array>> extends ByteImageDataset<Sample> {
  readonly classes: readonly string[] = cifar10Classes;
  readonly length: number;
  private readonly records: Uint8Array;
  private readonly options: ByteImageOptions<Sample>;

  constructor(files: readonly CIFAR10File[], options: ByteImageOptions<Sample> = {}) {
    super('CIFAR10', 32, 32, options);
    for (const file of files) checkFile(file);
    const total = files.reduce((sum, file) => sum + file.bytes.length, 0);
    if (total === 0) throw new Error('CIFAR10: no files given; pass data_batch_1.bin and so on');
    if (files.length === 1) {
      this.records = files[0]!.bytes;
    } else {
      this.records = new Uint8Array(total);
      let offset = 0;
      for (const file of files) {
        this.records.set(file.bytes, offset);
        offset += file.bytes.length;
      }
    }
    this.length = total / recordBytes;
    this.options = options;
  }

  override source(): ModuleExport | undefined {
    return exportedClass(this, CIFAR10, import.meta.url, 'CIFAR10');
  }

  override settings(): readonly unknown[] {
    return [[{ name: 'CIFAR-10', bytes: this.records }], this.options];
  }

  override bytes(index: number): Uint8Array {
    const start = index * recordBytes + 1;
    return this.records.subarray(start, start + pixelBytes);
  }

  override label(index: number): number {
    return this.records[index * recordBytes]!;
  }
}

function checkFile({ name, bytes }: CIFAR10File): void {
  const fail = (problem: string): never => {
    throw new Error(`CIFAR10: ${name}: ${problem}`);
  };
  if (bytes.length === 0) fail('the file is empty; download it again');
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) {
    fail('this is a gzip archive; extract it first (tar xzf cifar-10-binary.tar.gz) and pass the .bin files');
  }
  if (bytes.length % recordBytes !== 0) {
    const whole = Math.floor(bytes.length / recordBytes);
    if (bytes[0] === 0x80) {
      fail('this is the Python (pickle) version; download the binary version, cifar-10-binary.tar.gz');
    }
    fail(
      `${bytes.length} bytes is not a multiple of ${recordBytes}: ${whole} whole records end at offset ${whole * recordBytes}, ` +
        `then ${bytes.length % recordBytes} bytes are left over. The download was probably cut off: download it again` +
        (bytes.length % (recordBytes + 1) === 0
          ? ' (the size fits CIFAR-100, which has two label bytes)'
          : ''),
    );
  }
  for (let offset = 0; offset < bytes.length; offset += recordBytes) {
    if (bytes[offset]! > 9) {
      fail(
        `label ${bytes[offset]} at offset ${offset} (record ${offset / recordBytes}) is not in 0 ... 9; ` +
          'this is not the binary version of CIFAR-10, or it is damaged: download cifar-10-binary.tar.gz again',
      );
    }
  }
}
