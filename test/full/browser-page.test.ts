import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { build } from '../../scripts/build.mjs';
import { chromium } from './chromium.js';

const page = fileURLToPath(new URL('../../examples/browser/', import.meta.url));
if (chromium === undefined) console.log('page test skipped: no Chromium here (apt-get install chromium)');

function run(...args: string[]): void {
  const { status, stdout, stderr } = spawnSync('npm', args, { cwd: page, encoding: 'utf8' });
  expect(status, `npm ${args.join(' ')}\n${stdout}${stderr}`.slice(-4000)).toBe(0);
}

describe('the page of examples/browser', () => {
  it.skipIf(chromium === undefined)('passes its own tests, in a browser', { timeout: 900_000 }, () => {
    build();
    // Not `ci`: the lock file also has kindling's own dependencies, which it refuses once they have changed.
    if (!existsSync(join(page, 'node_modules/.package-lock.json')))
      run('install', '--no-audit', '--no-fund', '--loglevel=error');
    run('test');
  });
});
