import { runtime } from '../../device/index.js';
import { defineComposite, defineOp } from '../../autograd/define.js';
import { planConv2d } from '../../kernels/conv/plan.js';
import { planConv2dInputGrad } from '../../kernels/conv/input-grad.js';
import type { Conv2dProblem } from '../../kernels/conv/problem.js';
import { planConv2dWeightGrad } from '../../kernels/conv/weight-grad.js';
import type { Activation, EpilogueActivation, WeightLayout } from '../../kernels/base/plan.js';
import { contiguousStrides, numel, sameShape, type Shape } from '../../tensor/shape.js';
import { Tensor } from '../../tensor/tensor.js';
import { activate, activationMask, hasMask } from '../pointwise/activation-mask.js';
import {
  convOf,
  convShape,
  convTransposeOf,
  type Conv,
  type ConvAxis,
  type ConvOptions,
  type ConvShape,
  type ConvTranspose,
  type Convolve,
} from './shape.js';
import { backends } from './backends.js';
import { zeros } from '../creation/creation.js';
import { fillInto, channelsLast, rowMajor } from '../base/copies.js';
import { add } from '../pointwise/pointwise.js';
import { sumDims } from '../base/sum-to.js';
import { elemOf, emptyResult, planLimits, runPlan } from '../base/run-plan.js';
import type { Size2d } from '../base/sizes.js';
import { reshape } from '../base/view.js';
import { noteMultiplyAdds } from '../base/count-work.js';

/**
 * Strides of a weight [Cout, Cin / groups, kH, kW] in the order the kernels read: output channels innermost,
 * then input channels, kernel columns and rows. With several groups that is row-major order.
 */
export function convWeightStrides(shape: Shape, groups: number): readonly number[] {
  if (groups !== 1) return contiguousStrides(shape);
  const [out, into, , kernelW] = shape as readonly [number, number, number, number];
  return [1, out, kernelW * into * out, into * out];
}

/** `w`, or a copy that is row-major, and its layout. */
function layoutOf(w: Tensor, groups: number): { weight: Tensor; weights: WeightLayout } {
  if (w.isContiguous() && w.offset === 0) return { weight: w, weights: 'oihw' };
  const strides = convWeightStrides(w.shape, groups);
  const packed =
    groups === 1 && w.offset === 0 && w.shape.every((n, i) => n === 1 || w.strides[i] === strides[i]);
  return packed ? { weight: w, weights: 'hwio' } : { weight: rowMajor(w), weights: 'oihw' };
}

/**
 * Shapes and strides of one convolution, seen from its forward direction: x [n, cIn, h, w] -> y [n, cOut,
 * outH, outW].
 */
type Geometry = Omit<Conv2dProblem, 'epilogue' | 'elem' | 'weights' | 'freshWeights'>;

const inputShape = (g: Geometry): number[] => [g.n, g.cIn, g.h, g.w];
const outputShape = (g: Geometry): number[] => [g.n, g.cOut, g.outH, g.outW];
const weightShape = (g: Geometry): number[] => [g.cOut, g.cIn / g.groups, g.kernelH, g.kernelW];
/** The same in all three directions. */
const noteWork = (g: Geometry): void => noteMultiplyAdds(g.n * g.outH * g.outW * numel(weightShape(g)));
const isEmpty = (g: Geometry): boolean => numel(inputShape(g)) === 0 || numel(outputShape(g)) === 0;

/**
 * What a convolution does to each sum before it stores it: `activation((sum + bias) * scale + shift +
 * residual)`. `scale` and `shift` [Cout] have no gradients; `residual` has the result's shape. Activations
 * without a mask are for calls that record no gradient.
 */
export interface ConvEpilogue {
  readonly scale?: Tensor;
  readonly shift?: Tensor;
  readonly residual?: Tensor | null;
  readonly activation?: EpilogueActivation;
}

const noEpilogue: ConvEpilogue = {};

const forwardOp: (
  x: Tensor,
  w: Tensor,
  b: Tensor | null,
  residual: Tensor | null,
  g: Geometry,
  after?: ConvEpilogue,
) => Tensor = defineOp<
  [Tensor, Tensor, Tensor | null, Tensor | null, Geometry, ConvEpilogue?],
  Tensor,
  {
    g: Geometry;
    layout: WeightLayout;
    fresh: boolean;
    activation: Activation;
    biased: boolean;
    added: boolean;
  }
>({
  name: 'conv2d',
  forward(ctx, x, w, b, residual, g, { scale, shift, activation = 'none' } = noEpilogue) {
    const { weight, weights } = layoutOf(w, g.groups);
    const fresh = ctx.needs[1] === true;
    const mask = hasMask(activation) ? activation : 'none';
    if (mask !== activation && ctx.needs.some(Boolean))
      throw new Error(
        `conv2d: '${activation}' in the epilogue records no gradient; apply it as an op of its own`,
      );
    ctx.state = { g, layout: weights, fresh, activation: mask, biased: b !== null, added: residual !== null };
    noteWork(g);
    const y = emptyResult('conv2d', outputShape(g), x.dtype);
    ctx.save(ctx.needs[1] ? x : null, ctx.needs[0] ? w : null, mask === 'none' ? null : y);
    if (y.numel() === 0) return y;
    const plan = planConv2d(runtime().target, planLimits(), {
      ...g,
      weights,
      freshWeights: fresh,
      elem: elemOf('conv2d', x.dtype),
      epilogue: {
        bias: b !== null,
        scale: scale !== undefined,
        shift: shift !== undefined,
        residual: residual !== null,
        activation,
      },
    });
    runPlan(
      'conv2d',
      plan,
      {
        x,
        y,
        ...(b && { bias: rowMajor(b) }),
        ...(scale && { scale }),
        ...(shift && { shift }),
        ...(residual && { residual: channelsLast(residual) }),
      },
      weight,
    );
    return y;
  },
  backward(ctx, grad) {
    const { g, layout, fresh, activation, biased, added } = ctx.state;
    const [x, w, y] = ctx.saved as [Tensor, Tensor, Tensor];
    const dy = channelsLast(activation === 'none' ? grad : activationMask(activation, grad, y));
    return [
      () => inputGradOp(dy, w, g, fresh),
      () => weightGradOp(x, dy, g, layout),
      ...(biased ? [() => sumDims(dy, [0, 2, 3], false)] : []),
      ...(added ? [() => dy] : []),
    ];
  },
});

const inputGradOp: (dy: Tensor, w: Tensor, g: Geometry, freshWeights?: boolean) => Tensor = defineOp<
  [Tensor, Tensor, Geometry, boolean?],
  Tensor,
  Geometry
>({
  name: 'conv2dInputGrad',
  forward(ctx, dy, w, g, freshWeights = false) {
    ctx.state = g;
    noteWork(g);
    ctx.save(ctx.needs[1] ? dy : null, ctx.needs[0] ? w : null);
    const dx = emptyResult('conv2dInputGrad', inputShape(g), dy.dtype);
    if (isEmpty(g)) {
      fillInto(dx, 0);
      return dx;
    }
    const { weight, weights } = layoutOf(w, g.groups);
    const plan = planConv2dInputGrad(runtime().target, planLimits(), {
      ...g,
      weights,
      freshWeights,
      elem: elemOf('conv2d', dy.dtype),
    });
    runPlan('conv2dInputGrad', plan, { dy, dx }, weight);
    return dx;
  },
  backward(ctx, grad) {
    const g = ctx.state;
    const [dy, w] = ctx.saved as [Tensor, Tensor];
    const gg = channelsLast(grad);
    return [() => forwardOp(gg, w, null, null, g), () => weightGradOp(gg, dy, g, 'oihw')];
  },
});

const weightGradOp: (x: Tensor, dy: Tensor, g: Geometry, layout: WeightLayout) => Tensor = defineOp<
  [Tensor, Tensor, Geometry, WeightLayout],
  Tensor,
  Geometry
>({
  name: 'conv2dWeightGrad',
  forward(ctx, x, dy, g, layout) {
    ctx.state = g;
    noteWork(g);
    ctx.save(ctx.needs[1] ? x : null, ctx.needs[0] ? dy : null);
    const shape = weightShape(g);
    if (isEmpty(g)) return zeros(shape, { dtype: x.dtype });
    const strides = layout === 'hwio' ? convWeightStrides(shape, g.groups) : contiguousStrides(shape);
    const dw = Tensor.empty(shape, x.dtype, 'conv2dWeightGrad', strides);
    const plan = planConv2dWeightGrad(runtime().target, planLimits(), {
      ...g,
      weights: layout,
      elem: elemOf('conv2d', x.dtype),
    });
    runPlan('conv2dWeightGrad', plan, { x, dy, dw });
    return dw;
  },
  backward(ctx, grad) {
    const g = ctx.state;
    const [x, dy] = ctx.saved as [Tensor, Tensor];
    return [() => inputGradOp(dy, grad, g), () => forwardOp(x, grad, null, null, g)];
  },
});

/**
 * The problem that the kernels solve, of rows `y` and columns `x`. Field by field: a rest pattern makes an
 * object of the slow kind, which cost as much as the whole call.
 */
function geometry({ n, cIn, cOut, groups, axes }: ConvShape): Geometry {
  const [y, x] = axes as [ConvAxis, ConvAxis];
  return {
    n,
    cIn,
    cOut,
    groups,
    h: y.size,
    w: x.size,
    kernelH: y.kernel,
    kernelW: x.kernel,
    outH: y.out,
    outW: x.out,
    strideH: y.stride,
    strideW: x.stride,
    padTop: y.low,
    padLeft: x.low,
    dilationH: y.dilation,
    dilationW: x.dilation,
    algorithm: backends.winograd ? 'auto' : 'direct',
  };
}

/** @internal A checked convolution of images; the result is channels-last. */
export const convolve = (
  x: Tensor,
  w: Tensor,
  b: Tensor | null,
  shape: ConvShape,
  after: ConvEpilogue = noEpilogue,
): Tensor => {
  const g = geometry(shape);
  const { residual = null } = after;
  if (residual !== null && !sameShape(residual.shape, outputShape(g))) {
    const { activation, ...rest } = after;
    const sum = add(convolve(x, w, b, shape, { ...rest, residual: null }), residual);
    return activate(activation, sum);
  }
  return forwardOp(channelsLast(x), w, b, residual, g, after);
};

/** @internal A checked transposed convolution of images; the result is channels-last. */
export const convolveBack: Convolve = (x, w, b, shape) =>
  withBias(inputGradOp(channelsLast(x), w, geometry(shape)), b);

/** @internal `y` [N, C, ...] with `b` [C] added. */
export const withBias = (y: Tensor, b: Tensor | null): Tensor =>
  b === null ? y : add(y, reshape(b, [-1, ...y.shape.slice(2).map(() => 1)]));

/**
 * `torch.nn.functional.conv2d`: `x` [N, Cin, H, W] (or unbatched) with `w` [Cout, Cin / groups, kH, kW] and
 * `b` [Cout] gives [N, Cout, Hout, Wout], `Hout = floor((H + 2 pad - dilation (kH - 1) - 1) / stride + 1)`.
 * The result is stored channels-last.
 */
export const conv2d: Conv<Size2d> = convOf('conv2d', 2, convolve);

/** @internal {@link conv2d} of a batch with more in the same launch. */
export const conv2dThen: (
  x: Tensor,
  w: Tensor,
  b: Tensor | null,
  options: ConvOptions,
  after: ConvEpilogue,
) => Tensor = defineComposite('conv2d', (x, w, b, options, after) =>
  convolve(x, w, b, convShape('conv2d', x, w, b, options), after),
);

/**
 * `torch.nn.functional.conv_transpose2d`: the input gradient of a convolution as an op of its own. `x` [N,
 * Cin, H, W] with `w` [Cin, Cout / groups, kH, kW] gives `Hout = (H - 1) stride - 2 pad + dilation (kH - 1) +
 * outputPadding + 1`.
 */
export const convTranspose2d: ConvTranspose<Size2d> = convTransposeOf('convTranspose2d', 2, convolveBack);
