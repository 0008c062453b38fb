import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { full } from '../tooling/full.js';

const run = promisify(execFile);
const script = fileURLToPath(new URL('training-loop.ts', import.meta.url));
const steps = full ? 2000 : 500;

/** A batch of 16x3x16x16 floats, its labels, outputs and loss. */
const bytesPerStep = 49_360;

interface Report {
  live: number[];
  reserved: number[];
  losses: number[];
  /** Live bytes after a collection at the end. */
  settled: number;
}

describe(`a plain training loop of ${steps} steps that never disposes anything`, () => {
  it(
    'holds its GPU memory flat, learns, and lets the process exit by itself',
    { timeout: 900_000 },
    async () => {
      const { stdout } = await run(process.execPath, ['--import', 'tsx', script, String(steps)], {
        timeout: 880_000,
        maxBuffer: 1 << 26,
      });
      const { live, reserved, losses, settled } = JSON.parse(stdout) as Report;
      // What the loop dropped (a batch, an output, a loss) waits a few steps for the collector: live memory
      // is a saw. Its floor must not rise but by a step or two that the collector, late on a busy machine,
      // has yet to come to, and its teeth must stay short. How long they are is time: collections take a
      // twentieth of it, these steps a few milliseconds. After a collection, the smallest tensor kept per
      // step would show (512 bytes are for scalars that optimised code still holds).
      const third = Math.floor(steps / 3);
      const low = (list: readonly number[]): number => Math.min(...list);
      const high = (list: readonly number[]): number => Math.max(...list);
      const rise = Math.max(0, low(live.slice(-third)) - low(live.slice(3, third)));
      expect(rise).toBeLessThanOrEqual(2.5 * bytesPerStep);
      expect(settled).toBeLessThanOrEqual(low(live.slice(3)) + 512);
      expect(high(live.slice(3)) - low(live.slice(3))).toBeLessThan(250 * bytesPerStep);
      expect(high(reserved.slice(-third))).toBeLessThan((reserved[3] as number) + 250 * bytesPerStep);
      const mean = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0) / list.length;
      expect(mean(losses.slice(-20))).toBeLessThan(mean(losses.slice(0, 20)));
    },
  );
});
