/** Ops planned for an adapter that is not at hand, run on the one that is. */
import { runtime } from '../src/device/index.js';
import type { AdapterClass, Target } from '../src/kernels/base/kernel.js';

/** A GPU with no more than the adapter here has: what is planned for it runs here too. */
export const gpu = (kind: AdapterClass = 'discrete'): Target => ({
  ...runtime().target,
  kind: 'gpu',
  class: kind,
  subgroupSize: 0,
});

/** Runs `fn`, whose ops plan for `target`. What it records may run later; what it awaits must be its own. */
export async function plannedFor<R>(target: Target, fn: () => R | Promise<R>): Promise<R> {
  const insides = runtime() as unknown as { planFor: Target };
  const { planFor } = insides;
  insides.planFor = target;
  try {
    return await fn();
  } finally {
    insides.planFor = planFor;
  }
}
