import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));

describe('the documentation', () => {
  it('becomes a site without a broken link', { timeout: 900_000 }, () => {
    const { status, stdout, stderr } = spawnSync('node', ['site/build.mjs'], { cwd: root, encoding: 'utf8' });
    expect(status, stdout + stderr).toBe(0);
    expect(stdout).toMatch(/[1-9]\d{3} links, 0 broken/);
    for (const page of ['index.html', 'docs/guide/start.html', 'api/modules/kindling_core.html'])
      expect(existsSync(join(root, 'site/dist', page)), page).toBe(true);
  });
});
