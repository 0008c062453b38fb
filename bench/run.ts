/**
 * `npm run bench`: kindling's kernels and models on this machine's adapter, each in a process of its own.
 * `--help` lists the options.
 */
import { parseArgs } from 'node:util';
import { higher } from './ceilings.js';
import { differences, readExpected, writeExpected, type CountedWorks } from './counts.js';
import type { AdapterCeilings, FirstRun, Measured } from './measure.js';
import { Bundle, EmptyShaderCache, runForJson } from './process.js';
import {
  currentLoad,
  describe,
  digits,
  environment,
  setDriverDefaults,
  slugOf,
  writeResults,
} from './report.js';
import { page } from './roofline.js';
import { besideLines, describeCeilings, ratesOf, shareText, tableOf, type Row } from './rows.js';
import { chosenNames, suites } from './works.mjs';

const help = `Usage: npm run bench -- [options]

  --suite NAME      kernels, models or all (default)
  --only PATTERNS   comma-separated regular expressions, of which a work's name must match one
  --quick           shorter measurements and no cold ones: a look, not a result
  --no-cold         skip the first runs with an empty shader cache
  --time MS         least time per work (default 500)
  --json            the results as JSON on standard output instead of the table
  --out FOLDER      write NAME.json, NAME.md and NAME.html there; a run of everything writes to bench/results without it
  --no-save         write nothing
  --list            names of the works
  --update-counts   only write bench/expected-counts.json anew, which a test compares`;

const { values } = parseArgs({
  allowNegative: true,
  options: {
    suite: { type: 'string', default: 'all' },
    only: { type: 'string' },
    quick: { type: 'boolean', default: false },
    cold: { type: 'boolean', default: true },
    time: { type: 'string' },
    json: { type: 'boolean', default: false },
    out: { type: 'string' },
    save: { type: 'boolean', default: true },
    list: { type: 'boolean', default: false },
    'update-counts': { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

function chosenRows(): { work: string; suite: Row['suite'] }[] {
  const wanted = (['kernels', 'models'] as const).filter((suite) => ['all', suite].includes(values.suite));
  if (wanted.length === 0) throw new Error(`--suite ${values.suite}: there is kernels, models and all`);
  const suiteOf = new Map(wanted.flatMap((suite) => suites[suite].map((work) => [work, suite] as const)));
  return chosenNames([...suiteOf.keys()], values.only).map((work) => ({
    work,
    suite: suiteOf.get(work) ?? 'kernels',
  }));
}

/**
 * One work; the process that finds the driver's cache empty goes first, the one that is timed finds it
 * filled.
 */
function measure(file: string, work: string, cold: boolean, timeMs: string): Omit<Row, 'suite'> {
  const args = ['--work', work, '--time', timeMs];
  if (!cold) return runForJson<Measured>(file, args);
  using cache = new EmptyShaderCache();
  const first = runForJson<FirstRun>(file, [...args, '--first'], cache.env);
  return { ...runForJson<Measured>(file, args, cache.env), cold: first };
}

async function main(): Promise<void> {
  setDriverDefaults();
  using bundle = await Bundle.of('measure.ts');
  const { file } = bundle;
  if (values['update-counts']) return updateCounts(file);
  const chosen = chosenRows();
  const cold = values.cold && !values.quick;
  const timeMs = values.time ?? (values.quick ? '100' : '500');
  const load = currentLoad();
  const start = performance.now();
  const before = runForJson<AdapterCeilings>(file, ['--ceilings']);
  const rows = chosen.map(({ work, suite }): Row => {
    const row = { suite, ...measure(file, work, cold, timeMs) };
    const share = shareText(ratesOf(row, before));
    console.error(`${work.padEnd(34)}${digits(row.medianMs).padStart(8)} ms  ${share}`);
    return row;
  });
  const ceilings = higher(before, runForJson<AdapterCeilings>(file, ['--ceilings']));
  const e = environment(before.adapter, load);
  const minutes = (performance.now() - start) / 60_000;
  const notes = [
    `${describe(e)} The run took ${digits(minutes)} minutes.`,
    describeCeilings(ceilings),
    ...besideLines(rows),
  ];
  const title = "kindling's kernels and models";
  const markdown = [`# ${title}`, ...notes, tableOf(rows, ceilings)].join('\n\n');
  const data = {
    environment: e,
    ceilings,
    rows: rows.map((row) => ({ ...row, ...ratesOf(row, ceilings) })),
  };
  console.log(values.json ? JSON.stringify(data, null, 2) : `\n${markdown}`);
  // A part would hide the rest of what is there.
  const whole = values.suite === 'all' && values.only === undefined && !values.quick;
  if (values.save && (whole || values.out !== undefined))
    writeResults(slugOf(e.adapter), { data, markdown, html: page(title, notes, rows, ceilings) }, values.out);
}

function updateCounts(file: string): void {
  const counts = runForJson<CountedWorks>(file, ['--counts']);
  const changed = differences(readExpected().works, counts.works);
  writeExpected(counts);
  console.log(changed.length === 0 ? 'No count has changed.' : changed.join('\n'));
}

if (values.help) console.log(help);
else if (values.list)
  console.log(
    chosenRows()
      .map(({ work }) => work)
      .join('\n'),
  );
else await main();
