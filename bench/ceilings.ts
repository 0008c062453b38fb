/**
 * What the adapter can do at best, measured by the simplest kernels there are: multiply-adds that stay in
 * registers, and a copy. Run through the engine's own runtime; several forms and sizes are tried and the
 * fastest counts.
 */
import * as k from '../src/index.js';
import type { Kernel } from '../src/kernels/base/kernel.js';

export interface Ceilings {
  /** GFLOP/s of float32 multiply-adds, each counted as two. */
  readonly gflops: number;
  /** GB/s of a copy, reading and writing counted, of 4 or 64 MiB, whichever is faster. */
  readonly gigabytesPerSecond: number;
  /** Of the copy of 64 MiB, which no processor's cache holds. */
  readonly largeCopyGigabytesPerSecond: number;
}

/** Chains of fused multiply-adds on `chains` vectors per thread, 16 to a turn of the loop. */
function arithmeticKernel(chains: number, workgroup: number): Kernel {
  const each = (line: (i: number) => string): string =>
    Array.from({ length: chains }, (_, i) => line(i)).join('\n');
  const turn = each((i) => `v${i} = fma(v${i}, m, c);`);
  return {
    name: 'probeArithmetic',
    bindings: ['write'],
    params: [
      ['turns', 'u32'],
      ['factor', 'f32'],
    ],
    wgsl: `
@group(0) @binding(0) var<storage, read_write> out: array<vec4f>;
@compute @workgroup_size(${workgroup})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let m = vec4f(p.factor);
  let c = vec4f(1.0 - p.factor);
${each((i) => `var v${i} = vec4f(f32(id.x + ${i}u));`)}
  for (var t = 0u; t < p.turns; t++) {
${Array.from({ length: 16 }, () => turn).join('\n')}
  }
  out[id.x] = ${Array.from({ length: chains }, (_, i) => `v${i}`).join(' + ')};
}`,
  };
}

/**
 * A thread's vectors lie one after the other, which suits processors, or those of a workgroup side by side,
 * which suits GPUs.
 */
type Order = 'thread' | 'workgroup';
const copyWorkgroup = 256;

function copyKernel(vectors: number, order: Order): Kernel {
  const first =
    order === 'thread'
      ? `(group.x * ${copyWorkgroup}u + id.x) * ${vectors}u`
      : `group.x * ${copyWorkgroup * vectors}u + id.x`;
  const step = order === 'thread' ? 1 : copyWorkgroup;
  const each = (line: (i: number) => string): string =>
    Array.from({ length: vectors }, (_, i) => line(i)).join('\n');
  return {
    name: 'probeCopy',
    bindings: ['read', 'write'],
    params: [],
    wgsl: `
@group(0) @binding(0) var<storage, read> source: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> copied: array<vec4f>;
@compute @workgroup_size(${copyWorkgroup})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) id: vec3u) {
  let first = ${first};
${each((i) => `let v${i} = source[first + ${i * step}u];`)}
${each((i) => `copied[first + ${i * step}u] = v${i};`)}
}`,
  };
}

const repeats = 5;
/** Long against the cost of a submit and a wait. */
const leastMs = 25;

/** Seconds of one `launch` at best, of runs with as many launches as fill {@link leastMs}. */
async function fastest(launch: () => void): Promise<number> {
  const timed = async (count: number): Promise<number> => {
    const start = performance.now();
    for (let i = 0; i < count; i++) launch();
    await k.synchronize();
    return performance.now() - start;
  };
  await timed(1);
  let count = 1;
  while ((await timed(count)) < leastMs) count *= 2;
  let best = Infinity;
  for (let i = 0; i < repeats; i++) best = Math.min(best, (await timed(count)) / count);
  return best / 1000;
}

async function arithmetic(): Promise<number> {
  const runtime = k.runtime();
  const threads = 1 << 16;
  const turns = runtime.target.kind === 'software' ? 4 : 256;
  const out = runtime.alloc(16 * threads, 'probe');
  let best = 0;
  for (const chains of [4, 8]) {
    for (const workgroup of [32, 64, 256]) {
      const kernel = arithmeticKernel(chains, workgroup);
      const seconds = await fastest(() =>
        runtime.dispatch(kernel, [out], [turns, 0.999], [threads / workgroup, 1, 1]),
      );
      best = Math.max(best, (threads * turns * 16 * chains * 4 * 2) / seconds / 1e9);
    }
  }
  runtime.free(out);
  return best;
}

/** GB/s of a copy, reading and writing counted. */
export async function copy(bytes: number): Promise<number> {
  const runtime = k.runtime();
  const [from, to] = [runtime.alloc(bytes, 'probe'), runtime.alloc(bytes, 'probe')];
  runtime.clear(from, 0, bytes);
  let best = 0;
  for (const vectors of [1, 4, 8]) {
    const groups = bytes / 16 / vectors / copyWorkgroup;
    if (groups > 65535) continue;
    for (const order of ['thread', 'workgroup'] as const) {
      const kernel = copyKernel(vectors, order);
      const seconds = await fastest(() => runtime.dispatch(kernel, [from, to], [], [groups, 1, 1]));
      best = Math.max(best, (2 * bytes) / seconds / 1e9);
    }
  }
  runtime.free(from);
  runtime.free(to);
  return best;
}

/** The device must be running. */
export async function measureCeilings(): Promise<Ceilings> {
  const large = await copy(64 << 20);
  return {
    gflops: await arithmetic(),
    gigabytesPerSecond: Math.max(large, await copy(4 << 20)),
    largeCopyGigabytesPerSecond: large,
  };
}

/** The higher of each. */
export const higher = (a: Ceilings, b: Ceilings): Ceilings => ({
  gflops: Math.max(a.gflops, b.gflops),
  gigabytesPerSecond: Math.max(a.gigabytesPerSecond, b.gigabytesPerSecond),
  largeCopyGigabytesPerSecond: Math.max(a.largeCopyGigabytesPerSecond, b.largeCopyGigabytesPerSecond),
});
