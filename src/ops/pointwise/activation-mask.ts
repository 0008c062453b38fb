import { e, type Expr } from '../../kernels/expr/expr.js';
import type { Activation, EpilogueActivation } from '../../kernels/base/plan.js';
import type { Tensor } from '../../tensor/tensor.js';
import { hardswish, relu6, silu } from './activation.js';
import { relu } from './pointwise.js';
import { rowFunction } from '../base/row.js';

/** An activation that other kernels apply on their way out. */
export type FusedActivation = Exclude<Activation, 'none'>;

const reluMask = rowFunction({
  name: 'reluBackward',
  kind: 'float',
  expr: (g: Expr, y: Expr) => e.select(e.gt(y, 0), g, 0),
});
const relu6Mask = rowFunction({
  name: 'relu6Backward',
  kind: 'float',
  expr: (g: Expr, y: Expr) => e.select(e.and(e.gt(y, 0), e.lt(y, 6)), g, 0),
});

/** The gradient `g` of an activation's result `y`, taken back to its input. */
export const activationMask = (activation: FusedActivation, g: Tensor, y: Tensor): Tensor =>
  activation === 'relu' ? reluMask(g, y) : relu6Mask(g, y);

/** Whether {@link activationMask} takes the gradient back. */
export const hasMask = (activation: EpilogueActivation): activation is Activation =>
  activation !== 'silu' && activation !== 'hardswish';

const ops = { relu, relu6, silu, hardswish };

/** The activation as an op of its own. */
export const activate = (activation: EpilogueActivation = 'none', x: Tensor): Tensor =>
  activation === 'none' ? x : ops[activation](x);
