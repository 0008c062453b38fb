import type { Command } from 'commander';
import type { Context } from './context.js';
import { addOptions, type OptionRows, type Options } from './option-rows.js';

/** One call of a command. */
export interface Call<R> {
  readonly context: Context;
  readonly options: Options<R>;
  /** Names of the options that stand on the command line; the others have their defaults. */
  readonly given: ReadonlySet<string>;
}

/** A command of `kindling`. */
export interface CommandRow<R extends OptionRows = OptionRows> {
  readonly name: string;
  /** What the list of commands says of it. */
  readonly help: string;
  /** What it takes beside options: `<file>`, `[data]`, `<images...>`, each with its help. */
  readonly operands?: readonly (readonly [form: string, help?: string])[];
  readonly options: R;
  /** @param operands strings, lists of them for `...`, undefined where one in brackets is missing */
  run(call: Call<R>, ...operands: never[]): Promise<void>;
}

/** A command whose `run` knows the types of its options. */
export const defineCommand = <R extends OptionRows>(row: CommandRow<R>): CommandRow => row as CommandRow;

/** Declares a command, so that commander runs it. */
export function addCommand(
  program: Command,
  { name, help, operands = [], options: rows, run }: CommandRow,
  makeContext: (json: boolean) => Context,
): Command {
  const command = program.command(name).description(help);
  for (const [form, about] of operands) command.argument(form, about);
  addOptions(command, rows);
  return command.action(async (...values: unknown[]) => {
    const options = command.opts();
    const given = Object.keys(rows).filter((each) => command.getOptionValueSource(each) === 'cli');
    const call = { context: makeContext(options['json'] === true), options, given: new Set(given) };
    await run(call, ...(values.slice(0, operands.length) as never[]));
  });
}
