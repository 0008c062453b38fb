/**
 * Per-channel statistics of a [rows, channels] matrix with channels innermost (channels-last activations, [N,
 * C] batches): what batch norm needs, in two launches each way. Rows are cut into blocks; each block leaves
 * partial results, a second launch combines them in block order, so that results do not depend on timing.
 */
import { memoKernel, type Kernel, type Target } from '../base/kernel.js';
import type { BufferRef, Launch } from '../base/plan.js';
import { reads, shader, writes, type Binding } from '../base/shader.js';

export interface ChannelsProblem {
  readonly rows: number;
  readonly channels: number;
  /** Bytes of one binding; a larger matrix is read in parts. */
  readonly maxBinding?: number;
}

/** Names of the buffers that launches bind, in the order of the bindings. */
export const namesOf = (bindings: readonly Binding[]): string[] => bindings.map(({ name }) => name);

/** Number of row blocks: enough threads to fill the adapter, few enough that combining them stays cheap. */
function rowBlocks(target: Target, { rows, channels }: ChannelsProblem): number {
  const columns = Math.ceil(channels / 4);
  const threads = target.kind === 'software' ? 512 : 32768;
  return Math.max(1, Math.min(Math.ceil(rows / 8), Math.ceil(threads / columns), 256));
}

const group = 64;

/** @internal A vec4 of channels where their number allows it, else single ones. */
export function lane(channels: number): { width: 1 | 4; T: string } {
  return channels % 4 === 0 ? { width: 4, T: 'vec4<f32>' } : { width: 1, T: 'f32' };
}

export const blockParams = [
  ['rows', 'u32'],
  ['columns', 'u32'],
  ['rowsPerBlock', 'u32'],
  ['firstBlock', 'u32'],
] as const;

/** Thread = (column of lanes, row block); x runs over columns so that neighbours read neighbouring memory. */
export const blockThread = `  let column = gid.x;
  let block = gid.y;
  if (column >= p.columns) { return; }
  let first = block * p.rowsPerBlock;
  let last = min(first + p.rowsPerBlock, p.rows);
  let n = last - first;`;

const rowBytes = ({ channels }: ChannelsProblem): number => 4 * channels;

/** Rows of a block, and blocks in all. */
function blocking(target: Target, problem: ChannelsProblem): { rowsPerBlock: number; blocks: number } {
  const { rows, maxBinding = Infinity } = problem;
  let rowsPerBlock = Math.ceil(rows / rowBlocks(target, problem));
  // 64 rows are a multiple of 256 bytes, at which a binding may start.
  if (rows * rowBytes(problem) > maxBinding) rowsPerBlock = Math.ceil(rowsPerBlock / 64) * 64;
  return { rowsPerBlock, blocks: Math.ceil(rows / rowsPerBlock) };
}

/**
 * Of the buffers, the `matrices` are bound in parts where they are larger than a binding, the `others` whole.
 */
export function blockLaunches(
  kernel: Kernel,
  target: Target,
  problem: ChannelsProblem,
  matrices: readonly string[],
  others: readonly string[],
): Launch[] {
  const { rows, channels, maxBinding = Infinity } = problem;
  const columns = channels / lane(channels).width;
  const { rowsPerBlock, blocks } = blocking(target, problem);
  const blockBytes = rowsPerBlock * rowBytes(problem);
  const whole = rows * rowBytes(problem) <= maxBinding;
  const atOnce = whole ? blocks : Math.floor(maxBinding / blockBytes);
  if (atOnce < 1) {
    throw new RangeError(
      `batchNorm: ${blockBytes} bytes of a [${rows}, ${channels}] matrix must be bound at once, the adapter binds at most ${maxBinding}`,
    );
  }
  const launches: Launch[] = [];
  for (let first = 0; first < blocks; first += atOnce) {
    const count = Math.min(rows - first * rowsPerBlock, atOnce * rowsPerBlock);
    const part = { offset: first * blockBytes, size: count * rowBytes(problem) };
    launches.push({
      kernel,
      buffers: [...matrices.map((name): BufferRef => (whole ? name : { name, ...part })), ...others],
      params: [count, columns, rowsPerBlock, first],
      grid: [Math.ceil(columns / workgroupX(target)), Math.ceil(count / rowsPerBlock), 1],
    });
  }
  return launches;
}

/** Threads along the columns of one workgroup: one number for all widths, so that they share a pipeline. */
export const workgroupX = (target: Target): number => (target.kind === 'software' ? 8 : 16);

/**
 * First launches of the forward statistics, one unless the matrix exceeds a binding. Buffers: x, partials.
 * Per block and channel: the sum of `x - pivot` and of its square, with the block's first row as pivot, so
 * that a large mean costs no digits.
 */
export function channelMomentsPartial(target: Target, problem: ChannelsProblem): Launch[] {
  const { width, T } = lane(problem.channels);
  const wx = workgroupX(target);
  const kernel = memoKernel(`channelMomentsPartial:${width}:${wx}`, () => ({
    name: 'batchNormMoments',
    params: blockParams,
    ...shader({
      bindings: [reads('x', T), writes('partials', T)],
      workgroup: wx,
      builtins: ['gid'],
      body: `${blockThread}
  let pivot = x[first * p.columns + column];
  var s0 = ${T}(); var s1 = ${T}(); var q0 = ${T}(); var q1 = ${T}();
  var at = first * p.columns + column;
  var r = 0u;
  for (; r + 4u <= n; r += 4u) {
    let a = x[at] - pivot;
    let b = x[at + p.columns] - pivot;
    let c = x[at + 2u * p.columns] - pivot;
    let d = x[at + 3u * p.columns] - pivot;
    s0 += a + b; s1 += c + d;
    q0 += a * a + b * b; q1 += c * c + d * d;
    at += 4u * p.columns;
  }
  for (; r < n; r++) {
    let a = x[at] - pivot;
    s0 += a; q0 += a * a;
    at += p.columns;
  }
  let s = s0 + s1;
  let count = f32(n);
  let mean = s / count;
  let to = ((p.firstBlock + block) * p.columns + column) * 2u;
  partials[to] = pivot + mean;
  partials[to + 1u] = max((q0 + q1) - s * mean, ${T}());`,
    }),
  }));
  return blockLaunches(kernel, target, problem, ['x'], ['partials']);
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
  const kernel = memoKernel(`channelMomentsFinish:${width}:${affine}:${running}:${counted}`, () => ({
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
      workgroup: group,
      builtins: ['gid'],
      body: `  let c = gid.x;
  if (c >= p.channels) { return; }
  // Partials are pairs of lanes of ${width}: the mean of a block, then its sum of squared deviations.
  let lane = (c / ${width}u) * ${2 * width}u + c % ${width}u;
  var count = 0.0; var mean = 0.0; var m2 = 0.0;
  for (var b = 0u; b < p.blocks; b++) {
    let at = b * p.channels * 2u + lane;
    let n = f32(min(p.rowsPerBlock, p.rows - b * p.rowsPerBlock));
    let delta = partials[at] - mean;
    let total = count + n;
    mean += delta * (n / total);
    m2 += partials[at + ${width}u] + delta * delta * (count * n / total);
    count = total;
  }
  let variance = m2 / count;
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
    }),
  }));
  const { blocks, rowsPerBlock } = blocking(target, problem);
  return {
    kernel,
    buffers: namesOf(bindings),
    params: [problem.channels, blocks, problem.rows, rowsPerBlock, eps, momentum],
    grid: [Math.ceil(problem.channels / group), 1, 1],
  };
}

/**
 * Second launch backward. Buffers: partials, stats, dgamma, dbeta, coefficients: three rows (a, b, c) with
 * `dx = a * dy + b * (x - mean) + c` (Ioffe & Szegedy 2015, section 3).
 */
export function channelGradFinish(target: Target, problem: ChannelsProblem): Launch {
  const { width } = lane(problem.channels);
  const kernel = memoKernel(`channelGradFinish:${width}`, () => ({
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
      workgroup: group,
      builtins: ['gid'],
      body: `  let c = gid.x;
  if (c >= p.channels) { return; }
  let lane = (c / ${width}u) * ${2 * width}u + c % ${width}u;
  var s = 0.0; var q = 0.0;
  for (var b = 0u; b < p.blocks; b++) {
    let at = b * p.channels * 2u + lane;
    s += partials[at];
    q += partials[at + ${width}u];
  }
  let invstd = stats[p.channels + c];
  let a = stats[2u * p.channels + c];
  dgamma[c] = q * invstd;
  dbeta[c] = s;
  coefficients[c] = a;
  coefficients[p.channels + c] = -a * invstd * invstd * q / p.rows;
  coefficients[2u * p.channels + c] = -a * s / p.rows;`,
    }),
  }));
  return {
    kernel,
    buffers: ['partials', 'stats', 'dgamma', 'dbeta', 'coefficients'],
    params: [problem.channels, blocking(target, problem).blocks, problem.rows],
    grid: [Math.ceil(problem.channels / group), 1, 1],
  };
}

/** Floats of the partials of either pass. */
export const channelPartials = (target: Target, problem: ChannelsProblem): number =>
  2 * problem.channels * rowBlocks(target, problem);
