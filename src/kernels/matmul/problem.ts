import type { Elem, Epilogue } from '../base/plan.js';

/** All strides and offsets are in elements. */
export interface GemmProblem {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** A is [m, k] row-major, or [k, m] when transposed; default false. */
  readonly transA?: boolean;
  /** B is [k, n] row-major, or [n, k] when transposed; default false. */
  readonly transB?: boolean;
  /** Leading dimensions; default: dense. */
  readonly lda?: number;
  readonly ldb?: number;
  readonly ldc?: number;
  readonly aOffset?: number;
  readonly bOffset?: number;
  readonly cOffset?: number;
  readonly batch?: number;
  /** Elements from one batch entry to the next; 0 shares the operand; default: dense. */
  readonly aBatch?: number;
  readonly bBatch?: number;
  readonly cBatch?: number;
  /**
   * So many batch entries of A and B follow each other by `aBatch` and `bBatch`; then `aOuter` and `bOuter`
   * lead to the next so many. Default: all of them.
   */
  readonly inner?: number;
  readonly aOuter?: number;
  readonly bOuter?: number;
  /** `residual` has C's ldc and cBatch. */
  readonly residualOffset?: number;
  readonly epilogue?: Epilogue;
  /** `C += A B` (then the epilogue). */
  readonly accumulate?: boolean;
  readonly elem?: Elem;
}
