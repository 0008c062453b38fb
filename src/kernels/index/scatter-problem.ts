/** What an indexed write is, however it is done. */
import type { Limits } from '../base/plan.js';
import type { PointwiseOperand } from '../pointwise/plan.js';

export type ScatterReduce = 'assign' | 'add' | 'mul' | 'max' | 'min';

export interface ScatterProblem extends Limits {
  readonly name: string;
  /** Shape of the source's part that is written; everything broadcasts to it. */
  readonly shape: readonly number[];
  /** Dimensions of `shape` that a thread walks; the others are columns. */
  readonly loopDims: readonly number[];
  /** int32 operands; each moves the output position by index * stride and must lie in [-size, size). */
  readonly indices: readonly {
    readonly operand: PointwiseOperand;
    readonly stride: number;
    readonly size: number;
  }[];
  readonly src: PointwiseOperand;
  /** The output's strides over `shape`, 0 along looped dimensions. */
  readonly out: PointwiseOperand;
  readonly reduce: ScatterReduce;
  /** Factor on the source (with `add`). */
  readonly alpha?: number;
  /** Value of the first index whose elements are left out. */
  readonly skip?: number;
  /**
   * An index outside [0, size) raises an error; else negative ones count from the end and those outside are
   * left out.
   */
  readonly checked?: boolean;
}
