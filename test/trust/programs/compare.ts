import type { Outcome, RegisterState } from './interpret.js';

/** A difference between two outcomes; `kind` groups those that likely have one cause. */
export interface Mismatch {
  readonly kind: string;
  readonly detail: string;
}

const show = (values: ArrayLike<number> | null): string =>
  values === null ? 'none' : `[${Array.from(values, (v) => Number(v.toPrecision(6))).join(', ')}]`;

/** `tolerance` is absolute, for values of at most 1, and grows with the value. Null: as they should be. */
export function compare(expected: Outcome, got: Outcome, tolerance: number): Mismatch | null {
  const [a, b] = [expected.refused, got.refused];
  if (a !== null && b === null)
    return { kind: `accepted: ${a.kind}`, detail: `statement ${a.at} should be refused: ${a.kind}` };
  if (b !== null && (a === null || b.at < a.at))
    return { kind: `refused: ${shortened(b.kind)}`, detail: `statement ${b.at} is refused: ${b.kind}` };
  if (a !== null && b !== null && b.at > a.at)
    return { kind: `accepted: ${a.kind}`, detail: `statement ${a.at} should be refused: ${a.kind}` };
  for (const [register, state] of expected.registers) {
    const found = got.registers.get(register);
    const problem =
      found === undefined
        ? { kind: 'missing', detail: 'is missing' }
        : // A backward that was refused half-way has defined no gradients.
          compareState(state, found, tolerance, a === null);
    if (problem !== null) return { kind: problem.kind, detail: `r${register} ${problem.detail}` };
  }
  return null;
}

/** Which op, shapes and versions a message names says little about its cause. */
const shortened = (message: string): string =>
  message
    .replace(/\[[^\]]*\]/g, '[]')
    .replace(/\d+/g, 'N')
    .replace(/that \w+ (needs|saved).*/, 'that OP $1')
    .replace(/^\w+: (a |the result)/, 'OP: $1')
    .slice(0, 70);

function compareState(
  expected: RegisterState,
  got: RegisterState,
  tolerance: number,
  grads: boolean,
): Mismatch | null {
  if (String(expected.shape) !== String(got.shape))
    return {
      kind: 'shape',
      detail: `has shape [${got.shape.join(', ')}], expected [${expected.shape.join(', ')}]`,
    };
  if (!close(expected.values, got.values, tolerance))
    return { kind: 'values', detail: `is ${show(got.values)}, expected ${show(expected.values)}` };
  if (expected.requiresGrad !== got.requiresGrad)
    return {
      kind: 'requiresGrad',
      detail: `requires grad: ${got.requiresGrad}, expected ${expected.requiresGrad}`,
    };
  if (!grads) return null;
  const same =
    expected.grad === null || got.grad === null
      ? expected.grad === got.grad
      : close(expected.grad, got.grad, tolerance);
  if (!same) {
    const kind = got.grad === null ? 'no gradient' : expected.grad === null ? 'surplus gradient' : 'gradient';
    return { kind, detail: `has gradient ${show(got.grad)}, expected ${show(expected.grad)}` };
  }
  return null;
}

/** The largest error, in units of the tolerance. */
export let worst = 0;

function close(expected: ArrayLike<number>, got: ArrayLike<number>, tolerance: number): boolean {
  if (expected.length !== got.length) return false;
  let largest = 0;
  for (let i = 0; i < expected.length; i++) {
    const [e, g] = [expected[i] as number, got[i] as number];
    const error = Math.abs(e - g) / (tolerance * (1 + Math.abs(e)));
    if (!(error <= 1)) return false;
    if (error > largest) largest = error;
  }
  if (largest > worst) worst = largest;
  return true;
}
