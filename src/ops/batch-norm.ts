import { runtime } from '../device/index.js';
import { defineOp } from '../autograd/define.js';
import { isGradEnabled } from '../autograd/mode.js';
import {
  channelGradFinish,
  channelGradPartial,
  channelMomentsFinish,
  channelMomentsPartial,
  channelPartials,
  type BlocksLaunch,
  type ChannelsLaunch,
  type ChannelsProblem,
} from '../kernels/channels.js';
import { e, input, type Expr } from '../kernels/expr.js';
import { contiguousStrides, numel, showShape } from '../tensor/shape.js';
import { Tensor } from '../tensor/tensor.js';
import { launchPointwise, type Pointwise } from './apply.js';
import { copyAs, copyInto } from './copy.js';
import { add, mul, neg, rsqrt, sub } from './pointwise.js';
import { mean } from './reduce.js';
import { sumDims } from './sum-to.js';
import { rowFunction } from './row.js';
import { rowMajor } from './run-plan.js';
import { reshape } from './view.js';

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
}

const normalised: Pointwise = {
  name: 'batchNorm',
  expr: e.add(e.mul(input(0), input(1)), input(2)),
  inputs: ['float32', 'float32', 'float32'],
  dtype: 'float32',
  params: [],
};

const inputGradient: Pointwise = {
  name: 'batchNormBackward',
  // x, dy, a, b, mean, c
  expr: e.add(e.add(e.mul(input(2), input(1)), e.mul(input(3), e.sub(input(0), input(4)))), input(5)),
  inputs: ['float32', 'float32', 'float32', 'float32', 'float32', 'float32'],
  dtype: 'float32',
  params: [],
};

/** `x` seen as [rows, channels], channels innermost; its memory must already lie so. */
const asRows = (x: Tensor, { rows, channels }: State): Tensor => x.alias([rows, channels], [channels, 1]);

const problemOf = ({ rows, channels }: State): ChannelsProblem => ({
  rows,
  channels,
  maxBinding: runtime().maxBinding,
});

function dispatch({ kernel, params, grid }: ChannelsLaunch, buffers: readonly Tensor[]): void {
  runtime().dispatch(
    kernel,
    buffers.map((tensor) => tensor.deviceBuffer),
    params,
    grid,
  );
}

/** @param matrices are bound in parts where the launches say so; `others` whole */
function dispatchBlocks(
  launches: readonly BlocksLaunch[],
  matrices: readonly Tensor[],
  others: readonly Tensor[],
): void {
  for (const { kernel, params, grid, part } of launches) {
    const bound = matrices.map(({ deviceBuffer: buffer }) => (part ? { buffer, ...part } : buffer));
    runtime().dispatch(kernel, [...bound, ...others.map((tensor) => tensor.deviceBuffer)], params, grid);
  }
}

/** One row of a [n, channels] table as an operand that broadcasts over rows. */
const row = (table: Tensor, i: number, channels: number): Tensor =>
  table.alias([channels], [1], i * channels);

/** `x` must be stored with channels innermost from element 0 on. */
const trainingOp: (
  x: Tensor,
  weight: Tensor | null,
  bias: Tensor | null,
  runningMean: Tensor | null,
  runningVar: Tensor | null,
  batches: Tensor | null,
  options: { eps: number; momentum: number },
) => Tensor = defineOp<
  [
    Tensor,
    Tensor | null,
    Tensor | null,
    Tensor | null,
    Tensor | null,
    Tensor | null,
    { eps: number; momentum: number },
  ],
  Tensor,
  State & { affine: boolean; inputs: number }
>({
  name: 'batchNorm',
  forward(ctx, x, weight, bias, runningMean, runningVar, batches, { eps, momentum }) {
    const channels = x.shape[1] as number;
    const state = { rows: x.numel() / channels, channels, eps };
    ctx.state = { ...state, affine: weight !== null, inputs: ctx.needs.length };
    const { target } = runtime();
    const problem = problemOf(state);
    const partials = Tensor.empty([channelPartials(target, problem)], 'float32', 'batchNorm (partials)');
    dispatchBlocks(channelMomentsPartial(target, problem), [x], [partials]);
    const stats = Tensor.empty([4, channels], 'float32', 'batchNorm (statistics)');
    const affine = weight !== null && bias !== null ? [rowMajor(weight), rowMajor(bias)] : [];
    const targets = runningMean !== null && runningVar !== null ? [runningMean, runningVar] : [];
    const running = targets.map(rowMajor);
    const finish = {
      ...problem,
      affine: affine.length > 0,
      running: running.length > 0,
      counted: batches !== null,
    };
    dispatch(channelMomentsFinish(target, finish, eps, momentum), [
      partials,
      stats,
      ...affine,
      ...running,
      ...(batches ? [batches] : []),
    ]);
    batches?.storage.bumpVersion('batchNorm');
    targets.forEach((tensor, i) => {
      if (running[i] !== tensor) copyInto(tensor, running[i] as Tensor);
      tensor.storage.bumpVersion('batchNorm');
    });
    const y = Tensor.empty(x.shape, 'float32', 'batchNorm', x.strides);
    launchPointwise(
      normalised,
      [asRows(x, state), row(stats, 2, channels), row(stats, 3, channels)],
      [],
      asRows(y, state),
      false,
    );
    ctx.save(x, stats, ctx.needs[0] ? weight : null);
    return y;
  },
  backward(ctx, grad) {
    const { state } = ctx;
    const [x, stats, weight] = ctx.saved as [Tensor, Tensor, Tensor | null];
    if (isGradEnabled()) return differentiable(x, weight, grad, state);
    const { target } = runtime();
    const dy = channelsInnermost(grad);
    const { channels } = state;
    const problem = problemOf(state);
    const partials = Tensor.empty(
      [channelPartials(target, problem)],
      'float32',
      'batchNormBackward (partials)',
    );
    dispatchBlocks(channelGradPartial(target, problem), [x, dy], [stats, partials]);
    const [dgamma, dbeta] = [
      Tensor.empty([channels], 'float32', 'batchNormBackward'),
      Tensor.empty([channels], 'float32', 'batchNormBackward'),
    ];
    const coefficients = Tensor.empty([3, channels], 'float32', 'batchNormBackward (coefficients)');
    dispatch(channelGradFinish(target, problem), [partials, stats, dgamma, dbeta, coefficients]);
    const dx = (): Tensor => {
      const out = Tensor.empty(x.shape, 'float32', 'batchNormBackward', x.strides);
      const at = (i: number): Tensor => row(coefficients, i, channels);
      launchPointwise(
        inputGradient,
        [asRows(x, state), asRows(dy, state), at(0), at(1), row(stats, 0, channels), at(2)],
        [],
        asRows(out, state),
        false,
      );
      return out;
    };
    return [dx, () => dgamma, () => dbeta].slice(0, state.affine ? 3 : 1);
  },
});

/** The same gradient made of ordinary ops, for `createGraph`. */
function differentiable(x: Tensor, weight: Tensor | null, grad: Tensor, { eps }: State): (() => Tensor)[] {
  const dims = x.shape.map((_, i) => i).filter((i) => i !== 1);
  const channel = (t: Tensor): Tensor => reshape(t, [1, -1, ...dims.slice(1).map(() => 1)]);
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
  const all = [dx, () => sumDims(mul(grad, xhat), dims, false), () => sumDims(grad, dims, false)];
  return weight === null ? all.slice(0, 1) : all;
}

/** `x` itself, or a copy, with channels (dim 1) innermost in memory from element 0 on: channels-last for images. */
function channelsInnermost(x: Tensor): Tensor {
  const moved = [x.shape[0] as number, ...x.shape.slice(2), x.shape[1] as number];
  const dense = contiguousStrides(moved);
  const strides = [dense[0] as number, dense[dense.length - 1] as number, ...dense.slice(1, -1)];
  const fits = x.offset === 0 && x.shape.every((size, i) => size === 1 || x.strides[i] === strides[i]);
  return fits ? x : copyAs(x, strides);
}

const evalFn = rowFunction({
  name: 'batchNorm',
  kind: 'float',
  expr: (x: Expr, m: Expr, v: Expr, w: Expr, b: Expr, eps: Expr) => {
    const scale = e.mul(e.rsqrt(e.add(v, eps)), w);
    return e.add(e.mul(e.sub(x, m), scale), b);
  },
});

/**
 * `torch.nn.functional.batch_norm` (Ioffe & Szegedy 2015): `x` [N, C, ...], per channel
 * `(x - mean) / sqrt(var + eps) * weight + bias`. In training the batch's biased variance normalises, and
 * `running = (1 - momentum) * running + momentum * batch` takes the unbiased one; otherwise the running statistics normalise.
 */
export function batchNorm(
  x: Tensor,
  runningMean: Tensor | null,
  runningVar: Tensor | null,
  options: BatchNormOptions = {},
): Tensor {
  const {
    weight = null,
    bias = null,
    training = false,
    momentum = 0.1,
    eps = 1e-5,
    numBatchesTracked = null,
  } = options;
  if (x.ndim < 2)
    throw new Error(`batchNorm: expected an input of shape [N, C, ...], got ${showShape(x.shape)}`);
  if (x.dtype !== 'float32') throw new Error(`batchNorm: expected a float32 input, got ${x.dtype}`);
  const channels = x.shape[1] as number;
  for (const [name, t] of Object.entries({ runningMean, runningVar, weight, bias })) {
    if (t !== null && (t.ndim !== 1 || t.shape[0] !== channels)) {
      throw new Error(
        `batchNorm: input ${showShape(x.shape)} has ${channels} channels, but ${name} has shape ${showShape(t.shape)}`,
      );
    }
  }
  if (!training) {
    if (runningMean === null || runningVar === null)
      throw new Error('batchNorm: without training it needs runningMean and runningVar');
    const channel = (t: Tensor): Tensor => reshape(t, [channels, ...x.shape.slice(2).map(() => 1)]);
    return evalFn(
      x,
      channel(runningMean),
      channel(runningVar),
      weight === null ? 1 : channel(weight),
      bias === null ? 0 : channel(bias),
      eps,
    );
  }
  const perChannel = numel(x.shape) / Math.max(1, channels);
  if (perChannel <= 1) {
    throw new Error(
      `batchNorm: training needs more than one value per channel, got input ${showShape(x.shape)}; use a larger batch, or eval()`,
    );
  }
  const affine = weight !== null || bias !== null;
  const gamma = weight ?? (affine ? onesOf(channels) : null);
  const beta = bias ?? (affine ? add(onesOf(channels), -1) : null);
  return trainingOp(channelsInnermost(x), gamma, beta, runningMean, runningVar, numBatchesTracked, {
    eps,
    momentum,
  });
}

const onesOf = (channels: number): Tensor =>
  Tensor.fromHost(new Float32Array(channels).fill(1), [channels], 'float32');
