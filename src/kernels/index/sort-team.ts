/**
 * Stable sorting of pairs (u32 key, position on the line) for GPUs. A workgroup sorts blocks in its memory:
 * four pairs per invocation by a network in registers, then runs that double, each invocation writing four
 * neighbours of the merged run (O. Green et al., "GPU Merge Path", ICS 2012). Longer lines are merged in
 * passes over tiles of the same size: bisection in storage tells a workgroup which part of either run its
 * tile is made of, and these come into its memory whole. Equal keys keep their order because the left run
 * goes first.
 *
 * What is sorted and where it ends up is up to a {@link KeySource} and a {@link PairSink}. Workspaces
 * `pairs0` and `pairs1`, of a pair per element: `[row][position]`.
 */
import { foldGrid, linearWorkgroup, memoKernel, type Fault, type Kernel } from '../base/kernel.js';
import { ceilDiv, powerOfTwo, type Launch } from '../base/plan.js';
import { reads, shader, writes, type Binding } from '../base/shader.js';

/** Parameters of a launch by their names, all u32. */
export type NamedParams = Readonly<Record<string, number>>;

interface Part {
  /** Determines the rest but the values of the parameters. */
  readonly key: string;
  /** What it binds: WGSL, and the plan's name of the buffer. */
  readonly binds: readonly { readonly binding: Binding; readonly buffer: string }[];
  readonly params: NamedParams;
  /** WGSL of the module. */
  readonly functions?: string;
}

/** Where keys come from. */
export interface KeySource extends Part {
  /** WGSL statements that set `key`, a u32, for element `position` of line `row`. */
  readonly load: string;
  readonly fault?: Fault;
}

/** Where pairs go that are in order. */
export interface PairSink extends Part {
  /** How many of each line. */
  readonly keep: number;
  /** WGSL statements that write `pair` as number `position` of line `row`. */
  readonly store: string;
}

export interface PairSort {
  readonly name: string;
  readonly team: number;
  readonly rows: number;
  readonly length: number;
  readonly source: KeySource;
  /** Without one the pairs stay in the workspace. */
  readonly sink?: PairSink;
  /** Only runs of so many neighbours are brought into order: one block (`blockOf`). */
  readonly blocksOnly?: boolean;
}

const perInvocation = 4;

/** Pairs in a workgroup's memory. */
export const blockOf = (team: number): number => perInvocation * team;

/** Which four of two runs come next, from offset `first` of their merge on; `b` counts from `middle`. */
const takeCode = (ends: { a: string; b: string }): string =>
  Array.from(
    { length: perInvocation },
    (_, i) => `{ var left = b >= ${ends.b};
  if (a < ${ends.a} && !left) { left = items[head + a].x <= items[middle + b].x; }
  e${i} = items[min(select(middle + b, head + a, left), SIZE - 1u)];
  a += select(0u, 1u, left); b += select(1u, 0u, left); }`,
  ).join('\n  ');

/** WGSL: `low` is how many of the first `d` of two merged runs come from the left one. */
const splitCode = (
  left: string,
  right: string,
  a: string,
  b: string,
): string => `var low = select(0u, d - ${b}, d > ${b});
  var high = min(d, ${a});
  while (low < high) {
    let mid = (low + high) / 2u;
    if (${left} <= ${right}) { low = mid + 1u; } else { high = mid; }
  }`;

const putBack = Array.from({ length: perInvocation }, (_, i) => `items[own + ${i}u] = e${i};`).join(' ');

const before = (a: string, b: string): string => `(${a}.x < ${b}.x || (${a}.x == ${b}.x && ${a}.y < ${b}.y))`;

/** Batcher's odd-even merge sort of 4. */
// prettier-ignore
const network = [[0, 1], [2, 3], [0, 2], [1, 3], [1, 2]] as const;
const networkCode = network
  .map(
    ([a, b]) =>
      `{ let swap = ${before(`e${b}`, `e${a}`)}; let low = select(e${a}, e${b}, swap); e${b} = select(e${b}, e${a}, swap); e${a} = low; }`,
  )
  .join('\n  ');

const toPairs = (workspace: string, keep: number): PairSink => ({
  key: 'pairs',
  binds: [{ binding: writes('to', 'vec2<u32>'), buffer: workspace }],
  params: {},
  keep,
  store: 'to[row * p.length + position] = pair;',
});

interface KernelParts {
  readonly name: string;
  readonly team: number;
  readonly key: string;
  readonly parts: readonly Part[];
  readonly params: NamedParams;
  readonly body: string;
  readonly fault?: Fault | undefined;
}

/** A launch of one workgroup for each of `groups`; what its parts have in common is bound once. */
function teamLaunch({ name, team, key, parts, params, body, fault }: KernelParts): Launch {
  const binds = new Map(parts.flatMap((part) => part.binds.map((b) => [b.binding.name, b] as const)));
  const all: NamedParams = Object.assign({}, params, ...parts.map((part) => part.params));
  const size = blockOf(team);
  const kernel = memoKernel(
    `sort-team|${[name, team, key, ...parts.map((part) => part.key)].join('|')}`,
    (): Kernel => ({
      name,
      ...shader({
        bindings: [...binds.values()].map(({ binding }) => binding),
        functions: `${parts.map((part) => part.functions ?? '').join('\n')}
var<workgroup> items: array<vec2<u32>, ${size}>;`,
        workgroup: team,
        builtins: ['wid', 'nwg', 'lid'],
        body: `  let cut = ${linearWorkgroup};
  if (cut >= p.groups) { return; }
  let own = lid * ${perInvocation}u;
  ${body.replaceAll('SIZE', `${size}u`)}`,
      }),
      params: Object.keys(all).map((n) => [n, 'u32']),
      ...(fault && { fault }),
    }),
  );
  return {
    kernel,
    buffers: [...binds.values()].map(({ buffer }) => buffer),
    params: Object.values(all),
    grid: foldGrid(params['groups']!),
  };
}

/** Sorts blocks: of long lines the runs that are merged later, of short ones several lines at once. */
function blockLaunch(
  { name, team, rows, length, source }: PairSort,
  sink: PairSink,
  adjacent: boolean,
): Launch {
  const size = blockOf(team);
  const slots = Math.min(size, Math.max(perInvocation, powerOfTwo(length)));
  const together = size / slots;
  const tiles = ceilDiv(length, size);
  const groups = ceilDiv(rows, together) * tiles;
  const across = adjacent && together > 1;
  const each = (body: string): string => `for (var i = lid; i < SIZE; i += ${team}u) {
    let row = cut / p.tiles * ${together}u + ${across ? `i % ${together}u` : `i / ${slots}u`};
    let place = ${across ? `i / ${together}u` : `i % ${slots}u`};
    let slot = ${across ? `i % ${together}u * ${slots}u + place` : 'i'};
    let position = cut % p.tiles * SIZE + place;
    ${body}
  }`;
  // Places behind a line's end come last: no key is larger, and equal ones keep their order.
  const body = `${each(`var key = 0xffffffffu;
    if (row < p.rows && position < p.length) { ${source.load} }
    items[slot] = vec2<u32>(key, position);`)}
  workgroupBarrier();
  ${Array.from({ length: perInvocation }, (_, i) => `var e${i} = items[own + ${i}u];`).join(' ')}
  ${networkCode}
  ${putBack}
  for (var run = ${perInvocation}u; run < ${slots}u; run *= 2u) {
    workgroupBarrier();
    let head = own - own % (2u * run);
    let middle = head + run;
    let d = own - head;
    ${splitCode('items[head + mid].x', 'items[middle + d - 1u - mid].x', 'run', 'run')}
    var a = low;
    var b = d - low;
    ${takeCode({ a: 'run', b: 'run' })}
    workgroupBarrier();
    ${putBack}
  }
  workgroupBarrier();
  ${each(`if (row < p.rows && position < p.keep) { let pair = items[slot]; ${sink.store} }`)}`;
  return teamLaunch({
    name,
    team,
    key: `block|${slots}|${across}`,
    parts: [source, sink],
    params: { groups, rows, length, tiles, keep: sink.keep },
    body,
    fault: source.fault,
  });
}

/** Merges runs of `run` elements, of which each is in order, two by two. */
function mergeLaunch(
  { name, team, rows, length }: PairSort,
  run: number,
  from: string,
  sink: PairSink,
): Launch {
  const size = blockOf(team);
  const tiles = ceilDiv(sink.keep, size);
  const body = `let row = cut / p.tiles;
  let line = row * p.length;
  let first = cut % p.tiles * SIZE;
  let count = min(SIZE, p.length - first);
  let begin = first - first % (2u * p.run);
  let second = min(begin + p.run, p.length);
  let end = min(begin + 2u * p.run, p.length);
  if (lid < 2u) {
    let d = first - begin + lid * count;
    ${splitCode('source[line + begin + mid].x', 'source[line + second + d - 1u - mid].x', '(second - begin)', '(end - second)')}
    items[lid].x = low;
  }
  workgroupBarrier();
  let skip = items[0].x;
  let middle = items[1].x - skip;
  workgroupBarrier();
  for (var i = lid; i < count; i += ${team}u) {
    let other = second + (first - begin - skip) + i - middle;
    items[i] = source[line + select(other, begin + skip + i, i < middle)];
  }
  workgroupBarrier();
  let head = 0u;
  let d = min(own, count);
  ${splitCode('items[mid].x', 'items[middle + d - 1u - mid].x', 'middle', '(count - middle)')}
  var a = low;
  var b = d - low;
  ${Array.from({ length: perInvocation }, (_, i) => `var e${i} = vec2<u32>();`).join(' ')}
  ${takeCode({ a: 'middle', b: 'count - middle' })}
  workgroupBarrier();
  ${putBack}
  workgroupBarrier();
  for (var i = lid; i < count; i += ${team}u) {
    let position = first + i;
    if (position < p.keep) { let pair = items[i]; ${sink.store} }
  }`;
  const binds = [{ binding: reads('source', 'vec2<u32>'), buffer: from }];
  return teamLaunch({
    name,
    team,
    key: 'merge',
    parts: [{ key: '', binds, params: {} }, sink],
    params: { groups: rows * tiles, length, tiles, keep: sink.keep, run },
    body,
  });
}

export interface SortedPairs {
  readonly launches: readonly Launch[];
  /** The workspace that has the pairs, where there is no sink. */
  readonly pairs: string;
  readonly workspaces: Readonly<Record<string, number>>;
}

/** `adjacent`: neighbouring lines are closer together in memory than neighbours on a line. */
export function sortPairs(problem: PairSort, adjacent = false): SortedPairs {
  const { team, rows, length, sink, blocksOnly = false } = problem;
  const size = blockOf(team);
  const bytes = 8 * rows * length;
  let at = 0;
  const launches: Launch[] = [];
  const whole = length <= size || blocksOnly;
  launches.push(
    blockLaunch(problem, whole ? (sink ?? toPairs('pairs0', length)) : toPairs('pairs0', length), adjacent),
  );
  for (let run = size; run < length && !whole; run *= 2) {
    const last = 2 * run >= length ? sink : undefined;
    launches.push(mergeLaunch(problem, run, `pairs${at}`, last ?? toPairs(`pairs${1 - at}`, length)));
    at = 1 - at;
  }
  const used = whole ? (sink ? 0 : 1) : Math.min(2, launches.length - (sink ? 1 : 0));
  const workspaces = Object.fromEntries(Array.from({ length: used }, (_, i) => [`pairs${i}`, bytes]));
  return { launches, pairs: `pairs${at}`, workspaces };
}
