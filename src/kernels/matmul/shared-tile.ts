/**
 * What is particular to a `shared` tile: the slices of its operands in workgroup memory. While the
 * invocations multiply one slice, the next is on its way into their registers. With two buffers one barrier
 * per slice is enough: who writes a slice writes over the one before the last, which everybody has left
 * behind the last barrier.
 *
 * Bank conflicts are counted per eight neighbouring invocations, each with a vector
 * (test/kernels/tiles.test.ts).
 */
import { matrixBytes, matrixLoop, type WithMatrices } from './matrix-tile.js';
import {
  products,
  range,
  rightLoadsOf,
  sharedDepth,
  sharedLeftLoads,
  tileCols,
  tileRows,
  tileThreads,
  tileVectors,
  xyzw,
  type Major,
  type Right,
  type Tile,
} from './tile-shape.js';

/** Invocations that load vectors at the same k, and vectors along k of a slice. */
const perK = (t: Tile): number => tileThreads(t) / sharedDepth(t);
const alongK = (t: Tile): number => sharedDepth(t) / 4;

/** WGSL for the row that left load `i` starts at, and for its k from the slice's first. */
export const sharedLeftRow = (t: Tile, major: Major, i: number): string =>
  major === 'row'
    ? `blockRow + ((tid & ${perK(t) - 1}u) + ${i * perK(t)}u) * 4u`
    : `blockRow + tid / ${alongK(t)}u + ${(i * tileThreads(t)) / alongK(t)}u`;
export const sharedLeftK = (t: Tile, major: Major): string =>
  major === 'row' ? `(tid / ${perK(t)}u)` : `(tid & ${alongK(t) - 1}u) * 4u`;

/** Right vectors along columns that invocations load side by side. */
const perRow = (t: Tile): number => tileCols(t) / 4;
/** WGSL for right vector `q`'s k, and its column in vectors, where it lies along columns. */
export const sharedRightK = (t: Tile, q: number): string =>
  `(tid / ${perRow(t)}u + ${(q * tileThreads(t)) / perRow(t)}u)`;
export const sharedRightCol = (t: Tile): string => `(colBlock * ${perRow(t)}u + tid % ${perRow(t)}u)`;
/** The same where it lies along k: its column, in elements, and its k. */
export const rightLine = (t: Tile, q: number): string =>
  `(colBlock * ${tileCols(t)}u + tid / ${alongK(t)}u + ${(q * tileThreads(t)) / alongK(t)}u)`;
export const rightLineK = (t: Tile): string => `(tid & ${alongK(t) - 1}u) * 4u`;

/** Vectors of workgroup memory per slice of the left operand: [row][k / 4] or, along rows, [k][row / 4]. */
const leftVectors = (t: Tile): number => tileRows(t) * alongK(t);
/**
 * Of the right one: [k][column / 4]; or, along k, [k / 4][column % 4][column / 4], so that neighbours in a
 * row of invocations read neighbouring vectors, with strides that spread what neighbours write over all
 * banks.
 */
export const lineStride = (t: Tile): number => tileCols(t) / 4 + 1;
export const kStride = (t: Tile): number => 4 * lineStride(t) + (alongK(t) > 2 ? 2 : 0);
const rightVectors = (t: Tile, right: Right): number =>
  right === 'k' ? alongK(t) * kStride(t) : (sharedDepth(t) * tileCols(t)) / 4;

const buffersOf = (t: Tile): number => t.buffers ?? 1;

export const hasMatrices = (t: Tile): t is WithMatrices => t.matrices !== undefined;

/** Bytes of workgroup memory, at most. */
export const sharedBytes = (t: Tile): number =>
  hasMatrices(t) ? matrixBytes(t) : 16 * buffersOf(t) * (leftVectors(t) + rightVectors(t, 'k'));

export const sharedMemory = (t: Tile, right: Right): string =>
  `var<workgroup> left: array<vec4<f32>, ${buffersOf(t) * leftVectors(t)}>;
var<workgroup> right: array<vec4<f32>, ${buffersOf(t) * rightVectors(t, right)}>;`;

/** Stores this invocation's vectors: `a0..`, and `b0` (along columns) or `t0` (along k); one right vector. */
function stage(t: Tile, major: Major, right: Right): string {
  const two = buffersOf(t) === 2;
  const buffer = (vectors: number): string => (two ? `(slice & 1u) * ${vectors}u + ` : '');
  const at = (i: number): string =>
    major === 'k'
      ? `tid + ${i * tileThreads(t)}u`
      : `(tid / ${perK(t)}u) * ${tileRows(t) / 4}u + (tid & ${perK(t) - 1}u) + ${i * perK(t)}u`;
  const lefts = range(sharedLeftLoads(t)).map((i) => `    left[${buffer(leftVectors(t))}${at(i)}] = a${i};`);
  const line = `tid / ${alongK(t)}u`;
  const place = `(tid & ${alongK(t) - 1}u) * ${kStride(t)}u + ((${line}) & 3u) * ${lineStride(t)}u + ((${line}) >> 2u)`;
  const from = buffer(rightVectors(t, right));
  return [...lefts, right === 'k' ? `    right[${from}${place}] = t0;` : `    right[${from}tid] = b0;`].join(
    '\n',
  );
}

/** Multiplies the slice before `slice`. */
function compute(t: Tile, major: Major, right: Right): string {
  const two = buffersOf(t) === 2;
  const buffer = (vectors: number): string => (two ? `((slice + 1u) & 1u) * ${vectors}u` : '0u');
  const lines = [
    `    let leftFrom = ${buffer(leftVectors(t))};`,
    `    let rightFrom = ${buffer(rightVectors(t, right))} + lid.x;`,
    `    for (var kk = 0u; kk < ${alongK(t)}u; kk++) {`,
  ];
  if (major === 'k') {
    for (const i of range(t.rows))
      lines.push(`      let a${i} = left[leftFrom + (lid.y * ${t.rows}u + ${i}u) * ${alongK(t)}u + kk];`);
  } else {
    for (const q of range(4))
      for (const h of range(t.rows / 4))
        lines.push(
          `      let a${h}_${q} = left[leftFrom + (kk * 4u + ${q}u) * ${tileRows(t) / 4}u + lid.y * ${t.rows / 4}u + ${h}u];`,
        );
  }
  for (const v of range(tileVectors(t))) {
    lines.push('      {');
    const across = v * t.lanes;
    if (right === 'columns') {
      for (const q of range(4))
        lines.push(
          `      let b${q} = right[rightFrom + (kk * 4u + ${q}u) * ${tileCols(t) / 4}u + ${across}u];`,
        );
    } else {
      for (const j of range(4))
        lines.push(
          `      let t${j} = right[rightFrom + kk * ${kStride(t)}u + ${j * lineStride(t) + across}u];`,
        );
      for (const q of range(4))
        lines.push(
          `      let b${q} = vec4<f32>(${range(4)
            .map((j) => `t${j}.${xyzw[q]}`)
            .join(', ')});`,
        );
    }
    lines.push(products(t, major, v), '      }');
  }
  return [...lines, '    }'].join('\n');
}

/**
 * The loop over `slices` (WGSL) slices. `loads` assigns this invocation's vectors, `a0..` and `b0` or `t0`,
 * and goes on to the next slice.
 */
export function sharedLoop(t: Tile, major: Major, right: Right, slices: string, loads: string): string {
  const vectors = [
    ...range(sharedLeftLoads(t)).map((i) => `a${i}`),
    ...range(rightLoadsOf(t)).map((q) => `${right === 'k' ? 't' : 'b'}${q}`),
  ];
  const declared = vectors.map((name) => `  var ${name} = vec4<f32>(0.0);`).join('\n');
  if (hasMatrices(t)) return `${declared}\n${matrixLoop(t, major, right, slices, loads)}`;
  return `${declared}
  let slices = ${slices};
  for (var slice = 0u; slice <= slices; slice++) {
    if (slice < slices) {
${loads}
    }
    if (slice > 0u) {
${compute(t, major, right)}
    }
    if (slice == slices) { break; }
${buffersOf(t) === 2 ? '' : '    workgroupBarrier();'}
${stage(t, major, right)}
    workgroupBarrier();
  }`;
}
