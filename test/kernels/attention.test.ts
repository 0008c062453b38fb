/** Fused attention, planned for GPUs and for the adapter here, against plain float64 loops. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { close, init, runtime } from '../../src/device/index.js';
import {
  planAttention,
  planAttentionGrad,
  prefersFused,
  statsBytes,
  type AttentionProblem,
  type MaskPlace,
  type Place,
} from '../../src/kernels/attention/plan.js';
import type { Plan } from '../../src/kernels/base/plan.js';
import { every, full } from '../tooling/full.js';
import { runPlan } from './harness.js';
import { limits, random, targets } from './heavy-harness.js';

beforeAll(() => init());
afterAll(() => close());

interface Sizes {
  readonly batch?: number;
  readonly queryHeads?: number;
  readonly heads?: number;
  readonly queries: number;
  readonly keys: number;
  readonly depth: number;
  readonly width?: number;
  readonly causal?: boolean;
  readonly mask?: 'shown' | 'hidden' | 'float';
  /** Queries whose keys a bool mask hides altogether. */
  readonly blind?: number;
  readonly half?: boolean;
}

interface Made {
  readonly p: AttentionProblem;
  readonly data: Readonly<Record<string, Float32Array>>;
}

/** Heads side by side in memory behind some numbers of slack, as a projection of all heads leaves them. */
const place = (heads: number, rows: number, numbers: number): Place => ({
  batch: rows * heads * numbers + 4,
  head: numbers,
  row: heads * numbers,
  offset: 8,
});
const spanOf = (p: Place, batch: number): number => p.offset + batch * p.batch;

/** Values that float16 holds exactly. */
const rough = (data: Float32Array): Float32Array => data.map((v) => Math.round(v * 64) / 64);

function make(sizes: Sizes): Made {
  const { batch = 2, queryHeads = 2, heads = queryHeads, queries, keys, depth, width = depth } = sizes;
  const tall = { q: depth, o: width, g: width, dq: depth };
  const wide = { k: depth, v: width, dk: depth, dv: width };
  const places = Object.fromEntries([
    ...Object.entries(tall).map(([name, numbers]) => [name, place(queryHeads, queries, numbers)]),
    ...Object.entries(wide).map(([name, numbers]) => [name, place(heads, keys, numbers)]),
  ]) as Record<string, Place>;
  const data: Record<string, Float32Array> = {};
  for (const name of ['q', 'k', 'v', 'g']) {
    const values = random(spanOf(places[name]!, batch)).map((v) => 2 * v);
    data[name] = sizes.half ? rough(values) : values;
  }
  let mask: MaskPlace | null = null;
  if (sizes.mask) {
    // The same for all heads.
    const kind = sizes.mask === 'float' ? 'float' : 'bool';
    mask = {
      kind,
      batch: queries * keys,
      head: 0,
      row: keys,
      col: 1,
      offset: 0,
      shown: sizes.mask === 'shown',
    };
    data['mask'] = random(batch * queries * keys).map((v, i) => {
      if (kind === 'float') return v;
      const row = Math.floor(i / keys) % queries;
      const looks = row !== sizes.blind && (v > 0 || i % keys === 0);
      return Number(looks === mask!.shown);
    });
  }
  const p = { batch, queryHeads, heads, queries, keys, depth, width, places, mask };
  return { p: { ...p, elem: sizes.half ? 'f16' : 'f32', causal: sizes.causal ?? false, scale: 0.3 }, data };
}

type Results = Record<'o' | 'dq' | 'dk' | 'dv', Float64Array>;

/** Attention and its gradients by definition, where the operands lie. */
function reference({ p, data }: Made): Results {
  const at = (name: string, n: number, h: number, row: number): number => {
    const { batch, head, row: step, offset } = p.places[name as 'q']!;
    return offset + n * batch + h * head + row * step;
  };
  const blank = (name: string): Float64Array => new Float64Array(spanOf(p.places[name as 'q']!, p.batch));
  const out: Results = { o: blank('o'), dq: blank('dq'), dk: blank('dk'), dv: blank('dv') };
  const { q, k, v, g, mask } = data as Record<'q' | 'k' | 'v' | 'g' | 'mask', Float32Array>;
  const dot = (a: ArrayLike<number>, i: number, b: ArrayLike<number>, j: number, count: number): number => {
    let sum = 0;
    for (let e = 0; e < count; e++) sum += a[i + e]! * b[j + e]!;
    return sum;
  };
  for (let n = 0; n < p.batch; n++)
    for (let h = 0; h < p.queryHeads; h++) {
      const kv = Math.floor(h / (p.queryHeads / p.heads));
      for (let i = 0; i < p.queries; i++) {
        const hidden = (j: number): boolean => {
          if (p.causal && j > i) return true;
          if (p.mask?.kind !== 'bool') return false;
          return Boolean(mask[n * p.mask.batch + i * p.mask.row + j]) !== p.mask.shown;
        };
        const scores = Array.from({ length: p.keys }, (_, j) => {
          if (hidden(j)) return -Infinity;
          const bias = p.mask?.kind === 'float' ? mask[n * p.mask.batch + i * p.mask.row + j]! : 0;
          return p.scale * dot(q, at('q', n, h, i), k, at('k', n, kv, j), p.depth) + bias;
        });
        const most = Math.max(-3e38, ...scores);
        const powers = scores.map((s) => Math.exp(s - most));
        const total = powers.reduce((a, b) => a + b, 0);
        const weights = powers.map((x) => x / total);
        const to = at('o', n, h, i);
        weights.forEach((w, j) => {
          for (let e = 0; e < p.width; e++) out.o[to + e]! += w * v[at('v', n, kv, j) + e]!;
        });
        const from = at('g', n, h, i);
        const pulled = dot(g, from, out.o, to, p.width);
        weights.forEach((w, j) => {
          for (let e = 0; e < p.width; e++) out.dv[at('dv', n, kv, j) + e]! += w * g[from + e]!;
          // No gradient flows where the score was filled in.
          const d = hidden(j) ? 0 : w * (dot(g, from, v, at('v', n, kv, j), p.width) - pulled) * p.scale;
          for (let e = 0; e < p.depth; e++) {
            out.dq[at('dq', n, h, i) + e]! += d * k[at('k', n, kv, j) + e]!;
            out.dk[at('dk', n, kv, j) + e]! += d * q[at('q', n, h, i) + e]!;
          }
        });
      }
    }
  return out;
}

const dtypeOf = (made: Made, name: string) =>
  name === 'mask' && made.p.mask?.kind === 'bool'
    ? ('bool' as const)
    : made.p.elem === 'f16' && name !== 'mask'
      ? ('float16' as const)
      : ('float32' as const);

/** Runs both passes over memory full of NaN; what lies between the results must stay so. */
async function run(made: Made, target: string, maxBinding?: number): Promise<Record<string, Float32Array>> {
  const { p, data } = made;
  const all = limits(maxBinding);
  const [forward, back] = [
    planAttention(targets[target]!(), all, p),
    planAttentionGrad(targets[target]!(), all, p, true),
  ];
  const plan: Plan = {
    launches: [...forward.launches, ...back.launches],
    workspaces: { stats: statsBytes(p) },
  };
  const given = Object.fromEntries(
    Object.entries(data).map(([name, values]) => [name, { data: values, dtype: dtypeOf(made, name) }]),
  );
  const wanted = Object.fromEntries(
    ['o', 'dq', 'dk', 'dv'].map((name) => {
      const count = spanOf(p.places[name as 'q']!, p.batch);
      const blank = new Float32Array(count).fill(NaN);
      return [name, { count, dtype: dtypeOf(made, name), data: blank }];
    }),
  );
  return (await runPlan(plan, given, wanted)) as Record<string, Float32Array>;
}

/** Largest difference of a result relative to the largest value; infinite where NaN is not where it must be. */
function worst({ p }: Made, name: string, got: Float32Array, want: Float64Array): number {
  const { batch, offset } = p.places[name as 'q']!;
  const most = want.reduce((a, v) => (Math.abs(v) > a ? Math.abs(v) : a), 1e-3);
  return got.reduce((a, v, i) => {
    const inside = i >= offset && (i - offset) % batch < batch - 4;
    if (!inside || Number.isNaN(want[i])) return Number.isNaN(v) ? a : Infinity;
    const d = Math.abs(v - want[i]!) / most;
    return d <= a ? a : Number.isNaN(d) ? Infinity : d;
  }, 0);
}

async function expectRight(sizes: Sizes, target: string, maxBinding?: number): Promise<void> {
  const made = make(sizes);
  const got = await run(made, target, maxBinding);
  const want = reference(made);
  for (const name of ['o', 'dq', 'dk', 'dv'] as const)
    expect(worst(made, name, got[name]!, want[name]), name).toBeLessThan(sizes.half ? 1e-3 : 3e-6);
}

const cases: Record<string, Sizes> = {
  'one query and one key': { queries: 1, keys: 1, depth: 8 },
  'more keys than a block, values narrower': { queries: 5, keys: 65, depth: 20, width: 8 },
  'more queries than a block': { batch: 1, queries: 130, keys: 33, depth: 8 },
  'causal, more keys than queries': { queries: 33, keys: 65, depth: 20, causal: true },
  'causal, fewer keys than queries': { queries: 65, keys: 33, depth: 8, causal: true },
  'heads in groups, causal': { queries: 33, keys: 33, depth: 8, queryHeads: 6, heads: 2, causal: true },
  'a mask of what is shown': { queries: 33, keys: 40, depth: 8, mask: 'shown' },
  'a mask of what is hidden, causal': { queries: 65, keys: 40, depth: 8, mask: 'hidden', causal: true },
  'a query that sees nothing': { queries: 5, keys: 8, depth: 8, mask: 'shown', blind: 3 },
};

for (const [i, target] of ['native', 'gpu'].entries())
  describe(`attention for ${target}`, () => {
    it.each(every(2, Object.entries(cases), i))('%s', async (_, sizes) => expectRight(sizes, target));

    // Three kernels more each, which the software driver compiles for long.
    it.runIf(full)('a float mask', async () =>
      expectRight({ queries: 5, keys: 65, depth: 20, mask: 'float' }, target),
    );

    it.runIf(full)('heads of 96 numbers', async () =>
      expectRight({ batch: 1, queries: 33, keys: 5, depth: 96, width: 64 }, target),
    );

    it.runIf(full)('float16, with sums in float32', async () =>
      expectRight({ batch: 1, queries: 33, keys: 65, depth: 8, half: true }, target),
    );

    it('operands that no binding holds', async () => {
      const sizes = { queries: 33, keys: 33, depth: 8, queryHeads: 4, heads: 2, mask: 'shown' } as const;
      const { p } = make(sizes);
      const most = 8192;
      expect(planAttention(targets[target]!(), limits(most), p).launches.length).toBeGreaterThan(1);
      await expectRight(sizes, target, most);
    });
  });

it.runIf(full)('heads of 256 numbers, on a GPU', async () =>
  expectRight({ batch: 1, queryHeads: 1, queries: 33, keys: 40, depth: 256 }, 'gpu'),
);

describe('what is fused', () => {
  const fused = (target: string, length: number, causal: boolean, recorded: boolean): boolean =>
    prefersFused(targets[target]!(), {
      batch: 1,
      heads: 12,
      queries: length,
      keys: length,
      causal,
      recorded,
    });

  it('everything on a GPU', () => expect(fused('gpu', 8, false, true)).toBe(true));

  it('on a software adapter from so many scores on that compiling the kernels pays', () => {
    expect([128, 256].map((length) => fused('native', length, false, false))).toEqual([false, true]);
    expect([128, 256].map((length) => fused('native', length, true, true))).toEqual([false, true]);
  });

  it('there with gradients over all pairs, from so many on that memory matters', () =>
    expect([512, 1024].map((length) => fused('native', length, false, true))).toEqual([false, true]));
});

it('a head that no binding holds is refused', () => {
  const { p } = make({ queries: 65, keys: 65, depth: 8 });
  expect(() => planAttention(runtime().target, limits(1024), p)).toThrow('must be bound at once');
});
