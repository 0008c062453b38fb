/**
 * Programs of the machine that the slow tests use. `npm run test:full` installs them with apt where that needs no
 * password; the tests of what cannot be had are skipped, with a line that says how to get it.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { aptGet, rootPrefix } from './driver/install.mjs';

/** @param {string} command @returns {boolean} whether it is there and starts: Ubuntu has scripts that name a snap */
const starts = (command) =>
  spawnSync(command, ['--version'], { stdio: 'ignore', timeout: 60_000 }).status === 0;

/** @returns {string | undefined} the system's browser, if it has one */
export function findChromium() {
  const places = ['/usr/bin/chromium', '/usr/bin/google-chrome', '/usr/bin/chromium-browser'];
  return places.find((path) => existsSync(path) && starts(path));
}

/**
 * @typedef {{ name: string, packages: readonly string[], there: () => boolean, without: string }} Tool
 * `without`: what is skipped, as the beginning of a sentence
 */

/** @type {readonly Tool[]} */
export const testTools = [
  {
    name: 'Open MPI and MPICH',
    packages: ['openmpi-bin', 'mpich'],
    // Debian's names. Each is installed beside the other; `mpirun` is then Open MPI's.
    there: () => starts('mpirun.openmpi') && starts('mpirun.mpich'),
    without: 'tests of several processes are skipped for an MPI that is not there',
  },
  {
    name: 'Chromium',
    packages: ['chromium', 'fonts-dejavu-core'],
    there: () => findChromium() !== undefined,
    without: 'tests in a browser are skipped',
  },
];

/**
 * Installs those that are not there.
 * @param {readonly Tool[]} tools
 * @param {{ prefix: readonly string[] | null, apt?: typeof aptGet, log?: (line: string) => void }} options
 * `prefix`: what makes a command root's, null where apt may not be used
 */
export function ensureTools(tools, { prefix, apt = aptGet, log = console.log }) {
  const missing = tools.filter(({ there }) => !there());
  let updated = false;
  for (const { name, packages, there, without } of missing) {
    const command = `apt-get install ${packages.join(' ')}`;
    let why = 'apt may not be used here';
    try {
      if (prefix !== null) {
        log(`Installing ${name} (${command}) ...`);
        if (!updated) apt(prefix, ['update']);
        updated = true;
        apt(prefix, ['install', '-y', '--no-install-recommends', ...packages]);
        why = 'it is installed and does not start';
      }
    } catch (error) {
      // The line alone: what apt says of a mirror that is away takes a screen.
      why =
        String(error instanceof Error ? error.message : error)
          .trim()
          .split('\n')
          .at(-1) ?? '';
    }
    if (!there()) log(`No ${name}: ${without} (${command}). ${why}`);
  }
}

/** For this machine. */
export function ensureTestTools() {
  const apt = process.platform === 'linux' && existsSync('/usr/bin/apt-get');
  ensureTools(testTools, { prefix: apt ? rootPrefix() : null });
}
