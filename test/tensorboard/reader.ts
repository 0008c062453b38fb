/** Event files, read by a few lines that share nothing with what writes them. */

/** CRC-32C bit by bit. */
function checksum(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes)
    for (let bit = 0; bit < 8; bit++) {
      const out = (crc ^ (byte >> bit)) & 1;
      crc = (crc >>> 1) ^ (out * 0x82f63b78);
    }
  crc = ~crc >>> 0;
  return Number(((BigInt(crc) << 17n) | (BigInt(crc) >> 15n)) & 0xffffffffn) + 0xa282ead8;
}

/** The data of the records of a file. @throws Error for a wrong checksum, and for a cut at the end */
export function readRecords(file: Uint8Array): Uint8Array[] {
  const records: Uint8Array[] = [];
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  const check = (from: number, to: number): void => {
    if (view.getUint32(to, true) !== checksum(file.subarray(from, to)) % 2 ** 32)
      throw new Error(`wrong checksum at ${to}`);
  };
  for (let at = 0; at < file.length;) {
    const length = Number(view.getBigUint64(at, true));
    check(at, at + 8);
    check(at + 12, at + 12 + length);
    records.push(file.subarray(at + 12, at + 12 + length));
    at += length + 16;
  }
  return records;
}

export type Field = number | bigint | Uint8Array;

/** The fields of a protobuf message by their numbers, each with its values as they came. */
export function readFields(message: Uint8Array): Map<number, Field[]> {
  const fields = new Map<number, Field[]>();
  const view = new DataView(message.buffer, message.byteOffset, message.length);
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = message[at++]!;
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return BigInt.asIntN(64, value);
    }
  };
  while (at < message.length) {
    const key = Number(varint());
    const read: Readonly<Record<number, () => Field>> = {
      0: varint,
      1: () => view.getFloat64((at += 8) - 8, true),
      2: () => {
        const length = Number(varint());
        return message.subarray(at, (at += length));
      },
      5: () => view.getFloat32((at += 4) - 4, true),
    };
    const value = read[key & 7]!();
    fields.set(key >> 3, [...(fields.get(key >> 3) ?? []), value]);
  }
  return fields;
}

/** The value at the end of a path of field numbers, each the first of its kind; undefined if there is none. */
export function fieldAt(message: Uint8Array, ...path: readonly number[]): Field | undefined {
  let value: Field | undefined = message;
  for (const number of path) value = readFields(value as Uint8Array).get(number)?.[0];
  return value;
}

export const textOf = (value: Field | undefined): string => new TextDecoder().decode(value as Uint8Array);
