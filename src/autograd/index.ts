export { detectAnomaly } from './anomaly.js';
export { backward, grad, type BackwardOptions, type GradOptions } from './engine.js';
export { Function, type FunctionClass, type FunctionContext } from './function.js';
export { gradcheck, type GradcheckOptions } from './gradcheck.js';
export {
  enableGrad,
  inferenceMode,
  isGradEnabled,
  isInferenceMode,
  noGrad,
  setGradEnabled,
  type ModeGuard,
} from './mode.js';
export { recordedNodes } from './node.js';
