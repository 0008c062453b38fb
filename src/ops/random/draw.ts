import { planRandom, type Distribution, type RandomElem } from '../../kernels/random/fill.js';
import { elementOf, type DType } from '../../tensor/dtype.js';
import type { Tensor } from '../../tensor/tensor.js';
import { nextKey } from './state.js';
import { planLimits, runPlan } from '../base/run-plan.js';

const elemTypes: Readonly<Record<DType, RandomElem>> = {
  float32: 'f32',
  float16: 'f16',
  int32: 'i32',
  uint8: 'u32',
  bool: 'u32',
};

/** @internal Draws over all of a fresh tensor's memory. */
export function drawInto(out: Tensor, distribution: Distribution): Tensor {
  const key = nextKey();
  if (out.numel() > 0)
    runPlan(
      `random_${distribution.kind}`,
      planRandom(planLimits(), elemTypes[out.dtype], out.numel(), key, distribution),
      { y: out },
    );
  return out;
}

/** @internal */
export function uniformRange(op: string, low: number, high: number): Distribution {
  if (!(low <= high)) throw new Error(`${op}: low must not exceed high, got ${low} and ${high}`);
  return { kind: 'uniform', low, high };
}

/** @internal */
export function integerRange(op: string, low: number, high: number, dtype: DType): Distribution {
  const inRange = Number.isInteger(low) && Number.isInteger(high) && low >= -(2 ** 31) && high <= 2 ** 31;
  if (!inRange || low >= high)
    throw new Error(`${op}: needs integers low < high from -2^31 to 2^31, got ${low} and ${high}`);
  elementOf(op, low, dtype);
  elementOf(op, high - 1, dtype);
  return { kind: 'integer', low, range: high - low };
}
