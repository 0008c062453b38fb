import { describe, expect, it } from 'vitest';
import { CheckpointError, loadCheckpoint } from '../../src/formats/index.js';
import { attacks } from './attacks.js';

const name = 'stranger.bin';
const controls = /[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]/;

/** The first tensors are read too: some files are found out only then. */
async function refusalOf(bytes: Uint8Array): Promise<unknown> {
  try {
    const { tensors } = await loadCheckpoint(bytes, { name });
    for (const tensor of tensors.values()) for await (const chunk of tensor.chunks()) void chunk;
    return undefined;
  } catch (error) {
    return error;
  }
}

describe('hand-made attacks', () => {
  it('are more than sixty', () => expect(attacks.length).toBeGreaterThan(60));

  it.each(attacks)('$name', async ({ bytes, refusal }) => {
    const file = bytes();
    const before = process.cpuUsage();
    const error = await refusalOf(file);
    const { user, system } = process.cpuUsage(before);
    expect(error).toBeInstanceOf(CheckpointError);
    const { message } = error as CheckpointError;
    expect(message).toMatch(refusal);
    expect(message.startsWith(`${name}: `), message).toBe(true);
    expect(message).not.toMatch(controls);
    // In CPU time, of this process and its collector. The slowest takes 0.6 s once V8 has compiled the
    // parsers, and up to three times that on a machine with twenty processes on two cores.
    expect((user + system) / 1e6).toBeLessThan(2);
  });
});
