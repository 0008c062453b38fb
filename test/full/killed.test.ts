/** A training that is killed, again and again, is never lost. */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { Random } from '../../src/data/index.js';
import { init, loadCheckpoint, manualSeed, models, saveWeights } from '../../src/index.js';
import { loadValue } from '../../src/formats/index.js';
import { kindling, root, temporaryFolder, writeShapes } from '../cli/support.js';
import { differingKeys } from '../cli/support-tensors.js';

const folder = temporaryFolder();
const weights = join(folder, 'resnet8.safetensors');
const train = writeShapes(join(folder, 'train.bin'), 8, 1);
const val = writeShapes(join(folder, 'val.bin'), 4, 2);
const epochs = 30;
const args = [
  ...['finetune', train, '--val', val, '--weights', weights, '--model', 'cifar_resnet8'],
  ...['--freeze', 'conv1,bn1', '--optimizer', 'adamw', '--schedule', 'cosine', '--augment', '--mixup', '0.2'],
  ...['--batch-size', '10', '--epochs', String(epochs), '--ema', '0.9'],
];

beforeAll(async () => {
  await init();
  manualSeed(3);
  await saveWeights(models.cifarResnet8(), weights);
});

interface Moment {
  /** Epochs that are seen before the moment. */
  readonly epochs: number;
  /** Milliseconds after the start, or after the last of those epochs. */
  readonly wait: number;
}

/** @returns whether the process was killed, and not at its end already */
function killAt(line: readonly string[], moment: Moment): Promise<boolean> {
  const child = spawn(process.execPath, ['--import', 'tsx', join(root, 'src/cli/main.ts'), ...line], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let text = '';
  const kill = (): void => void setTimeout(() => child.kill('SIGKILL'), moment.wait);
  if (moment.epochs === 0) kill();
  child.stdout.setEncoding('utf8').on('data', (more: string) => {
    const before = text.match(/^epoch /gm)?.length ?? 0;
    text += more;
    const after = text.match(/^epoch /gm)?.length ?? 0;
    if (before < moment.epochs && after >= moment.epochs) kill();
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (_, signal) => resolve(signal === 'SIGKILL'));
  });
}

it(
  'SIGKILL at ten random moments leaves a checkpoint each time, and the weights come out the same',
  { timeout: 300_000 },
  async () => {
    const [whole, broken] = [join(folder, 'whole'), join(folder, 'broken')];
    expect((await kindling([...args, '--out', whole])).code).toBe(0);

    const random = new Random(17);
    let kills = 0;
    for (let i = 0; i < 10; i++) {
      // Some die while they start, the others in the middle of their work.
      const early = i % 5 === 4;
      const moment = early
        ? { epochs: 0, wait: 900 + random.integer(1500) }
        : { epochs: 1 + random.integer(2), wait: random.integer(250) };
      const started = existsSync(join(broken, 'config.json'));
      if (await killAt(started ? ['finetune', '--resume', broken] : [...args, '--out', broken], moment))
        kills++;

      // All that is there can be read, and belongs together.
      const state = (await loadValue(join(broken, 'state.pth'))) as ReadonlyMap<string, string>;
      const progress = JSON.parse(state.get('progress') ?? '') as { epochs: unknown[]; bestEpoch: number };
      const last = await loadCheckpoint(join(broken, 'last.safetensors'));
      for (const tensor of last.tensors.values()) await tensor.bytes();
      if (progress.bestEpoch > 0) await loadCheckpoint(join(broken, 'best.safetensors'));
      const lines = readFileSync(join(broken, 'history.jsonl'), 'utf8').split('\n').slice(0, -1);
      expect(lines.length).toBeGreaterThanOrEqual(progress.epochs.length);
      expect(lines.slice(0, progress.epochs.length).map((line) => JSON.parse(line) as unknown)).toEqual(
        progress.epochs,
      );
    }
    expect(kills).toBe(10);

    const { code } = await kindling(['finetune', '--resume', broken]);
    expect(code).toBe(0);
    for (const file of ['last.safetensors', 'best.safetensors'])
      expect(await differingKeys(join(whole, file), join(broken, file))).toEqual([]);
    const done = readFileSync(join(broken, 'history.jsonl'), 'utf8').trimEnd().split('\n');
    expect(done.map((line) => (JSON.parse(line) as { epoch: number }).epoch)).toEqual(
      Array.from({ length: epochs }, (_, i) => i + 1),
    );
  },
);
