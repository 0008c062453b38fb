/**
 * Measured choices in place of the table of tiles. A {@link Tuning} travels with the target: the planning
 * functions ask it for each problem, and its `id` keeps their remembered plans apart from those of other
 * tables. Nothing here measures; see `kindling bench --tune`.
 */
import type { Target } from '../base/kernel.js';
import type { Conv2dProblem } from '../conv/problem.js';
import type { TunedChoice, TunedOp, Tuning } from '../matmul/choice.js';
import type { GemmProblem } from '../matmul/problem.js';
import { sharedTiles } from '../matmul/tile-table.js';
import { hasBroadcast, type Cols, type Tile } from '../matmul/tile.js';

/** A problem as {@link ProblemRecorder} notes it: from element 0 of each operand, without epilogue. */
export type TunedProblem =
  | { readonly op: 'gemm'; readonly problem: GemmProblem }
  | { readonly op: Exclude<TunedOp, 'gemm'>; readonly problem: Conv2dProblem };

/**
 * What a choice is found by: sizes, layouts and element type, but neither offsets nor epilogue, which say
 * little about speed. Made to be read by people too: `gemm 196x64x64 batch 36 NT f32` is m x n x k, whether A
 * and B are transposed.
 */
export function tuningKey(op: TunedOp, problem: GemmProblem | Conv2dProblem): string {
  return op === 'gemm' ? gemmKey(problem as GemmProblem) : `${op} ${convKey(problem as Conv2dProblem)}`;
}

function gemmKey(p: GemmProblem): string {
  const { m, n, k, transA = false, transB = false, batch = 1, elem = 'f32' } = p;
  const dense = { lda: transA ? m : k, ldb: transB ? k : n, ldc: n };
  const { lda, ldb, ldc } = { ...dense, ...definedOf({ lda: p.lda, ldb: p.ldb, ldc: p.ldc }) };
  let key = `gemm ${m}x${n}x${k}`;
  if (batch > 1) key += ` batch ${batch}`;
  key += ` ${transA ? 'T' : 'N'}${transB ? 'T' : 'N'} ${elem}`;
  if (lda !== dense.lda || ldb !== dense.ldb || ldc !== dense.ldc) key += ` rows ${lda},${ldb},${ldc}`;
  if (batch > 1) {
    const apart = { aBatch: m * k, bBatch: k * n, cBatch: m * ldc };
    const { aBatch, bBatch, cBatch } = {
      ...apart,
      ...definedOf({ aBatch: p.aBatch, bBatch: p.bBatch, cBatch: p.cBatch }),
    };
    if (aBatch !== apart.aBatch || bBatch !== apart.bBatch || cBatch !== apart.cBatch)
      key += ` matrices ${aBatch},${bBatch},${cBatch}`;
  }
  return key;
}

function convKey(p: Conv2dProblem): string {
  let key = `${p.n}x${p.h}x${p.w}x${p.cIn} to ${p.outH}x${p.outW}x${p.cOut} kernel ${p.kernelH}x${p.kernelW}`;
  key += ` stride ${p.strideH}x${p.strideW} pad ${p.padTop}x${p.padLeft}`;
  if (p.dilationH !== 1 || p.dilationW !== 1) key += ` dilation ${p.dilationH}x${p.dilationW}`;
  if (p.groups !== 1) key += ` groups ${p.groups}`;
  key += ` ${p.weights ?? 'oihw'} ${p.elem ?? 'f32'}`;
  if (p.freshWeights) key += ' fresh';
  if (p.algorithm === 'direct') key += ' direct';
  return key;
}

function definedOf<T extends Record<string, number | undefined>>(values: T): { [K in keyof T]?: number } {
  return Object.fromEntries(Object.entries(values).filter(([, v]) => v !== undefined)) as {
    [K in keyof T]?: number;
  };
}

let lastId = 0;

/** Choices by {@link tuningKey}. */
export class TuningTable implements Tuning {
  readonly id = ++lastId;
  readonly choices: ReadonlyMap<string, TunedChoice>;

  constructor(choices: Iterable<readonly [string, TunedChoice]>) {
    this.choices = new Map(choices);
  }

  choose(op: TunedOp, problem: GemmProblem | Conv2dProblem): TunedChoice | undefined {
    return this.choices.get(tuningKey(op, problem));
  }
}

export type RecordedProblem = TunedProblem & { readonly key: string; readonly calls: number };

/**
 * Chooses nothing and notes what it is asked for, with the number of times: the matrix products and
 * convolutions of whatever is planned for a target that carries it. A product within a convolution is noted
 * by itself too.
 */
export class ProblemRecorder implements Tuning {
  private readonly found = new Map<string, { problem: TunedProblem; calls: number }>();

  /** New at each look, of all recorders, so that no remembered plan answers and every call is counted. */
  get id(): number {
    return ++lastId;
  }

  choose(op: TunedOp, problem: GemmProblem | Conv2dProblem): undefined {
    const key = tuningKey(op, problem);
    const known = this.found.get(key);
    if (known) known.calls++;
    else this.found.set(key, { problem: plain(op, problem), calls: 1 });
  }

  problems(): RecordedProblem[] {
    return [...this.found].map(([key, { problem, calls }]) => ({ ...problem, key, calls }));
  }
}

function plain(op: TunedOp, problem: GemmProblem | Conv2dProblem): TunedProblem {
  const kept = { ...problem } as Record<string, unknown>;
  for (const name of ['epilogue', 'accumulate', 'residualOffset']) delete kept[name];
  for (const name of ['aOffset', 'bOffset', 'cOffset']) delete kept[name];
  return { op, problem: kept } as unknown as TunedProblem;
}

/** Tiles that the kernels have for the adapter, those likeliest to win first. */
export function candidateTiles(target: Target): Tile[] {
  if (hasBroadcast(target)) {
    // The kernels for broken-up rows need broadcasts, so there is nothing without them here.
    const sizes: readonly (readonly [number, Cols])[] = [
      [16, 4],
      [32, 4],
      [32, 2],
      [16, 2],
      [8, 4],
      [32, 1],
      [16, 1],
      [8, 2],
      [8, 1],
    ];
    return sizes.map(([rows, cols]) => ({ style: 'subgroup', rows, cols, lanes: 8, lanesY: 1 }));
  }
  const register = (rows: number, cols: Cols, lanes: number, lanesY: number): Tile => ({
    style: 'register',
    rows,
    cols,
    lanes,
    lanesY,
  });
  const tiles = [
    register(4, 4, 8, 8),
    register(8, 4, 8, 8),
    register(4, 4, 16, 8),
    register(8, 4, 16, 4),
    register(4, 4, 32, 1),
    register(4, 2, 16, 8),
    register(4, 1, 32, 4),
  ];
  return [...sharedTiles(target), ...tiles].filter((t) => t.lanes * t.lanesY <= target.maxInvocations);
}

/** Whether the kernels have what a table asks for; tables come from files. */
export function isCandidate(target: Target, choice: TunedChoice): boolean {
  const { tile, algorithm } = choice;
  if (algorithm !== undefined && algorithm !== 'direct' && algorithm !== 'winograd') return false;
  if (tile === undefined) return algorithm !== undefined;
  if (typeof tile !== 'object' || tile === null) return false;
  const fields = ['style', 'rows', 'cols', 'lanes', 'lanesY', 'vectors', 'depth', 'buffers'] as const;
  return candidateTiles(target).some((t) => fields.every((name) => t[name] === tile[name]));
}

/**
 * What is worth measuring for a problem, the likeliest first. `winograd` says whether Winograd's kernels
 * apply to it, and whether they are the default. Their tiles are those of the products within, which are
 * problems of their own.
 */
export function candidates(
  target: Target,
  { op }: TunedProblem,
  winograd: 'no' | 'possible' | 'default',
): TunedChoice[] {
  const tiles = candidateTiles(target);
  if (op === 'gemm' || winograd === 'no') return tiles.map((tile) => ({ tile }));
  const direct = tiles.map((tile): TunedChoice => ({ tile, algorithm: 'direct' }));
  return winograd === 'default'
    ? [{ algorithm: 'direct' }, ...direct]
    : [{ algorithm: 'winograd' }, ...direct];
}
