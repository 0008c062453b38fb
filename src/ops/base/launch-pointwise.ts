import { runtime } from '../../device/index.js';
import type { Expr } from '../../kernels/expr/expr.js';
import { planPointwise } from '../../kernels/pointwise/plan.js';
import type { Tensor } from '../../tensor/tensor.js';
import { launch } from './launch.js';

/** What is launched of a pointwise op: `expr` over the inputs, broadcast, and over the scalars `params`. */
export interface Computation {
  readonly name: string;
  readonly expr: Expr;
  readonly params: readonly string[];
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
  { name, expr, params: paramNames }: Computation,
  inputs: readonly Tensor[],
  params: readonly number[],
  out: Tensor,
  alias: number,
  exact: boolean,
): void {
  if (out.numel() === 0) return;
  const { target, maxBinding, limits } = runtime();
  const launches = planPointwise(target, {
    name,
    exprs: [expr],
    paramNames,
    params,
    inputs,
    outputs: [out],
    alias,
    exact,
    maxBinding,
    offsetAlignment: limits.minStorageBufferOffsetAlignment,
  });
  launch(launches, [...inputs, out]);
}
