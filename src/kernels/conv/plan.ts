/** Routing of the forward convolution. */
import type { Target } from '../base/kernel.js';
import { PlanCache, problemKey } from '../base/plan-cache.js';
import { bytesOf, type Plan, type PlanLimits } from '../base/plan.js';
import { tunedChoice } from '../matmul/choice.js';
import { planDepthwise } from './depthwise-plan.js';
import { allTaps, packedElements, packLaunch, type PackLayout } from './pack.js';
import { ioOf, packShape, passLaunches, readsStored, type Pass } from './pass.js';
import { planPixels } from './pixels.js';
import { isDepthwise, isPointwise, validate, type Conv2dProblem } from './problem.js';
import { planWinograd, useWinograd } from './winograd-plan.js';

/**
 * Plans `y = epilogue(conv2d(x, weight))`. Buffers `x`, `w`, `y` and the epilogue's. `w` is the packed copy
 * that `plan.weights` describes, or the OIHW weight itself where that is absent.
 *
 * @throws RangeError for sizes that are not positive integers or groups that do not divide the channels.
 */
export function planConv2d(target: Target, limits: PlanLimits, p: Conv2dProblem): Plan {
  return forwardPlans.get(problemKey(target, limits, p), () => routeConv2d(target, limits, p));
}

const forwardPlans = new PlanCache<Plan>();

function routeConv2d(target: Target, limits: PlanLimits, p: Conv2dProblem): Plan {
  validate('conv2d', p);
  if (isPointwise(p)) return planPixels(target, limits, p, 'forward');
  if (isDepthwise(p) && p.weights !== 'hwio') return planDepthwise(target, limits, p);
  const tuned = tunedChoice(target, 'conv2d', p);
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
