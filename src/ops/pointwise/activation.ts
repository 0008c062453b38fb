import { checkTensors } from '../base/tensors.js';
import { e, type Expr } from '../../kernels/expr/expr.js';
import * as fn from '../../kernels/expr/functions.js';
import type { Tensor } from '../../tensor/tensor.js';
import { inPlaceOf, rowFunction, type Row } from '../base/row.js';
import { checkCount, optionReader, type Trailing } from '../../tensor/options.js';
import { normalizeDim, showShape } from '../../tensor/shape.js';
import type { Unary } from './pointwise.js';
import { chunk } from '../base/pieces.js';
import { reshape } from '../base/view.js';

/*
 * Activation functions (https://pytorch.org/docs/stable/nn.functional.html#non-linear-activation-functions).
 */

const activation = (name: string, expr: (x: Expr) => Expr, options: Partial<Row> = {}): Unary =>
  rowFunction({ name, kind: 'float', expr, ...options } as Row) as Unary;

/** `min(max(x, 0), 6)`. The gradient needs only the result. */
export const relu6: Unary = activation('relu6', (x) => e.clamp(x, 0, 6), {
  grad: (g, y) => [e.select(e.and(e.gt(y, 0), e.lt(y, 6)), g, 0)],
  lends: 'result',
});

/** `torch.nn.functional.hardtanh`: `x` between `minVal` and `maxVal`. */
export function hardtanh(
  x: Tensor,
  ...args: Trailing<[minVal: number, maxVal: number], { minVal?: number; maxVal?: number }>
): Tensor {
  const { minVal, maxVal } = readHardtanh(args);
  return hardtanhFn(x, minVal, maxVal);
}
const readHardtanh = optionReader('hardtanh', { minVal: -1, maxVal: 1 }, 'minVal', 'maxVal');
const hardtanhFn = rowFunction({
  name: 'hardtanh',
  kind: 'float',
  expr: (x: Expr, lo: Expr, hi: Expr) => e.clamp(x, lo, hi),
  grad: (g: Expr, _y: Expr, x: Expr, lo: Expr, hi: Expr) => [
    e.select(e.and(e.gt(x, lo), e.lt(x, hi)), g, 0),
    null,
    null,
  ],
});

/** `x` where positive, `negativeSlope * x` elsewhere. */
export function leakyRelu(
  x: Tensor,
  ...args: Trailing<[negativeSlope: number], { negativeSlope?: number }>
): Tensor {
  const { negativeSlope } = readLeakyRelu(args);
  return leakyReluFn(x, negativeSlope);
}
const readLeakyRelu = optionReader('leakyRelu', { negativeSlope: 0.01 }, 'negativeSlope');
const leakyReluFn = rowFunction({
  name: 'leakyRelu',
  kind: 'float',
  expr: (x: Expr, slope: Expr) => e.select(e.gt(x, 0), x, e.mul(x, slope)),
});

const hardtanhInPlace = inPlaceOf(hardtanhFn);
/** `torch.nn.functional.hardtanh_`. */
export const hardtanh_: typeof hardtanh = (x, ...args) => {
  const { minVal, maxVal } = readHardtanh(args);
  return hardtanhInPlace(x, minVal, maxVal);
};

const leakyReluInPlace = inPlaceOf(leakyReluFn);
/** `torch.nn.functional.leaky_relu_`. */
export const leakyRelu_: typeof leakyRelu = (x, ...args) =>
  leakyReluInPlace(x, readLeakyRelu(args).negativeSlope);

const geluErf = activation('gelu', (x) => e.mul(x, fn.ndtr(x)));
const geluTanh = activation('gelu', (x) => {
  const inner = e.mul(e.add(x, e.mul(e.mul(x, e.mul(x, x)), 0.044715)), Math.sqrt(2 / Math.PI));
  return e.mul(e.mul(x, 0.5), e.add(fn.tanh(inner), 1));
});

/** `x * Phi(x)` (Hendrycks & Gimpel 2016), exact or with the tanh approximation. */
export function gelu(x: Tensor, ...args: [options?: { approximate?: 'none' | 'tanh' }]): Tensor {
  const { approximate } = readGelu(args);
  if (approximate !== 'none' && approximate !== 'tanh')
    throw new Error(`gelu: approximate must be 'none' or 'tanh', got '${String(approximate)}'`);
  return approximate === 'tanh' ? geluTanh(x) : geluErf(x);
}

const readGelu = optionReader<{ approximate: 'none' | 'tanh' }>('gelu', { approximate: 'none' });

/** `x * sigmoid(x)`, also called swish. */
export const silu: Unary = activation('silu', (x) => e.mul(x, fn.sigmoid(x)));
/** `x * tanh(softplus(x))` (Misra 2019). */
export const mish: Unary = activation('mish', (x) => e.mul(x, fn.tanh(fn.softplus(x))));
/** `log(sigmoid(x))`. */
export const logsigmoid: Unary = activation('logsigmoid', (x) => e.neg(fn.softplus(e.neg(x))));
/** `x / (1 + |x|)`. */
export const softsign: Unary = activation('softsign', (x) => e.div(x, e.add(e.abs(x), 1)));
/** `relu6(x + 3) / 6` (Howard et al. 2019, MobileNetV3). */
export const hardsigmoid: Unary = activation('hardsigmoid', (x) => e.div(e.clamp(e.add(x, 3), 0, 6), 6), {
  grad: (g, y) => [e.select(e.and(e.gt(y, 0), e.lt(y, 1)), e.div(g, 6), 0)],
  lends: 'result',
});
/** `x * relu6(x + 3) / 6` (Howard et al. 2019, MobileNetV3). */
export const hardswish: Unary = activation(
  'hardswish',
  (x) => e.div(e.mul(x, e.clamp(e.add(x, 3), 0, 6)), 6),
  {
    grad: (g, _y, x) => [
      e.select(e.lt(x, -3), 0, e.select(e.lt(x, 3), e.mul(g, e.add(e.div(x, 3), 0.5)), g)),
    ],
  },
);
const seluAlpha = 1.6732632423543772;
const seluScale = 1.0507009873554805;
/** Self-normalising ELU (Klambauer et al. 2017). */
export const selu: Unary = activation(
  'selu',
  (x) => e.mul(e.select(e.gt(x, 0), x, e.mul(fn.expm1(x), seluAlpha)), seluScale),
  {
    grad: (g, y) => [e.mul(g, e.select(e.gt(y, 0), seluScale, e.add(y, seluAlpha * seluScale)))],
    lends: 'result',
  },
);

/** `x` where positive, `alpha * (exp(x) - 1)` elsewhere. */
export function elu(x: Tensor, ...args: Trailing<[alpha: number], { alpha?: number }>): Tensor {
  const { alpha } = readElu(args);
  return eluFn(x, alpha);
}
const readElu = optionReader('elu', { alpha: 1 }, 'alpha');
const eluFn = rowFunction({
  name: 'elu',
  kind: 'float',
  expr: (x: Expr, alpha: Expr) => e.select(e.gt(x, 0), x, e.mul(fn.expm1(x), alpha)),
});

/** Continuously differentiable ELU: `max(0, x) + min(0, alpha (exp(x / alpha) - 1))` (Barron 2017). */
export function celu(x: Tensor, ...args: Trailing<[alpha: number], { alpha?: number }>): Tensor {
  return celuFn(x, celuAlpha(args));
}
function celuAlpha(args: Trailing<[alpha: number], { alpha?: number }>): number {
  const { alpha } = readCelu(args);
  if (alpha === 0) throw new Error('celu: alpha must not be 0');
  return alpha;
}
const readCelu = optionReader('celu', { alpha: 1 }, 'alpha');
const celuFn = rowFunction({
  name: 'celu',
  kind: 'float',
  expr: (x: Expr, alpha: Expr) => e.select(e.gt(x, 0), x, e.mul(fn.expm1(e.div(x, alpha)), alpha)),
});

/** `torch.nn.functional.elu_`. */
export const elu_: typeof elu = (x, ...args) => eluInPlace(x, readElu(args).alpha);
const eluInPlace = inPlaceOf(eluFn);

/** `torch.nn.functional.celu_`. */
export const celu_: typeof celu = (x, ...args) => celuInPlace(x, celuAlpha(args));
const celuInPlace = inPlaceOf(celuFn);

/** `torch.nn.functional.selu_`. */
export const selu_: Unary = inPlaceOf(selu);
/** @internal `torch.nn.functional.relu6` with `inplace`. */
export const relu6_: Unary = inPlaceOf(relu6);
/** @internal `torch.nn.functional.silu` with `inplace`. */
export const silu_: Unary = inPlaceOf(silu);
/** @internal `torch.nn.functional.mish` with `inplace`. */
export const mish_: Unary = inPlaceOf(mish);
/** @internal `torch.nn.functional.hardsigmoid` with `inplace`. */
export const hardsigmoid_: Unary = inPlaceOf(hardsigmoid);
/** @internal `torch.nn.functional.hardswish` with `inplace`. */
export const hardswish_: Unary = inPlaceOf(hardswish);

/** `x - tanh(x)`. */
export const tanhshrink: Unary = activation('tanhshrink', (x) => e.sub(x, fn.tanh(x)), {
  lends: 'operands',
});

/** `x` where `|x| > lambd`, else 0. */
export function hardshrink(x: Tensor, ...args: Trailing<[lambd: number], { lambd?: number }>): Tensor {
  const { lambd } = readHardshrink(args);
  return hardshrinkFn(x, lambd);
}
const readHardshrink = optionReader('hardshrink', { lambd: 0.5 }, 'lambd');
const hardshrinkFn = rowFunction({
  name: 'hardshrink',
  kind: 'float',
  expr: (x: Expr, lambd: Expr) => e.select(e.le(e.abs(x), lambd), 0, x),
});

/** `x - lambd` above `lambd`, `x + lambd` below `-lambd`, else 0. */
export function softshrink(x: Tensor, ...args: Trailing<[lambd: number], { lambd?: number }>): Tensor {
  const { lambd } = readSoftshrink(args);
  return softshrinkFn(x, lambd);
}
const readSoftshrink = optionReader('softshrink', { lambd: 0.5 }, 'lambd');
const softshrinkFn = rowFunction({
  name: 'softshrink',
  kind: 'float',
  expr: (x: Expr, lambd: Expr) =>
    e.select(e.gt(x, lambd), e.sub(x, lambd), e.select(e.lt(x, e.neg(lambd)), e.add(x, lambd), e.mul(x, 0))),
});

const preluFn = rowFunction({
  name: 'prelu',
  kind: 'float',
  expr: (x: Expr, slope: Expr) => e.select(e.gt(x, 0), x, e.mul(x, slope)),
});

/** Learned leaky ReLU (He et al. 2015): one slope, or one per channel (dim 1). */
export function prelu(x: Tensor, weight: Tensor): Tensor {
  checkCount('prelu', arguments.length, 2);
  checkTensors('prelu', weight);
  const n = weight.numel();
  if (weight.ndim > 1 || (n !== 1 && n !== x.shape[1])) {
    throw new Error(
      `prelu: weight must hold 1 value or one per channel of ${showShape(x.shape)}, got shape ${showShape(weight.shape)}`,
    );
  }
  return preluFn(x, reshape(weight, n === 1 ? [] : [n, ...x.shape.slice(2).map(() => 1)]));
}

/** Gated linear unit (Dauphin et al. 2016): halves along `dim`, the first times the sigmoid of the second. */
export function glu(x: Tensor, ...args: Trailing<[dim: number], { dim?: number }>): Tensor {
  checkTensors('glu', x);
  const { dim } = readGlu(args);
  const d = normalizeDim('glu', dim, x.ndim);
  if (x.ndim === 0 || (x.shape[d] as number) % 2 !== 0)
    throw new Error(`glu: dim ${dim} of shape ${showShape(x.shape)} must be even`);
  const [a, b] = chunk(x, 2, d) as [Tensor, Tensor];
  return gluFn(a, b);
}
const readGlu = optionReader('glu', { dim: -1 }, 'dim');
const gluFn = rowFunction({
  name: 'glu',
  kind: 'float',
  expr: (a: Expr, b: Expr) => e.mul(a, fn.sigmoid(b)),
});

/**
 * The gated half of a SwiGLU layer (Shazeer 2020, https://arxiv.org/abs/2002.05202): `silu(gate) * up` in one
 * launch; of shapes that broadcast.
 */
export function swiglu(gate: Tensor, up: Tensor): Tensor {
  checkCount('swiglu', arguments.length, 2);
  checkTensors('swiglu', gate, up);
  return swigluFn(gate, up);
}
const swigluFn = rowFunction({
  name: 'swiglu',
  kind: 'float',
  expr: (gate: Expr, up: Expr) => e.mul(e.mul(gate, fn.sigmoid(gate)), up),
});

/** `log(1 + exp(beta x)) / beta`, and `x` where `beta x > threshold`. */
export function softplus(
  x: Tensor,
  ...args: Trailing<[beta: number, threshold: number], { beta?: number; threshold?: number }>
): Tensor {
  const { beta, threshold } = readSoftplus(args);
  return softplusFn(x, beta, threshold);
}
const readSoftplus = optionReader('softplus', { beta: 1, threshold: 20 }, 'beta', 'threshold');
const softplusFn = rowFunction({
  name: 'softplus',
  kind: 'float',
  expr: (x: Expr, beta: Expr, threshold: Expr) => {
    const scaled = e.mul(x, beta);
    return e.select(e.gt(scaled, threshold), x, e.div(fn.softplus(scaled), beta));
  },
});
