import { defineOp } from '../autograd/define.js';
import { isGradEnabled, noGrad } from '../autograd/mode.js';
import { fieldsOf } from '../nn/base/module.js';
import { ownChildren } from '../nn/base/tree.js';
import { BatchNorm1d, BatchNorm2d, BatchNorm3d, type Module } from '../nn/index.js';
import {
  add,
  add_,
  cat,
  clone,
  detach,
  div,
  mul,
  reshape,
  rsqrt,
  sub,
  sum,
  to,
  unbind,
  varMean,
  zeros,
} from '../ops/index.js';
import { activate } from '../ops/pointwise/activation-mask.js';
import { batchNorm, type NormEpilogue } from '../ops/norm/batch-norm.js';
import { showShape } from '../tensor/shape.js';
import { Tensor } from '../tensor/tensor.js';
import { groupFor } from './process.js';
import { readFlat, writeFlats } from './wire.js';

interface State {
  readonly eps: number;
  /** Values per channel over all ranks. */
  readonly total: Promise<number>;
}

/** All dims but the channels'. */
const dimsOf = (x: Tensor): number[] => x.shape.map((_, i) => i).filter((i) => i !== 1);
const perChannel = (v: Tensor, x: Tensor): Tensor => reshape(v, [1, -1, ...x.shape.slice(2).map(() => 1)]);

/** Row `i` of `rows`, as a vector. */
const row = (rows: Tensor, i: number): Tensor => {
  const channels = rows.shape[1] as number;
  return rows.alias([channels], [1], i * channels);
};

/**
 * Joins the ranks' statistics of a channel (Chan, Golub & LeVeque 1979): `parts` holds of each rank its
 * count, then its means, then its biased variances. Returns mean, biased and unbiased variance, and the count
 * of all.
 */
function join(parts: Float32Array, channels: number, ranks: number): { values: Float32Array; total: number } {
  const width = parts.length / ranks;
  const values = new Float32Array(3 * channels);
  const count = (rank: number): number => parts[rank * width] as number;
  let total = 0;
  for (let rank = 0; rank < ranks; rank++) total += count(rank);
  if (total < 2)
    throw new Error('SyncBatchNorm: training needs more than one value per channel over all ranks together');
  for (let c = 0; c < channels; c++) {
    let [n, mean, m2] = [0, 0, 0];
    for (let rank = 0; rank < ranks; rank++) {
      const own = count(rank);
      if (own === 0) continue;
      const at = rank * width + 1 + c;
      const delta = (parts[at] as number) - mean;
      mean += (delta * own) / (n + own);
      m2 += (parts[at + channels] as number) * own + (delta * delta * n * own) / (n + own);
      n += own;
    }
    values[c] = mean;
    values[channels + c] = m2 / total;
    values[2 * channels + c] = m2 / (total - 1);
  }
  return { values, total };
}

/** The statistics [3, C] of `x` over all ranks: mean, biased variance, unbiased variance. */
function jointStatistics(x: Tensor): { stats: Tensor; total: Promise<number> } {
  const group = groupFor('SyncBatchNorm');
  const channels = x.shape[1] as number;
  const stats = Tensor.empty([3, channels], 'float32', 'SyncBatchNorm (statistics)');
  const parts = group.allGather(ownStatistics(x), 'float32');
  const joint = parts.then((all) => join(all, channels, group.worldSize));
  writeFlats(
    joint.then(({ values }) => [values]),
    [stats],
  );
  const total = joint.then((all) => all.total);
  // An error comes up with the statistics.
  total.catch(() => undefined);
  return { stats, total };
}

/** Count, means and biased variances of this rank. */
async function ownStatistics(x: Tensor): Promise<Float32Array> {
  const channels = x.shape[1] as number;
  const count = x.numel() / channels;
  const own = new Float32Array(1 + 2 * channels);
  own[0] = count;
  if (count === 0) return own;
  const [variance, mean] = varMean(x, dimsOf(x), { correction: 0 });
  const flat = cat([mean, variance]);
  own.set((await readFlat(flat)) as Float32Array, 1);
  return own;
}

/** The ranks' sums of `rows` [R, C] over `total`. */
function jointMeans(rows: Tensor, total: Promise<number>): void {
  const sums = groupFor('SyncBatchNorm').allReduce(readFlat(rows), 'float32', 'sum');
  const means = Promise.all([sums, total]).then(([values, n]) => [
    (values as Float32Array).map((value) => value / n),
  ]);
  writeFlats(means, [rows]);
}

/**
 * The ranks' sums of `rows` [R, C] over `total`, for every rank the same. It is its own transpose: where each
 * rank has a loss of its own, the gradient is that of the sum of them.
 */
const meansOverRanks: (rows: Tensor, total: Promise<number>) => Tensor = defineOp<
  [rows: Tensor, total: Promise<number>],
  Tensor,
  Promise<number>
>({
  name: 'meansOverRanks',
  forward(ctx, rows, total) {
    ctx.state = total;
    const means = clone(rows);
    jointMeans(means, total);
    return means;
  },
  backward(ctx, grad) {
    return [() => meansOverRanks(grad, ctx.state)];
  },
});

/** The statistics that forward found, as a function of `x`: for derivatives of the gradient. */
function differentiableStats(x: Tensor, total: Promise<number>): { mean: Tensor; variance: Tensor } {
  const joint = (v: Tensor): Tensor => reshape(meansOverRanks(reshape(sumOver(v), [1, -1]), total), [-1]);
  const mean = joint(x);
  const centred = sub(x, perChannel(mean, x));
  return { mean, variance: joint(mul(centred, centred)) };
}

/** Sums per channel; zeros that depend on nothing of an empty batch. */
const sumOver = (x: Tensor): Tensor => (x.numel() === 0 ? zeros([x.shape[1] as number]) : sum(x, dimsOf(x)));

/** `x` [N, C, ...] is float32; `stats` as of {@link jointStatistics}. */
const normalise = defineOp<
  [x: Tensor, weight: Tensor | null, bias: Tensor | null, stats: Tensor, state: State],
  Tensor,
  State
>({
  name: 'syncBatchNorm',
  forward(ctx, x, weight, bias, stats, state) {
    ctx.state = state;
    ctx.save(ctx.needs.includes(true) ? x : null, stats, weight);
    if (x.numel() === 0) return zeros(x.shape);
    return batchNorm(x, row(stats, 0), row(stats, 1), { weight, bias, eps: state.eps });
  },
  backward(ctx, grad) {
    const [x, stats, weight] = ctx.saved as [Tensor, Tensor, Tensor | null];
    const { eps, total } = ctx.state;
    const channels = x.shape[1] as number;
    const { mean, variance } = isGradEnabled()
      ? differentiableStats(x, total)
      : { mean: row(stats, 0), variance: row(stats, 1) };
    const centred = sub(x, perChannel(mean, x));
    const invstd = rsqrt(add(variance, eps));
    const [own, ownCentred] = [sumOver(grad), sumOver(mul(grad, centred))];
    const dx = (): Tensor => {
      const means = meansOverRanks(reshape(cat([own, ownCentred]), [2, channels]), total);
      if (x.numel() === 0) return zeros(x.shape);
      const [mean0, mean1] = unbind(means) as [Tensor, Tensor];
      const slope = mul(mean1, mul(invstd, invstd));
      const pulled = add(perChannel(mean0, x), mul(centred, perChannel(slope, x)));
      const scale = weight === null ? invstd : mul(invstd, weight);
      return mul(sub(grad, pulled), perChannel(scale, x));
    };
    const affine = weight === null ? [] : [() => mul(ownCentred, invstd), () => own];
    return [dx, ...affine, null];
  },
});

/**
 * `torch.nn.SyncBatchNorm`: BatchNorm whose statistics in training are those of the batches of all ranks
 * together, which may differ in size; in evaluation, or with one rank, it is BatchNorm. For [N, C, ...] of
 * any number of dims. All ranks must call it in the same order.
 */
export class SyncBatchNorm extends BatchNorm2d {
  /**
   * `module` with a SyncBatchNorm in the place of every BatchNorm1d, 2d and 3d, which takes its parameters,
   * buffers and settings over; `module` itself where there is no other. To be called before the optimizer and
   * DistributedDataParallel are made.
   */
  static convertSyncBatchnorm<M extends Module>(module: M): M | SyncBatchNorm {
    const made = new Map<Module, SyncBatchNorm>();
    const instead = (norm: BatchNorm2d): SyncBatchNorm => {
      const known = made.get(norm) ?? SyncBatchNorm.from(norm);
      made.set(norm, known);
      return known;
    };
    if (isPlain(module)) return instead(module);
    for (const parent of module.modules())
      for (const [, child, property] of ownChildren<Module>(parent))
        if (isPlain(child)) fieldsOf(parent)[property] = instead(child);
    return module;
  }

  private static from(norm: BatchNorm2d): SyncBatchNorm {
    const { eps, momentum, affine, trackRunningStats, weight, bias } = norm;
    const made = new SyncBatchNorm(norm.numFeatures, { eps, momentum, affine, trackRunningStats });
    made.weight?.dispose();
    made.bias?.dispose();
    for (const buffer of made.buffers()) buffer.dispose();
    Object.assign(made, { weight, bias });
    for (const name of ['runningMean', 'runningVar', 'numBatchesTracked'] as const)
      made.registerBuffer(name, norm[name]);
    return made.train(norm.training);
  }

  protected override checkInput(x: Tensor): void {
    if (x.ndim < 2)
      throw new Error(
        `SyncBatchNorm: expected an input of at least 2 dims [N, C, ...], got shape ${showShape(x.shape)}`,
      );
    if (x.shape[1] !== this.numFeatures)
      throw new Error(
        `SyncBatchNorm: input ${showShape(x.shape)} has ${x.shape[1]} channels, the layer ${this.numFeatures}`,
      );
  }

  /** @internal */
  protected override forwardThen(x: Tensor, after: NormEpilogue): Tensor {
    const { runningMean, runningVar } = this;
    const own = this.training || runningMean === null || runningVar === null;
    if (!own || groupFor('SyncBatchNorm').worldSize === 1) return super.forwardThen(x, after);
    this.checkInput(x);
    const { weight, bias, eps } = this;
    const wide = to(x, 'float32');
    const { stats, total } = noGrad(() => jointStatistics(detach(wide)));
    if (this.training && this.trackRunningStats && runningMean !== null && runningVar !== null)
      this.track(runningMean, runningVar, stats);
    const y = to(normalise(wide, weight, bias, stats, { eps, total }), x.dtype);
    const { residual = null, activation = 'none' } = after;
    return activate(activation, residual === null ? y : add(y, residual));
  }

  private track(runningMean: Tensor, runningVar: Tensor, stats: Tensor): void {
    const { momentum, numBatchesTracked } = this;
    noGrad(() => {
      if (numBatchesTracked !== null) add_(numBatchesTracked, 1);
      const blend = (running: Tensor, fresh: Tensor): void => {
        const step = sub(fresh, running);
        if (momentum !== null) add_(running, mul(step, momentum));
        else if (numBatchesTracked !== null) add_(running, div(step, numBatchesTracked));
      };
      blend(runningMean, row(stats, 0));
      blend(runningVar, row(stats, 2));
    });
  }
}

const isPlain = (module: Module): module is BatchNorm2d =>
  !(module instanceof SyncBatchNorm) &&
  (module instanceof BatchNorm2d || module instanceof BatchNorm1d || module instanceof BatchNorm3d);
