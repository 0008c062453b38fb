import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

const run = promisify(execFile);
const device = new URL('../../src/device/index.ts', import.meta.url).href;

/** Runs a script in its own process and returns what it printed; rejects when it does not exit by itself. */
async function script(body: string): Promise<string> {
  const code = `const { init, close, runtime } = await import('${device}'); ${body}`;
  const cwd = fileURLToPath(new URL('../..', import.meta.url));
  const args = ['--import', 'tsx', '--input-type=module', '-e', code];
  return (await run(process.execPath, args, { cwd, timeout: 20_000 })).stdout;
}

const use = `
  await init();
  const buffer = runtime().alloc(16, 'x');
  runtime().write(buffer, 0, Float32Array.of(1, 2, 3, 4));
  console.log(new Float32Array(await runtime().read(buffer, 0, 16)).join());`;

it('lets the process exit at the end of the script', async () => {
  expect(await script(use)).toBe('1,2,3,4\n');
}, 30_000);

it('lets the process exit after close', async () => {
  expect(await script(`${use} close(); console.log('closed');`)).toBe('1,2,3,4\nclosed\n');
}, 30_000);
