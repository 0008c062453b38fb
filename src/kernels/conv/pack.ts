/** Copies of convolution weights in the order the implicit-GEMM kernels read them. */
import { foldGrid, linearWorkgroup, memoKernel, type Kernel, type ParamField } from '../base/kernel.js';
import { reads, shader, writes } from '../base/shader.js';
import {
  ceilDiv,
  highHalf,
  lowHalf,
  pair,
  roundUp,
  type Elem,
  type Launch,
  type WeightLayout,
} from '../base/plan.js';

const size = 64;

/**
 * `taps`: [group][tap][k padded to 4][n padded to 4]; `runs`: [tap row][tap column and channel, padded to
 * 4][n padded to 4], for inputs of few channels, where neighbouring pixels of a row are one contiguous run.
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

const packParams: readonly ParamField[] = [
  ['k', 'u32'],
  ['n', 'u32'],
  ['taps', 'i32'],
  ['first', 'i32'],
  ['step', 'i32'],
  ['kernelW', 'i32'],
  ['outOff', 'u32'],
  // Of the weight: elements from one k, n, tap or group to the next.
  ['kStride', 'u32'],
  ['nStride', 'u32'],
  ['tapStride', 'u32'],
  ['groupStride', 'u32'],
];

/**
 * An invocation moves all taps of one k and four n, which reads each weight's taps in a row: workgroups cover
 * 8 k by 8 vectors of n, and z is the group.
 */
function packTapsKernel(elem: Elem): Kernel {
  return memoKernel(`convPack.taps.${elem}`, () => ({
    name: 'convPackWeights',
    params: packParams,
    ...shader({
      bindings: [reads('w', elem), writes('packed', `vec4<${elem}>`)],
      functions: `fn base(group: u32, k: u32, n: u32) -> u32 {
  return group * p.groupStride + min(k, p.k - 1u) * p.kStride + min(n, p.n - 1u) * p.nStride;
}`,
      workgroup: size,
      builtins: ['wid', 'lane'],
      body: `  let nPitch = (p.n + 3u) / 4u;
  let kPad = (p.k + 3u) & ~3u;
  let n = wid.x * 8u + (lane & 7u);
  let k = wid.y * 8u + (lane >> 3u);
  if (n >= nPitch || k >= kPad) { return; }
  let at = vec4<u32>(base(wid.z, k, 4u * n), base(wid.z, k, 4u * n + 1u), base(wid.z, k, 4u * n + 2u), base(wid.z, k, 4u * n + 3u));
  let inside = (vec4<u32>(4u * n) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(p.n)) & vec4<bool>(k < p.k);
  let count = u32(${highHalf('taps')} * ${lowHalf('taps')});
  var to = p.outOff / 4u + (wid.z * count * kPad + k) * nPitch + n;
  for (var th = 0; th < ${highHalf('taps')}; th++) {
    for (var tw = 0; tw < ${lowHalf('taps')}; tw++) {
      let tap = p.tapStride * u32((${highHalf('first')} + th * ${highHalf('step')}) * p.kernelW + ${lowHalf('first')} + tw * ${lowHalf('step')});
      let v = vec4<${elem}>(w[at.x + tap], w[at.y + tap], w[at.z + tap], w[at.w + tap]);
      packed[to] = select(vec4<${elem}>(0.0), v, inside);
      to += kPad * nPitch;
    }
  }`,
    }),
  }));
}

/** One element per invocation: runs are short, and so is their weight. */
function packRunsKernel(elem: Elem): Kernel {
  return memoKernel(`convPack.runs.${elem}`, () => ({
    name: 'convPackWeights',
    params: packParams,
    ...shader({
      bindings: [reads('w', elem), writes('packed', elem)],
      workgroup: size,
      builtins: ['wid', 'nwg', 'lane'],
      body: `  let i = ${linearWorkgroup} * ${size}u + lane;
  let nPad = (p.n + 3u) & ~3u;
  let tapsW = u32(${lowHalf('taps')});
  let run = (tapsW * p.k + 3u) & ~3u;
  if (i >= u32(${highHalf('taps')}) * run * nPad) { return; }
  let n = i % nPad;
  let rest = i / nPad;
  let th = rest / run;
  let e = rest - th * run;
  let tw = e / p.k;
  let k = e - tw * p.k;
  var v = ${elem}(0.0);
  if (tw < tapsW && n < p.n) {
    let kh = u32(${highHalf('first')}) + th * u32(${highHalf('step')});
    let kw = u32(${lowHalf('first')}) + tw * u32(${lowHalf('step')});
    v = w[n * p.nStride + k * p.kStride + (kh * u32(p.kernelW) + kw) * p.tapStride];
  }
  packed[p.outOff + i] = v;`,
    }),
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
  from: WeightLayout,
): Launch {
  const k = transposed ? s.cOut : s.cIn;
  const n = transposed ? s.cIn : s.cOut;
  const runs = layout === 'runs';
  const all = s.kernelH * s.kernelW;
  const stride =
    from === 'oihw'
      ? { out: s.cIn * all, in: all, tap: 1, group: s.cOut * s.cIn * all }
      : { out: 1, in: s.cOut, tap: s.cIn * s.cOut, group: 0 };
  return {
    kernel: runs ? packRunsKernel(elem) : packTapsKernel(elem),
    buffers: ['weight', 'packed'],
    params: [
      k,
      n,
      pair(taps.countH, taps.countW),
      pair(taps.firstH, taps.firstW),
      pair(taps.stepH, taps.stepW),
      s.kernelW,
      outOff,
      transposed ? stride.out : stride.in,
      transposed ? stride.in : stride.out,
      stride.tap,
      stride.group,
    ],
    grid: runs
      ? foldGrid(ceilDiv(packedElements(s, taps, layout, transposed), size))
      : [ceilDiv(n, 32), ceilDiv(roundUp(k, 4), 8), s.groups],
  };
}
