/** What `npm run bench:scaling` makes of its measurements. */
import { expect, it } from 'vitest';
import {
  allReduceMs,
  efficiency,
  exposedMs,
  fitLink,
  leastBytes,
  shortestStep,
} from '../../bench/scaling/model.js';
import { splitStep } from '../../bench/scaling/split.js';

const link = { latency: 0.5, bandwidth: 1000 };

it('a link is fitted to the times that it makes', () => {
  const times = [4, 1e3, 1e5, 1e7].map((bytes) => ({ bytes, ms: allReduceMs(link, 2, bytes) }));
  const fitted = fitLink(times);
  expect(fitted.latency).toBeCloseTo(0.5, 9);
  expect(fitted.bandwidth).toBeCloseTo(1000, 6);
  expect(() => fitLink(times.slice(0, 1))).toThrow('at least two sizes');
});

it('ranks send 2 (n - 1) / n of what they sum', () => {
  expect([1, 2, 4, 8].map((ranks) => leastBytes(ranks, 100))).toEqual([0, 100, 150, 175]);
});

it('buckets that go while backward is at work are hidden, but for the last', () => {
  // 2.5 ms each.
  const bytes = 2000;
  expect(
    exposedMs(
      [
        { bytes, ahead: 10 },
        { bytes, ahead: 0 },
      ],
      link,
      2,
    ),
  ).toBe(2.5);
  expect(
    exposedMs(
      [
        { bytes, ahead: 1 },
        { bytes, ahead: 0 },
      ],
      link,
      2,
    ),
  ).toBe(4);
  expect(exposedMs([{ bytes, ahead: 10 }], link, 2)).toBe(0);
});

it('the shortest step is the one that reaches the part', () => {
  const shape = [
    { bytes: 20_000, ahead: 0.4 },
    { bytes: 5000, ahead: 0 },
  ];
  const step = shortestStep(shape, link, 4, 0.9);
  expect(efficiency(shape, step, link, 4)).toBeCloseTo(0.9, 6);
  expect(efficiency(shape, step * 0.9, link, 4)).toBeLessThan(0.9);
});

it('a step is split where the GPU had to wait', () => {
  const call = (text: string, ...[asked, ready, started, met, moved]: number[]) =>
    ({ call: text, asked, ready, started, met, moved }) as never;
  const times = {
    began: 0,
    ended: 100,
    averaged: 80,
    collectives: [
      call('broadcast of 8 float32 from rank 0', 1, 1, 1, 5, 6),
      // Moves from 40 to 60, of which 10 after the last gradient was there.
      call('allReduce of 100 float32 (sum)', 20, 30, 30, 40, 60),
      call('allReduce of 50 float32 (sum)', 45, 50, 60, 65, 75),
    ],
  };
  const split = splitStep({ ...times, rank: 0 });
  expect(split).toMatchObject({ wall: 100, exposed: 30, compute: 70, waiting: 5, moving: 25 });
  expect(split.hidden).toBeCloseTo(10 / 30);
  expect(split.buckets).toEqual([
    { bytes: 400, ahead: 20, moving: 20 },
    { bytes: 200, ahead: 0, moving: 10 },
  ]);
  // Other ranks have to wait for rank 0's buffers before forward.
  expect(splitStep({ ...times, rank: 1 })).toMatchObject({
    exposed: 36,
    compute: 64,
    waiting: 9,
    moving: 27,
  });
});
