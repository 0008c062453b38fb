/**
 * The page that `npm run bench` writes: the table and a roofline plot, finished SVG without a script or
 * anything to load.
 */
import * as Plot from '@observablehq/plot';
import { parseHTML } from 'linkedom';
import type { Ceilings } from './ceilings.js';
import { digits } from './report.js';
import { cellsOf, ratesOf, shareText, tableHeader, type Row } from './rows.js';

interface Point {
  readonly number: string;
  readonly suite: string;
  readonly intensity: number;
  readonly gflops: number;
  /** Shown where the pointer rests on the point. */
  readonly title: string;
}

function pointOf(row: Row, i: number, ceilings: Ceilings): Point {
  const rates = ratesOf(row, ceilings);
  const rate = rates.gflops === undefined ? '' : `${digits(rates.gflops)} GFLOP/s, `;
  return {
    number: String(i + 1),
    suite: row.suite,
    intensity: rates.intensity,
    gflops: row.operations / row.medianMs / 1e6,
    title: `${i + 1} ${row.work}\n${digits(row.medianMs)} ms, ${rate}${digits(rates.gigabytesPerSecond)} GB/s\n${shareText(rates)} ceiling`,
  };
}

/** Operations per byte against operations per second, both logarithmic, under the two ceilings. */
export function rooflinePlot(rows: readonly Row[], ceilings: Ceilings): string {
  const { document } = parseHTML('<!doctype html><html><body></body></html>');
  const points = rows.map((row, i) => pointOf(row, i, ceilings));
  const { gflops: peak, gigabytesPerSecond: bandwidth } = ceilings;
  const ridge = peak / bandwidth;
  const left = Math.min(0.1, ...points.map(({ intensity }) => intensity)) / 1.5;
  const right = Math.max(10 * ridge, ...points.map(({ intensity }) => intensity)) * 1.5;
  const lowest = Math.min(left * bandwidth, ...points.map(({ gflops }) => gflops)) / 1.5;
  const highest = Math.max(peak, ...points.map(({ gflops }) => gflops)) * 2;
  const roof = [
    [left, left * bandwidth],
    [ridge, peak],
    [right, peak],
  ];
  const middle = Math.sqrt(left * ridge);
  const labels = [
    { x: ridge, y: peak, text: `${digits(peak)} GFLOP/s from ${digits(ridge)} operations per byte on` },
    { x: middle, y: middle * bandwidth * 1.25, text: `${digits(bandwidth)} GB/s` },
  ];
  const plot = Plot.plot({
    document: document as unknown as Document,
    width: 1100,
    height: 620,
    marginLeft: 60,
    grid: true,
    x: { type: 'log', domain: [left, right], label: 'operations per byte', tickFormat: '~g' },
    y: { type: 'log', domain: [lowest, highest], label: 'GFLOP/s', tickFormat: '~g' },
    color: { domain: ['kernels', 'models'], range: ['#4269d0', '#d1495b'], legend: true },
    marks: [
      Plot.line(roof, { stroke: 'currentColor', strokeWidth: 1.5 }),
      Plot.text(labels, { x: 'x', y: 'y', text: 'text', dy: -10, textAnchor: 'middle' }),
      Plot.text(points, {
        x: 'intensity',
        y: 'gflops',
        text: 'number',
        dx: 9,
        dy: -5,
        fill: 'suite',
        fontSize: 9,
      }),
      Plot.dot(points, {
        x: 'intensity',
        y: 'gflops',
        fill: 'suite',
        r: 4,
        fillOpacity: 0.75,
        title: 'title',
      }),
    ],
  });
  return plot.outerHTML;
}

const escaped = (text: string): string => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

const style = `
body { font: 14px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1200px; padding: 0 1rem; color: #1b1b1b; background: #fff; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 0.2rem 0.6rem; text-align: right; border-bottom: 1px solid #ddd; }
th:nth-child(2), td:nth-child(2) { text-align: left; }
td { white-space: nowrap; }
figure { margin: 1rem 0; }`;

/** @param notes paragraphs under the heading */
export function page(
  title: string,
  notes: readonly string[],
  rows: readonly Row[],
  ceilings: Ceilings,
): string {
  const line = (tag: 'th' | 'td', cells: readonly string[]): string =>
    `<tr>${cells.map((cell) => `<${tag}>${escaped(cell)}</${tag}>`).join('')}</tr>`;
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>${escaped(title)}</title>
<style>${style}</style>
<h1>${escaped(title)}</h1>
${notes.map((note) => `<p>${escaped(note)}</p>`).join('\n')}
${rooflinePlot(rows, ceilings)}
<table>
<thead>${line('th', tableHeader)}</thead>
<tbody>
${rows.map((row, i) => line('td', cellsOf(row, i + 1, ceilings))).join('\n')}
</tbody>
</table>
</html>
`;
}
