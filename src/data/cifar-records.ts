import { ByteImageDataset, type ByteImageOptions } from './byte-images.js';
import type { HostArray } from './host.js';

/** A data file: its name (for errors) and its content. */
export interface DataFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** What one of the two data sets of Krizhevsky (2009) looks like in the binary version. */
export interface CIFARLayout {
  readonly what: 'CIFAR10' | 'CIFAR100';
  readonly archive: string;
  /** Number of classes by each label byte of a record, in order. */
  readonly labels: readonly number[];
  /** Which label byte counts. */
  readonly label: number;
}

const pixelBytes = 3072;
const otherOf = {
  CIFAR10: 'CIFAR-100, which has two label bytes',
  CIFAR100: 'CIFAR-10, which has one label byte',
} as const;

/** Records of label bytes and 3,072 bytes of pixels, planes red, green, blue of 32 x 32. */
export abstract class CIFARRecords<Sample = HostArray<Float32Array>> extends ByteImageDataset<Sample> {
  readonly length: number;
  protected readonly records: Uint8Array;
  private readonly recordBytes: number;

  protected constructor(
    private readonly layout: CIFARLayout,
    files: readonly DataFile[],
    options: ByteImageOptions<Sample>,
  ) {
    super(layout.what, 32, 32, options);
    for (const file of files) checkFile(layout, file);
    const total = files.reduce((sum, file) => sum + file.bytes.length, 0);
    if (total === 0)
      throw new Error(`${layout.what}: no files given; pass the .bin files of ${layout.archive}`);
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
    this.recordBytes = layout.labels.length + pixelBytes;
    this.length = total / this.recordBytes;
  }

  override bytes(index: number): Uint8Array {
    const start = (index + 1) * this.recordBytes - pixelBytes;
    return this.records.subarray(start, start + pixelBytes);
  }

  override label(index: number): number {
    return this.records[index * this.recordBytes + this.layout.label]!;
  }
}

function checkFile({ what, archive, labels }: CIFARLayout, { name, bytes }: DataFile): void {
  const recordBytes = labels.length + pixelBytes;
  const fail = (problem: string): never => {
    throw new Error(`${what}: ${name}: ${problem}`);
  };
  if (bytes.length === 0) fail('the file is empty; download it again');
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) {
    fail(`this is a gzip archive; extract it first (tar xzf ${archive}) and pass the .bin files`);
  }
  if (bytes.length % recordBytes !== 0) {
    const whole = Math.floor(bytes.length / recordBytes);
    if (bytes[0] === 0x80) {
      fail(`this is the Python (pickle) version; download the binary version, ${archive}`);
    }
    const other = labels.length === 1 ? recordBytes + 1 : recordBytes - 1;
    fail(
      `${bytes.length} bytes is not a multiple of ${recordBytes}: ${whole} whole records end at offset ${whole * recordBytes}, ` +
        `then ${bytes.length % recordBytes} bytes are left over. The download was probably cut off: download it again` +
        (bytes.length % other === 0 ? ` (the size fits ${otherOf[what]})` : ''),
    );
  }
  for (let record = 0; record < bytes.length; record += recordBytes) {
    labels.forEach((classes, i) => {
      const label = bytes[record + i]!;
      if (label >= classes) {
        fail(
          `label ${label} at offset ${record + i} (record ${record / recordBytes}) is not in 0 ... ${classes - 1}; ` +
            `this is not the binary version of ${what.replace('R', 'R-')}, or it is damaged: download ${archive} again`,
        );
      }
    });
  }
}
