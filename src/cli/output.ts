import cliProgress from 'cli-progress';
import { printable, printableJson, printableLines } from '../tensor/printable.js';

/** Where text goes. `isTTY` is there on the process's own streams. */
export interface TextStream {
  write(text: string): unknown;
  readonly isTTY?: boolean | undefined;
}

export interface Streams {
  readonly stdout: TextStream;
  readonly stderr: TextStream;
}

export interface Progress {
  /** Moves on; `note` is shown behind the bar. */
  advance(steps: number, note?: string): void;
  /** Takes the bar off the screen. */
  stop(): void;
}

const noProgress: Progress = { advance: () => {}, stop: () => {} };

/**
 * A command's output. For people, lines go to standard output; with `--json` standard output gets one JSON
 * document and the lines go to the error output. A bar is drawn only on a terminal. Lines may hold what
 * others wrote (keys, metadata, names of classes and files): control characters in them are spelled out here,
 * and in {@link shownError}, and nowhere else.
 */
export class Output {
  private readonly bars = new Set<Progress>();

  constructor(
    private readonly streams: Streams,
    readonly json: boolean,
  ) {}

  private get lines(): TextStream {
    return this.json ? this.streams.stderr : this.streams.stdout;
  }

  line(text = ''): void {
    this.lines.write(`${printable(text)}\n`);
  }

  /** Something the user should know but did not ask for. */
  warn(text: string): void {
    this.streams.stderr.write(`kindling: ${indented(text)}\n`);
  }

  /** What helps after an error; the error itself is reported once, when the command has ended. */
  note(text: string): void {
    this.streams.stderr.write(`${text}\n`);
  }

  /** The command's result, for programs; printed with `--json` only. */
  document(value: unknown): void {
    if (this.json) this.streams.stdout.write(`${printableJson(JSON.stringify(value, null, 2))}\n`);
  }

  progress(label: string, total: number): Progress {
    const stream = this.lines;
    if (stream.isTTY !== true || isCI() || process.env['TERM'] === 'dumb') return noProgress;
    const bar = new cliProgress.SingleBar({
      stream: stream as NodeJS.WriteStream,
      format: `${printable(label).replace(/[{}]/g, '')} [{bar}] {value}/{total} {note}`,
      barCompleteChar: '=',
      barIncompleteChar: ' ',
      barsize: 30,
      hideCursor: true,
      clearOnComplete: true,
      linewrap: null,
      // Ctrl-C is the command's to handle.
      gracefulExit: false,
    });
    bar.start(total, 0, { note: '' });
    const progress: Progress = {
      advance: (steps, note = '') => bar.increment(steps, { note: printable(note) }),
      stop: () => {
        bar.stop();
        this.bars.delete(progress);
      },
    };
    this.bars.add(progress);
    return progress;
  }

  /** Clears bars that an error left. */
  end(): void {
    for (const bar of this.bars) bar.stop();
  }
}

/**
 * Text for people that may have several lines; those after the first are set in, so that none passes for
 * another message.
 */
function indented(text: string): string {
  return printableLines(text).replace(/\n(?! {2})/g, '\n  ');
}

/** An error as the command prints it. */
export function shownError(message: string): string {
  return `kindling: ${indented(message)}\n`;
}

function isCI(): boolean {
  const value = process.env['CI'];
  return value !== undefined && value !== '' && value !== 'false' && value !== '0';
}

/** `92.51 %` */
export function percent(part: number, whole: number): string {
  return whole === 0 ? '- %' : `${((100 * part) / whole).toFixed(2)} %`;
}

/** `1,234,567` */
export function grouped(value: number): string {
  return value.toLocaleString('en-US');
}

/** `1.5 MiB` */
export function byteSize(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  let value = bytes;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit] ?? ''}`;
}

/** Rows in columns; the columns whose number is in `right` are set to the right. */
export function table(rows: readonly (readonly string[])[], right: readonly number[] = []): string[] {
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, i) => (widths[i] = Math.max(widths[i] ?? 0, cell.length)));
  return rows.map((row) =>
    row
      .map((cell, i) => (right.includes(i) ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0)))
      .join('  ')
      .trimEnd(),
  );
}

/** A word of a command line, in quotes where a shell wants them. */
export const shellWord = (word: string): string =>
  /^[\w.,:/-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
