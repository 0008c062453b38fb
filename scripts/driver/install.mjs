/**
 * Makes sure that a WebGPU adapter answers. Where none does on Linux, installs Mesa's software Vulkan driver
 * (lavapipe). Needs nothing but Node and the `webgpu` package, so it also runs from an installed package:
 * `npx kindling setup`.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { backportsEntry, driverPlan, parseSources } from './apt.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const backportsFile = '/etc/apt/sources.list.d/kindling-backports.sources';
/** The Vulkan loader uses only the drivers that these name. */
const driverVariables = ['VK_DRIVER_FILES', 'VK_ICD_FILENAMES'];

/**
 * @typedef {{ vendor: string, architecture: string, description: string, software: boolean }} Adapter
 */

/**
 * Asks for an adapter in a child process.
 * @param {NodeJS.ProcessEnv} [env]
 * @returns {Adapter | null} null when none answers, when Dawn aborts, or after 60 s
 */
export function probeAdapter(env = process.env) {
  const child = spawnSync(process.execPath, [join(here, 'probe.mjs')], {
    env,
    encoding: 'utf8',
    timeout: 60_000,
    killSignal: 'SIGKILL',
    stdio: ['ignore', 'pipe', env['KINDLING_VERBOSE'] === '1' ? 'inherit' : 'ignore'],
  });
  try {
    return JSON.parse(child.stdout.trim().split('\n').at(-1) ?? 'null');
  } catch {
    return null; // it died before it could answer
  }
}

/** @param {string} path */
function readText(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** @returns {string} the text of Dawn's package.json @throws when it is not installed */
function dawnManifest() {
  try {
    return readText(join(dirname(createRequire(import.meta.url).resolve('webgpu')), 'package.json'));
  } catch {
    throw new Error(
      'Node has WebGPU from the package `webgpu` (Dawn), which is not installed beside kindling: run `npm install webgpu@0.6`, then run this again.',
    );
  }
}

/** Changes whenever another driver could answer: a reboot, a new Dawn, other drivers or settings. */
function driverFingerprint() {
  const settings = [...driverVariables, 'VK_ADD_DRIVER_FILES'].map((name) => process.env[name]);
  const folders = ['/usr/share/vulkan/icd.d', '/usr/local/share/vulkan/icd.d', '/etc/vulkan/icd.d'].map(
    (path) => {
      const stat = statSync(path, { throwIfNoEntry: false });
      return stat === undefined ? null : stat.mtimeMs;
    },
  );
  const facts = [
    process.version,
    process.arch,
    dawnManifest(),
    readText('/proc/sys/kernel/random/boot_id'),
    settings,
    folders,
  ];
  return createHash('sha256').update(JSON.stringify(facts)).digest('hex');
}

/**
 * {@link probeAdapter}, remembering an adapter that answered until something about the drivers changes.
 * @param {string | undefined} cacheFile without one nothing is remembered
 * @returns {Adapter | null}
 */
function cachedProbe(cacheFile) {
  const fingerprint = driverFingerprint();
  if (cacheFile === undefined) return probeAdapter();
  try {
    const saved = JSON.parse(readFileSync(cacheFile, 'utf8'));
    if (saved.fingerprint === fingerprint) return saved.adapter;
  } catch {
    // No answer saved yet, or one from an older layout.
  }
  const adapter = probeAdapter();
  if (adapter !== null) {
    try {
      mkdirSync(dirname(cacheFile), { recursive: true });
      writeFileSync(cacheFile, JSON.stringify({ fingerprint, adapter }));
    } catch {
      // A read-only tree only means that the next start probes again.
    }
  }
  return adapter;
}

/** @param {string} command @param {readonly string[]} args */
const succeeds = (command, args) => spawnSync(command, args, { stdio: 'ignore' }).status === 0;

/**
 * @returns {string[] | null} what to put before a command to run it as root; null when that needs a password
 */
export function rootPrefix() {
  if (process.getuid?.() === 0) return [];
  return succeeds('sudo', ['-n', 'true']) ? ['sudo', '-n'] : null;
}

/** @param {string} directory */
function aptSourceFiles(directory = '/etc/apt') {
  const parts = join(directory, 'sources.list.d');
  const names = existsSync(parts) ? readdirSync(parts).sort() : [];
  const paths = [join(directory, 'sources.list'), ...names.map((name) => join(parts, name))];
  return paths.map((name) => ({ name, text: readText(name) }));
}

/**
 * Runs apt-get quietly; its output is shown only when it fails.
 * @param {readonly string[]} prefix @param {readonly string[]} args
 */
export function aptGet(prefix, args) {
  const options = ['-qq', '-o', 'DPkg::Lock::Timeout=300', '-o', 'Acquire::Retries=3'];
  const command = [...prefix, 'env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', ...options, ...args];
  for (let attempt = 1; ; attempt++) {
    const result = spawnSync(command[0] ?? 'env', command.slice(1), { encoding: 'utf8' });
    if (result.status === 0) return;
    // The wait option covers dpkg's lock only; `update` meets the lock on the package lists.
    if (attempt < 30 && /could not get lock/i.test(result.stderr)) {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5000);
      continue;
    }
    throw new Error(`apt-get ${args.join(' ')} failed:\n${`${result.stdout}${result.stderr}`.trim()}`);
  }
}

/**
 * Installs Mesa's Vulkan drivers with apt.
 * @param {readonly string[]} prefix from {@link rootPrefix}
 */
function installWithApt(prefix) {
  const { backports } = driverPlan(readText('/etc/os-release'));
  const packages = ['mesa-vulkan-drivers', 'libvulkan1'];
  if (backports === null) {
    aptGet(prefix, ['update']);
    aptGet(prefix, ['install', '-y', '--no-install-recommends', ...packages]);
    return;
  }
  const entry = backportsEntry(parseSources(aptSourceFiles()), backports);
  if (entry.kind === 'no-archive') {
    throw new Error(`apt's sources name no archive with the suite "${backports}" and the component "main"`);
  }
  const [command = 'tee', ...args] = [...prefix, 'tee', backportsFile];
  if (entry.kind === 'add') {
    const written = spawnSync(command, args, { input: entry.text, stdio: ['pipe', 'ignore', 'inherit'] });
    if (written.status !== 0) throw new Error(`could not write ${backportsFile}`);
  }
  try {
    aptGet(prefix, ['update']);
    aptGet(prefix, ['install', '-y', '--no-install-recommends', '-t', `${backports}-backports`, ...packages]);
  } catch (error) {
    // Leave the machine's sources as they were; a suite that cannot be read breaks every later `apt update`.
    if (entry.kind === 'add' && prefix.length === 0) rmSync(backportsFile, { force: true });
    else if (entry.kind === 'add') succeeds(command, [...prefix.slice(1), 'rm', '-f', backportsFile]);
    throw error;
  }
}

/**
 * @returns {string | null} the sentence for a working driver that an environment variable hides; null when
 * none is
 */
function hidingVariable() {
  const name = driverVariables.find((variable) => process.env[variable] !== undefined);
  if (name === undefined) return null;
  const env = { ...process.env };
  for (const variable of driverVariables) delete env[variable];
  if (probeAdapter(env) === null) return null;
  return `No WebGPU adapter answers because ${name}=${process.env[name]} hides this machine's driver: unset ${name}, then run this again.`;
}

/** The sentence for a machine where the driver has to be installed by hand. */
function byHand() {
  if (process.platform !== 'linux') {
    return 'No WebGPU adapter answers: update the graphics driver of this machine, then run this again.';
  }
  if (!existsSync('/usr/bin/apt-get')) {
    return "No WebGPU adapter answers: install a Vulkan driver (a GPU's own, or Mesa's software driver: `dnf install mesa-vulkan-drivers`, `pacman -S vulkan-swrast`, `apk add mesa-vulkan-swrast`), then run this again.";
  }
  return `No WebGPU adapter answers and installing one needs root: run \`sudo ${process.execPath} ${fileURLToPath(import.meta.url)}\`, then run this again.`;
}

/**
 * Returns the adapter that answers, installing the software driver first where that is needed and allowed.
 * @param {{ cacheFile?: string, log?: (line: string) => void }} options
 * @returns {Adapter}
 * @throws when no adapter answers; the message says what to do
 */
export function ensureAdapter({ cacheFile, log = console.log }) {
  const found = cachedProbe(cacheFile);
  if (found !== null) return found;
  const hiding = hidingVariable();
  if (hiding !== null) throw new Error(hiding);
  const prefix = process.platform === 'linux' && existsSync('/usr/bin/apt-get') ? rootPrefix() : null;
  if (prefix === null) throw new Error(byHand());

  log('No WebGPU adapter answers: installing the software Vulkan driver with apt (about a minute) ...');
  installWithApt(prefix);
  const installed = cachedProbe(cacheFile);
  if (installed !== null) return installed;
  throw new Error(
    hidingVariable() ??
      'The software Vulkan driver is installed, but no WebGPU adapter answers: run this again with KINDLING_VERBOSE=1 in the environment to see why.',
  );
}

/** @param {Adapter} adapter */
export function describeAdapter(adapter) {
  const { description, vendor, architecture } = adapter;
  return (description || `${vendor} ${architecture}`).trim() + (adapter.software ? ' [software]' : '');
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  try {
    const cacheFile = join(here, '../../node_modules/.cache/kindling/adapter.json');
    console.log(`WebGPU adapter: ${describeAdapter(ensureAdapter({ cacheFile }))}`);
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}
