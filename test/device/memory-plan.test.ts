import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { close, init, runtime } from '../../src/device/index.js';
import type { DeviceBuffer } from '../../src/device/pool.js';

const KiB = 1024;

/** Requests and releases of one step: `+name:KiB` asks, `-name` gives back. */
type Script = readonly string[];

class Loop {
  private readonly held = new Map<string, DeviceBuffer>();

  /** The buffers that were used, in order. */
  step(script: Script): number[] {
    const rt = runtime();
    const ids: number[] = [];
    for (const line of script) {
      const [name, size] = line.slice(1).split(':') as [string, string?];
      if (line.startsWith('+')) {
        const buffer = rt.alloc(Number(size) * KiB, name);
        this.held.set(name, buffer);
        ids.push(buffer.id);
      } else rt.free(this.take(name));
    }
    rt.endStep();
    return ids;
  }

  private take(name: string): DeviceBuffer {
    const buffer = this.held.get(name)!;
    this.held.delete(name);
    return buffer;
  }

  end(): void {
    for (const buffer of this.held.values()) runtime().free(buffer);
    this.held.clear();
  }
}

/** Sizes that no first-come-first-served pool shares well: each next one is larger than what is idle. */
const growing: Script = [
  ...['+a:100', '-a', '+b:200', '-b', '+c:400', '-c', '+d:800', '-d'],
  ...['+e:300', '+f:500', '-e', '-f'],
];

beforeEach(() => init({ memoryBudget: 64 * KiB * KiB }));
afterEach(() => close());

describe('steps that repeat', () => {
  it('get their memory by plan, and what the plan does not need goes', () => {
    const loop = new Loop();
    const held = (): number => runtime().memoryStats().reservedBytes;
    for (let i = 0; i < 2; i++) loop.step(growing);
    expect(held()).toBeGreaterThan(1800 * KiB);
    loop.step(growing);
    // 500 and 300 KiB are used at once, and 800 KiB at another time: two buffers do.
    expect(held()).toBeLessThan(1.04 * (800 + 300) * KiB);
    loop.end();
  });

  it('use the same buffers in each from then on', () => {
    const loop = new Loop();
    for (let i = 0; i < 3; i++) loop.step(growing);
    const before = runtime().memoryStats();
    const ids = loop.step(growing);
    for (let i = 0; i < 5; i++) expect(loop.step(growing)).toEqual(ids);
    expect(runtime().memoryStats()).toEqual(before);
    loop.end();
  });

  it('may hand what is asked for in one step back in the next', () => {
    const loop = new Loop();
    const before = runtime().memoryStats().reservedBytes;
    loop.step(['+loss:64']);
    for (let i = 0; i < 6; i++) loop.step(['+x:640', '-loss', '-x', '+loss:64']);
    expect(runtime().memoryStats().reservedBytes - before).toBeLessThanOrEqual((640 + 64 + 64) * KiB);
    loop.end();
  });

  it('may be left for something else and taken up again', () => {
    const loop = new Loop();
    for (let i = 0; i < 5; i++) loop.step(growing);
    const planned = runtime().memoryStats().reservedBytes;
    loop.step(['+evaluation:790', '+more:96', '-evaluation', '-more', ...growing]);
    // Idle memory of the plan serves the other work too.
    expect(runtime().memoryStats().reservedBytes).toBeLessThan(planned + 200 * KiB);
    for (let i = 0; i < 3; i++) loop.step(growing);
    expect(runtime().memoryStats().reservedBytes).toBe(planned);
    loop.end();
  });

  it('are planned anew when they have become others', () => {
    const loop = new Loop();
    const other = growing.map((line) => line.replace(/\d+/, (size) => String(2 * Number(size))));
    for (let i = 0; i < 5; i++) loop.step(growing);
    for (let i = 0; i < 9; i++) loop.step(other);
    expect(runtime().memoryStats().pooledBytes).toBeLessThan(2 * (800 + 300) * KiB + 64 * KiB);
    loop.end();
  });

  it('give up the memory of their plan before a request is refused', () => {
    const loop = new Loop();
    for (let i = 0; i < 5; i++) loop.step(growing);
    const most = runtime().alloc(64 * KiB * KiB - runtime().memoryStats().liveBytes - KiB, 'all');
    runtime().free(most);
    loop.step(growing);
    loop.end();
  });
});

describe('any sequence of requests', () => {
  it('never shares memory between buffers in use', () => {
    let seed = 1;
    const random = (n: number): number => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      return (seed >>> 8) % n;
    };
    const rt = runtime();
    const start = rt.memoryStats();
    const live: DeviceBuffer[] = [];
    const script = Array.from({ length: 60 }, () => [random(2), (1 + random(40)) * 8 * KiB, random(1000)]);
    for (let step = 0; step < 30; step++) {
      // Most steps are alike; every fifth has a part of its own.
      const odd = step % 5 === 4 ? [[0, 333 * KiB, 0]] : [];
      for (const [frees, bytes, pick] of [...script, ...odd] as [number, number, number][]) {
        if (frees === 1 && live.length > 0) rt.free(live.splice(pick % live.length, 1)[0]!);
        const buffer = rt.alloc(bytes, 'fuzz');
        expect(buffer.capacity).toBeGreaterThanOrEqual(bytes);
        expect(live.map(({ id }) => id)).not.toContain(buffer.id);
        live.push(buffer);
        if (live.length > 20) rt.free(live.shift()!);
      }
      rt.endStep();
      const { liveBytes, requestedBytes, liveBuffers } = rt.memoryStats();
      expect(liveBytes - start.liveBytes).toBe(live.reduce((sum, { capacity }) => sum + capacity, 0));
      expect(requestedBytes - start.requestedBytes).toBe(live.reduce((sum, { bytes: b }) => sum + b, 0));
      expect(liveBuffers - start.liveBuffers).toBe(live.length);
    }
    for (const buffer of live) rt.free(buffer);
    expect(rt.memoryStats().liveBytes).toBe(start.liveBytes);
  });
});
