/** `kindling weights` and `kindling download`, from a server on this machine. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { Interrupted } from '../../src/cli/errors.js';
import { Output } from '../../src/cli/output.js';
import { fetchWeights, listWeights } from '../../src/cli/commands/weights.js';
import { resolveWeights } from '../../src/cli/weights.js';
import { useManifest, type Manifest } from '../../src/models/index.js';
import { FileServer, noise } from './server.js';

const shipped = JSON.parse(
  readFileSync(new URL('../../weights/manifest.json', import.meta.url), 'utf8'),
) as Manifest;
const server = new FileServer(noise(300_000));
let folder = '';

beforeAll(() => server.listen());
afterAll(() => server.close());
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'kindling-hub-'));
  vi.stubEnv('KINDLING_CACHE', folder);
  server.reset();
  const local = shipped.weights.map((record) =>
    record.name === 'IMAGENET1K_V2' && record.model === 'resnet50'
      ? { ...record, url: server.url('v2.pth'), sha256: server.sha256.slice(0, 8), fileSizeMiB: 0.286 }
      : record,
  );
  useManifest({ version: 1, weights: local });
});
afterEach(() => {
  vi.unstubAllEnvs();
  useManifest(shipped);
  rmSync(folder, { recursive: true, force: true });
});

function terminal(json = false, signal = new AbortController().signal) {
  const text = { out: '', err: '' };
  const streams = {
    stdout: { write: (part: string) => void (text.out += part) },
    stderr: { write: (part: string) => void (text.err += part) },
  };
  const output = new Output(streams, json);
  return { text, context: { output, signal, ranks: null, openDevice: () => Promise.resolve() } };
}
const path = (): string => join(folder, 'hub', 'checkpoints', 'v2.pth');

it('weights lists what there is', async () => {
  const { text, context } = terminal();
  await listWeights(context, 'resnet50');
  expect(text.out.split('\n').slice(0, 3)).toEqual([
    'model     weights          top-1 %  parameters       size',
    'resnet50  IMAGENET1K_V1      76.13  25,557,032   97.8 MiB',
    'resnet50  IMAGENET1K_V2 *    80.86  25,557,032  292.9 KiB',
  ]);
  const all = terminal();
  await listWeights(all.context, undefined);
  expect(all.text.out.split('\n').length).toBeGreaterThan(100);
});

it('download fetches, and then it is there', async () => {
  const { text, context } = terminal();
  await fetchWeights(context, 'resnet50');
  expect(text.out).toBe(`ResNet50_Weights.IMAGENET1K_V2: downloaded\n${path()}\n`);
  expect(readFileSync(path()).equals(server.content)).toBe(true);
  const again = terminal(true);
  await fetchWeights(again.context, 'resnet50:IMAGENET1K_V2');
  expect(JSON.parse(again.text.out)).toMatchObject({ model: 'resnet50', path: path(), downloaded: false });
  const list = terminal(true);
  await listWeights(list.context, 'resnet50');
  const rows = JSON.parse(list.text.out) as { name: string; cached: string | null }[];
  expect(rows.map(({ name, cached }) => [name, cached])).toEqual([
    ['IMAGENET1K_V1', null],
    ['IMAGENET1K_V2', path()],
  ]);
  expect(server.requests).toHaveLength(1);
});

it.each([
  ['resnet5', /there is no such model; did you mean .*'resnet50'/],
  ['resnet50:V3', /resnet50 has no weights called 'V3'; .* IMAGENET1K_V1, IMAGENET1K_V2/],
  ['cifar_resnet8', /cifar_resnet8: has no published weights/],
  ['resnet50:', /say MODEL or MODEL:NAME/],
])('download %s: says what is wrong', async (what, message) => {
  await expect(fetchWeights(terminal().context, what)).rejects.toThrow(message);
});

it('--weights takes a path, a name or a URL', async () => {
  const { context } = terminal();
  const file = join(folder, 'x.json');
  const { entry, path: got } = await resolveWeights('resnet50', 'DEFAULT', context);
  expect([entry?.name, got]).toEqual(['IMAGENET1K_V2', path()]);
  expect((await resolveWeights(undefined, 'ResNet50_Weights.DEFAULT', context)).path).toBe(path());
  expect((await resolveWeights('resnet50', path(), context)).entry).toBe(null);
  expect((await resolveWeights('resnet50', server.url('own.pth'), context)).path).toMatch(/-own\.pth$/);
  await expect(resolveWeights('resnet50', file, context)).rejects.toThrow(
    /no such file; published weights of resnet50/,
  );
  await expect(resolveWeights(undefined, 'DEFAULT', context)).rejects.toThrow(/of which model\? Add --model/);
});

it('Ctrl-C ends a download, and the next goes on', async () => {
  server.reset({ pace: 20 });
  const interrupt = new AbortController();
  const { context } = terminal(false, interrupt.signal);
  const download = fetchWeights(context, 'resnet50');
  setTimeout(() => interrupt.abort(), 120);
  await expect(download).rejects.toBeInstanceOf(Interrupted);
  server.reset();
  await fetchWeights(terminal().context, 'resnet50');
  expect(server.requests[0]?.range).toMatch(/^bytes=\d+-$/);
});
