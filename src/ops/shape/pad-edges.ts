import { defineOp } from '../../autograd/define.js';
import { primitives } from '../../autograd/primitives.js';
import type { Tensor } from '../../tensor/tensor.js';
import { addInto, copyInto } from '../base/copies.js';
import { emptyResult } from '../base/run-plan.js';
import { narrow } from '../base/view.js';

/** What stands where a dim is made longer. */
export type EdgeMode = 'reflect' | 'replicate' | 'circular';

/** @internal Which of `size` values stands at each place of a dim with `low` and `high` more. */
export function sourceIndices(mode: EdgeMode, size: number, low: number, high: number): number[] {
  return Array.from({ length: size + low + high }, (_, i) => {
    const at = i - low;
    if (mode === 'replicate') return Math.min(size - 1, Math.max(0, at));
    if (mode === 'circular') return ((at % size) + size) % size;
    const period = 2 * (size - 1);
    const folded = period === 0 ? 0 : ((at % period) + period) % period;
    return folded < size ? folded : period - folded;
  });
}

interface Places {
  readonly dim: number;
  readonly size: number;
  readonly sources: readonly number[];
}

/** Calls `each` with the stretches in order: `length` places from `to` on show those from `from` on. */
function eachStretch(
  sources: readonly number[],
  each: (to: number, from: number, length: number) => void,
): void {
  for (let to = 0, end = 1; to < sources.length; to = end++) {
    while (end < sources.length && sources[end] === (sources[end - 1] as number) + 1) end++;
    each(to, sources[to] as number, end - to);
  }
}

const resized = (x: Tensor, dim: number, size: number): number[] =>
  x.shape.map((own, i) => (i === dim ? size : own));

/**
 * @internal The values of `dim` at `sources`, by a copy for each stretch of them: for a few more at the ends,
 * in programs that have no other use for indices.
 */
export const padEdges: (x: Tensor, places: Places) => Tensor = defineOp<[Tensor, Places], Tensor, Places>({
  name: 'pad',
  forward(ctx, x, places) {
    ctx.state = places;
    const { dim, sources } = places;
    const out = emptyResult('pad', resized(x, dim, sources.length), x.dtype);
    eachStretch(sources, (to, from, length) =>
      copyInto(narrow(out, dim, to, length), narrow(x, dim, from, length)),
    );
    return out;
  },
  backward: (ctx, grad) => [() => padEdgesBackward(grad, ctx.state)],
});

const padEdgesBackward: (grad: Tensor, places: Places) => Tensor = defineOp<[Tensor, Places], Tensor, Places>(
  {
    name: 'padBackward',
    forward(ctx, grad, places) {
      ctx.state = places;
      const { dim, size, sources } = places;
      const dx = primitives().zeros(resized(grad, dim, size), grad.dtype);
      eachStretch(sources, (to, from, length) =>
        addInto(narrow(dx, dim, from, length), narrow(grad, dim, to, length)),
      );
      return dx;
    },
    backward: (ctx, grad) => [() => padEdges(grad, ctx.state)],
  },
);
