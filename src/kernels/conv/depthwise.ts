/**
 * Depthwise convolution (one input channel per group) over channels-last tensors, computed directly: there is
 * no product to tile, so the kernels are bound by loads. Where the taps of a row lie next to each other an
 * invocation makes several neighbouring outputs from one window of inputs.
 *
 * Generators only; depthwise-plan.ts routes. Packed weights are [tap][output channel].
 */
import { linearWorkgroup, memoKernel, type Kernel, type ParamField } from '../base/kernel.js';
import { reads, shader, writes } from '../base/shader.js';
import { epilogueKey, highHalf, lowHalf, type Elem, type Epilogue } from '../base/plan.js';
import { epilogueBindings, epilogueColumns, range, storeRow, vecType, widen } from '../matmul/tile.js';

export const depthwiseGroup = 64;

/** A row of taps with dilation 1: its length, the stride, and how many outputs share a window. */
export interface Window {
  readonly kernel: number;
  readonly stride: number;
  readonly outputs: number;
}

export interface DepthwiseSpec {
  /** Channels per access: 4 needs as many output as input channels, a multiple of four. */
  readonly V: 1 | 4;
  /** Absent: taps and dilation come from the launch fields and an invocation makes one output. */
  readonly window?: Window | undefined;
  readonly epilogue: Epilogue;
  readonly elem: Elem;
}

/**
 * Geometry of all depthwise kernels: `x` and `y` are the convolution's input and output; pairs hold height,
 * width.
 */
const geometry: readonly ParamField[] = [
  ['count', 'u32'], // invocations
  ['channels', 'u32'], // accesses per output pixel
  ['multiplier', 'u32'],
  ['inH', 'u32'],
  ['inW', 'u32'],
  ['outH', 'u32'],
  ['outW', 'u32'],
  ['kernel', 'i32'],
  ['stride', 'i32'],
  ['dilation', 'i32'],
  ['pad', 'i32'],
  ['xOff', 'u32'],
  ['yOff', 'u32'],
];

const windowKey = (w?: Window): string => (w ? `${w.kernel}s${w.stride}x${w.outputs}` : 'any');

const entryPoint = { workgroup: depthwiseGroup, builtins: ['wid', 'nwg', 'lane'] } as const;
const head = `  let index = ${linearWorkgroup} * ${depthwiseGroup}u + lane;
  if (index >= p.count) { return; }`;

/** `y = epilogue(x * w)`. */
export function depthwiseForwardKernel(s: DepthwiseSpec): Kernel {
  const key = ['depthwise', s.V, windowKey(s.window), epilogueKey(s.epilogue), s.elem].join('.');
  return memoKernel(key, () => {
    const { V, elem } = s;
    const T = vecType(V);
    const stored = vecType(V, elem);
    const outputs = s.window?.outputs ?? 1;
    const load = (column: string): string =>
      `select(${T}(0.0), ${widen(V, elem, `x[row + u32(clamp(${column}, 0, i32(p.inW) - 1)) * inPitch]`)}, okh & (${column} >= 0) & (${column} < i32(p.inW)))`;
    const inner: string[] = [];
    if (s.window) {
      const { kernel, stride } = s.window;
      for (const j of range(stride * (outputs - 1) + kernel))
        inner.push(`    let x${j} = ${load(`w0 + ${j}`)};`);
      for (const k of range(kernel)) {
        inner.push(
          `    let k${k} = ${widen(V, elem, `w[(u32(th) * ${kernel}u + ${k}u) * p.channels + c]`)};`,
        );
        for (const o of range(outputs)) inner.push(`    s${o} = fma(x${o * stride + k}, k${k}, s${o});`);
      }
    } else {
      inner.push(`    for (var tw = 0; tw < ${lowHalf('kernel')}; tw++) {
      let w_ = w0 + tw * ${lowHalf('dilation')};
      s0 = fma(${load('w_')}, ${widen(V, elem, `w[u32(th * ${lowHalf('kernel')} + tw) * p.channels + c]`)}, s0);
    }`);
    }
    const at = (off: string, o: number): string =>
      `${off} / ${V}u + (line * p.outW + ow + ${o}u) * p.channels + c`;
    return {
      name: 'depthwise',
      params: [...geometry, ...(s.epilogue.residual ? ([['residualOff', 'u32']] as const) : [])],
      ...shader({
        bindings: [
          reads('x', stored),
          reads('w', stored),
          writes('y', stored),
          ...epilogueBindings(s.epilogue, V, true, elem),
        ],
        ...entryPoint,
        body: `${head}
  let blocks = (p.outW + ${outputs - 1}u) / ${outputs}u;
  let c = index % p.channels;
  let pixel = index / p.channels;
  let line = pixel / blocks;
  let ow = (pixel - line * blocks) * ${outputs}u;
  let img = line / p.outH;
  let oh = line - img * p.outH;
  let inPitch = p.channels / p.multiplier;
  let h0 = i32(oh) * ${highHalf('stride')} - ${highHalf('pad')};
  let w0 = i32(ow) * ${lowHalf('stride')} - ${lowHalf('pad')};
${range(outputs)
  .map((o) => `  var s${o} = ${T}(0.0);`)
  .join('\n')}
  for (var th = 0; th < ${highHalf('kernel')}; th++) {
    let h_ = h0 + th * ${highHalf('dilation')};
    let okh = u32(h_) < p.inH;
    let row = p.xOff / ${V}u + (img * p.inH + select(0u, u32(h_), okh)) * p.inW * inPitch + c / p.multiplier;
${inner.join('\n')}
  }
${epilogueColumns(s.epilogue, { cols: V, vectors: true, elem, column: 'c' })}
${range(outputs)
  .map((o) => {
    const store = storeRow(s.epilogue, {
      cols: V,
      vectors: true,
      elem,
      out: 'y',
      value: `s${o}`,
      index: at('p.yOff', o),
      residualIndex: at('p.residualOff', o),
      column: 'c',
      columns: '',
    });
    return `  if (ow + ${o}u < p.outW) ${store}`;
  })
  .join('\n')}`,
      }),
    };
  });
}

/**
 * `dx` from `dy` (here `x` and `y` of the fields are dx and dy): every input position gathers the taps that
 * reached it.
 */
export function depthwiseInputGradKernel(s: Omit<DepthwiseSpec, 'window'>): Kernel {
  const key = ['depthwiseInputGrad', s.V, epilogueKey(s.epilogue), s.elem].join('.');
  return memoKernel(key, () => {
    const { V, elem } = s;
    const T = vecType(V);
    const stored = vecType(V, elem);
    const store = storeRow(s.epilogue, {
      cols: V,
      vectors: true,
      elem,
      out: 'dx',
      value: 'sum',
      index: `p.xOff / ${V}u + index`,
      residualIndex: `p.residualOff / ${V}u + index`,
      column: 'c',
      columns: '',
    });
    return {
      name: 'depthwiseInputGrad',
      params: [
        ...geometry,
        ['step', 'i32'],
        ...(s.epilogue.residual ? ([['residualOff', 'u32']] as const) : []),
      ],
      ...shader({
        bindings: [
          reads('dy', stored),
          reads('w', stored),
          writes('dx', stored),
          ...epilogueBindings(s.epilogue, V, true, elem),
        ],
        functions: `// The first tap whose distance from this position is a multiple of the stride; the kernel's size when none is.
fn firstTap(at: i32, kernel: i32, stride: i32, dilation: i32, step: i32) -> i32 {
  for (var t = 0; t < min(step, kernel); t++) {
    if ((at - t * dilation) % stride == 0) { return t; }
  }
  return kernel;
}`,
        ...entryPoint,
        body: `${head}
  let inPitch = p.channels / p.multiplier;
  let c = index % inPitch;
  let pixel = index / inPitch;
  let line = pixel / p.inW;
  let img = line / p.inH;
  let h = i32(line - img * p.inH) + ${highHalf('pad')};
  let w_ = i32(pixel - line * p.inW) + ${lowHalf('pad')};
  let firstH = firstTap(h, ${highHalf('kernel')}, ${highHalf('stride')}, ${highHalf('dilation')}, ${highHalf('step')});
  let firstW = firstTap(w_, ${lowHalf('kernel')}, ${lowHalf('stride')}, ${lowHalf('dilation')}, ${lowHalf('step')});
  var sum = ${T}(0.0);
  for (var th = firstH; th < ${highHalf('kernel')}; th += ${highHalf('step')}) {
    let h_ = h - th * ${highHalf('dilation')};
    let oh = h_ / ${highHalf('stride')};
    let okh = (h_ >= 0) & (oh < i32(p.outH));
    for (var tw = firstW; tw < ${lowHalf('kernel')}; tw += ${lowHalf('step')}) {
      let x_ = w_ - tw * ${lowHalf('dilation')};
      let ow = x_ / ${lowHalf('stride')};
      let ok = okh & (x_ >= 0) & (ow < i32(p.outW));
      let at = select(0u, ((img * p.outH + u32(oh)) * p.outW + u32(ow)) * p.channels, ok) + c * p.multiplier;
      let tap = u32(th * ${lowHalf('kernel')} + tw) * p.channels + c * p.multiplier;
      for (var m = 0u; m < p.multiplier; m++) {
        sum = fma(select(${T}(0.0), ${widen(V, elem, `dy[p.yOff / ${V}u + at + m]`)}, ok), ${widen(V, elem, 'w[tap + m]')}, sum);
      }
    }
  }
${epilogueColumns(s.epilogue, { cols: V, vectors: true, elem, column: 'c' })}
  ${store}`,
      }),
    };
  });
}

/**
 * Partial sums [split][tap][output channel] of the weight gradient. An invocation owns one channel access,
 * one row of taps (with a window) or one tap, and the lines of output of its split.
 */
export function depthwiseWeightGradKernel(s: Omit<DepthwiseSpec, 'epilogue'>): Kernel {
  return memoKernel(['depthwiseWeightGrad', s.V, windowKey(s.window), s.elem].join('.'), () => {
    const { V, elem } = s;
    const T = vecType(V);
    const taps = s.window?.kernel ?? 1;
    const stride = s.window?.stride ?? 1;
    const load = (column: string): string =>
      `select(${T}(0.0), ${widen(V, elem, `x[row + u32(clamp(${column}, 0, i32(p.inW) - 1)) * inPitch]`)}, (${column} >= 0) & (${column} < i32(p.inW)))`;
    const dy = widen(V, elem, `dy[p.yOff / ${V}u + (line * p.outW + ow) * p.channels + c]`);
    // The window slides: each output reads only as many new inputs as the stride.
    const slide = s.window
      ? `${range(taps)
          .map(
            (k) => `    var x${k} = ${k < taps - stride ? load(`${k} - ${lowHalf('pad')}`) : `${T}(0.0)`};`,
          )
          .join('\n')}
    for (var ow = 0u; ow < p.outW; ow++) {
      let w0 = i32(ow) * ${stride} - ${lowHalf('pad')};
${range(taps)
  .filter((k) => k >= taps - stride)
  .map((k) => `      x${k} = ${load(`w0 + ${k}`)};`)
  .join('\n')}
      let g = ${dy};
${range(taps)
  .map((k) => `      s${k} = fma(g, x${k}, s${k});`)
  .join('\n')}
${range(taps)
  .filter((k) => k + stride < taps)
  .map((k) => `      x${k} = x${k + stride};`)
  .join('\n')}
    }`
      : `    for (var ow = 0u; ow < p.outW; ow++) {
      let w_ = i32(ow) * ${lowHalf('stride')} - ${lowHalf('pad')} + tw * ${lowHalf('dilation')};
      s0 = fma(${dy}, ${load('w_')}, s0);
    }`;
    return {
      name: 'depthwiseWeightGrad',
      params: [...geometry, ['lines', 'u32'], ['chunk', 'u32']],
      ...shader({
        bindings: [reads('x', vecType(V, elem)), reads('dy', vecType(V, elem)), writes('partials', T)],
        ...entryPoint,
        body: `${head}
  let c = index % p.channels;
  let rest = index / p.channels;
  let tapGroups = ${s.window ? highHalf('kernel') : `${highHalf('kernel')} * ${lowHalf('kernel')}`};
  let split = rest / u32(tapGroups);
  let tapGroup = i32(rest) - i32(split) * tapGroups;
  ${s.window ? 'let th = tapGroup;' : `let th = tapGroup / ${lowHalf('kernel')};\n  let tw = tapGroup - th * ${lowHalf('kernel')};`}
  let inPitch = p.channels / p.multiplier;
${range(taps)
  .map((k) => `  var s${k} = ${T}(0.0);`)
  .join('\n')}
  for (var line = split * p.chunk; line < min(p.lines, (split + 1u) * p.chunk); line++) {
    let img = line / p.outH;
    let h_ = i32(line - img * p.outH) * ${highHalf('stride')} - ${highHalf('pad')} + th * ${highHalf('dilation')};
    if (u32(h_) >= p.inH) { continue; }
    let row = p.xOff / ${V}u + (img * p.inH + u32(h_)) * p.inW * inPitch + c / p.multiplier;
${slide}
  }
  // Rows of the partials are padded to four channels.
  let pitch = (p.channels * ${V}u + 3u) / 4u * 4u / ${V}u;
  let at = (split * u32(${highHalf('kernel')} * ${lowHalf('kernel')}) + u32(tapGroup) * ${taps}u) * pitch + c;
${range(taps)
  .map((k) => `  partials[at + ${k}u * pitch] = s${k};`)
  .join('\n')}`,
      }),
    };
  });
}

/** Weights [channel][tap] to [tap][channel]; `flip` turns the taps around. */
export function depthwisePackKernel(elem: Elem): Kernel {
  return memoKernel(`depthwisePack.${elem}`, () => ({
    name: 'depthwisePackWeights',
    params: [
      ['count', 'u32'],
      ['channels', 'u32'],
      ['taps', 'u32'],
      ['flip', 'u32'],
    ],
    ...shader({
      bindings: [reads('weight', elem), writes('packed', elem)],
      ...entryPoint,
      body: `${head}
  let tap = index / p.channels;
  let c = index - tap * p.channels;
  packed[index] = weight[c * p.taps + select(tap, p.taps - 1u - tap, p.flip == 1u)];`,
    }),
  }));
}
