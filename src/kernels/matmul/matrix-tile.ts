/**
 * The parts of a `shared` tile of 64x64 that differ when subgroup matrices multiply: 256 invocations stage 64
 * rows, 64 columns and 16 k in workgroup memory as float16, and each of eight subgroups adds up two blocks of
 * 16x16 in float32
 * (https://github.com/KhronosGroup/GLSL/blob/main/extensions/khr/GLSL_KHR_cooperative_matrix.txt, in WGSL by
 * Dawn's experimental `chromium_experimental_subgroup_matrix`). At the end the blocks go through workgroup
 * memory to the tile's own 4x4 sums, and on as ever.
 */
import type { EntryPoint } from '../base/shader.js';

/** Subgroups must have this size: eight of them make a workgroup. */
export const matrixSubgroup = 32;
/** Rows, columns and k of one matrix. */
export const matrixSize = 16;
/** Bytes of workgroup memory: two float16 operands of 64x16, and half of the 64x64 sums at a time. */
export const matrixStorage = 2 * 64 * 16 * 2 + 64 * 32 * 4;

const left = `subgroup_matrix_left<f16, ${matrixSize}, ${matrixSize}>`;
const right = `subgroup_matrix_right<f16, ${matrixSize}, ${matrixSize}>`;

/** What the adapter's matrix units do; `row` and `col` are a block's first. */
const native = `alias Block = subgroup_matrix_result<f32, ${matrixSize}, ${matrixSize}>;
fn multiplyBlock(block: ptr<function, Block>, row: u32, col: u32) {
  let l = subgroupMatrixLoad<${left}, row_major>(&left, row * 16u, 16u);
  let r = subgroupMatrixLoad<${right}, row_major>(&right, col, 64u);
  *block = subgroupMatrixMultiplyAccumulate(l, r, *block);
}
fn keepBlock(block: ptr<function, Block>, row: u32, col: u32) {
  subgroupMatrixStore<row_major>(&sums, row * 32u + col, *block, 32u);
}`;

/** The same by loops, in every invocation. */
const emulated = `alias Block = array<f32, 256>;
fn multiplyBlock(block: ptr<function, Block>, row: u32, col: u32) {
  for (var i = 0u; i < 256u; i++) {
    var sum = (*block)[i];
    for (var k = 0u; k < 16u; k++) {
      sum += f32(left[(row + i / 16u) * 16u + k]) * f32(right[k * 64u + col + i % 16u]);
    }
    (*block)[i] = sum;
  }
}
fn keepBlock(block: ptr<function, Block>, row: u32, col: u32) {
  for (var i = 0u; i < 256u; i++) { sums[(row + i / 16u) * 32u + col + i % 16u] = (*block)[i]; }
}`;

export const matrixMemory = (kind: 'native' | 'emulated'): string =>
  `var<workgroup> left: array<f16, 1024>;
var<workgroup> right: array<f16, 1024>;
var<workgroup> sums: array<f32, 2048>;
${kind === 'native' ? native : emulated}`;

/**
 * Invocations are numbered in one dimension, as subgroup matrices want it, and counted in two as in other
 * tiles.
 */
export const matrixEntryPoint = (kind: 'native' | 'emulated'): EntryPoint => ({
  workgroup: 256,
  builtins: ['wid', 'nwg', 'index', ...(kind === 'native' ? (['subgroup'] as const) : [])],
});
export const matrixHead = (kind: 'native' | 'emulated'): string =>
  `  let lid = vec2<u32>(index & 15u, index >> 4u);
  ${kind === 'native' ? '' : `let subgroup = index / ${matrixSubgroup}u;`}`;

/** A subgroup has half of a row of blocks. */
export const matrixAccumulators = `  var block0 = Block();
  var block1 = Block();
  let matrixRow = (subgroup >> 1u) * 16u;
  let matrixCol = (subgroup & 1u) * 32u;`;

/** Stages `a0` and `b0` or `t0` (shared-tile.ts). */
export function matrixStage(major: 'k' | 'row', along: 'columns' | 'k'): string {
  const component = ['x', 'y', 'z', 'w'];
  const leftAt = (j: number): string =>
    major === 'k'
      ? `(tid >> 2u) * 16u + (tid & 3u) * 4u + ${j}u`
      : `((tid & 15u) * 4u + ${j}u) * 16u + (tid >> 4u)`;
  const rightAt = (j: number): string =>
    along === 'columns'
      ? `(tid >> 4u) * 64u + (tid & 15u) * 4u + ${j}u`
      : `((tid & 3u) * 4u + ${j}u) * 64u + (tid >> 2u)`;
  const value = along === 'columns' ? 'b0' : 't0';
  return [
    ...component.map((c, j) => `      left[${leftAt(j)}] = f16(a0.${c});`),
    ...component.map((c, j) => `      right[${rightAt(j)}] = f16(${value}.${c});`),
  ].join('\n');
}

export const matrixCompute = `      multiplyBlock(&block0, matrixRow, matrixCol);
      multiplyBlock(&block1, matrixRow, matrixCol + 16u);`;

/**
 * Hands the blocks to the invocations' own sums `c0` to `c3`: first the left block of every subgroup, then
 * the right.
 */
export const matrixSums = `${[0, 1, 2, 3].map((r) => `  var c${r} = vec4<f32>();`).join('\n')}
${[0, 1]
  .map(
    (half) => `  workgroupBarrier();
  keepBlock(&block${half}, matrixRow, matrixCol >> 1u);
  workgroupBarrier();
  if (((lid.x >> 2u) & 1u) == ${half}u) {
    let at = lid.y * 128u + (lid.x >> 3u) * 16u + (lid.x & 3u) * 4u;
${[0, 1, 2, 3]
  .map((r) => `    c${r} = vec4<f32>(${[0, 1, 2, 3].map((j) => `sums[at + ${32 * r + j}u]`).join(', ')});`)
  .join('\n')}
  }`,
  )
  .join('\n')}
`;
