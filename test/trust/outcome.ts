import * as k from '../../src/index.js';
import { faultTexts, type FaultKind } from './faulty-device.js';

/** What became of a program in which one call to the device failed. */
export interface Outcome {
  readonly kind: FaultKind;
  /** Number of the call that failed. */
  readonly at: number;
  readonly fired: boolean;
  readonly result: 'no error' | 'recovered' | 'clean error' | 'broken';
  readonly message: string;
  /** What is wrong, if it is broken. */
  readonly faults: readonly string[];
}

const limit = 120_000;

export async function inTime<T>(what: string, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`hang: ${what} took over ${limit / 1000} s`)), limit);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Lets the collector find what nothing refers to, as far as there is any. */
export async function collect(): Promise<void> {
  for (let i = 0; i < 20 && (i < 2 || k.memoryStats().liveBuffers > 0); i++) {
    (globalThis as unknown as { gc(): void }).gc();
    await new Promise((resolve) => setTimeout(resolve, i));
  }
}

/** Errors that say nothing to a user. */
export const unclear = (text: string): boolean =>
  /undefined|\[object|internal:|Cannot read prop|hang:/.test(text);

/** The outcomes by kind, as a Markdown table. */
export function tableOf(outcomes: readonly Outcome[]): string {
  const results = ['no error', 'recovered', 'clean error', 'broken'] as const;
  const kinds = [...new Set(outcomes.map(({ kind }) => kind))];
  const rows = kinds.map((kind) => {
    const own = outcomes.filter((outcome) => outcome.kind === kind);
    const counts = results.map((result) => own.filter((outcome) => outcome.result === result).length);
    const last = Math.max(...own.map(({ at }) => at));
    return `| ${kind} | ${faultTexts[kind]} | ${own.length} (of 1 to ${last}) | ${counts.join(' | ')} |`;
  });
  return [`| kind | fault | N | ${results.join(' | ')} |`, '|---|---|---|---|---|---|---|', ...rows].join(
    '\n',
  );
}
