/** The part of a report that tells how to do the training again. */
import { isDeepStrictEqual } from 'node:util';
import { fallbacks, plannedOf } from '../option-rows.js';
import { commandLine } from './command-line.js';
import { html, type Html } from './html.js';
import { finetuneOptions } from './options.js';
import type { RunConfig } from './run-folder.js';

type Row = readonly [name: string, value: string];

const text = (value: unknown): string =>
  value === null || value === undefined || (Array.isArray(value) && value.length === 0)
    ? '–'
    : typeof value === 'object'
      ? JSON.stringify(value)
      : String(value as string | number | boolean);

const words = (name: string): string => name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);

const table = (rows: readonly Row[]): Html =>
  html`<table class="settings">
    <tbody>
      ${rows.map(
        ([name, value]) =>
          html`<tr>
            <th scope="row">${name}</th>
            <td>${value}</td>
          </tr>`,
      )}
    </tbody>
  </table>`;

/** What was given comes first; what nobody chose, and what it ran on, is folded. */
export function settings({ plan, given, weights, versions, adapter, ranks = 1 }: RunConfig): Html {
  const { input, ...rest } = plan;
  const defaults = plannedOf(finetuneOptions, fallbacks(finetuneOptions)) as Readonly<
    Record<string, unknown>
  >;
  // A run of before does not know what was given; what differs from the defaults was.
  const wasSet = (name: string, value: unknown): boolean =>
    given === undefined
      ? name in defaults && !isDeepStrictEqual(value, defaults[name])
      : name in given || (name === 'classMap' && ('classes' in given || 'map' in given));
  const rows = Object.entries(rest).map(([name, value]) => ({ name, value, set: wasSet(name, value) }));
  const shown = (set: boolean): Row[] =>
    rows
      .filter((row) => row.set === set && row.name !== 'train')
      .map(({ name, value }) => [words(name), text(value)]);
  const [own, left] = [shown(true), shown(false)];
  // A run may have got more epochs since.
  const line =
    given === undefined ? null : commandLine({ ...given, ...('epochs' in given && { epochs: plan.epochs }) });
  return html`${
      line !== null &&
      html`<p class="note">This does the training again:</p>
        <pre class="command"><code>${ranks > 1 ? `mpirun -n ${ranks} ` : ''}${line}</code></pre>`
    }
    ${table([
      ['images', plan.train],
      ['weights', weights === null ? 'none: random' : weights.source],
      ...(ranks > 1 ? [['ranks', `${ranks}, each with batches of ${plan.batchSize}`] as const] : []),
      ...own,
    ])}
    <details>
      <summary>Defaults and versions</summary>
      ${table([
        ...left,
        [
          'input',
          `resize ${input.resize}, crop ${input.size}, mean ${input.mean.join(' ')}, std ${input.std.join(' ')}`,
        ],
        ['weights SHA-256', weights?.sha256 ?? '–'],
        ['adapter', Object.values(adapter).filter(Boolean).join(', ')],
        ...Object.entries(versions).map(([name, version]): Row => [name, text(version)]),
      ])}
    </details>`;
}
