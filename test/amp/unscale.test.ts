/** The kernel of `GradScaler.unscale_` alone. */
import { beforeAll, expect, it } from 'vitest';
import { init, runtime } from '../../src/device/index.js';
import type { BufferRef, Launch } from '../../src/kernels/base/plan.js';
import { unscaleLaunch, unscaleRangeLaunches } from '../../src/kernels/optim/unscale.js';
import { download, upload } from '../kernels/harness.js';

beforeAll(() => init());

/** What launches make of a gradient, and whether they found something. */
async function run(
  launches: readonly Launch[],
  values: Float32Array,
): Promise<{ values: number[]; found: number }> {
  const [found, grad] = [upload([0], 'int32'), upload(values)];
  for (const { kernel, buffers, params, grid } of launches) {
    const [, ref] = buffers as [unknown, BufferRef];
    const range = typeof ref === 'object' ? { buffer: grad, offset: ref.offset, size: ref.size } : grad;
    runtime().dispatch(kernel, [found, range], params, grid);
  }
  const [made, flag] = [await download(grad, 'float32', values.length), await download(found, 'int32', 1)];
  return { values: [...made], found: flag[0] as number };
}

const size = 1001;
const ramp = (): Float32Array => Float32Array.from({ length: size }, (_, i) => i - 500);
const halved = [...ramp()].map((value) => value / 2);

it('multiplies in place and finds nothing in finite numbers, the largest and least too', async () => {
  const values = ramp();
  expect(await run([unscaleLaunch(0.5, [size])], values)).toEqual({ values: halved, found: 0 });
  const extremes = Float32Array.of(3.4028234663852886e38, -3.4028234663852886e38, 1e-45, 0);
  expect((await run([unscaleLaunch(1, [4])], extremes)).found).toBe(0);
});

it.each([NaN, Infinity, -Infinity])('finds %s wherever it is', async (bad) => {
  for (const at of [0, 3, 511, size - 1]) {
    const values = ramp();
    values[at] = bad;
    expect((await run([unscaleLaunch(0.5, [size])], values)).found, `at ${at}`).toBe(1);
  }
});

it('does not look behind the last element', async () => {
  const values = Float32Array.of(1, 2, NaN, NaN);
  expect((await run([unscaleLaunch(0.5, [2])], values)).found).toBe(0);
});

it('takes a gradient larger than a binding range by range', async () => {
  const launches = unscaleRangeLaunches(0.5, size, { maxBinding: 1024, offsetAlignment: 256 });
  expect(launches.length).toBe(4);
  expect(await run(launches, ramp())).toEqual({ values: halved, found: 0 });
  const values = ramp();
  values[size - 1] = NaN;
  expect((await run(launches, values)).found).toBe(1);
});
