/**
 * Random shapes, strides, offsets and binding limits for the pointwise and reduction planners, both kinds of
 * kernels.
 */
import { beforeAll, expect, it } from 'vitest';
import { init, runtime } from '../../src/device/index.js';
import { e, input } from '../../src/kernels/expr/expr.js';
import type { Target } from '../../src/kernels/base/kernel.js';
import { planReduce } from '../../src/kernels/reduce/plan.js';
import { at, eachIndex, host, runPlan, runPointwise, type HostTensor } from './harness.js';
import { full } from '../tooling/full.js';

beforeAll(() => init());

const rounds = full ? 100 : 9;
let seed = Number(process.env['FUZZ_SEED'] ?? 1);

function below(n: number): number {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return Math.floor((seed / 2 ** 32) * n);
}

const pick = <T>(from: readonly T[]): T => from[below(from.length)]!;

/**
 * A tensor of this shape (with some dimensions 1, to broadcast) in some memory order, with gaps and negative
 * strides.
 */
function layout(shape: readonly number[], broadcasts: boolean): HostTensor {
  const sizes = shape.map((n) => (broadcasts && below(4) === 0 ? 1 : n));
  const order = sizes.map((_, i) => i);
  for (let i = order.length - 1; i > 0; i--) {
    const j = below(2) === 0 ? i : below(i + 1);
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  const strides = new Array<number>(sizes.length).fill(0);
  let stride = 1;
  for (const d of order.toReversed()) {
    strides[d] = stride;
    stride *= sizes[d]! + (below(6) === 0 ? pick([1, 4]) : 0);
  }
  const start = pick([0, 0, 4, 3]);
  let offset = start;
  for (let d = 0; d < sizes.length; d++) {
    if (below(8) !== 0) continue;
    offset += (sizes[d]! - 1) * strides[d]!;
    strides[d] = -strides[d]!;
  }
  const data = Float32Array.from({ length: start + stride + 4 }, () => below(2001) / 1000 - 1);
  return host(data, sizes, { strides, offset });
}

const target = (): Target => ({ ...runtime().target, kind: pick(['gpu', 'software'] as const) });
const f = e.add(e.mul(input(0), 3), input(1));
const reference = (a: HostTensor, b: HostTensor, i: readonly number[]): number =>
  Math.fround(Math.fround(at(a, i) * 3) + at(b, i));
const limits = (): { maxBinding?: number } => pick([{}, {}, { maxBinding: 4096 }]);
const describeLayouts = (...t: HostTensor[]): string =>
  JSON.stringify(t.map((x) => [x.shape, x.strides, x.offset]));

it('pointwise', async () => {
  for (let round = 0; round < rounds; round++) {
    const shape = Array.from({ length: 1 + below(5) }, () => pick([1, 2, 3, 4, 8, 5]));
    const [a, b, out] = [layout(shape, true), layout(shape, true), layout(shape, false)];
    const problem = { name: 'fuzz', exprs: [f], inputs: [a, b], outputs: [out], exact: true, ...limits() };
    const { outputs } = await runPointwise(problem, target());
    const got = { ...out, data: outputs[0]! };
    const touched = new Set<number>();
    const what = describeLayouts(a, b, out);
    eachIndex(shape, (i) => {
      touched.add(out.offset + i.reduce((sum, v, d) => sum + v * out.strides[d]!, 0));
      const want = reference(a, b, i);
      if (Math.abs(at(got, i) - want) > 1e-6) expect.fail(`${what} at [${i}]: ${at(got, i)}, not ${want}`);
    });
    for (let i = 0; i < out.data.length; i++) {
      if (!touched.has(i) && got.data[i] !== out.data[i])
        expect.fail(`${what}: element ${i} was overwritten`);
    }
  }
});

it('reductions', async () => {
  for (let round = 0; round < rounds; round++) {
    const shape = Array.from({ length: 1 + below(4) }, () => pick([1, 2, 3, 4, 8, 12, 33]));
    const dims = shape.map((_, d) => d).filter(() => below(2) === 1);
    const [a, b] = [layout(shape, false), layout(shape, true)];
    const out = layout(
      shape.map((n, d) => (dims.includes(d) ? 1 : n)),
      false,
    );
    const op = pick(['sum', 'max', 'argmax', 'moments'] as const);
    const result = op === 'argmax' ? e.cast(input(1, 'i32'), 'f32') : input(op === 'moments' ? 1 : 0);
    const problem = { name: 'fuzz', op, map: f, finish: [result], dims, inputs: [a, b], outputs: [out] };
    const plan = planReduce(target(), problem);
    const count = out.data.length;
    const { out0 } = await runPlan(
      plan,
      { in0: a, in1: b },
      { out0: { count, dtype: 'float32', data: out.data } },
    );
    const groups = new Map<string, number[]>();
    eachIndex(shape, (i) => {
      const key = i.map((v, d) => (dims.includes(d) ? 0 : v)).join();
      const group = groups.get(key) ?? [];
      group.push(reference(a, b, i));
      groups.set(key, group);
    });
    for (const [key, v] of groups) {
      const got = at({ ...out, data: out0! }, key.split(',').map(Number));
      const mean = v.reduce((x, y) => x + y, 0) / v.length;
      const most = v.reduce((x, y) => Math.max(x, y));
      const want = {
        sum: mean * v.length,
        max: most,
        argmax: most,
        moments: v.reduce((x, y) => x + (y - mean) ** 2, 0),
      }[op];
      const value = op === 'argmax' ? v[got]! : got;
      const tolerance = 2e-5 * Math.max(1, Math.abs(want)) + 1e-8 * v.length;
      if (!(Math.abs(value - want) <= tolerance)) {
        expect.fail(`${op} over [${dims}] of ${describeLayouts(a, b, out)} at [${key}]: ${got}, not ${want}`);
      }
    }
  }
});
