import { basename } from 'node:path';
import type { FitResult } from '../training-loop.js';
import { percent } from '../output.js';
import type { Evaluation } from '../training.js';
import { html, type Html } from './html.js';
import { curves, duration, epochTable, scrolling, trainedMap } from './report-course.js';
import { settings } from './report-settings.js';
import { reportStyle } from './report-style.js';
import type { RunConfig } from './run-folder.js';
import type { ClassScore, Scores } from './scores.js';
import type { TrainedParts } from './trained-parts.js';

export interface Mistake {
  readonly name: string;
  readonly actual: string;
  readonly predicted: string;
  readonly confidence: number;
  /** A data URI. */
  readonly picture: string | null;
}

export interface PageInput {
  readonly config: RunConfig;
  readonly result: FitResult;
  /** The best weights on the validation data; null where there were none. */
  readonly checked: {
    readonly evaluation: Evaluation;
    readonly scores: Scores;
    readonly mistakes: readonly Mistake[];
  } | null;
  /** Images that could not be read. */
  readonly skipped: readonly string[];
  /** Training images of each class. */
  readonly trainCounts: readonly number[];
  readonly parts: TrainedParts;
  /** Of the call that ended the training, from its start. */
  readonly seconds: number;
  /** The call went on with what others had begun. */
  readonly resumed: boolean;
}

/** With more classes the matrix is told as a list of pairs. */
const mostInMatrix = 24;

const share = (value: number | null): string => (value === null ? '–' : `${(100 * value).toFixed(1)} %`);

export function reportPage(input: PageInput): string {
  const { config, result, checked, skipped, trainCounts, parts } = input;
  const { plan } = config;
  const { epochs, bestEpoch } = result;
  const title = `${plan.model} on ${nameOf(plan.train)}`;
  const page = html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <title>${title} – kindling</title>
        <style>
          ${reportStyle}
        </style>
      </head>
      <body>
        <main>
          <header>
            <p class="eyebrow">kindling fine-tuning report</p>
            <h1>${title}</h1>
            <p class="sub">
              ${config.created.slice(0, 16).replace('T', ' ')} UTC · ${config.classes.length} classes
            </p>
          </header>
          ${facts(input)}
          <section aria-labelledby="curves">
            <h2 id="curves">Learning curves</h2>
            <div class="charts">${curves(epochs, bestEpoch)} ${epochTable(epochs, bestEpoch)}</div>
          </section>
          <section aria-labelledby="parts">
            <h2 id="parts">What was trained when</h2>
            ${trainedMap(parts, epochs.length)}
          </section>
          ${
            checked !== null &&
            html`<section aria-labelledby="confusion">
                <h2 id="confusion">What was taken for what</h2>
                <p class="note">
                  The best weights (epoch ${bestEpoch}) on the validation images. Rows: what the images are.
                  Columns: what they were taken for.
                </p>
                ${
                  config.classes.length <= mostInMatrix
                    ? matrix(config.classes, checked.scores)
                    : confusions(config.classes, checked.scores)
                }
              </section>
              <section aria-labelledby="mistakes">
                <h2 id="mistakes">Worst mistakes</h2>
                ${mistakes(checked.mistakes, checked.evaluation)}
              </section>`
          }
          <section aria-labelledby="classes">
            <h2 id="classes">By class</h2>
            ${
              checked !== null &&
              html`<p class="note">
                Precision: of the validation images taken for a class, the share that is of it. Recall: of the
                validation images of a class, the share that was found. F1: their harmonic mean.
              </p>`
            }
            ${perClass(config.classes, trainCounts, checked?.scores.perClass ?? null)}
          </section>
          ${
            skipped.length > 0 &&
            html`<section aria-labelledby="skipped">
              <h2 id="skipped">Images left out</h2>
              <ul>
                ${skipped.map((reason) => html`<li><code>${reason}</code></li>`)}
              </ul>
            </section>`
          }
          <section aria-labelledby="settings">
            <h2 id="settings">Settings</h2>
            ${settings(config)}
          </section>
        </main>
      </body>
    </html>`;
  return `${page.text.trimEnd()}\n`;
}

/** The last folder of a path that says something. */
function nameOf(path: string): string {
  const parts = path.split(/[\\/]/).filter((part) => part !== '');
  return parts.findLast((part) => part !== 'train') ?? path;
}

function facts({ config, result: { epochs, bestEpoch }, checked, seconds: total, resumed }: PageInput): Html {
  const evaluation = checked?.evaluation ?? null;
  const best = epochs[bestEpoch - 1];
  const seconds = epochs.reduce((sum, epoch) => sum + epoch.seconds, 0);
  const fact = (value: string, label: string, lead = false): Html =>
    html`<div class="fact${lead ? ' lead' : ''}">
      <dt>${label}</dt>
      <dd>${value}</dd>
    </div>`;
  const { train, validation } = config.images;
  return html`<dl class="facts">
    ${
      evaluation !== null
        ? [
            fact(percent(evaluation.correct, evaluation.count), 'validation accuracy', true),
            fact(`${evaluation.correct} / ${evaluation.count}`, 'images right'),
            fact(evaluation.loss.toFixed(4), 'validation loss'),
          ]
        : [
            fact(share(best?.trainAccuracy ?? null), 'training accuracy', true),
            fact(best?.loss.toFixed(4) ?? '–', 'training loss'),
          ]
    }
    ${fact(`${bestEpoch} of ${epochs.length}`, 'best epoch')}
    ${fact(validation === null ? String(train) : `${train} + ${validation}`, 'images')}
    ${fact(duration(seconds), 'in epochs')}
    ${fact(duration(total), resumed ? 'in all since it was resumed' : 'in all')}
  </dl>`;
}

function matrix(classes: readonly string[], { matrix: counts }: Scores): Html {
  return scrolling(
    'Confusion matrix',
    html`<table class="matrix" style="--classes:${classes.length}">
      <thead>
        <tr>
          <td></td>
          ${classes.map((name) => html`<th scope="col">${name}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${counts.map((row, actual) => {
          const total = row.reduce((sum, count) => sum + count, 0);
          return html`<tr>
            <th scope="row">${classes[actual] ?? ''}</th>
            ${row.map((count, predicted) => {
              const part = total === 0 ? 0 : count / total;
              const kind = count === 0 ? 'none' : actual === predicted ? 'right' : 'wrong';
              return html`<td
                class="${kind}${part > 0.55 ? ' deep' : ''}"
                style="--part:${(100 * part).toFixed(0)}%"
              >
                ${count}
              </td>`;
            })}
          </tr>`;
        })}
      </tbody>
    </table>`,
  );
}

function confusions(classes: readonly string[], { matrix: counts }: Scores): Html {
  const pairs = counts
    .flatMap((row, actual) => row.map((count, predicted) => ({ actual, predicted, count })))
    .filter(({ actual, predicted, count }) => actual !== predicted && count > 0)
    .sort((a, b) => b.count - a.count)
    .slice(0, 20);
  if (pairs.length === 0) return html`<p>Nothing was taken for anything else.</p>`;
  return scrolling(
    'Mistakes by pair',
    html`<table class="list">
      <caption>
        The commonest mistakes of ${classes.length} classes
      </caption>
      <thead>
        <tr>
          <th scope="col">is</th>
          <th scope="col">was taken for</th>
          <th scope="col" class="number">images</th>
        </tr>
      </thead>
      <tbody>
        ${pairs.map(
          ({ actual, predicted, count }) =>
            html`<tr>
              <td>${classes[actual] ?? ''}</td>
              <td>${classes[predicted] ?? ''}</td>
              <td class="number">${count}</td>
            </tr>`,
        )}
      </tbody>
    </table>`,
  );
}

/** Scores are of the validation images; without these there are the numbers of training images alone. */
function perClass(
  classes: readonly string[],
  trainCounts: readonly number[],
  scores: readonly ClassScore[] | null,
): Html {
  const bar = (value: number | null): Html =>
    html`<td class="number">
      ${share(value)}
      <span class="bar" aria-hidden="true"
        ><span style="width:${(100 * (value ?? 0)).toFixed(1)}%"></span
      ></span>
    </td>`;
  return scrolling(
    'By class',
    html`<table class="list">
      <thead>
        <tr>
          <th scope="col">class</th>
          <th scope="col" class="number">training images</th>
          ${
            scores !== null &&
            ['validation images', 'precision', 'recall', 'F1'].map(
              (head) => html`<th scope="col" class="number">${head}</th>`,
            )
          }
        </tr>
      </thead>
      <tbody>
        ${classes.map((name, i) => {
          const score = scores?.[i];
          return html`<tr>
            <th scope="row">${name}</th>
            <td class="number">${trainCounts[i] ?? 0}</td>
            ${
              score !== undefined && [
                html`<td class="number">${score.images}</td>`,
                bar(score.precision),
                bar(score.recall),
                bar(score.f1),
              ]
            }
          </tr>`;
        })}
      </tbody>
    </table>`,
  );
}

function mistakes(list: readonly Mistake[], { count, correct }: Evaluation): Html {
  if (list.length === 0) return html`<p>None: all ${count} images were classified right.</p>`;
  return html`<p class="note">
      ${list.length === count - correct ? `All ${list.length}` : `${list.length} of ${count - correct}`}, the
      most certain and wrong first.
    </p>
    <ul class="mistakes">
      ${list.map(
        ({ name, actual, predicted, confidence, picture }) =>
          html`<li>
            ${
              picture === null
                ? html`<div class="blank">no picture</div>`
                : html`<img src="${picture}" alt="${actual}, taken for ${predicted}" loading="eager" />`
            }
            <p><span class="label">prediction</span> <strong>${predicted}</strong> ${share(confidence)}</p>
            <p><span class="label">truth</span> <strong>${actual}</strong></p>
            <p class="file" title="${name}">${basename(name)}</p>
          </li>`,
      )}
    </ul>`;
}
