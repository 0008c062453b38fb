/** `torch.linalg`. */
export { cholesky, choleskyEx } from './cholesky.js';
export { det, slogdet } from './det.js';
export { diagonal } from './diagonal.js';
export { eig, eigh, eigvals, eigvalsh } from './eigh.js';
export {
  cross,
  lstsq,
  matrixPower,
  matrixRank,
  multiDot,
  pinv,
  tensorinv,
  tensorsolve,
  vander,
  vecdot,
} from './functions.js';
export { lu, luFactor, luFactorEx, luSolve } from './lu.js';
export { matrixExp } from './matrix-exp.js';
export { cond, matrixNorm, norm, vectorNorm } from './norms.js';
export { householderProduct, qr } from './qr.js';
export { inv, invEx, solve, solveEx } from './solve.js';
export { svd, svdvals } from './svd.js';
export { solveTriangular } from './triangular.js';
export { matmul } from '../matmul/matmul.js';
