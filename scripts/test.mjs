/**
 * `npm test`: sets up what is missing, then checks format, lint, import circles and types and runs the tests.
 * Arguments go to vitest; with arguments only the tests run. `--full` adds the slow tests of `test/full`.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { build } from './build.mjs';
import { cacheDir, prepare, root, runMain } from './setup.mjs';

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

/**
 * @param {string} name
 * @param {() => boolean} action
 * @returns {Step}
 */
function step(name, action) {
  const start = performance.now();
  console.log(`\n== ${name}`);
  const ok = action();
  const seconds = (performance.now() - start) / 1000;
  console.log(`== ${name}: ${ok ? 'ok' : 'FAILED'} in ${seconds.toFixed(1)} s`);
  return { name, ok, seconds };
}

/**
 * Runs a tool from node_modules.
 * @param {string} script
 * @param {readonly string[]} args
 * @param {NodeJS.ProcessEnv} [env]
 */
function tool(script, args, env = process.env) {
  const command = [join(root, 'node_modules', script), ...args];
  return spawnSync(process.execPath, command, { cwd: root, stdio: 'inherit', env }).status === 0;
}

function buildSucceeds() {
  try {
    build();
    return true;
  } catch {
    return false; // the compiler has said why
  }
}

void runMain(import.meta.url, () => {
  const full = process.argv.includes('--full');
  const vitestArgs = process.argv.slice(2).filter((arg) => arg !== '--full');
  const { adapter } = prepare();
  console.log(`WebGPU adapter: ${adapter}`);

  const steps = [step('build', buildSucceeds)];
  if (vitestArgs.length === 0) {
    steps.push(
      step('format', () =>
        tool('prettier/bin/prettier.cjs', [
          '--check',
          '--log-level=warn',
          '--cache',
          '--cache-location',
          join(cacheDir, 'kindling/prettier'),
          '.',
        ]),
      ),
      step('lint', () => tool('eslint/bin/eslint.js', ['.', '--max-warnings=0'])),
      step('circles', () =>
        tool('dependency-cruiser/bin/dependency-cruise.mjs', ['--config', '.dependency-cruiser.json', 'src']),
      ),
      step('types', () => tool('typescript/bin/tsc', ['-p', 'tsconfig.json'])),
    );
  }
  const reportFile = join(cacheDir, 'kindling/test-report.json');
  mkdirSync(dirname(reportFile), { recursive: true });
  rmSync(reportFile, { force: true });
  const env = full ? { ...process.env, KINDLING_FULL: '1' } : process.env;
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${reportFile}`];
  const tests = step('tests', () => tool('vitest/vitest.mjs', ['run', ...reporters, ...vitestArgs], env));
  steps.push(tests);

  const report = existsSync(reportFile) ? JSON.parse(readFileSync(reportFile, 'utf8')) : null;
  const counts = testCounts(report, tests.ok);
  const times = steps.map(({ name, ok, seconds }) => `${name} ${seconds.toFixed(1)} s${ok ? '' : ' FAILED'}`);
  console.log(`\n${times.join(' | ')}\n${closingLine(counts)}`);
  return steps.every(({ ok }) => ok) && counts.failed === 0 ? 0 : 1;
});
