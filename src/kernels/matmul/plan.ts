/**
 * Routing of a matrix product to launches: tile, split of the sum, and ranges for operands larger than a
 * binding.
 */
import { PlanCache, problemKey } from '../base/plan-cache.js';
import type { Target } from '../base/kernel.js';
import { tunedChoice } from './choice.js';
import { gemmKernel } from './kernel.js';
import type { GemmProblem } from './problem.js';
import { partialStride, splitSumLaunch } from './split-sum.js';
import { fewRowsGrid, fewRowsKernel, fewRowsSplits, hasFewRows } from './few-rows.js';
import { blocksOf, chooseSplits, chooseTile } from './tile-table.js';
import { stepK, tileColBlocks, tileGrid, type Cols, type Tile } from './tile.js';
import {
  bindElements,
  bytesOf,
  ceilDiv,
  epilogueBuffers,
  noEpilogue,
  renamed,
  roundUp,
  type Bound,
  type BufferRef,
  type Launch,
  type Plan,
  type PlanLimits,
} from '../base/plan.js';

interface Full extends Required<GemmProblem> {
  /** First column, for the operands with one value per column. */
  readonly column: number;
  /** From measurements; default: the table's. */
  readonly tile?: Tile | undefined;
}

/**
 * Plans `C = activation((A B + bias) * scale + shift + residual)`. Buffers: `a`, `b`, `c` and those of the
 * epilogue; `bias`, `scale` and `shift` have n values from byte 0 of what is bound.
 *
 * @throws RangeError when a size is not a positive integer or one row block exceeds a binding.
 */
export function planGemm(target: Target, limits: PlanLimits, problem: GemmProblem): Plan {
  return gemmPlans.get(problemKey(target, limits, problem), () => routeGemm(target, limits, problem));
}

const gemmPlans = new PlanCache<Plan>();

/**
 * A matrix by one column is its transpose's row: `C^T = B^T A^T`, for which there is a kernel that reads A in
 * order. Where C is a dense column and the epilogue has no value per column.
 */
function asRow(target: Target, p: GemmProblem): GemmProblem | undefined {
  const { m, n, k, transA = false, transB = false, batch = 1, epilogue = {} } = p;
  const perColumn = epilogue.bias || epilogue.scale || epilogue.shift;
  if (n !== 1 || (p.ldc ?? 1) !== 1 || perColumn || !hasFewRows(target, 1, m, k, !transA)) return undefined;
  return {
    ...p,
    m: 1,
    n: m,
    k,
    transA: !transB,
    transB: !transA,
    lda: p.ldb ?? (transB ? k : n),
    ldb: p.lda ?? (transA ? m : k),
    ldc: m,
    aOffset: p.bOffset ?? 0,
    bOffset: p.aOffset ?? 0,
    batch,
    aBatch: p.bBatch ?? k * n,
    bBatch: p.aBatch ?? m * k,
    cBatch: p.cBatch ?? m,
    ...(p.inner !== undefined && { inner: p.inner, aOuter: p.bOuter ?? 0, bOuter: p.aOuter ?? 0 }),
  };
}

function routeGemm(target: Target, limits: PlanLimits, problem: GemmProblem): Plan {
  const { m, n, k } = problem;
  for (const [name, v] of Object.entries({ m, n, k, batch: problem.batch ?? 1 })) {
    if (!Number.isInteger(v) || v < 1)
      throw new RangeError(`gemm: ${name} must be a positive integer, got ${v}`);
  }
  const tile = tunedChoice(target, 'gemm', problem)?.tile;
  const row = tile === undefined ? asRow(target, problem) : undefined;
  if (row) {
    const plan = planGemm(target, limits, row);
    return { ...plan, launches: renamed(plan.launches, { a: 'b', b: 'a' }) };
  }
  const lda = problem.lda ?? (problem.transA ? m : k);
  const ldb = problem.ldb ?? (problem.transB ? k : n);
  const ldc = problem.ldc ?? n;
  const full: Full = {
    transA: false,
    transB: false,
    aOffset: 0,
    bOffset: 0,
    cOffset: 0,
    batch: 1,
    residualOffset: 0,
    column: 0,
    epilogue: noEpilogue,
    accumulate: false,
    elem: 'f32',
    inner: problem.batch ?? 1,
    aOuter: 0,
    bOuter: 0,
    tile,
    ...problem,
    lda,
    ldb,
    ldc,
    aBatch: problem.aBatch ?? m * k,
    bBatch: problem.bBatch ?? k * n,
    cBatch: problem.cBatch ?? m * ldc,
  };
  const workspaces: Record<string, number> = {};
  const launches = cut(full, limits).flatMap((part) => launchesOf(target, limits, part, workspaces));
  return { launches, workspaces };
}

/** Elements a matrix spans. */
const span = (rows: number, columns: number, ld: number): number => (rows - 1) * ld + columns;

/** From the first matrix of A's or B's batch to its last. */
const reach = ({ batch, inner }: Full, stride: number, outer: number): number =>
  (Math.min(batch, inner) - 1) * stride + (ceilDiv(batch, inner) - 1) * outer;

/** Elements that A, B and C span. */
function spans(p: Full): { a: number; b: number; c: number } {
  const a = p.transA ? span(p.k, p.m, p.lda) : span(p.m, p.k, p.lda);
  const b = p.transB ? span(p.n, p.k, p.ldb) : span(p.k, p.n, p.ldb);
  return {
    a: reach(p, p.aBatch, p.aOuter) + a,
    b: reach(p, p.bBatch, p.bOuter) + b,
    c: (p.batch - 1) * p.cBatch + span(p.m, p.n, p.ldc),
  };
}

const isNested = ({ batch, inner }: Full): boolean => batch > inner;

/** Most columns of a launch: the narrowest tiles have 32, and 65,535 of them fit a grid. */
const mostColumns = 65535 * 32;

/**
 * Cuts a problem until every operand fits a binding and every grid its limits: by batch, else along the
 * dimension that the too large operand's rows run over. Parts along k accumulate in order, so the epilogue
 * belongs to the last of them.
 */
function cut(p: Full, limits: PlanLimits): Full[] {
  const most = Math.floor((limits.maxBinding - limits.offsetAlignment) / bytesOf(p.elem));
  const { a, b, c } = spans(p);
  const tooWide = p.n > mostColumns;
  if (a <= most && b <= most && c <= most && p.batch <= 65535 && !tooWide) return [p];
  const halves = (size: number, step: number): [number, number] => {
    const first = Math.min(size - 1, roundUp(Math.ceil(size / 2), step));
    return [first, size - first];
  };
  if (p.batch > 1) {
    const outer = isNested(p);
    const unit = outer ? p.inner : 1;
    const [units, others] = halves(p.batch / unit, 1);
    const [first, rest] = [units * unit, others * unit];
    const second = {
      ...p,
      batch: rest,
      aOffset: p.aOffset + units * (outer ? p.aOuter : p.aBatch),
      bOffset: p.bOffset + units * (outer ? p.bOuter : p.bBatch),
      cOffset: p.cOffset + first * p.cBatch,
      residualOffset: p.residualOffset + first * p.cBatch,
    };
    return [...cut({ ...p, batch: first }, limits), ...cut(second, limits)];
  }
  if (p.m > 1 && (c > most || (a > most && !p.transA))) {
    const [first, rest] = halves(p.m, 64);
    const second = {
      ...p,
      m: rest,
      aOffset: p.aOffset + first * (p.transA ? 1 : p.lda),
      cOffset: p.cOffset + first * p.ldc,
      residualOffset: p.residualOffset + first * p.ldc,
    };
    return [...cut({ ...p, m: first }, limits), ...cut(second, limits)];
  }
  if ((b > most && p.transB) || tooWide) {
    // A cut between columns also cuts bias, scale and shift, whose ranges must start at an aligned byte.
    const step = limits.offsetAlignment / bytesOf(p.elem);
    if (p.n <= step) throw tooLarge(p, limits);
    const first = Math.min(roundUp(ceilDiv(p.n, 2), step), roundUp(p.n, step) - step);
    const second = {
      ...p,
      n: p.n - first,
      column: p.column + first,
      bOffset: p.bOffset + first * (p.transB ? p.ldb : 1),
      cOffset: p.cOffset + first,
      residualOffset: p.residualOffset + first,
    };
    return [...cut({ ...p, n: first }, limits), ...cut(second, limits)];
  }
  if (p.k < 2 || c > most) throw tooLarge(p, limits);
  const [first, rest] = halves(p.k, 64);
  const second = {
    ...p,
    k: rest,
    aOffset: p.aOffset + first * (p.transA ? p.lda : 1),
    bOffset: p.bOffset + first * (p.transB ? 1 : p.ldb),
    accumulate: true,
  };
  return [...cut({ ...p, k: first, epilogue: noEpilogue }, limits), ...cut(second, limits)];
}

function tooLarge(p: Full, limits: PlanLimits): RangeError {
  return new RangeError(
    `gemm: one row of a [${p.m}, ${p.k}] x [${p.k}, ${p.n}] product exceeds the adapter's binding limit of ${limits.maxBinding} bytes`,
  );
}

function launchesOf(
  target: Target,
  limits: PlanLimits,
  p: Full,
  workspaces: Record<string, number>,
): Launch[] {
  const elements = spans(p);
  const bind = (name: string, offset: number, count: number): Bound =>
    bindElements(name, offset, count, p.elem, limits);
  const a = bind('a', p.aOffset, elements.a);
  const b = bind('b', p.bOffset, elements.b);
  const c = bind('c', p.cOffset, elements.c);
  const residual = p.epilogue.residual ? bind('residual', p.residualOffset, elements.c) : undefined;
  const refs = epilogueBuffers(p.epilogue).map((name): BufferRef => {
    if (name === 'residual' && residual) return residual.ref;
    const size = bytesOf(p.elem);
    return p.column === 0 ? name : { name, offset: p.column * size, size: roundUp(p.n * size, 4) };
  });

  const few = p.tile === undefined && hasFewRows(target, p.m, p.n, p.k, p.transB);
  const tile =
    p.tile ??
    chooseTile(target, {
      rows: p.m,
      columns: p.n,
      depth: p.k * p.batch,
      major: p.transA ? 'row' : 'k',
      elem: p.elem,
      batch: p.batch,
      terms: p.k,
    });
  const splits = few
    ? fewRowsSplits(target, p.n, p.k, p.batch, p.transB)
    : chooseSplits(target, tile, blocksOf(tile, p.m, p.n, p.batch), p.k);
  const chunk = roundUp(ceilDiv(p.k, splits), Math.max(16, stepK(tile)));
  const parts = ceilDiv(p.k, chunk);
  const split = parts > 1;
  const V: Cols = few ? 4 : tile.cols;
  const fits = (...values: number[]): boolean => values.every((v) => v % 4 === 0);
  const fitsV = (...values: number[]): boolean => values.every((v) => v % V === 0);
  const ldp = partialStride(p.n);
  const nested = isNested(p);
  const outer = nested ? { a: p.aOuter, b: p.bOuter } : { a: 0, b: 0 };
  const spec = {
    transA: p.transA,
    transB: p.transB,
    vecB: (p.transB ? fits : fitsV)(p.transB ? p.k : p.n, p.ldb, b.offset, p.bBatch, outer.b),
    vecC: split ? true : fitsV(p.n, p.ldc, c.offset, p.cBatch, residual?.offset ?? 0),
    tail: p.k % (few ? 4 : stepK(tile)) !== 0,
    accumulate: p.accumulate && !split,
    epilogue: split ? noEpilogue : p.epilogue,
    elem: p.elem,
    elemC: split ? ('f32' as const) : p.elem,
    nested,
  };
  const vecA = fits(p.transA ? p.m : p.k, p.lda, a.offset, p.aBatch, outer.a);
  const kernel = few ? fewRowsKernel(p.m, spec) : gemmKernel({ ...spec, tile, vecA });
  const params = [p.m, p.n, p.k, p.lda, p.ldb, split ? ldp : p.ldc, a.offset, b.offset, split ? 0 : c.offset];
  params.push(
    p.aBatch,
    p.bBatch,
    split ? parts * p.m * ldp : p.cBatch,
    chunk,
    parts,
    tileColBlocks(tile, p.n),
  );
  params.push(residual?.offset ?? 0);
  if (nested) params.push(p.inner, p.aOuter, p.bOuter);
  const launch: Launch = {
    kernel,
    buffers: [a.ref, b.ref, split ? 'partials' : c.ref, ...(split ? [] : refs)],
    params,
    grid: few ? fewRowsGrid(p.n, p.batch * parts, p.transB) : tileGrid(tile, p.m, p.n, p.batch * parts),
  };
  if (!split) return [launch];
  const bytes = p.batch * parts * p.m * ldp * 4;
  workspaces.partials = Math.max(workspaces.partials ?? 0, bytes);
  const sum = splitSumLaunch({
    rows: p.m,
    columns: p.n,
    splits: parts,
    batch: p.batch,
    ldo: p.ldc,
    out: c.ref,
    outOff: c.offset,
    outBatch: p.cBatch,
    residualOff: residual?.offset ?? 0,
    epilogue: p.epilogue,
    epilogueRefs: refs,
    elem: p.elem,
    accumulate: p.accumulate,
    partials: 'partials',
  });
  return [launch, sum];
}
