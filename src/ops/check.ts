import { planCheck, type CheckKind } from '../kernels/pointwise/check.js';
import type { Tensor } from '../tensor/tensor.js';
import { planLimits, runPlan } from './run-plan.js';
import { rowMajor } from './copies.js';

/**
 * @internal Has the GPU check values (int32 or float32); the next await throws an error that names `op` if
 * one is unusable.
 */
export function checkOnDevice(op: string, kind: CheckKind, x: Tensor, params: readonly number[] = []): void {
  if (x.numel() === 0) return;
  const dense = rowMajor(x);
  runPlan(op, planCheck(planLimits(), op, kind, dense.numel(), params), { x: dense });
}
