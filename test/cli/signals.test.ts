/**
 * What a process is told from outside, without processes: statuses, presses, and who answers signals when.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, it, vi, type MockInstance } from 'vitest';
import { Interrupted } from '../../src/cli/errors.js';
import { run } from '../../src/cli/run.js';
import { Interrupts } from '../../src/cli/signals.js';
import { writeFileAtomically } from '../../src/formats/index.js';
import { kindling, root, temporaryFolder } from './support.js';

const folder = temporaryFolder();
const fixture = join(root, 'test/fixtures/formats/checkpoint.zip.pth');
const names = ['SIGHUP', 'SIGINT', 'SIGTERM'] as const;

describe('a request to end', () => {
  let interrupts: Interrupts;
  let before: Map<string, unknown[]>;
  let exit: MockInstance<typeof process.exit>;
  const written: string[] = [];
  beforeEach(() => {
    before = new Map(names.map((name) => [name, process.listeners(name)]));
    exit = vi.spyOn(process, 'exit').mockImplementation(() => undefined as never);
    vi.spyOn(process.stderr, 'write').mockImplementation((text) => written.push(String(text)) > 0);
    interrupts = new Interrupts();
    interrupts.answer();
  });
  afterEach(() => {
    vi.restoreAllMocks();
    for (const name of names)
      for (const listener of process.listeners(name))
        if (!before.get(name)?.includes(listener)) process.removeListener(name, listener);
  });
  const send = (name: (typeof names)[number]): void => {
    // Only to the listener at hand: a test runner has its own.
    for (const listener of process.listeners(name)) if (!before.get(name)?.includes(listener)) listener(name);
  };

  it.each([
    ['SIGHUP', 129],
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('by %s gives the status %i', (name, status) => {
    send(name);
    expect(interrupts.signal.aborted).toBe(true);
    expect((interrupts.signal.reason as Interrupted).exitCode).toBe(status);
    expect(exit).not.toHaveBeenCalled();
  });

  it('by Ctrl-C again ends the process, but not when npm passes on the first one', () => {
    const now = vi.spyOn(performance, 'now').mockReturnValue(1000);
    send('SIGINT');
    now.mockReturnValue(1020);
    send('SIGINT');
    expect(exit).not.toHaveBeenCalled();
    now.mockReturnValue(1500);
    send('SIGINT');
    expect(exit).toHaveBeenCalledExactlyOnceWith(130);
  });

  it('that a machine sends twice lets the work be put in order', () => {
    vi.spyOn(performance, 'now').mockReturnValueOnce(1000).mockReturnValue(5000);
    for (const name of ['SIGHUP', 'SIGTERM', 'SIGHUP'] as const) send(name);
    expect(exit).not.toHaveBeenCalled();
    expect((interrupts.signal.reason as Interrupted).exitCode).toBe(129);
  });
});

describe('a command', () => {
  it('ends with the status of what interrupted it', async () => {
    const interrupt = new AbortController();
    interrupt.abort(new Interrupted('interrupted by SIGTERM', 143));
    const args = ['convert', fixture, join(folder, 'never.npz')];
    const { code, stderr } = await kindling(args, { signal: interrupt.signal });
    expect({ code, stderr }).toEqual({ code: 143, stderr: 'kindling: interrupted by SIGTERM\n' });
    expect(readdirSync(folder)).toEqual([]);
  });

  it('that only reads leaves signals to the system, which ends it even while JavaScript is busy', async () => {
    const silent = { write: () => undefined };
    const asked = async (args: readonly string[]): Promise<boolean> => {
      let used = false;
      const streams = { stdout: silent, stderr: silent };
      expect(await run(args, { streams, onSignalUse: () => (used = true) })).toBe(0);
      return used;
    };
    expect(await asked(['inspect', fixture])).toBe(false);
    expect(await asked(['convert', fixture, join(folder, 'some.npz')])).toBe(true);
  });
});

describe('writing', () => {
  it('leaves nothing behind when the process exits in the middle', () => {
    const place = temporaryFolder();
    const formats = pathToFileURL(join(root, 'src/formats/index.ts')).href;
    const code = `
      import { writeFileAtomically } from '${formats}';
      import { readdirSync } from 'node:fs';
      async function* chunks() {
        yield new Uint8Array(10);
        console.log(readdirSync('.').length);
        process.exit(3);
      }
      await writeFileAtomically('out.bin', chunks());`;
    const tsx = createRequire(import.meta.url).resolve('tsx');
    const args = ['--import', pathToFileURL(tsx).href, '--input-type=module', '-e', code];
    const { status, stdout } = spawnSync(process.execPath, args, { cwd: place, encoding: 'utf8' });
    expect({ status, stdout }).toEqual({ status: 3, stdout: '1\n' });
    expect(readdirSync(place)).toEqual([]);
  });

  it.skipIf(process.platform === 'win32')('goes into a pipe, and does not take its place', async () => {
    const pipe = join(folder, 'pipe');
    expect(spawnSync('mkfifo', [pipe]).status).toBe(0);
    const read = readFile(pipe, 'utf8');
    await writeFileAtomically(pipe, [new TextEncoder().encode('one '), new TextEncoder().encode('two')]);
    expect(await read).toBe('one two');
  });

  it('of a result does not replace what is no result', async () => {
    const images = join(folder, 'images.bin');
    writeFileSync(images, Buffer.alloc(3073, 7));
    const args = ['eval', fixture, images, '--model', 'cifar_resnet8', '--predictions', images];
    const { code, stderr } = await kindling(args);
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^kindling: .*images\.bin: is there already and is no JSON; give another name.*\n$/,
    );
    const trace = ['profile', 'cifar_resnet8', '--trace', images];
    expect((await kindling(trace)).stderr).toMatch(/is there already and is no JSON/);
  });
});
