/** The comparison as a picture: what each library takes, as a multiple of kindling's time. */
import * as Plot from '@observablehq/plot';
import { parseHTML } from 'linkedom';
import { digits } from '../report.js';
import { kindling, type Row } from './report.js';

interface Mark {
  readonly work: string;
  readonly library: string;
  readonly times: number;
  /** Shown where the pointer rests on it. */
  readonly title: string;
}

/** Told apart without colours too: by shape. In the order of the legend. */
const shapes = { circle: '●', square: '■', triangle: '▲', diamond: '◆', star: '★' } as const;
const colours = ['#d9480f', '#1c7ed6', '#2f9e44', '#9c36b5', '#868e96'];

const style = `
<style>
  svg { color: #222; background: #fff; }
  @media (prefers-color-scheme: dark) { svg { color: #ddd; background: #16130f; } }
</style>`;

function marksOf(row: Row): Mark[] {
  const own = row.entries.find(({ library }) => library === kindling);
  if (own === undefined) return [];
  // Numbers that are not kindling's are no time of the same work.
  return row.entries
    .filter(({ agrees }) => agrees)
    .map(({ library, medianMs }) => ({
      work: row.work,
      library,
      times: medianMs / own.medianMs,
      title: `${row.work}, ${library}: ${digits(medianMs)} ms`,
    }));
}

/** Finished SVG: a line per work that others have too, a mark per library, both ends of the scale alike. */
export function peersPlot(rows: readonly Row[]): string {
  const { document } = parseHTML('<!doctype html><html><body></body></html>');
  const compared = rows.filter(({ entries }) => entries.length > 1);
  const marks = compared.flatMap(marksOf);
  const libraries = [...new Set(marks.map(({ library }) => library))];
  const symbols = Object.keys(shapes).slice(0, libraries.length);
  const times = marks.map((mark) => mark.times);
  const ticks = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50];
  let dx = 0;
  const legend = libraries.map((library, i) => {
    const text = `${Object.values(shapes)[i] ?? ''} ${library}`;
    const entry = { library, text, dx };
    dx += 40 + 8 * text.length;
    return entry;
  });
  const plot = Plot.plot({
    document: document as unknown as Document,
    width: 900,
    height: 90 + 24 * compared.length,
    marginLeft: 190,
    marginTop: 60,
    x: {
      type: 'log',
      domain: [Math.min(...times) / 1.2, Math.max(...times) * 1.2],
      axis: null,
    },
    y: { domain: compared.map(({ work }) => work), label: null },
    color: { domain: libraries, range: colours.slice(0, libraries.length) },
    symbol: { domain: libraries, range: symbols as Plot.SymbolType[] },
    marks: [
      Plot.gridX(ticks),
      Plot.axisX(ticks, {
        label: 'times as long as kindling',
        text: ticks.map((value) => `${value}x`),
      }),
      Plot.ruleX([1], { stroke: colours[0] as string, strokeWidth: 1.5 }),
      Plot.dot(marks, {
        x: 'times',
        y: 'work',
        fill: 'library',
        symbol: 'library',
        r: 5,
        title: 'title',
      }),
      ...legend.map(({ library, text, dx }) =>
        Plot.text([text], {
          frameAnchor: 'top-left',
          dx: dx - 180,
          dy: -35,
          textAnchor: 'start',
          fill: () => library,
          fontSize: 13,
        }),
      ),
    ],
  });
  return `${plot.outerHTML.replace('>', `>${style}`)}\n`;
}
