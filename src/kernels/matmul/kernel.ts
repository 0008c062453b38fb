/**
 * Matrix product `C[M,N] = epilogue(A[M,K] B[K,N])`, batched, any layout of A and B.
 *
 * Generators only; {@link planGemm} in plan.ts routes a problem to them.
 */
import { memoKernel, type Kernel, type ParamField } from '../base/kernel.js';
import { reads, writes } from '../base/shader.js';
import { epilogueKey, type Elem, type Epilogue } from '../base/plan.js';
import {
  component,
  declareAccumulators,
  epilogueBindings,
  epilogueColumns,
  forRows,
  leftK,
  leftLoads,
  leftRow,
  loaded,
  multiplyAdd,
  range,
  rightCol,
  rightK,
  rightLoads,
  stepK,
  storeRow,
  tileHead,
  tileShader,
  tileKey,
  vecType,
  widen,
  type Major,
  type Tile,
} from './tile.js';
import { rightLine, rightLineK, sharedLoop } from './shared-tile.js';

/** What the loads of an operand depend on. */
export interface OperandSpec {
  /** Sizes, strides and offsets of A and B allow vector access. */
  readonly vecA: boolean;
  readonly vecB: boolean;
  /** K is not a multiple of the step, so the last one is guarded. */
  readonly tail: boolean;
  readonly elem: Elem;
}

export interface GemmSpec extends OperandSpec {
  readonly tile: Tile;
  /** A is stored [K, M]. */
  readonly transA: boolean;
  /** B is stored [N, K]. */
  readonly transB: boolean;
  /** The same of C. */
  readonly vecC: boolean;
  /** Adds to C instead of overwriting it. */
  readonly accumulate: boolean;
  /** The batch of A and B has two strides each. */
  readonly nested: boolean;
  readonly epilogue: Epilogue;
  /** Element type of C; the partial sums of a split are f32. */
  readonly elemC: Elem;
}

const plainParams = [
  ['M', 'u32'],
  ['N', 'u32'],
  ['K', 'u32'],
  ['lda', 'u32'],
  ['ldb', 'u32'],
  ['ldc', 'u32'],
  ['aOff', 'u32'],
  ['bOff', 'u32'],
  ['cOff', 'u32'],
  ['aBatch', 'u32'],
  ['bBatch', 'u32'],
  ['cBatch', 'u32'],
  ['chunk', 'u32'], // k per split; a multiple of 16
  ['splits', 'u32'], // workgroup z = batch * splits + split; with more than one, C is [batch, split, M, ldc]
  ['colBlocks', 'u32'],
  ['residualOff', 'u32'],
] as const satisfies readonly ParamField[];

const nestedParams = [
  ...plainParams,
  ['inner', 'u32'],
  ['aOuter', 'u32'],
  ['bOuter', 'u32'],
] as const satisfies readonly ParamField[];

/**
 * Launch fields of every gemm kernel; sizes, leading dimensions, offsets and batch strides are in elements.
 */
export const gemmParams = (nested: boolean): readonly ParamField[] => (nested ? nestedParams : plainParams);

/** Base addresses and the range of k, common to all gemm kernels. */
export function gemmPrologue(nested: boolean): string {
  const outer = 'let outer = batch / p.inner; let entry = batch - outer * p.inner;';
  const [entry, a, b] = nested ? ['entry', ' + outer * p.aOuter', ' + outer * p.bOuter'] : ['batch', '', ''];
  return `
  let batch = wid.z / p.splits;
  let split = wid.z - batch * p.splits;
  let kStart = split * p.chunk;
  let kEnd = min(p.K, kStart + p.chunk);${nested ? `\n  ${outer}` : ''}
  let aBase = p.aOff + ${entry} * p.aBatch${a};
  let bBase = p.bOff + ${entry} * p.bBatch${b};
  let cBase = p.cOff + batch * p.cBatch + split * p.M * p.ldc * u32(p.splits > 1u);`;
}

const guard = (tail: boolean, n: number, k: string, load: string): string =>
  tail ? `select(${vecType(n)}(0.0), ${load}, ${k} < kEnd)` : load;

/** Index of k, kept inside the operand where the last step may pass its end. */
export const clampK = (tail: boolean, k: string): string => (tail ? `min(${k}, p.K - 1u)` : k);

/**
 * Assigns four k of one row from `k` on to `name`, such as `let a0`; `base` is the element index of the row.
 */
export function loadAlongK(s: OperandSpec, which: 'a' | 'b', name: string, base: string, k: string): string {
  const vec = which === 'a' ? s.vecA : s.vecB;
  if (vec)
    return `      ${name} = ${guard(s.tail, 4, k, widen(4, s.elem, `${which}[(${base} + ${clampK(s.tail, k)}) >> 2u]`))};`;
  const parts = range(4).map((q) =>
    guard(s.tail, 1, `${k} + ${q}u`, `f32(${which}[${base} + ${clampK(s.tail, `${k} + ${q}u`)}])`),
  );
  return `      ${name} = vec4<f32>(${parts.join(', ')});`;
}

/**
 * The same of `n` neighbouring rows (of A) or columns (of B) at one `k`; `line` is the first, `last` the
 * operand's last.
 */
export function loadAlongLines(
  s: OperandSpec,
  which: 'a' | 'b',
  name: string,
  n: number,
  k: string,
  line: string,
  last: string,
): string {
  const ld = which === 'a' ? 'p.lda' : 'p.ldb';
  const row = `${which}Base + (${clampK(s.tail, k)}) * ${ld}`;
  const vec = which === 'a' ? s.vecA : s.vecB;
  if (vec)
    return `      ${name} = ${guard(s.tail, n, k, widen(n, s.elem, `${which}[(${row} + ${line}) / ${n}u]`))};`;
  const parts = range(n).map((j) =>
    guard(s.tail, 1, k, `f32(${which}[${row} + min(${line} + ${j}u, ${last})])`),
  );
  return `      ${name} = ${vecType(n)}(${parts.join(', ')});`;
}

export function gemmKernel(s: GemmSpec): Kernel {
  const { tile: t, epilogue: e } = s;
  const layout = `${s.transA ? 't' : 'n'}${s.transB ? 't' : 'n'}`;
  const key = [
    'gemm',
    layout,
    tileKey(t),
    +s.vecA,
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
    const major: Major = s.transA ? 'row' : 'k';
    const V = t.cols;
    const n = leftLoads(t, major);
    const body: string[] = [];
    const shared = t.style === 'shared';

    // Columns past the end repeat the last ones, and their sums are not stored.
    const columns = s.transB ? (shared ? rightLoads(t) : V) : 0;
    const firstColumn = `${rightCol(t)} * ${V}u`;
    body.push(`  let colC = ${s.vecB && !s.transB ? `min(${firstColumn}, p.N - ${V}u)` : firstColumn};`);
    for (const j of range(columns)) {
      const column = shared ? rightLine(t, j) : `colC + ${j}u`;
      body.push(`  let bRow${j} = bBase + min(${column}, p.N - 1u) * p.ldb;`);
    }
    for (const i of range(n)) {
      const row = leftRow(t, major, i);
      if (s.transA) body.push(`  let aRow${i} = ${s.vecA ? `min(${row}, p.M - 4u)` : row};`);
      else body.push(`  let aRow${i} = aBase + min(${row}, p.M - 1u) * p.lda;`);
    }
    body.push(declareAccumulators(t));
    const loads: string[] = [];
    const kLeft = `(k + ${leftK(t, major)})`;
    for (const i of range(n)) {
      const name = loaded(t, `a${i}`);
      if (!s.transA) loads.push(loadAlongK(s, 'a', name, `aRow${i}`, kLeft));
      else if (t.style !== 'register')
        loads.push(loadAlongLines(s, 'a', name, 4, kLeft, `aRow${i}`, 'p.M - 1u'));
      else {
        for (const q of range(4)) {
          loads.push(loadAlongLines(s, 'a', `let a${i}_${q}`, 4, `(k + ${q}u)`, `aRow${i}`, 'p.M - 1u'));
        }
      }
    }
    for (const j of range(columns)) {
      const k = shared ? `(k + ${rightLineK(t)})` : 'k';
      loads.push(loadAlongK(s, 'b', loaded(t, `t${j}`), `bRow${j}`, k));
    }
    if (s.transB && !shared) {
      for (const q of range(4)) {
        const parts = range(V).map((j) => component(`t${j}`, q, 4));
        loads.push(`      let b${q} = ${vecType(V)}(${parts.join(', ')});`);
      }
    } else if (!s.transB) {
      for (const q of range(rightLoads(t))) {
        const name = loaded(t, `b${q}`);
        loads.push(loadAlongLines(s, 'b', name, V, `(k + ${rightK(t, q)})`, 'colC', 'p.N - 1u'));
      }
    }
    const right = s.transB ? 'k' : 'columns';
    if (shared) {
      const slices = `(kEnd - kStart + ${stepK(t) - 1}u) / ${stepK(t)}u`;
      loads.push(`      k += ${stepK(t)}u;`);
      body.push('  var k = kStart;', sharedLoop(t, major, right, slices, loads.join('\n')));
    } else {
      body.push(
        `  for (var k = kStart; k < kEnd; k += ${stepK(t)}u) {`,
        ...loads,
        multiplyAdd(t, major),
        '  }',
      );
    }
    const column = s.vecC ? 'col' : `col * ${V}u`;
    body.push(
      forRows(t, 'p.M', `col * ${V}u < p.N`, {
        columns: epilogueColumns(e, { cols: V, vectors: s.vecC, elem: s.elemC, column }),
        store: (r, sum) => {
          const element = `cBase + (row0 + ${r}) * p.ldc + col * ${V}u`;
          const residual = `p.residualOff + batch * p.cBatch + (row0 + ${r}) * p.ldc + col * ${V}u`;
          return storeRow(e, {
            cols: V,
            vectors: s.vecC,
            elem: s.elemC,
            out: 'out',
            value: sum,
            index: s.vecC ? `(${element}) / ${V}u` : element,
            residualIndex: s.vecC ? `(${residual}) / ${V}u` : residual,
            column,
            columns: 'p.N',
            accumulate: s.accumulate,
          });
        },
      }),
    );

    const bindings = [
      reads('a', vecType(s.vecA ? 4 : 1, s.elem)),
      reads('b', vecType(s.vecB ? (s.transB ? 4 : V) : 1, s.elem)),
      writes('out', vecType(s.vecC ? V : 1, s.elemC)),
      ...epilogueBindings(e, V, s.vecC, s.elemC),
    ];
    return {
      name: 'gemm',
      params: gemmParams(s.nested),
      ...tileShader(
        t,
        right,
        [s.elem, s.elemC],
        bindings,
        [tileHead(t), gemmPrologue(s.nested), ...body].join('\n'),
      ),
    };
  });
}
