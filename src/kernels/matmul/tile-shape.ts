/** What a tile is, and the arithmetic of invocations that have their operands in registers. */

import type { MatrixConfig } from '../base/kernel.js';

export type Cols = 1 | 2 | 4;
/** Along which index a vector of the left operand lies: the summed one, or rows. */
export type Major = 'k' | 'row';
/** The same of the right operand. */
export type Right = 'columns' | 'k';

export interface MatrixTile extends MatrixConfig {
  readonly mode: 'native' | 'emulated';
}

export interface Tile {
  readonly style: 'subgroup' | 'register' | 'shared';
  readonly rows: number;
  readonly cols: Cols;
  /** Invocations along the columns of one workgroup. */
  readonly lanes: number;
  /** Invocations along the rows of one workgroup. */
  readonly lanesY: number;
  /** Of a `shared` tile: vectors of columns per invocation, `lanes` of them apart. Default: 1. */
  readonly vectors?: 1 | 2;
  /** Of a `shared` tile: k of a slice in workgroup memory. Default: 16. */
  readonly depth?: 8 | 16 | 32;
  /** Of a `shared` tile: slices in workgroup memory. Default: 1. */
  readonly buffers?: 1 | 2;
  /** A `shared` tile multiplies its staged operands by subgroup matrices (matrix-tile.ts). */
  readonly matrices?: MatrixTile;
}

export const tileVectors = (t: Tile): number => t.vectors ?? 1;
export const sharedDepth = (t: Tile): number => t.depth ?? 16;
export const tileThreads = (t: Tile): number => t.lanes * t.lanesY;

export function tileKey(t: Tile): string {
  const key = `${t.style[0]}${t.rows}x${t.cols}x${t.lanes}x${t.lanesY}`;
  if (t.style !== 'shared') return key;
  const slice = `${key}v${tileVectors(t)}k${sharedDepth(t)}b${t.buffers ?? 1}`;
  if (!t.matrices) return slice;
  const { mode, m, n, k, elem, subgroup } = t.matrices;
  return `${slice}.${mode}${m}x${n}x${k}${elem}s${subgroup}`;
}

/** Rows and columns of the output that one workgroup covers. */
export const tileRows = (t: Tile): number => t.rows * t.lanesY;
export const tileCols = (t: Tile): number => t.cols * tileVectors(t) * t.lanes;

/** Left and right vectors of one slice that an invocation of a `shared` tile loads. */
export const sharedLeftLoads = (t: Tile): number => (tileRows(t) * sharedDepth(t)) / 4 / tileThreads(t);
export const rightLoadsOf = (t: Tile): number => (tileCols(t) * sharedDepth(t)) / 4 / tileThreads(t);

/** What to do with the sums of a tile's rows; see `forRows`. */
export interface TileRows {
  readonly columns?: string;
  readonly store: (row: string, sum: string) => string;
  readonly first?: (row: string) => string;
}

export const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
export const xyzw = ['x', 'y', 'z', 'w'] as const;

/** Name of the sums of row `r`, in this invocation's vector of columns `v`. */
export const sumName = (r: number, v: number): string => `${v === 0 ? 'c' : 'd'}${r}`;

/**
 * WGSL that adds four k to the sums of vector of columns `v`: left vectors are `a{row}` (of four k) or, along
 * rows, `a{row / 4}_{k}`; right vectors `b{k}`. Row by row, so that a row's sum stays in registers for four
 * products: taller tiles than registers could hold then cost nothing.
 */
export function products(t: Tile, major: Major, v = 0): string {
  const lines: string[] = [];
  for (let r = 0; r < t.rows; r++) {
    for (let k = 0; k < 4; k++) {
      const left = major === 'k' ? `a${r}.${xyzw[k]}` : `a${r >> 2}_${k}.${xyzw[r & 3]}`;
      lines.push(`      ${sumName(r, v)} += ${left} * b${k};`);
    }
  }
  return lines.join('\n');
}
