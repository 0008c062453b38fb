/** Batch norm in training, each way in one launch or in blocks. */
import type { Target } from '../base/kernel.js';
import type { Plan } from '../base/plan.js';
import { channelApply, channelGradApply, channelGradPartial, type ChannelsAfter } from './channels-apply.js';
import { channelsWhole, channelsWholeGrad, isWhole, wholeBindings } from './channels-whole.js';
import { channelPartials, type ChannelsProblem } from './blocks.js';
import {
  channelGradFinish,
  channelMomentsFinish,
  channelMomentsPartial,
  type MomentsFinish,
} from './channels.js';

const partialBytes = (target: Target, problem: ChannelsProblem): number =>
  4 * channelPartials(target, problem);

/**
 * `y = activation(norm(x) + residual)`, and the running statistics. Buffers: `x y stats`, and where the
 * problem says so `residual`, `gamma beta`, `runningMean runningVar`, `batches`.
 */
export function planBatchNorm(
  target: Target,
  problem: MomentsFinish,
  after: ChannelsAfter,
  eps: number,
  momentum: number,
): Plan {
  if (isWhole(target, problem) && wholeBindings(problem, after) <= target.maxStorageBuffers)
    return { launches: [channelsWhole(problem, after, eps, momentum)], workspaces: {} };
  return {
    launches: [
      ...channelMomentsPartial(target, problem),
      channelMomentsFinish(target, problem, eps, momentum),
      ...channelApply(target, problem, after),
    ],
    workspaces: { partials: partialBytes(target, problem) },
  };
}

/**
 * The way back: buffers `x dy stats dgamma dbeta`; `dx` if `needsInput`; with a residual and an activation
 * also `y`, the result, and `g`, which becomes the gradient of the residual.
 */
export function planBatchNormGrad(
  target: Target,
  problem: ChannelsProblem,
  after: ChannelsAfter,
  needsInput: boolean,
): Plan {
  if (needsInput && isWhole(target, problem))
    return { launches: [channelsWholeGrad(problem, after)], workspaces: {} };
  return {
    launches: [
      ...channelGradPartial(target, problem, after),
      channelGradFinish(target, problem),
      ...(needsInput ? channelGradApply(target, problem, after) : []),
    ],
    workspaces: { partials: partialBytes(target, problem), coefficients: 4 * 3 * problem.channels },
  };
}
