/**
 * How a [rows, channels] matrix with channels innermost is cut into blocks of rows, each of which leaves
 * partial sums per channel, and how a second launch joins those in a fixed order.
 */
import type { Kernel, Target } from '../base/kernel.js';
import { bytesOf, type BufferRef, type Elem, type Launch } from '../base/plan.js';
import { joinInTree } from '../base/team.js';
import type { Binding, EntryPoint } from '../base/shader.js';

export interface ChannelsProblem {
  readonly rows: number;
  readonly channels: number;
  /** What the matrices hold. Default f32; statistics and parameters are f32 always. */
  readonly elem?: Elem;
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

/** What a thread handles at a time. */
export interface Lane {
  readonly width: 1 | 4;
  /** What it computes in. */
  readonly T: string;
  /** An element of the matrices. */
  readonly S: string;
  /** WGSL of a matrix's element as `T`, and of a `T` as such an element. */
  readonly load: (element: string) => string;
  readonly store: (value: string) => string;
}

const asItIs = (code: string): string => code;

/** A vec4 of channels where their number allows it, else single ones. */
export function lane(channels: number, elem: Elem = 'f32'): Lane {
  const width = channels % 4 === 0 ? 4 : 1;
  const of = (scalar: Elem): string => (width === 4 ? `vec4<${scalar}>` : scalar);
  const [T, S] = [of('f32'), of(elem)];
  if (elem === 'f32') return { width, T, S, load: asItIs, store: asItIs };
  return { width, T, S, load: (element) => `${T}(${element})`, store: (value) => `${S}(${value})` };
}

export const laneOf = ({ channels, elem }: ChannelsProblem): Lane => lane(channels, elem);

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
    : `  ${joinInTree(
        `${wy / 2}u`,
        'sums[2u * lid] = s; sums[2u * lid + 1u] = q;',
        `s += sums[2u * (lid + h * ${wx}u)]; q += sums[2u * (lid + h * ${wx}u) + 1u];`,
      )}
  if (member == 0u && n > 0u) {
${finish}
  }`;

const rowBytes = ({ channels, elem = 'f32' }: ChannelsProblem): number => bytesOf(elem) * channels;

/** Rows of a block, and blocks in all. */
export function blocking(
  target: Target,
  problem: ChannelsProblem,
  pass: ChannelsPass,
): { rowsPerBlock: number; blocks: number } {
  const { rows, maxBinding = Infinity } = problem;
  let rowsPerBlock = Math.ceil(rows / rowBlocks(target, problem, pass));
  if (rows * rowBytes(problem) > maxBinding) {
    // So many rows are a multiple of 256 bytes, at which a binding may start.
    const unit = problem.elem === 'f16' ? 128 : 64;
    const fitting = Math.max(1, Math.floor(maxBinding / rowBytes(problem) / unit));
    rowsPerBlock = unit * Math.min(Math.ceil(rowsPerBlock / unit), fitting);
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

/** A second launch: which channel a thread has, and where a team shares it which member it is. */
export interface FinishThreads {
  readonly team: number;
  readonly workgroup: number;
  /** Channels of a workgroup. */
  readonly across: number;
  readonly builtins: EntryPoint['builtins'];
  readonly head: string;
  /** WGSL of a member's first block. */
  readonly first: string;
}

export function finishThreads(target: Target): FinishThreads {
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
export const joinTeam = (
  { team, across }: FinishThreads,
  slot: string,
  merge: string,
  finish: string,
): string =>
  team === 1
    ? finish
    : `  ${joinInTree(
        `${team / 2}u`,
        `joined[lid] = ${slot};`,
        `let other = joined[lid + h * ${across}u];
      ${merge}`,
      )}
  if (member == 0u && own < p.channels) {
${finish}
  }`;

/** WGSL that adds up a thread's share of the partial sums s and q of channel `c`, in lanes of `width`. */
export const sumBlocks = ({ team, first }: FinishThreads, width: number): string =>
  `  let lane = (c / ${width}u) * ${2 * width}u + c % ${width}u;
  var s = 0.0; var q = 0.0;
  for (var b = ${first}; b < p.blocks; b${team === 1 ? '++' : ` += ${team}u`}) {
    let at = b * p.channels * 2u + lane;
    s += partials[at];
    q += partials[at + ${width}u];
  }`;

/** Floats of the partials of either pass. */
export const channelPartials = (target: Target, problem: ChannelsProblem): number =>
  2 * problem.channels * blocking(target, problem, 'sums').blocks;
