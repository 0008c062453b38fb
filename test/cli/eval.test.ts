/** `kindling info` and `kindling eval`, in this process. */
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { init, manualSeed, models, saveWeights } from '../../src/index.js';
import { kindling, missingShared, sharedData, temporaryFolder, writeShapes } from './support.js';

const folder = temporaryFolder();
const weights = join(folder, 'resnet8.safetensors');
const data = writeShapes(join(folder, 'shapes.bin'), 5, 7, 'base');

beforeAll(async () => {
  await init();
  manualSeed(3);
  await saveWeights(models.cifarResnet8(), weights);
});

const evaluate = (...args: string[]): ReturnType<typeof kindling> =>
  kindling([
    'eval',
    '--model',
    'cifar_resnet8',
    '--weights',
    weights,
    '--data',
    data,
    '--batch-size',
    '25',
    ...args,
  ]);

describe('info', () => {
  it('prints one JSON document', async () => {
    const { code, stdout, stderr } = await kindling(['info', '--json']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const report = JSON.parse(stdout) as {
      adapter: { vendor: string };
      kind: string;
      limits: Record<string, number>;
      versions: { kindling: string; webgpu: string };
    };
    expect(['software', 'gpu']).toContain(report.kind);
    expect(report.limits['maxStorageBufferBindingSize']).toBeGreaterThan(0);
    expect(report.versions.webgpu).toMatch(/^\d/);
  });

  it('prints a table without colours', async () => {
    const { stdout } = await kindling(['info']);
    expect(stdout).toMatch(/^adapter +\S/m);
    expect(stdout).not.toContain('\x1b');
  });
});

describe('eval', () => {
  it('counts what it predicts', async () => {
    const predictions = join(folder, 'predictions.json');
    const { code, stdout, stderr } = await evaluate('--predictions', predictions);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const predicted = JSON.parse(readFileSync(predictions, 'utf8')) as number[];
    expect(predicted.length).toBe(50);
    const right = predicted.filter((label, i) => label === Math.floor(i / 5)).length;
    expect(stdout).toContain(`accuracy ${right}/50 (${(2 * right).toFixed(2)} %)`);
    expect(stdout).not.toContain('\x1b');
    expect(readdirSync(folder).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });

  it('tells precision, recall and F1 of every class', async () => {
    const { stdout, stderr } = await evaluate('--json');
    const { byClass, correct } = JSON.parse(stdout) as {
      byClass: { images: number; correct: number; precision: number | null; recall: number; f1: number }[];
      correct: number;
    };
    expect(stderr).toMatch(/\n {2}class +right +precision +recall +F1\n {2}airplane /);
    expect(byClass.reduce((sum, each) => sum + each.correct, 0)).toBe(correct);
    for (const { images, correct: right, precision, recall, f1 } of byClass) {
      expect(recall).toBe(right / images);
      const taken = precision === null ? 0 : right / precision;
      // 2 TP / (TP + FP + TP + FN)
      if (right > 0) expect(f1).toBeCloseTo((2 * right) / (taken + images), 12);
      else expect(f1).toBe(0);
    }
  });

  it('prints one JSON document, and the text on the error output', async () => {
    const { code, stdout, stderr } = await evaluate('--json', '--limit', '10');
    expect(code).toBe(0);
    const { count, correct, accuracy } = JSON.parse(stdout) as Record<
      'count' | 'correct' | 'accuracy',
      number
    >;
    expect(count).toBe(10);
    expect(accuracy).toBe(correct / 10);
    expect(stderr).toContain(`accuracy ${correct}/10`);
  });

  it('gives the same answers for other batch sizes', async () => {
    const [one, other] = [join(folder, 'one.json'), join(folder, 'other.json')];
    await evaluate('--predictions', one);
    await evaluate('--predictions', other, '--batch-size', '16');
    expect(readFileSync(other, 'utf8')).toBe(readFileSync(one, 'utf8'));
  });

  it('uses the named outputs for the named classes', async () => {
    const all = join(folder, 'all.json');
    await evaluate('--predictions', all);
    const predicted = JSON.parse(readFileSync(all, 'utf8')) as number[];
    // CIFAR's class 3 is cat and 5 is dog: positions 15 to 19 and 25 to 29.
    const right = [
      ...predicted.slice(15, 20).map((p) => p === 8),
      ...predicted.slice(25, 30).map((p) => p === 2),
    ];
    const { stdout } = await evaluate('--classes', 'cat,dog', '--outputs', '8,2');
    expect(stdout).toContain(`accuracy ${right.filter(Boolean).length}/10`);
  });

  it('counts by class under the names given, in whatever order their outputs are', async () => {
    const { stdout } = await evaluate('--classes', 'cat,dog', '--outputs', '8,2', '--limit', '6', '--json');
    const { byClass } = JSON.parse(stdout) as { byClass: { name: string; images: number }[] };
    expect(byClass.map(({ name, images }) => [name, images]).sort()).toEqual([
      ['cat', 3],
      ['dog', 3],
    ]);
  });

  const images = join(folder, 'images');
  it('reads a folder of class folders', async () => {
    const png = Buffer.from(
      'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==',
      'base64',
    );
    for (const name of ['ants', 'bees']) {
      mkdirSync(join(images, name), { recursive: true });
      writeFileSync(join(images, name, '1.png'), png);
    }
    const { code, stdout, stderr } = await evaluate('--data', images, '--outputs', '0,1');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/accuracy [012]\/2/);
  });

  const badLabel = join(folder, 'label.bin');
  writeFileSync(badLabel, new Uint8Array(3073).fill(200));
  const cut = join(folder, 'cut.bin');
  writeFileSync(cut, new Uint8Array(5000));
  it.each([
    ['a label out of range', ['--data', badLabel], /label 200 at offset 0/],
    ['a truncated file', ['--data', cut], /not a multiple of 3073/],
    [
      'another number of classes',
      ['--classes', 'cat,dog'],
      /has 2 classes \(cat, dog\), but the model has 10 outputs/,
    ],
    ['a class that is not there', ['--classes', 'cat,dgo'], /no class 'dgo' \(did you mean 'dog'\?\)/],
    ['a head of another size', ['--num-classes', '5'], /has 10 classes, but --num-classes is 5/],
  ] as const)('refuses %s', async (_, args, message) => {
    const { code, stdout, stderr } = await evaluate(...args);
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(/^kindling: [^\n]+\n$/);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
  });

  it('says whose weights those are that do not fit', async () => {
    const { code, stderr } = await evaluate('--model', 'cifar_resnet20');
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /not the weights of cifar_resnet20: .*layer1\.1\.conv1\.weight.*looks like cifar_resnet8/,
    );
  });

  it('names a corrupt image', async () => {
    const broken = join(folder, 'broken');
    for (const name of ['a', 'b']) {
      mkdirSync(join(broken, name), { recursive: true });
      writeFileSync(join(broken, name, 'x.jpg'), 'not a picture');
    }
    const predictions = join(folder, 'never.json');
    const { code, stderr } = await evaluate(
      '--data',
      broken,
      '--outputs',
      '0,1',
      '--predictions',
      predictions,
    );
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^kindling: \S+\/[ab]\/x\.jpg: cannot decode this image \(.*\); replace or delete it, or leave such images out with --on-bad-image skip\n$/,
    );
    expect(existsSync(predictions)).toBe(false);
  });

  it('stops when it is interrupted', async () => {
    const interrupt = new AbortController();
    interrupt.abort();
    const args = ['eval', '--model', 'cifar_resnet8', '--weights', weights, '--data', data];
    const { code, stderr } = await kindling(args, { signal: interrupt.signal });
    expect({ code, stderr }).toEqual({ code: 130, stderr: 'kindling: interrupted\n' });
  });
});

const [checkpoint, testImages] = ['cifar_resnet/resnet20-12fca82f.th', 'cifar10/test_subset.bin'] as const;
describe.skipIf(missingShared(checkpoint, testImages).length > 0)(
  'with the published CIFAR ResNet-20',
  () => {
    it('gets what PyTorch gets, 932 of 1017', { timeout: 300_000 }, async () => {
      const { code, stdout } = await kindling([
        ...['eval', '--model', 'cifar_resnet20'],
        ...['--weights', join(sharedData, checkpoint), '--data', join(sharedData, testImages)],
      ]);
      expect(code).toBe(0);
      expect(stdout).toContain('accuracy 932/1017 (91.64 %)');
    });
  },
);
