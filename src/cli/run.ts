import { Command, CommanderError, Option } from 'commander';
import { CheckpointError, UnclearStateDictError } from '../formats/index.js';
import { printableLines } from '../tensor/printable.js';
import { bench, type BenchOptions } from './commands/bench.js';
import { convert, floatDtypes, type ConvertOptions } from './commands/convert.js';
import { demo, type DemoOptions } from './commands/demo.js';
import { evaluateCommand, type EvalOptions } from './commands/eval.js';
import { finetune } from './commands/finetune.js';
import { info } from './commands/info.js';
import { inspect, type InspectOptions } from './commands/inspect.js';
import { predict, type PredictOptions } from './commands/predict.js';
import { profileCommand, type ProfileOptions } from './commands/profile.js';
import { downloadCommand, weightsCommand } from './commands/weights.js';
import type { Context } from './context.js';
import { exitCodes, Interrupted, plainest, UsageError } from './errors.js';
import { addFinetuneOptions, besideResume, type FinetuneOptions } from './finetune/options.js';
import * as read from './option-readers.js';
import { Output, shownError, type Streams } from './output.js';
import { packageVersion } from './versions.js';

export interface RunOptions {
  /** Default: the process's own. */
  readonly streams?: Streams;
  /** Aborting it is what Ctrl-C does; the reason may be an `Interrupted`. */
  readonly signal?: AbortSignal;
  /** Called whenever the command asks for its signal: from then on it has something to put in order. */
  readonly onSignalUse?: () => void;
}

/**
 * Runs one command line, without the program's name: `run(['info', '--json'])`. Nothing here ends the process.
 *
 * @returns the exit status: 0, 1 for a failure, 2 for a wrong command line, 128 and a signal's number after
 * it (130: Ctrl-C)
 */
export async function run(args: readonly string[], options: RunOptions = {}): Promise<number> {
  const streams = options.streams ?? process;
  const signal = options.signal ?? new AbortController().signal;
  const outputs: Output[] = [];
  const context = (json: boolean | undefined): Context => {
    const output = new Output(streams, json ?? false);
    outputs.push(output);
    return {
      output,
      get signal() {
        options.onSignalUse?.();
        return signal;
      },
    };
  };
  try {
    await program(streams, context).parseAsync([...args], { from: 'user' });
    return exitCodes.ok;
  } catch (error) {
    for (const output of outputs) output.end();
    return report(error, streams);
  }
}

function report(error: unknown, { stderr }: Streams): number {
  // Commander has printed its message, or the help that was asked for.
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
  stderr.write(shownError(plainest(error).message));
  const choices = keyChoices(error);
  if (choices !== '') stderr.write(shownError(choices));
  if (process.env['KINDLING_DEBUG'] === '1' && error instanceof Error) {
    for (let at: unknown = error; at instanceof Error; at = at.cause)
      stderr.write(`${printableLines(at.stack ?? String(at))}\n`);
  }
  if (error instanceof Interrupted) return error.exitCode;
  return error instanceof UsageError ? exitCodes.usage : exitCodes.failure;
}

/** How the command line says what the library's options say: `--key` and `--limit` of inspect and convert. */
function keyChoices(error: unknown): string {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (!(at instanceof CheckpointError)) continue;
    if (at instanceof UnclearStateDictError) {
      const key = at.choices[0]?.map((step) => `--key ${shellWord(step)}`).join(' ') ?? '';
      return `inspect and convert take ${key}; for other commands write the weights to a file of their own first: kindling convert IN OUT ${key}`;
    }
    const bound = /\{ limits: \{ (\w+): (\d+) \} \}/.exec(at.message);
    if (bound !== null) return `inspect and convert take --limit ${bound[1]}=${bound[2]}`;
    if (at.message.includes('{ verify: false }')) return 'inspect and convert take --no-verify';
  }
  return '';
}

const shellWord = (text: string): string =>
  /^[\w.,:/-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;

type MakeContext = (json: boolean | undefined) => Context;
interface Json {
  readonly json?: boolean;
}

function program({ stdout, stderr }: Streams, context: MakeContext): Command {
  const kindling = new Command('kindling')
    .description('Train, fine-tune and run neural networks on WebGPU, without a GPU too.')
    .version(packageVersion())
    .showSuggestionAfterError()
    .showHelpAfterError('(kindling --help lists the commands, kindling COMMAND --help its options)')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void stdout.write(printableLines(text)),
      writeErr: (text) => void stderr.write(printableLines(text)),
      outputError: (text, write) => write(shownError(text.replace(/^error: /, '').trimEnd())),
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    });
  const json = (): Option => new Option('--json', 'print one JSON document instead of text');

  kindling
    .command('demo')
    .description('learn new classes from a few pictures, in under a minute and without any file')
    .option('--per-class <n>', 'pictures of each class to learn from', read.positiveInteger, 20)
    .option('--epochs <n>', 'passes over them', read.positiveInteger, 15)
    .option('--seed <n>', 'of the pictures and the new weights', read.seedNumber, 1)
    .addOption(json())
    .action((options: Json & DemoOptions) => demo(context(options.json), options));

  kindling
    .command('info')
    .description('show the adapter, its features and limits')
    .addOption(json())
    .action((options: Json) => info(context(options.json)));

  kindling
    .command('inspect')
    .description('list what is in a weight file (.pth, .pt, .th, .safetensors, .npz, .npy)')
    .argument('<file>')
    .option('--key <key>', 'entry that holds the state dict; give it again for each level', read.collect)
    .option('--limit <name=n>', limitHelp, read.limit)
    .option('--no-verify', 'read a file whose checksums are wrong as it is')
    .addOption(json())
    .action((file: string, options: Json & InspectOptions) => inspect(context(options.json), file, options));

  kindling
    .command('convert')
    .description('write the tensors of a weight file in another format, under the same keys')
    .argument('<in>', 'weight file (.pth, .pt, .safetensors, .npz, .npy), or the folder of a sharded model')
    .argument('<out>', 'file to write; its ending says the format: .safetensors, .pth, .pt or .npz')
    .option('--key <key>', 'entry that holds the state dict; give it again for each level', read.collect)
    .addOption(
      new Option('--dtype <name>', 'store floating point values as this; default: as they are').choices(
        floatDtypes,
      ),
    )
    .option('--force', 'replace a file that is there already')
    .option('--limit <name=n>', limitHelp, read.limit)
    .option('--no-verify', 'read a file whose checksums are wrong as it is')
    .addOption(json())
    .action((from: string, to: string, options: Json & ConvertOptions) =>
      convert(context(options.json), from, to, options),
    );

  kindling
    .command('weights')
    .description('list the published weight files, of all models or of one')
    .argument('[model]')
    .addOption(json())
    .action((model: string | undefined, options: Json) => weightsCommand(context(options.json), model));

  kindling
    .command('download')
    .description('fetch a published weight file into the cache, so that --weights NAME works offline')
    .argument('<model[:weights]>', 'e.g. resnet50 or resnet50:IMAGENET1K_V1')
    .addOption(json())
    .action((what: string, options: Json) => downloadCommand(context(options.json), what));

  workload(kindling.command('profile'))
    .description("measure where a model's GPU time goes, by kernel and by layer")
    .option(
      '--weights <which>',
      'a file, a URL, or a published name such as IMAGENET1K_V2; default: fresh ones',
    )
    .option('--top <n>', 'kernels and layers to show', read.positiveInteger, 10)
    .option('--trace <file>', 'write a trace for chrome://tracing or ui.perfetto.dev')
    .option('--json [file]', 'print one JSON document instead of text, or write it to a file')
    .action((model: string, options: ProfileOptions) =>
      profileCommand(context(options.json === true), model, options),
    );

  workload(kindling.command('bench'))
    .description("time a model's forward pass or step of training; --tune looks for faster tiles")
    .option('--tune', 'measure other tiles for its layers and keep those that are faster on this adapter')
    .option('--seconds <n>', 'that --tune may search', read.positive, 60)
    .addOption(json())
    .action((model: string, options: Json & BenchOptions) => bench(context(options.json), model, options));

  const trained = (command: Command): Command =>
    command
      .option('--model <name>', 'e.g. resnet50, cifar_resnet20; needed unless the weight file says it')
      .option(
        '--num-classes <n>',
        'outputs of the model; the weight file is asked otherwise',
        read.positiveInteger,
      )
      .option(
        '--mean <r,g,b>',
        "what is subtracted from each channel (0 to 1); default: the model's",
        read.perChannel,
      )
      .option('--std <r,g,b>', 'what each channel is divided by then', read.perChannel)
      .addOption(json());

  trained(
    kindling
      .command('eval')
      .description('measure the accuracy of a model on labelled images')
      .argument('[run]', "a run's folder or a weight file; or use --weights")
      .argument(
        '[images]',
        'a folder with one folder of images per class, or a .bin file of CIFAR-10; or use --data',
      ),
  )
    .option('--weights <which>', 'a file, a URL, or a published name such as IMAGENET1K_V2')
    .option('--data <path>', 'the images')
    .option(
      '--batch-size <n>',
      'images at once; default: 16 of 224 pixels a side, more of smaller ones',
      read.positiveInteger,
    )
    .option('--classes <a,b,c>', 'use only these classes of the data, as outputs 0, 1, 2')
    .option('--map <new=a,b;...>', 'make new classes of several of the data')
    .option('--outputs <i,j,...>', "the model's output number for each class of the data", read.indexList)
    .option('--top <k>', 'count an image also when its class is among the k likeliest', read.positiveInteger)
    .option('--predictions <file>', 'write the predicted class of each image, as a JSON array')
    .option('--limit <n>', 'only the first n images', read.positiveInteger)
    .addOption(
      new Option('--on-bad-image <what>', 'what a file that cannot be decoded does')
        .choices(['fail', 'skip'])
        .default('fail'),
    )
    .action((weights: string | undefined, images: string | undefined, options: Json & EvalOptions) =>
      evaluateCommand(context(options.json), weights, images, options),
    );

  trained(
    kindling
      .command('predict')
      .description('say what is in pictures')
      .argument('<run>', "a run's folder, a weight file, a URL, or a published name such as IMAGENET1K_V2")
      .argument('<images...>', 'image files, or folders of them'),
  )
    .option('--top-k <k>', 'classes to name for each picture', read.positiveInteger, 5)
    .option('--batch-size <n>', 'images at once', read.positiveInteger, 16)
    .action((weights: string, images: string[], options: Json & PredictOptions) =>
      predict(context(options.json), weights, images, options),
    );

  const finetuneCommand = kindling
    .command('finetune')
    .description('put a new head on a trained model and train it, or train a whole model')
    .addOption(json());
  addFinetuneOptions(finetuneCommand).action((data: string | undefined, options: Json & FinetuneOptions) => {
    if (options.resume !== undefined) refuseBeside(finetuneCommand, data);
    return finetune(context(options.json), data, options);
  });

  return kindling;
}

const limitHelp =
  'raise a bound on reading, for a file you trust (the error says which); give it again for others';

/** What a command that runs a model on made-up images is told about it. */
const workload = (command: Command): Command =>
  command
    .argument('<model>', 'e.g. resnet50, cifar_resnet20')
    .option(
      '--input <shape>',
      "batch, channels, height, width; default: 1x3 of the model's own size",
      read.shape,
    )
    .option('--batch <n>', 'images at once', read.positiveInteger)
    .option('--train', 'a step of training instead of a forward pass');

/** A run goes on with the options it was started with. */
function refuseBeside(command: Command, data: string | undefined): void {
  const given = command.options
    .map((option) => option.attributeName())
    .filter((name) => command.getOptionValueSource(name) === 'cli' && !besideResume.includes(name));
  if (data === undefined && given.length === 0) return;
  const what = data === undefined ? `--${given[0]?.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}` : data;
  throw new UsageError(`--resume takes everything from the run's config.json; leave out ${what}`);
}
