import { runtime } from '../../device/index.js';
import { defineOp } from '../../autograd/define.js';
import { isGradEnabled, setGradMode } from '../../autograd/mode.js';
import { e } from '../../kernels/expr/expr.js';
import { planOwners, planRoute } from '../../kernels/index/owners.js';
import { scoped } from '../../tensor/tidy.js';
import { Tensor } from '../../tensor/tensor.js';
import { ne } from '../pointwise/compare.js';
import { fillInto, rowMajor } from '../base/copies.js';
import { planLimits, runPlan } from '../base/run-plan.js';
import { rowFunction, type PointwiseFn } from '../base/row.js';
import { cumsum } from '../reduce/scan.js';
import { reshape } from '../base/view.js';

/*
 * Results whose size depends on data: `nonzero`, `maskedSelect`, indexing by a mask, `repeatInterleave`. A
 * scan says where each entry's places end, the host reads their number, and each place looks its entry up;
 * nothing else leaves the GPU.
 */

/**
 * @internal Running totals of a mask or of counts (any shape, row-major; bool, or int32 of 0 and more), as a
 * dense int32 list.
 */
export const endsOf = (counts: Tensor): Tensor => rowMajor(cumsum(reshape(counts, [-1]), 0));

/** @internal Running totals of where `x` is not zero. */
export const endsOfNonzero = (x: Tensor): Tensor => endsOf(x.dtype === 'bool' ? x : ne(x, 0));

/**
 * @internal Int32 list of `places` entries: to which entry each place belongs, where those of entry i end
 * before `ends[i]`; -1 for places past the last end. With the ends of a mask: the positions where it is true.
 */
export const ownersOf: (ends: Tensor, places: number) => Tensor = defineOp<[Tensor, number], Tensor>({
  name: 'owners',
  forward(_, ends, places) {
    const out = Tensor.empty([places], 'int32', 'owners');
    if (places > 0) runPlan('owners', planOwners(places, ends.numel(), planLimits()), { ends, out });
    return out;
  },
});

/**
 * @internal Reads the last of `ends` (0 if there is none) and calls `then` with it, in the grad mode in which
 * this was called and in a scope of its own. `ends` is freed afterwards.
 *
 * @param sources tensors that `then` reads
 * @throws Error when one of them was written to before the number had come
 */
export async function withTotal<R>(
  op: string,
  ends: Tensor,
  sources: readonly Tensor[],
  then: (total: number) => R,
): Promise<R> {
  const recorded = isGradEnabled();
  const versions = sources.map((x) => x.storage.version);
  ends.keep();
  try {
    const n = ends.numel();
    const total = n === 0 ? 0 : await scoped(op, () => ends.alias([], [], ends.offset + n - 1).keep()).item();
    sources.forEach((x, i) => {
      if (x.storage.version !== versions[i])
        throw new Error(
          `${op}: ${x.storage.writer} changed its input before the result had come; await ${op} first`,
        );
    });
    const before = setGradMode(recorded);
    try {
      return scoped(op, () => then(total));
    } finally {
      setGradMode(before);
    }
  } finally {
    ends.dispose();
  }
}

/** @internal Entries of a dim that were picked, both ways. */
export interface Picked {
  /** Int32, one per picked entry: where it was. */
  readonly from: Tensor;
  /** Int32, one per entry of the dim: where it went, or -1. */
  readonly to: Tensor;
}

const rankRow: PointwiseFn = rowFunction({
  name: 'rank',
  kind: 'promote',
  expr: (end, flag) => e.select(e.ne(flag, 0), e.sub(end, 1), -1),
});

/** @internal What `mask` (whose {@link endsOf} are `ends`) picks, as the first `count` places. */
export const pickedBy = (mask: Tensor, ends: Tensor, count: number): Picked => ({
  from: ownersOf(ends, count),
  to: rankRow(ends, reshape(mask, [-1])),
});

/**
 * @internal `out[.., i, ..] = x[.., index[i], ..]` along `dim`, 0 where `index` is negative; no position of
 * `x` may be read twice. `back` is the way back: its inverse, which the gradient takes.
 */
export const route: (x: Tensor, index: Tensor, back: Tensor, dim: number) => Tensor = defineOp<
  [Tensor, Tensor, Tensor, number],
  Tensor,
  number
>({
  name: 'route',
  forward(ctx, x, index, back, dim) {
    ctx.state = dim;
    ctx.save(index, back);
    const shape = x.shape.map((size, d) => (d === dim ? index.numel() : size));
    const out = Tensor.empty(shape, x.dtype, 'route');
    if (out.numel() === 0) return out;
    if (x.numel() === 0) fillInto(out, 0, false);
    else
      runPlan('route', planRoute(runtime().target, { name: 'route', x, index, out, dim, ...planLimits() }), {
        x,
        index,
        out,
      });
    return out;
  },
  backward(ctx, grad) {
    const [index, back] = ctx.saved as [Tensor, Tensor];
    return [() => route(grad, back, index, ctx.state)];
  },
});
