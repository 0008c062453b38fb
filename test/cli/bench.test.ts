import { readdirSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { recordProblems, tune } from '../../src/cli/tune.js';
import { init, noGrad, randn, runtime } from '../../src/index.js';
import { candidateTiles, type RecordedProblem } from '../../src/kernels/tuning/table.js';
import type { TunedChoice } from '../../src/kernels/matmul/choice.js';
import { cifarResnet20 } from '../../src/models/index.js';
import { kindling, temporaryFolder } from './support.js';

const folder = temporaryFolder();
beforeAll(async () => {
  vi.stubEnv('KINDLING_CACHE', folder);
  await init();
});
afterAll(() => vi.unstubAllEnvs());

const small = ['bench', 'cifar_resnet20', '--input', '2x3x16x16'];

interface Report {
  readonly input: readonly number[];
  readonly mode: string;
  readonly medianMs: number;
  readonly p90Ms: number;
  readonly imagesPerSecond: number;
  readonly dispatches: number;
  readonly pipelines: number;
  readonly peakBytes: number;
  readonly tuning?: {
    readonly ended: string;
    readonly problems: number;
    readonly left: number;
    readonly rows: [];
  };
}

const product: RecordedProblem = {
  op: 'gemm',
  problem: { m: 64, n: 64, k: 64 },
  key: 'gemm 64x64x64 NN f32',
  calls: 1,
};

describe('kindling bench', () => {
  it('prints times, rates, counts and memory', async () => {
    const { code, stdout } = await kindling(['bench', 'resnet18', '--input', '1x3x64x64']);
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^resnet18, a forward pass of 1x3x64x64: median [\d.]+ ms, 90th percentile [\d.]+ ms \(\d+ runs\), [\d.]+ images\/s\n\d+ dispatches, \d+ pipelines, [\d.]+ MiB of GPU memory at peak; .+\n$/,
    );
  });

  it('prints one JSON document with --json', async () => {
    const { code, stdout } = await kindling([...small, '--train', '--json']);
    expect(code).toBe(0);
    const report = JSON.parse(stdout) as Report;
    expect(report).toMatchObject({ mode: 'train', input: [2, 3, 16, 16] });
    expect(report.p90Ms).toBeGreaterThanOrEqual(report.medianMs);
    expect(report.imagesPerSecond).toBeCloseTo(2000 / report.medianMs, 6);
    expect(Math.min(report.dispatches, report.pipelines, report.peakBytes)).toBeGreaterThan(0);
  });

  it('stops at the time limit, and keeps nothing where it found nothing', async () => {
    const { code, stdout } = await kindling([...small, '--tune', '--seconds', '0.001', '--json']);
    expect(code).toBe(0);
    const { tuning } = JSON.parse(stdout) as Report;
    expect(tuning).toMatchObject({ ended: 'time', rows: [] });
    expect(tuning!.left).toBeGreaterThan(0);
    expect(readdirSync(folder)).toEqual([]);
  });

  it('leaves the device as untuned as it was', async () => {
    await kindling([...small, '--tune', '--seconds', '0.001']);
    expect(runtime().target.tuning).toBeUndefined();
  });

  it('ends with 130 after Ctrl-C', async () => {
    const stop = new AbortController();
    const onOutput = (text: string): void => {
      if (text.startsWith('tuning ')) stop.abort();
    };
    const { code, stdout } = await kindling([...small, '--tune'], { signal: stop.signal, onOutput });
    expect(code).toBe(130);
    expect(stdout).toContain('; interrupted');
  });

  it.each([
    ['a slip in the model', ['bench', 'resnet81'], 1, /^kindling: bench 'resnet81': did you mean 'resnet18'/],
    ['no time', [...small, '--tune', '--seconds', '0'], 2, /a number above 0/],
  ])('says in one line what is wrong: %s', async (_, args, status, message) => {
    const { code, stderr } = await kindling(args);
    expect(stderr).toMatch(message);
    expect(code).toBe(status);
  });
});

describe('recording', () => {
  it('lists the convolutions and products of a model without running it', () => {
    const model = cifarResnet20();
    model.eval();
    const x = randn(2, 3, 16, 16);
    runtime().resetOpCounts();
    const before = runtime().pipelineCount();
    const problems = recordProblems(() => noGrad(() => model(x)).dispose());
    expect(runtime().pipelineCount()).toBe(before);
    const calls = (op: string): number =>
      problems.filter((each) => each.op === op).reduce((sum, each) => sum + each.calls, 0);
    // Nineteen 3x3 ones; of the products the classifier is one, those within Winograd's kernels are the
    // others.
    expect(calls('conv2d')).toBe(19);
    expect(problems.map(({ key }) => key)).toContain('gemm 2x10x64 NT f32');
    expect(problems.length).toBeLessThan(19);
  });
});

describe('the search', () => {
  const never = new AbortController().signal;
  const only = (choices: readonly TunedChoice[]) => () => [...choices];

  it('passes over candidates that the adapter refuses', async () => {
    const tile = candidateTiles(runtime().target)[0]!;
    const impossible = { tile: { ...tile, lanes: 65536 } };
    const { rows, ended } = await tune([product], {
      seconds: 30,
      signal: never,
      candidatesOf: only([impossible, { tile: candidateTiles(runtime().target).at(-1)! }]),
    });
    expect(rows).toMatchObject([{ failed: 1, tried: 1 }]);
    expect(ended).toBe('done');
  });

  it('finds what beats the default, and keeps it with both times', async () => {
    // The tiles for GPUs wait at barriers, which are dear on the software adapter: its own are several times
    // as fast.
    const target = { ...runtime().target, kind: 'gpu' as const, subgroupSize: 0 };
    const tile = candidateTiles(runtime().target)[0]!;
    const problem = { m: 256, n: 256, k: 256 };
    const large: RecordedProblem = { op: 'gemm', problem, key: 'gemm 256x256x256 NN f32', calls: 1 };
    const { rows, choices } = await tune([large], { seconds: 30, target, candidatesOf: only([{ tile }]) });
    expect(rows).toMatchObject([{ choice: { tile }, tried: 1, failed: 0 }]);
    const kept = choices.get(large.key)!;
    expect(kept.tile).toEqual(tile);
    expect(kept.ms).toBeLessThan(0.95 * kept.defaultMs);
  });

  it('measures no candidate that is the default', async () => {
    const { rows, choices } = await tune([product], { seconds: 30, candidatesOf: only([{}]) });
    expect(rows).toMatchObject([{ choice: null, tried: 0 }]);
    expect(choices.size).toBe(0);
  });

  it('keeps earlier choices for problems that it does not get to', async () => {
    const tile = candidateTiles(runtime().target)[1]!;
    const known = new Map([['gemm 1x2x3 NN f32', { tile, defaultMs: 2, ms: 1 }]]);
    const { choices } = await tune([product], { seconds: 0.001, known });
    expect([...choices]).toEqual([...known]);
  });
});
