/** Every measurement has a process of its own: first calls are cold there and memory is its own. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { cacheDir } from '../scripts/setup.mjs';

/**
 * One JavaScript file of a TypeScript file in `bench` and what it imports, as users would run it: a loader that compiles while
 * loading takes a second and memory of its own. Packages are found from where it lies.
 */
export async function bundled(entry: string): Promise<string> {
  mkdirSync(cacheDir, { recursive: true });
  const folder = mkdtempSync(join(cacheDir, 'bench-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  const outfile = join(folder, `${basename(entry, '.ts')}.mjs`);
  await build({
    entryPoints: [fileURLToPath(new URL(entry, import.meta.url))],
    outfile,
    bundle: true,
    packages: 'external',
    platform: 'node',
    format: 'esm',
    target: 'node20',
    logLevel: 'error',
  });
  return outfile;
}

/** Runs a file with Node; its last line of output is JSON. */
export function runForJson<T>(
  file: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): T {
  const { status, stdout, stderr } = spawnSync(process.execPath, [file, ...args], { encoding: 'utf8', env });
  const line = stdout.trimEnd().split('\n').at(-1) ?? '';
  if (status !== 0 || !line.startsWith('{'))
    throw new Error(`${basename(file)} ${args.join(' ')} failed\n${stderr}${stdout}`);
  return JSON.parse(line) as T;
}

/** A cache of compiled shaders that is empty, and the environment that makes drivers use it: Mesa's and NVIDIA's. */
export class EmptyShaderCache implements Disposable {
  private readonly folder = mkdtempSync(join(tmpdir(), 'kindling-bench-'));
  readonly env: NodeJS.ProcessEnv = {
    ...process.env,
    MESA_SHADER_CACHE_DIR: this.folder,
    __GL_SHADER_DISK_CACHE_PATH: this.folder,
  };

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
