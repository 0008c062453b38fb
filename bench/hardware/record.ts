/** What a work would launch on a GPU that is not at hand, and what the invocations of those launches would do. */
import { runtime, type BufferArg, type DeviceBuffer } from '../../src/device/index.js';
import type { Grid, Kernel, Target } from '../../src/kernels/base/kernel.js';
import type { Launch } from '../../src/kernels/base/plan.js';
import { countedKernel } from './counted.js';
import type { HardwareWork } from './works.js';

/** Of one launch. Counts are exact where it has few workgroups, else those of a sample scaled up. */
export interface LaunchFigures {
  readonly kernel: string;
  readonly workgroups: number;
  /** Invocations of a workgroup. */
  readonly threads: number;
  /** The most loop passes that one invocation makes. */
  readonly steps: number;
  /** The most barriers that one invocation meets. */
  readonly barriers: number;
  /** Workgroup memory that a workgroup holds. */
  readonly workgroupBytes: number;
  /** What invocations ask of storage, whatever caches make of it. */
  readonly storageBytes: number;
  /** What invocations ask of workgroup memory. */
  readonly sharedBytes: number;
}

/** Of a launch, at most so many workgroups run in each dimension, spread over the grid. */
const sampled: Grid = [8, 2, 2];

/** The private parts of the runtime that are stood in for, and what its guards come from. */
interface Insides {
  planFor: Target;
  dispatch: Runtime['dispatch'];
  commit: Runtime['commit'];
  alloc: Runtime['alloc'];
  readonly chain: { readonly guard: DeviceBuffer };
}
type Runtime = ReturnType<typeof runtime>;

const product = (grid: Grid): number => grid[0] * grid[1] * grid[2];

/** Runs the sample of one launch with counters; what they come to is read later. */
function sample(
  dispatch: Runtime['dispatch'],
  kernel: Kernel,
  buffers: readonly BufferArg[],
  params: readonly number[],
  grid: Grid,
): () => Promise<LaunchFigures> {
  const rt = runtime();
  const runs: Grid = [
    Math.min(grid[0], sampled[0]),
    Math.min(grid[1], sampled[1]),
    Math.min(grid[2], sampled[2]),
  ];
  const counted = countedKernel(kernel, { grid, runs });
  const words = rt.alloc(4 * counted.words, 'counters');
  rt.clear(words, 0, words.capacity);
  dispatch.call(rt, counted.kernel, [...buffers, words], params, runs);
  return async () => {
    const [steps = 0, barriers = 0, ...accesses] = new Uint32Array(
      await rt.read(words, 0, 4 * counted.words),
    );
    rt.free(words);
    const bytesOf = (space: 'storage' | 'workgroup'): number => {
      const bytes = counted.arrays.map((array, i) =>
        array.space === space ? accesses[i]! * array.bytesPerElement : 0,
      );
      return Math.round((bytes.reduce((a, b) => a + b, 0) * product(grid)) / product(runs));
    };
    return {
      kernel: kernel.name,
      workgroups: product(grid),
      threads: counted.threads,
      steps,
      barriers,
      workgroupBytes: counted.workgroupBytes,
      storageBytes: bytesOf('storage'),
      sharedBytes: bytesOf('workgroup'),
    };
  };
}

/**
 * Runs a work whose ops plan for `target`, on whatever adapter is open. Of each launch only a sample of its
 * workgroups runs, with counters, so that what the work computes is nonsense.
 */
export async function launchFigures(target: Target, work: HardwareWork): Promise<LaunchFigures[]> {
  const rt = runtime();
  const insides = rt as unknown as Insides;
  const { planFor } = insides;
  const { dispatch, alloc } = insides;
  const made = work.prepare();
  const reads: (() => Promise<LaunchFigures>)[] = [];
  insides.planFor = target;
  insides.dispatch = (kernel, buffers, params, grid) => {
    if (!grid.includes(0)) reads.push(sample(dispatch, kernel, buffers, params, grid));
  };
  // A sample leaves most of a result unwritten, and what a kernel does may hang on what it reads (merges of a
  // sort): not on what the pool's buffer was used for before.
  insides.alloc = (bytes, label) => {
    const buffer = alloc.call(rt, bytes, label);
    rt.clear(buffer, 0, buffer.capacity);
    return buffer;
  };
  // A commit would check and bind the kernels as they are.
  insides.commit = (launches: readonly Launch<BufferArg>[]) => {
    for (const { kernel, buffers, params, grid } of launches)
      insides.dispatch(kernel, [insides.chain.guard, ...buffers], params, grid);
  };
  try {
    made.before?.();
    reads.length = 0;
    made.run();
  } finally {
    insides.planFor = planFor;
    for (const name of ['dispatch', 'commit', 'alloc'] as const) delete (insides as Partial<Insides>)[name];
  }
  const figures: LaunchFigures[] = [];
  for (const read of reads) figures.push(await read());
  return figures;
}
