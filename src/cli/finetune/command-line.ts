import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { flagOf } from '../option-rows.js';
import { shellWord } from '../output.js';
import { finetuneOptions, type FinetuneOptions } from './options.js';

/** Options by name, as plain data: what stood on a command line. */
export type GivenOptions = Readonly<Record<string, unknown>>;

/** Options that are about one call, not about the training. */
const ofTheCall = new Set(['json', 'force', 'resume']);
/** Options whose operand has commas; others that may be given again are repeated. */
const withCommas = new Set(['freeze', 'milestones', 'mean', 'std']);

/** What config.json keeps of a command line: paths are absolute, so that it means the same anywhere. */
export function givenOptions(options: FinetuneOptions, names: ReadonlySet<string>): GivenOptions {
  const all = options as Readonly<Record<string, unknown>>;
  const path = (name: string, value: unknown): unknown =>
    typeof value === 'string' &&
    (['data', 'val', 'out'].includes(name) || (name === 'weights' && existsSync(value)))
      ? resolve(value)
      : value;
  return Object.fromEntries(
    Object.keys(finetuneOptions)
      .filter((name) => names.has(name) && !ofTheCall.has(name))
      .map((name) => [name, path(name, all[name])]),
  );
}

/** The command line that does a training again. */
export function commandLine(given: GivenOptions): string {
  const { data, ...rest } = given;
  const words = Object.entries(rest).flatMap(([name, value]) => {
    const row = (finetuneOptions as Readonly<Record<string, { readonly negated?: boolean } | undefined>>)[
      name
    ];
    if (row === undefined) return [];
    const flag = flagOf(name, row);
    if (typeof value === 'boolean') return [flag];
    if (!Array.isArray(value)) return [flag, String(value as string | number)];
    return withCommas.has(name)
      ? [flag, value.join(',')]
      : (value as readonly unknown[]).flatMap((each) => [flag, String(each)]);
  });
  return ['kindling', 'finetune', ...(typeof data === 'string' ? [data] : []), ...words]
    .map(shellWord)
    .join(' ');
}
