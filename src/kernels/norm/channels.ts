/**
 * Per-channel statistics of a [rows, channels] matrix with channels innermost (channels-last activations, [N,
 * C] batches): what batch norm needs, in two launches each way. Rows are cut into blocks; each block leaves
 * partial results, a second launch combines them in block order, so that results do not depend on timing.
 */
import { memoKernel, type Kernel, type Target } from '../base/kernel.js';
import type { BufferRef, Launch } from '../base/plan.js';
import { reads, shader, writes, type Binding, type EntryPoint } from '../base/shader.js';

export interface ChannelsProblem {
  readonly rows: number;
  readonly channels: number;
  /** Bytes of one binding; a larger matrix is read in parts. */
  readonly maxBinding?: number;
}

/** Names of the buffers that launches bind, in the order of the bindings. */
export const namesOf = (bindings: readonly Binding[]): string[] => bindings.map(({ name }) => name);

/**
 * What a pass over the matrix does with a block of rows: `sums` leaves one partial result per column, `apply`
 * a result per element.
 */
export type ChannelsPass = 'sums' | 'apply';

/** A workgroup: threads along the columns, and members of a column that take turns at the rows of a block. */
export interface BlockShape {
  readonly wx: number;
  readonly wy: number;
}

/**
 * A software adapter walks a block in one thread. A GPU hides the latency of its memory with some hundred
 * thousand threads, and reads whole lines where neighbours have neighbouring columns.
 */
export function blockShape(target: Target, { channels }: ChannelsProblem): BlockShape {
  if (target.kind === 'software') return { wx: 8, wy: 1 };
  const columns = channels / lane(channels).width;
  const wx = Math.min(16, 2 ** Math.ceil(Math.log2(columns)));
  return { wx, wy: Math.min(256, target.maxInvocations) / wx };
}

/** Rows of each member of a workgroup in `apply`. */
const appliedRows = 4;
/** Partial results that are joined, at most. */
const maxBlocks = { software: 256, gpu: 512 };

/** Number of row blocks: enough threads to fill the adapter, few enough that combining them stays cheap. */
function rowBlocks(target: Target, problem: ChannelsProblem, pass: ChannelsPass): number {
  const { rows, channels } = problem;
  if (target.kind === 'software') {
    const columns = Math.ceil(channels / 4);
    return Math.max(1, Math.min(Math.ceil(rows / 8), Math.ceil(512 / columns), maxBlocks.software));
  }
  const { wx, wy } = blockShape(target, problem);
  if (pass === 'apply') return Math.min(Math.ceil(rows / (appliedRows * wy)), 32768);
  const across = Math.ceil(channels / lane(channels).width / wx);
  return Math.max(1, Math.min(Math.ceil(rows / (appliedRows * wy)), Math.ceil(512 / across), maxBlocks.gpu));
}

/** Threads of the second launches. */
const group = { software: 64, gpu: 256 };
/** Those of a channel, which take turns at its blocks. */
const finishTeam = (target: Target): number =>
  target.kind === 'software' || target.maxInvocations < group.gpu ? 1 : 32;

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

/**
 * Thread = (column of lanes, row block, member); x runs over columns so that neighbours read neighbouring
 * memory. Threads without a column have no rows: they meet the barriers.
 */
export const blockThread = ({ wx, wy }: BlockShape): string =>
  wy === 1
    ? `  let column = gid.x;
  let block = gid.y;
  if (column >= p.columns) { return; }
  let first = block * p.rowsPerBlock;
  let last = min(first + p.rowsPerBlock, p.rows);
  let n = last - first;`
    : `  let column = wid.x * ${wx}u + lid % ${wx}u;
  let member = lid / ${wx}u;
  let block = wid.y;
  let first = block * p.rowsPerBlock;
  let last = select(first, min(first + p.rowsPerBlock, p.rows), column < p.columns);
  let n = last - first;`;

/** Of a kernel with {@link blockThread}. */
export const blockEntry = ({ wx, wy }: BlockShape): EntryPoint =>
  wy === 1 ? { workgroup: wx, builtins: ['gid'] } : { workgroup: wx * wy, builtins: ['wid', 'lid'] };

/** Workgroup memory that {@link joinMembers} needs. */
export const memberMemory = ({ wx, wy }: BlockShape, T: string): string =>
  wy === 1 ? '' : `var<workgroup> sums: array<${T}, ${2 * wx * wy}>;`;

/** Adds the members' `s` and `q` up; the first one then has the whole sums and runs `finish`. */
export const joinMembers = ({ wx, wy }: BlockShape, finish: string): string =>
  wy === 1
    ? finish
    : `  sums[2u * lid] = s; sums[2u * lid + 1u] = q;
  workgroupBarrier();
  for (var h = ${wy / 2}u; h > 0u; h = h >> 1u) {
    if (member < h) {
      s += sums[2u * (lid + h * ${wx}u)]; q += sums[2u * (lid + h * ${wx}u) + 1u];
      sums[2u * lid] = s; sums[2u * lid + 1u] = q;
    }
    workgroupBarrier();
  }
  if (member == 0u && n > 0u) {
${finish}
  }`;

const rowBytes = ({ channels }: ChannelsProblem): number => 4 * channels;

/** Rows of a block, and blocks in all. */
function blocking(
  target: Target,
  problem: ChannelsProblem,
  pass: ChannelsPass,
): { rowsPerBlock: number; blocks: number } {
  const { rows, maxBinding = Infinity } = problem;
  let rowsPerBlock = Math.ceil(rows / rowBlocks(target, problem, pass));
  if (rows * rowBytes(problem) > maxBinding) {
    // 64 rows are a multiple of 256 bytes, at which a binding may start.
    const fitting = Math.max(1, Math.floor(maxBinding / rowBytes(problem) / 64));
    rowsPerBlock = 64 * Math.min(Math.ceil(rowsPerBlock / 64), fitting);
  }
  return { rowsPerBlock, blocks: Math.ceil(rows / rowsPerBlock) };
}

/**
 * Of the buffers, the `matrices` are bound in parts where they are larger than a binding, the `others` whole.
 */
export function blockLaunches(
  kernel: Kernel,
  target: Target,
  problem: ChannelsProblem,
  pass: ChannelsPass,
  matrices: readonly string[],
  others: readonly string[],
): Launch[] {
  const { rows, channels, maxBinding = Infinity } = problem;
  const columns = channels / lane(channels).width;
  const { rowsPerBlock, blocks } = blocking(target, problem, pass);
  const { wx } = blockShape(target, problem);
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
      grid: [Math.ceil(columns / wx), Math.ceil(count / rowsPerBlock), 1],
    });
  }
  return launches;
}

/**
 * First launches of the forward statistics, one unless the matrix exceeds a binding. Buffers: x, partials.
 * Per block and channel: the sum of `x - pivot` and of its square, with the block's first row as pivot, so
 * that a large mean costs no digits.
 */
export function channelMomentsPartial(target: Target, problem: ChannelsProblem): Launch[] {
  const { width, T } = lane(problem.channels);
  const shape = blockShape(target, problem);
  const { wx, wy } = shape;
  const alone = wy === 1;
  /** Elements from one of a member's rows to the k-th after it. */
  const rows = (k: number): string => (k * wy === 1 ? 'p.columns' : `${k * wy}u * p.columns`);
  const kernel = memoKernel(`channelMomentsPartial:${width}:${wx}:${wy}`, () => ({
    name: 'batchNormMoments',
    params: blockParams,
    ...shader({
      bindings: [reads('x', T), writes('partials', T)],
      functions: memberMemory(shape, T),
      ...blockEntry(shape),
      body: `${blockThread(shape)}
  let pivot = x[first * p.columns + ${alone ? 'column' : 'min(column, p.columns - 1u)'}];
  var s0 = ${T}(); var s1 = ${T}(); var q0 = ${T}(); var q1 = ${T}();
  var at = ${alone ? 'first' : '(first + member)'} * p.columns + column;
  var r = ${alone ? '0u' : 'member'};
  for (; r + ${alone ? '4u <=' : `${3 * wy}u <`} n; r += ${4 * wy}u) {
    let a = x[at] - pivot;
    let b = x[at + ${rows(1)}] - pivot;
    let c = x[at + ${rows(2)}] - pivot;
    let d = x[at + ${rows(3)}] - pivot;
    s0 += a + b; s1 += c + d;
    q0 += a * a + b * b; q1 += c * c + d * d;
    at += ${rows(4)};
  }
  for (; r < n; r${alone ? '++' : ` += ${wy}u`}) {
    let a = x[at] - pivot;
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

/** A second launch: which channel a thread has, and where a team shares it which member it is. */
interface FinishThreads {
  readonly team: number;
  readonly workgroup: number;
  /** Channels of a workgroup. */
  readonly across: number;
  readonly builtins: EntryPoint['builtins'];
  readonly head: string;
  /** WGSL of a member's first block. */
  readonly first: string;
}

function finishThreads(target: Target): FinishThreads {
  const team = finishTeam(target);
  if (team === 1) {
    const head = `  let c = gid.x;
  if (c >= p.channels) { return; }`;
    return { team, workgroup: group.software, across: group.software, builtins: ['gid'], head, first: '0u' };
  }
  const across = group.gpu / team;
  const head = `  let own = wid.x * ${across}u + lid % ${across}u;
  let member = lid / ${across}u;
  // Threads without a channel meet the barriers.
  let c = min(own, p.channels - 1u);`;
  return { team, workgroup: group.gpu, across, builtins: ['wid', 'lid'], head, first: 'member' };
}

/** Runs `merge` for the members `other` of a team, until the first one has all, which then runs `finish`. */
const joinTeam = ({ team, across }: FinishThreads, slot: string, merge: string, finish: string): string =>
  team === 1
    ? finish
    : `  joined[lid] = ${slot};
  workgroupBarrier();
  for (var h = ${team / 2}u; h > 0u; h = h >> 1u) {
    if (member < h) {
      let other = joined[lid + h * ${across}u];
      ${merge}
      joined[lid] = ${slot};
    }
    workgroupBarrier();
  }
  if (member == 0u && own < p.channels) {
${finish}
  }`;

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
  const { team, workgroup, builtins, head, first } = threads;
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
  let lane = (c / ${width}u) * ${2 * width}u + c % ${width}u;
  var s = 0.0; var q = 0.0;
  for (var b = ${first}; b < p.blocks; b${team === 1 ? '++' : ` += ${team}u`}) {
    let at = b * p.channels * 2u + lane;
    s += partials[at];
    q += partials[at + ${width}u];
  }
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

/** Floats of the partials of either pass. */
export const channelPartials = (target: Target, problem: ChannelsProblem): number =>
  2 * problem.channels * blocking(target, problem, 'sums').blocks;
