/**
 * `npm run bench:peers`: kindling and other libraries on one adapter, each in a process of its own, taking
 * turns. `--help` lists the options.
 */
import { parseArgs } from 'node:util';
import packageFile from '../../package.json' with { type: 'json' };
import type { AdapterCeilings, Measured } from '../measure.js';
import { Bundle, EmptyShaderCache, runForJson } from '../process.js';
import {
  currentLoad,
  digits,
  environment,
  median,
  readResults,
  setDriverDefaults,
  slugOf,
  writeResults,
} from '../report.js';
import { chosenNames, peerWorks, workNamed, works } from '../works.mjs';
import { peersPlot } from './plot.js';
import { bestPeer, kindling, ratio, report, targets, type Cold, type Entry, type Row } from './report.js';
import { installPeers, libraries, reference, type Start, type Worker } from './workers.js';

/** Largest relative difference that still counts as the same computation; see {@link agrees}. */
const tolerance = 2e-3;

const help = `Usage: npm run bench:peers -- [options]

  --only PATTERNS     comma-separated regular expressions, of which a work's name must match one
  --all               also works without a target (see bench/targets.json)
  --rounds N          turns per library (default 3)
  --libraries NAMES   comma-separated: kindling,jax,tfjs,ort,pytorch (default: all)
  --no-cold           skip the first steps with an empty shader cache
  --json              this run's rows as JSON on standard output instead of the tables
  --out FOLDER        write there instead of bench/results; rows of earlier runs stay in the files
  --no-save           write nothing`;

const { values } = parseArgs({
  allowNegative: true,
  options: {
    only: { type: 'string' },
    all: { type: 'boolean', default: false },
    rounds: { type: 'string', default: '3' },
    libraries: { type: 'string' },
    cold: { type: 'boolean', default: true },
    json: { type: 'boolean', default: false },
    out: { type: 'string' },
    save: { type: 'boolean', default: true },
    help: { type: 'boolean', default: false },
  },
});

/**
 * Losses are judged by the first: where an activation is all but 0, rounding decides whether a ReLU lets its
 * gradient through, and one such element is half a percent of a layer's gradient.
 */
function agrees(work: string, own: readonly number[], other: readonly number[]): boolean {
  const scaleOf = (i: number): number => Math.abs(own[workNamed(work).op === 'train' ? 0 : i] ?? NaN);
  return (
    own.length === other.length &&
    own.every((value, i) => Math.abs(value - (other[i] ?? NaN)) <= tolerance * scaleOf(i))
  );
}

function entryOf(worker: Worker, own: readonly number[], work: string): Entry {
  const { name: library, ready, times, peakRssMiB } = worker;
  const check = ready?.check ?? [];
  return {
    library,
    version: ready?.version ?? '',
    medianMs: median(times),
    fastestMs: Math.min(...times),
    samples: times.length,
    firstMs: ready?.firstMs ?? NaN,
    peakRssMiB,
    check,
    agrees: agrees(work, own, check),
    ...(ready?.needs && { needs: ready.needs }),
  };
}

/** All libraries on one work, in turns. */
async function compare(work: string, starts: readonly Start[], rounds: number): Promise<Entry[]> {
  const workers: Worker[] = [];
  try {
    // One after the other: compiling takes all cores.
    for (const start of starts) {
      const worker = start(work);
      if (await worker.start()) workers.push(worker);
      else await worker.end();
    }
    for (let i = 0; i < rounds; i++) for (const worker of workers) await worker.round();
  } finally {
    await Promise.all(workers.map((worker) => worker.end()));
  }
  const own = workers[0]?.ready;
  if (own?.library !== kindling) throw new Error(`${work}: kindling itself did not run`);
  for (const { name, ready } of workers) {
    if (name !== reference && ready?.adapter !== own.adapter)
      throw new Error(`${name} runs on '${ready?.adapter}', kindling on '${own.adapter}'`);
  }
  return workers.map((worker) => entryOf(worker, own.check ?? [], work));
}

/** The first steps of processes that find no compiled shader, one process after the other. */
async function coldRuns(work: string, starts: readonly Start[]): Promise<Cold[]> {
  console.error(`${work}, empty shader cache`);
  const list: Cold[] = [];
  for (const start of starts) {
    using cache = new EmptyShaderCache();
    const worker = start(work, cache.env);
    if (await worker.start()) {
      await worker.round();
      list.push({
        library: worker.name,
        firstMs: worker.ready?.firstMs ?? NaN,
        peakRssMiB: worker.peakRssMiB,
      });
    }
    await worker.end();
  }
  return list;
}

/** A work that only kindling has. */
function alone(measure: string, work: string): Pick<Row, 'entries' | 'beside'> {
  const measured = runForJson<Measured>(measure, ['--work', work]);
  const { medianMs, samples, firstMs, peakRssBytes, flops, bytes, operations, beside } = measured;
  const entry: Entry = {
    library: kindling,
    version: packageFile.version,
    medianMs,
    fastestMs: medianMs,
    samples,
    firstMs,
    peakRssMiB: peakRssBytes / 2 ** 20,
    check: [],
    agrees: true,
    needs: { flops, bytes, operations },
  };
  return { entries: [entry], ...(beside && { beside }) };
}

/** Puts a row into the adapter's results beside the rows of earlier runs. */
function save(row: Row): void {
  const name = `peers-${slugOf(row.environment.adapter)}`;
  const earlier = (readResults(name, values.out) as { rows: Row[] } | undefined)?.rows ?? [];
  // Rows from before ceilings were measured cannot be shown any more.
  const byWork = new Map([...earlier.filter(({ ceilings }) => ceilings), row].map((r) => [r.work, r]));
  const rows = Object.keys(works).flatMap((work) => byWork.get(work) ?? []);
  writeResults(name, { data: { rows }, markdown: report(rows), svg: peersPlot(rows) }, values.out);
}

async function main(): Promise<void> {
  setDriverDefaults();
  installPeers();
  using measuring = await Bundle.of('measure.ts');
  using worker = await Bundle.of('peers/kindling.ts');
  const measure = measuring.file;
  const isPeerWork = (work: string): boolean => work in peerWorks;
  const candidates = Object.keys(works).filter((work) => work in targets || (values.all && isPeerWork(work)));
  const chosen = chosenNames(candidates, values.only);
  const wanted = values.libraries?.split(',');
  const starts = [...libraries(worker.file)]
    .filter(([name]) => name === kindling || wanted === undefined || wanted.includes(name))
    .map(([, start]) => start);
  const rows: Row[] = [];
  for (const work of chosen) {
    const load = currentLoad();
    console.error(`\n${work} (load ${load})`);
    const ceilings = runForJson<AdapterCeilings>(measure, ['--ceilings']);
    const isCold = values.cold && targets[work]?.coldSeconds !== undefined;
    const row: Row = {
      work,
      environment: environment(ceilings.adapter, load),
      ceilings,
      ...(isPeerWork(work)
        ? { entries: await compare(work, starts, Number(values.rounds)) }
        : alone(measure, work)),
      ...(isCold && { cold: await coldRuns(work, starts) }),
    };
    rows.push(row);
    const best = bestPeer(row);
    if (best) console.error(`  ${best.library} / kindling: ${digits(ratio(row) ?? NaN)}`);
    if (values.save) save(row);
  }
  console.log(values.json ? JSON.stringify({ rows }, null, 2) : `\n${report(rows)}`);
}

if (values.help) console.log(help);
else await main();
