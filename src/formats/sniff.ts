/** Which weight format a file holds, by its first bytes; and if none, what it looks like instead. */

import { latin1, type ByteSource } from './byte-source.js';
import { CheckpointError, formatBytes } from './errors.js';

export type Container = 'torch-zip' | 'torch-legacy' | 'safetensors' | 'safetensors-index' | 'npy' | 'npz';

export const npyMagic = '\x93NUMPY';

/** Decides by content; throws a {@link CheckpointError} that says what the first bytes look like. */
export async function detectContainer(source: ByteSource): Promise<Container> {
  const head = await source.read(0, Math.min(source.size, 512));
  if (startsWith(head, [0x50, 0x4b, 3, 4])) return /\.npy$/.test(firstEntryName(head)) ? 'npz' : 'torch-zip';
  if (startsWith(head, [0x50, 0x4b, 5, 6])) return 'torch-zip';
  if (latin1(head.subarray(0, npyMagic.length)) === npyMagic) return 'npy';
  if (await looksLikeIndex(source, head)) return 'safetensors-index';
  // Before the pickle, because a header of 640 bytes also starts with 0x80 0x02.
  if (looksLikeSafetensors(head)) return 'safetensors';
  // The legacy format starts with its magic number as a pickle: of protocol 2 or later, or of protocol 0 or
  // 1.
  if (head[0] === 0x80 && (head[1] ?? 0) <= 5) return 'torch-legacy';
  if (latin1(head.subarray(0, 26)) === 'L119547037146038801333356L') return 'torch-legacy';
  throw new CheckpointError(
    `${source.name}: not a weight file (.pth, .pt, .safetensors, .npz or .npy): ${describe(head, source.size)}`,
  );
}

function looksLikeSafetensors(head: Uint8Array): boolean {
  if (head.length < 8) return false;
  const length = new DataView(head.buffer, head.byteOffset, 8).getBigUint64(0, true);
  const first = head[8];
  // A truncated file may end before the brace; a header of up to 4 GiB is then still recognised and refused
  // by size.
  return first === undefined ? length > 0n && length < 2n ** 32n : first === 0x7b && length < 2n ** 32n;
}

/** The name in a ZIP archive's first local header; of its end only as much as the head holds. */
function firstEntryName(head: Uint8Array): string {
  if (head.length < 30) return '';
  const length = new DataView(head.buffer, head.byteOffset, head.length).getUint16(26, true);
  return latin1(head.subarray(30, 30 + length));
}

/** JSON text that speaks of a `weight_map`, which writers put first or after a short `metadata`. */
async function looksLikeIndex(source: ByteSource, head: Uint8Array): Promise<boolean> {
  if (!isText(head) || !/^(\xef\xbb\xbf)?\s*\{/.test(latin1(head))) return false;
  const more = await source.read(0, Math.min(source.size, 65536));
  return latin1(more).includes('"weight_map"');
}

function startsWith(head: Uint8Array, bytes: readonly number[]): boolean {
  return bytes.every((byte, i) => head[i] === byte);
}

const signatures: readonly (readonly [bytes: string, what: string])[] = [
  ['\x1f\x8b', 'it is gzip-compressed; unpack it first'],
  ['BZh', 'it is bzip2-compressed; unpack it first'],
  ['\xfd7zXZ\0', 'it is xz-compressed; unpack it first'],
  ['\x28\xb5\x2f\xfd', 'it is zstd-compressed; unpack it first'],
  ['7z\xbc\xaf\x27\x1c', 'it is a 7z archive; unpack it first'],
  ['Rar!', 'it is a RAR archive; unpack it first'],
  ['\x89HDF\r\n', 'it is an HDF5 file (Keras?)'],
  ['GGUF', 'it is a GGUF file'],
  ['%PDF', 'it is a PDF'],
  ['\x89PNG', 'it is a PNG image'],
  ['\xff\xd8\xff', 'it is a JPEG image'],
  ['\x7fELF', 'it is a program'],
  ['version https://git-lfs', 'it is a git-lfs pointer, not the file itself; run `git lfs pull`'],
];

function describe(head: Uint8Array, size: number): string {
  if (size === 0) return 'the file is empty';
  const text = latin1(head);
  for (const [bytes, what] of signatures) if (text.startsWith(bytes)) return what;
  if (text.slice(257, 262) === 'ustar') {
    return 'it is a tar archive; PyTorch 0.1 saved weights so: load it in PyTorch and save it again, or unpack it first';
  }
  const trimmed = text.replace(/^(\xef\xbb\xbf)?\s*/, '');
  if (/^<(!doctype\s+html|html|head|body)/i.test(trimmed)) {
    return 'it is an HTML page, perhaps an error page of the server it was downloaded from';
  }
  if (/^<(\?xml|[a-z]+[\s>])/i.test(trimmed))
    return 'it is XML, perhaps an error message of the server it was downloaded from';
  if (/^[{[]/.test(trimmed) && isText(head))
    return `it is JSON or other text, starting ${JSON.stringify(trimmed.slice(0, 60))}`;
  if (head.every((byte) => byte === 0))
    return `its first ${head.length} bytes are all zero; perhaps an interrupted download`;
  if (isText(head)) return `it is text, starting ${JSON.stringify(trimmed.slice(0, 60))}`;
  const bytes = [...head.subarray(0, 8)].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
  return `its first bytes are ${bytes} (${formatBytes(size)} in all)`;
}

function isText(head: Uint8Array): boolean {
  return head.every((byte) => byte === 9 || byte === 10 || byte === 13 || (byte >= 32 && byte !== 127));
}
