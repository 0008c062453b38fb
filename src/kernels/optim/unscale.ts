/**
 * Gradients times a factor, in place, and whether any of them is infinite or NaN: several per launch, as many
 * as the adapter's storage buffers allow, each a whole buffer of float32 (PyTorch's
 * `_amp_foreach_non_finite_check_and_unscale_`).
 */
import { foldGrid, linearWorkgroup, memoKernel, type Kernel, type ParamField } from '../base/kernel.js';
import type { BufferRef, Launch, PlanLimits } from '../base/plan.js';
import { shader, writes } from '../base/shader.js';

const workgroup = 64;
const blockElements = workgroup * 4;

/**
 * Exponents are looked at as bits: WGSL lets a compiler assume that no number is infinite or NaN. What fills
 * up the last vec4 may be anything, so it does not count.
 */
const functions = `fn bad(bits: vec4u, rest: u32) -> bool {
  let full = (bits & vec4u(0x7f800000u)) == vec4u(0x7f800000u);
  return any(full & (vec4u(0u, 1u, 2u, 3u) < vec4u(rest)));
}`;

function kernelFor(count: number): Kernel {
  return memoKernel(`unscale:${count}`, () => {
    const params: ParamField[] = [['factor', 'f32']];
    const branches: string[] = [];
    for (let i = 0; i < count; i++) {
      params.push([`size${i}`, 'u32'], [`end${i}`, 'u32']);
      branches.push(`if (block < p.end${i}) {
        let at = (block - ${i === 0 ? '0u' : `p.end${i - 1}`}) * ${workgroup}u + lane;
        if (4u * at < p.size${i}) {
          let bits = g${i}[at];
          if (bad(bits, p.size${i} - 4u * at)) { atomicStore(&found[0], 1); }
          g${i}[at] = bitcast<vec4u>(bitcast<vec4f>(bits) * p.factor);
        }
      }`);
    }
    return {
      name: 'unscale',
      params,
      ...shader({
        bindings: [
          writes('found', 'atomic<i32>'),
          ...Array.from({ length: count }, (_, i) => writes(`g${i}`, 'vec4u')),
        ],
        workgroup,
        builtins: ['wid', 'nwg', 'lane'],
        functions,
        body: `  let block = ${linearWorkgroup};
        ${branches.join(' else ')}`,
      }),
    };
  });
}

/**
 * Multiplies gradients of so many elements each by `factor`. Buffers by position: an int32 that becomes 1
 * where an element is infinite or NaN, then the gradients.
 */
export function unscaleLaunch(factor: number, elements: readonly number[]): Launch {
  const params = [factor];
  let blocks = 0;
  for (const count of elements) params.push(count, (blocks += Math.ceil(count / blockElements)));
  const buffers = Array.from({ length: elements.length + 1 }, (_, i) => i);
  return { kernel: kernelFor(elements.length), buffers, params, grid: foldGrid(blocks) };
}

/** The same for one gradient that is larger than a binding, range by range. */
export function unscaleRangeLaunches(factor: number, elements: number, limits: PlanLimits): Launch[] {
  const unit = Math.max(16, limits.offsetAlignment);
  const step = Math.floor(limits.maxBinding / unit) * unit;
  const launches: Launch[] = [];
  for (let offset = 0; offset < 4 * elements; offset += step) {
    const bytes = Math.min(step, 4 * elements - offset);
    const range: BufferRef = { name: 1, offset, size: Math.ceil(bytes / 16) * 16 };
    launches.push({ ...unscaleLaunch(factor, [bytes / 4]), buffers: [0, range] });
  }
  return launches;
}
