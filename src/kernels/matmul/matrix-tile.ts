/**
 * `shared` tiles whose staged operands are multiplied by subgroup matrices: four subgroups, two by two, have
 * 4x4 or 2x2 blocks of a tile each and add them up in float32
 * (https://github.com/KhronosGroup/GLSL/blob/main/extensions/khr/GLSL_KHR_cooperative_matrix.txt, in WGSL by
 * Dawn's experimental `chromium_experimental_subgroup_matrix`). Rows of the staged operands are padded by 16
 * bytes, so that a column of them lies in many banks. At the end the blocks go through workgroup memory, one
 * of each subgroup at a time, to be stored by whichever invocation.
 */
import type { MatrixConfig, Target } from '../base/kernel.js';
import type { Elem } from '../base/plan.js';
import type { EntryPoint } from '../base/shader.js';
import {
  range,
  rightLoadsOf,
  sharedDepth,
  sharedLeftLoads,
  tileCols,
  tileRows,
  tileThreads,
  xyzw,
  type Major,
  type MatrixTile,
  type Right,
  type Tile,
  type TileRows,
} from './tile-shape.js';

/** Subgroups of a workgroup, and along each axis of its tile. */
const subgroups = 4;
const across = 2;

/** A tile with its matrices. */
export type WithMatrices = Tile & { readonly matrices: MatrixTile };

/** A tile of `blocks` x `blocks` per subgroup; undefined where its invocations do not divide its loads. */
function matrixTile(
  config: MatrixConfig,
  mode: MatrixTile['mode'],
  blocks: number,
  depth: 16 | 32,
): WithMatrices | undefined {
  const [rows, columns] = [across * blocks * config.m, across * blocks * config.n];
  const threads = subgroups * config.subgroup;
  const vectors = columns > 64 ? 2 : 1;
  const lanes = columns / 4 / vectors;
  const lanesY = threads / lanes;
  const matrices = { ...config, mode };
  const shape = { rows: rows / lanesY, cols: 4 as const, lanes, lanesY, vectors, depth } as const;
  const tile: WithMatrices = { style: 'shared', ...shape, matrices };
  const whole = [tile.rows, lanesY, sharedLeftLoads(tile), rightLoadsOf(tile), threads / (columns / 4)];
  return whole.every(Number.isInteger) ? tile : undefined;
}

/** Elements of padding that make 16 bytes. */
const bytesOf = (elem: Elem): number => (elem === 'f16' ? 2 : 4);
const padding = (t: WithMatrices): number => 16 / bytesOf(t.matrices.elem);
const leftStride = (t: WithMatrices): number => sharedDepth(t) + padding(t);
const rightStride = (t: WithMatrices): number => tileCols(t) + padding(t);
const leftSize = (t: WithMatrices): number => tileRows(t) * leftStride(t);
const rightSize = (t: WithMatrices): number => sharedDepth(t) * rightStride(t);
const sumsSize = ({ matrices: { m, n } }: WithMatrices): number => subgroups * m * n;

/** Bytes of workgroup memory. */
export const matrixBytes = (t: WithMatrices): number =>
  (leftSize(t) + rightSize(t)) * bytesOf(t.matrices.elem) + 4 * sumsSize(t);

/**
 * The tiles of the best configuration for tensors of type `elem` that the adapter has room for, with their
 * shares of what its matrix units can do, the largest first. Float32 tensors want float32 operands.
 */
export function matrixRows(target: Target, elem: Elem): (readonly [Tile, share: number])[] {
  if (target.kind !== 'gpu' || !target.matrices) return [];
  const { mode, configs } = target.matrices;
  for (const config of configs) {
    if (elem === 'f32' && config.elem !== 'f32') continue;
    const rows = ([4, 2] as const).flatMap((blocks) => {
      const tile = ([32, 16] as const)
        .map((depth) => matrixTile(config, mode, blocks, depth))
        .find((t) => t && matrixBytes(t) <= target.maxWorkgroupStorage);
      return tile && tileThreads(tile) <= target.maxInvocations ? [[tile, blocks / 4] as const] : [];
    });
    if (rows.length > 0) return rows;
  }
  return [];
}

/** Blocks of a subgroup along rows and columns. */
const blockRows = (t: WithMatrices): number => tileRows(t) / across / t.matrices.m;
const blockCols = (t: WithMatrices): number => tileCols(t) / across / t.matrices.n;
const eachBlock = <R>(t: WithMatrices, f: (i: number, j: number) => R): R[] =>
  range(blockRows(t)).flatMap((i) => range(blockCols(t)).map((j) => f(i, j)));

/** What the adapter's matrix units do. */
function native(t: WithMatrices): string {
  const { m, n, k, elem } = t.matrices;
  return `alias Left = subgroup_matrix_left<${elem}, ${k}, ${m}>;
alias Right = subgroup_matrix_right<${elem}, ${n}, ${k}>;
alias Block = subgroup_matrix_result<f32, ${n}, ${m}>;
fn loadLeft(at: u32) -> Left { return subgroupMatrixLoad<Left, row_major>(&left, at, ${leftStride(t)}u); }
fn loadRight(at: u32) -> Right { return subgroupMatrixLoad<Right, row_major>(&right, at, ${rightStride(t)}u); }
fn multiplyBlock(l: Left, r: Right, block: ptr<function, Block>) {
  *block = subgroupMatrixMultiplyAccumulate(l, r, *block);
}
fn keepBlock(block: ptr<function, Block>, at: u32) {
  subgroupMatrixStore<row_major>(&sums, at, *block, ${n}u);
}`;
}

/**
 * WGSL of the end of a loop of `n` passes. Software adapters must not foresee it, or they write all passes
 * out, which takes them minutes to compile.
 */
const end = (t: WithMatrices, n: number, zero = 'nwg.x >> 31u'): string =>
  t.matrices.mode === 'native' ? `${n}u` : `${n}u + (${zero})`;

/** The same by loops: the invocations of a subgroup divide a block's elements among them. */
function emulated(t: WithMatrices): string {
  const { m, n, k, subgroup } = t.matrices;
  const own = (m * n) / subgroup;
  return `alias Block = array<f32, ${own}>;
var<private> matrixLane: u32;
var<private> matrixZero: u32;
fn loadLeft(at: u32) -> u32 { return at; }
fn loadRight(at: u32) -> u32 { return at; }
fn multiplyBlock(l: u32, r: u32, block: ptr<function, Block>) {
  for (var i = 0u; i < ${end(t, own, 'matrixZero')}; i++) {
    let at = i * ${subgroup}u + matrixLane;
    var sum = (*block)[i];
    for (var k = 0u; k < ${end(t, k, 'matrixZero')}; k++) {
      let a = f32(left[l + at / ${n}u * ${leftStride(t)}u + k]);
      sum += a * f32(right[r + k * ${rightStride(t)}u + at % ${n}u]);
    }
    (*block)[i] = sum;
  }
}
fn keepBlock(block: ptr<function, Block>, at: u32) {
  for (var i = 0u; i < ${end(t, own, 'matrixZero')}; i++) { sums[at + i * ${subgroup}u + matrixLane] = (*block)[i]; }
}`;
}

export function matrixMemory(t: WithMatrices): string {
  const { elem, mode } = t.matrices;
  return `var<workgroup> left: array<${elem}, ${leftSize(t)}>;
var<workgroup> right: array<${elem}, ${rightSize(t)}>;
var<workgroup> sums: array<f32, ${sumsSize(t)}>;
${mode === 'native' ? native(t) : emulated(t)}`;
}

/** Invocations are numbered in one dimension, as subgroup matrices want it. */
export const matrixEntryPoint = (t: WithMatrices): EntryPoint => ({
  workgroup: tileThreads(t),
  builtins: ['wid', 'nwg', 'index', ...(t.matrices.mode === 'native' ? (['subgroup'] as const) : [])],
});

/**
 * All invocations stand at the tile's first row and column, for what other tiles know by their place in it.
 */
export function matrixHead(t: WithMatrices): string {
  const { mode, subgroup } = t.matrices;
  return `  let lid = vec2<u32>(0u);
  ${mode === 'native' ? '' : `let subgroup = index / ${subgroup}u;\n  matrixLane = index % ${subgroup}u;\n  matrixZero = nwg.x >> 31u;`}`;
}

/** WGSL for the first row and column of subgroup `s` in the tile. */
const subRow = (t: WithMatrices, s: string): string => `(${s} / ${across}u) * ${tileRows(t) / across}u`;
const subCol = (t: WithMatrices, s: string): string => `(${s} % ${across}u) * ${tileCols(t) / across}u`;

export const matrixAccumulators = (t: WithMatrices): string =>
  [
    ...eachBlock(t, (i, j) => `  var block${i}_${j} = Block();`),
    `  let matrixRow = ${subRow(t, 'subgroup')};`,
    `  let matrixCol = ${subCol(t, 'subgroup')};`,
  ].join('\n');

/** Stages `a0..` and `b0..` (along columns) or `t0..` (along k). */
function stage(t: WithMatrices, major: Major, right: Right): string {
  const depth = sharedDepth(t);
  const threads = tileThreads(t);
  const [alongK, perK, columns] = [depth / 4, threads / depth, tileCols(t) / 4];
  const [ls, rs] = [leftStride(t), rightStride(t)];
  const { elem } = t.matrices;
  const four = (array: string, vector: string, at: (c: number) => string): string[] =>
    xyzw.map((c, j) => `    ${array}[${at(j)}] = ${elem}(${vector}.${c});`);
  const lefts = range(sharedLeftLoads(t)).flatMap((i) =>
    four('left', `a${i}`, (j) =>
      major === 'k'
        ? `(tid / ${alongK}u + ${(i * threads) / alongK}u) * ${ls}u + (tid % ${alongK}u) * 4u + ${j}u`
        : `((tid % ${perK}u + ${i * perK}u) * 4u + ${j}u) * ${ls}u + tid / ${perK}u`,
    ),
  );
  const rights = range(rightLoadsOf(t)).flatMap((q) =>
    right === 'columns'
      ? four('right', `b${q}`, (j) => {
          const k = `tid / ${columns}u + ${(q * threads) / columns}u`;
          return `(${k}) * ${rs}u + (tid % ${columns}u) * 4u + ${j}u`;
        })
      : four('right', `t${q}`, (j) => {
          const line = `tid / ${alongK}u + ${(q * threads) / alongK}u`;
          return `((tid % ${alongK}u) * 4u + ${j}u) * ${rs}u + ${line}`;
        }),
  );
  return [...lefts, ...rights].join('\n');
}

/**
 * The loop over `slices` slices; `loads` as in shared-tile.ts. The blocks leave no registers to load ahead.
 */
export function matrixLoop(
  t: WithMatrices,
  major: Major,
  right: Right,
  slices: string,
  loads: string,
): string {
  const { m, n, k } = t.matrices;
  const rows = range(blockRows(t));
  const lefts = rows.map(
    (i) => `      let l${i} = loadLeft((matrixRow + ${i * m}u) * ${leftStride(t)}u + kk);`,
  );
  const blocks = range(blockCols(t)).flatMap((j) => [
    `      let r${j} = loadRight(kk * ${rightStride(t)}u + matrixCol + ${j * n}u);`,
    ...rows.map((i) => `      multiplyBlock(l${i}, r${j}, &block${i}_${j});`),
  ]);
  return `  let slices = ${slices};
  for (var slice = 0u; slice < slices; slice++) {
${loads}
    workgroupBarrier();
${stage(t, major, right)}
    workgroupBarrier();
    for (var kk = 0u; kk < ${end(t, sharedDepth(t))}; kk += ${k}u) {
${[...lefts, ...blocks].join('\n')}
    }
  }`;
}

/** As `forRows` of tile.ts: hands on the blocks, one of each subgroup at a time. */
export function matrixForRows(t: WithMatrices, rows: string, inside: string, o: TileRows): string {
  const { m, n, subgroup } = t.matrices;
  const cols = blockCols(t);
  const cases = eachBlock(
    t,
    (i, j) => `case ${i * cols + j}u: { keepBlock(&block${i}_${j}, subgroup * ${m * n}u); }`,
  );
  return `  let kept = index / ${subgroup}u;
  for (var block = 0u; block < ${end(t, cols * blockRows(t))}; block++) {
    workgroupBarrier();
    switch block {
      ${cases.join('\n')}
      default: {}
    }
    workgroupBarrier();
    for (var part = index % ${subgroup}u; part < ${(m * n) / 4}u; part += ${subgroup}u) {
      let r = ${subRow(t, 'kept')} + (block / ${cols}u) * ${m}u + part / ${n / 4}u;
      let col = colBlock * ${tileCols(t) / 4}u + (${subCol(t, 'kept')} + (block % ${cols}u) * ${n}u) / 4u + part % ${n / 4}u;
      if (row0 + r < ${rows} && (${inside})) {
        let keptAt = kept * ${m * n}u + part * 4u;
        let sum = vec4<f32>(${range(4)
          .map((j) => `sums[keptAt + ${j}u]`)
          .join(', ')});
        ${o.columns ?? ''}
        ${o.first?.('r') ?? ''}
        ${o.store('r', 'sum')}
      }
    }
  }`;
}
