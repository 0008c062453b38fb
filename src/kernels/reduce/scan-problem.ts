/** What a scan is, however it is done. */
import type { Limits } from '../base/plan.js';
import type { PointwiseOperand } from '../pointwise/plan.js';

export interface ScanProblem extends Limits {
  readonly name: string;
  /** The exact ones raise an error where a running value is no int32. */
  readonly op: ScanOp;
  /** `out` has x's shape; its dtype is the type of the running value (float16 is accumulated in float32). */
  readonly x: PointwiseOperand;
  readonly out: PointwiseOperand;
  /** int32, of x's shape: where the running value of `cummax` and `cummin` stands. */
  readonly indices?: PointwiseOperand;
  readonly dim: number;
  /** From the last element to the first. */
  readonly reverse?: boolean;
}

export type ScanOp =
  'sum' | 'prod' | 'exactSum' | 'exactProd' | 'compensatedSum' | 'logsumexp' | 'cummax' | 'cummin';
