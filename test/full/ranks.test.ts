/** The command and the Trainer on two ranks, against one process on the same pictures. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import sharp from 'sharp';
import { ShapesDataset } from '../../src/data/index.js';
import { init, manualSeed, models } from '../../src/index.js';
import { saveWeights } from '../../src/models/index.js';
import { root, temporaryFolder } from '../cli/support.js';
import { hasMpi } from '../distributed/mpi.js';

const folder = temporaryFolder();
const photos = join(folder, 'photos');
const weights = join(folder, 'weights.safetensors');
const main = join(root, 'dist/cli/main.js');

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function node(ranks: number, ...args: readonly string[]): Ended {
  const launcher = ranks === 1 ? [] : ['mpirun', '--oversubscribe', '-n', String(ranks)];
  const [program = '', ...rest] = [...launcher, process.execPath, ...args];
  const env = {
    ...process.env,
    OMPI_ALLOW_RUN_AS_ROOT: '1',
    OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1',
    NODE_DISABLE_COLORS: '1',
  };
  const { status: code, stdout, stderr } = spawnSync(program, rest, { cwd: root, env, encoding: 'utf8' });
  return { code, stdout, stderr };
}
const kindling = (ranks: number, ...args: readonly string[]): Ended => node(ranks, main, ...args);

interface Epoch {
  readonly loss: number;
  readonly validationAccuracy: number;
}
const history = (run: string): Epoch[] =>
  readFileSync(join(run, 'history.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Epoch);

async function writePhotos(): Promise<void> {
  for (const [split, perClass, seed] of [
    ['train', 9, 1],
    ['val', 7, 2],
  ] as const) {
    const shapes = new ShapesDataset({ classes: 'novel', perClass, seed });
    for (let i = 0; i < shapes.length; i++) {
      const planes = shapes.bytes(i);
      const pixels = Uint8Array.from(
        { length: 3072 },
        (_, j) => planes[(j % 3) * 1024 + Math.floor(j / 3)] ?? 0,
      );
      const to = join(photos, split, `class${shapes.label(i)}`);
      mkdirSync(to, { recursive: true });
      await sharp(pixels, { raw: { width: 32, height: 32, channels: 3 } })
        .png()
        .toFile(join(to, `${i}.png`));
    }
  }
}

describe.skipIf(!hasMpi)('two ranks', { timeout: 300_000 }, () => {
  const [one, two] = [join(folder, 'one'), join(folder, 'two')];
  const base = ['finetune', photos, '--model', 'cifar_resnet8', '--weights', weights, '--epochs', '3'];
  let ended: Ended;
  beforeAll(async () => {
    await init();
    manualSeed(3);
    await saveWeights(models.cifarResnet8(), weights);
    await writePhotos();
    expect(kindling(1, ...base, '--batch-size', '16', '--out', one).code).toBe(0);
    ended = kindling(2, ...base, '--batch-size', '8', '--out', two);
  }, 300_000);

  it('train as one process does with both batches at once, also where images are left over', () => {
    expect(ended.code).toBe(0);
    const [alone, together] = [history(one), history(two)];
    expect(together.length).toBe(3);
    together.forEach((epoch, i) => {
      expect(epoch.loss).toBeCloseTo(alone[i]?.loss ?? NaN, 5);
      expect(epoch.validationAccuracy).toBe(alone[i]?.validationAccuracy);
    });
  });

  it('print once, and say how many they are', () => {
    expect(ended.stdout.match(/^epoch 3\/3/gm)?.length).toBe(1);
    expect(ended.stdout).toContain('2 ranks with batches of 8 each: a step is made of 16 images');
    expect(JSON.parse(readFileSync(join(two, 'config.json'), 'utf8'))).toMatchObject({ ranks: 2 });
  });

  it('predict byte for byte what one does', () => {
    const args = ['predict', two, join(photos, 'val'), '--batch-size', '8', '--json'];
    const [alone, together] = [kindling(1, ...args), kindling(2, ...args)];
    expect(together.code).toBe(0);
    expect(together.stdout).toBe(alone.stdout);
  });

  it('evaluate to the last digit as one does', () => {
    const args = ['eval', two, join(photos, 'val'), '--batch-size', '8', '--json'];
    const [alone, together] = [kindling(1, ...args), kindling(2, ...args)].map(({ stdout }) =>
      stdout.replace(/"seconds": [\d.]+/, ''),
    );
    expect(together).toBe(alone);
    expect(together).toContain('"count": 35');
  });

  it('go on with what one process has begun', () => {
    const { code, stdout } = kindling(2, 'finetune', '--resume', one, '--epochs', '4');
    expect(stdout).toMatch(/epoch 4\/4/);
    expect(code).toBe(0);
    expect(history(one).length).toBe(4);
    expect(JSON.parse(readFileSync(join(one, 'config.json'), 'utf8'))).toMatchObject({ ranks: 2 });
  });

  it('end with one message where something is wrong', () => {
    const { code, stderr } = kindling(2, ...base, '--out', two);
    expect(code).toBe(1);
    expect(stderr.match(/holds a run/g)?.length).toBe(1);
  });

  it('run the program of docs/scaling.md', () => {
    const [, program = ''] =
      /```js\n(.*?)```/s.exec(readFileSync(join(root, 'docs/scaling.md'), 'utf8')) ?? [];
    const run = join(folder, 'run');
    const code = program.replace("openOrCreate('run')", `openOrCreate(${JSON.stringify(run)})`);
    expect(code).toContain(run);
    const result = node(2, '--input-type=module', '-e', code);
    expect(result.stdout).toMatch(/^[\d.]+ of 25 images\n$/);
    expect(history(run).length).toBe(3);
  });

  it('by a Trainer come to the figures of one, and stop together where one is told to', () => {
    const program = join(root, 'test/distributed/programs/trainer.mjs');
    const read = ({ stdout }: Ended): { bits: number; interrupted: boolean; epochs: Epoch[] }[] =>
      stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as ReturnType<typeof read>[number]);
    const [[alone], [first, second]] = [read(node(1, program, '', '4')), read(node(2, program, '', '4'))];
    expect(second?.bits).toBe(first?.bits);
    expect(second?.epochs).toEqual(first?.epochs);
    first?.epochs.forEach((epoch, i) => expect(epoch.loss).toBeCloseTo(alone?.epochs[i]?.loss ?? NaN, 6));
    const run = join(folder, 'trainer');
    for (const each of read(node(2, program, run, '4', '2')))
      expect(each).toMatchObject({ interrupted: true });
    const [resumed, other] = read(node(2, program, run, '4'));
    expect(other?.bits).toBe(resumed?.bits);
    expect(resumed?.bits).toBe(first?.bits);
  });

  it('by a Trainer leave alone what no rank uses', () => {
    const program = join(root, 'test/distributed/programs/trainer.mjs');
    const losses = (ranks: number): number[][] =>
      node(ranks, program, '', '2', 'spare')
        .stdout.trim()
        .split('\n')
        .map((line) => (JSON.parse(line) as { epochs: Epoch[] }).epochs.map(({ loss }) => loss));
    const [[alone], both] = [losses(1), losses(2)];
    expect(both.length).toBe(2);
    for (const each of both)
      each.forEach((loss, epoch) => expect(loss).toBeCloseTo(alone?.[epoch] ?? NaN, 6));
  });

  it('of which one has fewer batches say so', () => {
    const { stderr, code } = node(2, join(root, 'test/distributed/programs/trainer.mjs'), '', '1', 'uneven');
    expect(stderr).toMatch(
      /the loader of rank 1 has ended after 2 batches of epoch 1, and that of rank 0 goes on/,
    );
    expect(code).not.toBe(0);
  });
});
