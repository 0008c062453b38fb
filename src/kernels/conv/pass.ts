/** One pass of a convolution as launches: the forward pass, or one parity class of the input gradient. */
import type { Target } from '../base/kernel.js';
import {
  bindElements,
  bytesOf,
  epilogueBuffers,
  noEpilogue,
  pair,
  type BufferRef,
  type Elem,
  type Epilogue,
  type Launch,
  type PlanLimits,
} from '../base/plan.js';
import { chooseTile } from '../matmul/tile-table.js';
import { tileColBlocks, tileGrid, type Tile } from '../matmul/tile.js';
import { gatheredRows, gathers, type Reach } from './gathered.js';
import { convKernel, type ConvInput, type ConvSpec } from './kernel.js';
import type { PackShape } from './pack.js';
import type { Conv2dProblem } from './problem.js';

/** One launch's worth: a set of taps over a grid of output positions. */
export interface Pass extends Reach {
  readonly n: number;
  readonly inC: number;
  readonly outC: number;
  readonly fullH: number;
  readonly fullW: number;
  readonly outStrideH: number;
  readonly outStrideW: number;
  readonly outBaseH: number;
  readonly outBaseW: number;
  readonly groups: number;
  readonly wOff: number;
  /**
   * The HWIO weight is read as it is: that of the input gradient, whose rows of `kernelW` taps the set is
   * taken from.
   */
  readonly turned?: { readonly kernelW: number };
}

export interface Io {
  readonly input: string;
  readonly output: string;
  readonly epilogue: Epilogue;
  readonly elem: Elem;
  /** From measurements; default: the table's. */
  readonly tile: Tile | undefined;
}

export const ioOf = (p: Conv2dProblem, input: string, output: string, tile: Tile | undefined): Io => ({
  input,
  output,
  epilogue: p.epilogue ?? noEpilogue,
  elem: p.elem ?? 'f32',
  tile,
});

/** Launches of one pass, over as many images at a time as fit a binding. */
export function passLaunches(target: Target, limits: PlanLimits, pass: Pass, io: Io): Launch[] {
  const inImage = pass.inH * pass.inW * pass.inC;
  const outImage = pass.fullH * pass.fullW * pass.outC;
  const most = (limits.maxBinding - limits.offsetAlignment) / bytesOf(io.elem);
  const images = Math.max(1, Math.min(pass.n, Math.floor(most / Math.max(inImage, outImage))));
  const launches: Launch[] = [];
  for (let first = 0; first < pass.n; first += images) {
    const n = Math.min(images, pass.n - first);
    const x = bindElements(io.input, first * inImage, n * inImage, io.elem, limits);
    const y = bindElements(io.output, first * outImage, n * outImage, io.elem, limits);
    const residual = io.epilogue.residual
      ? bindElements('residual', first * outImage, n * outImage, io.elem, limits)
      : undefined;
    const rows = n * pass.gridH * pass.gridW;
    const ci = pass.inC / pass.groups;
    const co = pass.outC / pass.groups;
    const gathered = gathers(target, pass, n);
    const table = chooseTile(target, {
      rows,
      columns: co,
      depth: ci * pass.taps.countH * pass.taps.countW,
      major: 'k',
      elem: io.elem,
      batch: pass.groups,
    });
    const tile = io.tile ?? (gathered ? { ...table, rows: gatheredRows(pass, n, table.cols) } : table);
    const input: ConvInput =
      pass.layout === 'runs' ? 'run' : ci % 4 === 0 && x.offset % 4 === 0 ? 'vec' : 'scalar';
    const spec: ConvSpec = {
      tile,
      input,
      vecOut: [co, y.offset, residual?.offset ?? 0].every((v) => v % tile.cols === 0),
      scatter: gathered || pass.outStrideH !== 1 || pass.outStrideW !== 1,
      gathered,
      weights: pass.turned ? 'turned' : 'packed',
      epilogue: io.epilogue,
      elem: io.elem,
    };
    const params = [
      rows,
      pass.inH,
      pass.inW,
      pass.gridH,
      pass.gridW,
      pair(pass.strideH, pass.strideW),
      pair(pass.dilationH, pass.dilationW),
      pair(pass.baseH, pass.baseW),
      pair(pass.taps.countH, pass.taps.countW),
      ci,
      co,
      tileColBlocks(tile, co),
      x.offset,
      pass.wOff,
      y.offset,
    ];
    if (residual) params.push(residual.offset);
    if (spec.scatter) {
      params.push(
        pass.fullH,
        pass.fullW,
        pair(pass.outStrideH, pass.outStrideW),
        pair(pass.outBaseH, pass.outBaseW),
      );
    }
    if (gathered) params.push(n);
    if (pass.turned) {
      const { firstH, firstW, stepH, stepW } = pass.taps;
      params.push(pair(firstH, firstW), pair(stepH, stepW), pass.turned.kernelW);
    }
    const operands: BufferRef[] = epilogueBuffers(io.epilogue).map((name) =>
      name === 'residual' && residual ? residual.ref : name,
    );
    launches.push({
      kernel: convKernel(spec),
      buffers: [x.ref, 'w', y.ref, ...operands],
      params,
      grid: tileGrid(tile, rows, co, pass.groups),
    });
  }
  return launches;
}

export const packShape = (p: Conv2dProblem): PackShape => ({
  cIn: p.cIn / p.groups,
  cOut: p.cOut / p.groups,
  kernelH: p.kernelH,
  kernelW: p.kernelW,
  groups: p.groups,
});

/** The kernels take the weight as it is stored, by fours of its channels. */
export const readsStored = (p: Conv2dProblem): boolean =>
  p.weights === 'hwio' && p.cIn % 4 === 0 && p.cOut % 4 === 0;
