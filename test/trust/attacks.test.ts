import { describe, expect, it } from 'vitest';
import { CheckpointError, loadCheckpoint } from '../../src/formats/index.js';
import { cpuSeconds } from '../tooling/cpu-time.js';
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
    let error: unknown;
    const spent = await cpuSeconds(2, async () => (error = await refusalOf(file)));
    expect(error).toBeInstanceOf(CheckpointError);
    const { message } = error as CheckpointError;
    expect(message).toMatch(refusal);
    expect(message.startsWith(`${name}: `), message).toBe(true);
    expect(message).not.toMatch(controls);
    // The slowest takes 0.7 s.
    expect(spent).toBeLessThan(2);
  });
});
