/**
 * A slice of test/trust/faults.ts, which makes every call to the device fail; all of it: npm run test:full.
 */
import { describe, expect, it } from 'vitest';
import { cleanUp, disturbedFinetune, prepareFinetuning } from '../trust/faulty-finetune.js';
import { disturbed, undisturbed } from '../trust/faulty-training.js';
import type { FaultKind } from '../trust/faulty-device.js';

describe('a training step in which a call to the device fails', () => {
  const sample: readonly (readonly [FaultKind, number])[] = [
    // The runtime's own, a parameter, an activation, a gradient, the optimizer's state.
    ...[1, 8, 26, 38, 43].map((at) => ['allocation', at] as const),
    ['allocation throws', 30],
    ['pipeline', 12],
    ['pipeline throws', 24],
    ['bind group', 40],
    ['submit', 3],
    ['submit', 5],
    ['submit throws', 4],
    ['map', 30],
    ['readback', 30],
    ['lost at submit', 4],
    ['lost at map', 30],
  ];

  it('ends in one clear error, with parameters and optimizer state old or new', async () => {
    const states = await undisturbed('SGD');
    for (const [kind, at] of sample) {
      const { result, faults } = await disturbed(kind, at, 'SGD', states);
      expect({ kind, at, result, faults }).toEqual({ kind, at, result: 'clean error', faults: [] });
    }
  });
});

describe('kindling finetune', () => {
  it('goes on by itself when its device is lost, to the same bits', async () => {
    const tuning = await prepareFinetuning();
    try {
      const { result, faults, message } = await disturbedFinetune('lost at submit', 41, tuning);
      expect({ result, faults }).toEqual({ result: 'recovered', faults: [] });
      expect(message).toContain('the GPU device was lost; a new one goes on from');
    } finally {
      cleanUp(tuning);
    }
  });
});
