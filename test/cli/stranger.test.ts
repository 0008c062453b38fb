/** Weight files of strangers on the command line: nothing in them reaches the terminal as it is. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { encodeSafetensors, encodeTorch, HostTensor, type TorchValue } from '../../src/formats/index.js';
import { cpuSeconds } from '../tooling/cpu-time.js';
import { kindling, temporaryFolder } from './support.js';

const folder = temporaryFolder();
const nasty = '\x1b]52;c;aGk=\x07\x9b2J\u202e\nkindling: all is well';
const controls = /[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]/;
const one = HostTensor.from('float32', [1], [1]);

function file(name: string, bytes: Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

const safetensors = file(
  'a.safetensors',
  await encodeSafetensors(new Map([[nasty, one]]), { metadata: { [nasty]: nasty } }),
);
const pth = file('a.pth', await encodeTorch({ state_dict: new Map([[nasty, one]]), [nasty]: [nasty] }));
const twice = file(
  'twice.pth',
  await encodeTorch({ [nasty]: new Map([['w', one]]), b: new Map([['w', one]]) }),
);

describe('control characters', () => {
  it.each<[string, string[]]>([
    ['inspect of a safetensors file', ['inspect', safetensors]],
    ['inspect of a .pth file', ['inspect', pth]],
    ['convert', ['convert', pth, join(folder, 'b.pth'), '--force']],
    ['an error about a wrong key', ['inspect', pth, '--key', nasty]],
    ['an error that lists keys', ['inspect', twice]],
    ['a file that is not there', ['inspect', join(folder, nasty)]],
    ['a command line that is wrong', ['inspect', pth, `--${nasty}`]],
  ])('are spelled out in %s', async (_, args) => {
    const { stdout, stderr } = await kindling(args);
    expect(stdout + stderr).not.toMatch(controls);
    // A line break in a name starts no message of its own.
    expect(stdout + stderr).not.toMatch(/^kindling: all is well/m);
    expect(stdout + stderr).toMatch(/x1b|u001b|all is well/);
  });

  it('are escapes of JSON in --json, which keeps every name as it is', async () => {
    for (const path of [safetensors, pth]) {
      const { stdout } = await kindling(['inspect', path, '--json']);
      expect(stdout).not.toMatch(controls);
      const { tensors } = JSON.parse(stdout) as { tensors: { name: string }[] };
      expect(tensors.map(({ name }) => name)).toEqual([nasty]);
    }
  });
});

describe('bounds', () => {
  it('of a listing: a value that holds the next one 64 times, six levels deep, is soon listed', async () => {
    let value: TorchValue = [1];
    for (let depth = 0; depth < 6; depth++) value = new Array<TorchValue>(64).fill(value);
    const path = file('deep.pth', await encodeTorch({ state_dict: new Map([['w', one]]), value }));
    const spent = await cpuSeconds(2, async () => {
      const { code, stdout } = await kindling(['inspect', path, '--json']);
      expect(code).toBe(0);
      expect(stdout.length).toBeLessThan(200_000);
    });
    expect(spent).toBeLessThan(2);
  });

  it('are raised as the error says', async () => {
    const tensors = new Map(Array.from({ length: 20 }, (_, i) => [`t${i}`, one] as const));
    const path = file('many.safetensors', await encodeSafetensors(tensors));
    const refused = await kindling(['inspect', path, '--limit', 'tensors=10']);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/21 tensors, and at most 10 are read/);
    const advice = /--limit (\w+=\d+)/.exec(refused.stderr)?.[1] ?? '';
    expect((await kindling(['inspect', path, '--limit', advice])).code).toBe(0);
    const unknown = await kindling(['inspect', path, '--limit', 'x=1']);
    expect(unknown.code).toBe(2);
  });

  it('of several state dicts one is chosen as the error says', async () => {
    const path = file(
      'two.pth',
      await encodeTorch({ nets: { a: new Map([['w', one]]), b: new Map([['w', one]]) } }),
    );
    const { stderr } = await kindling(['inspect', path]);
    const advice = /take (--key nets --key a);/.exec(stderr)?.[1];
    expect(advice).toBeDefined();
    expect((await kindling(['inspect', path, ...advice!.split(' ')])).code).toBe(0);
  });

  it('a damaged file is read as it is when asked', async () => {
    const bytes = await encodeSafetensors(new Map([['w', one]]));
    bytes[bytes.length - 1]! ^= 1;
    const path = file('damaged.safetensors', bytes);
    const out = join(folder, 'mended.safetensors');
    const refused = await kindling(['convert', path, out]);
    expect(refused.stderr).toMatch(/is damaged[^\n]*; inspect and convert take --no-verify\n$/);
    expect((await kindling(['convert', path, out, '--no-verify'])).code).toBe(0);
    expect((await kindling(['inspect', out])).code).toBe(0);
  });
});
