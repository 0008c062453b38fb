import { type Command, Option } from 'commander';
import { someText } from './option-readers.js';

/**
 * One option of a command, whole: what is typed, read, shown in the help and, for a training, planned. The
 * property that it stands under names it: `valSplit` is `--val-split` on the command line, and the field of
 * the values that were given.
 *
 * @typeParam Given what it is in the command's options
 */
export interface OptionRow<Given> {
  /** What follows the flag: `<n>` is needed, `[how]` may be left out; none for a switch. */
  readonly operand?: string;
  readonly help: string;
  /** Reads what was typed, after what was read where it may be given again; throws commander's error. */
  read?(text: string, previous: Given | undefined): Given;
  readonly choices?: readonly string[];
  readonly fallback?: Given;
  /** The flag is `--no-...`, and the value true without it. */
  readonly negated?: boolean;
  /** Heading in the help. */
  readonly group?: string;
  /** Flags that it had before, which are not in the help and mean the same. */
  readonly formerly?: readonly string[];
}

export type OptionRows = Readonly<Record<string, OptionRow<unknown>>>;

/** What the options of a command come to. */
export type Options<R> = {
  readonly [K in keyof R]: R[K] extends { read?(...from: never[]): infer Given } ? Given : never;
};

/** A switch: true where it is given. */
export const flag = (help: string): OptionRow<boolean | undefined> => ({ help });

/** A switch that turns off what is on. */
export const negation = (help: string): OptionRow<boolean> => ({ help, negated: true });

/** An option whose text is taken as it is. */
export const text = (operand: string, help: string): OptionRow<string | undefined> =>
  value(operand, help, someText);

/** An option whose text is read as a value. */
export const value = <T, F extends T | undefined = undefined>(
  operand: string,
  help: string,
  read: NonNullable<OptionRow<T>['read']>,
  fallback?: F,
): OptionRow<T | Extract<F, undefined>> => ({ operand, help, read, fallback }) as OptionRow<never>;

/** An option that takes one of some names. */
export const choice = <const C extends string, F extends C | undefined = undefined>(
  operand: string,
  help: string,
  choices: readonly C[],
  fallback?: F,
): OptionRow<C | Extract<F, undefined>> => ({ operand, help, choices, fallback }) as OptionRow<never>;

/** An option whose operand, in brackets, may be left out: then it is true. */
export const orBare = <Given>(row: OptionRow<Given>): OptionRow<Given | true> =>
  row as OptionRow<Given | true>;

/** A row that had other flags before. */
export const formerly = <Given>(row: OptionRow<Given>, ...flags: readonly string[]): OptionRow<Given> => ({
  ...row,
  formerly: flags,
});

/** A command line with every flag as it is written today. */
export function withoutOldSpellings(rows: OptionRows, args: readonly string[]): readonly string[] {
  const today = new Map(
    Object.entries(rows).flatMap(([name, row]) =>
      (row.formerly ?? []).map((old) => [old, flagOf(name, row)] as const),
    ),
  );
  const end = args.indexOf('--');
  return args.map((word, i) => {
    if (end >= 0 && i > end) return word;
    const [, flag = '', rest = ''] = /^(--[^=]+)(=.*)?$/s.exec(word) ?? [];
    const now = today.get(flag);
    return now === undefined ? word : `${now}${rest}`;
  });
}

/** Rows under a heading of their own in the help. */
export function grouped<R extends OptionRows>(group: string, rows: R): R {
  return Object.fromEntries(Object.entries(rows).map(([name, row]) => [name, { ...row, group }])) as R;
}

/** The flag that a row's name and form make: `--val-split`, `--no-verify`. */
export function flagOf(name: string, { negated = false }: Pick<OptionRow<unknown>, 'negated'> = {}): string {
  return `--${negated ? 'no-' : ''}${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** Declares the options of a command. */
export function addOptions(command: Command, rows: OptionRows): void {
  for (const [name, row] of Object.entries(rows)) {
    const { operand, help, read, choices, fallback, group } = row;
    const typed = flagOf(name, row);
    const option = new Option(operand === undefined ? typed : `${typed} ${operand}`, help);
    if (choices !== undefined) option.choices(choices);
    if (read !== undefined) option.argParser(read);
    if (fallback !== undefined) option.default(fallback);
    if (group !== undefined) option.helpGroup(group);
    command.addOption(option);
  }
}

/** The values of options of which none is given. */
export function fallbacks<R extends OptionRows>(rows: R): Options<R> {
  return Object.fromEntries(
    Object.entries(rows).map(([name, { fallback, negated }]) => [name, negated ? true : fallback]),
  ) as Options<R>;
}

/** A row whose value is part of a plan, under the row's name. */
export interface PlannedRow<Given, Planned> extends OptionRow<Given> {
  readonly plan: (given: Given) => Planned;
}

/** A value as plans have it, which are JSON: null where it was not given. */
type OrNull<T> = undefined extends T ? Exclude<T, undefined> | null : T;

/** Makes an option a part of the plan, as it is or as `plan` has it. */
export function planned<Given>(row: OptionRow<Given>): PlannedRow<Given, OrNull<Given>>;
export function planned<Given, Planned>(
  row: OptionRow<Given>,
  plan: (given: Given) => Planned,
): PlannedRow<Given, Planned>;
export function planned<Given>(
  row: OptionRow<Given>,
  plan: (given: Given) => unknown = (given) => given ?? null,
): PlannedRow<Given, unknown> {
  return { ...row, plan };
}

/** The part of a plan that follows from the options alone. */
export type PlannedOf<R> = {
  readonly [K in keyof R as R[K] extends { plan(given: never): unknown } ? K : never]: R[K] extends {
    plan: (given: never) => infer Planned;
  }
    ? Planned
    : never;
};

export function plannedOf<R extends OptionRows>(rows: R, options: Options<R>): PlannedOf<R> {
  const given = options as Readonly<Record<string, unknown>>;
  return Object.fromEntries(
    Object.entries(rows as Readonly<Record<string, Partial<PlannedRow<unknown, unknown>>>>).flatMap(
      ([name, { plan }]) => (plan === undefined ? [] : [[name, plan(given[name])]]),
    ),
  ) as PlannedOf<R>;
}
