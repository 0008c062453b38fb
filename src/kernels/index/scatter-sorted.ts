/**
 * Indexed writes of many sources for GPUs, without atomics: sources are sorted by their target, stable, and
 * runs of one target are reduced in parts whose order never changes.
 *
 * A workgroup takes a tile of sorted sources for one or several columns. Each invocation walks a few, writes
 * what begins and ends with it, and a tree over the tile joins what goes across invocations (G. Blelloch,
 * "Prefix Sums and Their Applications", 1990, 1.5: segmented scans). Where there are many targets or wide
 * rows, all sources are sorted; of what goes across tiles, `heads` has the part that ends a run, `tails` the
 * last run of a tile, and one more launch joins them. Else only blocks of the sort are in order, each has a
 * row of partial results (`table`), and the rows are folded.
 */
import { numelOf } from '../base/collapse.js';
import { dtypeInfo } from '../base/dtype.js';
import { teamSize, type Target } from '../base/kernel.js';
import { ceilDiv, powerOfTwo, type Launch, type Plan } from '../base/plan.js';
import { reads, writes, type Binding } from '../base/shader.js';
import {
  coordinatesCode,
  elementCode,
  keyOf,
  keySource,
  launchOf,
  u32,
  valuesOf,
  writeFunction,
  type Space,
  type Work,
} from './scatter-parts.js';
import type { ScatterProblem } from './scatter-problem.js';
import { blockOf, sortPairs } from './sort-team.js';

/** Sources of a column up to which one invocation may walk them all. */
const serial = 256;
/** Columns that keep a GPU busy, and how many sources one invocation walks then. */
const manyColumns = 16384;
const longWalk = 4096;
/** Sources of one invocation, and how many invocations are enough to give each that many. */
const mostEach = 16;
const invocations = 65536;
/** Bytes of pairs or partial results at a time. */
const mostBytes = 2 ** 27;
/** Columns with the same indices from which on to sort those is little beside what else is to be done. */
const wideRows = 16;
/** Partial results that one invocation folds. */
const foldOf = 32;

/** How a workgroup's invocations divide columns and the walk: `s` along it, `l` across columns. */
interface Division {
  readonly segments: number;
  readonly lanes: number;
  readonly each: number;
  readonly tiles: number;
}

const placesCode = ({ shared }: Work, { segments, lanes }: Division): string =>
  shared
    ? `let s = lid / ${lanes}u; let l = lid % ${lanes}u;`
    : `let s = lid % ${segments}u; let l = lid / ${segments}u;`;

/**
 * WGSL after which `keys` and `sums` hold from `half` on, for each invocation, the last key up to it and the
 * value of that key's run up to there.
 */
const treeCode = ({ team, values, shared }: Work, { segments, lanes }: Division): string => {
  const step = shared ? lanes : 1;
  return `keys[lid] = last;
  sums[lid] = acc;
  var half = 0u;
  for (var d = 1u; d < ${segments}u; d *= 2u) {
    workgroupBarrier();
    let mine = keys[half + lid];
    var sum = sums[half + lid];
    if (s >= d) {
      let left = half + lid - d * ${step}u;
      if (keys[left] == mine) { sum = ${values.join('sums[left]', 'sum')}; }
    }
    half = ${team}u - half;
    keys[half + lid] = mine;
    sums[half + lid] = sum;
  }
  workgroupBarrier();`;
};

const treeArrays = ({ team, values }: Work): string =>
  `var<workgroup> keys: array<u32, ${2 * team}>;
var<workgroup> sums: array<${values.type}, ${2 * team}>;`;

/** Reduces tiles of sorted sources: of the whole list into `out`, of blocks into the table's rows. */
function reduceLaunch(
  work: Work,
  length: number,
  first: number,
  pairs: string,
  division: Division,
  table: boolean,
): Launch {
  const { problem, columns, loop, values, shared, targets, team } = work;
  const { lanes, each, tiles, segments } = division;
  const { alpha, src, name, indices } = problem;
  const scaled = alpha !== undefined && alpha !== 1;
  const across = coordinatesCode('c', columns, 'column');
  const along = coordinatesCode('l', loop, 'p.first + pair.y');
  const [inSrc, inOut] = [indices.length, indices.length + 1];
  const srcColumn = elementCode('src', 'c', columns, inSrc);
  const srcAlong = elementCode('src', 'l', loop, inSrc);
  const outColumn = elementCode('out', 'c', columns, inOut);
  const write = writeFunction(work);
  const count = numelOf(columns.sizes);
  const edges = !table && tiles > 1;
  const loaded = values.load(src.dtype, `src[origin + ${srcAlong.wgsl}]`);
  const boolean = dtypeInfo[problem.out.dtype].compute === 'bool';
  const times = `f32(${loaded}) * p.alpha`;
  const value = !scaled ? loaded : boolean ? `u32(bool(${times}))` : `${values.type}(${times})`;
  const dtype = dtypeInfo[problem.out.dtype].storage;
  const bindings: (readonly [Binding, string])[] = [
    [reads('pairs', 'vec2<u32>'), pairs],
    [reads('src', dtypeInfo[src.dtype].storage), 'src'],
    table ? [writes('table', values.type), 'table'] : [writes('out', dtype), 'out'],
  ];
  if (edges) bindings.push([writes('heads', values.type), 'heads'], [writes('tails', values.type), 'tails']);
  // Of a block only what it holds itself: runs end with it.
  const bounds = table ? ['base', 'end'] : ['0u', 'p.length'];
  const tableRow = 'tile * p.targets * p.columns';
  const put = table
    ? `fn put(key: u32, start: u32, value: ${values.type}) {
  if (key != 0xffffffffu) { table[start + key * ${shared ? 'p.columns' : '1u'}] = value; }
}`
    : write.wgsl;
  const clear = `for (var i = lid; i < ${lanes}u * p.targets; i += ${team}u) {
    let c = cut / p.tiles * ${lanes}u + ${shared ? `i % ${lanes}u` : 'i / p.targets'};
    if (c < p.columns) {
      table[${tableRow} + ${shared ? `i / ${lanes}u * p.columns + c` : 'c * p.targets + i % p.targets'}] = ${values.neutral};
    }
  }
  storageBarrier();
  workgroupBarrier();`;
  const head = edges
    ? `if (key == pairs[list + base].x && base > 0u && pairs[list + base - 1u].x == key) {
      heads[tile * p.columns + column] = sum;
    } else { put(key, start, sum); }`
    : 'put(key, start, sum);';
  const step = shared ? lanes : 1;
  const lastSlot = shared
    ? `(end - 1u - base) / p.each * ${lanes}u + l`
    : `l * ${segments}u + (end - 1u - base) / p.each`;
  const body = `let tile = cut % p.tiles;
  ${placesCode(work, division)}
  let column = cut / p.tiles * ${lanes}u + l;
  let valid = column < p.columns;
  ${table ? clear : ''}
  ${across.wgsl}
  let origin = p.srcO + ${srcColumn.wgsl};
  let start = ${table ? `${tableRow} + column${shared ? '' : ' * p.targets'}` : `p.outO + ${outColumn.wgsl}`};
  let list = ${shared ? '0u' : 'column * p.length'};
  let base = tile * ${segments}u * p.each;
  let end = min(p.length, base + ${segments}u * p.each);
  let low = min(base + s * p.each, end);
  let high = select(low, min(low + p.each, end), valid);
  var acc = ${values.neutral};
  var last = 0xffffffffu;
  var headKey = 0xffffffffu;
  var headSum = acc;
  var hasHead = false;
  var open = false;
  for (var i = low; i < high; i++) {
    let pair = pairs[list + i];
    let before = last;
    last = pair.x;
    ${along.wgsl}
    let value = ${value};
    if (i == low) {
      open = low > ${bounds[0]} && pairs[list + max(low, 1u) - 1u].x == last;
      acc = value;
    } else if (before == last) {
      acc = ${values.join('acc', 'value')};
    } else {
      if (open) { headKey = before; headSum = acc; hasHead = true; } else { put(before, start, acc); }
      open = false;
      acc = value;
    }
  }
  if (low < high) {
    var closed = high == ${bounds[1]};
    if (!closed) { closed = pairs[list + high].x != last; }
    if (closed) {
      if (open) { headKey = last; headSum = acc; hasHead = true; } else { put(last, start, acc); }
    }
  }
  ${treeCode(work, division)}
  if (hasHead) {
    let key = headKey;
    var sum = headSum;
    if (s > 0u) { sum = ${values.join(`sums[half + lid - ${step}u]`, 'sum')}; }
    ${head}
  }
  ${edges ? `if (s == 0u && valid) { tails[tile * p.columns + column] = sums[half + ${lastSlot}]; }` : ''}`;
  return launchOf(work, name, {
    key: keyOf(work, 'reduce', segments, edges, table, scaled),
    bindings,
    params: [
      ...(scaled ? [['alpha', 'f32', alpha] as const] : []),
      ...u32({ columns: count, length, first, tiles, each, targets, srcO: src.offset }),
      ...(table ? [] : u32({ outO: problem.out.offset })),
      ...[across, along, srcColumn, srcAlong].flatMap((piece) => piece.params),
      ...(table ? [] : [...outColumn.params, ...write.params]),
    ],
    functions: `${put}\n${treeArrays(work)}`,
    body,
    groups: ceilDiv(count, lanes) * tiles,
  });
}

/** Joins the runs that go across tiles: a tree over the tiles of each column. */
function joinLaunch(
  work: Work,
  length: number,
  pairs: string,
  { tiles, each, segments: walked }: Division,
): Launch {
  const { problem, columns, values, shared, team } = work;
  const count = numelOf(columns.sizes);
  const lanes = shared ? Math.min(32, powerOfTwo(count), team / 2) : 1;
  const segments = team / lanes;
  const division: Division = { lanes, segments, each: ceilDiv(tiles, segments), tiles };
  const across = coordinatesCode('c', columns, 'column');
  const outColumn = elementCode('out', 'c', columns, problem.indices.length + 1);
  const write = writeFunction(work);
  const body = `${placesCode(work, division)}
  let column = cut * ${lanes}u + l;
  ${across.wgsl}
  let start = p.outO + ${outColumn.wgsl};
  let list = ${shared ? '0u' : 'column * p.length'};
  let low = min(s * p.each, p.tiles);
  let high = select(low, min(low + p.each, p.tiles), column < p.columns);
  var acc = ${values.neutral};
  var last = 0xffffffffu;
  for (var i = low; i < high; i++) {
    let tail = tails[i * p.columns + column];
    let key = pairs[list + min(p.length, (i + 1u) * p.span) - 1u].x;
    if (i > low && key == last) { acc = ${values.join('acc', 'tail')}; } else { acc = tail; }
    last = key;
  }
  ${treeCode(work, division)}
  if (s > 0u) { acc = sums[half + lid - ${shared ? lanes : 1}u]; last = keys[half + lid - ${shared ? lanes : 1}u]; }
  for (var i = low; i < high; i++) {
    let base = i * p.span;
    let end = min(p.length, base + p.span);
    let key = pairs[list + base].x;
    let tailKey = pairs[list + end - 1u].x;
    if (base > 0u && pairs[list + max(base, 1u) - 1u].x == key) {
      var ends = key != tailKey || end == p.length;
      if (!ends) { ends = pairs[list + end].x != key; }
      if (ends) {
        let head = heads[i * p.columns + column];
        put(key, start, ${values.join('acc', 'head')});
      }
    }
    let tail = tails[i * p.columns + column];
    if (i > 0u && tailKey == last) { acc = ${values.join('acc', 'tail')}; } else { acc = tail; }
    last = tailKey;
  }`;
  return launchOf(work, `${problem.name}.join`, {
    key: keyOf(work, 'join', segments),
    bindings: [
      [reads('pairs', 'vec2<u32>'), pairs],
      [reads('heads', values.type), 'heads'],
      [reads('tails', values.type), 'tails'],
      [writes('out', dtypeInfo[problem.out.dtype].storage), 'out'],
    ],
    params: [
      ...u32({ columns: count, length, tiles, each: division.each, span: walked * each }),
      ...u32({ outO: problem.out.offset }),
      ...[across, outColumn, write].flatMap((piece) => piece.params),
    ],
    functions: `${write.wgsl}\n${treeArrays(work)}`,
    body,
    groups: ceilDiv(count, lanes),
  });
}

/** Folds the table's rows, `stride` apart, by {@link foldOf}; the last time into `out`. */
function foldLaunch(work: Work, rows: number, stride: number): Launch {
  const { problem, columns, values, shared, targets, team } = work;
  const into = ceilDiv(rows, foldOf);
  const cells = numelOf(columns.sizes) * targets;
  const across = coordinatesCode('c', columns, 'column');
  const outColumn = elementCode('out', 'c', columns, problem.indices.length + 1);
  const write = writeFunction(work);
  const final = into === 1;
  const changes =
    values.type === 'f32'
      ? `bitcast<u32>(acc) != bitcast<u32>(${values.neutral})`
      : `acc != ${values.neutral}`;
  const body = `let index = cut * ${team}u + lid;
  if (index >= p.cells * p.into) { return; }
  let cell = index % p.cells;
  let first = index / p.cells * ${foldOf}u;
  var at = first * p.stride * p.cells + cell;
  let kept = at;
  var acc = table[at];
  for (var i = 1u; i < min(${foldOf}u, p.rows - first); i++) {
    at += p.stride * p.cells;
    acc = ${values.join('acc', 'table[at]')};
  }
  ${
    final
      ? `if (${changes}) {
    let column = ${shared ? 'cell % p.columns' : 'cell / p.targets'};
    ${across.wgsl}
    put(${shared ? 'cell / p.columns' : 'cell % p.targets'}, p.outO + ${outColumn.wgsl}, acc);
  }`
      : 'table[kept] = acc;'
  }`;
  return launchOf(work, `${problem.name}.fold`, {
    key: keyOf(work, 'fold', final),
    bindings: [
      [writes('table', values.type), 'table'],
      ...(final ? [[writes('out', dtypeInfo[problem.out.dtype].storage), 'out'] as const] : []),
    ],
    params: [
      ...u32({ cells, into, stride, rows, columns: numelOf(columns.sizes), targets }),
      ...(final ? u32({ outO: problem.out.offset }) : []),
      ...(final ? [across, outColumn, write].flatMap((piece) => piece.params) : []),
    ],
    functions: final ? write.wgsl : '',
    body,
    groups: ceilDiv(cells * into, team),
  });
}

/**
 * The launches, or undefined where a walk per column does as well: few sources, or columns enough.
 * `columns` and `loop` are what `problem.shape` comes to.
 */
export function makeSortedScatter(
  target: Target,
  problem: ScatterProblem,
  columns: Space,
  loop: Space,
): Plan | undefined {
  const { indices, reduce, maxBinding = Infinity } = problem;
  const count = numelOf(columns.sizes);
  const length = numelOf(loop.sizes);
  const shared = indices.every((_, m) =>
    columns.strides[m]!.every((s, d) => s === 0 || columns.sizes[d] === 1),
  );
  if (length <= serial || (!shared && count >= manyColumns && length <= longWalk)) return undefined;
  const team = teamSize(target);
  const targets = indices.reduce((n, { size }) => n * size, 1);
  const lists = shared ? 1 : count;
  const values = valuesOf(reduce, problem.out.dtype);
  const work: Work = { problem, columns, loop, shared, targets, values, team };
  const block = blockOf(team);
  const room = Math.min(maxBinding, mostBytes);
  const rowBytes = 4 * targets * count;
  const table =
    reduce !== 'assign' &&
    !(shared && count >= wideRows) &&
    targets <= block &&
    length > block &&
    rowBytes <= room / 2;
  const most = Math.min(
    Math.floor(room / (8 * lists)),
    table ? Math.floor(room / rowBytes) * block : Infinity,
    Math.floor(room / (8 * count)) * mostEach,
  );
  if (most < serial) return undefined;
  const part = most >= length ? length : most > block ? most - (most % block) : most;
  const launches: Launch[] = [];
  const workspaces: Record<string, number> = {};
  const needs = (name: string, bytes: number): void => {
    workspaces[name] = Math.max(workspaces[name] ?? 0, bytes);
  };
  for (let first = 0; first < length; first += part) {
    const n = Math.min(part, length - first);
    const sorted = sortPairs({
      name: `${problem.name}.sort`,
      team,
      rows: lists,
      length: n,
      source: keySource(work, first),
      blocksOnly: table,
    });
    launches.push(...sorted.launches);
    for (const [name, bytes] of Object.entries(sorted.workspaces)) needs(name, bytes);
    const division = divide(work, n, table);
    const { tiles } = division;
    launches.push(reduceLaunch(work, n, first, sorted.pairs, division, table));
    if (table) {
      needs('table', rowBytes * tiles);
      for (let rows = tiles, stride = 1; stride === 1 || rows > 1; stride *= foldOf) {
        launches.push(foldLaunch(work, rows, stride));
        rows = ceilDiv(rows, foldOf);
      }
    } else if (tiles > 1) {
      needs('heads', 4 * tiles * count);
      needs('tails', 4 * tiles * count);
      launches.push(joinLaunch(work, n, sorted.pairs, division));
    }
  }
  return { launches, workspaces };
}

function divide({ shared, columns, team }: Work, length: number, table: boolean): Division {
  const count = numelOf(columns.sizes);
  if (table) {
    const lanes = shared ? Math.min(8, powerOfTwo(count)) : 1;
    return {
      lanes,
      segments: team / lanes,
      each: (blockOf(team) / team) * lanes,
      tiles: ceilDiv(length, blockOf(team)),
    };
  }
  const each = Math.max(4, Math.min(mostEach, ceilDiv(length * count, invocations)));
  const room = shared ? team / Math.min(32, powerOfTwo(count)) : team;
  const segments = Math.max(2, Math.min(room, powerOfTwo(ceilDiv(length, each))));
  return { lanes: team / segments, segments, each, tiles: ceilDiv(length, segments * each) };
}
