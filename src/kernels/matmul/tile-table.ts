/**
 * The table of tiles: by adapter class and by how much there is to cover; and into how many parts a long sum
 * is split.
 *
 * What is assumed of GPUs comes from reading, not from measurements here: tiles of 4x4 per thread do 8
 * multiply-adds per 16-byte load of workgroup memory, 8x4 about 11, 8x8 16, and the loads bound them all;
 * fixed choices of one maker's cards port badly to others
 * (https://github.com/ggml-org/llama.cpp/issues/22241).
 */
import type { AdapterClass, Target } from '../base/kernel.js';
import { ceilDiv, type Elem } from '../base/plan.js';
import { sharedBytes } from './shared-tile.js';
import {
  hasBroadcast,
  stepCost,
  tileCols,
  tileHeights,
  tileRows,
  tileThreads,
  type Cols,
  type Major,
  type Tile,
} from './tile.js';
import { matrixRows } from './matrix-tile.js';

/** What a tile is chosen by. */
export interface TileProblem {
  readonly rows: number;
  readonly columns: number;
  /** Products per result, times the number of matrices. */
  readonly depth: number;
  readonly major: Major;
  readonly elem: Elem;
  /** Products side by side. Default: 1. */
  readonly batch?: number;
  /** Terms of a sum that may be split among workgroups. Default: it may not. */
  readonly terms?: number;
}

/**
 * Rows of the tallest broadcast tile: a sixth faster than one of 16, but it takes twice as long to compile.
 */
const tallRows = 32;
/** Multiply-adds from which that pays; fewer columns compile faster. */
const workForTall = (cols: Cols): number => (cols === 4 ? 1 << 27 : 1 << 20);

/** Multiprocessors that are assumed of a GPU: WebGPU does not say. */
const cores: Readonly<Record<AdapterClass, number>> = {
  discrete: 128,
  apple: 32,
  integrated: 16,
  unknown: 8,
};
export const coresOf = (target: Target): number => cores[target.class ?? 'unknown'];

/** A `shared` tile of `rows` by `vectors` vectors of columns per invocation. */
const shared = (
  rows: number,
  vectors: 1 | 2,
  [lanes, lanesY]: readonly [number, number],
  depth: 8 | 16,
  buffers: 1 | 2,
): Tile => ({ style: 'shared', rows, cols: 4, lanes, lanesY, vectors, depth, buffers });

const small = shared(4, 1, [8, 8], 8, 1);

/**
 * Tiles of a class, the largest first, with the share of the GPU's peak that they may come to. Two slices in
 * workgroup memory (one barrier each) are for cards: they brought nothing on integrated GPUs
 * (tensorflow/tfjs-core 1723).
 */
const tiles: Readonly<Record<AdapterClass, readonly (readonly [Tile, share: number])[]>> = {
  discrete: [
    [shared(8, 2, [16, 16], 8, 2), 1],
    [shared(8, 1, [16, 16], 16, 2), 0.8],
    [shared(8, 1, [8, 16], 16, 2), 0.6],
    [shared(4, 1, [16, 16], 16, 2), 0.65],
    [shared(4, 1, [8, 8], 8, 2), 0.55],
  ],
  apple: [
    [shared(8, 1, [16, 8], 8, 1), 1],
    [shared(4, 1, [8, 16], 16, 1), 0.8],
    [small, 0.7],
  ],
  integrated: [
    [shared(4, 1, [16, 16], 16, 1), 1],
    [small, 0.85],
  ],
  unknown: [[small, 1]],
};

/** A tile as the adapter can run it: with one slice where two do not fit; undefined where none does. */
function fitting(target: Target, tile: Tile): Tile | undefined {
  if (tile.lanes * tile.lanesY > target.maxInvocations) return undefined;
  const less: Tile = { ...tile, buffers: 1 };
  return [tile, less].find((t) => sharedBytes(t) <= target.maxWorkgroupStorage);
}

/**
 * The `shared` tiles of the adapter's class that it can run, with their shares of its peak, the largest
 * first.
 */
function sharedRows(target: Target): (readonly [Tile, share: number])[] {
  if (target.kind !== 'gpu') return [];
  return tiles[target.class ?? 'unknown'].flatMap(([tile, share]) => {
    const fits = fitting(target, tile);
    return fits ? [[fits, share] as const] : [];
  });
}

export const sharedTiles = (target: Target): Tile[] => sharedRows(target).map(([tile]) => tile);

/** Workgroups of a product. */
export const blocksOf = (t: Tile, rows: number, columns: number, batch: number): number =>
  ceilDiv(rows, tileRows(t)) * ceilDiv(columns, tileCols(t)) * batch;

/** Invocations of two workgroups of the usual size for each assumed core: fewer leave a GPU waiting. */
const enoughInvocations = (target: Target): number => 2 * 256 * coresOf(target);

/**
 * Of the tiles that leave each assumed core enough invocations, by splits if not without, the one that covers
 * the result in the least time; else the smallest.
 */
function chooseShared(target: Target, p: TileProblem): Tile | undefined {
  const matrices = matrixRows(target, p.elem);
  const rows = matrices.length > 0 ? matrices : sharedRows(target);
  const batch = p.batch ?? 1;
  const blocks = (t: Tile): number => blocksOf(t, p.rows, p.columns, batch);
  const cost = ([t, share]: (typeof rows)[number]): number => (blocks(t) * tileRows(t) * tileCols(t)) / share;
  for (const parts of [1, mostParts(target, p.terms ?? 0)]) {
    const enough = rows.filter(([t]) => blocks(t) * tileThreads(t) * parts >= enoughInvocations(target));
    if (enough.length > 0) return enough.reduce((best, row) => (cost(row) < cost(best) ? row : best))[0];
  }
  return rows.at(-1)?.[0];
}

export function chooseTile(target: Target, p: TileProblem): Tile {
  const { rows, columns, depth, major } = p;
  if (hasBroadcast(target)) {
    const cols: Cols = columns <= 8 ? 1 : columns <= 16 ? 2 : 4;
    const cost = (height: number): number => Math.ceil(rows / height) * stepCost(height, cols);
    const tall = rows * columns * depth >= workForTall(cols) ? [tallRows] : [];
    const height = [...tileHeights, ...tall].reduce((best, h) => (cost(h) < cost(best) ? h : best));
    return { style: 'subgroup', rows: height, cols, lanes: 8, lanesY: 1 };
  }
  if (rows > 16 && columns > 16) {
    const tile = chooseShared(target, p);
    if (tile) return tile;
  }
  const cols: Cols = columns <= 2 ? 1 : 4;
  if (rows <= 4) return { style: 'register', rows: major === 'row' ? 4 : 1, cols, lanes: 32, lanesY: 1 };
  return { style: 'register', rows: 4, cols, lanes: 8, lanesY: 8 };
}

/** Terms of a part of a split sum, at least, and how many a sum has that is worth it. */
const leastTerms = 256;
const termsToSplit = 512;

/** The most parts of a sum of k terms. They are added one by one; a GPU waits for each of them. */
const mostParts = (target: Target, k: number): number =>
  k < termsToSplit ? 1 : Math.min(Math.floor(k / leastTerms), target.kind === 'gpu' ? 32 : 64);

/**
 * Parts of a sum of k terms whose results alone are `blocks` workgroups: more than one where those leave the
 * adapter idle, on a GPU up to four times the invocations that are enough. `enough` workgroups keep a
 * software adapter busy.
 */
export function chooseSplits(target: Target, tile: Tile, blocks: number, k: number, enough = 24): number {
  if (target.kind === 'software') return splits(target, blocks, k, enough);
  // Register tiles are for what is small: their workgroups count, not the invocations.
  if (tile.style !== 'shared') return splits(target, blocks, k, 8 * coresOf(target));
  const busy = enoughInvocations(target) / tileThreads(tile);
  return blocks >= busy ? 1 : splits(target, blocks, k, 4 * busy);
}

const splits = (target: Target, blocks: number, k: number, wanted: number): number =>
  blocks >= wanted ? 1 : Math.max(1, Math.min(ceilDiv(wanted, blocks), mostParts(target, k)));
