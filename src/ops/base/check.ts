import { divisionByZero } from '../../kernels/base/faults.js';
import { planCheck, type CheckKind } from '../../kernels/pointwise/check.js';
import { isTensor, type Tensor } from '../../tensor/tensor.js';
import { planLimits, runPlan } from './run-plan.js';
import { to } from './copy.js';
import { rowMajor } from './copies.js';

/**
 * @internal `x`, the op's `what` (labels, indices), in int32. A float is refused, for it would be cut off,
 * and a bool, for it is most likely a mask.
 */
export function integersOf(op: string, what: string, x: Tensor): Tensor {
  if (!isTensor(x)) throw new Error(`${op}: ${what} must be an int32 tensor, got ${String(x)}`);
  if (x.dtype !== 'int32' && x.dtype !== 'uint8')
    throw new Error(`${op}: ${what} must be int32, got ${x.dtype as string}; convert them with .to('int32')`);
  return to(x, 'int32');
}

/**
 * @internal Has the GPU check values; the next await throws an error that names `op` if one is unusable.
 */
export function checkOnDevice(op: string, kind: CheckKind, x: Tensor, params: readonly number[] = []): void {
  if (x.numel() === 0) return;
  const dense = rowMajor(x.dtype === 'float16' ? to(x, 'float32') : x);
  runPlan(op, planCheck(planLimits(), op, kind, dense.numel(), params), { x: dense });
}

/** @internal Refuses an integer divisor (operand 1) of zero: a number at once, a tensor at the next await. */
export function checkDivisor(op: string, [, divisor]: readonly unknown[]): void {
  if (isTensor(divisor)) checkOnDevice(op, 'divisor', divisor);
  else if (Number(divisor) === 0) throw new Error(divisionByZero(op));
}
