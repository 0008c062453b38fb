/** The command as a process of its own: exit statuses, clean streams, signals. */
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { init, loadCheckpoint, models, saveWeights } from '../../src/index.js';
import { root, temporaryFolder, writeShapes, type Outcome } from './support.js';

const folder = temporaryFolder();
const weights = join(folder, 'resnet8.safetensors');
const data = writeShapes(join(folder, 'data.bin'), 20, 1);

beforeAll(async () => {
  await init();
  await saveWeights(models.cifarResnet8(), weights);
});

/** @param interruptAt sends the signal once standard output has this */
function kindling(
  args: readonly string[],
  interruptAt?: string,
  signal: NodeJS.Signals = 'SIGINT',
): Promise<Outcome> {
  const child = spawn(process.execPath, ['--import', 'tsx', join(root, 'src/cli/main.ts'), ...args], {
    cwd: root,
  });
  let [stdout, stderr] = ['', ''];
  let sent = false;
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
    if (interruptAt !== undefined && !sent && stdout.includes(interruptAt)) sent = child.kill(signal);
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve({ code: code ?? -1, stdout, stderr }));
  });
}

it('prints nothing but JSON on standard output, and ends by itself', { timeout: 120_000 }, async () => {
  const { code, stdout } = await kindling(['info', '--json']);
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toHaveProperty('adapter');
});

it('leaves the error output empty where nothing is wrong', { timeout: 120_000 }, async () => {
  const errors = join(folder, 'errors');
  const command = [process.execPath, '--import', 'tsx', join(root, 'src/cli/main.ts'), 'info'];
  // In place of the shell, which would have the file open, too.
  const shell = spawn('sh', ['-c', 'exec "$@" 2>"$0"', errors, ...command], { cwd: root, stdio: 'ignore' });
  const code = await new Promise((resolve) => shell.on('close', resolve));
  expect({ code, errors: readFileSync(errors, 'utf8') }).toEqual({ code: 0, errors: '' });
});

it('keeps the order of both outputs in one file', { timeout: 120_000 }, async () => {
  const log = join(folder, 'log');
  const command = [process.execPath, '--import', 'tsx', join(root, 'src/cli/main.ts'), 'info'];
  const shell = spawn('sh', ['-c', 'exec "$@" >"$0" 2>&1', log, ...command], { cwd: root, stdio: 'ignore' });
  await new Promise((resolve) => shell.on('close', resolve));
  expect(readFileSync(log, 'utf8')).toMatch(/^(Warning: maxDynamic.*\n)*adapter [^]*\nsystem .*\n$/);
});

it('ends with status 1 for a path that is not there', { timeout: 120_000 }, async () => {
  const { code, stdout, stderr } = await kindling(['inspect', join(folder, 'resnet9.safetensors')]);
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
  expect(stderr).toMatch(/^kindling: .*resnet9\.safetensors: no such file\n$/m);
});

it.each([
  ['Ctrl-C', 'SIGINT', 130, 'interrupted'],
  ['SIGTERM', 'SIGTERM', 143, 'interrupted by SIGTERM'],
] as const)(
  'stops at %s with its status and a whole file',
  { timeout: 240_000 },
  async (_, signal, status, report) => {
    const out = join(folder, `${signal}.safetensors`);
    const args = ['finetune', data, '--weights', weights, '--model', 'cifar_resnet8'];
    const outcome = await kindling(
      [...args, '--epochs', '10000', '--batch-size', '20', '--out', out],
      'epoch',
      signal,
    );
    expect(outcome.stderr).toMatch(new RegExp(`^kindling: ${report}$`, 'm'));
    expect(outcome.code).toBe(status);
    expect(outcome.stdout).toContain(`saved ${out}`);
    expect(existsSync(out)).toBe(true);
    expect((await loadCheckpoint(out)).tensors.size).toBeGreaterThan(30);
    expect(readdirSync(folder).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  },
);
