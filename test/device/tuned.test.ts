import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { close, init, loadTuning, runtime, saveTuning, tuningPath } from '../../src/device/index.js';
import type { Target } from '../../src/kernels/base/kernel.js';
import { candidateTiles } from '../../src/kernels/tuning/table.js';

const target: Target = {
  kind: 'software',
  subgroupSize: 8,
  f16: true,
  maxInvocations: 1024,
  maxWorkgroupStorage: 32768,
  maxStorageBuffers: 10,
};
const info = {
  vendor: 'mesa',
  architecture: 'software',
  device: 'llvmpipe-(LLVM)',
  description: 'Mesa 25.0.7',
};
const device = { info, target };
const entry = { tile: candidateTiles(target)[2]!, defaultMs: 2, ms: 1 };
const key = 'gemm 4x5x6 NN f32';

let folder: string;
let warnings: string[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'kindling-tuned-'));
  vi.stubEnv('KINDLING_CACHE', folder);
  warnings = [];
  vi.spyOn(process, 'emitWarning').mockImplementation((text) => void warnings.push(String(text)));
});
afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true, force: true });
});

function write(text: string): void {
  const path = tuningPath(device)!;
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}

describe('the file of measured choices', () => {
  it('gives back what was kept, and leaves nothing else behind', () => {
    const path = saveTuning(device, new Map([[key, entry]]));
    expect(path).toBe(tuningPath(device));
    expect(readdirSync(join(folder, 'tuning'))).toHaveLength(1);
    expect([...loadTuning(device)]).toEqual([[key, entry]]);
    expect(warnings).toEqual([]);
  });

  it('is empty where there is none', () => {
    expect(loadTuning(device).size).toBe(0);
    expect(warnings).toEqual([]);
  });

  it('is another one for another driver version or subgroup size', () => {
    const newer = { target, info: { ...info, description: 'Mesa 25.1.0' } };
    const without = { info, target: { ...target, subgroupSize: 0 } };
    expect(new Set([device, newer, without].map(tuningPath)).size).toBe(3);
  });

  it.each([
    ['cut off', '{"format": 1, "adap', /is damaged/],
    ['not an object', 'null', /another adapter, driver or version/],
    ['of another format', '{"format": 99}', /another adapter, driver or version/],
  ])('is ignored with one warning when it is %s', (_, text, message) => {
    write(text);
    expect(loadTuning(device).size).toBe(0);
    expect(loadTuning(device).size).toBe(0);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(message);
  });

  it('is ignored when it was copied from another adapter', () => {
    saveTuning({ target, info: { ...info, description: 'Mesa 24' } }, new Map([[key, entry]]));
    const [other] = readdirSync(join(folder, 'tuning')) as [string];
    write(readFileSync(join(folder, 'tuning', other), 'utf8'));
    expect(loadTuning(device).size).toBe(0);
    expect(warnings[0]).toMatch(/another adapter/);
  });

  it('is ignored when it asks for a tile that no kernel has', () => {
    saveTuning(device, new Map([[key, { ...entry, tile: { ...entry.tile, lanes: 4096 } }]]));
    expect(loadTuning(device).size).toBe(0);
    expect(warnings[0]).toMatch(/tiles that do not exist/);
  });

  it('says which folder cannot be written', () => {
    writeFileSync(join(folder, 'tuning'), '');
    expect(() => saveTuning(device, new Map())).toThrow(/tuning: .* cannot be written: /);
  });
});

describe('init', () => {
  afterEach(() => close());

  /** Choices that the running device goes by. */
  const chosen = (): unknown => runtime().target.tuning?.choose('gemm', { m: 4, n: 5, k: 6 });

  it('goes by the file only when asked', async () => {
    await init();
    const tile = candidateTiles(runtime().target)[2]!;
    saveTuning(runtime(), new Map([[key, { tile, defaultMs: 2, ms: 1 }]]));
    expect(chosen()).toBeUndefined();
    close();

    await init({ tuned: true });
    expect(chosen()).toMatchObject({ tile });
    close();

    vi.stubEnv('KINDLING_TUNED', '1');
    await init();
    expect(chosen()).toMatchObject({ tile });
    close();

    await init({ tuned: false });
    expect(chosen()).toBeUndefined();
  });
});
