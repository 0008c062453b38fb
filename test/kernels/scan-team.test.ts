/** Scans as GPUs run them, beside plain loops in double precision. */
import { beforeAll, describe, expect, it } from 'vitest';
import { init, runtime } from '../../src/device/index.js';
import type { Target } from '../../src/kernels/base/kernel.js';
import { planScan, type ScanOp } from '../../src/kernels/reduce/scan.js';
import { gpu } from '../forced-target.js';
import { every } from '../tooling/full.js';
import { at, eachIndex, host, runPlan, type HostTensor } from './harness.js';

beforeAll(() => init());

let seed = 5;
const random = (): number => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return Math.fround(seed / 2 ** 31 - 1);
};

interface Step {
  value: number;
  place: number;
}

const steps: Record<string, (state: Step, x: number, i: number) => Step> = {
  sum: ({ value }, x) => ({ value: value + x, place: 0 }),
  prod: ({ value }, x) => ({ value: value * x, place: 0 }),
  max: (state, x, i) => (x >= state.value || Number.isNaN(x) || i === 0 ? { value: x, place: i } : state),
  logsumexp: ({ value }, x) => {
    const top = Math.max(value, x);
    if (!Number.isFinite(top)) return { value: top, place: 0 };
    return { value: top + Math.log(Math.exp(value - top) + Math.exp(x - top)), place: 0 };
  },
};
const start: Record<string, number> = { sum: 0, prod: 1, max: -Infinity, logsumexp: -Infinity };

interface Options {
  readonly reverse?: boolean;
  readonly out?: HostTensor['dtype'];
  readonly target?: Target;
}

/** Runs `op` and compares each element; returns how many launches it took. */
async function check(op: ScanOp, kind: string, x: HostTensor, dim: number, options: Options = {}) {
  const { reverse = false, out: dtype = x.dtype, target = gpu() } = options;
  const count = x.shape.reduce((a, b) => a * b, 1);
  const out = host(new Array<number>(count).fill(0), x.shape, { dtype });
  const indices = kind === 'max' ? host(out.data, x.shape, { dtype: 'int32' }) : undefined;
  const plan = planScan(target, { name: 'cum', op, x, out, dim, reverse, ...(indices && { indices }) });
  const ran = await runPlan(
    plan,
    { x },
    { out: { count, dtype }, ...(indices && { indices: { count, dtype: 'int32' as const } }) },
  );
  const length = x.shape[dim]!;
  const step = x.shape.slice(dim + 1).reduce((a, b) => a * b, 1);
  eachIndex(x.shape, (index, flat) => {
    if (index[dim] !== 0) return;
    let state: Step = { value: start[kind]!, place: -1 };
    for (let k = 0; k < length; k++) {
      const j = reverse ? length - 1 - k : k;
      state = steps[kind]!(state, at(x, index.map((c, d) => (d === dim ? j : c))), k); // prettier-ignore
      const got = ran['out']![flat + j * step]!;
      const error = Math.abs(got - state.value);
      const near = Object.is(got, state.value) || error <= 3e-5 * Math.max(1, Math.abs(state.value));
      if (!near) expect.fail(`[${index}] after ${k + 1}: ${got}, not ${state.value}`);
      if (indices && ran['indices']![flat + j * step] !== state.place)
        expect.fail(
          `[${index}] after ${k + 1}: place ${ran['indices']![flat + j * step]}, not ${state.place}`,
        );
    }
  });
  return plan.launches.length;
}

/** [shape, dim, launches, strides, offset]: odd sizes, lines along memory and across it. */
const layouts: [string, number[], number, number, number[]?, number?][] = [
  ['one element', [1], 0, 1],
  ['many lines of three', [700, 3], 1, 1],
  ['lines of a part of a tile', [9, 301], 1, 1],
  ['a line of several tiles', [9001], 0, 3],
  ['rows of several tiles', [3, 2501], 1, 3],
  ['columns of one tile', [50, 37], 0, 1],
  ['columns of several tiles', [1203, 5], 0, 3],
  ['the middle dim of a channels-last image', [2, 6, 41, 3], 2, 1, [738, 1, 18, 6]],
  ['a transposed matrix that starts within its buffer', [5, 300], 1, 1, [1, 5], 7],
  ['a line read backwards', [2600], 0, 3, [-1], 2599],
  ['a line that is one element repeated', [2600], 0, 3, [0], 3],
  ['rows that are all the same', [4, 77], 1, 1, [0, 1], 1],
];

const made = (shape: readonly number[], strides?: number[], offset = 0, value = random): HostTensor => {
  const room = offset + shape.reduce((a, b) => a * b, 1);
  return host(Array.from({ length: room }, value), shape, { ...(strides && { strides }), offset });
};

it.each(every(2, layouts, 1))(
  'sums, forwards and backwards: %s',
  async (_, shape, dim, launches, strides, offset) => {
    const x = made(shape, strides, offset);
    expect(await check('compensatedSum', 'sum', x, dim)).toBe(launches);
    await check('compensatedSum', 'sum', x, dim, { reverse: true });
  },
);

describe('every state', () => {
  const line = (value: () => number, dtype: HostTensor['dtype'] = 'float32'): HostTensor =>
    host(Array.from({ length: 2 * 2501 }, value), [2, 2501], { dtype });

  it('products, of floats and integers', async () => {
    await check(
      'prod',
      'prod',
      line(() => 1 + random() / 50),
      1,
    );
    await check(
      'exactProd',
      'prod',
      line(() => (random() > 0 ? 1 : -1), 'int32'),
      1,
    );
  });

  it('logarithms of sums of exponentials, also from minus infinity on', async () => {
    let n = 0;
    await check(
      'logsumexp',
      'logsumexp',
      line(() => (n++ % 2501 < 5 ? -Infinity : 30 * random())),
      1,
    );
  });

  it('sums of integers in 64 bits, of bytes and of truth values', async () => {
    const ints = (most: number) => () => Math.floor((random() + 1) * most);
    await check('exactSum', 'sum', line(ints(50000), 'int32'), 1);
    await check('sum', 'sum', line(ints(100), 'uint8'), 1, { out: 'int32' });
    await check('sum', 'sum', line(ints(1), 'bool'), 1, { out: 'int32' });
  });

  it('the last of several largest, NaN above all, with their places', async () => {
    await check(
      'cummax',
      'max',
      line(() => Math.round(40 * random()) + 0),
      1,
    );
    const low = line(() => -(2 ** 31), 'int32');
    await check('cummax', 'max', low, 1);
    let n = 0;
    await check(
      'cummax',
      'max',
      line(() => (n++ % 900 === 400 ? NaN : random())),
      1,
    );
    await check('cummax', 'max', host(Array.from({ length: 41 * 20 }, random), [41, 20]), 0);
  });

  it('float16, with sums in float32', async () => {
    const x = line(() => Math.round(8 * random()) / 8, 'float16');
    await check('compensatedSum', 'sum', x, 1, { out: 'float32' });
  });
});

it('what follows NaN and infinity is what a loop gives', async () => {
  const data = Array.from({ length: 6000 }, (_, i) =>
    i === 1000 ? Infinity : i === 4500 ? -Infinity : 0.25,
  );
  await check('compensatedSum', 'sum', host(data, [6000]), 0);
  data[10] = NaN;
  await check('compensatedSum', 'sum', host(data, [6000]), 0);
});

it('many lines of several tiles are scanned in one launch', async () => {
  const x = host(
    Array.from({ length: 1500 * 1801 }, () => Math.round(4 * random())),
    [1500, 1801],
  );
  expect(await check('sum', 'sum', x, 1)).toBe(1);
});

it('workgroups of 128 where an adapter has no larger ones', async () => {
  const small = { ...gpu(), maxInvocations: 128 };
  expect(await check('sum', 'sum', made([3000]), 0, { target: small })).toBe(3);
});

it('a running sum that leaves int32 is refused', async () => {
  const count = 5000;
  const x = host(new Array<number>(count).fill(600000), [count], { dtype: 'int32' });
  const out = host(x.data, [count], { dtype: 'int32' });
  const plan = planScan(gpu(), { name: 'cumsum', op: 'exactSum', x, out, dim: 0 });
  await expect(runPlan(plan, { x }, { out: { count, dtype: 'int32' } })).rejects.toThrow(
    /cumsum: the result \d+ does not fit int32/,
  );
  expect(runtime().target.kind).toBe('software');
});
