/** Data and disks that are not as they should be: one clear error each, and nothing lost. */
import { cpSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { init, manualSeed, models, saveWeights } from '../../src/index.js';
import { ShapesDataset } from '../../src/data/index.js';
import { kindling, temporaryFolder, type Outcome } from './support.js';
import { differingKeys } from './support-tensors.js';

const folder = temporaryFolder();
const weights = join(folder, 'resnet8.safetensors');
const data = join(folder, 'data');

/** Binary PPM, which needs no encoder. */
function ppm({ width, height, data: pixels }: { width: number; height: number; data: Uint8Array }): Buffer {
  return Buffer.concat([Buffer.from(`P6\n${width} ${height}\n255\n`), pixels]);
}

beforeAll(async () => {
  await init();
  manualSeed(3);
  await saveWeights(models.cifarResnet8(), weights);
  for (const [part, perClass, seed] of [
    ['train', 6, 1],
    ['val', 3, 2],
  ] as const) {
    const shapes = new ShapesDataset({ classes: 'novel', perClass, seed });
    for (let i = 0; i < shapes.length; i++) {
      const into = join(data, part, shapes.classes[shapes.label(i)] ?? '');
      mkdirSync(into, { recursive: true });
      writeFileSync(join(into, `${i}.ppm`), ppm(shapes.image(i)));
    }
  }
});

/** A copy of the data to spoil. */
function copied(name: string): string {
  const copy = join(folder, name);
  cpSync(data, copy, { recursive: true });
  return copy;
}

const finetune = (path: string, ...args: string[]): Promise<Outcome> =>
  kindling(['finetune', path, '--weights', weights, '--model', 'cifar_resnet8', '--epochs', '2', ...args]);

describe('images that cannot be read', () => {
  const spoilt = (name: string): { path: string; bad: string[] } => {
    const path = copied(name);
    const bad = [join(path, 'train/bolt/2.ppm'), join(path, 'val/house/12.ppm')];
    writeFileSync(bad[0]!, '');
    writeFileSync(bad[1]!, 'P6\n32 32\n255\n');
    return { path, bad };
  };

  it.each([
    ['on cached features', []],
    ['in the middle of an epoch', ['--freeze', 'none']],
    ['in a worker thread', ['--freeze', 'none', '--workers', '1']],
  ])('end the training with their name, %s', async (how, args) => {
    const { path, bad } = spoilt(`spoilt ${how}`);
    const { code, stderr } = await finetune(path, '--batch-size', '8', ...args);
    expect(code).toBe(1);
    expect(stderr).toContain(`kindling: ${bad[0]}: the file is empty (0 bytes); replace or delete it`);
  });

  it.each([
    ['on cached features', []],
    ['on images that change from epoch to epoch', ['--augment']],
    ['in worker threads', ['--augment', 'color', '--workers', '2']],
  ])('are left out and listed when asked to, %s', async (how, args) => {
    const { path, bad } = spoilt(`skipped ${how}`);
    const run = join(folder, `run ${how}`);
    const outcome = await finetune(
      path,
      '--batch-size',
      '1',
      '--on-bad-image',
      'skip',
      '--out',
      run,
      ...args,
    );
    expect(outcome.code).toBe(0);
    expect(outcome.stderr).toContain('2 images were left out');
    for (const name of bad) expect(outcome.stderr).toContain(name);
    expect(readFileSync(join(run, 'report.html'), 'utf8')).toContain('Images left out');
    const evaluated = await kindling(['eval', run, join(path, 'val'), '--on-bad-image', 'skip']);
    expect(evaluated.stdout).toMatch(/accuracy \d+\/14 /);
    expect(evaluated.stderr).toContain(bad[1]);
  });

  describe('in a run', () => {
    const args = ['--batch-size', '8', '--freeze', 'none', '--out'];
    const stopped = async (name: string): Promise<{ path: string; bad: string; run: string }> => {
      const path = copied(`data of ${name}`);
      const bad = join(path, 'train/bolt/2.ppm');
      writeFileSync(bad, '');
      const run = join(folder, name);
      const { code, stderr } = await finetune(path, ...args, run);
      expect(code).toBe(1);
      expect(stderr).toBe(
        `kindling: ${bad}: the file is empty (0 bytes); put a good file in its place, or go on without it: ` +
          `kindling finetune --resume '${run}' --on-bad-image skip\n`,
      );
      return { path, bad, run };
    };

    it('are left out when it goes on', { timeout: 120_000 }, async () => {
      const { path, bad, run } = await stopped('left out');
      const { code, stderr } = await kindling(['finetune', '--resume', run, '--on-bad-image', 'skip']);
      expect(code).toBe(0);
      expect(stderr).toContain(bad);
      const other = join(folder, 'left out from the start');
      expect((await finetune(path, '--on-bad-image', 'skip', ...args, other)).code).toBe(0);
      expect(await differingKeys(join(run, 'last.safetensors'), join(other, 'last.safetensors'))).toEqual([]);
    });

    it('may be deleted while nothing has been trained', { timeout: 120_000 }, async () => {
      const { path, bad, run } = await stopped('deleted early');
      rmSync(bad);
      const { code, stdout } = await kindling(['finetune', '--resume', run]);
      expect(code).toBe(0);
      expect(stdout).toContain(
        'the images have changed, and nothing was trained yet: the run begins with them',
      );
      expect(stdout).toMatch(/images 29 of/);
      const other = join(folder, 'deleted from the start');
      expect((await finetune(path, ...args, other)).code).toBe(0);
      expect(await differingKeys(join(run, 'last.safetensors'), join(other, 'last.safetensors'))).toEqual([]);
    });

    it('may not be deleted later, and it says why', { timeout: 120_000 }, async () => {
      const path = copied('data of later');
      const run = join(folder, 'later');
      expect((await finetune(path, '--epochs', '1', ...args, run)).code).toBe(0);
      rmSync(join(path, 'train/bolt/2.ppm'));
      const { code, stderr } = await kindling(['finetune', '--resume', run]);
      expect(code).toBe(1);
      expect(stderr).toMatch(
        /images have changed since it was started \(.*, 30 then and 29 now\), and their order/,
      );
      expect(stderr).toMatch(/--on-bad-image skip leaves it out\), or begin a new run with its weights/);
    });
  });

  it('are named by predict, and the others predicted', async () => {
    const { path, bad } = spoilt('predicted');
    const good = join(path, 'val/bolt/0.ppm');
    const args = ['predict', weights, bad[1]!, good, '--model', 'cifar_resnet8', '--top-k', '3', '--json'];
    const { code, stdout, stderr } = await kindling(args);
    expect(code).toBe(1);
    expect(stderr).toContain(bad[1]);
    expect(stderr).toMatch(/1 of 2 images could not be read\n$/);
    expect(stderr.match(/^kindling: /gm)).toHaveLength(1);
    const report = JSON.parse(stdout) as {
      images: { image: string; predictions: { class: string; probability: number }[] }[];
      failed: { image: string }[];
    };
    expect(report.failed.map(({ image }) => image)).toEqual([bad[1]]);
    expect(report.images.map(({ image }) => image)).toEqual([good]);
    const { predictions = [] } = report.images[0] ?? {};
    expect(predictions.length).toBe(3);
    expect(predictions[0]!.probability).toBeGreaterThanOrEqual(predictions[1]!.probability);
  });
});

describe('folders', () => {
  it('whose names would move the cursor', async () => {
    const path = copied('names');
    for (const part of ['train', 'val'])
      renameSync(join(path, part, 'bolt'), join(path, part, 'b\x1b]52;c;aGk=\x07\x9b2J\u202et'));
    const run = join(folder, 'run of names');
    expect((await finetune(path, '--out', run)).code).toBe(0);
    for (const name of ['classes.txt', 'report.html', 'config.json', 'history.jsonl'])
      expect(readFileSync(join(run, name), 'utf8')).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]/);
    expect(readFileSync(join(run, 'classes.txt'), 'utf8')).toContain(
      'b\\x1b]52;c;aGk=\\x07\\x9b2J\\u202et\n',
    );
    // What eval goes by has the names as they are.
    expect((await kindling(['eval', run, join(path, 'val')])).code).toBe(0);
  });

  it('with one class, or a class without images', async () => {
    const one = copied('one');
    for (const name of ['chevron', 'drop', 'flower', 'house'])
      rmSync(join(one, 'train', name), { recursive: true });
    expect((await finetune(join(one, 'train'))).stderr).toMatch(/has only one class folder, bolt/);
    const empty = copied('empty');
    rmSync(join(empty, 'train/drop'), { recursive: true });
    mkdirSync(join(empty, 'train/drop'));
    // The folder may as well not be there.
    const without = await finetune(join(empty, 'train'));
    expect(without.code).toBe(0);
    expect(without.stderr).toBe(`kindling: ${join(empty, 'train')}: left out, as no class or image: drop\n`);
    expect(without.stdout).toContain('classes bolt, chevron, flower, house\n');
    for (const name of ['bolt', 'chevron', 'flower', 'house'])
      rmSync(join(empty, 'train', name, 'x'), { force: true });
    for (const name of ['bolt', 'chevron', 'flower'])
      for (const file of readdirSync(join(empty, 'train', name))) rmSync(join(empty, 'train', name, file));
    expect((await finetune(join(empty, 'train'))).stderr).toMatch(
      /no images for classes bolt, chevron, drop, flower/,
    );
  });

  it('with what no person put there', async () => {
    const path = copied('stray');
    for (const name of ['train/.ipynb_checkpoints', 'train/__MACOSX', 'val/.ipynb_checkpoints'])
      mkdirSync(join(path, name));
    for (const name of [
      '__MACOSX/._1.ppm',
      'bolt/._1.ppm',
      'bolt/Thumbs.db',
      '.DS_Store',
      '.ipynb_checkpoints/1.ppm',
    ])
      writeFileSync(join(path, 'train', name), 'no picture');
    const run = join(folder, 'run of stray');
    const { code, stdout, stderr } = await finetune(path, '--out', run);
    expect(code).toBe(0);
    expect(stdout).toMatch(/images 30 of .*, validation 15 of/);
    expect(stderr).toBe(
      `kindling: ${join(path, 'train')}: left out, as no class or image: ` +
        `.DS_Store, .ipynb_checkpoints, __MACOSX, bolt/._1.ppm, bolt/Thumbs.db\n` +
        `kindling: ${join(path, 'val')}: left out, as no class or image: .ipynb_checkpoints\n`,
    );
    const predicted = await kindling(['predict', run, join(path, 'train'), '--json']);
    expect((JSON.parse(predicted.stdout) as { images: unknown[] }).images).toHaveLength(30);
    expect(predicted.stderr).toContain(
      'left out, as no image: .DS_Store, .ipynb_checkpoints, __MACOSX, bolt/._1.ppm',
    );
  });

  it('with validation classes that training does not know', async () => {
    const path = copied('unknown');
    mkdirSync(join(path, 'val/star'));
    cpSync(join(data, 'val/bolt/0.ppm'), join(path, 'val/star/0.ppm'));
    const { code, stderr } = await finetune(path);
    expect(code).toBe(1);
    expect(stderr).toMatch(/val: has classes that .*train lacks: star \(it has bolt, chevron,/);
  });

  it('without some class in the validation data are warned of', async () => {
    const path = copied('missing');
    rmSync(join(path, 'val/bolt'), { recursive: true });
    const { code, stdout, stderr } = await finetune(path);
    expect(code).toBe(0);
    expect(stderr).toContain('no images of bolt, so these are not validated');
    expect(stdout).toMatch(/validation 12 of/);
  });

  it('may be split, every class in proportion', async () => {
    const outcome = await finetune(join(data, 'train'), '--val-split', '0.34', '--seed', '4');
    expect(outcome.code).toBe(0);
    expect(outcome.stdout).toMatch(/images 20 of .*, validation 10 of/);
  });
});

describe('names and weights', () => {
  it('that the model has not', async () => {
    const { code, stderr } = await finetune(data, '--freeze', 'conv1,layer9');
    expect(code).toBe(1);
    expect(stderr).toMatch(/--freeze 'layer9': .* its parts are conv1, bn1, layer1, layer2, layer3, linear/);
    const late = await finetune(data, '--unfreeze-at', '2:layer33');
    expect(late.stderr).toMatch(/--unfreeze-at 'layer33': .* its parts are/);
  });

  it('of another model', async () => {
    const { code, stderr } = await finetune(data, '--model', 'resnet18');
    expect(code).toBe(1);
    expect(stderr).toMatch(/resnet8\.safetensors: these are not the weights of resnet18/);
  });
});

describe('places to write to', () => {
  it('below a file', async () => {
    const { code, stderr } = await finetune(data, '--out', join(weights, 'run'));
    expect(code).toBe(1);
    expect(stderr).toMatch(/cannot be written: .* is a file/);
  });

  it('that fill up leave the last good checkpoint', { timeout: 120_000 }, async () => {
    const run = join(folder, 'full');
    const interrupt = new AbortController();
    const begun = await kindling(
      ['finetune', data, '--weights', weights, '--model', 'cifar_resnet8', '--freeze', 'none', '--out', run],
      { signal: interrupt.signal, onOutput: (text) => void (text.startsWith('epoch') && interrupt.abort()) },
    );
    expect(begun.code).toBe(130);
    const files = ['last.safetensors', 'state.pth'].map((name) => join(run, name));
    const before = files.map((file) => readFileSync(file));

    const restore = fillDisk('last.safetensors', 100_000);
    try {
      const { code, stderr } = await kindling(['finetune', '--resume', run]);
      expect(code).toBe(1);
      expect(stderr).toContain(`last checkpoint in ${run} is whole; go on with: kindling finetune --resume`);
      expect(stderr).toMatch(/last\.safetensors: cannot be written: ENOSPC: no space left on device\n$/);
      expect(stderr.match(/^kindling: /gm)).toHaveLength(1);
    } finally {
      restore();
    }
    files.forEach((file, i) => expect(readFileSync(file).equals(before[i] ?? Buffer.of())).toBe(true));
    expect(readdirSync(run).filter((name) => name.endsWith('.tmp') || name === 'lock')).toEqual([]);
    expect((await kindling(['finetune', '--resume', run])).code).toBe(0);

    // A state that cannot be read is not called whole.
    const bytes = readFileSync(join(run, 'state.pth'));
    bytes[bytes.length >> 1]! ^= 1;
    writeFileSync(join(run, 'state.pth'), bytes);
    const damaged = await kindling(['finetune', '--resume', run]);
    expect(damaged.code).toBe(1);
    expect(damaged.stderr).toMatch(/state\.pth: .*damaged/);
    expect(damaged.stderr).not.toContain('is whole');
  });
});

/** Lets files whose name has `part` grow to `most` bytes only. Returns what undoes it. */
function fillDisk(part: string, most: number): () => void {
  const fs = process.getBuiltinModule('node:fs/promises');
  const { open } = fs;
  fs.open = async (...args) => {
    const file = await open(...args);
    if (!String(args[0]).includes(part)) return file;
    const write = file.write.bind(file) as (...parts: unknown[]) => Promise<{ bytesWritten: number }>;
    let written = 0;
    const limited = async (...parts: unknown[]): Promise<{ bytesWritten: number }> => {
      if (written >= most) throw new Error('ENOSPC: no space left on device');
      const result = await write(...parts);
      written += result.bytesWritten;
      return result;
    };
    return Object.assign(file, { write: limited });
  };
  return () => void (fs.open = open);
}
