/**
 * Per-channel statistics of a [rows, channels] matrix with channels innermost (channels-last activations, [N,
 * C] batches): what batch norm needs, in two launches each way. Rows are cut into blocks; each block leaves
 * partial results, a second launch combines them in block order, so that results do not depend on timing.
 */
import {
  blockEntry,
  blockLaunches,
  blockParams,
  blocking,
  blockShape,
  blockThread,
  finishThreads,
  joinMembers,
  joinTeam,
  lane,
  laneOf,
  memberMemory,
  namesOf,
  sumBlocks,
  type ChannelsProblem,
} from './blocks.js';
import { memoKernel, type Target } from '../base/kernel.js';
import type { Launch } from '../base/plan.js';
import { reads, shader, writes, type Binding } from '../base/shader.js';

/**
 * First launches of the forward statistics, one unless the matrix exceeds a binding. Buffers: x, partials.
 * Per block and channel: the sum of `x - pivot` and of its square, with the block's first row as pivot, so
 * that a large mean costs no digits.
 */
export function channelMomentsPartial(target: Target, problem: ChannelsProblem): Launch[] {
  const { T, S, load } = laneOf(problem);
  const shape = blockShape(target, problem);
  const { wx, wy } = shape;
  const alone = wy === 1;
  /** Elements from one of a member's rows to the k-th after it. */
  const rows = (k: number): string => (k * wy === 1 ? 'p.columns' : `${k * wy}u * p.columns`);
  const kernel = memoKernel(`channelMomentsPartial:${S}:${wx}:${wy}`, () => ({
    name: 'batchNormMoments',
    params: blockParams,
    ...shader({
      bindings: [reads('x', S), writes('partials', T)],
      functions: memberMemory(shape, T),
      ...blockEntry(shape),
      body: `${blockThread(shape)}
  let pivot = ${load(`x[first * p.columns + ${alone ? 'column' : 'min(column, p.columns - 1u)'}]`)};
  var s0 = ${T}(); var s1 = ${T}(); var q0 = ${T}(); var q1 = ${T}();
  var at = ${alone ? 'first' : '(first + member)'} * p.columns + column;
  var r = ${alone ? '0u' : 'member'};
  for (; r + ${alone ? '4u <=' : `${3 * wy}u <`} n; r += ${4 * wy}u) {
    let a = ${load('x[at]')} - pivot;
    let b = ${load(`x[at + ${rows(1)}]`)} - pivot;
    let c = ${load(`x[at + ${rows(2)}]`)} - pivot;
    let d = ${load(`x[at + ${rows(3)}]`)} - pivot;
    s0 += a + b; s1 += c + d;
    q0 += a * a + b * b; q1 += c * c + d * d;
    at += ${rows(4)};
  }
  for (; r < n; r${alone ? '++' : ` += ${wy}u`}) {
    let a = ${load('x[at]')} - pivot;
    s0 += a; q0 += a * a;
    at += ${rows(1)};
  }
  ${alone ? 'let s = s0 + s1;' : 'var s = s0 + s1; var q = q0 + q1;'}
${joinMembers(
  shape,
  `  let count = f32(n);
  let mean = s / count;
  let to = ((p.firstBlock + block) * p.columns + column) * 2u;
  partials[to] = pivot + mean;
  partials[to + 1u] = max(${alone ? '(q0 + q1)' : 'q'} - s * mean, ${T}());`,
)}`,
    }),
  }));
  return blockLaunches(kernel, target, problem, 'sums', ['x'], ['partials']);
}

export interface MomentsFinish extends ChannelsProblem {
  /** gamma and beta are bound. */
  readonly affine: boolean;
  /** Running statistics are bound and updated. */
  readonly running: boolean;
  /** The count of batches (i32) is bound and raised. */
  readonly counted: boolean;
}

/** @internal What the finished statistics go to, and what they are made with: one lane `T` per column. */
export const statisticsBindings = ({ affine, running, counted }: MomentsFinish, T: string): Binding[] => [
  writes('stats', T),
  ...(affine ? [reads('gamma', T), reads('beta', T)] : []),
  ...(running ? [writes('runningMean', T), writes('runningVar', T)] : []),
  ...(counted ? [writes('batches', 'i32')] : []),
];

/**
 * Second launch: combines the blocks (Chan, Golub & LeVeque 1979) and writes mean, 1/std and the affine map
 * of the normalisation. Buffers: partials, stats, [gamma, beta], [runningMean, runningVar], [batches].
 * `stats` holds four rows of `channels`: mean, invstd, scale, shift. Running variance takes the unbiased
 * estimate. Params: eps, momentum.
 */
export function channelMomentsFinish(
  target: Target,
  problem: MomentsFinish,
  eps: number,
  momentum: number,
): Launch {
  const { affine, running, counted } = problem;
  const { width } = lane(problem.channels);
  const bindings = [reads('partials', 'f32'), ...statisticsBindings(problem, 'f32')];
  const threads = finishThreads(target);
  const { team, workgroup, builtins, head, first } = threads;
  const key = `channelMomentsFinish:${width}:${affine}:${running}:${counted}:${team}`;
  const kernel = memoKernel(key, () => ({
    name: 'batchNormFinish',
    params: [
      ['channels', 'u32'],
      ['blocks', 'u32'],
      ['rows', 'u32'],
      ['rowsPerBlock', 'u32'],
      ['eps', 'f32'],
      ['momentum', 'f32'],
    ],
    ...shader({
      bindings,
      functions: team === 1 ? '' : `var<workgroup> joined: array<vec3<f32>, ${workgroup}>;`,
      workgroup,
      builtins,
      body: `${head}
  // Partials are pairs of lanes of ${width}: the mean of a block, then its sum of squared deviations.
  let lane = (c / ${width}u) * ${2 * width}u + c % ${width}u;
  var count = 0.0; var mean = 0.0; var m2 = 0.0;
  for (var b = ${first}; b < p.blocks; b${team === 1 ? '++' : ` += ${team}u`}) {
    let at = b * p.channels * 2u + lane;
    let n = f32(min(p.rowsPerBlock, p.rows - b * p.rowsPerBlock));
    let delta = partials[at] - mean;
    let total = count + n;
    mean += delta * (n / total);
    m2 += partials[at + ${width}u] + delta * delta * (count * n / total);
    count = total;
  }
${joinTeam(
  threads,
  'vec3<f32>(count, mean, m2)',
  `if (other.x > 0.0) {
        let total = count + other.x;
        let delta = other.y - mean;
        mean += delta * (other.x / total);
        m2 += other.z + delta * delta * (count * other.x / total);
        count = total;
      }`,
  `  let variance = m2 / count;
  let invstd = 1.0 / sqrt(variance + p.eps);
  let scale = ${affine ? 'gamma[c] * ' : ''}invstd;
  stats[c] = mean;
  stats[p.channels + c] = invstd;
  stats[2u * p.channels + c] = scale;
  stats[3u * p.channels + c] = ${affine ? 'beta[c]' : '0.0'} - mean * scale;
${
  running
    ? `  runningMean[c] = (1.0 - p.momentum) * runningMean[c] + p.momentum * mean;
  runningVar[c] = (1.0 - p.momentum) * runningVar[c] + p.momentum * (m2 / max(count - 1.0, 1.0));`
    : ''
}
${counted ? '  if (c == 0u) { batches[0] += 1; }' : ''}`,
)}`,
    }),
  }));
  const { blocks, rowsPerBlock } = blocking(target, problem, 'sums');
  return {
    kernel,
    buffers: namesOf(bindings),
    params: [problem.channels, blocks, problem.rows, rowsPerBlock, eps, momentum],
    grid: [Math.ceil(problem.channels / threads.across), 1, 1],
  };
}

/**
 * Second launch backward. Buffers: partials, stats, dgamma, dbeta, coefficients: three rows (a, b, c) with
 * `dx = a * dy + b * (x - mean) + c` (Ioffe & Szegedy 2015, section 3).
 */
export function channelGradFinish(target: Target, problem: ChannelsProblem): Launch {
  const { width } = lane(problem.channels);
  const threads = finishThreads(target);
  const { team, workgroup, builtins, head } = threads;
  const kernel = memoKernel(`channelGradFinish:${width}:${team}`, () => ({
    name: 'batchNormGradFinish',
    params: [
      ['channels', 'u32'],
      ['blocks', 'u32'],
      ['rows', 'f32'],
    ],
    ...shader({
      bindings: [
        ...['partials', 'stats'].map((name) => reads(name, 'f32')),
        ...['dgamma', 'dbeta', 'coefficients'].map((name) => writes(name, 'f32')),
      ],
      functions: team === 1 ? '' : `var<workgroup> joined: array<vec2<f32>, ${workgroup}>;`,
      workgroup,
      builtins,
      body: `${head}
${sumBlocks(threads, width)}
${joinTeam(
  threads,
  'vec2<f32>(s, q)',
  's += other.x; q += other.y;',
  `  let invstd = stats[p.channels + c];
  let a = stats[2u * p.channels + c];
  dgamma[c] = q * invstd;
  dbeta[c] = s;
  coefficients[c] = a;
  coefficients[p.channels + c] = -a * invstd * invstd * q / p.rows;
  coefficients[2u * p.channels + c] = -a * s / p.rows;`,
)}`,
    }),
  }));
  return {
    kernel,
    buffers: ['partials', 'stats', 'dgamma', 'dbeta', 'coefficients'],
    params: [problem.channels, blocking(target, problem, 'sums').blocks, problem.rows],
    grid: [Math.ceil(problem.channels / threads.across), 1, 1],
  };
}
