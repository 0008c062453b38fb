/** `kindling finetune --out RUN/`: what is in the folder, interruption and resumption, in this process. */
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { formats, init, manualSeed, models, saveWeights } from '../../src/index.js';
import type { EpochReport } from '../../src/cli/training-loop.js';
import { full } from '../tooling/full.js';
import { kindling, temporaryFolder, writeShapes, type Outcome } from './support.js';
import { differingKeys } from './support-tensors.js';

const folder = temporaryFolder();
const weights = join(folder, 'resnet8.safetensors');
const train = writeShapes(join(folder, 'train.bin'), 8, 1);
const val = writeShapes(join(folder, 'val.bin'), 4, 2);
const base = ['finetune', train, '--val', val, '--weights', weights, '--model', 'cifar_resnet8'];
const five = ['--classes', 'airplane,automobile,bird,cat,deer', '--batch-size', '10', '--epochs', '3'];

/** A run of three epochs, which no test changes. */
const run = join(folder, 'run');
let outcome: Outcome;

beforeAll(async () => {
  await init();
  manualSeed(3);
  await saveWeights(models.cifarResnet8(), weights);
  outcome = await kindling([...base, ...five, '--out', run]);
});

function copyOfRun(name: string): string {
  const copy = join(folder, name);
  cpSync(run, copy, { recursive: true });
  return copy;
}

const history = (run: string): EpochReport[] =>
  readFileSync(join(run, 'history.jsonl'), 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as EpochReport);

/** Epochs without what depends on the clock. */
const results = (run: string): Omit<EpochReport, 'seconds'>[] =>
  history(run).map(({ seconds: _, ...rest }) => rest);

/** Runs and interrupts once the output has had `lines` epochs. */
async function interrupted(args: readonly string[], lines: number): Promise<Outcome> {
  const interrupt = new AbortController();
  let seen = 0;
  return kindling(args, {
    signal: interrupt.signal,
    onOutput: (text) => {
      if (text.startsWith('epoch') && ++seen === lines) interrupt.abort();
    },
  });
}

describe('a run folder', () => {
  it('holds config, history, classes, checkpoints and report', () => {
    expect(outcome).toMatchObject({ code: 0 });
    expect(readdirSync(run).sort()).toEqual([
      'best.safetensors',
      'classes.txt',
      'config.json',
      'history.jsonl',
      'last.safetensors',
      'report.html',
      'state.pth',
    ]);
    expect(readFileSync(join(run, 'classes.txt'), 'utf8')).toBe('airplane\nautomobile\nbird\ncat\ndeer\n');
    const config = JSON.parse(readFileSync(join(run, 'config.json'), 'utf8')) as {
      plan: { model: string; seed: number };
      weights: { sha256: string };
      versions: { kindling: string };
      adapter: { vendor: string };
    };
    expect(config.plan).toMatchObject({ model: 'cifar_resnet8', seed: 0 });
    expect(config.weights.sha256).toMatch(/^[0-9a-f]{64}$/);
    expect(config.versions.kindling).toMatch(/^\d/);
    expect(history(run).map(({ epoch }) => epoch)).toEqual([1, 2, 3]);
  });

  it('has a report that needs nothing from outside', () => {
    const page = readFileSync(join(run, 'report.html'), 'utf8');
    expect(page).toMatch(/<svg[^>]*role="img"/);
    expect(page).toContain('Worst mistakes');
    expect(page).toContain('data:image/png;base64,');
    expect(page).not.toMatch(/<script|<link|https?:/);
  });

  it('has a report that says how to do it again, and what was trained when', async () => {
    const page = readFileSync(join(run, 'report.html'), 'utf8');
    const [, line = ''] = /<pre class="command"><code>([^<]*)</.exec(page) ?? [];
    expect(line).toBe(
      `kindling finetune ${train} --val ${val} --classes airplane,automobile,bird,cat,deer --model cifar_resnet8 ` +
        `--weights ${weights} --epochs 3 --batch-size 10 --out ${run}`,
    );
    const again = join(folder, 'again');
    expect((await kindling([...line.split(' ').slice(1, -1), again])).code).toBe(0);
    expect(results(again)).toEqual(results(run));
    const text = page.replace(/<[^>]*>/g, ' ').replace(/\s+/g, ' ');
    expect(text).toMatch(/part parameters epochs 1–3 conv1 432 frozen .* linear 325 trained/);
    expect(text).toMatch(
      /epoch loss training accuracy validation loss validation accuracy learning rate time 1 /,
    );
    expect(text).toMatch(/class training images validation images precision recall F1 airplane 8 4 /);
    expect(text).toMatch(/prediction \w+ [\d.]+ % truth \w+/);
    expect(text).toMatch(/in epochs [\d.]+ s in all [\d.]+ s/);
    expect(text).toContain('best epoch: ');
    expect(page).not.toContain('loading="lazy"');
  });

  it('is what eval takes', async () => {
    const { code, stdout } = await kindling(['eval', run, val, '--top-k', '2']);
    expect(code).toBe(0);
    const best = Math.max(...history(run).map(({ validationAccuracy }) => validationAccuracy ?? 0));
    expect(stdout).toContain(`accuracy ${Math.round(best * 20)}/20`);
    expect(stdout).toMatch(/top-2 accuracy \d+\/20/);
  });

  it('is not written over', async () => {
    const old = copyOfRun('old');
    const again = await kindling([...base, ...five, '--out', old]);
    expect(again.code).toBe(1);
    expect(again.stderr).toMatch(/holds a run; go on with it \(kindling finetune --resume .*\), replace it/);
    const other = join(folder, 'other');
    mkdirSync(other);
    writeFileSync(join(other, 'thesis.tex'), '');
    const refused = await kindling([...base, ...five, '--out', other, '--force']);
    expect(refused.stderr).toMatch(/holds other files \(thesis\.tex\) and is no run/);
    expect(readdirSync(other)).toEqual(['thesis.tex']);
    expect((await kindling([...base, ...five, '--out', old, '--force', '--epochs', '1'])).code).toBe(0);
    expect(history(old).length).toBe(1);
  });

  it('has one writer at a time', async () => {
    const copy = copyOfRun('locked');
    const { hostname } = await import('node:os');
    writeFileSync(join(copy, 'lock'), JSON.stringify({ pid: process.ppid, host: hostname() }));
    const { code, stderr } = await kindling(['finetune', '--resume', copy]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/is in use by process \d+/);
    // 2^22 is above every process number.
    writeFileSync(join(copy, 'lock'), JSON.stringify({ pid: 2 ** 22 + 1, host: hostname() }));
    const again = await kindling(['finetune', '--resume', copy]);
    expect(again.code).toBe(0);
    expect(again.stdout).toContain('the run was finished before');
    expect(existsSync(join(copy, 'lock'))).toBe(false);
  });
});

const recipes: readonly [string, string[]][] = [
  ['a head on cached features', ['--schedule', 'step', '--step-size', '1']],
  [
    'everything that is random or has state',
    [
      ...['--freeze', 'none', '--optimizer', 'adam', '--lr', '0.003', '--head-lr', '0.01'],
      ...['--schedule', 'onecycle', '--augment', '--mixup', '0.4', '--cutmix', '1', '--ema', '0.9'],
      ...['--early-stop', '9', '--clip-grad-norm', '1', '--label-smoothing', '0.1'],
    ],
  ],
  [
    'staged unfreezing',
    [
      ...['--freeze', 'trunk', '--unfreeze-at', '2:layer3', '--unfreeze-at', '3:layer2,layer1'],
      ...['--schedule', 'cosine', '--warmup-epochs', '1', '--class-weights', 'balanced'],
    ],
  ],
  // Kernels of its own, for float16.
  ...(full
    ? [['mixed precision', ['--freeze', 'none', '--amp', '--clip-grad-norm', '1']] as [string, string[]]]
    : []),
];

describe.each(recipes)('an interrupted training of %s', (name, recipe) => {
  it('goes on to the weights of an unbroken one', { timeout: 120_000 }, async () => {
    const [whole, broken] = ['whole', 'broken'].map((kind) => join(folder, `${kind} ${name}`)) as [
      string,
      string,
    ];
    expect(await kindling([...base, ...five, ...recipe, '--out', whole])).toMatchObject({
      code: 0,
      stderr: '',
    });
    const first = await interrupted([...base, ...five, ...recipe, '--out', broken], 1);
    expect(first.code).toBe(130);
    expect(first.stdout).toContain('stopped in epoch 2 of 3');
    expect(first.stdout).toContain(`go on with: kindling finetune --resume '${broken}'`);
    const second = await interrupted(['finetune', '--resume', broken], 1);
    expect(second.code).toBe(130);
    const third = await kindling(['finetune', '--resume', broken]);
    expect(third).toMatchObject({ code: 0 });
    expect(results(broken)).toEqual(results(whole));
    for (const file of ['last.safetensors', 'best.safetensors'])
      expect(await differingKeys(join(whole, file), join(broken, file))).toEqual([]);
    expect(readdirSync(broken).sort()).toEqual(readdirSync(whole).sort());
  });
});

describe('mixed precision', () => {
  it('saves the loss scale with the run, and trains otherwise than float32', async () => {
    const [run, plain] = [join(folder, 'amp'), join(folder, 'no amp')];
    const args = [...base, ...five, '--epochs', '1'];
    expect(await kindling([...args, '--amp', '--out', run])).toMatchObject({ code: 0 });
    expect(await kindling([...args, '--out', plain])).toMatchObject({ code: 0 });
    const state = (await formats.loadValue(join(run, 'state.pth'))) as Map<string, Map<string, number>>;
    const scaler = state.get('scaler');
    // 40 images in batches of 10, of which the first may be too much for float16.
    const skipped = Math.log2(65536 / (scaler?.get('scale') ?? NaN));
    expect(skipped).toBeLessThan(4);
    expect(scaler?.get('_growth_tracker')).toBe(4 - skipped);
    expect(results(run)).not.toEqual(results(plain));
  });

  it('is refused with lbfgs', async () => {
    const { code, stderr } = await kindling([...base, '--amp', '--optimizer', 'lbfgs']);
    expect(code).toBe(2);
    expect(stderr).toContain('--amp does not go with --optimizer lbfgs');
  });
});

it('gives the same weights with worker threads', { timeout: 120_000 }, async () => {
  const [alone, helped] = [join(folder, 'alone'), join(folder, 'helped')];
  const args = [...base, ...five, '--augment', 'randaugment', '--epochs', '2'];
  expect((await kindling([...args, '--out', alone])).code).toBe(0);
  expect(await kindling([...args, '--out', helped, '--workers', '2'])).toMatchObject({ code: 0 });
  const file = 'last.safetensors';
  expect(await differingKeys(join(alone, file), join(helped, file))).toEqual([]);
});

describe('a name with a dot in it', () => {
  it('is a folder like any other', async () => {
    const run = join(folder, 'run-0.1');
    expect(await kindling([...base, ...five, '--epochs', '1', '--out', run])).toMatchObject({ code: 0 });
    expect(readdirSync(run)).toContain('state.pth');
  });

  it.each(['out.pth', 'out.npz', 'out.ckpt'])(
    'is refused where it is the name of a weight file: %s',
    async (name) => {
      const { code, stderr } = await kindling([...base, '--out', join(folder, name)]);
      expect(code).toBe(2);
      expect(stderr).toMatch(/must be a folder, or end in \.safetensors\n$/);
    },
  );
});

describe('a run that was killed before its first state', () => {
  it('begins from the start, with all its files', async () => {
    const killed = join(folder, 'early killed');
    mkdirSync(killed);
    cpSync(join(run, 'config.json'), join(killed, 'config.json'));
    expect(await kindling(['finetune', '--resume', killed])).toMatchObject({ code: 0 });
    expect(readdirSync(killed).sort()).toEqual(readdirSync(run).sort());
    expect(await differingKeys(join(run, 'last.safetensors'), join(killed, 'last.safetensors'))).toEqual([]);
  });

  it('and after its first weights', async () => {
    const early = join(folder, 'early');
    const interrupt = new AbortController();
    // Stopped where the state is saved for the first time.
    const onOutput = (text: string): void => void (text.startsWith('training') && interrupt.abort());
    expect(
      await kindling([...base, ...five, '--out', early], { signal: interrupt.signal, onOutput }),
    ).toMatchObject({
      code: 130,
    });
    rmSync(join(early, 'state.pth'));
    expect(await kindling(['finetune', '--resume', early])).toMatchObject({ code: 0 });
  });
});

describe('what --resume refuses', () => {
  const stopped = join(folder, 'stopped');
  beforeAll(async () => {
    const args = [...base, ...five, '--epochs', '50', '--out', stopped];
    expect((await interrupted(args, 1)).code).toBe(130);
  });

  it.each(['state.pth', 'last.safetensors', 'best.safetensors'])(
    'a run without its %s, and changes nothing',
    async (name) => {
      const run = join(folder, `without ${name.split('.')[0]}`);
      cpSync(stopped, run, { recursive: true });
      rmSync(join(run, name));
      const before = new Map(readdirSync(run).map((file) => [file, readFileSync(join(run, file), 'latin1')]));
      const { code, stdout, stderr } = await kindling(['finetune', '--resume', run]);
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
      expect(stderr).toMatch(
        /^kindling: .*cannot be gone on with, as .* is missing; nothing was changed\. Put the file back/,
      );
      expect(stderr).toContain(name);
      const after = new Map(readdirSync(run).map((file) => [file, readFileSync(join(run, file), 'latin1')]));
      expect(after).toEqual(before);
    },
  );

  it('a folder that is no run', async () => {
    const { code, stderr } = await kindling(['finetune', '--resume', folder]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/there is no config\.json in it, so it is no run/);
  });

  it('other options beside it', async () => {
    const { code, stderr } = await kindling(['finetune', '--resume', folder, '--batch-size', '4']);
    expect(code).toBe(2);
    expect(stderr).toMatch(/leave out --batch-size/);
  });

  it('images that have changed', async () => {
    const data = writeShapes(join(folder, 'changing.bin'), 4, 1);
    const run = join(folder, 'changed');
    const args = ['finetune', data, '--model', 'cifar_resnet8', '--epochs', '50', '--out', run];
    expect((await interrupted(args, 1)).code).toBe(130);
    writeShapes(data, 5, 1);
    const { code, stderr } = await kindling(['finetune', '--resume', run]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/images have changed/);
    rmSync(run, { recursive: true });
  });
});

describe('more epochs', () => {
  const recipe = [
    '--freeze',
    'none',
    '--schedule',
    'step',
    '--step-size',
    '1',
    '--gamma',
    '0.5',
    '--ema',
    '0.9',
  ];
  const [whole, short] = [join(folder, 'four'), join(folder, 'two')];
  const four = ['--epochs', '4'];
  beforeAll(async () => {
    expect((await kindling([...base, ...five, ...recipe, ...four, '--out', whole])).code).toBe(0);
    expect((await kindling([...base, ...five, ...recipe, '--epochs', '2', '--out', short])).code).toBe(0);
  });

  const isWhole = async (run: string): Promise<void> => {
    expect(results(run)).toEqual(results(whole));
    for (const file of ['last.safetensors', 'best.safetensors'])
      expect(await differingKeys(join(whole, file), join(run, file))).toEqual([]);
  };

  it('come out as if the run had been meant to have them', { timeout: 120_000 }, async () => {
    const run = join(folder, 'two and two');
    cpSync(short, run, { recursive: true });
    const finished = await kindling(['finetune', '--resume', run]);
    expect(finished).toMatchObject({ code: 0 });
    expect(finished.stdout).toContain(
      `the run was finished before; for more epochs: kindling finetune --resume '${run}' --epochs 4`,
    );
    const stopped = await interrupted(['finetune', '--resume', run, ...four], 1);
    expect(stopped.code).toBe(130);
    expect(stopped.stdout).toContain('stopped in epoch 4 of 4');
    // The run knows by now: no option is needed, and the same one does no harm.
    expect((await kindling(['finetune', '--resume', run, ...four])).code).toBe(0);
    await isWhole(run);
    const fewer = await kindling(['finetune', '--resume', run, '--epochs', '3']);
    expect(fewer).toMatchObject({ code: 2, stdout: '' });
    expect(fewer.stderr).toMatch(/--epochs 3: .* was started for 4; it can only get more\n$/);
  });

  it('survive a kill between the configuration and the first checkpoint', { timeout: 120_000 }, async () => {
    const run = join(folder, 'killed in between');
    cpSync(short, run, { recursive: true });
    const path = join(run, 'config.json');
    writeFileSync(path, readFileSync(path, 'utf8').replace('"epochs": 2', '"epochs": 4'));
    expect((await kindling(['finetune', '--resume', run])).code).toBe(0);
    await isWhole(run);
  });

  it.each([
    [
      'a schedule that is laid out over all epochs',
      ['--schedule', 'cosine'],
      /--schedule cosine is laid out over/,
    ],
    ['early stopping', ['--lr', '0', '--early-stop', '1'], /--early-stop has ended it/],
  ])('are refused after %s', async (name, args, message) => {
    const run = join(folder, `no more after ${name}`);
    expect((await kindling([...base, ...five, ...args, '--out', run])).code).toBe(0);
    const finished = await kindling(['finetune', '--resume', run]);
    expect(finished.stdout).toContain('the run was finished before; it cannot get more epochs, as ');
    const before = readFileSync(join(run, 'config.json'), 'utf8');
    const { code, stderr } = await kindling(['finetune', '--resume', run, '--epochs', '9']);
    expect(code).toBe(2);
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(
      /; begin a new run with its weights \(--weights .*last\.safetensors'? --head keep --out NEW\)\n$/,
    );
    expect(readFileSync(join(run, 'config.json'), 'utf8')).toBe(before);
  });
});

it('goes on with a run of an older kindling, which knew fewer options', { timeout: 120_000 }, async () => {
  const old = join(folder, 'of an older one');
  expect((await interrupted([...base, ...five, '--out', old], 1)).code).toBe(130);
  const path = join(old, 'config.json');
  const config = JSON.parse(readFileSync(path, 'utf8')) as { plan: Record<string, unknown> };
  const later = ['momentum', 'weightDecay', 'milestones', 'warmupEpochs', 'ema', 'mixup', 'labelSmoothing'];
  for (const name of later) delete config.plan[name];
  writeFileSync(path, JSON.stringify(config));
  expect((await kindling(['finetune', '--resume', old])).code).toBe(0);
  expect(results(old)).toEqual(results(run));
});
