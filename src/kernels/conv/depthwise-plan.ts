/**
 * Routing of depthwise convolutions: groups equal to the input channels, any number of output channels per
 * group.
 */
import type { Conv2dProblem } from './problem.js';
import { weightGradSumLaunch } from './weight-grad-sum.js';
import {
  depthwiseForwardKernel,
  depthwiseGroup,
  depthwiseInputGradKernel,
  depthwisePackKernel,
  depthwiseWeightGradKernel,
  type Window,
} from './depthwise.js';
import { foldGrid, type Kernel, type Target } from '../base/kernel.js';
import {
  bindElements,
  bytesOf,
  ceilDiv,
  epilogueBuffers,
  noEpilogue,
  pair,
  roundUp,
  type Bound,
  type Launch,
  type PackedWeights,
  type Plan,
  type PlanLimits,
} from '../base/plan.js';

/** Whether four channels are read at a time. */
const vectors = (p: Conv2dProblem, ...offsets: number[]): 1 | 4 =>
  p.cIn === p.cOut && p.cIn % 4 === 0 && offsets.every((o) => o % 4 === 0) ? 4 : 1;

function windowOf(
  kernel: number,
  stride: number,
  dilation: number,
  V: 1 | 4,
  outputs: number,
): Window | undefined {
  return V === 4 && dilation === 1 && kernel >= 2 && kernel <= 7 && stride <= 2
    ? { kernel, stride, outputs }
    : undefined;
}

function packed(p: Conv2dProblem, flip: boolean): PackedWeights {
  const elem = p.elem ?? 'f32';
  const taps = p.kernelH * p.kernelW;
  const count = p.cOut * taps;
  return {
    key: `depthwise.${+flip}`,
    bytes: roundUp(count * bytesOf(elem), 16),
    launches: [
      {
        kernel: depthwisePackKernel(elem),
        buffers: ['weight', 'packed'],
        params: [count, p.cOut, taps, flip ? 1 : 0],
        grid: foldGrid(ceilDiv(count, depthwiseGroup)),
      },
    ],
  };
}

interface Part {
  readonly n: number;
  readonly first: boolean;
  readonly x: Bound;
  readonly y: Bound;
  readonly residual: Bound | undefined;
}

/** Ranges of images that fit a binding; `x` and `y` name the convolution's input and output side. */
function parts(
  p: Conv2dProblem,
  limits: PlanLimits,
  names: { x: string; y: string; residual?: 'x' | 'y' },
): Part[] {
  const elem = p.elem ?? 'f32';
  const xImage = p.h * p.w * p.cIn;
  const yImage = p.outH * p.outW * p.cOut;
  const most = (limits.maxBinding - limits.offsetAlignment) / bytesOf(elem);
  const images = Math.max(1, Math.min(p.n, Math.floor(most / Math.max(xImage, yImage))));
  const list: Part[] = [];
  for (let first = 0; first < p.n; first += images) {
    const n = Math.min(images, p.n - first);
    const bind = (name: string, image: number): Bound =>
      bindElements(name, first * image, n * image, elem, limits);
    list.push({
      n,
      first: first === 0,
      x: bind(names.x, xImage),
      y: bind(names.y, yImage),
      residual: names.residual && bind('residual', names.residual === 'x' ? xImage : yImage),
    });
  }
  return list;
}

const fields = (p: Conv2dProblem, V: 1 | 4, count: number, xOff: number, yOff: number): number[] => [
  count,
  p.cOut / V,
  p.cOut / p.cIn,
  p.h,
  p.w,
  p.outH,
  p.outW,
  pair(p.kernelH, p.kernelW),
  pair(p.strideH, p.strideW),
  pair(p.dilationH, p.dilationW),
  pair(p.padTop, p.padLeft),
  xOff,
  yOff,
];

function launchOf(
  kernel: Kernel,
  p: Conv2dProblem,
  part: Part,
  input: Bound,
  output: Bound,
  params: number[],
): Launch {
  const operands = epilogueBuffers(p.epilogue ?? noEpilogue).map((name) =>
    name === 'residual' && part.residual ? part.residual.ref : name,
  );
  return {
    kernel,
    buffers: [input.ref, 'w', output.ref, ...operands],
    params: part.residual ? [...params, part.residual.offset] : params,
    grid: foldGrid(ceilDiv(params[0]!, depthwiseGroup)),
  };
}

/** Forward pass; buffers as for `planConv2d`. */
export function planDepthwise(
  _target: Target,
  limits: PlanLimits,
  p: Conv2dProblem,
  names = { x: 'x', y: 'y' },
): Plan {
  const epilogue = p.epilogue ?? noEpilogue;
  const list = parts(p, limits, { ...names, ...(epilogue.residual ? { residual: 'y' as const } : {}) });
  const launches = list.map((part) => {
    const V = vectors(p, part.x.offset, part.y.offset, part.residual?.offset ?? 0);
    const window = windowOf(p.kernelW, p.strideW, p.dilationW, V, 4);
    const kernel = depthwiseForwardKernel({ V, window, epilogue, elem: p.elem ?? 'f32' });
    const count = part.n * p.outH * ceilDiv(p.outW, window?.outputs ?? 1) * (p.cOut / V);
    return launchOf(kernel, p, part, part.x, part.y, fields(p, V, count, part.x.offset, part.y.offset));
  });
  return { launches, workspaces: {}, weights: packed(p, false) };
}

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));

/** Input gradient; buffers as for `planConv2dInputGrad`. */
export function planDepthwiseInputGrad(target: Target, limits: PlanLimits, p: Conv2dProblem): Plan {
  if (p.strideH === 1 && p.strideW === 1 && p.cIn === p.cOut) {
    // The forward pass over dy with the taps turned around.
    const turned: Conv2dProblem = {
      ...p,
      h: p.outH,
      w: p.outW,
      outH: p.h,
      outW: p.w,
      padTop: (p.kernelH - 1) * p.dilationH - p.padTop,
      padLeft: (p.kernelW - 1) * p.dilationW - p.padLeft,
    };
    return { ...planDepthwise(target, limits, turned, { x: 'dy', y: 'dx' }), weights: packed(p, true) };
  }
  const epilogue = p.epilogue ?? noEpilogue;
  const list = parts(p, limits, {
    x: 'dx',
    y: 'dy',
    ...(epilogue.residual ? { residual: 'x' as const } : {}),
  });
  const step = pair(p.strideH / gcd(p.strideH, p.dilationH), p.strideW / gcd(p.strideW, p.dilationW));
  const launches = list.map((part) => {
    const V = vectors(p, part.x.offset, part.y.offset, part.residual?.offset ?? 0);
    const kernel = depthwiseInputGradKernel({ V, epilogue, elem: p.elem ?? 'f32' });
    const count = part.n * p.h * p.w * (p.cIn / V);
    const params = [...fields(p, V, count, part.x.offset, part.y.offset), step];
    return launchOf(kernel, p, part, part.y, part.x, params);
  });
  return { launches, workspaces: {}, weights: packed(p, false) };
}

/** Weight gradient; buffers as for `planConv2dWeightGrad`. */
export function planDepthwiseWeightGrad(target: Target, limits: PlanLimits, p: Conv2dProblem): Plan {
  const elem = p.elem ?? 'f32';
  const list = parts(p, limits, { x: 'x', y: 'dy' });
  const taps = p.kernelH * p.kernelW;
  const launches: Launch[] = [];
  let partials = 0;
  for (const part of list) {
    const V = vectors(p, part.x.offset, part.y.offset);
    const window = windowOf(p.kernelW, p.strideW, p.dilationW, V, 1);
    const lines = part.n * p.outH;
    const perSplit = (p.cOut / V) * (window ? p.kernelH : taps);
    const [wanted, least] = target.kind === 'software' ? [2048, 4] : [131072, 2];
    const chunk = ceilDiv(lines, Math.max(1, Math.min(ceilDiv(wanted, perSplit), Math.ceil(lines / least))));
    const splits = ceilDiv(lines, chunk);
    partials = Math.max(partials, splits * taps * roundUp(p.cOut, 4) * 4);
    launches.push({
      kernel: depthwiseWeightGradKernel({ V, window, elem }),
      buffers: [part.x.ref, part.y.ref, 'partials'],
      params: [...fields(p, V, perSplit * splits, part.x.offset, part.y.offset), lines, chunk],
      grid: foldGrid(ceilDiv(perSplit * splits, depthwiseGroup)),
    });
    launches.push(
      weightGradSumLaunch(target, { groups: 1, taps, ci: 1, co: p.cOut, splits, first: part.first, elem }),
    );
  }
  return { launches, workspaces: { partials } };
}
