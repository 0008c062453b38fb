/** ZIP archives written field by field, so that any field can be given a wrong value. */

import { crc32, deflateRawSync } from 'node:zlib';

export interface Part {
  readonly name: string;
  readonly data: Uint8Array;
  readonly deflated?: boolean;
  /** In the directory; the truth by default. */
  readonly size?: number;
  readonly crc?: number;
}

/** Where the fields of an archive's records are: [offset, width in bytes]. */
export type Field = readonly [offset: number, width: 2 | 4];

export interface Archive {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly fields: readonly Field[];
}

// Offsets and widths of the fields behind each record's signature.
const localFields = [4, 6, 8, 26, 28]
  .map((at): Field => [at, 2])
  .concat([14, 18, 22].map((at): Field => [at, 4]));
const centralFields = [4, 6, 8, 10, 28, 30, 32]
  .map((at): Field => [at, 2])
  .concat([16, 20, 24, 42].map((at): Field => [at, 4]));
const endFields = [8, 10, 20].map((at): Field => [at, 2]).concat([12, 16].map((at): Field => [at, 4]));

export function buildZip(parts: readonly Part[]): Archive {
  const pieces: Buffer[] = [];
  const fields: Field[] = [];
  let length = 0;
  const add = (piece: Buffer, known: readonly Field[] = []) => {
    for (const [at, width] of known) fields.push([length + at, width]);
    pieces.push(piece);
    length += piece.length;
  };
  const directory: Buffer[] = [];
  for (const { name, data, deflated = false, size = data.length, crc = crc32(data) } of parts) {
    const label = Buffer.from(name);
    const stored = deflated ? deflateRawSync(data) : Buffer.from(data);
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(deflated ? 8 : 0, 4);
    common.writeUInt32LE(crc, 10);
    common.writeUInt32LE(stored.length, 14);
    common.writeUInt32LE(size, 18);
    common.writeUInt16LE(label.length, 22);
    const tail = Buffer.alloc(14);
    tail.writeUInt32LE(length, 10);
    directory.push(Buffer.concat([Buffer.from('PK\x01\x02\x14\0'), common, tail, label]));
    add(Buffer.concat([Buffer.from('PK\x03\x04'), common, label]), localFields);
    add(stored);
  }
  const start = length;
  for (const record of directory) add(record, centralFields);
  const end = Buffer.alloc(22);
  end.write('PK\x05\x06');
  end.writeUInt16LE(parts.length, 8);
  end.writeUInt16LE(parts.length, 10);
  end.writeUInt32LE(length - start, 12);
  end.writeUInt32LE(start, 16);
  add(end, endFields);
  return { bytes: new Uint8Array(Buffer.concat(pieces)), fields };
}
