/** `torch.autograd`. */
import * as engine from '../../autograd/engine.js';
import * as check from '../../autograd/gradcheck.js';
import { registerPrimitives } from '../../autograd/primitives.js';
import { isnan } from '../pointwise/compare.js';
import { to } from '../base/copy.js';
import { onesLike, zeros } from '../creation/creation.js';
import { add } from '../pointwise/pointwise.js';
import { any } from '../reduce/reduce.js';
import { placeRegion } from '../base/region.js';
import { sumTo } from '../base/sum-to.js';

/**
 * The ops that the tape runs by come with whatever starts it, so that a program without gradients has none of
 * them.
 */
function withPrimitives<F>(start: F): F {
  registerPrimitives({
    add: (a, b) => add(a, b),
    fit: (x, shape, dtype) => to(sumTo(x, shape), dtype),
    hasNaN: (x) => any(isnan(x)),
    onesLike: (x) => onesLike(x),
    placeRegion,
    zeros: (shape, dtype) => zeros(shape, { dtype }),
  });
  return start;
}

export const backward: typeof engine.backward = withPrimitives(engine.backward);
export const grad: typeof engine.grad = withPrimitives(engine.grad);
export const gradcheck: typeof check.gradcheck = withPrimitives(check.gradcheck);

export { detectAnomaly } from '../../autograd/anomaly.js';
export type { BackwardOptions, GradOptions } from '../../autograd/engine.js';
export { Function, type FunctionClass, type FunctionContext } from '../../autograd/function.js';
export type { GradcheckOptions } from '../../autograd/gradcheck.js';
export {
  enableGrad,
  inferenceMode,
  isGradEnabled,
  isInferenceMode,
  noGrad,
  setGradEnabled,
  type ModeGuard,
} from '../../autograd/mode.js';
export { recordedNodes } from '../../autograd/node.js';
