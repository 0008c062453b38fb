/** The download for browsers, in Node, which has all it needs but the Cache storage. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { type DownloadOptions } from '../../src/formats/hub/index.js';
import { downloadBlob } from '../../src/formats/hub/browser-download.js';
import { FileServer, noise } from './server.js';

const content = noise(200_000);
const server = new FileServer(content);

/** As much of the Cache storage as is used. */
class Storage {
  readonly stored = new Map<string, Blob>();
  full = false;
  open(): Promise<unknown> {
    return Promise.resolve({
      match: (url: string) =>
        Promise.resolve(this.stored.has(url) ? new Response(this.stored.get(url)) : undefined),
      put: async (url: string, response: Response) => {
        if (this.full) throw new DOMException('no room', 'QuotaExceededError');
        this.stored.set(url, await response.blob());
      },
      delete: (url: string) => Promise.resolve(this.stored.delete(url)),
    });
  }
}
let storage: Storage;

beforeAll(() => server.listen());
afterAll(() => server.close());
beforeEach(() => {
  storage = new Storage();
  vi.stubGlobal('caches', storage);
  server.content = content;
  server.reset();
});
afterEach(() => vi.unstubAllGlobals());

const options = (more: Partial<DownloadOptions> = {}): DownloadOptions => ({
  url: server.url(),
  sha256Prefix: server.sha256.slice(0, 8),
  retries: 2,
  retryDelay: 5,
  stallTimeout: 200,
  ...more,
});
const bytesOf = async (blob: Blob): Promise<Buffer> => Buffer.from(await blob.arrayBuffer());

it('stores what it got', async () => {
  expect((await bytesOf(await downloadBlob(options()))).equals(content)).toBe(true);
  expect((await bytesOf(await downloadBlob(options({ offline: true })))).equals(content)).toBe(true);
  expect(server.requests).toHaveLength(1);
});

it('takes a broken connection up, without headers that need a preflight', async () => {
  server.reset({ cutAfter: [120_000] });
  expect((await bytesOf(await downloadBlob(options()))).equals(content)).toBe(true);
  expect(server.requests.map(({ range, ifRange }) => [range, ifRange])).toEqual([
    [undefined, undefined],
    ['bytes=120000-', undefined],
  ]);
});

it('stores nothing of a wrong hash, and does not trust what is stored', async () => {
  const wanted = options();
  server.content = noise(200_000, 2);
  await expect(downloadBlob(wanted)).rejects.toThrow(/has SHA-256 [0-9a-f]{64}, expected/);
  expect(storage.stored.size).toBe(0);
  server.content = content;
  storage.stored.set(server.url(), new Blob(['damaged']));
  expect((await bytesOf(await downloadBlob(wanted))).equals(content)).toBe(true);
});

it('works where nothing can be stored', async () => {
  storage.full = true;
  const messages: string[] = [];
  await downloadBlob(options({ onMessage: (text) => messages.push(text) }));
  expect(messages).toEqual(['model.pth: could not be stored for the next time: no room (22)']);
  vi.stubGlobal('caches', undefined);
  expect((await downloadBlob(options())).size).toBe(content.length);
});

it('says what is wrong on a page that is not secure', async () => {
  vi.stubGlobal('crypto', {});
  await expect(downloadBlob(options())).rejects.toThrow(/SHA-256 cannot be checked: .* secure origin/);
});
