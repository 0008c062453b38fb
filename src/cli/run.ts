import { Command, CommanderError } from 'commander';
import { CheckpointError, UnclearStateDictError } from '../formats/index.js';
import { init } from '../index.js';
import { printableLines } from '../tensor/printable.js';
import { addCommand, modernLine, type CommandRow } from './command.js';
import { benchCommand } from './commands/bench.js';
import { convertCommand } from './commands/convert.js';
import { demoCommand } from './commands/demo.js';
import { evalCommand } from './commands/eval.js';
import { exportCommand } from './commands/export.js';
import { finetuneCommand } from './commands/finetune.js';
import { infoCommand } from './commands/info.js';
import { inspectCommand } from './commands/inspect.js';
import { modelsCommand } from './commands/models.js';
import { predictCommand } from './commands/predict.js';
import { profileCommand } from './commands/profile.js';
import { setupCommand } from './commands/setup.js';
import { downloadCommand, weightsCommand } from './commands/weights.js';
import type { Context } from './context.js';
import type { CommandRanks } from './ranks.js';
import { exitCodes, Interrupted, plainest, UsageError } from './errors.js';
import { Output, shellWord, shownError, type Streams } from './output.js';
import { packageVersion } from './versions.js';

export interface RunOptions {
  /** Default: the process's own. */
  readonly streams?: Streams;
  /** Aborting it is what Ctrl-C does; the reason may be an `Interrupted`. */
  readonly signal?: AbortSignal;
  /** Called whenever the command asks for its signal: from then on it has something to put in order. */
  readonly onSignalUse?: () => void;
  /** The processes that run it together, of which this is one. Default: this one alone. */
  readonly ranks?: CommandRanks | null;
  /** Default: `init`. */
  readonly openDevice?: () => Promise<void>;
}

/**
 * Runs one command line, without the program's name: `run(['info', '--json'])`. Nothing here ends the
 * process.
 *
 * @returns the exit status: 0, 1 for a failure, 2 for a wrong command line, 128 and a signal's number after
 * it (130: Ctrl-C)
 */
export async function run(args: readonly string[], options: RunOptions = {}): Promise<number> {
  const streams = options.streams ?? process;
  const signal = options.signal ?? new AbortController().signal;
  const outputs: Output[] = [];
  const { ranks = null } = options;
  const makeContext = (json: boolean): Context => {
    const output = new Output(streams, json);
    outputs.push(output);
    return {
      output,
      get signal() {
        options.onSignalUse?.();
        return signal;
      },
      ranks,
      openDevice: options.openDevice ?? (() => init()),
    };
  };
  try {
    await program(streams, makeContext).parseAsync(modern(args), { from: 'user' });
    await ranks?.close();
    return exitCodes.ok;
  } catch (error) {
    for (const output of outputs) output.end();
    return report(ranks === null ? error : await ranks.fail(error), streams);
  }
}

function report(error: unknown, { stderr }: Streams): number {
  // Commander has printed its message, or the help that was asked for.
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
  stderr.write(shownError(`${plainest(error).message}${keyChoices(error)}`));
  if (process.env['KINDLING_DEBUG'] === '1' && error instanceof Error) {
    for (let at: unknown = error; at instanceof Error; at = at.cause)
      stderr.write(`${printableLines(at.stack ?? String(at))}\n`);
  }
  if (error instanceof Interrupted) return error.exitCode;
  return error instanceof UsageError ? exitCodes.usage : exitCodes.failure;
}

/**
 * Adds how the command line says what the library's options say: `--key` and `--limit` of inspect and
 * convert.
 */
function keyChoices(error: unknown): string {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (!(at instanceof CheckpointError)) continue;
    if (at instanceof UnclearStateDictError) {
      const key = at.choices[0]?.map((step) => `--key ${shellWord(step)}`).join(' ') ?? '';
      return `; inspect and convert take ${key}; for other commands write the weights to a file of their own first: kindling convert IN OUT ${key}`;
    }
    const bound = /\{ limits: \{ (\w+): (\d+) \} \}/.exec(at.message);
    if (bound !== null) return `; inspect and convert take --limit ${bound[1]}=${bound[2]}`;
    if (at.message.includes('{ verify: false }')) return '; inspect and convert take --no-verify';
  }
  return '';
}

/** Commander's message and its suggestion as one line: `unknown option '--jsn' (did you mean --json?)`. */
const oneLine = (text: string): string =>
  text
    .replace(/^error: /, '')
    .replace(/\n\(Did you mean /, ' (did you mean ')
    .replace(/\.?\s*$/, '');

/** In the order of the help. */
export const commands: readonly CommandRow[] = [
  demoCommand,
  infoCommand,
  setupCommand,
  inspectCommand,
  convertCommand,
  modelsCommand,
  weightsCommand,
  downloadCommand,
  profileCommand,
  benchCommand,
  evalCommand,
  predictCommand,
  exportCommand,
  finetuneCommand,
];

/** Under the list of commands. */
const start = `The same word means the same in every command: a model is MODEL or --model, weights are --weights (a run's
folder, a file, a URL, or a published MODEL[:NAME]), images are --data. What stands without a flag is the
value of such an option.

Examples:
  kindling demo
  kindling finetune photos --weights resnet18 --out run
  kindling predict run cat.jpg`;

/** A command line with the flags of today. */
function modern(args: readonly string[]): string[] {
  const row = commands.find(({ name }) => name === args[0]);
  return row === undefined ? [...args] : [row.name, ...modernLine(row, args.slice(1))];
}

/** kindling, as commander runs it. */
export function program({ stdout, stderr }: Streams, makeContext: (json: boolean) => Context): Command {
  const kindling = new Command('kindling')
    .description('Train, fine-tune and run neural networks on WebGPU, without a GPU too.')
    .version(packageVersion())
    .showSuggestionAfterError()
    .addHelpText('after', `\n${start}`)
    .configureHelp({ subcommandTerm: (command) => `${command.name()} ${command.usage()}` })
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void stdout.write(printableLines(text)),
      writeErr: (text) => void stderr.write(printableLines(text)),
      outputError: (text, write) => write(shownError(`${oneLine(text)}; kindling --help lists the commands`)),
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    });
  for (const each of commands) {
    addCommand(kindling, each, makeContext).configureOutput({
      outputError: (text, write) =>
        write(shownError(`${oneLine(text)}; kindling ${each.name} --help lists the options`)),
    });
  }
  return kindling;
}
