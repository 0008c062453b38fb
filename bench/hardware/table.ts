/** The figures of hardware works as a file to compare with and as a table to read. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Target } from '../../src/kernels/base/kernel.js';
import type { LaunchFigures } from './record.js';
import { hardwareWorks } from './works.js';

/** What plans are made for: a GPU as most people have one. */
export const hardware: Target = {
  kind: 'gpu',
  class: 'discrete',
  subgroupSize: 32,
  f16: true,
  maxInvocations: 1024,
  maxWorkgroupStorage: 32768,
  maxStorageBuffers: 10,
};

export type Figures = Readonly<Record<string, readonly LaunchFigures[]>>;

export const figuresFile = fileURLToPath(new URL('figures.json', import.meta.url));

export const readFigures = (): Figures => JSON.parse(readFileSync(figuresFile, 'utf8')) as Figures;

/** One line per launch, so that a change shows as one. */
export function figuresText(figures: Figures): string {
  const works = Object.entries(figures).map(
    ([work, launches]) =>
      `  ${JSON.stringify(work)}: [\n${launches.map((l) => `    ${JSON.stringify(l)}`).join(',\n')}\n  ]`,
  );
  return `{\n${works.join(',\n')}\n}\n`;
}

const megabytes = (bytes: number): string =>
  (bytes / 1e6).toLocaleString('en', { maximumSignificantDigits: 3 });

/** Launches that move at least so much of what a work moves are those that it waits for. */
const heavyShare = 0.05;

/** Per work: what it costs whatever the clock says. */
export function tableOf(figures: Figures): string {
  const rows = Object.entries(figures).map(([work, launches]) => {
    const sum = (of: (l: LaunchFigures) => number): number => launches.reduce((all, l) => all + of(l), 0);
    const asked = sum((l) => l.storageBytes);
    const heavy = launches.filter((l) => l.storageBytes >= heavyShare * asked);
    const fewest = Math.min(...heavy.map((l) => l.workgroups * l.threads));
    const least = hardwareWorks[work]!.leastBytes;
    return [
      work,
      launches.length,
      sum((l) => l.steps).toLocaleString('en'),
      sum((l) => l.barriers).toLocaleString('en'),
      fewest.toLocaleString('en'),
      megabytes(asked),
      (asked / least).toFixed(1),
      megabytes(sum((l) => l.sharedBytes)),
    ].join(' | ');
  });
  return [
    '| work | launches | serial steps | barriers | fewest invocations | MB of storage | times the least | MB of workgroup memory |',
    '|---|---:|---:|---:|---:|---:|---:|---:|',
    ...rows.map((row) => `| ${row} |`),
  ].join('\n');
}
