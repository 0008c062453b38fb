/** Command lines that need no GPU: help, mistakes, weight files. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { parseClasses, parseMap } from '../../src/cli/classes.js';
import { closeNames } from '../../src/tensor/close-names.js';
import { finetuneOptions } from '../../src/cli/finetune/options.js';
import { addOptions, fallbacks, plannedOf } from '../../src/cli/option-rows.js';
import { kindling, root, temporaryFolder } from './support.js';

const folder = temporaryFolder();
const fixture = join(root, 'test/fixtures/formats/checkpoint.zip.pth');
const oneLine = /^kindling: [^\n]+\n$/;

describe('help', () => {
  it('lists the commands', async () => {
    const { code, stdout, stderr } = await kindling(['--help']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    for (const name of ['demo', 'info', 'inspect', 'eval', 'predict', 'finetune'])
      expect(stdout).toContain(name);
  });

  it.each(['demo', 'info', 'inspect', 'eval', 'predict', 'finetune'])('explains %s', async (name) => {
    const { code, stdout } = await kindling([name, '--help']);
    expect(code).toBe(0);
    expect(stdout).toContain('--json');
  });

  it('prints the version', async () => {
    expect((await kindling(['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

describe('usage errors end with status 2 and say what is wrong', () => {
  const finetune = ['finetune', fixture, '--model', 'resnet18'];
  it.each([
    [
      'an unknown command',
      ['evla'],
      /unknown command 'evla' \(did you mean eval\?\); kindling --help lists the commands/,
    ],
    [
      'an unknown option',
      ['inspect', fixture, '--jsn'],
      /unknown option '--jsn' \(did you mean --json\?\); kindling inspect --help lists the options/,
    ],
    ['a missing option', ['eval', '--data', 'x'], /--weights/],
    [
      'a bad number',
      ['eval', '--weights', 'x', '--data', 'y', '--batch-size', '0'],
      /--batch-size.*1 or more/,
    ],
    ['a bad triple', ['eval', '--weights', 'x', '--data', 'y', '--mean', '1,2'], /three numbers/],
    ['a bad choice', [...finetune, '--optimizer', 'none-such'], /sgd, adam, adamw, rmsprop/],
    ['--classes with --map', [...finetune, '--classes', 'a,b', '--map', 'x=a;y=b'], /exclude each other/],
    ['a map without =', [...finetune, '--map', 'animal'], /name=class,class/],
    ['a class named twice', [...finetune, '--map', 'a=cat,dog;b=cat'], /'cat' is named twice/],
    ['one class', [...finetune, '--classes', 'cat'], /at least two/],
    ['an empty path', [...finetune, '--out', ''], /--out.*must not be empty/],
    ['an output of another kind', [...finetune, '--out', 'model.pth'], /\.safetensors/],
    ['an unfreezing without an epoch', [...finetune, '--unfreeze-at', 'layer4'], /EPOCH:NAME/],
    ['an unfreezing too late', [...finetune, '--unfreeze-at', '11:layer4'], /from 1 to 10/],
    ['none and a name', [...finetune, '--freeze', 'none,conv1'], /exclude each other/],
    ['a share of 1', [...finetune, '--val-split', '1'], /below 1/],
    ['two sources of validation', [...finetune, '--val', 'x', '--val-split', '0.2'], /exclude each other/],
    ['no data', ['finetune', '--model', 'resnet18'], /name the folder of the data/],
    [
      'milestones for none',
      [...finetune, '--milestones', '1,2'],
      /--milestones goes with --schedule multistep, not/,
    ],
    [
      'a step size for cosine',
      [...finetune, '--schedule', 'cosine', '--step-size', '7'],
      /--step-size goes with --schedule step, warmrestarts, not with cosine/,
    ],
    [
      'the default gamma, typed',
      [...finetune, '--schedule', 'linear', '--gamma', '0.1'],
      /--gamma goes with --schedule step, multistep, exponential, plateau, not with linear/,
    ],
    [
      'patience for step',
      [...finetune, '--schedule', 'step', '--patience', '3'],
      /goes with --schedule plateau/,
    ],
    [
      'milestones behind the end',
      [...finetune, '--epochs', '5', '--schedule', 'multistep', '--milestones', '5,10'],
      /--milestones 5,10: the rate is cut after these epochs, and there are 5/,
    ],
    [
      'a step behind the end',
      [...finetune, '--epochs', '7', '--schedule', 'step', '--step-size', '7'],
      /--step-size 7: the rate is cut after as many epochs, and there are 7/,
    ],
    ['a least change, but no stop', [...finetune, '--min-delta', '0'], /--min-delta goes with --early-stop/],
    ['decay for rprop', [...finetune, '--optimizer', 'rprop', '--weight-decay', '1'], /means nothing/],
    ['nothing to replace', [...finetune, '--force'], /--force goes with --out/],
    ['nothing to unfreeze', [...finetune, '--unfreeze-at', '2:layer4'], /goes with --freeze/],
    ['nothing frozen', [...finetune, '--freeze', 'none', '--unfreeze-at', '2:layer4'], /nothing is frozen/],
    [
      'a cache and none',
      [...finetune, '--cache-features', '--no-feature-cache'],
      /--cache-features and --no-feature-cache exclude each other/,
    ],
    ['momentum for adam', [...finetune, '--optimizer', 'adam', '--momentum', '0.9'], /means nothing/],
  ] as const)('%s', async (_, args, message) => {
    const { code, stdout, stderr } = await kindling(args);
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(oneLine);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  });

  it('no command: the help', async () => {
    const { code, stdout, stderr } = await kindling([]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(/^Usage: kindling /);
  });

  it('the help says what mixup and cutmix are together', async () => {
    const { stdout } = await kindling(['finetune', '--help']);
    expect(stdout.replace(/\s+/g, ' ')).toMatch(
      /--mixup <alpha> .* with --cutmix each batch gets one of the two/,
    );
  });

  it('names a negated option as it is typed', async () => {
    const { stderr } = await kindling(['finetune', '--resume', folder, '--no-feature-cache']);
    expect(stderr).toMatch(/leave out --no-feature-cache\n$/);
  });
});

describe('errors are one line and end with status 1', () => {
  const notWeights = join(folder, 'notes.txt');
  writeFileSync(notWeights, 'shopping list: milk, eggs');
  it.each([
    ['a missing weight file', ['inspect', join(folder, 'nothing.pth')], /nothing\.pth: no such file/],
    ['a folder for a file', ['inspect', folder], /is a folder/],
    ['a file of another kind', ['inspect', notWeights], /notes\.txt/],
    ['a wrong key', ['inspect', fixture, '--key', 'nope'], /no entry 'nope'/],
    ['an unknown model', ['finetune', 'x', '--model', 'resnet19'], /did you mean 'resnet18'/],
    ['a close name', ['finetune', 'x', '--model', 'cifar-resnet-20'], /did you mean 'cifar_resnet20'/],
    [
      'missing data',
      ['finetune', join(folder, 'gone'), '--model', 'resnet18'],
      /gone: no such file or folder/,
    ],
    [
      'data of another kind',
      ['finetune', notWeights, '--model', 'resnet18'],
      /not a data file that is known here/,
    ],
    ['an empty data folder', ['finetune', folder, '--model', 'resnet18'], /no class folders/],
    [
      'an output nowhere',
      ['finetune', 'x', '--model', 'resnet18', '--out', join(folder, 'no/x.safetensors')],
      /no such folder/,
    ],
  ] as const)('%s', async (_, args, message) => {
    const { code, stdout, stderr } = await kindling(args);
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(oneLine);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
  });

  it('show the stack when asked to', async () => {
    process.env['KINDLING_DEBUG'] = '1';
    try {
      expect((await kindling(['inspect', folder])).stderr).toMatch(/\n\s+at /);
    } finally {
      delete process.env['KINDLING_DEBUG'];
    }
  });
});

describe('options of finetune', () => {
  it('are rows: commander has each under the name of its value', () => {
    const command = new Command();
    addOptions(command, finetuneOptions);
    expect(command.options.map((option) => option.attributeName())).toEqual(Object.keys(finetuneOptions));
    command.parse([], { from: 'user' });
    expect(command.opts()).toEqual(JSON.parse(JSON.stringify(fallbacks(finetuneOptions))));
  });

  it('make up the plan, null where they are not given', () => {
    const plan = plannedOf(finetuneOptions, { ...fallbacks(finetuneOptions), augment: true, ema: 0.9 });
    expect(plan).toMatchObject({
      epochs: 10,
      mixup: null,
      ema: 0.9,
      augment: 'flip-crop',
      trunkMode: 'auto',
    });
    expect(plan).not.toHaveProperty('out');
    expectTypeOf(plan.epochs).toEqualTypeOf<number>();
    expectTypeOf(plan.mixup).toEqualTypeOf<number | null>();
    expectTypeOf(plan.head).toEqualTypeOf<'new' | 'keep'>();
    expectTypeOf(plan.trunkMode).toEqualTypeOf<'auto' | 'eval' | 'train'>();
  });
});

describe('inspect', () => {
  it('prints one JSON document and nothing else', async () => {
    const { code, stdout, stderr } = await kindling(['inspect', fixture, '--json']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const report = JSON.parse(stdout) as {
      container: string;
      tensors: { name: string; dtype: string; shape: number[]; count: number }[];
      totals: { tensors: number; parameters: number; statistics: number };
    };
    expect(report.container).toBe('torch-zip');
    expect(report.totals.tensors).toBe(report.tensors.length);
    const counted = report.tensors.reduce((sum, { count }) => sum + count, 0);
    expect(report.totals.parameters + report.totals.statistics).toBe(counted);
    for (const { shape, count } of report.tensors) expect(shape.reduce((a, b) => a * b, 1)).toBe(count);
  });

  it('prints a table', async () => {
    const { code, stdout } = await kindling(['inspect', fixture]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/tensors?, .* parameters/);
  });
});

describe('class lists', () => {
  it('keep the order that was given', () => {
    expect([...parseClasses('dog, cat')]).toEqual([
      ['dog', ['dog']],
      ['cat', ['cat']],
    ]);
    expect([...parseMap('b=x,y; a=z')]).toEqual([
      ['b', ['x', 'y']],
      ['a', ['z']],
    ]);
  });

  it('are checked', () => {
    expect(() => parseClasses('a,,b')).toThrow('empty class name');
    expect(() => parseMap('a=x;a=y')).toThrow('the same name');
    expect(() => parseMap('a=x=y;b=z')).toThrow('name=class,class');
  });
});

it('suggests names that are close and no others', () => {
  const names = ['resnet18', 'resnet34', 'resnet50', 'cifar_resnet20'];
  expect(closeNames('resnet5O', names)[0]).toBe('resnet50');
  expect(closeNames('ResNet-50', names)[0]).toBe('resnet50');
  expect(closeNames('transformer', names)).toEqual([]);
});
