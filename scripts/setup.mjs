/**
 * Brings a fresh clone to where it runs: Node's version, dependencies, a WebGPU adapter, the build.
 * It uses nothing but Node, because it runs before anything is installed.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from './build.mjs';
import { describeAdapter, ensureAdapter } from './driver/install.mjs';

export const root = dirname(dirname(fileURLToPath(import.meta.url)));
export const cacheDir = join(root, 'node_modules/.cache');

/** @returns {string | null} what is wrong with this version of Node, or null */
export function nodeProblem(version = process.versions.node, wanted = minimumNode()) {
  const [have, need] = [version, wanted].map((text) => text.split('.').map(Number));
  for (let i = 0; i < 3; i++) {
    const difference = (have?.[i] ?? 0) - (need?.[i] ?? 0);
    if (difference > 0) return null;
    if (difference < 0) {
      return `kindling needs Node ${wanted} or newer and this is Node ${version}: install a newer one from https://nodejs.org, then run this again.`;
    }
  }
  return null;
}

function minimumNode() {
  /** @type {{ engines: { node: string } }} */
  const { engines } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  return engines.node.replace(/^[^\d]*/, '');
}

/**
 * Whether `node_modules` holds what the lock file asks for. Optional packages (other platforms' binaries) may
 * be missing.
 * @param {string} directory
 */
export function dependenciesInstalled(directory = root) {
  const [lockFile, installedFile] = ['package-lock.json', 'node_modules/.package-lock.json'].map((name) =>
    join(directory, name),
  );
  if (!existsSync(installedFile ?? '')) return false;
  if (!existsSync(lockFile ?? '')) return true;
  /**
   * @typedef {Record<string, { version?: string, optional?: boolean, peer?: boolean, devOptional?: boolean
   * }>} Packages
   */
  /** @type {Packages[]} */
  const [wanted = {}, installed = {}] = [lockFile, installedFile].map(
    (path) => JSON.parse(readFileSync(path ?? '', 'utf8')).packages,
  );
  return Object.entries(wanted).every(([name, entry]) => {
    if (name === '') return true;
    const have = installed[name];
    if (have === undefined) return entry.optional === true || entry.devOptional === true;
    return have.version === entry.version && existsSync(join(directory, name));
  });
}

function installDependencies() {
  const command = existsSync(join(root, 'package-lock.json')) ? 'ci' : 'install';
  const args = [command, '--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error'];
  console.log(`Installing dependencies (npm ${command}) ...`);
  const npm = process.env['npm_execpath'];
  // Under `npm start` this is npm's own script, so the same npm runs again and no shell is needed.
  const result =
    npm !== undefined && /npm-cli\.c?js$/.test(npm)
      ? spawnSync(process.execPath, [npm, ...args], { cwd: root, stdio: 'inherit' })
      : spawnSync('npm', args, { cwd: root, stdio: 'inherit', shell: process.platform === 'win32' });
  if (result.status !== 0) {
    throw new Error(`npm ${command} failed: is the package registry reachable from this machine?`);
  }
}

/** Node, dependencies and adapter; not the build. Each step that has work to do says so. */
export function prepare() {
  const problem = nodeProblem();
  if (problem !== null) throw new Error(problem);
  if (!dependenciesInstalled()) installDependencies();
  // Compiled shaders of the software driver survive between runs; compiling is most of a cold start.
  process.env['MESA_SHADER_CACHE_DIR'] ??= join(cacheDir, 'mesa');
  const adapter = ensureAdapter({ cacheFile: join(cacheDir, 'kindling/adapter.json') });
  return { adapter: describeAdapter(adapter) };
}

/**
 * Runs a script's main function; an error becomes one clear message and exit status 1.
 * @param {string} url the script's `import.meta.url`
 * @param {() => number | void | Promise<number>} main returns the exit status
 */
export async function runMain(url, main) {
  if (url !== pathToFileURL(process.argv[1] ?? '').href) return;
  try {
    process.exitCode = (await main()) ?? 0;
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}

void runMain(import.meta.url, () => {
  const { adapter } = prepare();
  build();
  console.log(`Ready. WebGPU adapter: ${adapter}`);
});
