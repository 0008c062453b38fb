/** Second half of a split sum: adds the partial results in a fixed order, so that runs agree bit for bit. */
import { foldGrid, linearWorkgroup, memoKernel, type Kernel } from '../base/kernel.js';
import { epilogueKey, ceilDiv, type Elem, type Epilogue, type Launch } from '../base/plan.js';
import { reads, shader, writes } from '../base/shader.js';
import { epilogueBindings, epilogueColumns, storeRow, vecType, type Cols } from './tile.js';

const size = 64;

/** Elements of the partial sums of one split: rows are padded to a multiple of four columns. */
export const partialStride = (columns: number): number => Math.ceil(columns / 4) * 4;

interface SplitSumSpec {
  readonly vectors: boolean;
  readonly epilogue: Epilogue;
  readonly elem: Elem;
  readonly accumulate: boolean;
}

function splitSumKernel(s: SplitSumSpec): Kernel {
  const key = ['splitSum', +s.vectors, epilogueKey(s.epilogue), s.elem, +s.accumulate].join('.');
  return memoKernel(key, () => {
    const V: Cols = s.vectors ? 4 : 1;
    const store = storeRow(s.epilogue, {
      cols: V,
      vectors: true,
      elem: s.elem,
      out: 'out',
      value: 'sum',
      index: `(p.outOff + batch * p.outBatch + row * p.ldo) / ${V}u + col`,
      residualIndex: `(p.residualOff + batch * p.outBatch + row * p.ldo) / ${V}u + col`,
      column: 'col',
      columns: 'p.columns',
      accumulate: s.accumulate,
    });
    return {
      name: 'splitSum',
      params: [
        ['rows', 'u32'],
        ['columns', 'u32'], // in vectors
        ['splits', 'u32'],
        ['ldp', 'u32'],
        ['ldo', 'u32'],
        ['outOff', 'u32'],
        ['outBatch', 'u32'],
        ['residualOff', 'u32'],
      ],
      ...shader({
        bindings: [
          reads('partials', vecType(V)),
          writes('out', vecType(V, s.elem)),
          ...epilogueBindings(s.epilogue, V, true, s.elem),
        ],
        workgroup: size,
        builtins: ['wid', 'nwg', 'lane'],
        body: `  let i = ${linearWorkgroup} * ${size}u + lane;
  if (i >= p.rows * p.columns) { return; }
  let batch = wid.z;
  let row = i / p.columns;
  let col = i - row * p.columns;
  let stride = p.rows * p.ldp / ${V}u;
  var at = batch * p.splits * stride + row * (p.ldp / ${V}u) + col;
  var sum = partials[at];
  for (var s = 1u; s < p.splits; s++) {
    at += stride;
    sum += partials[at];
  }
${epilogueColumns(s.epilogue, { cols: V, vectors: true, elem: s.elem, column: 'col' })}
  ${store}`,
      }),
    };
  });
}

/** Sums `partials` [batch, splits, rows, partialStride(columns)] into `out`, through the epilogue. */
export function splitSumLaunch(o: {
  rows: number;
  columns: number;
  splits: number;
  batch: number;
  ldo: number;
  out: Launch['buffers'][number];
  outOff: number;
  outBatch: number;
  residualOff: number;
  epilogue: Epilogue;
  epilogueRefs: Launch['buffers'];
  elem: Elem;
  accumulate: boolean;
  partials: string;
}): Launch {
  const vectors = [o.columns, o.ldo, o.outOff, o.outBatch, o.residualOff].every((v) => v % 4 === 0);
  const columns = vectors ? o.columns / 4 : o.columns;
  return {
    kernel: splitSumKernel({ vectors, epilogue: o.epilogue, elem: o.elem, accumulate: o.accumulate }),
    buffers: [o.partials, o.out, ...o.epilogueRefs],
    params: [o.rows, columns, o.splits, partialStride(o.columns), o.ldo, o.outOff, o.outBatch, o.residualOff],
    grid: foldGrid(ceilDiv(o.rows * columns, size), o.batch),
  };
}
