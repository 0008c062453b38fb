/** Every call to the device fails once, in a training and in a whole fine-tuning run: test/trust/faults.md. */
import { spawnSync } from 'node:child_process';
import { expect, it } from 'vitest';
import { root } from '../cli/support.js';

it.each([
  ['training', '1'],
  ['finetune', '29'],
])('%s: nothing is broken by any fault (every %sth call)', { timeout: 7_200_000 }, (what, stride) => {
  const args = ['--expose-gc', '--import', 'tsx', 'test/trust/faults.ts', what, stride];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8' });
  console.log(stdout);
  expect(stderr.split('\n').filter((line) => line.includes(': broken |'))).toEqual([]);
  expect(status).toBe(0);
});
