import { readFileSync } from 'node:fs';
import { arch, platform, release } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** What a result may depend on. */
export interface Versions extends Readonly<Record<string, string | null>> {
  readonly kindling: string;
  /** null where Node finds none. */
  readonly webgpu: string | null;
  readonly node: string;
  readonly platform: string;
}

export function versions(): Versions {
  return {
    kindling: packageVersion(),
    webgpu: dependencyVersion('webgpu'),
    node: process.versions.node,
    platform: `${platform()} ${release()} ${arch()}`,
  };
}

function versionIn(file: string): string | null {
  try {
    return (JSON.parse(readFileSync(file, 'utf8')) as { version?: string }).version ?? null;
  } catch {
    return null;
  }
}

/** The version in the package's own package.json, two folders up from here in `src` and in `dist`. */
export function packageVersion(): string {
  return versionIn(fileURLToPath(new URL('../../package.json', import.meta.url))) ?? 'unknown';
}

function dependencyVersion(name: string): string | null {
  let entry: string;
  try {
    entry = fileURLToPath(import.meta.resolve(name));
  } catch {
    return null;
  }
  for (let folder = dirname(entry); folder !== dirname(folder); folder = dirname(folder)) {
    const version = versionIn(join(folder, 'package.json'));
    if (version !== null) return version;
  }
  return null;
}
