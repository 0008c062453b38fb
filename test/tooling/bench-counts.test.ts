import { describe, expect, it } from 'vitest';
import {
  differences,
  howToAccept,
  readExpected,
  type Counts,
  type CountedWorks,
} from '../../bench/counts.js';
import { Bundle, runForJson } from '../../bench/process.js';

describe('counts of small works', () => {
  it('are those of bench/expected-counts.json', async ({ skip }) => {
    using bundle = await Bundle.of('measure.ts');
    const { adapter, works } = runForJson<CountedWorks>(bundle.file, ['--counts']);
    const expected = readExpected();
    skip(adapter !== expected.adapter, `counted on: ${expected.adapter}; this adapter: ${adapter}`);
    const changed = differences(expected.works, works);
    expect(changed, `${changed.join('\n')}\n${howToAccept}`).toEqual([]);
    // Nothing compiled before: half a minute on two busy cores.
  }, 180_000);
});

describe('differences', () => {
  const counts: Counts = { dispatches: 3, pipelines: 2, peakGpuBytes: 1024, kernels: { gemm: 2, copy: 1 } };

  it('are none between equal counts', () => {
    expect(differences({ step: counts }, { step: structuredClone(counts) })).toEqual([]);
  });

  it('name the work and the number', () => {
    expect(differences({ step: counts }, { step: { ...counts, pipelines: 4, peakGpuBytes: 1023 } })).toEqual([
      'step: pipelines: 2 expected, 4 now',
      'step: peakGpuBytes: 1024 expected, 1023 now',
    ]);
  });

  it('name the kernels whose dispatches moved, even where their sum has not', () => {
    expect(
      differences({ step: counts }, { step: { ...counts, kernels: { gemm: 1, copy: 1, add: 1 } } }),
    ).toEqual(['step: dispatches of gemm: 2 expected, 1 now', 'step: dispatches of add: 0 expected, 1 now']);
  });

  it('name works that are only on one side', () => {
    expect(differences({ old: counts }, {})[0]).toBe('old: dispatches: 3 expected, gone now');
    expect(differences({}, { fresh: counts })[0]).toBe('fresh: dispatches: not listed expected, 3 now');
  });
});
