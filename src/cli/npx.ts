/**
 * `npx kindling` in one step. npx fetches a package without its optional peers, so as not to burden those who
 * install kindling for a browser; but the command is nothing without Dawn, and little without sharp. In npx's
 * own folder, and nowhere else, it fetches them: in a project that is the user's to do, and errors say how.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

/** Commands that use no device and decode no pictures. */
const needless = ['inspect', 'convert', 'weights', 'download', 'help'];

/**
 * What npx left out, as arguments of `npm install`: `webgpu@^0.6.2`.
 *
 * @param packageFolder of kindling itself
 * @returns the folder to install into, and what; null where kindling was not fetched by npx or all is there
 */
export function missingInNpx(
  packageFolder: string,
  args: readonly string[],
): { readonly folder: string; readonly packages: readonly string[] } | null {
  const modules = dirname(packageFolder);
  const folder = dirname(modules);
  if (basename(modules) !== 'node_modules' || basename(dirname(folder)) !== '_npx') return null;
  const [command = '--help'] = args;
  if (command.startsWith('-') || needless.includes(command) || args.includes('--help')) return null;
  const { peerDependencies } = JSON.parse(readFileSync(join(packageFolder, 'package.json'), 'utf8')) as {
    peerDependencies: Readonly<Record<string, string>>;
  };
  const packages = Object.entries(peerDependencies)
    .filter(([name]) => !existsSync(join(modules, name, 'package.json')))
    .map(([name, range]) => `${name}@${range}`);
  return packages.length === 0 ? null : { folder, packages };
}

/**
 * Fetches what npx left out, saying so.
 *
 * @param env of the process, in which npm says where it is
 * @returns whether all is there now; if not, what comes after says what it lacks
 */
export function fetchMissing(
  packageFolder: string,
  args: readonly string[],
  say: (line: string) => void,
  env: NodeJS.ProcessEnv = process.env,
): boolean {
  const missing = missingInNpx(packageFolder, args);
  const npm = env['npm_execpath'];
  if (missing === null) return true;
  const { folder, packages } = missing;
  const byHand = `npx ${packages.map((each) => `-p ${each}`).join(' ')} -p kindling kindling ...`;
  if (npm === undefined || !/npm-cli\.c?js$/.test(npm)) {
    say(`this command needs more than npx has fetched: ${byHand}`);
    return false;
  }
  say(`fetching ${packages.join(' and ')} beside it, once (about 40 MB) ...`);
  const install = ['install', ...packages, '--no-audit', '--no-fund', '--loglevel=error'];
  const { status } = spawnSync(process.execPath, [npm, ...install], {
    cwd: folder,
    env,
    // Standard output is the command's own.
    stdio: ['ignore', 2, 2],
  });
  if (status !== 0) say(`npm could not fetch them; try ${byHand}`);
  return status === 0;
}
