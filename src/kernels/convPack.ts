/** Copies of convolution weights (OIHW) in the order the implicit-GEMM kernels read them. */
import { foldGrid, linearWorkgroup, memoKernel, type Kernel } from './kernel.js';
import { ceilDiv, highHalf, lowHalf, pair, roundUp, type Elem, type Launch } from './plan.js';

const size = 64;

/**
 * `taps`: [group][tap][k padded to 4][n padded to 4]; `runs`: [tap row][tap column and channel, padded to 4][n padded to 4],
 * for inputs of few channels, where neighbouring pixels of a row are one contiguous run.
 */
export type PackLayout = 'taps' | 'runs';

/** Which taps, in which order: `first + i * step` for `i < count`, per axis. */
export interface TapSet {
  readonly firstH: number;
  readonly firstW: number;
  readonly stepH: number;
  readonly stepW: number;
  readonly countH: number;
  readonly countW: number;
}

export const allTaps = (kernelH: number, kernelW: number): TapSet => ({
  firstH: 0,
  firstW: 0,
  stepH: 1,
  stepW: 1,
  countH: kernelH,
  countW: kernelW,
});

export interface PackShape {
  readonly cIn: number; // per group
  readonly cOut: number; // per group
  readonly kernelH: number;
  readonly kernelW: number;
  readonly groups: number;
}

/** Elements of a packed copy; `transposed` swaps the roles of input and output channels (input gradient). */
export function packedElements(s: PackShape, taps: TapSet, layout: PackLayout, transposed: boolean): number {
  const k = transposed ? s.cOut : s.cIn;
  const n = roundUp(transposed ? s.cIn : s.cOut, 4);
  if (layout === 'runs') return taps.countH * roundUp(taps.countW * k, 4) * n;
  return s.groups * taps.countH * taps.countW * roundUp(k, 4) * n;
}

function packKernel(layout: PackLayout, transposed: boolean, elem: Elem): Kernel {
  return memoKernel(`convPack.${layout}.${+transposed}.${elem}`, () => ({
    name: 'convPackWeights',
    bindings: ['read', 'write'],
    params: [
      ['count', 'u32'],
      ['k', 'u32'],
      ['n', 'u32'],
      ['taps', 'i32'],
      ['first', 'i32'],
      ['step', 'i32'],
      ['kernel', 'i32'],
      ['outOff', 'u32'],
    ],
    enables: elem === 'f16' ? ['f16'] : [],
    wgsl: `@group(0) @binding(0) var<storage, read> w: array<${elem}>;
@group(0) @binding(1) var<storage, read_write> packed: array<${elem}>;
@compute @workgroup_size(${size})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = ${linearWorkgroup} * ${size}u + lane;
  if (i >= p.count) { return; }
  let nPad = (p.n + 3u) & ~3u;
  let tapsW = u32(${lowHalf('taps')});
  let n = i % nPad;
  let rest = i / nPad;
${
  layout === 'runs'
    ? `  let run = (tapsW * p.k + 3u) & ~3u;
  let e = rest % run;
  let th = rest / run;
  let tw = e / p.k;
  let k = e - tw * p.k;
  let group = 0u;
  let inside = tw < tapsW && n < p.n;`
    : `  let kPad = (p.k + 3u) & ~3u;
  let k = rest % kPad;
  let tap = rest / kPad;
  let tapCount = u32(${highHalf('taps')}) * tapsW;
  let group = tap / tapCount;
  let t = tap - group * tapCount;
  let th = t / tapsW;
  let tw = t - th * tapsW;
  let inside = k < p.k && n < p.n;`
}
  var v = ${elem}(0.0);
  if (inside) {
    let kh = u32(${highHalf('first')}) + th * u32(${highHalf('step')});
    let kw = u32(${lowHalf('first')}) + tw * u32(${lowHalf('step')});
    let channels = ${transposed ? '(group * p.k + k) * p.n + n' : '(group * p.n + n) * p.k + k'};
    v = w[(channels * u32(${highHalf('kernel')}) + kh) * u32(${lowHalf('kernel')}) + kw];
  }
  packed[p.outOff + i] = v;
}`,
  }));
}

/** Packs one tap set of `weight` into `packed` from element `outOff` on. */
export function packLaunch(
  s: PackShape,
  taps: TapSet,
  layout: PackLayout,
  transposed: boolean,
  elem: Elem,
  outOff: number,
): Launch {
  const count = packedElements(s, taps, layout, transposed);
  return {
    kernel: packKernel(layout, transposed, elem),
    buffers: ['weight', 'packed'],
    params: [
      count,
      transposed ? s.cOut : s.cIn,
      transposed ? s.cIn : s.cOut,
      pair(taps.countH, taps.countW),
      pair(taps.firstH, taps.firstW),
      pair(taps.stepH, taps.stepW),
      pair(s.kernelH, s.kernelW),
      outOff,
    ],
    grid: foldGrid(ceilDiv(count, size)),
  };
}
