/** From measurements to the rows of `npm run bench`: rates and their share of what the adapter can do. */
import type { Needs } from './cases.js';
import type { Ceilings } from './ceilings.js';
import type { FirstRun, Measured } from './measure.js';
import { digits, markdownTable, mebibytes } from './report.js';

export interface Row extends Measured {
  readonly suite: 'kernels' | 'models';
  /** In a process before, whose driver had nothing compiled yet; its memory holds the compiler's. */
  readonly cold?: FirstRun;
}

export interface Rates {
  /** At the median; absent for works without multiply-adds. */
  readonly gflops?: number;
  /** At the median. */
  readonly gigabytesPerSecond: number;
  /** Multiply-adds as two, or the rough count of operations, to a byte. */
  readonly intensity: number;
  /** What takes longer at the ceilings. */
  readonly bound: 'arithmetic' | 'memory';
  /**
   * Time at the ceiling over time taken. Above 1 where an algorithm does with fewer multiply-adds
   * (Winograd's).
   */
  readonly share: number;
}

type Amounts = Needs & Pick<Measured, 'medianMs'>;

/**
 * The roofline model (Williams, Waterman, Patterson 2009): a work takes at least its arithmetic's time and
 * its memory's time.
 */
export function ratesOf({ flops, bytes, operations, medianMs }: Amounts, ceilings: Ceilings): Rates {
  const perMs = 1e6 * medianMs;
  const arithmeticMs = flops / (1e6 * ceilings.gflops);
  const memoryMs = bytes / (1e6 * ceilings.gigabytesPerSecond);
  return {
    ...(flops > 0 && { gflops: flops / perMs }),
    gigabytesPerSecond: bytes / perMs,
    intensity: operations / bytes,
    bound: arithmeticMs > memoryMs ? 'arithmetic' : 'memory',
    share: Math.max(arithmeticMs, memoryMs) / medianMs,
  };
}

export const percent = (share: number): string => `${(100 * share).toFixed(0)} %`;

/** Which part of the ceiling, and which ceiling. */
export const shareText = ({ share, bound }: Rates): string => `${percent(share)} ${bound}`;

const header = [
  '#',
  'work',
  'median ms',
  'p99 ms',
  'GFLOP/s',
  'GB/s',
  'share of ceiling',
  'dispatches',
  'pipelines',
  'first ms, cold',
  'warm',
  'GPU MiB',
  'RSS MiB',
];

export const tableHeader: readonly string[] = header;

/** One line of the table, as text. */
export function cellsOf(row: Row, number: number, ceilings: Ceilings): string[] {
  const rates = ratesOf(row, ceilings);
  return [
    String(number),
    row.work,
    digits(row.medianMs),
    digits(row.p99Ms),
    rates.gflops === undefined ? '-' : digits(rates.gflops),
    digits(rates.gigabytesPerSecond),
    shareText(rates),
    String(row.dispatches),
    String(row.pipelines),
    row.cold ? digits(row.cold.firstMs) : '-',
    digits(row.firstMs),
    mebibytes(row.peakGpuBytes),
    mebibytes(row.peakRssBytes),
  ];
}

export const describeCeilings = ({
  gflops,
  gigabytesPerSecond,
  largeCopyGigabytesPerSecond,
}: Ceilings): string =>
  `Ceilings measured in the same run: ${digits(gflops)} GFLOP/s of multiply-adds in registers, ${digits(gigabytesPerSecond)} GB/s of a copy ` +
  `(${digits(largeCopyGigabytesPerSecond)} where no cache holds it).`;

/** What was measured in turns with another work. */
export const besideLines = (rows: readonly Row[]): string[] =>
  rows.flatMap(({ work, medianMs, beside }) =>
    beside === undefined
      ? []
      : [
          `${work} takes ${digits(beside.ratio)} times as long as its ${beside.name}: ` +
            `${digits(medianMs)} ms against ${digits(beside.medianMs)} ms, in turns in one process.`,
        ],
  );

export function tableOf(rows: readonly Row[], ceilings: Ceilings): string {
  return markdownTable(
    header,
    rows.map((row, i) => cellsOf(row, i + 1, ceilings)),
  );
}
