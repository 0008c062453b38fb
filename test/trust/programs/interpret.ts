import { Machine } from '../reference/machine.js';
import type { Shape } from '../reference/ndarray.js';
import { Refused, Undefined, type RefusalKind, type Tensor } from '../reference/tensor.js';
import { runStatement, type Program } from './statements.js';

/** What is left of one register when a program has ended. */
export interface RegisterState {
  readonly shape: Shape;
  /** Row-major. */
  readonly values: ArrayLike<number>;
  readonly requiresGrad: boolean;
  readonly grad: ArrayLike<number> | null;
}

/** What a program does: it ends, or a statement is refused. */
export interface Outcome {
  readonly refused: { readonly at: number; readonly kind: string } | null;
  readonly registers: ReadonlyMap<number, RegisterState>;
}

export interface ReferenceOutcome extends Outcome {
  readonly refused: { readonly at: number; readonly kind: RefusalKind } | null;
  /** Largest magnitude of all values and gradients on the way. */
  readonly largest: number;
  /** Largest sum of magnitudes of a gradient on the way. */
  readonly largestSum: number;
  readonly margin: number;
}

/** Runs a program on the reference; null if PyTorch does not define what it gives. */
export function interpret(
  program: Program,
  { lenient = false, literal = false }: { lenient?: boolean; literal?: boolean } = {},
): ReferenceOutcome | null {
  const machine = new Machine(lenient, literal);
  const registers = new Map<number, Tensor>();
  let refused: ReferenceOutcome['refused'] = null;
  for (const [at, statement] of program.entries()) {
    try {
      runStatement(machine, registers, statement);
    } catch (error) {
      if (error instanceof Undefined) return null;
      if (!(error instanceof Refused)) throw error;
      refused = { at, kind: error.kind };
      break;
    }
  }
  return {
    refused,
    registers: new Map([...registers].map(([r, tensor]) => [r, stateOf(tensor)])),
    largest: machine.largest,
    largestSum: machine.largestSum,
    margin: machine.margin,
  };
}

const stateOf = (tensor: Tensor): RegisterState => ({
  shape: tensor.shape,
  values: tensor.read().data,
  requiresGrad: tensor.requiresGrad,
  grad: tensor.grad?.data ?? null,
});

/**
 * Within these bounds float32 stays close to float64: no overflow, no cancellation to nothing, no rounding
 * over a kink.
 */
export const wellConditioned = ({ largest, margin }: { largest: number; margin: number }): boolean =>
  largest <= 100 && margin >= 2e-3;
