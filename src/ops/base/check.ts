import { divisionByZero } from '../../kernels/base/faults.js';
import { planCheck, type CheckKind } from '../../kernels/pointwise/check.js';
import { isTensor, type Tensor } from '../../tensor/tensor.js';
import { planLimits, runPlan } from './run-plan.js';
import { rowMajor } from './copies.js';

/**
 * @internal Has the GPU check values (of four bytes); the next await throws an error that names `op` if
 * one is unusable.
 */
export function checkOnDevice(op: string, kind: CheckKind, x: Tensor, params: readonly number[] = []): void {
  if (x.numel() === 0) return;
  const dense = rowMajor(x);
  runPlan(op, planCheck(planLimits(), op, kind, dense.numel(), params), { x: dense });
}

/** @internal Refuses an integer divisor (operand 1) of zero: a number at once, a tensor at the next await. */
export function checkDivisor(op: string, [, divisor]: readonly unknown[]): void {
  if (isTensor(divisor)) checkOnDevice(op, 'divisor', divisor);
  else if (Number(divisor) === 0) throw new Error(divisionByZero(op));
}
