/**
 * When padding is much of what a convolution reads: whether the kernels that leave it out pay, and which tile
 * for them.
 */
import type { PackLayout, TapSet } from './pack.js';
import { mostGatheredTaps } from './kernel.js';
import type { Target } from '../base/kernel.js';
import { hasBroadcast, range, stepCost, tileHeights, type Cols } from '../matmul/tile.js';

/** What the images of one pass read: its taps and the input they reach from each position of a grid. */
export interface Reach {
  readonly inH: number;
  readonly inW: number;
  readonly gridH: number;
  readonly gridW: number;
  readonly strideH: number;
  readonly strideW: number;
  readonly dilationH: number;
  readonly dilationW: number;
  readonly baseH: number;
  readonly baseW: number;
  readonly taps: TapSet;
  readonly layout: PackLayout;
}

/** The part of a convolution that says which taps read inside the image. */
type Geometry = Readonly<
  Record<
    | 'h'
    | 'w'
    | 'outH'
    | 'outW'
    | 'kernelH'
    | 'kernelW'
    | 'strideH'
    | 'strideW'
    | 'padTop'
    | 'padLeft'
    | 'dilationH'
    | 'dilationW',
    number
  >
>;

/** Share of the taps, over all positions, that read inside the image. */
export const insideShare = (p: Geometry): number =>
  insideAxis(p.h, p.outH, p.kernelH, p.strideH, -p.padTop, p.dilationH) *
  insideAxis(p.w, p.outW, p.kernelW, p.strideW, -p.padLeft, p.dilationW);

function insideAxis(
  size: number,
  out: number,
  taps: number,
  stride: number,
  base: number,
  dilation: number,
): number {
  let inside = 0;
  for (let o = 0; o < out; o++)
    for (let t = 0; t < taps; t++) {
      const at = o * stride + base + t * dilation;
      if (at >= 0 && at < size) inside++;
    }
  return inside / (out * taps);
}

/**
 * Whether so much of what a pass reads is padding that leaving it out pays for gathering rows by position.
 */
export function gathers(target: Target, pass: Reach, images: number): boolean {
  const { taps, layout } = pass;
  const count = taps.countH * taps.countW;
  if (!hasBroadcast(target) || layout === 'runs' || images < 8 || count < 2 || count > mostGatheredTaps)
    return false;
  const share =
    insideAxis(pass.inH, pass.gridH, taps.countH, pass.strideH, pass.baseH, pass.dilationH) *
    insideAxis(pass.inW, pass.gridW, taps.countW, pass.strideW, pass.baseW, pass.dilationW);
  return share < 0.8;
}

/**
 * Rows of the tile that gathers a pass at the least cost: taller ones load less, but take in the taps of more
 * positions.
 */
export function gatheredRows(pass: Reach, images: number, cols: Cols): number {
  const reached = range(pass.gridH * pass.gridW).map((position) => {
    const h = Math.floor(position / pass.gridW) * pass.strideH + pass.baseH;
    const w = (position % pass.gridW) * pass.strideW + pass.baseW;
    const { countH, countW } = pass.taps;
    return range(countH * countW).filter((tap) => {
      const y = h + Math.floor(tap / countW) * pass.dilationH;
      const x = w + (tap % countW) * pass.dilationW;
      return y >= 0 && y < pass.inH && x >= 0 && x < pass.inW;
    });
  });
  const rows = reached.length * images;
  const cost = (height: number): number => {
    let taps = 0;
    for (let row = 0; row < rows; row += height) {
      const last = Math.min(row + height, rows) - 1;
      taps += new Set(reached.slice(Math.floor(row / images), Math.floor(last / images) + 1).flat()).size;
    }
    return taps * stepCost(height, cols);
  };
  return tileHeights.reduce((best, height) => (cost(height) < cost(best) ? height : best));
}
