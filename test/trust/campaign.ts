/** Runs the fuzzing of importers in processes that may hang or die, and adds up what they say. */

import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { hangSeconds } from './judge.js';
import { formats } from './mutants.js';
import { batchSize, formatOf, type Finding, type Report, type Tally } from './worker.js';

export interface Plan {
  readonly seed: number;
  readonly mutants: number;
  readonly workers: number;
  /** Stops early; what was done counts. */
  readonly seconds?: number;
  readonly onProgress?: (done: number) => void;
}

export interface Row extends Tally {
  hangs: number;
  crashes: number;
}

export interface Outcome {
  readonly rows: ReadonlyMap<string, Row>;
  readonly findings: readonly Finding[];
  readonly seconds: number;
}

const script = fileURLToPath(new URL('./worker.ts', import.meta.url));

export async function runCampaign({ seed, mutants, workers, seconds, onProgress }: Plan): Promise<Outcome> {
  const started = performance.now();
  const folder = mkdtempSync(join(tmpdir(), 'kindling-fuzz-'));
  const rows = new Map(
    formats.map(({ name }): [string, Row] => [
      name,
      { mutants: 0, accepted: 0, refused: 0, hangs: 0, crashes: 0, worstMs: 0, worstBytes: 0 },
    ]),
  );
  const findings: Finding[] = [];
  const batches = Math.ceil(mutants / batchSize);
  let done = 0;
  let stopping = false;

  const take = (line: string): number | null => {
    const report = JSON.parse(line) as Report;
    if (report.kind === 'finding') {
      findings.push(report.finding);
      return null;
    }
    const row = rows.get(report.format)!;
    const { tally } = report;
    row.mutants += tally.mutants;
    row.accepted += tally.accepted;
    row.refused += tally.refused;
    row.worstMs = Math.max(row.worstMs, tally.worstMs);
    row.worstBytes = Math.max(row.worstBytes, tally.worstBytes);
    done += tally.mutants;
    onProgress?.(done);
    return report.batch;
  };

  /** One process from a batch on; resolves to where the next one should begin, or null at the end. */
  const runProcess = (note: string, from: number, start: number): Promise<readonly [number, number] | null> =>
    new Promise((resolve) => {
      const args = [seed, from, workers, batches, note, start].map(String);
      const child: ChildProcess = spawn(
        process.execPath,
        ['--max-old-space-size=1024', '--import', 'tsx', script, ...args],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      );
      let hung = false;
      let before = '';
      let since = performance.now();
      const place = (): string => {
        try {
          return readFileSync(note).toString('hex');
        } catch {
          return '';
        }
      };
      const watch = setInterval(() => {
        const now = place();
        if (now !== before || now === '') [before, since] = [now, performance.now()];
        else if (performance.now() - since > 2000 * hangSeconds) {
          hung = true;
          child.kill('SIGKILL');
        }
        if (stopping) child.kill('SIGKILL');
      }, 500);
      const lines = createInterface({ input: child.stdout! });
      lines.on('line', take);
      child.on('close', (code) => {
        clearInterval(watch);
        if (code === 0 || stopping) return resolve(null);
        const at = Buffer.from(place(), 'hex');
        const [batch, index] = at.length === 8 ? [at.readUInt32LE(0), at.readUInt32LE(4)] : [from, 0];
        const format = formatOf(batch).name;
        rows.get(format)![hung ? 'hangs' : 'crashes']++;
        findings.push({ format, batch, index, problem: hung ? 'hangs' : `the process ended with ${code}` });
        resolve([batch, index + 1]);
      });
    });

  const timer = seconds === undefined ? undefined : setTimeout(() => (stopping = true), 1000 * seconds);
  await Promise.all(
    Array.from({ length: workers }, async (_, worker) => {
      const note = join(folder, String(worker));
      let next: readonly [number, number] | null = [worker, 0];
      while (next !== null) next = await runProcess(note, ...next);
    }),
  );
  clearTimeout(timer);
  rmSync(folder, { recursive: true, force: true });
  return { rows, findings, seconds: (performance.now() - started) / 1000 };
}

/** The table of a run. */
export function tableOf({ rows, seconds }: Outcome): string {
  const head = ['format', 'mutants', 'accepted', 'refused', 'hangs', 'crashes', 'worst CPU', 'worst memory'];
  const lines = [...rows].map(([name, row]) => line(name, row));
  const sum = [...rows.values()].reduce((all, row) => ({
    mutants: all.mutants + row.mutants,
    accepted: all.accepted + row.accepted,
    refused: all.refused + row.refused,
    hangs: all.hangs + row.hangs,
    crashes: all.crashes + row.crashes,
    worstMs: Math.max(all.worstMs, row.worstMs),
    worstBytes: Math.max(all.worstBytes, row.worstBytes),
  }));
  const text = [head, head.map(() => '---'), ...lines, line('all', sum)];
  return `${text.map((cells) => `| ${cells.join(' | ')} |`).join('\n')}\n\n${seconds.toFixed(0)} s`;
}

const line = (name: string, row: Row): string[] => [
  name,
  ...[row.mutants, row.accepted, row.refused, row.hangs, row.crashes].map((n) => n.toLocaleString('en-US')),
  `${row.worstMs.toFixed(0)} ms`,
  `${(row.worstBytes / 2 ** 20).toFixed(1)} MiB`,
];
