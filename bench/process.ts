/** Every measurement has a process of its own: first calls are cold there and memory is its own. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { cacheDir } from '../scripts/setup.mjs';

/** A folder that lasts as long as its object. */
class ScratchFolder implements Disposable {
  readonly path: string;

  constructor(parent: string, prefix: string) {
    mkdirSync(parent, { recursive: true });
    this.path = mkdtempSync(join(parent, prefix));
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/**
 * One JavaScript file of a TypeScript file in `bench` and what it imports, as users would run it: a loader
 * that compiles while loading takes a second and memory of its own. Packages are found from where it lies.
 */
export class Bundle extends ScratchFolder {
  readonly file: string;

  private constructor(entry: string) {
    super(cacheDir, 'bench-');
    this.file = join(this.path, `${basename(entry, '.ts')}.mjs`);
  }

  static async of(entry: string): Promise<Bundle> {
    const bundle = new Bundle(entry);
    await build({
      entryPoints: [fileURLToPath(new URL(entry, import.meta.url))],
      outfile: bundle.file,
      bundle: true,
      packages: 'external',
      platform: 'node',
      format: 'esm',
      target: 'node20',
      logLevel: 'error',
    });
    return bundle;
  }
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

/**
 * A cache of compiled shaders that is empty, and the environment that makes drivers use it: Mesa's and
 * NVIDIA's.
 */
export class EmptyShaderCache extends ScratchFolder {
  readonly env: NodeJS.ProcessEnv;

  constructor() {
    super(tmpdir(), 'kindling-bench-');
    this.env = { ...process.env, MESA_SHADER_CACHE_DIR: this.path, __GL_SHADER_DISK_CACHE_PATH: this.path };
  }
}
