/**
 * Register tiles shared by gemm and the convolutions. An invocation owns `rows` rows by one vector of `cols`
 * columns of the output and adds up outer products.
 *
 * - `subgroup`: the lanes of one subgroup lie along the columns. Each lane loads one vector of the left
 * operand and `subgroupBroadcast` hands its parts to all lanes, so the left operand costs one load per
 * eight rows. On lavapipe this is four times as fast as any tile without it, because loads are its limit.
 * - `register`: no subgroups; every invocation loads its own rows.
 * - `shared`: for real GPUs. A workgroup stages a slice of its rows and columns in workgroup memory and reads
 * it back as register tiles of 4x4 to 8x8 (shared-tile.ts).
 *
 * The left operand is either contiguous along the summed index (`k`: a load gives four k of one row) or along
 * rows (`row`: a load gives four rows at one k).
 */
import type { Enable, Kernel, Target } from '../base/kernel.js';
import { reads, shader, type Binding, type EntryPoint } from '../base/shader.js';
import {
  matrixAccumulators,
  matrixEntryPoint,
  matrixForRows,
  matrixHead,
  matrixMemory,
} from './matrix-tile.js';
import {
  hasMatrices,
  sharedLeftK,
  sharedLeftRow,
  sharedMemory,
  sharedRightCol,
  sharedRightK,
} from './shared-tile.js';
import {
  products,
  range,
  rightLoadsOf,
  sharedDepth,
  sharedLeftLoads,
  sumName,
  tileCols,
  tileRows,
  tileVectors,
  xyzw,
  type Cols,
  type Major,
  type Right,
  type Tile,
  type TileRows,
} from './tile-shape.js';
import { epilogueBuffers, type Elem, type Epilogue, type EpilogueActivation } from '../base/plan.js';

export * from './tile-shape.js';

/** Whether the eight-lane broadcast kernels run: their row loads assume exactly eight lanes in lockstep. */
export const hasBroadcast = (target: Target): boolean =>
  target.kind === 'software' && target.subgroupSize === 8;

/**
 * What one step of four k costs a broadcast tile, relative to a multiply-add of one vector of four columns:
 * it loads a left vector per eight rows and four right vectors. From measured products; loads are dear on the
 * software driver, so tall tiles win.
 */
export const stepCost = (rows: number, cols: Cols): number => (cols / 4) * rows * 4 + 12 * (rows / 8 + cols);

/** Rows of broadcast tiles; there is a taller one for large products. */
export const tileHeights = [8, 16] as const;

export const vecType = (n: number, elem: Elem = 'f32'): string => (n === 1 ? elem : `vec${n}<${elem}>`);
/** WGSL that widens a loaded value of element type `elem` to f32. */
export const widen = (n: number, elem: Elem, expr: string): string =>
  elem === 'f32' ? expr : `${vecType(n)}(${expr})`;
export const narrow = (n: number, elem: Elem, expr: string): string =>
  elem === 'f32' ? expr : `${vecType(n, elem)}(${expr})`;

/** Component `i` of a WGSL vector of `n`, where a vector of one is a scalar. */
export const component = (expr: string, i: number, n: number): string =>
  n === 1 ? expr : `${expr}.${xyzw[i]}`;

/** How many left-operand vectors one invocation loads per step. */
export function leftLoads(t: Tile, major: Major): number {
  if (t.style === 'shared') return sharedLeftLoads(t);
  if (t.style === 'subgroup') return t.rows / 8;
  return major === 'row' ? t.rows / 4 : t.rows;
}

/** Number of k that one step covers. */
export const stepK = (t: Tile): number => (t.style === 'shared' ? sharedDepth(t) : 4);

/** Number of right-operand vectors along the columns that one invocation loads per step. */
export const rightLoads = (t: Tile): number => (t.style === 'shared' ? rightLoadsOf(t) : 4);

/** WGSL for the row that left load `i` of this invocation starts at. */
export function leftRow(t: Tile, major: Major, i: number): string {
  if (t.style === 'shared') return sharedLeftRow(t, major, i);
  if (t.style === 'register') return `row0 + ${(major === 'row' ? 4 : 1) * i}u`;
  // Along rows, the lower four lanes hold one vector of four rows at four k, the upper four lanes the next
  // vector.
  return major === 'row' ? `row0 + ${8 * i}u + (lane >> 2u) * 4u` : `row0 + ${8 * i}u + lane`;
}

/**
 * WGSL for the k, from the step's first, of this invocation's left loads; a `register` tile loads all k along
 * rows.
 */
export function leftK(t: Tile, major: Major): string {
  if (t.style === 'shared') return sharedLeftK(t, major);
  return major === 'row' && t.style === 'subgroup' ? '(lane & 3u)' : '0u';
}

/** WGSL for the k, from the step's first, of right load `q`, and for its column in vectors. */
export const rightK = (t: Tile, q: number): string => (t.style === 'shared' ? sharedRightK(t, q) : `${q}u`);
export const rightCol = (t: Tile): string => (t.style === 'shared' ? sharedRightCol(t) : 'col');

/** WGSL that a load assigns to `name` by: the loads of a `shared` tile are to last until the next slice. */
export const loaded = (t: Tile, name: string): string => (t.style === 'shared' ? name : `let ${name}`);

/** Workgroup memory of a tile. */
function tileMemory(t: Tile, right: Right): string {
  if (t.style !== 'shared') return '';
  return hasMatrices(t) ? matrixMemory(t) : sharedMemory(t, right);
}

/** WGSL for this invocation's first column, in vectors: of its first vector of columns, or of vector `v`. */
export const tileCol = (t: Tile, v = 0): string =>
  `colBlock * ${t.lanes * tileVectors(t)}u + lane${v === 0 ? '' : ` + ${v * t.lanes}u`}`;

/**
 * WGSL that declares `tid` and `blockRow` for the loads of a `shared` tile; `blockRow` is the tile's first
 * row.
 */
export const sharedHead = (t: Tile): string =>
  hasMatrices(t)
    ? '  let tid = index;\n  let blockRow = row0;'
    : t.style === 'shared'
      ? `  let tid = lid.y * ${t.lanes}u + lid.x;\n  let blockRow = row0 - lid.y * ${t.rows}u;`
      : '';

function entryPoint(t: Tile): EntryPoint {
  if (hasMatrices(t)) return matrixEntryPoint(t);
  const workgroup = t.lanesY === 1 ? t.lanes : `${t.lanes}, ${t.lanesY}`;
  return { workgroup, builtins: ['wid', 'nwg', 'lid.xyz'] };
}

/** What the WGSL of a tile over elements of type `elem` enables. */
const tileEnables = (t: Tile, elems: readonly Elem[]): Enable[] => [
  ...(t.style === 'subgroup' || t.matrices?.mode === 'native' ? (['subgroups'] as const) : []),
  ...(t.matrices?.elem === 'f16' || elems.includes('f16') ? (['f16'] as const) : []),
  ...(t.matrices?.mode === 'native' ? (['chromium_experimental_subgroup_matrix'] as const) : []),
];

/**
 * The shader of a tile over elements of the types `elems`, whose right operand lies along `right`; `body`
 * sees `wid`, `nwg` and `lid`, in two dimensions.
 */
export function tileShader(
  t: Tile,
  right: Right,
  elems: readonly Elem[],
  bindings: readonly Binding[],
  body: string,
): Pick<Kernel, 'wgsl' | 'bindings' | 'enables'> {
  return {
    ...shader({
      bindings,
      functions: tileMemory(t, right),
      ...entryPoint(t),
      body: `${hasMatrices(t) ? matrixHead(t) : ''}\n${body}`,
    }),
    enables: tileEnables(t, elems),
  };
}

/** Declares `row0`, `lane`, `col` (in vectors). `block` and `colBlock` are u32 expressions. */
export function tileHead(t: Tile): string {
  return `  let lane = lid.x;
  let colBlock = wid.y % p.colBlocks;
  let row0 = ((wid.y / p.colBlocks) * nwg.x + wid.x) * ${tileRows(t)}u${t.lanesY > 1 ? ` + lid.y * ${t.rows}u` : ''};
  let col = ${tileCol(t)};
${sharedHead(t)}`;
}

/** Grid for {@link tileHead}: row blocks fold into y when there are too many. */
export function tileGrid(
  t: Tile,
  rows: number,
  columns: number,
  z: number,
): readonly [number, number, number] {
  const blocks = Math.max(1, Math.ceil(rows / tileRows(t)));
  const colBlocks = tileColBlocks(t, columns);
  const x = Math.min(blocks, 32768);
  return [x, Math.ceil(blocks / x) * colBlocks, z];
}
export const tileColBlocks = (t: Tile, columns: number): number =>
  Math.max(1, Math.ceil(columns / tileCols(t)));

export function declareAccumulators(t: Tile): string {
  if (hasMatrices(t)) return matrixAccumulators(t);
  return range(tileVectors(t))
    .flatMap((v) => range(t.rows).map((r) => `  var ${sumName(r, v)} = ${vecType(t.cols)}(0.0);`))
    .join('\n');
}

/**
 * WGSL that runs `store` for every row of the tile below `rows`, where `inside` holds of the columns: its
 * arguments are the row's number in the tile, a u32, and its sums; `first` comes before, in uniform control
 * flow on a broadcast tile, and `columns` before all rows. A broadcast tile goes round a loop: written out,
 * the checks of every lane's every store take its driver longer to compile than all the rest. All see `col`,
 * which in a tile of several vectors of columns is each of them in turn.
 */
export function forRows(t: Tile, rows: string, inside: string, o: TileRows): string {
  if (hasMatrices(t)) return matrixForRows(t, rows, inside, o);
  const all = range(t.rows);
  const { columns = '', store, first = () => '' } = o;
  if (t.style !== 'subgroup') {
    const stores = (v: number): string =>
      all
        .map((r) => `  if (row0 + ${r}u < ${rows}) { ${first(`${r}u`)} ${store(`${r}u`, sumName(r, v))} }`)
        .join('\n');
    const one = `${columns}\n  if (!(${inside})) { return; }\n${stores(0)}`;
    if (tileVectors(t) === 1) return one;
    return range(tileVectors(t))
      .map(
        (v) => `  {\n  let col = ${tileCol(t, v)};\n  if (${inside}) {\n${columns}\n${stores(v)}\n  }\n  }`,
      )
      .join('\n');
  }
  return `${columns}
  var sums = array<${vecType(t.cols)}, ${t.rows}>(${all.map((r) => `c${r}`).join(', ')});
  let storedRows = min(${t.rows}u, max(${rows}, row0) - row0);
  for (var r = 0u; r < storedRows; r++) {
    ${first('r')}
    if (${inside}) { let sum = sums[r]; ${store('r', 'sum')} }
  }`;
}

/**
 * The arithmetic of one step. Expects left vectors `a0..` ({@link leftLoads}) and right vectors `b0..b3`,
 * each this invocation's columns at one k. A `register` tile with a `row`-major left operand expects the left
 * vectors of all four k, named `a{i}_{k}`; a `subgroup` tile expects that of k number `lane & 3`. A `shared`
 * tile has a loop of its own. `fma` is fused by newer software drivers and a product and a sum on older ones
 * (docs/platform.md).
 */
export function multiplyAdd(t: Tile, major: Major): string {
  if (t.style !== 'subgroup') return products(t, major);
  const lines: string[] = [];
  for (let r = 0; r < t.rows; r++) {
    for (let k = 0; k < 4; k++) {
      const left =
        major === 'k'
          ? `subgroupBroadcast(a${r >> 3}.${xyzw[k]}, ${r & 7}u)`
          : `subgroupBroadcast(a${r >> 3}.${xyzw[r & 3]}, ${(r & 4) + k}u)`;
      lines.push(`      c${r} = fma(${vecType(t.cols)}(${left}), b${k}, c${r});`);
    }
  }
  return lines.join('\n');
}

/** Bindings of the epilogue; the per-column ones as vectors when `vectors` is set. */
export const epilogueBindings = (e: Epilogue, cols: number, vectors: boolean, elem: Elem): Binding[] =>
  epilogueBuffers(e).map((name) => reads(name, vecType(vectors ? cols : 1, elem)));

/**
 * WGSL: the activation on `v` of type `T`, by comparison rather than `max`: some adapters' `max` drops a NaN
 * that PyTorch keeps.
 */
export function activate(v: string, activation: EpilogueActivation = 'none', T: string): string {
  const clip = (name: string, high: boolean): string =>
    `${name} = select(${name}, ${T}(0.0), ${name} < ${T}(0.0)); ` +
    (high ? `${name} = select(${name}, ${T}(6.0), ${name} > ${T}(6.0)); ` : '');
  switch (activation) {
    case 'none':
      return '';
    case 'relu':
    case 'relu6':
      return clip(v, activation === 'relu6');
    case 'silu':
      return `${v} = ${v} / (${T}(1.0) + exp(-${v})); `;
    case 'hardswish':
      return `var gate = ${v} + 3.0; ${clip('gate', true)}${v} = ${v} * gate / 6.0; `;
  }
}

/** What the epilogue holds per column, in the order it is applied. */
const perColumn = ['bias', 'scale', 'shift'] as const;

/** The `count` scalars of `name` from `index` on, widened to f32. */
const scalars = (count: number, elem: Elem, name: string, index: string): string =>
  `${vecType(count)}(${range(count)
    .map((i) => widen(1, elem, `${name}[${index} + ${i}u]`))
    .join(', ')})`;

/**
 * WGSL that loads what the epilogue holds for this invocation's columns, ahead of its {@link storeRow}s:
 * once, because a compiler must take every store for one into these buffers too. `column` is the first
 * column, in vectors where the operands are bound so.
 */
export function epilogueColumns(
  e: Epilogue,
  opts: { cols: number; vectors: boolean; elem: Elem; column: string },
): string {
  const { cols, vectors, elem, column } = opts;
  return perColumn
    .filter((name) => e[name])
    .map((name) => {
      const value = vectors
        ? widen(cols, elem, `${name}[${column}]`)
        : scalars(cols, elem, name, `(${column})`);
      return `  let ${name}V = ${value};`;
    })
    .join('\n');
}

/**
 * WGSL statements that apply the epilogue to `value` and store it, for one row, after {@link
 * epilogueColumns}. `index` is the element index of the row's first column of this vector in the output,
 * `residualIndex` likewise. With `vectors` the output is bound as vectors and the indices are in vectors;
 * else columns from `columns` on are left alone, `column` being this vector's first.
 */
export function storeRow(
  e: Epilogue,
  opts: {
    cols: Cols;
    vectors: boolean;
    elem: Elem;
    out: string;
    value: string;
    index: string;
    residualIndex: string;
    column: string;
    columns: string;
    accumulate?: boolean;
  },
): string {
  const { cols, vectors, elem, out, index } = opts;
  const load = (name: string, at: string): string =>
    vectors ? widen(cols, elem, `${name}[${at}]`) : scalars(cols, elem, name, `(${at})`);
  let v = opts.value;
  for (const name of perColumn) if (e[name]) v = `(${v} ${name === 'scale' ? '*' : '+'} ${name}V)`;
  if (e.residual) v = `(${v} + ${load('residual', opts.residualIndex)})`;
  if (opts.accumulate) v = `(${v} + ${load(out, index)})`;
  const stores = vectors
    ? `${out}[${index}] = ${narrow(cols, elem, 'v')};`
    : range(cols)
        .map((i) => {
          const value = narrow(1, elem, component('v', i, cols));
          return `if (${opts.column} + ${i}u < ${opts.columns}) { ${out}[${index} + ${i}u] = ${value}; }`;
        })
        .join('\n      ');
  return `{ var v = ${v}; ${activate('v', e.activation, vecType(cols))}${stores} }`;
}
