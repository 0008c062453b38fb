/**
 * The process that measures: `--work NAME` one work, `--first` only its first run, `--ceilings` the adapter,
 * `--counts` the works of counts.ts. Prints one line of JSON. {@link ./process.ts} bundles and starts it.
 */
import { parseArgs } from 'node:util';
import { Bench } from 'tinybench';
import * as k from '../src/index.js';
import { prepare, type Needs, type Prepared } from './cases.js';
import { measureCeilings, type Ceilings } from './ceilings.js';
import { countAll } from './counts.js';
import { median } from './report.js';
import { workNamed } from './works.mjs';

export interface Sample {
  readonly medianMs: number;
  /** 99th percentile. */
  readonly p99Ms: number;
  readonly samples: number;
}

export interface FirstRun {
  /** The process's first run: shaders compile, or come from the driver's cache. */
  readonly firstMs: number;
  readonly peakRssBytes: number;
}

export interface Measured extends Sample, FirstRun, Needs {
  readonly work: string;
  readonly dispatches: number;
  /** That the work itself needs, without the making of its operands. */
  readonly pipelines: number;
  readonly peakGpuBytes: number;
  /** Taken in turns with another work in the same process. */
  readonly beside?: Beside;
}

export interface Beside extends Sample {
  readonly name: string;
  /** Time of the work over this one's: the median over pairs of runs. */
  readonly ratio: number;
}

export interface AdapterCeilings extends Ceilings {
  readonly adapter: string;
}

const peakRss = (): number => process.resourceUsage().maxRSS * 1024;

async function timed(run: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await run();
  return performance.now() - start;
}

const sampleOf = (times: readonly number[]): Sample => {
  const sorted = [...times].sort((a, b) => a - b);
  const p99Ms = sorted[Math.ceil(0.99 * sorted.length) - 1] ?? NaN;
  return { medianMs: median(sorted), p99Ms, samples: sorted.length };
};

async function repeated(run: () => Promise<unknown>, timeMs: number): Promise<Sample> {
  const bench = new Bench({ time: timeMs, iterations: 5, warmup: false, throws: true });
  bench.add('run', () => run(), { async: true });
  const [task] = await bench.run();
  if (task?.result.state !== 'completed') throw new Error('the benchmark did not complete');
  const { p50: medianMs, p99: p99Ms, samplesCount: samples } = task.result.latency;
  return { medianMs, p99Ms, samples };
}

/** Both in turns, so that a machine whose speed drifts is fair to both. */
async function inTurns(
  { run }: Prepared,
  beside: NonNullable<Prepared['beside']>,
): Promise<Pick<Measured, 'beside'> & Sample> {
  const [own, other]: [number[], number[]] = [[], []];
  await beside.run();
  for (let pair = 0; pair < 6; pair++) {
    // Each goes first as often as the other.
    if (pair % 2 === 0) own.push(await timed(run));
    other.push(await timed(beside.run));
    if (pair % 2 === 1) own.push(await timed(run));
  }
  const ratio = median(own.map((time, i) => time / (other[i] ?? NaN)));
  return { ...sampleOf(own), beside: { name: beside.name, ratio, ...sampleOf(other) } };
}

async function measure(work: string, timeMs: number): Promise<Measured> {
  const runtime = k.runtime();
  const prepared = await prepare(workNamed(work));
  const { run, beside } = prepared;
  await k.synchronize();
  runtime.resetPeakMemory();
  const before = runtime.pipelineCount();
  const firstMs = await timed(run);
  await run();
  const pipelines = runtime.pipelineCount() - before;
  runtime.resetOpCounts();
  await run();
  const dispatches = [...runtime.opCounts().values()].reduce((sum, count) => sum + count, 0);
  return {
    work,
    ...(beside ? await inTurns(prepared, beside) : await repeated(run, timeMs)),
    ...prepared.needs(),
    dispatches,
    pipelines,
    firstMs,
    peakGpuBytes: runtime.memoryStats().peakBytes,
    peakRssBytes: peakRss(),
  };
}

async function firstRun(work: string): Promise<FirstRun> {
  const { run } = await prepare(workNamed(work));
  await k.synchronize();
  return { firstMs: await timed(run), peakRssBytes: peakRss() };
}

const { values } = parseArgs({
  options: {
    work: { type: 'string', default: '' },
    time: { type: 'string', default: '500' },
    first: { type: 'boolean', default: false },
    ceilings: { type: 'boolean', default: false },
    counts: { type: 'boolean', default: false },
  },
});

async function result(): Promise<object> {
  if (values.counts) return countAll();
  await k.init();
  if (values.ceilings)
    return { adapter: k.runtime().info.device, ...(await measureCeilings()) } satisfies AdapterCeilings;
  return values.first ? firstRun(values.work) : measure(values.work, Number(values.time));
}

console.log(JSON.stringify(await result()));
k.close();
