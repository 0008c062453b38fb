/** What a measured choice may say about a product or a convolution, and where plans ask for it. */
import type { Choices, Target } from '../base/kernel.js';
import type { Tile } from './tile.js';

export type TunedOp = 'gemm' | 'conv2d' | 'conv2dInputGrad' | 'conv2dWeightGrad';

/** What to use in place of the default; what is absent stays as it would be. */
export interface TunedChoice {
  readonly tile?: Tile;
  /** Of a 3x3 convolution: the kernels that sum directly, or Winograd's where it applies at all. */
  readonly algorithm?: 'direct' | 'winograd';
}

export interface Tuning extends Choices {
  choose(op: TunedOp, problem: object): TunedChoice | undefined;
}

/** What was measured to be best for a problem; undefined where the table of tiles decides. */
export function tunedChoice(target: Target, op: TunedOp, problem: object): TunedChoice | undefined {
  return target.tuning?.choose(op, problem) as TunedChoice | undefined;
}
