import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { kindling, temporaryFolder } from './support.js';

const folder = temporaryFolder();
const small = ['profile', 'cifar_resnet20', '--batch-size', '2'];

interface Report {
  readonly input: readonly number[];
  readonly mode: string;
  readonly dispatches: number;
  readonly gpuMs: number;
  readonly ops: readonly { name: string; calls: number; ms: number }[];
  readonly layers: readonly {
    path: string;
    calls: number;
    forwardMs: number;
    backwardMs: number;
    ms: number;
  }[];
}

describe('kindling profile', () => {
  it('shows the kernels and layers that take longest', async () => {
    const { code, stdout } = await kindling([...small, '--rows', '3']);
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^cifar_resnet20, a forward pass of 2x3x32x32: [\d.]+ ms\nGPU [\d.]+ ms in \d+ dispatches/,
    );
    expect(stdout).toMatch(/\nkernel +calls +ms +share\n(.+%\n){3}and \d+ more kernels/);
    expect(stdout).toMatch(/\nlayer +calls +ms +share\n(.+%\n){3}and \d+ more layers/);
  });

  it('with --train writes a report whose parts add up, and a trace', async () => {
    const [json, trace] = [join(folder, 'profile.json'), join(folder, 'trace.json')];
    const { code, stdout } = await kindling([...small, '--train', '--out', json, '--trace', trace]);
    expect(code).toBe(0);
    expect(stdout).toContain('backward ms');
    const report = JSON.parse(readFileSync(json, 'utf8')) as Report;
    expect(report).toMatchObject({ mode: 'train', input: [2, 3, 32, 32] });
    for (const rows of [report.ops, report.layers]) {
      expect(rows.reduce((sum, { calls }) => sum + calls, 0)).toBe(report.dispatches);
      expect(rows.reduce((sum, { ms }) => sum + ms, 0)).toBeCloseTo(report.gpuMs, 6);
    }
    const layer = report.layers.find(({ path }) => path === 'layer2.0.conv2')!;
    expect(layer.forwardMs).toBeGreaterThan(0);
    expect(layer.backwardMs).toBeGreaterThan(0);
    expect(report.layers.map(({ path }) => path)).toEqual(expect.arrayContaining(['loss', 'optimizer']));
    const { traceEvents } = JSON.parse(readFileSync(trace, 'utf8')) as { traceEvents: { cat?: string }[] };
    expect(traceEvents.filter(({ cat }) => cat === 'kernel')).toHaveLength(report.dispatches);
  });

  it('prints one JSON document with --json', async () => {
    const { code, stdout } = await kindling([...small, '--input', '1x3x16x16', '--json']);
    expect(code).toBe(0);
    expect((JSON.parse(stdout) as Report).input).toEqual([2, 3, 16, 16]);
  });

  it.each([
    [
      'a slip in the model',
      ['profile', 'resnet81'],
      1,
      /^kindling: profile 'resnet81': did you mean 'resnet18'/,
    ],
    [
      'a missing folder',
      [...small, '--trace', join(folder, 'none', 't.json')],
      1,
      /t\.json: cannot be written: there is no such folder\n$/,
    ],
    ['a shape of words', ['profile', 'resnet18', '--input', 'big'], 2, /sizes with x between them/],
    ['no model', ['profile'], 2, /missing required argument 'model'/],
  ])('says in one line what is wrong: %s', async (_, args, status, message) => {
    const { code, stderr } = await kindling(args);
    expect(stderr).toMatch(message);
    expect(code).toBe(status);
  });
});
