/** The counters of bench/hardware, on kernels whose counts can be told by reading them. */
import { beforeAll, describe, expect, it } from 'vitest';
import { countedKernel } from '../../bench/hardware/counted.js';
import { launchFigures } from '../../bench/hardware/record.js';
import { hardware } from '../../bench/hardware/table.js';
import { init, runtime } from '../../src/index.js';
import type { Kernel } from '../../src/kernels/base/kernel.js';
import { reads, shader, writes } from '../../src/kernels/base/shader.js';

beforeAll(() => init());

/** Workgroups of 8 add up their part of `x`, `p.terms` elements each, through workgroup memory. */
const sums: Kernel = {
  name: 'sums',
  params: [['terms', 'u32']],
  ...shader({
    bindings: [reads('x', 'vec4<f32>'), writes('y', 'f32')],
    functions: `var<workgroup> parts: array<f32, 8>;
fn whole(v: vec4<f32>) -> f32 { return v.x + v.y + v.z + v.w; }`,
    workgroup: 8,
    builtins: ['wid', 'nwg', 'lid'],
    body: `var sum = 0.0;
for (var i = lid; i < p.terms; i += 8u) { sum += whole(x[wid.x * p.terms + i]); }
parts[lid] = sum;
workgroupBarrier();
if (lid > 0u) { return; }
for (var i = 1u; i < 8u; i++) { sum += parts[i]; }
y[wid.x] = sum;`,
  }),
};

async function figuresOf(workgroups: number, terms: number): Promise<object> {
  const rt = runtime();
  const x = rt.alloc(16 * terms * workgroups, 'test');
  const y = rt.alloc(4 * workgroups, 'test');
  const run = (): void => rt.dispatch(sums, [x, y], [terms], [workgroups, 1, 1]);
  const [figures] = await launchFigures(hardware, { leastBytes: 1, prepare: () => ({ run }) });
  for (const buffer of [x, y]) rt.free(buffer);
  return figures!;
}

describe('counted kernels', () => {
  it('count loop passes, barriers and bytes of every invocation', async () => {
    expect(await figuresOf(2, 20)).toEqual({
      kernel: 'sums',
      workgroups: 2,
      threads: 8,
      // Three of its terms and seven parts, in the first invocation.
      steps: 10,
      barriers: 1,
      workgroupBytes: 32,
      storageBytes: 2 * (16 * 20 + 4),
      sharedBytes: 2 * 4 * (8 + 7),
    });
  });

  it('count a sample of a large grid and scale it up', async () => {
    const figures = await figuresOf(1000, 20);
    expect(figures).toMatchObject({ workgroups: 1000, steps: 10, storageBytes: 1000 * (16 * 20 + 4) });
  });

  it('put the sample where it is in the whole grid', () => {
    const { kernel } = countedKernel(sums, { grid: [1000, 1, 1], runs: [4, 1, 1] });
    expect(kernel.wgsl).toContain('let wid = wid_ * vec3<u32>(250u, 1u, 1u);');
    expect(kernel.wgsl).toContain('let nwg = vec3<u32>(1000u, 1u, 1u);');
  });

  it('leave the runtime as it was', async () => {
    const rt = runtime();
    const { target } = rt;
    await figuresOf(1, 8);
    expect(rt.target).toBe(target);
    expect(Object.hasOwn(rt, 'dispatch')).toBe(false);
  });
});
