import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { close, init, runtime } from '../../src/device/index.js';
import { addOne, affine } from './kernels.js';

describe.each([
  { timestamps: true, source: 'timestamp' },
  { timestamps: false, source: 'wallclock' },
])('profile, timestamps $timestamps', ({ timestamps, source }) => {
  beforeAll(() => init(timestamps ? {} : { disable: ['timestamps'] }));
  afterAll(() => close());

  it('has a row per kernel, and the result', async () => {
    const rt = runtime();
    const [x, y] = [rt.alloc(256, 'x'), rt.alloc(256, 'y')];
    const { result, rows } = await rt.profile(async () => {
      for (let i = 0; i < 3; i++) rt.dispatch(addOne, [x, y], [], [1, 1, 1]);
      rt.dispatch(affine, [y], [64, 1, 1], [1, 1, 1]);
      return 7;
    });
    expect(result).toBe(7);
    expect(rows.map((r) => r.name).sort()).toEqual(['addOne', 'affine']);
    const row = rows.find((r) => r.name === 'addOne')!;
    expect(row.calls).toBe(3);
    expect(row.source).toBe(source);
    expect(row.ms).toBeGreaterThan(0);
    rt.free(x);
    rt.free(y);
  });

  it('spans several query sets', async () => {
    const rt = runtime();
    const [x, y] = [rt.alloc(256, 'x'), rt.alloc(256, 'y')];
    const count = timestamps ? 2500 : 50;
    const { rows } = await rt.profile(async () => {
      for (let i = 0; i < count; i++) rt.dispatch(addOne, [x, y], [], [1, 1, 1]);
    });
    expect(rows[0]).toMatchObject({ name: 'addOne', calls: count });
    rt.free(x);
    rt.free(y);
  });
});
