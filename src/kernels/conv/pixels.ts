/** 1x1 convolutions as matrix products over pixels. */
import type { Target } from '../base/kernel.js';
import { noEpilogue, renamed, type Plan, type PlanLimits } from '../base/plan.js';
import { planGemm } from '../matmul/plan.js';
import type { Conv2dProblem } from './problem.js';

/** Reads the weight as it is. */
export function planPixels(
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
    epilogue: p.epilogue ?? noEpilogue,
    elem: p.elem ?? 'f32',
  });
  const names = forward ? { a: 'x', b: 'w', c: 'y' } : { a: 'dy', b: 'w', c: 'dx' };
  return { launches: renamed(plan.launches, names), workspaces: plan.workspaces };
}
