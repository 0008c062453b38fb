/** Compiles `src` to `dist` when a source is newer than the last build. */
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, readdirSync, rmSync, statSync, utimesSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const [src, dist, tools] = [join(root, 'src'), join(root, 'dist'), join(root, 'scripts/build')];
/** Kept inside `dist`, so that deleting `dist` also forgets what was built. */
const stamp = join(dist, '.tsbuildinfo');

/** @param {string} directory @returns {string[]} paths of all files below it */
function filesBelow(directory) {
  if (!existsSync(directory)) return [];
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

/** @param {readonly string[]} paths @param {number} time in milliseconds */
const changedSince = (paths, time) => paths.some((path) => statSync(path).mtimeMs > time);

function upToDate() {
  const built = statSync(stamp, { throwIfNoEntry: false })?.mtimeMs;
  if (built === undefined) return false;
  if (changedSince(filesBelow(tools), built)) {
    // The compiler would keep what it finds.
    rmSync(stamp);
    return false;
  }
  const inputs = ['tsconfig.json', 'tsconfig.build.json', 'package.json'].map((name) => join(root, name));
  const sources = filesBelow(src);
  // A deleted or moved-in file changes its folder's time, not a file's.
  const folders = [src, ...sources.map((path) => dirname(path))];
  return !changedSince([...inputs, ...sources, ...new Set(folders)], built);
}

/** Files of `dist` that no source has for itself. */
const withoutSource = ['platform.d.ts', 'cli/libraries.js', 'kindling.min.js'];

/** Output of sources that no longer exist would still be importable, and would be packed. */
function removeOrphans() {
  for (const path of filesBelow(dist)) {
    const output = /^(.*?)(\.d\.ts|\.js)(\.map)?$/.exec(relative(dist, path));
    if (output === null || withoutSource.includes(output[0].replaceAll('\\', '/'))) continue;
    // Maps are what earlier builds left.
    if (output[3] !== undefined || !existsSync(join(src, `${output[1]}.ts`))) rmSync(path);
  }
}

/**
 * @returns {boolean} whether there was something to do
 * @throws when the sources do not compile; the compiler's messages have been printed
 */
export function build() {
  if (upToDate()) return false;
  const started = new Date();
  // A process of its own: TypeScript may have been installed since this one started.
  const result = spawnSync(process.execPath, [join(tools, 'compile.mjs')], { cwd: root, stdio: 'inherit' });
  if (result.status !== 0) {
    rmSync(stamp, { force: true });
    throw new Error('The build failed: fix the errors above, then run this again.');
  }
  removeOrphans();
  // The compiler leaves the stamp alone when nothing changed; a file edited meanwhile must stay newer.
  utimesSync(stamp, started, started);
  const command = join(dist, 'cli/main.js');
  if (existsSync(command)) chmodSync(command, 0o755);
  return true;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  try {
    build();
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}
