import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, type Plugin } from 'esbuild';
import { describe, expect, it } from 'vitest';
import { build as buildPackage } from '../../scripts/build.mjs';
import { train } from './browser-entry.js';
import { chromium } from './chromium.js';

if (chromium === undefined) console.log('browser test skipped: no Chromium here (apt-get install chromium)');

const flags = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu-sandbox',
  '--enable-unsafe-webgpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

const allInOne = fileURLToPath(new URL('../../dist/kindling.min.js', import.meta.url));

/** Serves the page and kindling's one file, starts a browser on it, and gives what the page posts back. */
async function runInBrowser(executable: string, script: string): Promise<unknown> {
  const profile = mkdtempSync(join(tmpdir(), 'kindling-browser-'));
  let deliver: (body: string) => void = () => {};
  const posted = new Promise<string>((resolve) => (deliver = resolve));
  const server = createServer((request, response) => {
    if (request.method !== 'POST') {
      const scripts: Record<string, () => string | Buffer> = {
        '/main.js': () => script,
        '/kindling.min.js': () => readFileSync(allInOne),
      };
      const asked = scripts[request.url ?? ''];
      response.setHeader('content-type', asked ? 'text/javascript' : 'text/html');
      response.end(asked?.() ?? '<!doctype html><script type="module" src="/main.js"></script>');
      return;
    }
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      response.end();
      deliver(body);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const browser = spawn(executable, [...flags, `--user-data-dir=${profile}`, `http://127.0.0.1:${port}/`], {
    stdio: 'ignore',
    // A group of processes, which ends as one.
    detached: true,
  });
  const closed = new Promise((resolve) => browser.on('close', resolve));
  const gone = new Promise<never>((_, reject) => {
    browser.on('error', reject);
    browser.on('exit', (code) =>
      reject(new Error(`the browser ended with code ${code} before the page answered`)),
    );
  });
  try {
    return JSON.parse(await Promise.race([posted, gone]));
  } finally {
    gone.catch(() => {});
    if (browser.pid !== undefined) {
      try {
        process.kill(-browser.pid, 'SIGKILL');
      } catch {
        // It has ended by itself, which `gone` says.
      }
      await closed;
    }
    server.close();
    // Those of its processes that are still dying may write into it.
    rmSync(profile, { recursive: true, force: true, maxRetries: 50, retryDelay: 20 });
  }
}

/** The page's script imports kindling as a module of its own, which has come from elsewhere. */
const fromOneFile: Plugin = {
  name: 'kindling.min.js',
  setup: ({ onResolve }) =>
    onResolve({ filter: /src\/index\.js$/ }, () => ({ path: '/kindling.min.js', external: true })),
};

describe('the same code in a browser', () => {
  it.skipIf(chromium === undefined).each([
    ['bundled', []],
    ['with kindling.min.js', [fromOneFile]],
  ])('trains to the same losses as in Node: %s', { timeout: 180_000 }, async (_, plugins) => {
    buildPackage();
    const bundle = await build({
      stdin: {
        contents: `
          import { train } from './browser-entry.ts';
          const post = (result) => fetch('/', { method: 'POST', body: JSON.stringify(result) });
          train().then(post, (error) => post({ error: String(error.stack ?? error) }));`,
        resolveDir: fileURLToPath(new URL('.', import.meta.url)),
      },
      bundle: true,
      format: 'esm',
      platform: 'browser',
      target: 'es2022',
      write: false,
      plugins,
    });
    const there = (await runInBrowser(chromium as string, bundle.outputFiles[0]?.text as string)) as {
      error?: string;
      losses: number[];
    };
    expect(there.error).toBeUndefined();
    const here = await train();
    expect(there.losses.length).toBe(here.losses.length);
    there.losses.forEach((loss, i) => expect(loss).toBeCloseTo(here.losses[i] as number, 3));
  });
});
