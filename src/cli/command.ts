import type { Command } from 'commander';
import type { Context } from './context.js';
import { addOptions, type OptionRows, type Options, withoutOldSpellings } from './option-rows.js';

/** One call of a command. */
export interface Call<R> {
  readonly context: Context;
  readonly options: Options<R>;
  /** Names of the options that stand on the command line; the others have their defaults. */
  readonly given: ReadonlySet<string>;
}

/**
 * What may stand without a flag: the value of an option. Those whose flag is given are passed over, so that
 * `predict --weights F A.jpg` is `predict F A.jpg`.
 */
export interface Operand {
  /** The option. */
  readonly name: string;
  /** How the help shows it: `<file>`, `[data]`, `<images...>`. */
  readonly form: string;
  readonly help: string;
}

/** A line that the help shows. */
export type Example = readonly [line: string, about?: string];

/** A command of `kindling`. */
export interface CommandRow<R extends OptionRows = OptionRows> {
  readonly name: string;
  /** What the list of commands says of it. */
  readonly help: string;
  /** What may stand without a flag, in this order; those in angle brackets must be there. */
  readonly operands?: readonly Operand[];
  readonly options: R;
  readonly examples: readonly Example[];
  /** Of a command line that was right before: how it is written today. */
  readonly modern?: (args: readonly string[]) => readonly string[];
  run(call: Call<R>): Promise<void>;
}

/** A command whose `run` knows the types of its options. */
export const defineCommand = <R extends OptionRows>(row: CommandRow<R>): CommandRow => row as CommandRow;

/** How a command line of this command is written today, where it has spellings of before. */
export const modernLine = ({ options, modern }: CommandRow, args: readonly string[]): readonly string[] =>
  withoutOldSpellings(options, modern === undefined ? args : modern(args));

/** Declares a command, so that commander runs it. */
export function addCommand(
  program: Command,
  { name, help, operands = [], options: rows, examples, run }: CommandRow,
  makeContext: (json: boolean) => Context,
): Command {
  const command = program.command(name).description(help).allowExcessArguments(true);
  // Which is which is told when the flags are known; commander lists them in the help.
  for (const { form, help: about } of operands) command.argument(inBrackets(form), about);
  command.usage(['[options]', ...operands.map(({ form }) => form)].join(' '));
  addOptions(command, rows);
  command.addHelpText('after', `\n${examplesText(examples)}`);
  return command.action(async () => {
    readOperands(command, operands, rows);
    const options = command.opts();
    const given = Object.keys(rows).filter((each) => command.getOptionValueSource(each) === 'cli');
    await run({ context: makeContext(options['json'] === true), options, given: new Set(given) });
  });
}

const inBrackets = (form: string): string => form.replace('<', '[').replace('>', ']');

function examplesText(examples: readonly Example[]): string {
  const width = Math.max(...examples.map(([line]) => line.length));
  const lines = examples.map(([line, about]) =>
    about === undefined ? `  ${line}` : `  ${line.padEnd(width)}  # ${about}`,
  );
  return `Examples:\n${lines.join('\n')}`;
}

/** Gives the words without a flag to the options that they stand for. */
function readOperands(command: Command, operands: readonly Operand[], rows: OptionRows): void {
  const words = [...command.args];
  const open = operands.filter(({ name }) => command.getOptionValueSource(name) !== 'cli');
  open.forEach(({ name, form }, i) => {
    // A word for each that has to be there and comes later.
    const later = open.slice(i + 1).filter((each) => each.form.startsWith('<')).length;
    const many = form.includes('...');
    const optional = form.startsWith('[');
    const count = many ? words.length - later : Math.min(1, optional ? words.length - later : words.length);
    const own = words.splice(0, Math.max(0, count));
    if (own.length === 0) {
      if (!optional) command.error(`error: missing required argument '${form.replace(/[<>[\].]/g, '')}'`);
      return;
    }
    command.setOptionValueWithSource(name, many ? own : read(command, rows, name, own[0] ?? ''), 'cli');
  });
  if (words.length > 0) {
    const most = operands.length;
    command.error(
      `error: too many arguments: nothing is left for '${words.join(' ')}' to mean` +
        (most === 0 ? '' : `; it takes ${operands.map(({ form }) => form).join(' ')}`),
    );
  }
}

function read(command: Command, rows: OptionRows, name: string, word: string): unknown {
  try {
    return rows[name]?.read?.(word, undefined) ?? word;
  } catch (error) {
    if (error instanceof Error) command.error(`error: '${word}': ${error.message}`);
    throw error;
  }
}
