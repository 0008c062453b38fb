/**
 * Measured choices of tiles on disk (Node): one file per adapter, driver version and format of the file, in
 * `tuning` of the cache folder. Read only where asked for; a file that is damaged or of another adapter is
 * left alone, with a warning.
 */
import type { Target } from '../kernels/base/kernel.js';
import { isCandidate } from '../kernels/tuning/table.js';
import type { TunedChoice } from '../kernels/matmul/choice.js';
import { nodeBuiltin, type AdapterInfo, type InitOptions } from './adapter.js';
import { cacheFolder } from './cache-folder.js';
import { DeviceError } from './errors.js';

/** Raised when keys, tiles or the meaning of a choice change, so that older files are not found. */
const format = 1;

/** A choice and the times it was made by, in milliseconds: of the default, and its own. */
export interface TunedEntry extends TunedChoice {
  readonly defaultMs: number;
  readonly ms: number;
}

/**
 * What a file holds for: the adapter, its driver (Dawn's description names the version) and what of it the
 * kernels use.
 */
export interface TunedFor {
  readonly info: AdapterInfo;
  readonly target: Target;
}

interface TuningFile {
  readonly format: number;
  readonly adapter: ReturnType<typeof adapterOf>;
  /** By `tuningKey`. */
  readonly choices: Readonly<Record<string, TunedEntry>>;
}

const adapterOf = ({ info, target }: TunedFor) => ({
  vendor: info.vendor,
  architecture: info.architecture,
  device: info.device,
  description: info.description,
  kind: target.kind,
  subgroupSize: target.subgroupSize,
});

/**
 * Whether the options or, where they do not say, the environment (`KINDLING_TUNED=1`) ask for measured
 * choices.
 */
export function wantsTuned({ tuned }: InitOptions): boolean {
  if (tuned !== undefined || nodeBuiltin === undefined) return tuned === true;
  return !['', '0', 'false', undefined].includes(process.env['KINDLING_TUNED']);
}

/** The file for an adapter, there or not; undefined in browsers. */
export function tuningPath(device: TunedFor): string | undefined {
  const folder = cacheFolder();
  const path = nodeBuiltin?.('node:path');
  const hash = nodeBuiltin?.('node:crypto').createHash('sha256');
  if (folder === undefined || !path || !hash) return undefined;
  const { info } = device;
  const name = (info.device || info.architecture || 'adapter').toLowerCase().replace(/[^a-z0-9]+/g, '-');
  const unique = hash
    .update(JSON.stringify(adapterOf(device)))
    .digest('hex')
    .slice(0, 12);
  return path.join(folder, 'tuning', `${name.replace(/^-|-$/g, '').slice(0, 40)}-${unique}.v${format}.json`);
}

const warned = new Set<string>();

function warnOnce(path: string, why: string): void {
  if (warned.has(path)) return;
  warned.add(path);
  process.emitWarning(`kindling: ${path} is ignored: ${why}; \`kindling bench MODEL --tune\` makes it anew`);
}

/**
 * The choices kept for an adapter; none when there is no file, or one that cannot be used (then with one
 * warning per process).
 */
export function loadTuning(device: TunedFor): Map<string, TunedEntry> {
  const path = tuningPath(device);
  const fs = nodeBuiltin?.('node:fs');
  if (path === undefined || !fs) return new Map();
  let text: string;
  try {
    text = fs.readFileSync(path, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT') warnOnce(path, `it cannot be read (${message})`);
    return new Map();
  }
  const problem = { why: '' };
  const choices = parse(text, device, problem);
  if (choices === undefined) warnOnce(path, problem.why);
  return choices ?? new Map();
}

function parse(
  text: string,
  device: TunedFor,
  problem: { why: string },
): Map<string, TunedEntry> | undefined {
  let file: Partial<TuningFile> | null;
  try {
    file = JSON.parse(text) as Partial<TuningFile> | null;
  } catch {
    problem.why = 'it is damaged';
    return undefined;
  }
  if (file?.format !== format || JSON.stringify(file.adapter) !== JSON.stringify(adapterOf(device))) {
    problem.why = 'it was made for another adapter, driver or version';
    return undefined;
  }
  const { choices } = file;
  const entries =
    typeof choices === 'object' && choices !== null && !Array.isArray(choices)
      ? Object.entries(choices)
      : null;
  const usable = (entry: TunedEntry): boolean =>
    typeof entry === 'object' && entry !== null && isCandidate(device.target, entry);
  if (!entries?.every(([, entry]) => usable(entry))) {
    problem.why = 'it asks for tiles that do not exist';
    return undefined;
  }
  return new Map(entries);
}

/**
 * Replaces the file of an adapter; a reader sees the old one or the new one, whole.
 *
 * @returns its path
 * @throws DeviceError when the folder cannot be written
 */
export function saveTuning(device: TunedFor, choices: ReadonlyMap<string, TunedEntry>): string {
  const path = tuningPath(device);
  const fs = nodeBuiltin?.('node:fs');
  const dirname = nodeBuiltin?.('node:path').dirname;
  if (path === undefined || !fs || !dirname)
    throw new DeviceError('tuning: choices are kept in files, which needs Node.');
  const file: TuningFile = { format, adapter: adapterOf(device), choices: Object.fromEntries(choices) };
  const temporary = `${path}.${crypto.randomUUID()}.tmp`;
  try {
    fs.mkdirSync(dirname(path), { recursive: true });
    fs.writeFileSync(temporary, `${JSON.stringify(file, null, 1)}\n`);
    fs.renameSync(temporary, path);
  } catch (cause) {
    if (fs.existsSync(temporary)) fs.rmSync(temporary, { force: true });
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new DeviceError(`tuning: ${path} cannot be written: ${why}`, undefined, { cause });
  }
  return path;
}
