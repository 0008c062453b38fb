import * as k from '../../src/index.js';
import { FaultyDevice, faultTexts, type FaultKind } from './faulty-device.js';

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
async function collect(): Promise<void> {
  for (let i = 0; i < 20 && (i < 2 || k.memoryStats().liveBuffers > 0); i++) {
    (globalThis as unknown as { gc(): void }).gc();
    await new Promise((resolve) => setTimeout(resolve, i));
  }
}

/** Errors that say nothing to a user. */
export const unclear = (text: string): boolean =>
  /undefined|\[object|internal:|Cannot read prop|hang:/.test(text);

/** Which calls of a program fail in turn: every `stride`th, or the first and the last from each place. */
export type Choice = number | 'places';

/** The numbers of the calls that are chosen among those that a kind of fault counts. */
export async function chosenCalls(
  kind: FaultKind,
  choice: Choice,
  program: () => Promise<void>,
): Promise<number[]> {
  // A range is asked for once its buffer is mapped, when the stack no longer says for whom.
  const device = new FaultyDevice(kind === 'readback' ? 'map' : kind, 0);
  await k.init({ wrapDevice: device.wrap });
  await program();
  k.close();
  if (choice === 'places') {
    const ends = [...device.places.values()].flatMap((calls) => [calls[0] ?? 1, calls.at(-1) ?? 1]);
    return [...new Set(ends)].sort((a, b) => a - b);
  }
  return Array.from({ length: Math.ceil(device.calls / choice) }, (_, i) => 1 + i * choice);
}

/** What a program with a fault notes as it goes. */
export interface Course {
  readonly faults: string[];
  /** The error that its user saw; empty while there was none. */
  message: string;
  /** It went on by itself. */
  recovered: boolean;
}

/**
 * Runs a program, which opens the device that it is given, with call number `at` of a kind failing. Beside
 * what the program notes, it is broken when it throws, leaves buffers behind or a rejection that nobody
 * handles. Closes the device.
 */
export async function outcomeOf(
  kind: FaultKind,
  at: number,
  program: (device: FaultyDevice, course: Course) => Promise<void>,
): Promise<Outcome> {
  const course: Course = { faults: [], message: '', recovered: false };
  const { faults } = course;
  const unhandled = (reason: unknown): void => void faults.push(`unhandled rejection: ${String(reason)}`);
  process.on('unhandledRejection', unhandled);
  const device = new FaultyDevice(kind, at);
  try {
    await program(device, course);
    await collect();
    const { liveBuffers, largest } = k.memoryStats();
    const labels = largest.map(({ label }) => label).join(', ');
    if (liveBuffers > 0) faults.push(`leaked ${liveBuffers} buffers: ${labels}`);
  } catch (error) {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    faults.push(`did not recover: ${text}`);
  } finally {
    k.close();
    await new Promise((resolve) => setTimeout(resolve, 5));
    process.off('unhandledRejection', unhandled);
  }
  const { message, recovered } = course;
  const sound = recovered ? 'recovered' : message === '' ? 'no error' : 'clean error';
  const result = faults.length > 0 ? 'broken' : sound;
  return { kind, at, fired: device.fired, result, message, faults };
}

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
