/** `kindling finetune`, in this process. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { init, loadCheckpoint, manualSeed, models, saveWeights } from '../../src/index.js';
import type { EpochReport } from '../../src/cli/training-loop.js';
import {
  kindling,
  missingShared,
  sharedData,
  temporaryFolder,
  writeShapes,
  type Outcome,
} from './support.js';
import { full } from '../tooling/full.js';

const folder = temporaryFolder();
const weights = join(folder, 'resnet8.safetensors');
const train = writeShapes(join(folder, 'train.bin'), 8, 1);
const val = writeShapes(join(folder, 'val.bin'), 4, 2);
const base = ['--model', 'cifar_resnet8', '--weights', weights, '--batch-size', '20', '--epochs', '2'];
// The five shapes go by the names of CIFAR's first five classes.
const map = ['--map', 'first=airplane,automobile;second=bird,cat,deer'];

beforeAll(async () => {
  await init();
  manualSeed(3);
  await saveWeights(models.cifarResnet8(), weights);
});

interface Report {
  readonly classes: string[];
  readonly trainableParameters: number;
  readonly epochs: EpochReport[];
  readonly interrupted: boolean;
}

function report({ stdout }: Outcome): Report {
  return JSON.parse(stdout) as Report;
}

const losses = (outcome: Outcome): number[] => report(outcome).epochs.map(({ loss }) => loss);

async function bytesOf(path: string): Promise<Map<string, Buffer>> {
  const { tensors } = await loadCheckpoint(path);
  const entries = [...tensors].map(
    async ([key, tensor]) => [key, Buffer.from(await tensor.bytes())] as const,
  );
  return new Map(await Promise.all(entries));
}

async function changedKeys(path: string): Promise<string[]> {
  const [before, after] = [await bytesOf(weights), await bytesOf(path)];
  expect([...after.keys()]).toEqual([...before.keys()]);
  return [...before]
    .filter(([key, bytes]) => !bytes.equals(after.get(key) ?? Buffer.of()))
    .map(([key]) => key);
}

describe('a frozen trunk', () => {
  const out = join(folder, 'out.safetensors');
  let first: Outcome;
  beforeAll(async () => {
    first = await kindling(['finetune', train, '--val', val, ...base, ...map, '--out', out, '--json']);
  });

  it('trains the new head alone', async () => {
    expect(first.code).toBe(0);
    const { classes, trainableParameters, epochs } = report(first);
    expect(classes).toEqual(['first', 'second']);
    expect(trainableParameters).toBe(2 * 64 + 2);
    expect(epochs.length).toBe(2);
    for (const epoch of epochs) expect(epoch.validationAccuracy).toBeGreaterThanOrEqual(0);
    expect(await changedKeys(out)).toEqual(['linear.weight', 'linear.bias']);
    expect((await loadCheckpoint(out)).tensors.get('linear.weight')?.shape).toEqual([2, 64]);
  });

  it('gives the same losses without the feature cache', async () => {
    const again = await kindling(['finetune', train, ...base, ...map, '--no-feature-cache', '--json']);
    const [cached, uncached] = [losses(first), losses(again)];
    uncached.forEach((loss, i) => expect(loss).toBeCloseTo(cached[i] ?? NaN, 4));
  });

  it('gives the same losses for the same seed, others for another', async () => {
    const again = await kindling(['finetune', train, ...base, ...map, '--json']);
    expect(losses(again)).toEqual(losses(first));
    const other = await kindling(['finetune', train, ...base, ...map, '--seed', '9', '--json']);
    expect(losses(other)).not.toEqual(losses(first));
  });

  it('makes a file that eval understands without being told', async () => {
    const last = report(first).epochs.at(-1)?.validationAccuracy ?? NaN;
    const { code, stdout } = await kindling(['eval', '--weights', out, '--data', val]);
    expect(code).toBe(0);
    expect(stdout).toContain(`accuracy ${Math.round(last * 20)}/20`);
  });

  it('keeps its running statistics only in evaluation mode', async () => {
    const moved = join(folder, 'moved.safetensors');
    const { code } = await kindling([
      'finetune',
      train,
      ...base,
      ...map,
      '--trunk-mode',
      'train',
      '--out',
      moved,
    ]);
    expect(code).toBe(0);
    const changed = await changedKeys(moved);
    expect(changed).toContain('bn1.running_mean');
    expect(changed.filter((key) => key.endsWith('conv1.weight'))).toEqual([]);
  });
});

describe('a whole model', () => {
  it.each(['sgd', 'adam', 'adamw', 'rmsprop'])('is trained by %s', async (optimizer) => {
    const out = join(folder, `${optimizer}.safetensors`);
    const args = [
      '--freeze',
      'none',
      '--optimizer',
      optimizer,
      '--lr',
      '0.002',
      '--epochs',
      '1',
      '--augment',
    ];
    const { code, stdout } = await kindling(['finetune', train, ...base, ...map, ...args, '--out', out]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/epoch 1\/1 {2}loss \d/);
    expect(await changedKeys(out)).toContain('layer3.0.conv2.weight');
  });

  it.each([
    ['step', ['--step-size', '1', '--gamma', '0.5']],
    ['cosine', []],
    ['exponential', ['--gamma', '0.5']],
  ])('follows the schedule %s', async (schedule, own) => {
    const args = ['--schedule', schedule, ...own, '--lr', '0.1'];
    const outcome = await kindling(['finetune', train, ...base, ...map, ...args, '--json']);
    const rates = report(outcome).epochs.map(({ lr }) => lr);
    expect(rates[0]).toBeCloseTo(0.1);
    expect(rates[1]).toBeCloseTo(0.05);
  });

  it('a rate for a head that is frozen is refused', async () => {
    const args = [...base, '--head', 'keep', '--freeze', 'linear', '--head-lr', '0.1'];
    const { code, stderr } = await kindling(['finetune', train, ...args]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/--head-lr: the head is not trained/);
  });

  it('may keep the head that it has', async () => {
    const args = ['finetune', train, ...base, '--head', 'keep'];
    expect((await kindling(args)).code).toBe(0);
    const { code, stderr } = await kindling([...args, ...map]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/has 10 classes, but the data have 2/);
  });
});

describe('a weight file that is there already', () => {
  it('is replaced when that is asked for, and not otherwise', async () => {
    const out = join(folder, 'there.safetensors');
    writeFileSync(out, 'precious');
    const args = ['finetune', train, ...base, ...map, '--epochs', '1', '--out', out];
    const { code, stderr } = await kindling(args);
    expect(code).toBe(1);
    expect(stderr).toMatch(/there\.safetensors: is there already; --force replaces it\n$/);
    expect(readFileSync(out, 'utf8')).toBe('precious');
    expect((await kindling([...args, '--force'])).code).toBe(0);
    expect((await loadCheckpoint(out)).tensors.size).toBeGreaterThan(30);
  });
});

describe('what goes wrong', () => {
  it('a loss that is not a number ends the training without a file', async () => {
    const out = join(folder, 'nan.safetensors');
    const args = ['--lr', '1e38', '--momentum', '0', '--epochs', '5', '--out', out];
    const { code, stderr } = await kindling(['finetune', train, ...base, ...map, ...args]);
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^kindling: epoch \d, batch \d+: the loss is (NaN|Infinity); try a lower --lr \(now 1e\+38\)/,
    );
    expect(existsSync(out)).toBe(false);
  });

  it('an interruption keeps what was learnt', async () => {
    const out = join(folder, 'interrupted.safetensors');
    const interrupt = new AbortController();
    const outcome = await kindling(
      ['finetune', train, ...base, ...map, '--freeze', 'none', '--epochs', '1000', '--out', out],
      { signal: interrupt.signal, onOutput: (text) => void (text.startsWith('epoch') && interrupt.abort()) },
    );
    expect(outcome.code).toBe(130);
    expect(outcome.stdout).toContain('stopped in epoch 2 of 1000');
    expect((await changedKeys(out)).length).toBeGreaterThan(10);
    expect(readdirSync(folder).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });

  it('validation data with other classes', async () => {
    const { code, stderr } = await kindling(['finetune', train, ...base, '--val', join(folder, 'gone.bin')]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/gone\.bin: no such file/);
  });
});

const files = [
  'cifar_resnet/resnet20-12fca82f.th',
  'cifar10/train_subset.bin',
  'cifar10/test_subset.bin',
] as const;
if (!full) console.log('skipped: animal or vehicle on CIFAR-10 (slow; npm run test:full has it)');
describe.skipIf(!full || missingShared(...files).length > 0)('the published CIFAR ResNet-20', () => {
  it('learns to tell animals from vehicles', { timeout: 900_000 }, async () => {
    const [checkpoint = '', images = '', test = ''] = files.map((path) => join(sharedData, path));
    const outcome = await kindling([
      ...['finetune', images, '--val', test, '--model', 'cifar_resnet20', '--weights', checkpoint, '--json'],
      ...['--map', 'animal=bird,cat,deer,dog,frog,horse;vehicle=airplane,automobile,ship,truck'],
    ]);
    expect(outcome.code).toBe(0);
    expect(report(outcome).epochs.at(-1)?.validationAccuracy).toBeGreaterThanOrEqual(0.975);
  });
});
