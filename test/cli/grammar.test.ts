/** One grammar for all commands: the same word means the same, examples parse, old spellings still work. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { beforeAll, describe, expect, it } from 'vitest';
import { addCommand, modernLine, type Call, type CommandRow } from '../../src/cli/command.js';
import { checkOptions } from '../../src/cli/finetune/plan.js';
import { optimizerNames, makeOptimizer } from '../../src/cli/optimizers.js';
import type { OptionRows } from '../../src/cli/option-rows.js';
import { commands } from '../../src/cli/run.js';
import { init, manualSeed, models, nn, saveWeights } from '../../src/index.js';
import { kindling, temporaryFolder } from './support.js';

const folder = temporaryFolder();
const weights = join(folder, 'resnet8.safetensors');
const images = join(folder, 'images');

beforeAll(async () => {
  await init();
  manualSeed(3);
  await saveWeights(models.cifarResnet8(), weights);
  for (const name of ['ants', 'bees']) {
    mkdirSync(join(images, name), { recursive: true });
    writeFileSync(
      join(images, name, '1.ppm'),
      Buffer.concat([Buffer.from('P6\n2 2\n255\n'), Buffer.alloc(12)]),
    );
  }
});

const row = (name: string): CommandRow => commands.find((each) => each.name === name)!;

/** What a command is called with. */
async function parsed(line: string | readonly string[]): Promise<Call<OptionRows>> {
  const [program, name = '', ...args] =
    typeof line === 'string'
      ? [...line.replace(/^mpirun -n \d+ /, '').matchAll(/'([^']*)'|(\S+)/g)].map(([, a, b]) => a ?? b ?? '')
      : line;
  expect(program).toBe('kindling');
  let call: Call<OptionRows> | undefined;
  const command = { ...row(name), run: async (given: Call<never>) => void (call = given) } as CommandRow;
  const kindling = new Command().exitOverride();
  addCommand(kindling, command, () => ({}) as never).configureOutput({ writeErr: () => undefined });
  await kindling.parseAsync([name, ...modernLine(command, args)], { from: 'user' });
  return call!;
}

const options = async (line: string | readonly string[]): Promise<Record<string, unknown>> => {
  const { options: all, given } = await parsed(line);
  return Object.fromEntries(Object.entries(all).filter(([name]) => given.has(name)));
};

describe('examples', () => {
  it.each(commands.map(({ name, examples }) => ({ name, examples })))(
    '$name: its help ends with them, and they parse',
    async ({ name, examples }) => {
      const { stdout } = await kindling([name, '--help']);
      const [, shown = ''] = stdout.split('\nExamples:\n');
      expect(shown.trimEnd().split('\n')).toHaveLength(examples.length);
      for (const [line] of examples) {
        expect(shown).toContain(`  ${line}`);
        const call = await parsed(line);
        if (name === 'finetune') expect(() => checkOptions(call.options as never, call.given)).not.toThrow();
      }
    },
  );
});

describe('the same word', () => {
  const shared = ['model', 'weights', 'data', 'batchSize', 'topK', 'json', 'limit', 'out'];
  it.each(shared)('%s has no other spelling in any command', (name) => {
    const spellings = { batchSize: 'batch', topK: 'top' }[name];
    for (const { options: rows } of commands) expect(Object.keys(rows)).not.toContain(spellings);
  });

  it('json is a switch in every command', () => {
    for (const { options: rows } of commands)
      expect(rows['json']).toMatchObject({ help: expect.any(String) });
    for (const { options: rows } of commands) expect(rows['json']?.operand).toBeUndefined();
  });

  it.each([
    ['kindling predict F a.jpg b.jpg', { weights: 'F', data: ['a.jpg', 'b.jpg'] }],
    ['kindling predict --weights F a.jpg b.jpg', { weights: 'F', data: ['a.jpg', 'b.jpg'] }],
    ['kindling predict F --data a.jpg --data b.jpg', { weights: 'F', data: ['a.jpg', 'b.jpg'] }],
    ['kindling eval F D', { weights: 'F', data: 'D' }],
    ['kindling eval --weights F D', { weights: 'F', data: 'D' }],
    ['kindling eval F --data D', { weights: 'F', data: 'D' }],
    ['kindling eval --data D --weights F', { weights: 'F', data: 'D' }],
    ['kindling export --weights F o.onnx', { weights: 'F', out: 'o.onnx' }],
    ['kindling export --out o.onnx F', { weights: 'F', out: 'o.onnx' }],
    ['kindling convert F o.npz', { weights: 'F', out: 'o.npz' }],
    ['kindling inspect --weights F', { weights: 'F' }],
    ['kindling finetune --data D', { data: 'D' }],
    ['kindling finetune D', { data: 'D' }],
    ['kindling bench --model resnet18', { model: 'resnet18' }],
    ['kindling bench resnet18', { model: 'resnet18' }],
    ['kindling profile resnet18 --weights F', { model: 'resnet18', weights: 'F' }],
    ['kindling weights --model resnet18', { model: 'resnet18' }],
    ['kindling download --weights resnet18', { weights: 'resnet18' }],
  ])('%s', async (line, expected) => {
    expect(await options(line)).toEqual(expected);
  });

  it.each([
    [['eval', 'F', 'D', 'E'], /too many arguments: .* 'E' .*; it takes \[weights\] \[data\]/],
    [['predict', '--weights', 'F'], /missing required argument 'images'/],
    [['predict', '--data', 'a.jpg'], /missing required argument 'weights'/],
    [['export', 'F'], /missing required argument 'out'/],
    [['finetune', ''], /must not be empty/],
  ])('%j is refused', async (args, message) => {
    const { code, stderr } = await kindling(args);
    expect(stderr).toMatch(message);
    expect(code).toBe(2);
  });
});

describe('spellings of before', () => {
  it.each([
    ['kindling bench resnet18 --batch 4', { model: 'resnet18', batchSize: 4 }],
    ['kindling profile resnet18 --batch=4 --top 3', { model: 'resnet18', batchSize: 4, rows: 3 }],
    ['kindling profile resnet18 --json t.json', { model: 'resnet18', out: 't.json' }],
    ['kindling profile --json resnet18', { model: 'resnet18', json: true }],
    ['kindling export F o.onnx --batch 2', { weights: 'F', out: 'o.onnx', batchSize: 2 }],
    ['kindling eval F D --top 5', { weights: 'F', data: 'D', topK: 5 }],
    ['kindling eval -- --top D', { weights: '--top', data: 'D' }],
  ])('%s', async (line, expected) => {
    expect(await options(line)).toEqual(expected);
  });

  it('are not in the help', async () => {
    for (const { name } of commands)
      expect((await kindling([name, '--help'])).stdout).not.toMatch(/--(batch|top) /);
  });
});

describe('weights', () => {
  it('are given to predict by option', async () => {
    const { code, stdout } = await kindling([
      ...['predict', '--weights', weights, '--model', 'cifar_resnet8', images, '--top-k', '1'],
    ]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/ants\/1\.ppm\n +[\d.]+ % {2}class \d\n/);
  });

  it('of a model say which it is, and another is refused', async () => {
    const { code, stderr } = await kindling(['predict', 'resnet50:DEFAULT', images, '--model', 'resnet18']);
    expect(code).toBe(1);
    expect(stderr).toBe('kindling: resnet50:DEFAULT: are weights of resnet50, but --model is resnet18\n');
  });

  it.each(['weights', 'models'])('kindling %s suggests names', async (name) => {
    expect((await kindling([name, 'tinynet'])).stderr).toContain("did you mean 'convnext_tiny'?");
    expect((await kindling([name, 'resnet5O'])).stderr === '').toBe(false);
  });
});

it('kindling models lists all models', async () => {
  const { stdout } = await kindling(['models', '--json']);
  const found = JSON.parse(stdout) as { name: string; input: number[]; weights: string[] }[];
  expect(found.map(({ name }) => name)).toEqual(models.list());
  expect(found.find(({ name }) => name === 'resnet50')).toEqual({
    name: 'resnet50',
    input: [3, 224, 224],
    weights: ['IMAGENET1K_V1', 'IMAGENET1K_V2'],
  });
});

describe('the help of --momentum and --weight-decay', () => {
  const defaultsIn = (help: string): Record<string, number> =>
    Object.fromEntries(
      [...help.matchAll(/(\w+) ([\d.]+)[,;]/g)].map(([, name, value]) => [name, Number(value)]),
    );

  it.each([
    ['momentum', 'momentum'],
    ['weightDecay', 'weightDecay'],
  ])('%s: says what each optimizer has', (option, field) => {
    const said = defaultsIn(row('finetune').options[option]!.help);
    const had = optimizerNames.flatMap((optimizer) => {
      const made = makeOptimizer(new nn.Linear(1, 1).parameters(), { optimizer });
      const value = (made.defaults as unknown as Record<string, unknown>)[field];
      return typeof value === 'number' ? [[optimizer, value] as const] : [];
    });
    expect(said).toEqual(Object.fromEntries(had));
  });

  it('an optimizer without one refuses it', async () => {
    const args = ['finetune', images, '--model', 'resnet18', '--optimizer', 'rprop', '--weight-decay', '0.1'];
    expect((await kindling(args)).stderr).toMatch(/--weight-decay means nothing to --optimizer rprop/);
  });
});
