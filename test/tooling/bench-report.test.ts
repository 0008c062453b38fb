import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { Ceilings } from '../../bench/ceilings.js';
import { peersPlot } from '../../bench/peers/plot.js';
import { report, targets, targetTable, type Entry, type Row as PeerRow } from '../../bench/peers/report.js';
import { page } from '../../bench/roofline.js';
import { ratesOf, tableOf, type Row } from '../../bench/rows.js';
import { chosenNames, peerWorks, suites, workNamed, works } from '../../bench/works.mjs';

const ceilings: Ceilings = { gflops: 50, gigabytesPerSecond: 10, largeCopyGigabytesPerSecond: 8 };

const row = (work: string, flops: number, bytes: number): Row => ({
  suite: 'kernels',
  work,
  medianMs: 10,
  p99Ms: 12,
  samples: 50,
  flops,
  bytes,
  operations: flops || bytes / 4,
  dispatches: 3,
  pipelines: 2,
  firstMs: 40,
  peakGpuBytes: 2 ** 20,
  peakRssBytes: 2 ** 28,
});

describe('rates', () => {
  it('are a share of the arithmetic ceiling where arithmetic takes longer', () => {
    // 250 MFLOP in 10 ms are 25 GFLOP/s, half of the ceiling.
    const rates = ratesOf(row('matmul', 250e6, 1e6), ceilings);
    expect(rates).toMatchObject({ gflops: 25, bound: 'arithmetic', share: 0.5, intensity: 250 });
  });

  it('are a share of the copy ceiling where memory takes longer', () => {
    const rates = ratesOf(row('thin', 1e6, 20e6), ceilings);
    expect(rates).toMatchObject({ gigabytesPerSecond: 2, bound: 'memory', share: 0.2 });
  });

  it('leave out GFLOP/s of works without multiply-adds', () => {
    expect(ratesOf(row('add', 0, 12e6), ceilings).gflops).toBeUndefined();
  });
});

describe('the page', () => {
  const rows = [row('matmul', 250e6, 1e6), row('add <1M>', 0, 12e6)];
  const html = page('Benchmarks', ['A note.'], rows, ceilings);

  it('has a point per row that tells its name and share', () => {
    expect(html.match(/<circle/g)).toHaveLength(2);
    expect(html).toContain('1 matmul\n10.0 ms, 25.0 GFLOP/s');
    expect(html).toContain('50 % arithmetic ceiling');
  });

  it('loads nothing and escapes names', () => {
    expect(html).not.toMatch(/<script|<link|src=|@import/);
    expect(html).not.toContain('add <1M>');
  });

  it('has the rows of the Markdown table', () => {
    for (const { work } of rows) expect(tableOf(rows, ceilings)).toContain(`| ${work} |`);
  });
});

describe('the list of works', () => {
  it('puts every work into one suite', () => {
    expect([...suites.kernels, ...suites.models].sort()).toEqual(Object.keys(works).sort());
  });

  it('is chosen from by regular expressions', () => {
    expect(chosenNames(['conv-b1', 'conv-b8', 'add-1m'], 'B8$,add')).toEqual(['conv-b8', 'add-1m']);
    expect(() => chosenNames(['add-1m'], 'typo')).toThrow('--only typo: nothing matches among add-1m');
  });

  it('names what there is when a name is wrong', () => {
    expect(() => workNamed('conv')).toThrow(/there is no 'conv'; there is matmul-512, /);
  });

  it('holds every work that has a target', () => {
    for (const work of Object.keys(targets)) expect(works).toHaveProperty(work);
  });
});

describe('the comparison with peers', () => {
  const entry = (library: string, medianMs: number, agrees = true): Entry => ({
    library,
    version: '1.0',
    medianMs,
    fastestMs: medianMs,
    samples: 9,
    firstMs: 100,
    peakRssMiB: 500,
    check: [],
    agrees,
  });
  const compared = (...entries: Entry[]): PeerRow => ({
    work: 'matmul-512',
    environment: { date: '', adapter: '', node: '', cpu: '', LP_NUM_THREADS: '8', load: 0 },
    ceilings,
    entries,
  });

  it('takes the fastest peer whose numbers agree', () => {
    const table = targetTable([
      compared(entry('kindling', 10), entry('jax-js', 50), entry('tfjs', 20, false)),
    ]);
    expect(table).toContain('| matmul-512: best peer / kindling | at least 4.00x | 5.00x | yes |');
  });

  it('says where a target is missed', () => {
    expect(targetTable([compared(entry('kindling', 10), entry('tfjs', 20))])).toContain('| 2.00x | **no** |');
  });

  it('measures memory of the cold run against the smallest peer', () => {
    const cold = (
      library: string,
      peakRssMiB: number,
    ): { library: string; firstMs: number; peakRssMiB: number } => ({
      library,
      firstMs: 20_000,
      peakRssMiB,
    });
    const table = targetTable([
      {
        ...compared(entry('kindling', 10)),
        work: 'resnet18-train-step',
        cold: [cold('kindling', 400), cold('jax-js', 1000), cold('tfjs', 900), cold('PyTorch CPU', 300)],
      },
    ]);
    expect(table).toContain('first step, cold cache | at most 15.0 s | 20.0 s | **no** |');
    expect(table).toMatch(/cold run \| at least 2.00x \| 2.25x \| yes \|/);
  });

  it('keeps PyTorch out of the peers and shows its ratio', () => {
    const text = report([compared(entry('kindling', 10), entry('tfjs', 20), entry('PyTorch CPU', 4))]);
    expect(text).toContain('| **2.00x** | 2.50x |');
  });

  it('is run on works that every library knows', () => {
    for (const [name, work] of Object.entries(peerWorks)) expect(workNamed(name)).toBe(work);
  });
});

describe('the plot of peers', () => {
  const results = new URL('../../bench/results/peers-llvmpipe-llvm-15-0-6-256-bits', import.meta.url);
  const read = (ending: string): string => readFileSync(new URL(`${results.href}.${ending}`), 'utf8');
  const { rows } = JSON.parse(read('json')) as { rows: PeerRow[] };

  it('that is kept is of the results that are kept', () => {
    expect(peersPlot(rows)).toBe(read('svg'));
  });

  it('has a mark for every library whose numbers agree, and none for others', () => {
    const [first] = rows as [PeerRow];
    const [own, ...others] = first.entries;
    const entries = [own as Entry, ...others.map((entry, i) => ({ ...entry, agrees: i > 0 }))];
    const plot = peersPlot([{ ...first, entries }]);
    expect(plot.match(/<title>/g)).toHaveLength(entries.length - 1);
    expect(plot).toContain(`<title>matmul-512, ${others[1]?.library}: `);
    expect(plot).not.toContain(`<title>matmul-512, ${others[0]?.library}: `);
  });
});
