/**
 * Products of up to eight rows with a matrix, for GPUs: what they cost is to read the matrix, so each of its
 * elements is read once and meets all rows in registers. 256 invocations share the rows' elements through
 * workgroup memory, a slab at a time; eight parts of them (16 where B is transposed, whose lanes lie along K
 * then) sum over interleaved k and are added at the end in a fixed order.
 */
import {
  foldGrid,
  linearWorkgroup,
  memoKernel,
  type Grid,
  type Kernel,
  type Target,
} from '../base/kernel.js';
import { ceilDiv, epilogueKey, type Elem, type Epilogue } from '../base/plan.js';
import { reads, shader, writes } from '../base/shader.js';
import { clampK, gemmParams, gemmPrologue, loadAlongK, loadAlongLines } from './kernel.js';
import { coresOf } from './tile-table.js';
import { epilogueBindings, epilogueColumns, range, storeRow, vecType } from './tile.js';

/** Rows that invocations keep in registers. */
export const mostFewRows = 8;
const threads = 256;
/** Terms of the sums whose left elements are in workgroup memory at a time. */
const slab = 256;
/** Terms of a split's sum, at least, and the most splits: they are added one by one. */
const leastTerms = 256;
const mostSplits = 32;

/** Parts that share a column's sum, and vectors of columns per workgroup. */
const partsOf = (transB: boolean): number => (transB ? 16 : 8);
const vectorsOf = (transB: boolean): number => threads / partsOf(transB);

interface FewRowsSpec {
  /** Rows in registers; a product of fewer repeats its last. */
  readonly rows: 1 | 2 | 4 | 8;
  /** A is stored [K, M]. */
  readonly transA: boolean;
  /** B is stored [N, K]. */
  readonly transB: boolean;
  /** Sizes, strides and offsets of B and C allow vector access. */
  readonly vecB: boolean;
  readonly vecC: boolean;
  /** K is not a multiple of four. */
  readonly tail: boolean;
  readonly nested: boolean;
  readonly accumulate: boolean;
  readonly epilogue: Epilogue;
  readonly elem: Elem;
  readonly elemC: Elem;
}

const templateRows = (m: number): FewRowsSpec['rows'] => (m <= 1 ? 1 : m <= 2 ? 2 : m <= 4 ? 4 : 8);

/**
 * Vectors of workgroup memory: the slab, and each invocation's sums of one row, padded against bank
 * conflicts.
 */
const slabVectors = (rows: number): number => (rows * slab) / 4;
const sumVectors = (transB: boolean): number => vectorsOf(transB) * (partsOf(transB) + 1);

/** Whether the kernel is for such a product and runs on the adapter. */
export function hasFewRows(target: Target, m: number, n: number, k: number, transB: boolean): boolean {
  const storage = 16 * (slabVectors(templateRows(m)) + sumVectors(transB));
  const fits = target.maxInvocations >= threads && target.maxWorkgroupStorage >= storage;
  return target.kind === 'gpu' && fits && m <= mostFewRows && n >= 16 && k >= 32;
}

/** Splits of the sum, so that some eight million bytes are under way on a card. */
export function fewRowsSplits(target: Target, n: number, k: number, batch: number, transB: boolean): number {
  const blocks = ceilDiv(n, 4 * vectorsOf(transB)) * batch;
  const wanted = ceilDiv(4 * coresOf(target), blocks);
  return Math.max(1, Math.min(wanted, Math.floor(k / leastTerms), mostSplits));
}

/** The grid, for `z` products of n columns. */
export const fewRowsGrid = (n: number, z: number, transB: boolean): Grid =>
  foldGrid(ceilDiv(n, 4 * vectorsOf(transB)), z);

/**
 * The kernel of a product of `m` rows. It has gemm's launch fields, of which `colBlocks` says nothing to it.
 */
export function fewRowsKernel(m: number, spec: Omit<FewRowsSpec, 'rows'>): Kernel {
  const s: FewRowsSpec = { ...spec, rows: templateRows(m) };
  const { rows, transA, transB, epilogue: e } = s;
  const key = [
    'fewRows',
    rows,
    +transA,
    +transB,
    +s.vecB,
    +s.vecC,
    +s.tail,
    +s.accumulate,
    epilogueKey(e),
    s.elem,
    s.elemC,
    ...(s.nested ? ['nested'] : []),
  ].join('.');
  return memoKernel(key, () => {
    const parts = partsOf(transB);
    const vectors = vectorsOf(transB);
    const operand = { ...s, vecA: false };
    const left = (q: number): string => {
      const at = clampK(true, `k + ${q}u`);
      const index = transA ? `aBase + ${at} * p.lda + row` : `aBase + row * p.lda + ${at}`;
      return `select(0.0, f32(a[${index}]), k + ${q}u < kEnd)`;
    };
    const loads = range(4).map((j) =>
      transB
        ? loadAlongK(operand, 'b', `let b${j}`, `bRow${j}`, 'k')
        : loadAlongLines(operand, 'b', `let b${j}`, 4, `(k + ${j}u)`, 'colC', 'p.N - 1u'),
    );
    const products = range(rows).map((r) => {
      const sum = transB
        ? `vec4<f32>(${range(4)
            .map((j) => `dot(a, b${j})`)
            .join(', ')})`
        : 'a.x * b0 + a.y * b1 + a.z * b2 + a.w * b3';
      return `      { let a = left[${(r * slab) / 4}u + (kk >> 2u)]; c${r} += ${sum}; }`;
    });
    const column = s.vecC ? 'col' : 'col * 4u';
    const element = 'cBase + part * p.ldc + col * 4u';
    const residual = 'p.residualOff + batch * p.cBatch + part * p.ldc + col * 4u';
    const body = `  let block = ${linearWorkgroup};
  if (block * ${4 * vectors}u >= p.N) { return; }
${gemmPrologue(s.nested)}
  let part = index ${transB ? `& ${parts - 1}u` : `/ ${vectors}u`};
  let group = index ${transB ? `/ ${parts}u` : `& ${vectors - 1}u`};
  let col = block * ${vectors}u + group;
${
  transB
    ? range(4)
        .map((j) => `  let bRow${j} = bBase + min(col * 4u + ${j}u, p.N - 1u) * p.ldb;`)
        .join('\n')
    : `  let colC = ${s.vecB ? 'min(col * 4u, p.N - 4u)' : 'col * 4u'};`
}
${range(rows)
  .map((r) => `  var c${r} = vec4<f32>(0.0);`)
  .join('\n')}
  for (var k0 = kStart; k0 < kEnd; k0 += ${slab}u) {
    workgroupBarrier();
    for (var i = index; i < ${slabVectors(rows)}u; i += ${threads}u) {
      let row = min(i / ${slab / 4}u, p.M - 1u);
      let k = k0 + (i % ${slab / 4}u) * 4u;
      left[i] = vec4<f32>(${range(4).map(left).join(', ')});
    }
    workgroupBarrier();
    let slabEnd = min(${slab}u, kEnd - k0);
    for (var kk = part * 4u; kk < slabEnd; kk += ${4 * parts}u) {
      let k = k0 + kk;
${loads.join('\n')}
${products.join('\n')}
    }
  }
  var total = vec4<f32>(0.0);
  var own = array<vec4<f32>, ${rows}>(${range(rows)
    .map((r) => `c${r}`)
    .join(', ')});
  // A loop that is not written out: compilers keep apart what lives across each of its barriers.
  for (var r = 0u; r < min(${rows}u, p.M); r++) {
    workgroupBarrier();
    sums[group * ${parts + 1}u + part] = own[r];
    workgroupBarrier();
    if (part == r) {
      for (var i = 0u; i < ${parts}u; i++) { total += sums[group * ${parts + 1}u + i]; }
    }
  }
  if (part >= min(${rows}u, p.M) || col * 4u >= p.N) { return; }
${epilogueColumns(e, { cols: 4, vectors: s.vecC, elem: s.elemC, column })}
  ${storeRow(e, {
    cols: 4,
    vectors: s.vecC,
    elem: s.elemC,
    out: 'out',
    value: 'total',
    index: s.vecC ? `(${element}) / 4u` : element,
    residualIndex: s.vecC ? `(${residual}) / 4u` : residual,
    column,
    columns: 'p.N',
    accumulate: s.accumulate,
  })}`;
    const made = shader({
      bindings: [
        reads('a', s.elem),
        reads('b', vecType(s.vecB ? 4 : 1, s.elem)),
        writes('out', vecType(s.vecC ? 4 : 1, s.elemC)),
        ...epilogueBindings(e, 4, s.vecC, s.elemC),
      ],
      functions: `var<workgroup> left: array<vec4<f32>, ${slabVectors(rows)}>;
var<workgroup> sums: array<vec4<f32>, ${sumVectors(transB)}>;`,
      workgroup: threads,
      builtins: ['wid', 'nwg', 'index'],
      body,
    });
    return { name: 'gemmFewRows', params: gemmParams(s.nested), ...made };
  });
}
