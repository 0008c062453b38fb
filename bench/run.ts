/**
 * `npm run bench`: kindling's kernels and models on this machine's adapter, each in a process of its own so that first calls are cold
 * and memory is its own. `--help` lists the options.
 */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { Bench } from 'tinybench';
import * as k from '../src/index.js';
import { prepare } from './cases.js';
import {
  currentLoad,
  describe,
  digits,
  environment,
  markdownTable,
  setDriverDefaults,
  slugOf,
  writeResults,
  type Environment,
} from './report.js';
import { bytesOf, flopsOf, workNamed, works } from './works.mjs';

interface Row {
  readonly work: string;
  readonly medianMs: number;
  /** 99th percentile. */
  readonly p99Ms: number;
  readonly samples: number;
  /** GFLOP/s at the median; absent where memory is the limit. */
  readonly gflops?: number;
  /** GB/s at the median, each operand and result counted once; absent where arithmetic is the limit. */
  readonly gigabytesPerSecond?: number;
  readonly dispatches: number;
  /** The process's first run: shaders compile, or come from the driver's cache. */
  readonly firstMs: number;
  readonly peakGpuBytes: number;
  readonly peakRssBytes: number;
}

interface Measured {
  readonly adapter: string;
  readonly row: Row;
}

/** Measures one work in this process. */
async function measure(work: string, timeMs: number): Promise<Measured> {
  await k.init();
  const runtime = k.runtime();
  const { run } = await prepare(workNamed(work));
  await k.synchronize();
  runtime.resetPeakMemory();
  const start = performance.now();
  await run();
  const firstMs = performance.now() - start;
  await run();
  runtime.resetOpCounts();
  await run();
  const dispatches = [...runtime.opCounts().values()].reduce((sum, count) => sum + count, 0);

  const bench = new Bench({ time: timeMs, iterations: 5, warmupTime: 0, warmupIterations: 2, throws: true });
  bench.add(work, run, { async: true });
  const [task] = await bench.run();
  if (task?.result.state !== 'completed') throw new Error(`${work}: the benchmark did not complete`);
  const { latency } = task.result;
  const medianMs = latency.p50;
  const [flops, bytes] = [flopsOf(workNamed(work)), bytesOf(workNamed(work))];
  const row: Row = {
    work,
    medianMs,
    p99Ms: latency.p99,
    samples: latency.samplesCount,
    ...(flops > 0 && { gflops: flops / medianMs / 1e6 }),
    ...(bytes > 0 && { gigabytesPerSecond: bytes / medianMs / 1e6 }),
    dispatches,
    firstMs,
    peakGpuBytes: runtime.memoryStats().peakBytes,
    peakRssBytes: process.resourceUsage().maxRSS * 1024,
  };
  return { adapter: runtime.info.device, row };
}

/** The same in a fresh process. */
function measureApart(work: string, timeMs: number): Measured {
  const args = [
    ...process.execArgv,
    ...process.argv.slice(1, 2),
    '--measure',
    work,
    '--time',
    String(timeMs),
  ];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  const line = stdout.trimEnd().split('\n').at(-1) ?? '';
  if (status !== 0 || !line.startsWith('{'))
    throw new Error(`${work}: the benchmark failed\n${stderr}${stdout}`);
  return JSON.parse(line) as Measured;
}

const mebibytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(0);

function report(e: Environment, rows: readonly Row[]): string {
  const header = [
    'work',
    'median ms',
    'p99 ms',
    'GFLOP/s',
    'GB/s',
    'dispatches',
    'first ms',
    'GPU MiB',
    'RSS MiB',
  ];
  const cells = rows.map((row) => [
    row.work,
    digits(row.medianMs),
    digits(row.p99Ms),
    row.gflops === undefined ? '-' : digits(row.gflops),
    row.gigabytesPerSecond === undefined ? '-' : digits(row.gigabytesPerSecond),
    String(row.dispatches),
    digits(row.firstMs),
    mebibytes(row.peakGpuBytes),
    mebibytes(row.peakRssBytes),
  ]);
  return `# kindling's kernels and models\n\n${describe(e)}\n\n${markdownTable(header, cells)}`;
}

const help = `Usage: npm run bench -- [options]

  --only NAMES   comma-separated parts of work names; all: ${Object.keys(works).join(', ')}
  --time MS      least time per work (default 1000)
  --json FILE    also write the results there
  --no-save      leave bench/results as it is (also with --only)`;

const { values } = parseArgs({
  allowNegative: true,
  options: {
    only: { type: 'string' },
    time: { type: 'string', default: '1000' },
    json: { type: 'string' },
    save: { type: 'boolean', default: true },
    measure: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});

if (values.help) {
  console.log(help);
} else if (values.measure !== undefined) {
  console.log(JSON.stringify(await measure(values.measure, Number(values.time))));
  k.close();
} else {
  const parts = values.only?.split(',');
  const chosen = Object.keys(works).filter((name) => parts?.some((part) => name.includes(part)) ?? true);
  if (chosen.length === 0)
    throw new Error(`--only ${values.only}: there is ${Object.keys(works).join(', ')}`);
  setDriverDefaults();
  const load = currentLoad();
  const results = chosen.map((work) => {
    const result = measureApart(work, Number(values.time));
    console.log(`${work.padEnd(28)}${digits(result.row.medianMs).padStart(8)} ms`);
    return result;
  });
  const e = environment(results[0]?.adapter ?? '', load);
  const rows = results.map(({ row }) => row);
  const text = report(e, rows);
  console.log(`\n${text}`);
  if (values.json !== undefined)
    writeFileSync(values.json, JSON.stringify({ environment: e, rows }, null, 2) + '\n');
  // A part would hide the rest of what is there.
  if (values.save && parts === undefined) writeResults(slugOf(e.adapter), { environment: e, rows }, text);
}
