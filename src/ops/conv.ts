import { runtime } from '../device/index.js';
import { defineComposite, defineOp } from '../autograd/define.js';
import { planConv2d } from '../kernels/conv/plan.js';
import { planConv2dInputGrad } from '../kernels/conv/input-grad.js';
import type { Conv2dProblem } from '../kernels/conv/problem.js';
import { planConv2dWeightGrad } from '../kernels/conv/weight-grad.js';
import type { Activation, EpilogueActivation, WeightLayout } from '../kernels/base/plan.js';
import { contiguousStrides, numel, sameShape, showShape, type Shape } from '../tensor/shape.js';
import { Tensor } from '../tensor/tensor.js';
import { activate, activationMask, hasMask } from './activation-mask.js';
import { zeros } from './creation.js';
import { fillInto, channelsLast, rowMajor } from './copies.js';
import { add } from './pointwise.js';
import { sumDims } from './sum-to.js';
import { elemOf, emptyResult, planLimits, runPlan } from './run-plan.js';
import { pairOf, type Size2d } from './size2d.js';
import { reshape, squeeze, unsqueeze } from './view.js';
import { noteMultiplyAdds } from './count-work.js';

export interface ConvOptions {
  stride?: Size2d;
  /** Zeros around the input; `'same'` keeps the size (stride 1 only), `'valid'` is 0. */
  padding?: Size2d | 'same' | 'valid';
  dilation?: Size2d;
  groups?: number;
}

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
    ctx.save(ctx.needs[1] ? x : null, ctx.needs[0] ? w : null, mask === 'none' ? null : y);
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

function checkOperands(op: string, x: Tensor, w: Tensor, b: Tensor | null): void {
  elemOf(op, x.dtype);
  if (x.ndim !== 4)
    throw new Error(
      `${op}: expected an input of shape [N, C, H, W] (or [C, H, W]), got ${showShape(x.shape)}`,
    );
  if (w.ndim !== 4) throw new Error(`${op}: expected a weight of 4 dims, got ${showShape(w.shape)}`);
  if (w.dtype !== x.dtype)
    throw new Error(`${op}: the input is ${x.dtype} but the weight is ${w.dtype}; convert one with .to()`);
  if (b !== null && b.dtype !== x.dtype)
    throw new Error(`${op}: the input is ${x.dtype} but the bias is ${b.dtype}; convert one with .to()`);
}

function checkGroups(op: string, groups: number): void {
  if (!Number.isInteger(groups) || groups < 1)
    throw new Error(`${op}: groups must be a positive integer, got ${groups}`);
}

/** `run` of an unbatched input [C, H, W] as a batch of one. */
function ofOne(x: Tensor, run: (x: Tensor) => Tensor): Tensor {
  const y = run(reshape(x, [1, ...x.shape]));
  return reshape(y, y.shape.slice(1));
}

/**
 * `torch.nn.functional.conv2d`: `x` [N, Cin, H, W] (or unbatched) with `w` [Cout, Cin / groups, kH, kW] and
 * `b` [Cout] gives [N, Cout, Hout, Wout], `Hout = floor((H + 2 pad - dilation (kH - 1) - 1) / stride + 1)`.
 * The result is stored channels-last.
 */
export const conv2d: (x: Tensor, w: Tensor, b?: Tensor | null, options?: ConvOptions) => Tensor =
  defineComposite(
    'conv2d',
    (x: Tensor, w: Tensor, b: Tensor | null = null, options: ConvOptions = {}): Tensor =>
      x.ndim === 3 ? ofOne(x, (one) => convolve(one, w, b, options)) : convolve(x, w, b, options),
  );

/** @internal {@link conv2d} of a batch with more in the same launch. */
export const conv2dThen: (
  x: Tensor,
  w: Tensor,
  b: Tensor | null,
  options: ConvOptions,
  after: ConvEpilogue,
) => Tensor = defineComposite('conv2d', convolve);

function convolve(
  x: Tensor,
  w: Tensor,
  b: Tensor | null,
  options: ConvOptions,
  after: ConvEpilogue = noEpilogue,
): Tensor {
  checkOperands('conv2d', x, w, b);
  const g = geometry(x.shape, w.shape, options);
  if (b !== null && (b.ndim !== 1 || b.shape[0] !== g.cOut)) {
    throw new Error(
      `conv2d: the weight ${showShape(w.shape)} makes ${g.cOut} channels, the bias has shape ${showShape(b.shape)}`,
    );
  }
  const { residual = null } = after;
  if (residual !== null && !sameShape(residual.shape, outputShape(g))) {
    const { activation, ...rest } = after;
    const sum = add(convolve(x, w, b, options, { ...rest, residual: null }), residual);
    return activate(activation, sum);
  }
  return forwardOp(channelsLast(x), w, b, residual, g, after);
}

function geometry(x: readonly number[], w: readonly number[], options: ConvOptions): Geometry {
  const [n, cIn, h, width] = x as [number, number, number, number];
  const [cOut, perGroup, kernelH, kernelW] = w as [number, number, number, number];
  const { groups = 1, padding = 0 } = options;
  checkGroups('conv2d', groups);
  const [strideH, strideW] = pairOf('conv2d', 'stride', options.stride ?? 1, 1);
  const [dilationH, dilationW] = pairOf('conv2d', 'dilation', options.dilation ?? 1, 1);
  if (cIn !== perGroup * groups || cOut % groups !== 0) {
    throw new Error(
      `conv2d: input ${showShape(x)} has ${cIn} channels, but weight ${showShape(w)} with groups ${groups} takes ${perGroup * groups}` +
        (cOut % groups !== 0 ? ` (and groups must divide its ${cOut} output channels)` : ''),
    );
  }
  const spanH = dilationH * (kernelH - 1);
  const spanW = dilationW * (kernelW - 1);
  let top: number, bottom: number, left: number, right: number;
  if (padding === 'same') {
    if (strideH !== 1 || strideW !== 1) throw new Error("conv2d: padding 'same' needs stride 1");
    [top, left] = [Math.floor(spanH / 2), Math.floor(spanW / 2)];
    [bottom, right] = [spanH - top, spanW - left];
  } else {
    if (typeof padding === 'string' && padding !== 'valid')
      throw new Error(
        `conv2d: padding must be a number, a pair, 'same' or 'valid', got '${String(padding)}'`,
      );
    [top, left] = padding === 'valid' ? [0, 0] : pairOf('conv2d', 'padding', padding, 0);
    [bottom, right] = [top, left];
  }
  const outH = Math.floor((h + top + bottom - spanH - 1) / strideH) + 1;
  const outW = Math.floor((width + left + right - spanW - 1) / strideW) + 1;
  if (outH < 1 || outW < 1) {
    throw new Error(
      `conv2d: a kernel of ${spanH + 1}x${spanW + 1} (with dilation) is larger than the padded input of shape ${showShape(x)}`,
    );
  }
  return {
    n,
    h,
    w: width,
    cIn,
    cOut,
    kernelH,
    kernelW,
    outH,
    outW,
    strideH,
    strideW,
    padTop: top,
    padLeft: left,
    dilationH,
    dilationW,
    groups,
  };
}

export interface ConvTransposeOptions {
  stride?: Size2d;
  padding?: Size2d;
  /**
   * Rows and columns added at the bottom and right, to choose among the sizes that a strided convolution
   * merges.
   */
  outputPadding?: Size2d;
  groups?: number;
  dilation?: Size2d;
}

/**
 * `torch.nn.functional.conv_transpose2d`: the input gradient of a convolution as an op of its own. `x` [N,
 * Cin, H, W] with `w` [Cin, Cout / groups, kH, kW] gives `Hout = (H - 1) stride - 2 pad + dilation (kH - 1) +
 * outputPadding + 1`.
 */
export const convTranspose2d: (
  x: Tensor,
  w: Tensor,
  b?: Tensor | null,
  options?: ConvTransposeOptions,
) => Tensor = defineComposite(
  'convTranspose2d',
  (x: Tensor, w: Tensor, b: Tensor | null = null, options: ConvTransposeOptions = {}): Tensor =>
    x.ndim === 3 ? ofOne(x, (one) => transposed(one, w, b, options)) : transposed(x, w, b, options),
);

function transposed(x: Tensor, w: Tensor, b: Tensor | null, options: ConvTransposeOptions): Tensor {
  const op = 'convTranspose2d';
  checkOperands(op, x, w, b);
  const { groups = 1 } = options;
  checkGroups(op, groups);
  const [strideH, strideW] = pairOf(op, 'stride', options.stride ?? 1, 1);
  const [padTop, padLeft] = pairOf(op, 'padding', options.padding ?? 0, 0);
  const [extraH, extraW] = pairOf(op, 'outputPadding', options.outputPadding ?? 0, 0);
  const [dilationH, dilationW] = pairOf(op, 'dilation', options.dilation ?? 1, 1);
  const [n, channels, outH, outW] = x.shape as [number, number, number, number];
  const [cOut, perGroup, kernelH, kernelW] = w.shape as [number, number, number, number];
  if (channels !== cOut || channels % groups !== 0) {
    throw new Error(
      `${op}: input ${showShape(x.shape)} does not fit weight ${showShape(w.shape)} with groups ${groups}: ${channels} and ${cOut} input channels`,
    );
  }
  if ((extraH >= strideH && extraH >= dilationH) || (extraW >= strideW && extraW >= dilationW)) {
    throw new Error(`${op}: outputPadding must be smaller than stride or dilation`);
  }
  const cIn = perGroup * groups;
  const h = (outH - 1) * strideH - 2 * padTop + dilationH * (kernelH - 1) + extraH + 1;
  const width = (outW - 1) * strideW - 2 * padLeft + dilationW * (kernelW - 1) + extraW + 1;
  if (h < 1 || width < 1)
    throw new Error(`${op}: the result for input ${showShape(x.shape)} would have size ${h}x${width}`);
  const g: Geometry = {
    n,
    h,
    w: width,
    cIn,
    cOut,
    kernelH,
    kernelW,
    outH,
    outW,
    strideH,
    strideW,
    padTop,
    padLeft,
    dilationH,
    dilationW,
    groups,
  };
  const y = inputGradOp(channelsLast(x), w, g);
  if (b === null) return y;
  if (b.ndim !== 1 || b.shape[0] !== cIn)
    throw new Error(`${op}: the result has ${cIn} channels, the bias has shape ${showShape(b.shape)}`);
  return add(y, reshape(b, [1, cIn, 1, 1]));
}

export interface Conv1dOptions {
  stride?: number;
  padding?: number | 'same' | 'valid';
  dilation?: number;
  groups?: number;
}

/**
 * `torch.nn.functional.conv1d`: `x` [N, Cin, L] (or [Cin, L]) with `w` [Cout, Cin / groups, k], as a
 * convolution of height 1.
 */
export const conv1d: (x: Tensor, w: Tensor, b?: Tensor | null, options?: Conv1dOptions) => Tensor =
  defineComposite(
    'conv1d',
    (x: Tensor, w: Tensor, b: Tensor | null = null, options: Conv1dOptions = {}): Tensor => {
      if (x.ndim < 2 || x.ndim > 3 || w.ndim !== 3) {
        throw new Error(
          `conv1d: expected an input of shape [N, C, L] (or [C, L]) and a weight of 3 dims, got ${showShape(x.shape)} and ${showShape(w.shape)}`,
        );
      }
      const { stride = 1, padding = 0, dilation = 1, groups = 1 } = options;
      const flat = (size: number): readonly [number, number] => [1, size];
      const y = conv2d(unsqueeze(x, -2), unsqueeze(w, -2), b, {
        stride: flat(stride),
        padding: typeof padding === 'number' ? [0, padding] : padding,
        dilation: flat(dilation),
        groups,
      });
      return squeeze(y, -2);
    },
  );
