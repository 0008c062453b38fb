/** The parts of a report that tell the course of a training: epochs, learning rate, what was trained when. */
import { grouped } from '../output.js';
import type { EpochReport } from '../training-loop.js';
import { lineChart } from './chart.js';
import { html, type Html } from './html.js';
import type { TrainedParts } from './trained-parts.js';

const share = (value: number | null): string => (value === null ? '–' : `${(100 * value).toFixed(1)} %`);
const rate = (value: number): string => String(Number(value.toPrecision(3)));

/** A duration in words: `42.0 s`, `3 min 5 s`, `2 h 10 min`. */
export function duration(seconds: number): string {
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const minutes = Math.floor(whole / 60);
  return minutes < 60
    ? `${minutes} min ${whole % 60} s`
    : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** A table in a box that it may be wider than. */
export const scrolling = (label: string, table: Html): Html =>
  html`<div class="scroll" tabindex="0" role="region" aria-label="${label}">${table}</div>`;

export function curves(epochs: readonly EpochReport[], mark: number): Html[] {
  const column = (pick: (epoch: EpochReport) => number | null): (number | null)[] => epochs.map(pick);
  return [
    lineChart({
      title: 'Loss',
      series: [
        { name: 'training', values: column(({ loss }) => loss), style: 'one' },
        { name: 'validation', values: column(({ validationLoss }) => validationLoss), style: 'two' },
      ],
      format: rate,
      mark,
    }),
    lineChart({
      title: 'Accuracy',
      series: [
        { name: 'training', values: column(({ trainAccuracy }) => trainAccuracy), style: 'one' },
        { name: 'validation', values: column(({ validationAccuracy }) => validationAccuracy), style: 'two' },
      ],
      format: (value) => `${Number((100 * value).toFixed(1))} %`,
      mark,
    }),
    lineChart({
      title: 'Learning rate',
      series: [{ name: 'at the start', values: column(({ lr }) => lr), style: 'one' }],
      format: rate,
      mark,
    }),
  ];
}

export function epochTable(epochs: readonly EpochReport[], best: number): Html {
  const validated = epochs.some(({ validationLoss }) => validationLoss !== null);
  const number = (text: string): Html => html`<td class="number">${text}</td>`;
  const heads = [
    'loss',
    'training accuracy',
    ...(validated ? ['validation loss', 'validation accuracy'] : []),
    'learning rate',
    'time',
  ];
  return scrolling(
    'Epochs',
    html`<table class="list epochs">
      <thead>
        <tr>
          <th scope="col">epoch</th>
          ${heads.map((head) => html`<th scope="col" class="number">${head}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${epochs.map(
          (each) =>
            html`<tr class="${each.epoch === best ? 'best' : ''}">
              <th scope="row">${each.epoch}${each.epoch === best && html` <span class="tag">best</span>`}</th>
              ${number(each.loss.toFixed(4))} ${number(share(each.trainAccuracy))}
              ${validated && [number(each.validationLoss?.toFixed(4) ?? '–'), number(share(each.validationAccuracy))]}
              ${number(rate(each.lr))} ${number(duration(each.seconds))}
            </tr>`,
        )}
      </tbody>
    </table>`,
  );
}

/** Which part of the model was trained in which epochs. */
export function trainedMap({ stages, parts }: TrainedParts, epochs: number): Html {
  const span = (i: number): string => {
    const [from = 1, to = epochs] = [stages[i], (stages[i + 1] ?? epochs + 1) - 1];
    return from === to ? `epoch ${from}` : `epochs ${from}–${to}`;
  };
  const word = (part: number): string =>
    part === 0 ? 'frozen' : part === 1 ? 'trained' : `${share(part)} trained`;
  return scrolling(
    'What was trained when',
    html`<table class="list parts">
      <thead>
        <tr>
          <th scope="col">part</th>
          <th scope="col" class="number">parameters</th>
          ${stages.map((_, i) => html`<th scope="col">${span(i)}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${parts.map(
          ({ name, parameters, shares }) =>
            html`<tr>
              <th scope="row">${name}</th>
              <td class="number">${grouped(parameters)}</td>
              ${shares.map(
                (part) =>
                  html`<td><span class="state${part > 0 ? ' trained' : ''}">${word(part)}</span></td>`,
              )}
            </tr>`,
        )}
      </tbody>
    </table>`,
  );
}
