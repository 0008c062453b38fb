/**
 * Remembers plans: a training step asks for the same ones over and over, and working one out costs as much as several
 * dispatches. A plan depends on layouts and expressions but not on the values of the op's own parameters, which are the
 * first ones of every launch and are put in place on each use.
 */
import type { DType } from './dtype.js';
import type { Target } from './kernel.js';
import type { OperandLayout } from './collapse.js';

const capacity = 4096;

export class PlanCache<P> {
  private readonly plans = new Map<string, P>();

  get(key: string, build: () => P): P {
    let plan = this.plans.get(key);
    if (plan === undefined) {
      plan = build();
      // Plans used in a loop are soon made again, so dropping all of them is cheaper than keeping score.
      if (this.plans.size >= capacity) this.plans.clear();
      this.plans.set(key, plan);
    }
    return plan;
  }
}

export const operandKey = (o: OperandLayout & { readonly dtype: DType }): string =>
  `${o.dtype};${o.shape.join()};${o.strides.join()};${o.offset}`;

export const limitsKey = (
  target: Target,
  limits: { readonly maxBinding?: number; readonly offsetAlignment?: number },
): string => `${target.kind};${limits.maxBinding};${limits.offsetAlignment}`;

/** Launches with the op's own parameter values in front. */
export function withParams<L extends { readonly params: readonly number[] }>(
  launches: readonly L[],
  values: readonly number[] | undefined,
): readonly L[] {
  if (values === undefined || values.length === 0) return launches;
  return launches.map((l) => ({ ...l, params: [...values, ...l.params.slice(values.length)] }));
}
