import { html, type Html } from './html.js';

/** One line of a chart: a value per epoch, null where there is none. */
export interface Series {
  readonly name: string;
  readonly values: readonly (number | null)[];
  /** Names the colour and the dashes in the page's style. */
  readonly style: 'one' | 'two';
}

export interface ChartOptions {
  readonly title: string;
  readonly series: readonly Series[];
  readonly format: (value: number) => string;
  /** Fixed ends of the vertical axis. */
  readonly range?: readonly [number, number];
  /** Epoch (from 1) that is marked. */
  readonly mark?: number;
}

const size = { width: 520, height: 280, left: 64, right: 14, top: 16, bottom: 40 } as const;

/** A step of 1, 2 or 5 times a power of ten that makes about `count` intervals. */
function niceStep(span: number, count: number): number {
  const raw = span / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  return ([1, 2, 5].find((factor) => raw / power <= factor) ?? 10) * power;
}

function ticks(low: number, high: number, count: number): number[] {
  const step = niceStep(high - low, count);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
}

/** The ends of the axis: a little beyond the values, at a tick. */
function axis(values: readonly number[]): readonly [number, number] {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  if (high === low) return [low - (Math.abs(low) || 1) / 2, high + (Math.abs(high) || 1) / 2];
  const step = niceStep(high - low, 5);
  const floor = Math.floor(low / step) * step;
  return [low >= 0 ? Math.max(0, floor) : floor, Math.ceil(high / step) * step];
}

/**
 * A line chart over epochs, as inline SVG: no script, colours from the page's style. Written by hand because
 * the libraries that draw such charts want a DOM, which Node has not, or bring megabytes.
 */
export function lineChart({ title, series, format, range, mark }: ChartOptions): Html {
  const shown = series.filter(({ values }) => values.some((value) => value !== null));
  const values = shown.flatMap((one) => one.values).filter((value): value is number => value !== null);
  const epochs = Math.max(1, ...shown.map((one) => one.values.length));
  const [low, high] = range ?? axis(values);
  const { width, height, left, right, top, bottom } = size;
  const x = (epoch: number): number =>
    epochs === 1 ? (left + width - right) / 2 : left + ((epoch - 1) / (epochs - 1)) * (width - left - right);
  const y = (value: number): number =>
    height - bottom - ((value - low) / (high - low)) * (height - top - bottom);
  const at = (value: number): string => value.toFixed(1);
  const across = epochs === 1 ? [1] : ticks(1, epochs, Math.min(8, epochs - 1)).filter(Number.isInteger);
  const end = shown
    .map(({ name, values: own }) => {
      const last = own.findLast((value) => value !== null);
      return last === undefined || last === null ? '' : `${name} ends at ${format(last)}`;
    })
    .join('; ');

  return html`<figure class="chart">
    <figcaption>
      ${title}
      <span class="legend"
        >${shown.map(({ name, style }) => html`<span class="key ${style}">${name}</span>`)}</span
      >
    </figcaption>
    <svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${title} by epoch: ${end}">
      ${ticks(low, high, 5).map(
        (value) =>
          html`<line
              class="grid"
              x1="${left}"
              x2="${width - right}"
              y1="${at(y(value))}"
              y2="${at(y(value))}"
            />
            <text class="tick" x="${left - 8}" y="${at(y(value) + 4)}" text-anchor="end"
              >${format(value)}</text
            >`,
      )}
      ${[...new Set([1, ...across])].map(
        (epoch) =>
          html`<text class="tick" x="${at(x(epoch))}" y="${height - bottom + 18}" text-anchor="middle"
            >${epoch}</text
          >`,
      )}
      <text class="tick" x="${(left + width - right) / 2}" y="${height - 4}" text-anchor="middle">epoch</text>
      ${
        mark !== undefined &&
        mark > 0 &&
        html`<line class="mark" x1="${at(x(mark))}" x2="${at(x(mark))}" y1="${top}" y2="${height - bottom}">
            <title>best epoch: ${mark}</title>
          </line>
          <text
            class="tick"
            x="${at(x(mark) + (x(mark) > width / 2 ? -6 : 6))}"
            y="${top + 10}"
            text-anchor="${x(mark) > width / 2 ? 'end' : 'start'}"
            >best epoch: ${mark}</text
          >`
      }
      ${shown.map(({ values: own, style, name }) => {
        const points = own.flatMap((value, i) =>
          value === null ? [] : [{ value, epoch: i + 1, text: `${at(x(i + 1))},${at(y(value))}` }],
        );
        return html`<polyline class="line ${style}" points="${points.map(({ text }) => text).join(' ')}" />
          ${points.map(
            ({ value, epoch }) =>
              html`<circle
                class="dot ${style}"
                cx="${at(x(epoch))}"
                cy="${at(y(value))}"
                r="${epochs > 60 ? 1 : 2.5}"
              >
                <title>${name}, epoch ${epoch}: ${format(value)}</title>
              </circle>`,
          )}`;
      })}
    </svg>
  </figure>`;
}
