/** Routing of the gradient of a convolution's input. */
import type { Target } from '../base/kernel.js';
import { PlanCache, problemKey } from '../base/plan-cache.js';
import { bytesOf, type Launch, type Plan, type PlanLimits } from '../base/plan.js';
import { tunedChoice } from '../matmul/choice.js';
import { planDepthwiseInputGrad } from './depthwise-plan.js';
import { packedElements, packLaunch, type PackLayout, type TapSet } from './pack.js';
import { ioOf, packShape, passLaunches, readsStored, type Pass } from './pass.js';
import { planPixels } from './pixels.js';
import { isDepthwise, isPointwise, validate, type Conv2dProblem } from './problem.js';
import { planWinograd, useWinograd } from './winograd-plan.js';

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
 * Input position `parity + stride * i` gets output position `i + base - t * dilation` through tap `first + t
 * * step`: those taps k for which `parity + pad - k * dilation` is a multiple of the stride.
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
 * Plans the gradient of a convolution's input, which is also the forward pass of `convTranspose2d`: the
 * problem is that of the convolution, `dy` [n, outH, outW, cOut] is read and `dx` [n, h, w, cIn] written. For
 * a stride above one the positions of each parity are one pass over just the taps that reach them.
 */
export function planConv2dInputGrad(target: Target, limits: PlanLimits, p: Conv2dProblem): Plan {
  return inputGradPlans.get(problemKey(target, limits, p), () => routeConv2dInputGrad(target, limits, p));
}

const inputGradPlans = new PlanCache<Plan>();

function routeConv2dInputGrad(target: Target, limits: PlanLimits, p: Conv2dProblem): Plan {
  validate('conv2d input gradient', p);
  if (isPointwise(p)) return planPixels(target, limits, p, 'inputGrad');
  if (isDepthwise(p) && p.weights !== 'hwio') return planDepthwiseInputGrad(target, limits, p);
  const tuned = tunedChoice(target, 'conv2dInputGrad', p);
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
