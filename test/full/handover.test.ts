import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { build } from '../../scripts/build.mjs';

const peers = fileURLToPath(new URL('../../bench/peers/', import.meta.url));
const installed = existsSync(`${peers}node_modules/onnxruntime-web`);
if (!installed)
  console.log('the hand-over with ONNX Runtime Web is skipped: npm install --ignore-scripts in bench/peers');

it.skipIf(!installed)('tensors go to ONNX Runtime Web and back on one device, without a copy', () => {
  build();
  const { stdout, stderr, status } = spawnSync(process.execPath, ['handover.mjs'], {
    cwd: peers,
    encoding: 'utf8',
  });
  expect(status, stderr).toBe(0);
  const got = JSON.parse(stdout) as { difference: number; largest: number; first: number; last: number };
  expect(got.largest).toBeGreaterThan(0.5);
  expect(got.difference).toBeLessThan(1e-5 * got.largest);
  expect(got.last).toBeLessThan(0.2 * got.first);
});
