import { checkTensors } from '../base/tensors.js';
import { runtime } from '../../device/index.js';
import { defineOp } from '../../autograd/define.js';
import { isGradEnabled, noGrad } from '../../autograd/mode.js';
import type { ChannelsProblem } from '../../kernels/norm/blocks.js';
import type { ChannelsAfter } from '../../kernels/norm/channels-apply.js';
import { planBatchNorm, planBatchNormGrad } from '../../kernels/norm/plan.js';
import { e, type Expr } from '../../kernels/expr/expr.js';
import type { Activation } from '../../kernels/base/plan.js';
import { optionReader, type Trailing } from '../../tensor/options.js';
import { contiguousStrides, numel, sameShape, showShape } from '../../tensor/shape.js';
import { Tensor } from '../../tensor/tensor.js';
import { activate, activationMask } from '../pointwise/activation-mask.js';
import { copyAs, copyInto, rowMajor } from '../base/copies.js';
import { clone, to } from '../base/copy.js';
import { add, add_, mul, neg, rsqrt, sub } from '../pointwise/pointwise.js';
import { mean } from '../reduce/reduce.js';
import { sumDims } from '../base/sum-to.js';
import { rowFunction, type PointwiseFn } from '../base/row.js';
import { elemOf, runPlan } from '../base/run-plan.js';
import { reshape } from '../base/view.js';

export interface BatchNormOptions {
  /** gamma, [C]. */
  weight?: Tensor | null;
  /** beta, [C]. */
  bias?: Tensor | null;
  /** Normalise by the batch's own statistics and update the running ones. Default false. */
  training?: boolean;
  /** Share of the new value in the running statistics. Default 0.1. */
  momentum?: number;
  /** Default 1e-5. */
  eps?: number;
  /** Count of training batches seen (int32, zero-dim), raised by one in training. */
  numBatchesTracked?: Tensor | null;
}

interface State {
  readonly rows: number;
  readonly channels: number;
  readonly eps: number;
  readonly affine: boolean;
  readonly after: ChannelsAfter;
}

const problemOf = ({ rows, channels }: State, { dtype }: Tensor): ChannelsProblem => ({
  rows,
  channels,
  elem: elemOf('batchNorm', dtype),
  maxBinding: runtime().maxBinding,
});

/** What follows the norm in the same launches: `activation(norm(x) + residual)`. */
export interface NormEpilogue {
  /** Of the input's shape. */
  readonly residual?: Tensor | null;
  readonly activation?: Activation;
}

interface TrainingOptions {
  readonly eps: number;
  readonly momentum: number;
  readonly activation: Activation;
}

/** `x` must be stored with channels innermost from element 0 on. */
const trainingOp: (
  x: Tensor,
  residual: Tensor | null,
  weight: Tensor | null,
  bias: Tensor | null,
  runningMean: Tensor | null,
  runningVar: Tensor | null,
  batches: Tensor | null,
  options: TrainingOptions,
) => Tensor = defineOp<
  [
    Tensor,
    Tensor | null,
    Tensor | null,
    Tensor | null,
    Tensor | null,
    Tensor | null,
    Tensor | null,
    TrainingOptions,
  ],
  Tensor,
  State
>({
  name: 'batchNorm',
  forward(ctx, x, residual, weight, bias, runningMean, runningVar, batches, { eps, momentum, activation }) {
    const channels = x.shape[1] ?? 0;
    const affine = weight !== null && bias !== null;
    const after = { residual: residual !== null, activation };
    const state = { rows: x.numel() / channels, channels, eps, affine, after };
    ctx.state = state;
    const stats = Tensor.empty([4, channels], 'float32', 'batchNorm (statistics)');
    const targets = runningMean !== null && runningVar !== null ? [runningMean, runningVar] : [];
    const running = targets.map(rowMajor);
    const problem = {
      ...problemOf(state, x),
      affine,
      running: running.length > 0,
      counted: batches !== null,
    };
    const y = Tensor.empty(x.shape, x.dtype, 'batchNorm', x.strides);
    const operands = {
      x,
      y,
      stats,
      ...(affine && { gamma: rowMajor(weight), beta: rowMajor(bias) }),
      ...(residual && { residual: channelsInnermost(residual) }),
      ...(batches && { batches }),
      runningMean: running[0],
      runningVar: running[1],
    };
    for (const tensor of batches ? [...targets, batches] : targets) tensor.storage.beginWrite('batchNorm');
    runPlan('batchNorm', planBatchNorm(runtime().target, problem, after, eps, momentum), operands);
    targets.forEach((tensor, i) => {
      if (running[i] !== tensor) copyInto(tensor, running[i] as Tensor);
    });
    // Without a residual the activation is computed anew from x.
    const keepsResult = residual !== null && activation !== 'none';
    ctx.save(x, stats, ctx.needs[0] ? weight : null, keepsResult ? y : null);
    return y;
  },
  backward(ctx, grad) {
    const { state } = ctx;
    const { channels, affine, after } = state;
    const [x, stats, weight, y] = ctx.saved as [Tensor, Tensor, Tensor | null, Tensor | null];
    if (isGradEnabled()) return differentiable(x, stats, weight, y, grad, state);
    const dy = channelsInnermost(grad);
    // Behind the activation; where nothing was added, that is made on the way.
    const g = y === null ? dy : Tensor.empty(x.shape, x.dtype, 'batchNormBackward (residual)', x.strides);
    const blank = (): Tensor => Tensor.empty([channels], 'float32', 'batchNormBackward');
    const [dgamma, dbeta] = [blank(), blank()];
    const out = ctx.needs[0] ? Tensor.empty(x.shape, x.dtype, 'batchNormBackward', x.strides) : undefined;
    const plan = planBatchNormGrad(runtime().target, problemOf(state, x), after, out !== undefined);
    runPlan('batchNormBackward', plan, { x, dy, y: y ?? undefined, g, dx: out, stats, dgamma, dbeta });
    const dx = (): Tensor => out as Tensor;
    return [dx, ...(after.residual ? [() => g] : []), ...(affine ? [() => dgamma, () => dbeta] : [])];
  },
});

/** The same gradient made of ordinary ops, for `createGraph`. */
function differentiable(
  x: Tensor,
  stats: Tensor,
  weight: Tensor | null,
  y: Tensor | null,
  dy: Tensor,
  state: State,
): (() => Tensor)[] {
  if (x.dtype !== 'float32') {
    const wide = (t: Tensor): Tensor => to(t, 'float32');
    const [dx, ...rest] = differentiable(wide(x), stats, weight, y && wide(y), wide(dy), state);
    const narrow = (thunk: (() => Tensor) | undefined) => () => to((thunk as () => Tensor)(), x.dtype);
    return [narrow(dx), ...rest.map((thunk, i) => (i === 0 && state.after.residual ? narrow(thunk) : thunk))];
  }
  const { eps, channels, affine, after } = state;
  const dims = x.shape.map((_, i) => i).filter((i) => i !== 1);
  const channel = (t: Tensor): Tensor => reshape(t, [1, -1, ...dims.slice(1).map(() => 1)]);
  const { activation, residual } = after;
  let grad = dy;
  if (activation !== 'none') {
    const row = (i: number): Tensor => channel(stats.alias([channels], [1], i * channels));
    grad = activationMask(activation, dy, y ?? noGrad(() => add(mul(x, row(2)), row(3))));
  }
  const centred = sub(x, mean(x, dims, { keepdim: true }));
  const invstd = rsqrt(add(mean(mul(centred, centred), dims, { keepdim: true }), eps));
  const xhat = mul(centred, invstd);
  const dx = (): Tensor => {
    const scale = weight === null ? invstd : mul(invstd, channel(weight));
    const pulled = add(
      mean(grad, dims, { keepdim: true }),
      mul(xhat, mean(mul(grad, xhat), dims, { keepdim: true })),
    );
    return mul(scale, add(grad, neg(pulled)));
  };
  const perChannel = [() => sumDims(mul(grad, xhat), dims, false), () => sumDims(grad, dims, false)];
  return [dx, ...(residual ? [() => grad] : []), ...(affine ? perChannel : [])];
}

/**
 * `x` itself, or a copy, with channels (dim 1) innermost in memory from element 0 on: channels-last for
 * images.
 */
function channelsInnermost(x: Tensor): Tensor {
  const moved = [x.shape[0] as number, ...x.shape.slice(2), x.shape[1] as number];
  const dense = contiguousStrides(moved);
  const strides = [dense[0] as number, dense[dense.length - 1] as number, ...dense.slice(1, -1)];
  const fits = x.offset === 0 && x.shape.every((size, i) => size === 1 || x.strides[i] === strides[i]);
  return fits ? x : copyAs(x, strides);
}

const activated = (v: Expr, activation: Activation): Expr =>
  activation === 'relu' ? e.relu(v) : activation === 'relu6' ? e.clamp(v, 0, 6) : v;

const evalFns = new Map<string, PointwiseFn>();

/** Normalisation by running statistics with what follows it, as one pointwise op per combination. */
function evalFn(residual: boolean, activation: Activation): PointwiseFn {
  const key = `${residual}:${activation}`;
  let fn = evalFns.get(key);
  if (fn === undefined) {
    fn = rowFunction({
      name: 'batchNorm',
      kind: 'float',
      least: 6,
      expr: (x: Expr, m: Expr, v: Expr, w: Expr, b: Expr, eps: Expr, r?: Expr) => {
        const scale = e.mul(e.rsqrt(e.add(v, eps)), w);
        const y = e.add(e.mul(e.sub(x, m), scale), b);
        return activated(r === undefined ? y : e.add(y, r), activation);
      },
    });
    evalFns.set(key, fn);
  }
  return fn;
}

const scaleOf = rowFunction({
  name: 'batchNormScale',
  kind: 'float',
  expr: (v: Expr, w: Expr, eps: Expr) => e.mul(e.rsqrt(e.add(v, eps)), w),
});
const shiftOf = rowFunction({
  name: 'batchNormShift',
  kind: 'float',
  expr: (m: Expr, scale: Expr, b: Expr) => e.sub(b, e.mul(m, scale)),
});

/**
 * Evaluation-mode batch norm as a map `x * scale + shift` per channel, for the epilogue of what comes before.
 * It is kept with the running variance until one of the four changes.
 */
export function batchNormAffine(
  runningMean: Tensor,
  runningVar: Tensor,
  weight: Tensor | null,
  bias: Tensor | null,
  eps: number,
): { scale: Tensor; shift: Tensor } {
  const sources = [runningMean, weight, bias].flatMap((t) => (t === null ? [] : [t.storage]));
  const places = [runningMean, runningVar, weight, bias]
    .map((t) => t && `${t.offset}x${t.strides[0]}`)
    .join();
  const derived = (what: string, make: () => Tensor): Tensor => {
    const key = `${what}:${eps}:${runningVar.numel()}:${places}`;
    return new Tensor(
      runningVar.storage.derive(key, () => make().storage, sources),
      runningVar.shape,
      'float32',
    );
  };
  return noGrad(() => {
    const scale = derived('batchNormScale', () => scaleOf(runningVar, weight ?? 1, eps));
    return { scale, shift: derived('batchNormShift', () => shiftOf(runningMean, scale, bias ?? 0)) };
  });
}

/** What follows the running statistics. */
export type BatchNormArgs = Trailing<
  [weight: Tensor | null, bias: Tensor | null, training: boolean, momentum: number, eps: number],
  BatchNormOptions
>;

const readOptions = optionReader<Required<BatchNormOptions>>(
  'batchNorm',
  { weight: null, bias: null, training: false, momentum: 0.1, eps: 1e-5, numBatchesTracked: null },
  'weight',
  'bias',
  'training',
  'momentum',
  'eps',
);

/**
 * `torch.nn.functional.batch_norm` (Ioffe & Szegedy 2015): `x` [N, C, ...], per channel `(x - mean) /
 * sqrt(var + eps) * weight + bias`. In training the batch's biased variance normalises, and `running = (1 -
 * momentum) * running + momentum * batch` takes the unbiased one; otherwise the running statistics normalise.
 * `x` may be float16: statistics are float32 all the same, and so are weight and bias in training.
 */
export function batchNorm(
  x: Tensor,
  runningMean: Tensor | null,
  runningVar: Tensor | null,
  ...args: BatchNormArgs
): Tensor {
  for (const given of [runningMean, runningVar]) if (given !== null) checkTensors('batchNorm', given);
  return batchNormThen(x, runningMean, runningVar, readOptions(args), {});
}

/** {@link batchNorm} with more in the same launches. */
export function batchNormThen(
  x: Tensor,
  runningMean: Tensor | null,
  runningVar: Tensor | null,
  options: BatchNormOptions,
  { residual = null, activation = 'none' }: NormEpilogue,
): Tensor {
  const {
    weight = null,
    bias = null,
    training = false,
    momentum = 0.1,
    eps = 1e-5,
    numBatchesTracked = null,
  } = options;
  // PyTorch's function, though not its layers, takes an empty vector.
  if (x.ndim < 2 && !(x.ndim === 1 && x.numel() === 0))
    throw new Error(`batchNorm: expected an input of shape [N, C, ...], got ${showShape(x.shape)}`);
  elemOf('batchNorm', x.dtype);
  const channels = x.shape[1] ?? 0;
  for (const [name, t] of Object.entries({ runningMean, runningVar, weight, bias })) {
    if (t !== null && (t.ndim !== 1 || t.shape[0] !== channels)) {
      throw new Error(
        `batchNorm: input ${showShape(x.shape)} has ${channels} channels, but ${name} has shape ${showShape(t.shape)}`,
      );
    }
  }
  if (residual !== null && !(sameShape(residual.shape, x.shape) && residual.dtype === x.dtype))
    return activate(activation, add(batchNormThen(x, runningMean, runningVar, options, {}), residual));
  const channel = (t: Tensor): Tensor => reshape(t, [channels, ...x.shape.slice(2).map(() => 1)]);
  if (!training) {
    if (runningMean === null || runningVar === null)
      throw new Error('batchNorm: without training it needs runningMean and runningVar');
    const y = evalFn(residual !== null, activation)(
      x,
      channel(runningMean),
      channel(runningVar),
      weight === null ? 1 : channel(weight),
      bias === null ? 0 : channel(bias),
      eps,
      ...(residual === null ? [] : [residual]),
    );
    return to(y, x.dtype);
  }
  if (x.numel() === 0) {
    // As in PyTorch, no batch has no statistics, but it counts.
    if (numBatchesTracked !== null) noGrad(() => add_(numBatchesTracked, 1));
    const scaled = weight === null ? clone(x) : mul(x, channel(weight));
    const y = bias === null ? scaled : add(scaled, channel(bias));
    return to(activate(activation, residual === null ? y : add(y, residual)), x.dtype);
  }
  if (numel(x.shape) === channels) {
    throw new Error(
      `batchNorm: training needs more than one value per channel, got input ${showShape(x.shape)}; use a larger batch, or eval()`,
    );
  }
  for (const [name, t] of Object.entries({ runningMean, runningVar, weight, bias })) {
    if (t !== null && t.dtype !== 'float32')
      throw new Error(
        `batchNorm: training needs a float32 ${name}, got ${t.dtype}; call .float() on the layer`,
      );
  }
  const affine = weight !== null || bias !== null;
  const gamma = weight ?? (affine ? onesOf(channels) : null);
  const beta = bias ?? (affine ? add(onesOf(channels), -1) : null);
  return trainingOp(channelsInnermost(x), residual, gamma, beta, runningMean, runningVar, numBatchesTracked, {
    eps,
    momentum,
    activation,
  });
}

const onesOf = (channels: number): Tensor =>
  Tensor.fromHost(new Float32Array(channels).fill(1), [channels], 'float32');
