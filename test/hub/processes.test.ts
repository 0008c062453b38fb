/**
 * Downloads by several processes: one after another's death, two at once, and locks that nobody holds any
 * more.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { type DownloadOptions } from '../../src/formats/hub/index.js';
import { downloadFile } from '../../src/formats/hub/node-download.js';
import { FileServer, noise } from './server.js';

const server = new FileServer(noise(1_000_000));
let folder = '';
const children = new Set<ChildProcess>();

beforeAll(() => server.listen());
afterAll(() => server.close());
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'kindling-hub-'));
  server.reset();
});
afterEach(() => {
  for (const child of children) child.kill('SIGKILL');
  children.clear();
  rmSync(folder, { recursive: true, force: true });
});

const options = (more: Partial<DownloadOptions> = {}): DownloadOptions => ({
  url: server.url(),
  sha256Prefix: server.sha256.slice(0, 8),
  cacheDir: folder,
  retryDelay: 5,
  ...more,
});
const checkpoints = (): string => join(folder, 'hub', 'checkpoints');
const target = (): string => join(checkpoints(), 'model.pth');

/** A process that downloads the file; `said` is what it has printed so far. */
function start(): { child: ChildProcess; output: Promise<string>; said: () => string } {
  const script = fileURLToPath(new URL('./child.ts', import.meta.url));
  const child = spawn(process.execPath, ['--import', 'tsx', script, JSON.stringify(options())], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.add(child);
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
  const output = new Promise<string>((resolve) => child.on('close', () => resolve(text)));
  return { child, output, said: () => text };
}

async function until(done: () => boolean): Promise<void> {
  for (const end = Date.now() + 60_000; !done();) {
    if (Date.now() > end) throw new Error('waited for too long');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

it('goes on after a process that was killed, at once', async () => {
  server.reset({ pace: 10 });
  const { child, output } = start();
  await until(() => server.bytesSent > 300_000);
  child.kill('SIGKILL');
  await output;
  expect(readdirSync(checkpoints()).sort()).toEqual(
    [
      'model.pth.lock',
      `model.pth.${server.sha256.slice(0, 8)}.partial`,
      `model.pth.${server.sha256.slice(0, 8)}.partial.json`,
    ].sort(),
  );
  server.reset();
  const started = performance.now();
  expect(await downloadFile(options())).toBe(target());
  expect(performance.now() - started).toBeLessThan(10_000);
  expect(server.requests.map(({ status }) => status)).toEqual([206]);
  expect(server.bytesSent).toBeLessThan(800_000);
  expect(readFileSync(target()).equals(server.content)).toBe(true);
  expect(readdirSync(checkpoints()).sort()).toEqual(['model.pth', 'model.pth.json']);
});

it('is done once by processes that want it at once', async () => {
  // The download cannot end before the other process has found it going on, however late that starts.
  let release = (): void => undefined;
  server.reset({ hold: new Promise<void>((resolve) => (release = resolve)) });
  const both = [start(), start()];
  await until(() => both.some(({ said }) => said().includes('waiting for')));
  release();
  const outputs = await Promise.all(both.map(({ output }) => output));
  for (const text of outputs) expect(text.trim().split('\n').at(-1)).toBe(target());
  expect(outputs.join('')).toMatch(/message: model\.pth: waiting for process \d+, which downloads it/);
  expect(server.requests).toHaveLength(1);
  expect(readFileSync(target()).equals(server.content)).toBe(true);
  expect(readdirSync(checkpoints()).sort()).toEqual(['model.pth', 'model.pth.json']);
});

it('is done once by calls of one process', async () => {
  const paths = await Promise.all(Array.from({ length: 5 }, () => downloadFile(options())));
  expect(new Set(paths)).toEqual(new Set([target()]));
  expect(server.requests).toHaveLength(1);
});

it('waits for a lock of another machine only while it is touched', async () => {
  mkdirSync(checkpoints(), { recursive: true });
  const lock = `${target()}.lock`;
  writeFileSync(lock, JSON.stringify({ pid: process.pid, host: `not ${hostname()}`, token: 'other' }));
  const started = performance.now();
  const touch = setInterval(() => utimesSync(lock, new Date(), new Date()), 50);
  setTimeout(() => clearInterval(touch), 600);
  const messages: string[] = [];
  await downloadFile(options({ staleLockAfter: 300, onMessage: (text) => messages.push(text) }));
  const waited = performance.now() - started;
  expect(waited).toBeGreaterThan(850);
  expect(waited).toBeLessThan(10_000);
  expect(messages).toEqual([`model.pth: waiting for process ${process.pid}, which downloads it`]);
});

it('takes over a lock file that makes no sense', async () => {
  mkdirSync(checkpoints(), { recursive: true });
  writeFileSync(`${target()}.lock`, 'half a li');
  await downloadFile(options({ staleLockAfter: 200 }));
  expect(readdirSync(checkpoints()).sort()).toEqual(['model.pth', 'model.pth.json']);
});

it('can be given up while it waits', async () => {
  mkdirSync(checkpoints(), { recursive: true });
  writeFileSync(`${target()}.lock`, JSON.stringify({ pid: process.pid, host: 'elsewhere', token: 'other' }));
  const signal = AbortSignal.timeout(150);
  await expect(downloadFile(options({ signal }))).rejects.toThrow(/timeout/i);
  expect(server.requests).toEqual([]);
});
