/**
 * The safetensors format, written; apart from the reader, which programs that only load weights start with.
 */

import { noMore } from '../tensor/options.js';
import { crc32 } from './crc32.js';
import { readAll, type NamedTensors } from './device-tensor.js';
import { itemSize } from './dtypes.js';
import { CheckpointError, quoteKey } from './errors.js';
import { collect, type FileLayout } from './layout.js';
import { dtypeOfCode, maxHeaderBytes } from './safetensors.js';
import { ChecksumWriter, checksumKey } from './safetensors-checksums.js';
import { hasLoneSurrogates } from './surrogates.js';

const codeOfDtype = new Map([...dtypeOfCode].map(([code, dtype]) => [dtype, code]));

export interface SafetensorsOptions {
  /** Stored as `__metadata__`. `{ format: 'pt' }` is what Hugging Face's loaders look for. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/**
 * Lays out a safetensors file. Data is ordered by element size, widest first, so that every tensor is
 * aligned, as the reference writer does; the header keeps the order of `tensors`. Strided and shared tensors
 * are written out in full. Tensors on the GPU are read as the file is made.
 */
export function layoutSafetensors(named: NamedTensors, options: SafetensorsOptions = {}): FileLayout {
  noMore('layoutSafetensors', arguments, 2);
  const tensors = readAll(named);
  const byWidth = [...tensors].sort(([, a], [, b]) => itemSize[b.dtype] - itemSize[a.dtype]);
  const begins = new Map<string, number>();
  let dataBytes = 0;
  for (const [name, tensor] of byWidth) {
    begins.set(name, dataBytes);
    dataBytes += tensor.byteLength;
  }

  // First of all, so that the checksums have a place that does not depend on anything else.
  const checksums = new ChecksumWriter(tensors.size);
  const metadata = { [checksumKey]: checksums.placeholder, ...options.metadata };
  const fields = [`"__metadata__":${JSON.stringify(metadata)}`];
  for (const [name, tensor] of tensors) {
    const code = codeOfDtype.get(tensor.dtype);
    if (name === '__metadata__')
      throw new CheckpointError("safetensors: a tensor may not be called '__metadata__'");
    if (code === undefined)
      throw new CheckpointError(
        `safetensors: tensor ${quoteKey(name)}: the format has no dtype ${tensor.dtype}`,
      );
    if (hasLoneSurrogates(name))
      throw new CheckpointError(
        `safetensors: the name ${JSON.stringify(name)} is no Unicode text (it has half of a surrogate pair)`,
      );
    const begin = begins.get(name)!;
    const offsets = `[${begin},${begin + tensor.byteLength}]`;
    fields.push(
      `${JSON.stringify(name)}:{"dtype":"${code}","shape":[${tensor.shape.join(',')}],"data_offsets":${offsets}}`,
    );
  }
  const json = new TextEncoder().encode(`{${fields.join(',')}}`);
  const headerBytes = Math.ceil(json.length / 8) * 8;
  if (headerBytes > maxHeaderBytes)
    throw new CheckpointError(`safetensors: the header would take ${headerBytes} bytes`);
  const head = new Uint8Array(8 + headerBytes).fill(0x20);
  new DataView(head.buffer).setBigUint64(0, BigInt(headerBytes), true);
  head.set(json, 8);

  const places = new Map([...tensors.keys()].map((name, i) => [name, i]));
  return {
    size: head.length + dataBytes,
    async *chunks() {
      yield head;
      for (const [name, tensor] of byWidth) {
        let crc = 0;
        for await (const chunk of tensor.chunks()) {
          crc = crc32(chunk, crc);
          yield chunk;
        }
        checksums.set(places.get(name)!, crc);
      }
    },
    patches: () => checksums.patches(head.subarray(8)),
  };
}

/**
 * A whole safetensors file in memory, e.g. for a download in the browser: `await
 * encodeSafetensors(model.stateDict())`.
 */
export async function encodeSafetensors(
  tensors: NamedTensors,
  options: SafetensorsOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  noMore('encodeSafetensors', arguments, 2);
  return collect(layoutSafetensors(tensors, options), 'safetensors');
}
