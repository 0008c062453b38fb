/** Rows of `npm run bench:peers`, their comparison with the targets, and the tables. */
import { readFileSync } from 'node:fs';
import type { Needs } from '../cases.js';
import type { Ceilings } from '../ceilings.js';
import type { Beside } from '../measure.js';
import { describe, digits, markdownTable, type Environment } from '../report.js';
import { describeCeilings, ratesOf, shareText } from '../rows.js';
import { reference } from './workers.js';

export const kindling = 'kindling';

export interface Entry {
  readonly library: string;
  readonly version: string;
  readonly medianMs: number;
  readonly fastestMs: number;
  readonly samples: number;
  readonly firstMs: number;
  readonly peakRssMiB: number;
  readonly check: readonly number[];
  /** Whether `check` is kindling's. */
  readonly agrees: boolean;
  /** kindling's own. */
  readonly needs?: Needs;
}

/** A process of its own that finds no compiled shader: its first step, and its memory over some more. */
export interface Cold {
  readonly library: string;
  readonly firstMs: number;
  readonly peakRssMiB: number;
}

export interface Row {
  readonly work: string;
  readonly environment: Environment;
  readonly ceilings: Ceilings;
  readonly entries: readonly Entry[];
  readonly cold?: readonly Cold[];
  /** kindling's other work, in turns with this one in one process. */
  readonly beside?: Beside;
}

/** What a work is to reach; times are kindling's. */
interface Target {
  /** Best peer's time over ours, at least. */
  readonly ratio?: number;
  /** Our time over PyTorch's on the CPU, at most. */
  readonly timesPyTorch?: number;
  /** First step with nothing compiled, at most. */
  readonly coldSeconds?: number;
  /** Smallest peer's memory over ours in that run, at least. */
  readonly memoryRatio?: number;
  /** Our time over the time of the work beside it, at most. */
  readonly timesBeside?: number;
}

export const targets = JSON.parse(
  readFileSync(new URL('../targets.json', import.meta.url), 'utf8'),
) as Record<string, Target>;

const entryOf = (row: Row, library: string): Entry | undefined =>
  row.entries.find((entry) => entry.library === library);

const isPeer = ({ library }: { library: string }): boolean => library !== kindling && library !== reference;

const least = <T>(items: readonly T[], key: (item: T) => number): T | undefined =>
  [...items].sort((a, b) => key(a) - key(b))[0];

/** The fastest other library whose numbers are ours. */
export const bestPeer = (row: Row): Entry | undefined =>
  least(
    row.entries.filter((entry) => isPeer(entry) && entry.agrees),
    (entry) => entry.medianMs,
  );

/** How many times as long the best peer takes. */
export function ratio(row: Row): number | undefined {
  const own = entryOf(row, kindling);
  const best = bestPeer(row);
  return own && best && best.medianMs / own.medianMs;
}

/** How many times as long as PyTorch we take. */
function timesPyTorch(row: Row): number | undefined {
  const [own, other] = [entryOf(row, kindling), entryOf(row, reference)];
  return own && other && own.medianMs / other.medianMs;
}

function coldMemoryRatio(cold: readonly Cold[]): number | undefined {
  const own = cold.find(({ library }) => library === kindling);
  const best = least(cold.filter(isPeer), ({ peakRssMiB }) => peakRssMiB);
  return own && best && best.peakRssMiB / own.peakRssMiB;
}

const times = (value: number | undefined): string => (value === undefined ? '-' : `${digits(value)}x`);

function share(row: Row): string {
  const own = entryOf(row, kindling);
  return own?.needs ? shareText(ratesOf({ ...own.needs, medianMs: own.medianMs }, row.ceilings)) : '-';
}

interface Verdict {
  readonly what: string;
  readonly target: string;
  readonly measured: string;
  readonly met: boolean | undefined;
}

/** A row's targets, each with what was measured. */
function verdicts(row: Row): Verdict[] {
  const target = targets[row.work] ?? {};
  const list: Verdict[] = [];
  const add = (
    what: string,
    sign: '>=' | '<=',
    bound: number | undefined,
    value: number | undefined,
    show: (value: number) => string = (v) => `${digits(v)}x`,
  ): void => {
    if (bound === undefined) return;
    const met = value === undefined ? undefined : sign === '>=' ? value >= bound : value <= bound;
    list.push({
      what: `${row.work}: ${what}`,
      target: `${sign === '>=' ? 'at least' : 'at most'} ${show(bound)}`,
      measured: value === undefined ? '-' : show(value),
      met,
    });
  };
  const seconds = (value: number): string => `${digits(value)} s`;
  const firstMs = row.cold?.find(({ library }) => library === kindling)?.firstMs;
  add('best peer / kindling', '>=', target.ratio, ratio(row));
  add(`kindling / ${reference}`, '<=', target.timesPyTorch, timesPyTorch(row));
  add('first step, cold cache', '<=', target.coldSeconds, firstMs && firstMs / 1000, seconds);
  add("smallest peer's peak memory / kindling's, cold run", '>=', target.memoryRatio, coldMemoryRatio(row.cold ?? [])); // prettier-ignore
  add(`kindling / its ${row.beside?.name ?? 'work beside'}`, '<=', target.timesBeside, row.beside?.ratio);
  return list;
}

/** The rows with targets, as a table of what was to be reached. */
export function targetTable(rows: readonly Row[]): string {
  const met = (value: boolean | undefined): string => (value === undefined ? '-' : value ? 'yes' : '**no**');
  return markdownTable(
    ['target', 'wanted', 'measured', 'met'],
    rows
      .flatMap(verdicts)
      .map((verdict) => [verdict.what, verdict.target, verdict.measured, met(verdict.met)]),
  );
}

export function report(rows: readonly Row[]): string {
  const libraries = [...new Set([kindling, ...rows.flatMap((r) => r.entries.map((e) => e.library))])];
  const ordered = [...libraries.filter((name) => name !== reference), reference];
  const versions = new Map(rows.flatMap((r) => r.entries.map((e) => [e.library, e.version] as const)));
  const names = ordered.map((name) => `${name} ${versions.get(name) ?? ''}`.trim());
  const cells = (show: (entry: Entry) => string) => (row: Row) =>
    ordered.map((library) => {
      const entry = entryOf(row, library);
      return entry === undefined ? '-' : show(entry) + (entry.agrees ? '' : ' (differs)');
    });
  const medians = cells((entry) => digits(entry.medianMs));
  const firstAndMemory = ({ firstMs, peakRssMiB }: Cold): string =>
    `${digits(firstMs / 1000)} s, ${peakRssMiB.toFixed(0)} MiB`;
  const others = cells(firstAndMemory);
  const cold = rows.flatMap((row) => {
    const { work, cold } = row;
    if (cold === undefined) return [];
    const of = (library: string): Cold | undefined => cold.find((entry) => entry.library === library);
    return [[work, ...ordered.map((library) => (of(library) ? firstAndMemory(of(library) as Cold) : '-'))]];
  });
  const compared = rows.filter(({ entries }) => entries.length > 1);
  const environments = rows.map(
    (row) => `- ${row.work}: ${describe(row.environment)} ${describeCeilings(row.ceilings)}`,
  );
  return [
    '# kindling and its peers',
    'What is wanted, and what was measured:',
    targetTable(rows),
    "Median milliseconds; the libraries took turns, each in its own process on the same adapter. PyTorch runs on the CPU's own " +
      'instructions and is there for scale. The last column is the time at the measured ceiling over the time taken, and the ceiling that holds.',
    markdownTable(
      [
        'work',
        ...names,
        'best peer / kindling',
        `kindling / ${reference}`,
        "kindling's share of the ceiling",
      ],
      rows.map((row) => [
        row.work,
        ...medians(row),
        `**${times(ratio(row))}**`,
        times(timesPyTorch(row)),
        share(row),
      ]),
    ),
    'First run of the process (compiling, with what the driver kept from before) and peak resident memory:',
    markdownTable(
      ['work', ...names],
      compared.map((row) => [row.work, ...others(row)]),
    ),
    ...(cold.length > 0
      ? [
          'The same with nothing compiled before: an empty shader cache for every process.',
          markdownTable(['work', ...names], cold),
        ]
      : []),
    'When and where:',
    environments.join('\n'),
  ].join('\n\n');
}
