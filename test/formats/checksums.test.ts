import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import {
  encodeNpz,
  encodeSafetensors,
  encodeTorch,
  HostTensor,
  layoutSafetensors,
  loadCheckpoint,
  saveSafetensors,
} from '../../src/formats/index.js';
import { fixture, hex } from './support.js';

const folder = mkdtempSync(join(tmpdir(), 'kindling-checksums-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const tensors = new Map([
  ['weight', HostTensor.from('float32', [2, 3], [1, 2, 3, 4, 5, 6])],
  ['steps', HostTensor.from('int64', [], [7])],
  ['none', HostTensor.from('float32', [0], [])],
]);
const metadata = { format: 'pt', note: 'ü' };

/** Everything that a file says. */
async function contents(bytes: Uint8Array, verify = true): Promise<string> {
  const { tensors: read, extra } = await loadCheckpoint(bytes, { name: 'f', verify });
  const all = [];
  for (const [key, tensor] of read) all.push(key, tensor.dtype, tensor.shape, hex(await tensor.bytes()));
  return JSON.stringify([all, [...extra]]);
}

/** Flips every bit in turn: the file is refused by name, or says what it said before. */
async function expectNoSilentFlip(bytes: Uint8Array): Promise<void> {
  const before = await contents(bytes);
  const silent: string[] = [];
  for (let bit = 0; bit < 8 * bytes.length; bit++) {
    const flipped = bytes.slice();
    flipped[bit >> 3]! ^= 1 << (bit & 7);
    const after = await contents(flipped).catch((error: Error) => error);
    if (after instanceof Error ? !after.message.startsWith('f: ') : after !== before)
      silent.push(`byte ${bit >> 3}, bit ${bit & 7}: ${String(after)}`);
  }
  expect(silent).toEqual([]);
}

describe('one flipped bit is never read as if it were right', () => {
  it('in a .pth', async () => expectNoSilentFlip(await encodeTorch(Object.fromEntries(tensors))));
  it('in an .npz', async () => expectNoSilentFlip(await encodeNpz(tensors)));
  it('in a safetensors file that kindling wrote', async () =>
    expectNoSilentFlip(await encodeSafetensors(tensors, { metadata })));
  it('in a .pth that PyTorch wrote', async () => {
    const bytes = fixture('parameters.zip.pth').slice();
    const at = Buffer.from(bytes).indexOf(Buffer.from(Float32Array.of(1, 1, 1, 1).buffer));
    bytes[at + 2]! ^= 1;
    await expect(contents(bytes)).rejects.toThrow(
      /f: zip entry "[\w.]+\/data\/0" is damaged: its checksum is .* \{ verify: false \} reads it as it is/,
    );
    await expect(contents(bytes, false)).resolves.toContain('weight');
  });
});

describe('checksums of safetensors', () => {
  it('are no part of the metadata, and other readers see one string', async () => {
    const bytes = await encodeSafetensors(tensors, { metadata });
    expect(Object.fromEntries((await loadCheckpoint(bytes)).extra)).toEqual(metadata);
    const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
    const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length))) as {
      __metadata__: object;
    };
    expect(header.__metadata__).toEqual({
      'kindling.crc32': expect.stringMatching(/^[0-9a-f]{32}$/) as string,
      ...metadata,
    });
  });

  it('are the same in a file and in memory', async () => {
    const path = join(folder, 'a.safetensors');
    await saveSafetensors(path, tensors, { metadata });
    expect(hex(readFileSync(path))).toBe(hex(await encodeSafetensors(tensors, { metadata })));
  });

  it('may be missing: in files of others, in files that were written piece by piece, in files that were rewritten', async () => {
    const pieces: Uint8Array[] = [];
    for await (const chunk of layoutSafetensors(tensors, { metadata }).chunks()) pieces.push(chunk.slice());
    expect(Object.fromEntries((await loadCheckpoint(new Blob(pieces as BlobPart[]))).extra)).toEqual(
      metadata,
    );

    const bytes = await encodeSafetensors(tensors, { metadata });
    const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
    const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length))) as {
      __metadata__: Record<string, string>;
    };
    // As the reference writer has it: metadata kept in another order, tensors changed.
    header.__metadata__ = Object.fromEntries(Object.entries(header.__metadata__).reverse());
    const json = new TextEncoder().encode(JSON.stringify(header));
    const rewritten = new Uint8Array(8 + json.length + bytes.length - 8 - length);
    new DataView(rewritten.buffer).setBigUint64(0, BigInt(json.length), true);
    rewritten.set(json, 8);
    rewritten.fill(1, 8 + json.length);
    expect(Object.fromEntries((await loadCheckpoint(rewritten)).extra)).toEqual(metadata);
    await expect(contents(rewritten)).resolves.toContain('weight');
  });

  it('are verified when a tensor is read, not before', async () => {
    const path = join(folder, 'b.safetensors');
    await saveSafetensors(path, tensors);
    const bytes = readFileSync(path);
    bytes[bytes.length - 1]! ^= 1;
    writeFileSync(path, bytes);
    const { tensors: read } = await loadCheckpoint(path);
    expect([...(await read.get('steps')!.toInt32Array())]).toEqual([7]);
    await expect(read.get('weight')!.bytes()).rejects.toThrow(/b\.safetensors: tensor "weight" is damaged/);
    await expect(read.get('weight')!.range(0, 1)).rejects.toThrow(/is damaged/);
    const asIs = await loadCheckpoint(path, { verify: false });
    expect((await asIs.tensors.get('weight')!.bytes()).length).toBe(24);
  });
});

describe('large entries', () => {
  it('are checked before any of their bytes are given', async () => {
    const big = new Float32Array(3 * 1024 ** 2).fill(0.5);
    const bytes = await encodeTorch({ big: HostTensor.from('float32', [big.length], big) });
    const at = bytes.length - 4096;
    bytes[at]! ^= 1;
    const { tensors: read } = await loadCheckpoint(bytes, { name: 'f' });
    const pieces: number[] = [];
    const reading = (async () => {
      for await (const piece of read.get('big')!.chunks(1 << 20)) pieces.push(piece.length);
    })();
    await expect(reading).rejects.toThrow(/f: zip entry "archive\/data\/0" is damaged/);
    expect(pieces).toEqual([]);
  });
});
