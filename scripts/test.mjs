/**
 * `npm test`: sets up what is missing, then builds, checks format, lint, import circles and types and runs the tests.
 * Arguments go to vitest; with arguments only the tests run. `--full` adds the slow tests of `test/full`, and
 * installs what those use (MPI, Chromium) where it may.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { cacheDir, prepare, root, runMain } from './setup.mjs';
import { ensureTestTools } from './test-tools.mjs';

/** @typedef {{ name: string, ok: boolean, seconds: number }} Step */

/**
 * The counts in vitest's JSON report. A file that fails before its first test counts as one failure, and so
 * does a run that vitest itself calls failed without naming a test (a crashed worker, an unhandled
 * rejection).
 * @param {{ numPassedTests: number, numFailedTests: number, numPendingTests: number, numTodoTests: number,
 * testResults: { status: string, assertionResults: { status: string }[] }[] } | null} report
 * @param {boolean} ok vitest's exit status was 0
 */
export function testCounts(report, ok) {
  if (report === null) return { passed: 0, failed: 1, skipped: 0 };
  const brokenFiles = report.testResults.filter(
    (file) => file.status === 'failed' && !file.assertionResults.some((test) => test.status === 'failed'),
  ).length;
  const failed = report.numFailedTests + brokenFiles;
  return {
    passed: report.numPassedTests,
    failed: ok ? failed : Math.max(1, failed),
    skipped: report.numPendingTests + report.numTodoTests,
  };
}

/** @param {{ passed: number, failed: number, skipped: number }} counts */
export function closingLine({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;
}

/** @param {string} name @param {boolean} ok @param {number} start @returns {Step} */
function ended(name, ok, start) {
  const seconds = (performance.now() - start) / 1000;
  console.log(`== ${name}: ${ok ? 'ok' : 'FAILED'} in ${seconds.toFixed(1)} s`);
  return { name, ok, seconds };
}

/**
 * @param {string} name
 * @param {() => boolean} action
 * @returns {Step}
 */
function step(name, action) {
  const start = performance.now();
  console.log(`\n== ${name}`);
  return ended(name, action(), start);
}

/**
 * The arguments of Node for a tool from node_modules.
 * @param {string} script
 * @param {string[]} args
 */
const command = (script, ...args) => [join(root, 'node_modules', script), ...args];

/**
 * A check in a process of its own, whose output is printed at its end: several run at once.
 * @param {string} name
 * @param {readonly string[]} args
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<Step>}
 */
function check(name, args, env) {
  const start = performance.now();
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] });
    /** @type {Buffer[]} */
    const output = [];
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => output.push(chunk));
    child.on('error', (error) => output.push(Buffer.from(`${error.message}\n`)));
    child.on('close', (status) => {
      console.log(`\n== ${name}`);
      process.stdout.write(Buffer.concat(output));
      resolve(ended(name, status === 0, start));
    });
  });
}

/**
 * The build, the types (of tests that import the build, too) after it, and beside both what needs no build. Each uses
 * one core.
 * @param {{ checked: boolean, full: boolean }} options
 * @returns {Promise<Step[]>}
 */
async function beforeTests({ checked, full }) {
  const prettier = ['--check', '--log-level=warn', '--cache', '--cache-location'];
  const types = command('typescript/bin/tsc', '-p', 'tsconfig.json');
  const waiting = Object.entries({
    lint: command('eslint/bin/eslint.js', '.', '--max-warnings=0'),
    format: command('prettier/bin/prettier.cjs', ...prettier, join(cacheDir, 'kindling/prettier'), '.'),
    circles: command(
      'dependency-cruiser/bin/dependency-cruise.mjs',
      '--config',
      '.dependency-cruiser.json',
      'src',
    ),
  });
  const env = full ? process.env : { ...process.env, KINDLING_LINT: 'quick' };
  /** @type {Step[]} */
  const steps = [];
  const rest = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) steps.push(await check(...next, env));
  };
  const afterBuild = async () => {
    steps.push(await check('build', [join(root, 'scripts/build.mjs')], env));
    if (checked) steps.push(await check('types', types, env));
  };
  await (checked ? Promise.all([afterBuild().then(rest), rest()]) : afterBuild());
  return steps;
}

void runMain(import.meta.url, async () => {
  const full = process.argv.includes('--full');
  const vitestArgs = process.argv.slice(2).filter((arg) => arg !== '--full');
  const { adapter } = prepare();
  console.log(`WebGPU adapter: ${adapter}`);
  if (full) ensureTestTools();

  const steps = await beforeTests({ checked: vitestArgs.length === 0, full });
  const reportFile = join(cacheDir, 'kindling/test-report.json');
  mkdirSync(dirname(reportFile), { recursive: true });
  rmSync(reportFile, { force: true });
  const env = full ? { ...process.env, KINDLING_FULL: '1' } : process.env;
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${reportFile}`];
  const vitest = command('vitest/vitest.mjs', 'run', ...reporters, ...vitestArgs);
  const tests = step(
    'tests',
    () => spawnSync(process.execPath, vitest, { cwd: root, stdio: 'inherit', env }).status === 0,
  );
  steps.push(tests);

  const report = existsSync(reportFile) ? JSON.parse(readFileSync(reportFile, 'utf8')) : null;
  const counts = testCounts(report, tests.ok);
  const times = steps.map(({ name, ok, seconds }) => `${name} ${seconds.toFixed(1)} s${ok ? '' : ' FAILED'}`);
  console.log(`\n${times.join(' | ')}\n${closingLine(counts)}`);
  return steps.every(({ ok }) => ok) && counts.failed === 0 ? 0 : 1;
});
