/** What was measured, as Markdown. */
import { describe, digits, markdownTable, type Environment } from '../report.js';
import type { CutResult } from './cut.js';
import type { LinkOptions } from './hosts.js';
import type { KillResult } from './kill.js';
import { leastBytes, shortestStep, type Link, type Shape } from './model.js';
import type { StepsResult, SumsResult } from './rank.js';

export interface SplitRow {
  readonly work: string;
  readonly ranks: number;
  readonly how: 'apart' | 'ddp';
  readonly results: readonly StepsResult[];
}

export interface LinkRow {
  readonly name: string;
  readonly options: LinkOptions;
  readonly sums: SumsResult['sums'];
  readonly link: Link;
  readonly results: readonly StepsResult[];
  readonly predictedExposed: number;
  readonly predictedWall: number;
}

export interface ShapeRow {
  readonly model: string;
  readonly taken: string;
  readonly gradientBytes: number;
  readonly shape: Shape;
}

/** Parts of several runs; what was not run is not there. */
export interface Data {
  readonly taken?: Readonly<Record<string, Environment>>;
  readonly splits?: readonly SplitRow[];
  readonly links?: readonly LinkRow[];
  readonly four?: {
    readonly name: string;
    readonly sums: readonly (SumsResult['sums'][number] & { readonly predicted: number })[];
  };
  readonly shapes?: readonly ShapeRow[];
  readonly cuts?: readonly CutResult[];
  readonly kills?: readonly (KillResult & { readonly ranks: number })[];
}

const mean = (values: readonly number[]): number => values.reduce((sum, x) => sum + x, 0) / values.length;
const percent = (part: number): string => `${(100 * part).toFixed(0)} %`;
const megabytes = (bytes: number): string => digits(bytes / 1e6);

/** Milliseconds of a part, of each rank. */
const perRank = (results: readonly StepsResult[], of: (result: StepsResult) => number): string =>
  results.map((result) => digits(of(result))).join(' / ');

const partCells = (results: readonly StepsResult[]): string[] => [
  perRank(results, ({ wall }) => wall),
  perRank(results, ({ compute }) => compute),
  perRank(results, ({ waiting }) => waiting),
  perRank(results, ({ moving }) => moving),
  results.map(({ hidden }) => percent(hidden)).join(' / '),
];
const partHeader = ['step, ms', 'compute', 'waiting', 'moving', 'hidden'];

const wireCell = (results: readonly StepsResult[]): string =>
  results.map(({ wireBytes }) => (wireBytes === null ? '-' : megabytes(wireBytes))).join(' / ');

function splitTable(rows: readonly SplitRow[]): string {
  return markdownTable(
    ['work', 'ranks', ...partHeader, 'MB to MPI', 'least MB'],
    rows.map(({ work, ranks, how, results }) => {
      const [{ gradientBytes, mpiBytes }] = results as [StepsResult];
      const together = how === 'ddp' && ranks > 1;
      return [
        work,
        `${ranks}${ranks > 1 ? (together ? ' together' : ' side by side') : ''}`,
        ...partCells(results),
        together ? megabytes(mpiBytes) : '-',
        together ? megabytes(leastBytes(ranks, gradientBytes)) : '-',
      ];
    }),
  );
}

function linkTables(rows: readonly LinkRow[]): string {
  const sizes = rows[0]?.sums.map(({ bytes }) => bytes) ?? [];
  const fits = markdownTable(
    ['all-reduce, ms', ...sizes.map((bytes) => `${digits(bytes / 1024)} KiB`), 'latency, ms', 'MB/s'],
    rows.map(({ name, sums, link }) => [
      name,
      ...sums.map(({ ms }) => digits(ms)),
      digits(link.latency),
      (link.bandwidth / 1000).toFixed(0),
    ]),
  );
  const steps = markdownTable(
    ['ResNet-18 8x64', ...partHeader, 'predicted step', 'off by', 'MB sent', 'least MB'],
    rows.map(({ name, results, predictedWall }, i) => {
      const wall = mean(results.map((result) => result.wall));
      return [
        name,
        ...partCells(results),
        i === 0 ? '(given)' : digits(predictedWall),
        i === 0 ? '-' : percent(predictedWall / wall - 1),
        wireCell(results),
        megabytes(leastBytes(results.length, results[0]?.gradientBytes ?? NaN)),
      ];
    }),
  );
  return `${fits}\n\n${steps}`;
}

const fourTable = ({ sums }: NonNullable<Data['four']>): string =>
  markdownTable(
    ['all-reduce on 4 hosts', ...sums.map(({ bytes }) => `${digits(bytes / 1024)} KiB`)],
    [
      ['measured, ms', ...sums.map(({ ms }) => digits(ms))],
      ['by the model', ...sums.map(({ predicted }) => digits(predicted))],
      [
        'sent, of the least',
        ...sums.map(({ bytes, wireBytes }) => percent((wireBytes ?? NaN) / leastBytes(4, bytes))),
      ],
    ],
  );

/** Milliseconds of latency and bytes a millisecond of a rate. */
const rated = (gbit: number): Link => ({ latency: 0.1, bandwidth: gbit * 1.25e5 });

function shapeTable(rows: readonly ShapeRow[]): string {
  const cases = [1, 10, 25, 100].flatMap((gbit) => [2, 4, 8].map((ranks) => ({ gbit, ranks })));
  return markdownTable(
    ['link', 'ranks', ...rows.map(({ model }) => model)],
    cases.map(({ gbit, ranks }) => [
      `${gbit} Gbit/s`,
      String(ranks),
      ...rows.map(({ shape }) => digits(shortestStep(shape, rated(gbit), ranks, 0.9))),
    ]),
  );
}

const seconds = (ms: number | null): string =>
  ms === null || !Number.isFinite(ms) ? 'not' : (ms / 1000).toFixed(2);

const cutTable = (rows: readonly CutResult[]): string =>
  markdownTable(
    ['link of host', 'after, ms', 'ranks ended after, s', 'launcher, s', 'said'],
    rows.map(({ host, wait, ranks, launcherMs }) => [
      String(host),
      wait.toFixed(0),
      ranks.map(({ ms }) => seconds(ms)).join(' / '),
      seconds(launcherMs),
      ranks.map(({ said }) => said.join('; ')).join(' / '),
    ]),
  );

const killTable = (rows: NonNullable<Data['kills']>): string =>
  markdownTable(
    [
      'ranks',
      'killed',
      'at step',
      'others ended after, s',
      'each named it, in one line',
      'resumed from',
      'same bits',
    ],
    rows.map(({ ranks, rank, pid, survivors, reached, resumedFrom, same }) => [
      String(ranks),
      String(rank),
      String(reached),
      survivors.map(({ ms }) => seconds(ms)).join(' / '),
      survivors.every(({ said }) => said.length === 1 && names(said[0] ?? '', rank, pid)) ? 'yes' : 'no',
      String(resumedFrom),
      same ? 'yes' : 'no',
    ]),
  );

/** Whether a message names a rank, as a process of a host. */
export const names = (text: string, rank: number, pid: number): boolean =>
  new RegExp(`rank ${rank} \\([^,]+, process ${pid}\\) has ended`).test(text);

export function markdownOf(data: Data): string {
  const { taken, splits, links, four, shapes, cuts, kills } = data;
  const when = (part: string): string => {
    const environment = taken?.[part];
    return environment === undefined ? '' : `${describe(environment)}\n\n`;
  };
  const parts = [
    splits &&
      `## One host\n\n${when('split')}Milliseconds per step, of each rank. Two ranks share the cores and the software adapter here: what ` +
        '"side by side" (no DDP) is slower than one is that; what "together" adds is the price of training as one.\n\n' +
        splitTable(splits),
    links &&
      `## Two hosts\n\n${when('network')}Network namespaces on a bridge, sending at the rate (tbf); 1 ms each way by a relay between TUN devices, ` +
        'of 9000 byte packets. The model is latency + bytes / bandwidth, fitted to the all-reduces; the step without a limit is given, the others ' +
        `are predicted.\n\n${linkTables(links)}`,
    four && `Four hosts, ${four.name}, by the model of two:\n\n${fourTable(four)}`,
    shapes &&
      `## Where scaling ends\n\n${when('shapes')}The shortest step alone, in ms, that computes for 90 % of its time on so many ranks, ` +
        'by the model: full rate, 0.1 ms latency, gradients ' +
        `complete in the order and at the part of the step at which they were here (${shapes.map(({ taken: at }) => at).join(', ')}).\n\n${shapeTable(shapes)}`,
    cuts && `## A link is cut in mid-step\n\n${when('cut')}${cutTable(cuts)}`,
    kills && `## A rank is killed (kill -9)\n\n${when('kill')}${killTable(kills)}`,
  ];
  return `# Scaling\n\n${parts.filter((part) => part !== undefined).join('\n\n')}`;
}
