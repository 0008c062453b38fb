import { totalmem } from 'node:os';
import { expect, it } from 'vitest';
import { defaultMemoryBudget } from '../../src/device/adapter.js';
import type { AdapterClass, Target } from '../../src/kernels/base/kernel.js';
import { hardware } from '../../bench/hardware/table.js';

const gpu = (kind: AdapterClass): Target => ({ ...hardware, class: kind });

it("a GPU in the machine's own memory may take three quarters of it, one with its own memory all of that", () => {
  for (const kind of ['apple', 'integrated'] as const)
    expect(defaultMemoryBudget(gpu(kind))).toBe(Math.floor(0.75 * totalmem()));
  for (const kind of ['discrete', 'unknown'] as const) expect(defaultMemoryBudget(gpu(kind))).toBe(Infinity);
});
