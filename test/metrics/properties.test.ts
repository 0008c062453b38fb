/** Random streams of batches beside plain references. */
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';
import { Accuracy, AUROC, ConfusionMatrix, F1Score, MetricCollection } from '../../src/metrics/index.js';

beforeAll(() => k.init());

interface Sample {
  readonly label: number;
  /** Eighths, so that many are equal. */
  readonly scores: readonly number[];
}

const classes = 3;
const ignored = -1;

const sample: fc.Arbitrary<Sample> = fc.record({
  label: fc.integer({ min: ignored, max: classes - 1 }),
  scores: fc.array(fc.integer({ min: 0, max: 8 }), { minLength: classes, maxLength: classes }),
});
const stream = fc.array(sample, { minLength: 1, maxLength: 40 });

const options = { numClasses: classes, ignoreIndex: ignored };
const make = () =>
  new MetricCollection({
    top2: new Accuracy({ ...options, topK: 2 }),
    f1: new F1Score({ ...options, average: 'none' }),
    matrix: new ConfusionMatrix(options),
    auroc: new AUROC({ ...options, average: 'none' }),
    binned: new AUROC({
      ...options,
      average: 'none',
      thresholds: [0, 1, 2, 3, 4, 5, 6, 7, 8].map((x) => x / 8),
    }),
  });

function update(metrics: ReturnType<typeof make>, samples: readonly Sample[]): void {
  const scores = k.tensor(samples.map(({ scores }) => scores.map((x) => x / 8)));
  metrics.update(
    samples.length === 0 ? k.zeros(0, classes) : scores,
    k.tensor(
      samples.map(({ label }) => label),
      { dtype: 'int32' },
    ),
  );
}

/** Samples in the batches that end at some places. */
const split = (samples: readonly Sample[], ends: readonly number[]): (readonly Sample[])[] => {
  const cuts = [0, ...ends.map((end) => end % (samples.length + 1)).sort((a, b) => a - b), samples.length];
  return cuts.slice(1).map((end, i) => samples.slice(cuts[i], end));
};

/** As it is defined, sample by sample and pair by pair. */
function reference(all: readonly Sample[]) {
  const samples = all.filter(({ label }) => label !== ignored);
  const order = ({ scores }: Sample): number[] =>
    scores.map((_, c) => c).sort((a, b) => scores[b]! - scores[a]! || a - b);
  const first = samples.map((one) => order(one)[0]!);
  const matrix = Array.from({ length: classes }, (_, t) =>
    Array.from(
      { length: classes },
      (_, p) => samples.filter((s, i) => s.label === t && first[i] === p).length,
    ),
  );
  const each = <T>(f: (c: number) => T): T[] => Array.from({ length: classes }, (_, c) => f(c));
  const hits = samples.filter((one) => order(one).slice(0, 2).includes(one.label)).length;
  return {
    top2: samples.length === 0 ? 0 : hits / samples.length,
    matrix,
    f1: each((c) => {
      const tp = matrix[c]![c]!;
      const others = samples.filter(({ label }, i) => (label === c) !== (first[i] === c)).length;
      return 2 * tp + others === 0 ? 0 : (2 * tp) / (2 * tp + others);
    }),
    auroc: each((c) => {
      const [own, rest] = [samples.filter((s) => s.label === c), samples.filter((s) => s.label !== c)];
      const won = own.flatMap((a) => rest.map((b) => Math.sign(a.scores[c]! - b.scores[c]!) / 2 + 0.5));
      return won.length === 0 ? 0 : won.reduce((a, b) => a + b, 0) / won.length;
    }),
  };
}

const runs = { numRuns: 25, seed: 11 };

describe('random streams', () => {
  it('have the values of the definitions', async () => {
    await fc.assert(
      fc.asyncProperty(stream, async (samples) => {
        const metrics = make();
        update(metrics, samples);
        const { top2, f1, matrix, auroc } = await metrics.compute();
        const expected = reference(samples);
        expect(matrix).toEqual(expected.matrix);
        expect(top2).toBeCloseTo(expected.top2, 12);
        f1.forEach((x, c) => expect(x).toBeCloseTo(expected.f1[c]!, 12));
        auroc.forEach((x, c) => expect(x).toBeCloseTo(expected.auroc[c]!, 12));
      }),
      runs,
    );
  });

  it('give the same bits however they are cut into batches, ordered, and spread over metrics', async () => {
    const cuts = fc.array(fc.nat(40), { maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(stream, cuts, fc.infiniteStream(fc.nat(1000)), async (samples, ends, keys) => {
        const whole = make();
        update(whole, samples);
        const shuffled = samples
          .map((one) => ({ one, key: keys.next().value }))
          .sort((a, b) => a.key - b.key)
          .map(({ one }) => one);
        const parts = split(shuffled, ends).map((batch) => {
          const metrics = make();
          update(metrics, batch);
          return metrics;
        });
        const merged = parts.pop()!;
        for (const [i, part] of parts.entries()) merged.merge(i % 2 === 0 ? part : await part.stateDict());
        expect(await merged.compute()).toEqual(await whole.compute());
      }),
      runs,
    );
  });
});
