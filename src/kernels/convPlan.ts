/** Routing of the forward convolution and of the input gradient. */
import { PlanCache } from './plan-cache.js';
import type { Target } from './kernel.js';
import { convKernel, type ConvInput, type ConvSpec } from './conv.js';
import {
  allTaps,
  packedElements,
  packLaunch,
  type PackLayout,
  type PackShape,
  type TapSet,
} from './convPack.js';
import { isDepthwise, planDepthwise, planDepthwiseInputGrad } from './depthwisePlan.js';
import { planGemm } from './gemmPlan.js';
import { planWinograd, useWinograd } from './winogradPlan.js';
import { gatheredRows, gathers, type Reach } from './gathered.js';
import { chooseTile, tileColBlocks, tileGrid, type Tile } from './tile.js';
import {
  bindElements,
  bytesOf,
  epilogueBuffers,
  noEpilogue,
  pair,
  renamed,
  type BufferRef,
  type Elem,
  type Epilogue,
  type Launch,
  type Plan,
  type PlanLimits,
  type WeightLayout,
  problemKey,
} from './plan.js';

/**
 * A convolution of `x` [n, h, w, cIn] (channels-last storage) with a weight [cOut, cIn / groups, kernelH, kernelW]
 * into `y` [n, outH, outW, cOut]. Padding below and to the right is whatever the output size implies.
 */
export interface Conv2dProblem {
  readonly n: number;
  readonly h: number;
  readonly w: number;
  readonly cIn: number;
  readonly cOut: number;
  readonly kernelH: number;
  readonly kernelW: number;
  readonly outH: number;
  readonly outW: number;
  readonly strideH: number;
  readonly strideW: number;
  readonly padTop: number;
  readonly padLeft: number;
  readonly dilationH: number;
  readonly dilationW: number;
  readonly groups: number;
  /** Applied to the result: y in the forward pass, dx in the input gradient. */
  readonly epilogue?: Epilogue;
  /** First elements of the input and of the result; the residual is laid out like the result. */
  readonly inputOffset?: number;
  readonly outputOffset?: number;
  readonly residualOffset?: number;
  readonly elem?: Elem;
  /** Of the weight, and of its gradient. Default row-major ('oihw'). */
  readonly weights?: WeightLayout;
  /** The weight changes from call to call (training), so that a copy of it serves only once. Default false. */
  readonly freshWeights?: boolean;
  /** `'direct'` keeps to kernels whose error is that of a plain sum; default: the fastest. */
  readonly algorithm?: 'auto' | 'direct';
}

function validate(op: string, p: Conv2dProblem): void {
  const { n, h, w, cIn, cOut, kernelH, kernelW, outH, outW, strideH, strideW, dilationH, dilationW, groups } =
    p;
  const positive = {
    n,
    h,
    w,
    cIn,
    cOut,
    kernelH,
    kernelW,
    outH,
    outW,
    strideH,
    strideW,
    dilationH,
    dilationW,
    groups,
  };
  for (const [name, v] of Object.entries(positive)) {
    if (!Number.isInteger(v) || v < 1)
      throw new RangeError(`${op}: ${name} must be a positive integer, got ${v}`);
  }
  if (cIn % groups !== 0 || cOut % groups !== 0) {
    throw new RangeError(`${op}: groups (${groups}) must divide cIn (${cIn}) and cOut (${cOut})`);
  }
}

const packShape = (p: Conv2dProblem): PackShape => ({
  cIn: p.cIn / p.groups,
  cOut: p.cOut / p.groups,
  kernelH: p.kernelH,
  kernelW: p.kernelW,
  groups: p.groups,
});

/** A 1x1 convolution that reads every pixel once is a matrix product over pixels. */
export const isPointwise = (p: Conv2dProblem): boolean =>
  p.kernelH === 1 &&
  p.kernelW === 1 &&
  p.strideH === 1 &&
  p.strideW === 1 &&
  p.padTop === 0 &&
  p.padLeft === 0 &&
  p.outH === p.h &&
  p.outW === p.w &&
  p.groups === 1;

/** One launch's worth: a set of taps over a grid of output positions. */
interface Pass extends Reach {
  readonly n: number;
  readonly inC: number;
  readonly outC: number;
  readonly fullH: number;
  readonly fullW: number;
  readonly outStrideH: number;
  readonly outStrideW: number;
  readonly outBaseH: number;
  readonly outBaseW: number;
  readonly groups: number;
  readonly wOff: number;
  /** The HWIO weight is read as it is: that of the input gradient, whose rows of `kernelW` taps the set is taken from. */
  readonly turned?: { readonly kernelW: number };
}

interface Io {
  readonly input: string;
  readonly output: string;
  readonly inputOffset: number;
  readonly outputOffset: number;
  readonly residualOffset: number;
  readonly epilogue: Epilogue;
  readonly elem: Elem;
  /** From measurements; default: the table's. */
  readonly tile: Tile | undefined;
}

const ioOf = (p: Conv2dProblem, input: string, output: string, tile: Tile | undefined): Io => ({
  input,
  output,
  inputOffset: p.inputOffset ?? 0,
  outputOffset: p.outputOffset ?? 0,
  residualOffset: p.residualOffset ?? 0,
  epilogue: p.epilogue ?? noEpilogue,
  elem: p.elem ?? 'f32',
  tile,
});

/** Launches of one pass, over as many images at a time as fit a binding. */
function passLaunches(target: Target, limits: PlanLimits, pass: Pass, io: Io): Launch[] {
  const inImage = pass.inH * pass.inW * pass.inC;
  const outImage = pass.fullH * pass.fullW * pass.outC;
  const most = (limits.maxBinding - limits.offsetAlignment) / bytesOf(io.elem);
  const images = Math.max(1, Math.min(pass.n, Math.floor(most / Math.max(inImage, outImage))));
  const launches: Launch[] = [];
  for (let first = 0; first < pass.n; first += images) {
    const n = Math.min(images, pass.n - first);
    const x = bindElements(io.input, io.inputOffset + first * inImage, n * inImage, io.elem, limits);
    const y = bindElements(io.output, io.outputOffset + first * outImage, n * outImage, io.elem, limits);
    const residual = io.epilogue.residual
      ? bindElements('residual', io.residualOffset + first * outImage, n * outImage, io.elem, limits)
      : undefined;
    const rows = n * pass.gridH * pass.gridW;
    const ci = pass.inC / pass.groups;
    const co = pass.outC / pass.groups;
    const gathered = gathers(target, pass, n);
    const table = chooseTile(target, {
      rows,
      columns: co,
      depth: ci * pass.taps.countH * pass.taps.countW,
      major: 'k',
      elem: io.elem,
    });
    const tile = io.tile ?? (gathered ? { ...table, rows: gatheredRows(pass, n, table.cols) } : table);
    const input: ConvInput =
      pass.layout === 'runs' ? 'run' : ci % 4 === 0 && x.offset % 4 === 0 ? 'vec' : 'scalar';
    const spec: ConvSpec = {
      tile,
      input,
      vecOut: [co, y.offset, residual?.offset ?? 0].every((v) => v % tile.cols === 0),
      scatter: gathered || pass.outStrideH !== 1 || pass.outStrideW !== 1,
      gathered,
      weights: pass.turned ? 'turned' : 'packed',
      epilogue: io.epilogue,
      elem: io.elem,
    };
    const params = [
      rows,
      pass.inH,
      pass.inW,
      pass.gridH,
      pass.gridW,
      pair(pass.strideH, pass.strideW),
      pair(pass.dilationH, pass.dilationW),
      pair(pass.baseH, pass.baseW),
      pair(pass.taps.countH, pass.taps.countW),
      ci,
      co,
      tileColBlocks(tile, co),
      x.offset,
      pass.wOff,
      y.offset,
    ];
    if (residual) params.push(residual.offset);
    if (spec.scatter) {
      params.push(
        pass.fullH,
        pass.fullW,
        pair(pass.outStrideH, pass.outStrideW),
        pair(pass.outBaseH, pass.outBaseW),
      );
    }
    if (gathered) params.push(n);
    if (pass.turned) {
      const { firstH, firstW, stepH, stepW } = pass.taps;
      params.push(pair(firstH, firstW), pair(stepH, stepW), pass.turned.kernelW);
    }
    const operands: BufferRef[] = epilogueBuffers(io.epilogue).map((name) =>
      name === 'residual' && residual ? residual.ref : name,
    );
    launches.push({
      kernel: convKernel(spec),
      buffers: [x.ref, 'w', y.ref, ...operands],
      params,
      grid: tileGrid(tile, rows, co, pass.groups),
    });
  }
  return launches;
}

/**
 * Plans `y = epilogue(conv2d(x, weight))`. Buffers `x`, `w`, `y` and the epilogue's. `w` is the packed copy that
 * `plan.weights` describes, or the OIHW weight itself where that is absent.
 *
 * @throws RangeError for sizes that are not positive integers or groups that do not divide the channels.
 */
export function planConv2d(target: Target, limits: PlanLimits, p: Conv2dProblem): Plan {
  return forwardPlans.get(problemKey(target, limits, p), () => routeConv2d(target, limits, p));
}

const forwardPlans = new PlanCache<Plan>();

function routeConv2d(target: Target, limits: PlanLimits, p: Conv2dProblem): Plan {
  validate('conv2d', p);
  if (isPointwise(p)) return pointwise(target, limits, p, 'forward');
  if (isDepthwise(p) && p.weights !== 'hwio') return planDepthwise(target, limits, p);
  const tuned = target.tuning?.choose('conv2d', p);
  if (useWinograd(p, limits, tuned?.algorithm)) return planWinograd(target, limits, p, 'forward');
  const shape = packShape(p);
  const elem = p.elem ?? 'f32';
  const taps = allTaps(p.kernelH, p.kernelW);
  const layout: PackLayout = p.groups === 1 && p.cIn % 4 !== 0 && p.dilationW === 1 ? 'runs' : 'taps';
  const pass: Pass = {
    n: p.n,
    inH: p.h,
    inW: p.w,
    inC: p.cIn,
    outC: p.cOut,
    gridH: p.outH,
    gridW: p.outW,
    fullH: p.outH,
    fullW: p.outW,
    strideH: p.strideH,
    strideW: p.strideW,
    dilationH: p.dilationH,
    dilationW: p.dilationW,
    baseH: -p.padTop,
    baseW: -p.padLeft,
    outStrideH: 1,
    outStrideW: 1,
    outBaseH: 0,
    outBaseW: 0,
    taps,
    groups: p.groups,
    layout,
    wOff: 0,
  };
  const launches = passLaunches(target, limits, pass, ioOf(p, 'x', 'y', tuned?.tile));
  if (layout === 'taps' && readsStored(p)) return { launches, workspaces: {} };
  return {
    launches,
    workspaces: {},
    weights: {
      key: `conv.${layout}.${p.groups}`,
      bytes: packedElements(shape, taps, layout, false) * bytesOf(elem),
      launches: [packLaunch(shape, taps, layout, false, elem, 0, p.weights ?? 'oihw')],
    },
  };
}

/** The kernels take the weight as it is stored, by fours of its channels. */
const readsStored = (p: Conv2dProblem): boolean =>
  p.weights === 'hwio' && p.cIn % 4 === 0 && p.cOut % 4 === 0;

/** One axis of one parity class of the input gradient. */
interface Axis {
  readonly first: number; // first tap
  readonly step: number; // tap step
  readonly count: number;
  readonly base: number;
  readonly dilation: number;
}

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));

/**
 * Input position `parity + stride * i` gets output position `i + base - t * dilation` through tap `first + t * step`: those
 * taps k for which `parity + pad - k * dilation` is a multiple of the stride.
 */
function parityAxis(parity: number, kernel: number, stride: number, pad: number, dilation: number): Axis {
  const step = stride / gcd(stride, dilation);
  let first = 0;
  while (first < step && (parity + pad - first * dilation) % stride !== 0) first++;
  if (first >= step || first >= kernel) return { first: 0, step, count: 0, base: 0, dilation: 0 };
  return {
    first,
    step,
    count: Math.ceil((kernel - first) / step),
    base: (parity + pad - first * dilation) / stride,
    dilation: (-dilation * step) / stride,
  };
}

/**
 * Plans the gradient of a convolution's input, which is also the forward pass of `convTranspose2d`: the problem is that
 * of the convolution, `dy` [n, outH, outW, cOut] is read and `dx` [n, h, w, cIn] written. For a stride above one the
 * positions of each parity are one pass over just the taps that reach them.
 */
export function planConv2dInputGrad(target: Target, limits: PlanLimits, p: Conv2dProblem): Plan {
  return inputGradPlans.get(problemKey(target, limits, p), () => routeConv2dInputGrad(target, limits, p));
}

const inputGradPlans = new PlanCache<Plan>();

function routeConv2dInputGrad(target: Target, limits: PlanLimits, p: Conv2dProblem): Plan {
  validate('conv2d input gradient', p);
  if (isPointwise(p)) return pointwise(target, limits, p, 'inputGrad');
  if (isDepthwise(p) && p.weights !== 'hwio') return planDepthwiseInputGrad(target, limits, p);
  const tuned = target.tuning?.choose('conv2dInputGrad', p);
  if (useWinograd(p, limits, tuned?.algorithm)) return planWinograd(target, limits, p, 'inputGrad');
  const shape = packShape(p);
  const elem = p.elem ?? 'f32';
  const io = ioOf(p, 'dy', 'dx', tuned?.tile);
  const launches: Launch[] = [];
  const packs: Launch[] = [];
  let wOff = 0;
  for (let ph = 0; ph < Math.min(p.strideH, p.h); ph++) {
    for (let pw = 0; pw < Math.min(p.strideW, p.w); pw++) {
      const v = parityAxis(ph, p.kernelH, p.strideH, p.padTop, p.dilationH);
      const u = parityAxis(pw, p.kernelW, p.strideW, p.padLeft, p.dilationW);
      const empty = v.count === 0 || u.count === 0;
      const taps: TapSet = {
        firstH: v.first,
        firstW: u.first,
        stepH: v.step,
        stepW: u.step,
        countH: empty ? 0 : v.count,
        countW: empty ? 0 : u.count,
      };
      const layout: PackLayout = 'taps';
      const pass: Pass = {
        n: p.n,
        inH: p.outH,
        inW: p.outW,
        inC: p.cOut,
        outC: p.cIn,
        gridH: Math.ceil((p.h - ph) / p.strideH),
        gridW: Math.ceil((p.w - pw) / p.strideW),
        fullH: p.h,
        fullW: p.w,
        strideH: 1,
        strideW: 1,
        dilationH: v.dilation,
        dilationW: u.dilation,
        baseH: v.base,
        baseW: u.base,
        outStrideH: p.strideH,
        outStrideW: p.strideW,
        outBaseH: ph,
        outBaseW: pw,
        taps,
        groups: p.groups,
        layout,
        wOff,
        ...(readsStored(p) && { turned: { kernelW: p.kernelW } }),
      };
      launches.push(...passLaunches(target, limits, pass, io));
      if (!empty && !readsStored(p)) {
        packs.push(packLaunch(shape, taps, layout, true, elem, wOff, p.weights ?? 'oihw'));
        wOff += packedElements(shape, taps, layout, true);
      }
    }
  }
  if (readsStored(p)) return { launches, workspaces: {} };
  // How many parities exist depends on the size only when the input is smaller than the stride.
  const geometry = [
    p.strideH,
    p.strideW,
    p.dilationH,
    p.dilationW,
    p.padTop % p.strideH,
    p.padLeft % p.strideW,
  ];
  const plain = p.strideH === 1 && p.strideW === 1;
  return {
    launches,
    workspaces: {},
    weights: {
      key: `convInputGrad.${plain ? '' : geometry.join('x')}.${p.groups}`,
      bytes: Math.max(1, wOff) * bytesOf(elem),
      launches: packs,
    },
  };
}

/** Matrix products over pixels for 1x1 convolutions; they read the weight as it is. */
function pointwise(
  target: Target,
  limits: PlanLimits,
  p: Conv2dProblem,
  which: 'forward' | 'inputGrad',
): Plan {
  const forward = which === 'forward';
  const plan = planGemm(target, limits, {
    m: p.n * p.h * p.w,
    n: forward ? p.cOut : p.cIn,
    k: forward ? p.cIn : p.cOut,
    transB: forward === ((p.weights ?? 'oihw') === 'oihw'),
    aOffset: p.inputOffset ?? 0,
    cOffset: p.outputOffset ?? 0,
    residualOffset: p.residualOffset ?? 0,
    epilogue: p.epilogue ?? noEpilogue,
    elem: p.elem ?? 'f32',
  });
  const names = forward ? { a: 'x', b: 'w', c: 'y' } : { a: 'dy', b: 'w', c: 'dx' };
  return { launches: renamed(plan.launches, names), workspaces: plan.workspaces };
}
