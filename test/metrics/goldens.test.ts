/** Metrics beside torchmetrics and scikit-learn, by goldens (scripts/goldens/metrics.py). */
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';
import * as metrics from '../../src/metrics/index.js';
import type { NestedArray, Tensor } from '../../src/index.js';

interface Golden {
  readonly name: string;
  readonly metric: Exclude<keyof typeof metrics, 'Metric' | 'MetricCollection'>;
  readonly options: Readonly<Record<string, unknown>>;
  readonly batches: readonly number[];
  readonly value: unknown;
  readonly by: string;
}

interface Batch {
  readonly preds: NestedArray;
  readonly target: NestedArray;
  readonly float: boolean;
}

const { batches, cases } = JSON.parse(
  readFileSync(new URL('../goldens/metrics/metrics.json', import.meta.url), 'utf8'),
) as { batches: readonly Batch[]; cases: readonly Golden[] };

const regression = ['MeanSquaredError', 'MeanAbsoluteError', 'R2Score', 'MeanMetric'];

const camel = (name: string): string => name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());

function optionsOf({ metric, options, batches: [first] }: Golden): Record<string, unknown> {
  const named = Object.fromEntries(Object.entries(options).map(([key, value]) => [camel(key), value]));
  // torchmetrics takes the number of outputs from the shape here.
  const row = (batches[first!]!.preds as readonly NestedArray[])[0];
  return metric === 'R2Score' && Array.isArray(row) ? { ...named, numOutputs: row.length } : named;
}

function tensorsOf(golden: Golden, number: number): [Tensor, Tensor] {
  const { preds, target, float } = batches[number]!;
  const labels = regression.includes(golden.metric) ? 'float32' : 'int32';
  const values = (x: NestedArray): NestedArray =>
    Array.isArray(x) ? (x as NestedArray[]).map(values) : (x as unknown) === 'NaN' ? NaN : x;
  return [
    k.tensor(values(preds), { dtype: float ? 'float32' : 'int32' }),
    k.tensor(values(target), { dtype: labels }),
  ];
}

/** Numbers as they are, in nested lists; NaN came as a string. */
const listed = (value: unknown): number[] =>
  Array.isArray(value) ? value.flatMap(listed) : [value === 'NaN' ? NaN : (value as number)];

beforeAll(() => k.init());

describe.each([...new Set(cases.map(({ metric }) => metric))])('%s is what others make of it', (name) => {
  it.each(cases.filter(({ metric }) => metric === name))('$name ($by)', async (golden) => {
    const Class = metrics[name] as unknown as new (options: object) => metrics.Metric;
    const metric = new Class(optionsOf(golden));
    for (const number of golden.batches) metric.update(...tensorsOf(golden, number));
    const value = await metric.compute();
    const [ours, theirs] = [listed(value), listed(golden.value)];
    expect(Array.isArray(value)).toBe(Array.isArray(golden.value));
    expect(ours).toHaveLength(theirs.length);
    ours.forEach((x, i) => {
      if (Number.isNaN(theirs[i])) expect(x).toBeNaN();
      else
        expect(Math.abs(x - theirs[i]!), `${x}, theirs ${theirs[i]}`).toBeLessThan(2e-6 + 2e-5 * Math.abs(x));
    });
  });
});
