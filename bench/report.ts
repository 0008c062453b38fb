/** What both benchmark commands write: a Markdown table and the same as JSON, named by adapter. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheDir } from '../scripts/setup.mjs';

export const resultsFolder = fileURLToPath(new URL('results/', import.meta.url));

export interface Environment {
  readonly date: string;
  readonly adapter: string;
  readonly node: string;
  readonly cpu: string;
  /** Threads of Mesa's software adapter; GPUs ignore it. */
  readonly LP_NUM_THREADS: string | undefined;
  /** Runnable processes, averaged over a minute, before the first measurement. */
  readonly load: number;
}

export function environment(adapter: string, load: number): Environment {
  const all = cpus();
  return {
    date: new Date().toISOString().slice(0, 16).replace('T', ' ') + ' UTC',
    adapter,
    node: process.version,
    cpu: `${all.length} x ${all[0]?.model.trim() ?? 'unknown'}`,
    LP_NUM_THREADS: process.env['LP_NUM_THREADS'],
    load,
  };
}

/**
 * Settings of Mesa's software driver and of PyTorch that every process started from here shall share: more
 * threads than cores suit the driver, and it must keep what it compiled.
 */
export function setDriverDefaults(): void {
  const { env } = process;
  env['LP_NUM_THREADS'] ??= String(Math.min(32, Math.max(8, availableParallelism())));
  env['MESA_SHADER_CACHE_DIR'] ??= `${cacheDir}/mesa`;
  env['XDG_RUNTIME_DIR'] ??= tmpdir();
  env['OMP_NUM_THREADS'] ??= String(availableParallelism());
}

export const currentLoad = (): number => Number((loadavg()[0] ?? 0).toFixed(1));

export const slugOf = (adapter: string): string =>
  adapter
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '');

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const at = (i: number): number => sorted[i] ?? NaN;
  return sorted.length % 2 === 1 ? at(Math.floor(middle)) : (at(middle - 1) + at(middle)) / 2;
}

/** Three significant digits, without an exponent. */
export const digits = (value: number): string =>
  value >= 100 ? value.toFixed(0) : value.toFixed(value >= 10 ? 1 : value >= 1 ? 2 : 3);

export const mebibytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(0);

export function markdownTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const rule = header.map((_, i) => (i === 0 ? '---' : '---:'));
  return [line(header), line(rule), ...rows.map(line)].join('\n');
}

export function describe(e: Environment): string {
  const threads = e.LP_NUM_THREADS === undefined ? '' : `, LP_NUM_THREADS=${e.LP_NUM_THREADS}`;
  return `${e.date}, ${e.adapter} on ${e.cpu}, Node ${e.node}${threads}; load before the run ${e.load}.`;
}

/** Writes `<name>.json`, `<name>.md` and, where given, `<name>.html` into `folder`, and says where. */
export function writeResults(
  name: string,
  { data, markdown, ...others }: { data: object; markdown: string; html?: string; svg?: string },
  folder = resultsFolder,
): void {
  mkdirSync(folder, { recursive: true });
  const write = (ending: string, text: string): void =>
    writeFileSync(join(folder, `${name}.${ending}`), text.trimEnd() + '\n');
  write('json', JSON.stringify(data, null, 2));
  write('md', markdown);
  for (const [ending, text] of Object.entries(others)) write(ending, text);
  const endings = ['json', 'md', ...Object.keys(others)].join();
  console.error(`\nWritten to ${join(folder, name)}.{${endings}}`);
}

/** What an earlier run wrote, or undefined. */
export function readResults(name: string, folder = resultsFolder): unknown {
  try {
    return JSON.parse(readFileSync(join(folder, `${name}.json`), 'utf8'));
  } catch {
    return undefined;
  }
}
