/** Downloads from a server on this machine that cuts, stalls, lies, changes its mind and comes back. */
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import fsPromises, { type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { DownloadError, type DownloadOptions } from '../../src/formats/hub/index.js';
import { cachedFile, downloadFile } from '../../src/formats/hub/node-download.js';
import { FileServer, noise } from './server.js';

const content = noise(400_000);
const server = new FileServer(content);
let folder = '';

beforeAll(() => server.listen());
afterAll(() => server.close());
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'kindling-hub-'));
  server.content = content;
  server.etag = '"v1"';
  server.reset();
  for (const name of ['HTTPS_PROXY', 'https_proxy', 'HTTP_PROXY', 'http_proxy']) vi.stubEnv(name, '');
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

const options = (more: Partial<DownloadOptions> = {}): DownloadOptions => ({
  url: server.url(),
  sha256Prefix: server.sha256.slice(0, 8),
  cacheDir: folder,
  retries: 2,
  retryDelay: 5,
  stallTimeout: 150,
  ...more,
});
const files = (): string[] => readdirSync(join(folder, 'hub', 'checkpoints')).sort();
const expectWhole = (path: string): void => {
  expect(readFileSync(path).equals(server.content)).toBe(true);
  expect(files()).toEqual([basename(path), `${basename(path)}.json`]);
};
const failure = async (promise: Promise<unknown>): Promise<Error> => {
  const error = await promise.then(
    () => null,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(Error);
  return error as Error;
};
const partials = (): string[] => files().filter((name) => name.endsWith('.partial'));

describe('a download', () => {
  it('is stored under its name, once, and tells its progress', async () => {
    const seen: [number, number | null][] = [];
    const path = await downloadFile(
      options({ onProgress: ({ received, total }) => seen.push([received, total]) }),
    );
    expect(path).toBe(join(folder, 'hub', 'checkpoints', 'model.pth'));
    expectWhole(path);
    expect(seen[0]).toEqual([0, content.length]);
    expect(seen.at(-1)).toEqual([content.length, content.length]);
    expect(await downloadFile(options())).toBe(path);
    expect(server.requests).toHaveLength(1);
  });

  it('follows redirects', async () => {
    server.reset({ redirect: server.url() });
    expectWhole(await downloadFile(options({ url: server.url('moved.pth') })));
  });

  it('works without a length, an ETag and a hash', async () => {
    server.reset({ chunked: true, noValidators: true });
    const path = await downloadFile(options({ sha256Prefix: undefined }));
    expect(basename(path)).toMatch(/^[0-9a-f]{12}-model\.pth$/);
    expectWhole(path);
  });

  it('keeps files of one name from two places apart', async () => {
    const [a, b] = [server.url('a/model.pth'), server.url('b/model.pth')];
    const paths = [a, b].map((url) => downloadFile(options({ url, sha256Prefix: undefined })));
    expect(new Set(await Promise.all(paths)).size).toBe(2);
  });

  it('refuses what is no hash', async () => {
    await expect(downloadFile(options({ sha256Prefix: 'xyz' }))).rejects.toThrow(/8 to 64 hexadecimal/);
  });
});

describe('a broken connection', () => {
  const cut = Math.floor(content.length * 0.6);

  it('is taken up where it broke', async () => {
    server.reset({ cutAfter: [cut] });
    expectWhole(await downloadFile(options()));
    const [first, second] = server.requests;
    expect([first?.range, second?.range, second?.ifRange]).toEqual([undefined, `bytes=${cut}-`, '"v1"']);
    expect(server.bytesSent).toBe(content.length);
  });

  it('that breaks again and again is taken up as long as it gets on', async () => {
    server.reset({ cutAfter: Array.from({ length: 12 }, () => 30_000) });
    expectWhole(await downloadFile(options({ retries: 3 })));
    expect(server.requests).toHaveLength(13);
  });

  it('starts over if the server knows no ranges, and gives up when that gets nowhere', async () => {
    server.reset({ noRanges: true, cutAfter: [cut] });
    expectWhole(await downloadFile(options()));
    expect(server.bytesSent).toBe(cut + content.length);
    rmSync(folder, { recursive: true });
    server.reset({ noRanges: true, cutAfter: Array.from({ length: 99 }, () => cut) });
    const error = await failure(downloadFile(options()));
    expect(error).toBeInstanceOf(DownloadError);
    expect(error.message).toMatch(
      /model\.pth: the download failed after 3 attempts: .*; 234\.4 KiB of 390\.6 KiB are kept/,
    );
    expect(partials()).toHaveLength(1);
    expect(files()).not.toContain('model.pth');
  });

  it('is taken up by the next call', async () => {
    server.reset({ cutAfter: [cut] });
    await failure(downloadFile(options({ retries: 0 })));
    server.reset();
    const messages: string[] = [];
    expectWhole(await downloadFile(options({ onMessage: (text) => messages.push(text) })));
    expect(server.requests.map(({ range }) => range)).toEqual([`bytes=${cut}-`]);
    expect(messages).toEqual(['model.pth: going on after 234.4 KiB']);
  });

  it('is not joined with another file: If-Range', async () => {
    // Without a hash, which would notice.
    server.reset({ cutAfter: [cut] });
    await failure(downloadFile(options({ retries: 0, sha256Prefix: undefined })));
    server.content = noise(400_000, 2);
    server.etag = '"v2"';
    expectWhole(await downloadFile(options({ sha256Prefix: undefined })));
    expect(server.requests.map(({ status }) => status)).toEqual([200, 200]);
  });

  it('is not joined with another file: a server that ignores If-Range', async () => {
    server.reset({ cutAfter: [cut], ignoreIfRange: true });
    await failure(downloadFile(options({ retries: 0, sha256Prefix: undefined })));
    server.content = noise(400_000, 2);
    server.etag = '"v2"';
    expectWhole(await downloadFile(options({ sha256Prefix: undefined })));
    expect(server.requests.map(({ status }) => status)).toEqual([200, 206, 200]);
  });

  it('is joined without ETags only if the hash can tell, and then fetched anew if it was wrong', async () => {
    server.reset({ cutAfter: [cut], noValidators: true });
    await failure(downloadFile(options({ retries: 0, sha256Prefix: undefined })));
    expectWhole(await downloadFile(options({ sha256Prefix: undefined })));
    expect(server.requests.map(({ range }) => range)).toEqual([undefined, undefined]);

    rmSync(folder, { recursive: true });
    server.reset({ cutAfter: [cut], noValidators: true });
    const wanted = options();
    await failure(downloadFile({ ...wanted, retries: 0 }));
    const [partial = ''] = partials();
    const damaged = readFileSync(join(folder, 'hub', 'checkpoints', partial));
    damaged[1000]! ^= 1;
    writeFileSync(join(folder, 'hub', 'checkpoints', partial), damaged);
    expectWhole(await downloadFile(wanted));
    expect(server.requests.map(({ range }) => range)).toEqual([undefined, `bytes=${cut}-`, undefined]);
  });

  it('after the last byte costs no further byte', async () => {
    server.reset({ chunked: true, cutAfter: [content.length] });
    expectWhole(await downloadFile(options()));
    expect(server.requests.map(({ status }) => status)).toEqual([200, 416]);
    expect(server.bytesSent).toBe(content.length);
  });
});

describe('a server', () => {
  it('that stalls is asked again', async () => {
    server.reset({ stallAfter: [100_000] });
    expectWhole(await downloadFile(options()));
    expect(server.requests.map(({ range }) => range)).toEqual([undefined, 'bytes=100000-']);
    rmSync(folder, { recursive: true });
    server.reset({ stallAfter: [0, 0, 0, 0] });
    const { message } = await failure(downloadFile(options()));
    expect(message).toMatch(
      /failed after 3 attempts: no byte came for 0\.15 s\. A file that you put at .*model\.pth will do as well$/,
    );
  });

  it('that is busy is asked again, one that has not the file is not', async () => {
    server.reset({ statuses: [500, 503] });
    expectWhole(await downloadFile(options()));
    rmSync(folder, { recursive: true });
    server.reset({ statuses: [503, 503, 503, 503] });
    expect((await failure(downloadFile(options()))).message).toMatch(
      /after 3 attempts: .*503 Service Unavailable/,
    );
    server.reset({ statuses: [404] });
    expect((await failure(downloadFile(options()))).message).toBe(
      `model.pth: the server answered 404 Not Found for ${server.url()}`,
    );
    expect(server.requests).toHaveLength(1);
  });

  it('that nobody answers for is named', async () => {
    const gone = await new FileServer(content).listen();
    const url = gone.url();
    gone.close();
    expect((await failure(downloadFile(options({ url })))).message).toMatch(
      /after 3 attempts: .*ECONNREFUSED/,
    );
  });

  it('that is behind a proxy: says that Node does not use it', async () => {
    vi.stubEnv('HTTPS_PROXY', 'http://127.0.0.1:9');
    server.reset({ statuses: [503, 503, 503] });
    expect((await failure(downloadFile(options()))).message).toMatch(
      /503 Service Unavailable\. HTTPS_PROXY is set, which Node heeds with NODE_USE_ENV_PROXY=1 only/,
    );
  });

  it('that announces too much is not believed', async () => {
    server.reset({ lengthLie: 5000 });
    const { message } = await failure(downloadFile(options()));
    expect(message).toMatch(/the download failed after \d attempts/);
    expect(files()).not.toContain('model.pth');
    server.reset({ lengthLie: 5000 });
    rmSync(folder, { recursive: true });
    expect((await failure(downloadFile(options({ size: content.length })))).message).toBe(
      `model.pth: the server announces 405000 bytes, but the file has 400000: this is not the file, or a proxy or ` +
        `login page answers for ${server.url()}`,
    );
    expect(server.requests).toHaveLength(1);
  });

  it('that announces too little is found out by the hash, or by the size', async () => {
    server.reset({ lengthLie: -5000 });
    expect((await failure(downloadFile(options()))).message).toMatch(
      /has SHA-256 [0-9a-f]{64}, expected [0-9a-f]{8}\.\.\./,
    );
    expect(files()).toEqual([]);
    const size = { mebibytes: Number((content.length / 2 ** 20).toFixed(3)) };
    expect((await failure(downloadFile(options({ size })))).message).toMatch(
      /announces 395000 bytes, but the file has about/,
    );
    server.reset();
    expectWhole(await downloadFile(options({ size })));
  });

  it('that sends another file is found out, and nothing of it stays', async () => {
    server.content = noise(400_000, 3);
    const sha256Prefix = createHash('sha256').update(content).digest('hex').slice(0, 10);
    const { message } = await failure(downloadFile(options({ sha256Prefix })));
    expect(message).toContain(
      `has SHA-256 ${server.sha256}, expected ${sha256Prefix}...; its 400000 bytes were deleted`,
    );
    expect(files()).toEqual([]);
    expect(server.requests).toHaveLength(1);
  });
});

describe('the cache', () => {
  it('serves without the network', async () => {
    const path = await downloadFile(options());
    const forbidden = (): Promise<Response> => Promise.reject(new Error('no network call is expected'));
    vi.stubEnv('KINDLING_OFFLINE', '1');
    expect(await downloadFile(options({ fetch: forbidden }))).toBe(path);
    expect(await cachedFile(options())).toBe(path);
  });

  it('says what is missing when it may not use the network', async () => {
    vi.stubEnv('KINDLING_OFFLINE', '1');
    const { message } = await failure(downloadFile(options()));
    expect(message).toMatch(
      /^model\.pth: is not in the cache \(.*model\.pth\), and KINDLING_OFFLINE forbids/,
    );
    expect(server.requests).toEqual([]);
    expect(await cachedFile(options())).toBe(null);
  });

  it('lies where the environment says', async () => {
    vi.stubEnv('KINDLING_CACHE', join(folder, 'own'));
    const path = await downloadFile(options({ cacheDir: undefined }));
    expect(dirname(path)).toBe(join(folder, 'own', 'hub', 'checkpoints'));
    vi.stubEnv('KINDLING_CACHE', '');
    vi.stubEnv('XDG_CACHE_HOME', join(folder, 'xdg'));
    expect(dirname(await downloadFile(options({ cacheDir: undefined })))).toBe(
      join(folder, 'xdg', 'kindling', 'hub', 'checkpoints'),
    );
  });

  it('takes a file that was put there, after a look at its hash', async () => {
    const path = join(folder, 'hub', 'checkpoints', 'model.pth');
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
    expect(await downloadFile(options({ offline: true }))).toBe(path);
    expect(server.requests).toEqual([]);
  });

  it('replaces a damaged file', async () => {
    const path = await downloadFile(options());
    writeFileSync(path, 'damaged');
    const { message } = await failure(downloadFile(options({ offline: true })));
    expect(message).toMatch(/is damaged: its SHA-256 is [0-9a-f]{64}, expected/);
    const messages: string[] = [];
    expectWhole(await downloadFile(options({ onMessage: (text) => messages.push(text) })));
    expect(messages[0]).toMatch(/is damaged: .*; downloading it again/);
  });
});

describe('trouble on this side', () => {
  it('can be ended by a signal, and what came is kept', async () => {
    server.reset({ pace: 5 });
    const abort = new AbortController();
    const onProgress = ({ received }: { received: number }): void => {
      if (received > 100_000) abort.abort(new Error('enough'));
    };
    expect((await failure(downloadFile(options({ signal: abort.signal, onProgress })))).message).toBe(
      'enough',
    );
    expect(files().filter((name) => name.includes('lock'))).toEqual([]);
    server.reset();
    expectWhole(await downloadFile(options()));
    expect(server.requests[0]?.range).toMatch(/^bytes=1\d{5}-$/);
  });

  it('a full disk: says so before, if the length is known', async () => {
    vi.spyOn(fsPromises, 'statfs').mockResolvedValue({ blocks: 10, bavail: 2, bsize: 4096 } as never);
    const { message } = await failure(downloadFile(options()));
    expect(message).toMatch(
      /^model\.pth: needs 390\.6 KiB, but .* has 8\.0 KiB free; make room, or set KINDLING_CACHE/,
    );
    expect(server.bytesSent).toBeLessThanOrEqual(content.length);
    vi.restoreAllMocks();
    expectWhole(await downloadFile(options()));
  });

  it('a disk that fills up: keeps what came and goes on from there', async () => {
    const open = fsPromises.open;
    vi.spyOn(fsPromises, 'open').mockImplementation(async (...args) => {
      const file: FileHandle = await open(...args);
      const write = file.write.bind(file) as (...all: unknown[]) => Promise<unknown>;
      let room = 150_000;
      file.write = (async (bytes: Uint8Array, offset: number, length: number, position: number) => {
        const part = Math.min(length, room);
        if (part === 0)
          throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
        room -= part;
        return write(bytes, offset, part, position);
      }) as typeof file.write;
      return file;
    });
    const { message } = await failure(downloadFile(options()));
    expect(message).toMatch(
      /^model\.pth: the disk is full; what came of its 390\.6 KiB is kept in .*\.partial\. Make room/,
    );
    expect(server.requests).toHaveLength(1);
    vi.restoreAllMocks();
    const [partial = ''] = partials();
    const size = statSync(join(folder, 'hub', 'checkpoints', partial)).size;
    expect(size).toBe(150_000);
    expectWhole(await downloadFile(options()));
    expect(server.requests.at(-1)?.range).toBe(`bytes=${size}-`);
  });

  it('a cache that cannot be made', async () => {
    writeFileSync(join(folder, 'file'), '');
    const { message } = await failure(downloadFile(options({ cacheDir: join(folder, 'file') })));
    expect(message).toMatch(/^model\.pth: .* cannot be written: ENOTDIR/);
    expect(existsSync(join(folder, 'file', 'hub'))).toBe(false);
  });
});
