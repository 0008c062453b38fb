/**
 * Calls to the device fail one at a time, in a training and in a whole fine-tuning run: test/trust/faults.md.
 */
import { spawnSync } from 'node:child_process';
import { expect, it } from 'vitest';
import { root } from '../cli/support.js';

it.each([
  ['training', '83'],
  ['finetune', '3989'],
])(
  '%s: nothing is broken by any fault (from the first on, at a stride of %s)',
  { timeout: 1_500_000 },
  (what, stride) => {
    const args = ['--expose-gc', '--import', 'tsx', 'test/trust/faults.ts', what, stride];
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8' });
    console.log(stdout);
    expect(stderr.split('\n').filter((line) => line.includes(': broken |'))).toEqual([]);
    expect(status).toBe(0);
  },
);
