/** `torch.special`: its own functions, and those that `torch` has as well, under the names they have here. */
export {
  digamma,
  digamma as psi,
  igamma as gammainc,
  igammac as gammaincc,
  lgamma as gammaln,
  mvlgamma as multigammaln,
  polygamma,
} from './pointwise/gamma.js';
export {
  erf,
  erfc,
  erfinv,
  exp2,
  expm1,
  log1p,
  round,
  sigmoid as expit,
  xlogy,
} from './pointwise/pointwise.js';
export { i0, logit, sinc } from './pointwise/more.js';
export { logsumexp } from './reduce/reduce.js';
export { logSoftmax, softmax } from './reduce/softmax.js';
export * from './pointwise/special.js';
