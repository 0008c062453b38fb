import { beforeAll, describe, expect, it } from 'vitest';
import { init, runtime } from '../../src/index.js';
import { Chain } from '../../src/device/chain.js';
import { Gate } from '../../src/device/gate.js';

beforeAll(() => init());

const last = 14;

/** What kernels of batches 1, 2, ... find where some of the batches are refused, and one is where all is well again. */
async function words(refused: readonly number[], armedAt?: number): Promise<(number | undefined)[]> {
  const { device } = runtime();
  const chain = new Chain(device, new Gate(device.queue));
  const seen = device.createBuffer({ size: 4 * (last + 1), usage: 4 | 8 });
  for (let serial = 1; serial <= last; serial++) {
    if (serial === armedAt) chain.arm(serial);
    const encoder = device.createCommandEncoder();
    chain.handOn(encoder, serial);
    encoder.copyBufferToBuffer(chain.guard.gpu, 0, seen, 4 * serial, 4);
    if (!refused.includes(serial)) device.queue.submit([encoder.finish()]);
  }
  const host = device.createBuffer({ size: seen.size, usage: 1 | 8 });
  const encoder = device.createCommandEncoder();
  encoder.copyBufferToBuffer(seen, 0, host, 0, seen.size);
  device.queue.submit([encoder.finish()]);
  await host.mapAsync(1);
  const found = [...new Uint32Array(host.getMappedRange().slice(0))];
  return found.slice(1).map((word, i) => (refused.includes(i + 1) ? undefined : word));
}

const batches = (from: number, count: number): number[] => Array.from({ length: count }, (_, i) => from + i);

describe('the word that batches hand on', () => {
  it('is 1 while all run', async () => {
    expect(await words([])).toEqual(Array(last).fill(1));
  });

  it.each([1, 2, 3, 4, 5, 6])('stays 0 once %i in a row were refused', async (count) => {
    const found = await words(batches(5, count));
    expect(found.slice(0, 4)).toEqual([1, 1, 1, 1]);
    expect(found.slice(4 + count)).toEqual(Array(last - 4 - count).fill(0));
  });

  it('stays 0 where refused ones are scattered', async () => {
    expect((await words([3, 5, 6, 9])).filter((word) => word !== undefined)).toEqual([
      1,
      1,
      ...Array(8).fill(0),
    ]);
  });

  it('is 1 again from where all is well again', async () => {
    const found = await words([3, 4], 8);
    expect(found.slice(4)).toEqual([0, 0, 0, ...Array(last - 7).fill(1)]);
  });
});
