import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll } from 'vitest';
import { run } from '../../src/cli/run.js';
import { ShapesDataset } from '../../src/data/index.js';

export const root = fileURLToPath(new URL('../../', import.meta.url));

/** Files that are not part of the repository. */
export const sharedData =
  process.env['KINDLING_SHARED_DATA'] ??
  process.env['KINDLING_DATA'] ??
  fileURLToPath(new URL('../../../shared/data', import.meta.url));

/** Says which of the files are missing, so that a skipped test is no mystery. */
export function missingShared(...paths: readonly string[]): string[] {
  const missing = paths.map((path) => join(sharedData, path)).filter((path) => !existsSync(path));
  if (missing.length > 0) console.log(`skipped: not there: ${missing.join(', ')} (set KINDLING_SHARED_DATA)`);
  return missing;
}

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Listener {
  readonly signal?: AbortSignal;
  /** Called with every piece of standard output. */
  readonly onOutput?: (text: string) => void;
}

/** Runs a command line in this process, where the device is warm. */
export async function kindling(
  args: readonly string[],
  { signal, onOutput }: Listener = {},
): Promise<Outcome> {
  let [stdout, stderr] = ['', ''];
  const streams = {
    stdout: {
      write: (text: string) => {
        stdout += text;
        onOutput?.(text);
      },
    },
    stderr: { write: (text: string) => void (stderr += text) },
  };
  const code = await run(args, { streams, ...(signal && { signal }) });
  return { code, stdout, stderr };
}

/** A folder that goes when the file's tests are done. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'kindling-cli-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Drawn shapes in CIFAR-10's binary format; label i stands for CIFAR's class i. */
export function writeShapes(
  path: string,
  perClass: number,
  seed: number,
  classes: 'base' | 'novel' = 'novel',
): string {
  const shapes = new ShapesDataset({ classes, perClass, seed });
  const bytes = new Uint8Array(shapes.length * 3073);
  for (let i = 0; i < shapes.length; i++) {
    bytes[i * 3073] = shapes.label(i);
    bytes.set(shapes.bytes(i), i * 3073 + 1);
  }
  writeFileSync(path, bytes);
  return path;
}
