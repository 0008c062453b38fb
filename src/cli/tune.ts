/** Measures candidate tiles and algorithms for the matrix products and convolutions of a model. */
import { randn, runtime, type Tensor } from '../index.js';
import type { TunedEntry } from '../device/index.js';
import { planConv2d } from '../kernels/conv/plan.js';
import { planConv2dInputGrad } from '../kernels/conv/input-grad.js';
import type { Conv2dProblem } from '../kernels/conv/problem.js';
import { planConv2dWeightGrad } from '../kernels/conv/weight-grad.js';
import { planGemm } from '../kernels/matmul/plan.js';
import type { GemmProblem } from '../kernels/matmul/problem.js';
import type { Target } from '../kernels/base/kernel.js';
import type { Elem, Plan } from '../kernels/base/plan.js';
import {
  candidates,
  ProblemRecorder,
  TuningTable,
  type RecordedProblem,
  type TunedProblem,
} from '../kernels/tuning/table.js';
import type { TunedChoice } from '../kernels/matmul/choice.js';
import { Tensor as TensorClass } from '../tensor/tensor.js';
import { planLimits, runPlan } from '../ops/base/run-plan.js';

/** The problems that `work` plans, with how often it does; the GPU does none of it. */
export function recordProblems(work: () => void): RecordedProblem[] {
  const gpu = runtime();
  const before = gpu.target.tuning;
  const recorder = new ProblemRecorder();
  gpu.useTuning(recorder);
  try {
    gpu.withoutWork(work);
  } finally {
    gpu.useTuning(before);
  }
  return recorder.problems();
}

export interface TuneOptions {
  /**
   * After so many nothing new is begun. What is under way ends first: seconds, where a kernel must be
   * compiled.
   */
  readonly seconds: number;
  /** Aborting it ends the search as the time limit does. */
  readonly signal?: AbortSignal;
  /** Choices of earlier searches: tried first, and kept for problems that this one does not get to. */
  readonly known?: ReadonlyMap<string, TunedEntry>;
  /** @internal Instead of {@link candidates}. */
  readonly candidatesOf?: typeof candidates;
  /** @internal Plans are made for it. Default: the device's. */
  readonly target?: Target;
  /** Called when the search is done with a problem. */
  readonly onRow?: (row: TuneRow) => void;
}

export interface TuneRow {
  /** `tuningKey` of the problem. */
  readonly key: string;
  /** In one pass or step of the model. */
  readonly calls: number;
  readonly defaultMs: number;
  /** Of what is best: the default's time where nothing beat it. */
  readonly ms: number;
  /** Null: the default stays. */
  readonly choice: TunedChoice | null;
  /** Candidates that ran, and those that the adapter refused. */
  readonly tried: number;
  readonly failed: number;
}

export interface TuneResult {
  /** Problems measured against candidates, in that order. */
  readonly rows: readonly TuneRow[];
  /** Known choices with those found in their places. */
  readonly choices: Map<string, TunedEntry>;
  readonly seconds: number;
  /** Problems that time ran out for, and those too small to matter. */
  readonly left: number;
  readonly small: number;
  readonly ended: 'done' | 'time' | 'interrupted';
}

/** A winner's time is below this share of the default's, in two comparisons after the one that found it. */
const gain = 0.95;
/** Milliseconds of work between two readings of the clock. */
const batchMs = 12;
/** Problems that take a smaller share of the whole are left alone. */
const smallShare = 0.003;

/**
 * Looks for choices that beat the defaults. Products come before convolutions, since Winograd's kernels are
 * built on them, and what takes longest first. A candidate that fails is passed over.
 */
export async function tune(problems: readonly RecordedProblem[], options: TuneOptions): Promise<TuneResult> {
  const start = performance.now();
  const elapsed = (): number => (performance.now() - start) / 1e3;
  const choices = new Map(options.known);
  const interrupted = (): boolean => options.signal?.aborted === true;
  const over = (): boolean => interrupted() || elapsed() >= options.seconds;

  const timed: { problem: RecordedProblem; cost: number }[] = [];
  for (const problem of problems) {
    if (over()) break;
    const ms = await defaultTime(problem, options.target);
    if (ms !== null) timed.push({ problem, cost: ms * problem.calls });
  }
  // A product within a convolution counts twice: this is only to tell what matters.
  const total = timed.reduce((sum, { cost }) => sum + cost, 0);
  timed.sort((a, b) => b.cost - a.cost);
  const worth = timed.filter(({ cost }) => cost >= smallShare * total).map(({ problem }) => problem);
  const products = worth.filter(({ op }) => op === 'gemm');
  const convolutions = worth.filter(({ op }) => op !== 'gemm');

  const rows: TuneRow[] = [];
  const search = async (queue: RecordedProblem[], until: number): Promise<void> => {
    while (queue.length > 0 && !interrupted() && elapsed() < until) {
      const problem = queue.shift() as RecordedProblem;
      const row = await searchProblem(problem, choices, over, options);
      if (row === null) continue;
      rows.push(row);
      if (row.choice === null) choices.delete(row.key);
      else choices.set(row.key, { ...row.choice, defaultMs: row.defaultMs, ms: row.ms });
      options.onRow?.(row);
    }
  };
  await search(products, convolutions.length > 0 ? 0.6 * options.seconds : options.seconds);
  await search(convolutions, options.seconds);
  await search(products, options.seconds);

  const left = problems.length - timed.length + products.length + convolutions.length;
  return {
    rows,
    choices,
    seconds: elapsed(),
    left,
    small: timed.length - worth.length,
    ended: interrupted() ? 'interrupted' : over() ? 'time' : 'done',
  };
}

/** Null where the problem does not run by itself, for want of memory. */
async function defaultTime(problem: RecordedProblem, target?: Target): Promise<number | null> {
  try {
    return await withBench(problem, target, async (bench) => {
      const plain = bench.plan(undefined, new Map());
      await bench.time(plain, 1);
      return Math.min(await bench.time(plain, 2), await bench.time(plain, 2));
    });
  } catch {
    return null;
  }
}

async function searchProblem(
  problem: RecordedProblem,
  choices: ReadonlyMap<string, TunedEntry>,
  over: () => boolean,
  { known, candidatesOf = candidates, target = runtime().target }: TuneOptions,
): Promise<TuneRow | null> {
  try {
    return await withBench(problem, target, async (bench) => {
      const others = new Map(choices);
      others.delete(problem.key);
      const plain = bench.plan(undefined, others);
      await bench.time(plain, 1);
      const once = await bench.time(plain, 2);
      // Even, since a copy of the weights may serve two calls.
      const repeats = 2 * Math.min(64, Math.max(1, Math.ceil(batchMs / once / 2)));
      const compare = async (candidate: Plan, rounds: number): Promise<readonly [number, number]> => {
        let [a, b] = [Infinity, Infinity];
        for (let i = 0; i < rounds; i++) {
          a = Math.min(a, await bench.time(plain, repeats));
          b = Math.min(b, await bench.time(candidate, repeats));
          if (b > 1.5 * a) break;
        }
        return [a, b];
      };
      const list = candidatesOf(target, problem, bench.winograd(plain, others));
      const earlier = known?.get(problem.key);
      if (earlier) list.unshift({ ...choiceOf(earlier) });

      let best: { choice: TunedChoice; plan: Plan; share: number } | null = null;
      let defaultMs = Infinity;
      let [tried, failed] = [0, 0];
      const seen: Plan[] = [plain];
      for (const choice of list) {
        if (over()) break;
        try {
          const plan = bench.plan(choice, others);
          if (seen.some((other) => sameLaunches(other, plan))) continue;
          seen.push(plan);
          await bench.time(plan, 1); // Compiles.
          tried++;
          if (Math.min(await bench.time(plan, 2), await bench.time(plan, 2)) > 2 * once) continue;
          const [a, b] = await compare(plan, 2);
          defaultMs = Math.min(defaultMs, a);
          if (b < gain * a && b / a < (best?.share ?? Infinity)) best = { choice, plan, share: b / a };
        } catch {
          failed++;
        }
      }
      if (tried + failed === 0 && over()) return null;
      const row = { key: problem.key, calls: problem.calls, tried, failed };
      if (!Number.isFinite(defaultMs)) defaultMs = once;
      if (best !== null) {
        const first = await compare(best.plan, 3);
        const second = await compare(best.plan, 3);
        const lasting = [first, second].every(([a, b]) => b < gain * a);
        if (lasting) {
          const [a, b] = [Math.min(first[0], second[0]), Math.min(first[1], second[1])];
          return { ...row, defaultMs: a, ms: b, choice: best.choice };
        }
      }
      return { ...row, defaultMs, ms: defaultMs, choice: null };
    });
  } catch {
    return null;
  }
}

const choiceOf = ({ tile, algorithm }: TunedEntry): TunedChoice => ({
  ...(tile && { tile }),
  ...(algorithm && { algorithm }),
});

/** Kernels are made once per specification, so that equal ones are one object. */
const sameLaunches = (a: Plan, b: Plan): boolean =>
  a.launches.length === b.launches.length &&
  a.launches.every(({ kernel, grid }, i) => {
    const other = b.launches[i];
    return kernel === other?.kernel && grid.join() === other.grid.join();
  });

/** The operands of one problem, and the clock. */
interface Bench {
  /** @throws RangeError when the problem cannot be planned so */
  plan(choice: TunedChoice | undefined, others: ReadonlyMap<string, TunedChoice>): Plan;
  /** Milliseconds per run of `runs`. Rejects with what the adapter refuses. */
  time(plan: Plan, runs: number): Promise<number>;
  winograd(plain: Plan, others: ReadonlyMap<string, TunedChoice>): 'no' | 'possible' | 'default';
}

const isWinograd = ({ launches }: Plan): boolean =>
  launches.some(({ kernel }) => kernel.name.startsWith('winograd'));

async function withBench<T>(
  problem: RecordedProblem,
  target: Target = runtime().target,
  use: (bench: Bench) => Promise<T>,
): Promise<T> {
  const gpu = runtime();
  const made: Tensor[] = [];
  const packs = new Map<Plan, Tensor>();
  try {
    const { elem = 'f32' } = problem.problem;
    const tensors: Record<string, Tensor> = {};
    for (const [name, count] of Object.entries(operandsOf(problem)))
      made.push((tensors[name] = filled(count, elem)));
    const { w: weight, ...operands } = tensors;
    const fresh = problem.op !== 'gemm' && problem.problem.freshWeights === true;

    const pack = (plan: Plan): void => {
      const { weights } = plan;
      if (weights === undefined || weight === undefined) return;
      let packed = packs.get(plan);
      if (packed === undefined) {
        packed = TensorClass.empty([Math.ceil(weights.bytes / 4)], 'float32', 'bench');
        packs.set(plan, packed.keep());
      }
      runPlan('bench', { launches: weights.launches, workspaces: {} }, { weight, packed });
    };
    const plan: Bench['plan'] = (choice, others) => {
      const entries = new Map(others);
      if (choice !== undefined) entries.set(problem.key, choice);
      return planOf({ ...target, tuning: new TuningTable(entries) }, problem);
    };
    return await use({
      plan,
      async time(each, runs) {
        if (!packs.has(each)) pack(each);
        await gpu.synchronize();
        // In a step of training both directions use one transformed weight.
        const every = each.weights?.key === 'winograd' ? 2 : 1;
        const begin = performance.now();
        for (let i = 0; i < runs; i++) {
          if (fresh && i % every === 0) pack(each);
          const packed = packs.get(each);
          runPlan(
            'bench',
            { launches: each.launches, workspaces: each.workspaces },
            operands,
            packed ?? weight,
          );
        }
        await gpu.synchronize();
        return (performance.now() - begin) / runs;
      },
      winograd(plain, others) {
        if (problem.op === 'gemm') return 'no';
        if (isWinograd(plain)) return 'default';
        return isWinograd(plan({ algorithm: 'winograd' }, others)) ? 'possible' : 'no';
      },
    });
  } finally {
    for (const each of [...made, ...packs.values()]) each.dispose();
  }
}

function filled(count: number, elem: Elem): Tensor {
  const values = randn(count);
  return elem === 'f32' ? values : values.to('float16');
}

function planOf(target: Target, problem: TunedProblem): Plan {
  const limits = planLimits();
  switch (problem.op) {
    case 'gemm':
      return planGemm(target, limits, problem.problem);
    case 'conv2d':
      return planConv2d(target, limits, problem.problem);
    case 'conv2dInputGrad':
      return planConv2dInputGrad(target, limits, problem.problem);
    case 'conv2dWeightGrad':
      return planConv2dWeightGrad(target, limits, problem.problem);
  }
}

/** Elements of each buffer that the plans of a problem bind. */
function operandsOf(problem: TunedProblem): Record<string, number> {
  if (problem.op === 'gemm') return gemmOperands(problem.problem);
  const p: Conv2dProblem = problem.problem;
  const x = p.n * p.h * p.w * p.cIn;
  const y = p.n * p.outH * p.outW * p.cOut;
  const w = p.cOut * (p.cIn / p.groups) * p.kernelH * p.kernelW;
  if (problem.op === 'conv2d') return { x, w, y };
  return problem.op === 'conv2dInputGrad' ? { dy: y, w, dx: x } : { x, dy: y, dw: w };
}

function gemmOperands(p: GemmProblem): Record<string, number> {
  const { m, n, k, transA, transB, batch = 1 } = p;
  const span = (rows: number, columns: number, ld = columns, apart = rows * ld): number =>
    (batch - 1) * apart + (rows - 1) * ld + columns;
  return {
    a: transA ? span(k, m, p.lda, p.aBatch ?? m * k) : span(m, k, p.lda, p.aBatch ?? m * k),
    b: transB ? span(n, k, p.ldb, p.bBatch ?? k * n) : span(k, n, p.ldb, p.bBatch ?? k * n),
    c: span(m, n, p.ldc, p.cBatch),
  };
}
