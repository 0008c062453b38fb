import { beforeAll, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';

const { nn } = k;

const model = (): k.nn.Sequential =>
  new nn.Sequential({
    body: new nn.Sequential(
      new nn.Conv2d(3, 8, 3, { padding: 1, bias: false }),
      new nn.BatchNorm2d(8),
      new nn.ReLU(),
      new nn.Conv2d(8, 8, 1),
    ),
    pool: new nn.AdaptiveAvgPool2d(1),
    flat: new nn.Flatten(),
    head: new nn.Linear(8, 4),
  });

const x = (): k.Tensor => k.randn(2, 3, 8, 8);
const labels = (): k.Tensor => k.tensor([0, 3], { dtype: 'int32' });

beforeAll(() => k.init());

/** Rows of dispatches by a key, as counts. */
function counts<T>(items: readonly T[], key: (item: T) => string): Record<string, number> {
  const found: Record<string, number> = {};
  for (const item of items) found[key(item)] = (found[key(item)] ?? 0) + 1;
  return found;
}

describe('profile', () => {
  it('counts each dispatch once, by kernel and by layer, and adds up their times', async () => {
    const net = model();
    const [input, y] = [x(), labels()];
    const step = (): void => k.crossEntropy(net(input), y).backward();
    step();
    k.runtime().resetOpCounts();
    step();
    const expected = Object.fromEntries(k.runtime().opCounts());
    const measured = await k.profile(step);
    expect(counts(measured.dispatches, ({ name }) => name)).toEqual(expected);
    expect(Object.fromEntries(measured.rows.map(({ name, calls }) => [name, calls]))).toEqual(expected);
    const layers = measured.layers();
    expect(layers.reduce((sum, { calls }) => sum + calls, 0)).toBe(measured.dispatches.length);
    const sums = [measured.rows, layers].map((rows) => rows.reduce((sum, { ms }) => sum + ms, 0));
    for (const sum of sums) expect(sum).toBeCloseTo(measured.gpuMs, 6);
    expect(measured.gpuMs).toBeGreaterThan(0);
  });

  it('tells forward and backward of a layer apart, and what is outside of layers', async () => {
    const net = model();
    const [input, y] = [x(), labels()];
    const { result, ...measured } = await k.profile(() => {
      const loss = k.crossEntropy(net(input), y);
      loss.backward();
      return 7;
    });
    expect(result).toBe(7);
    const where = new Set(measured.dispatches.map(({ path, phase, name }) => `${path} ${phase} ${name}`));
    const has = (pattern: RegExp): boolean => [...where].some((entry) => pattern.test(entry));
    expect(has(/^Sequential\.body\.0 forward conv/)).toBe(true);
    expect(has(/^Sequential\.body\.0 backward conv/)).toBe(true);
    expect(has(/^Sequential\.head forward/)).toBe(true);
    expect(has(/^Sequential\.head backward/)).toBe(true);
    expect(has(/^ forward crossEntropy/)).toBe(true);
    expect(has(/^ backward crossEntropyBackward/)).toBe(true);
  });

  it('names layers that ran as one, without running them apart', async () => {
    const net = model();
    net.eval();
    const input = x();
    const forward = (): void => k.noGrad(() => void net(input));
    // The first pass packs weights and folds the norm; later ones find both.
    forward();
    k.runtime().resetOpCounts();
    forward();
    const expected = Object.fromEntries(k.runtime().opCounts());
    const measured = await k.profile(forward);
    expect(counts(measured.dispatches, ({ name }) => name)).toEqual(expected);
    const row = measured.layers().find(({ path }) => path.includes('+'));
    expect(row).toMatchObject({ path: 'Sequential.body.0+1+2', type: 'Conv2d+BatchNorm2d+ReLU' });
  });

  it('puts what a checkpointed layer computes again under its name, in backward', async () => {
    const layer = new nn.Linear(4, 4);
    const input = k.randn(2, 4);
    const measured = await k.profile(() =>
      k.utils
        .checkpoint((v: k.Tensor) => layer(v).tanh().exp(), input)
        .sum()
        .backward(),
    );
    const phases = measured.dispatches.filter(({ path, name }) => path === 'Linear' && name === 'gemm');
    expect(counts(phases, ({ phase }) => phase)).toMatchObject({ forward: 1 });
    expect(counts(phases, ({ phase }) => phase)['backward']).toBeGreaterThanOrEqual(2);
  });

  it('numbers models of one class', async () => {
    const [a, b] = [new nn.Linear(4, 4), new nn.Linear(4, 4)];
    const input = k.randn(2, 4);
    const measured = await k.profile(() => void b(a(input)));
    expect(new Set(measured.dispatches.map(({ path }) => path))).toEqual(new Set(['Linear', 'Linear#2']));
  });

  it('runs the function before it measures, as often as asked', async () => {
    let runs = 0;
    const measured = await k.profile(() => (runs++, k.ones(4).add(1).dispose()), { warmup: 2 });
    expect(runs).toBe(3);
    expect(measured.dispatches.filter(({ name }) => name === 'add')).toHaveLength(1);
    await expect(k.profile(() => undefined, { warmup: -1 })).rejects.toThrow(/warmup must be a whole number/);
  });

  it('leaves no trace in what is recorded afterwards, also when the function throws', async () => {
    const layer = new nn.Linear(4, 4);
    const failing = k.profile(() => {
      layer(k.randn(2, 5));
    });
    await expect(failing).rejects.toThrow(/Linear|linear/);
    expect(layer(k.randn(2, 4)).gradFn?.path).toBe('');
    const measured = await k.profile(() => void k.ones(2).mul(2));
    expect(new Set(measured.dispatches.map(({ path }) => path))).toEqual(new Set(['']));
  });

  it('prints the top rows and the sum of all', async () => {
    const net = model();
    const measured = await k.profile(() => void net(x()));
    const lines = measured.table({ by: 'layer', top: 2 }).split('\n');
    expect(lines[0]).toMatch(/^Layer +Calls +Forward ms +Backward ms +GPU ms +Share$/);
    expect(lines).toHaveLength(5);
    expect(lines[3]).toMatch(/^\(\d+ more layers\)$/);
    expect(lines[4]).toMatch(/^Total.*100\.0 %$/);
    expect(measured.table({ top: Infinity }).split('\n')).toHaveLength(measured.rows.length + 2);
  });
});

describe('recordFunction', () => {
  it('names work outside of modules', async () => {
    const measured = await k.profile(() => k.recordFunction('mine', () => void k.ones(4).mul(3)));
    expect(measured.dispatches.map(({ path }) => path)).toContain('mine');
    expect(measured.spans).toContainEqual(expect.objectContaining({ name: 'mine', kind: 'range' }));
  });

  it('just runs the function while no profile is taken', () => {
    expect(k.recordFunction('mine', () => 3)).toBe(3);
  });
});

describe('the trace', () => {
  interface Span {
    readonly name: string;
    readonly ph: string;
    readonly ts: number;
    readonly dur: number;
    readonly pid: number;
    readonly tid: number;
    readonly args: { readonly layer?: string; readonly name?: string };
  }

  async function trace(): Promise<Span[]> {
    const net = model();
    const [input, y] = [x(), labels()];
    const measured = await k.profile(() => k.crossEntropy(net(input), y).backward());
    return (JSON.parse(measured.exportChromeTrace()) as { traceEvents: Span[] }).traceEvents;
  }

  it('is JSON with one complete event per dispatch, in times that do not overlap', async () => {
    const events = await trace();
    const threads = events.filter(({ ph, name }) => ph === 'M' && name === 'thread_name');
    const track = (name: string): Span[] => {
      const { pid, tid } = threads.find(({ args }) => args.name === name)!;
      return events.filter((event) => event.ph === 'X' && event.pid === pid && event.tid === tid);
    };
    const kernels = track('dispatches').sort((a, b) => a.ts - b.ts);
    expect(kernels.length).toBeGreaterThan(10);
    for (const [i, { ts, dur }] of kernels.entries()) {
      expect(ts).toBeGreaterThanOrEqual(0);
      // A microsecond: clocks of some drivers step back by a tick.
      if (i + 1 < kernels.length) expect(ts + dur).toBeLessThanOrEqual(kernels[i + 1]!.ts + 1);
    }
  });

  it('nests modules in modules, on the GPU and in JavaScript', async () => {
    const spans = (await trace()).filter(({ ph }) => ph === 'X');
    const inside = (inner: Span, outer: Span): boolean =>
      inner.pid === outer.pid &&
      inner.tid === outer.tid &&
      inner.ts >= outer.ts - 0.002 &&
      inner.ts + inner.dur <= outer.ts + outer.dur + 0.002;
    for (const [name, parent] of [
      ['0', 'body'],
      ['Conv2d', 'Sequential'],
    ] as const) {
      const inner = spans.filter(
        (span) => span.name === name && span.args.layer?.startsWith('Sequential.body.'),
      );
      expect(inner.length).toBeGreaterThan(0);
      for (const span of inner)
        expect(spans.some((outer) => outer !== span && outer.name === parent && inside(span, outer))).toBe(
          true,
        );
    }
    // Spans of one track contain each other or are apart.
    for (const a of spans) {
      for (const b of spans) {
        if (a === b || a.pid !== b.pid || a.tid !== b.tid) continue;
        const apart = a.ts + a.dur <= b.ts + 1 || b.ts + b.dur <= a.ts + 1;
        expect(apart || inside(a, b) || inside(b, a), `${a.name} and ${b.name}`).toBe(true);
      }
    }
  });
});
