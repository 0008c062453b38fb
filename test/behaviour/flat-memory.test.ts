import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

const run = promisify(execFile);
const script = fileURLToPath(new URL('training-loop.ts', import.meta.url));
const steps = process.env['KINDLING_FULL'] === '1' ? 2000 : 150;

interface Report {
  live: number[];
  reserved: number[];
  losses: number[];
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
      const { live, reserved, losses } = JSON.parse(stdout) as Report;
      const peak = (list: readonly number[], from: number, to: number): number =>
        Math.max(...list.slice(from, to));
      const half = Math.floor(steps / 2);
      // Batches and outputs that the loop dropped wait for the collector, a bounded number of steps.
      expect(peak(live, half, steps)).toBeLessThanOrEqual(peak(live, 3, half) * 1.25);
      expect(peak(reserved, half, steps)).toBeLessThanOrEqual(peak(reserved, 3, half) * 1.25);
      const mean = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0) / list.length;
      expect(mean(losses.slice(-20))).toBeLessThan(mean(losses.slice(0, 20)));
    },
  );
});
