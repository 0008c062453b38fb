import { runtime, type BufferArg, type Runtime } from '../device/index.js';
import type { Expr } from '../kernels/expr/expr.js';
import { withParams } from '../kernels/base/plan-cache.js';
import { planPointwise, type PointwiseLaunch } from '../kernels/pointwise/plan.js';
import type { Tensor } from '../tensor/tensor.js';
import { LayoutMemo } from './layout-memo.js';

/** What is launched of a pointwise op: `expr` over the inputs, broadcast, and over the scalars `params`. */
export interface Computation {
  readonly name: string;
  readonly expr: Expr;
  readonly params: readonly string[];
}

interface Memo {
  /** Launches by the layouts of inputs and result, for one device. */
  launches: LayoutMemo<readonly PointwiseLaunch[]>;
  runtime: Runtime | null;
}

const memos = new WeakMap<Computation, Memo>();

function memoOf(op: Computation): Memo {
  let memo = memos.get(op);
  if (memo === undefined) memos.set(op, (memo = { launches: new LayoutMemo(), runtime: null }));
  return memo;
}

/**
 * @internal Runs `op` into `out` with no record; `exact` where `out` does not own everything up to the end of
 * its buffer.
 */
export function launchPointwise(
  op: Computation,
  inputs: readonly Tensor[],
  params: readonly number[],
  out: Tensor,
  exact: boolean,
): void {
  run(op, inputs, params, out, -1, exact);
}

/** @internal Runs `op` over `inputs[0]`, which is `self` or shares its memory and place. */
export function launchInPlace(
  op: Computation,
  inputs: readonly Tensor[],
  params: readonly number[],
  self: Tensor,
): void {
  run(op, inputs, params, self, 0, true);
}

function run(
  op: Computation,
  inputs: readonly Tensor[],
  params: readonly number[],
  out: Tensor,
  alias: number,
  exact: boolean,
): void {
  if (out.numel() === 0) return;
  const rt = runtime();
  const memo = memoOf(op);
  if (memo.runtime !== rt) {
    memo.runtime = rt;
    memo.launches = new LayoutMemo();
  }
  const planned = memo.launches.get(2 * alias + Number(exact), inputs, out, () =>
    planPointwise(rt.target, {
      name: op.name,
      exprs: [op.expr],
      paramNames: op.params,
      params,
      inputs,
      outputs: [out],
      alias,
      exact,
      maxBinding: rt.maxBinding,
      offsetAlignment: rt.limits.minStorageBufferOffsetAlignment,
    }),
  );
  for (const { kernel, buffers, params: values, grid } of withParams(planned, params)) {
    const bound = new Array<BufferArg>(buffers.length);
    for (let i = 0; i < buffers.length; i++) {
      const { index, offset, size } = buffers[i] as PointwiseLaunch['buffers'][number];
      const buffer = (index < inputs.length ? (inputs[index] as Tensor) : out).deviceBuffer;
      if (size !== undefined) bound[i] = { buffer, offset: offset as number, size };
      // Without a range the launch stays within the first binding's worth.
      else bound[i] = buffer.capacity <= rt.maxBinding ? buffer : { buffer, offset: 0, size: rt.maxBinding };
    }
    rt.dispatch(kernel, bound, values, grid);
  }
}
