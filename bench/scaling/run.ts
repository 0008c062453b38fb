/** `npm run bench:scaling`: what training on several ranks costs, and what becomes of it when one is lost. */
import { parseArgs } from 'node:util';
import { Random } from '../../src/data/index.js';
import { Bundle } from '../process.js';
import { currentLoad, environment, readResults, setDriverDefaults, slugOf, writeResults } from '../report.js';
import { cutLink } from './cut.js';
import { Hosts, whyNoHosts, type LinkOptions } from './hosts.js';
import { KillCampaign } from './kill.js';
import { hasOpenMpi, resultsOf } from './launch.js';
import { allReduceMs, exposedMs, fitLink } from './model.js';
import type { StepsResult, SumsResult } from './rank.js';
import { markdownOf, type Data, type LinkRow, type ShapeRow, type SplitRow } from './tables.js';

const help = `Usage: npm run bench:scaling -- [options]

Needs Open MPI; \`network\` and \`cut\` also Linux, root and iproute2. Measures on an otherwise idle machine.

  --only PARTS    comma-separated: split, network, shapes (the default: figures, under five minutes), and
                  cut, kill (proofs, which others' load does not matter to: three minutes each)
  --seed N        of the moments of \`cut\` and \`kill\` (default 1)
  --moments N     of \`kill\` (default 10)
  --out FOLDER    write there instead of bench/results; parts of earlier runs stay in the files
  --no-save       write nothing`;

const { values } = parseArgs({
  allowNegative: true,
  options: {
    only: { type: 'string', default: 'split,network,shapes' },
    seed: { type: 'string', default: '1' },
    moments: { type: 'string', default: '10' },
    out: { type: 'string' },
    save: { type: 'boolean', default: true },
    help: { type: 'boolean', default: false },
  },
});

interface Work {
  readonly model: string;
  readonly batch: number;
  readonly size: number;
  readonly steps: number;
}

const nameOf = ({ model, batch, size }: Work): string => `${model} ${batch}x${size}`;
const resnet18: Work = { model: 'resnet18', batch: 8, size: 64, steps: 8 };
const splitWorks: readonly Work[] = [resnet18, { model: 'cifar_resnet20', batch: 8, size: 32, steps: 15 }];
/** Small images: only the order of the gradients in time is looked at. */
const shapeWorks: readonly Work[] = [
  resnet18,
  { model: 'resnet50', batch: 2, size: 128, steps: 2 },
  { model: 'vit_b_16', batch: 1, size: 224, steps: 1 },
];

const links: readonly (LinkOptions & { readonly name: string })[] = [
  { name: 'no limit' },
  { name: '10 Gbit/s', mbit: 10_000 },
  { name: '1 Gbit/s', mbit: 1000 },
  { name: '1 Gbit/s, 1 ms', mbit: 1000, delay: 1 },
];
const sizes = [4, 2 ** 16, 2 ** 18, 2 ** 20, 2 ** 22, 2 ** 24, 25 * 2 ** 20];

const argsOf = ({ model, batch, size, steps }: Work, how: 'ddp' | 'apart'): string[] => [
  ...['steps', model, String(batch), String(size), String(steps), how],
];

async function splits(program: string): Promise<SplitRow[]> {
  const rows: SplitRow[] = [];
  for (const work of splitWorks)
    for (const [ranks, how] of [
      [1, 'apart'],
      [2, 'apart'],
      [2, 'ddp'],
    ] as const) {
      console.error(`${nameOf(work)}, ${ranks} ${how}`);
      const results = await resultsOf<StepsResult>({ ranks, program, args: argsOf(work, how) });
      rows.push({ work: nameOf(work), ranks, how, results });
    }
  return rows;
}

async function sumsOn(program: string, hosts: Hosts): Promise<SumsResult['sums']> {
  const args = ['sums', sizes.join()];
  const [first] = await resultsOf<SumsResult>({ ranks: hosts.names.length, program, args, hosts });
  return (first as SumsResult).sums;
}

async function network(program: string, relay: string): Promise<{ links: LinkRow[]; four: Data['four'] }> {
  const rows: LinkRow[] = [];
  for (const { name, ...options } of links) {
    console.error(`two hosts, ${name}`);
    using hosts = await Hosts.open(2, options, relay);
    const sums = await sumsOn(program, hosts);
    const args = argsOf(resnet18, 'ddp');
    const results = await resultsOf<StepsResult>({ ranks: 2, program, args, hosts });
    const link = fitLink(sums);
    rows.push({ name, options, sums, link, results, ...predicted(rows[0], results, link) });
  }
  const { name, ...options } = links[2] as (typeof links)[number];
  console.error(`four hosts, ${name}`);
  using hosts = await Hosts.open(4, options, relay);
  const { link } = rows[2] as LinkRow;
  const measured = await sumsOn(program, hosts);
  return {
    links: rows,
    four: {
      name,
      sums: measured.map((sum) => ({ ...sum, predicted: allReduceMs(link, 4, sum.bytes) })),
    },
  };
}

const mean = (values: readonly number[]): number => values.reduce((sum, x) => sum + x, 0) / values.length;

/**
 * The step on a link: that without a limit, and what its all-reduces, by the fitted times, are longer after
 * the end of backward. The gradients come as they do without a limit.
 */
function predicted(
  free: LinkRow | undefined,
  results: readonly StepsResult[],
  link: LinkRow['link'],
): { predictedExposed: number; predictedWall: number } {
  const from = free?.results ?? results;
  const buckets = (from[0]?.buckets ?? []).map(({ bytes }, i) => ({
    bytes,
    ahead: mean(from.map((result) => result.buckets[i]?.ahead ?? NaN)),
  }));
  const predictedExposed = exposedMs(buckets, link, 2);
  const without = exposedMs(buckets, free?.link ?? link, 2);
  return { predictedExposed, predictedWall: mean(from.map(({ wall }) => wall)) + predictedExposed - without };
}

/** When in a step each bucket of gradients is complete. */
async function shapes(program: string): Promise<ShapeRow[]> {
  const rows: ShapeRow[] = [];
  for (const work of shapeWorks) {
    console.error(`${nameOf(work)}, the gradients' order in time`);
    const results = await resultsOf<StepsResult>({ ranks: 2, program, args: argsOf(work, 'ddp') });
    const [first] = results as [StepsResult];
    rows.push({
      model: work.model,
      taken: nameOf(work),
      gradientBytes: first.gradientBytes,
      shape: first.buckets.map(({ bytes }, i) => ({
        bytes,
        ahead: mean(results.map(({ buckets, compute }) => (buckets[i]?.ahead ?? NaN) / compute)),
      })),
    });
  }
  return rows;
}

async function cuts(program: string, relay: string, seed: number): Promise<Data['cuts']> {
  const random = new Random(seed);
  const results = [];
  for (const host of [0, 1]) {
    using hosts = await Hosts.open(2, { mbit: 1000 }, relay);
    const result = await cutLink(program, hosts, { host, wait: random.uniform(0, 4000), limit: 45_000 });
    console.error(JSON.stringify(result));
    results.push(result);
  }
  return results;
}

async function kills(program: string, seed: number, moments: number): Promise<Data['kills']> {
  const random = new Random(seed);
  const steps = 24;
  const results = [];
  for (const ranks of [2, 3]) {
    using campaign = new KillCampaign({ program, ranks, steps, every: 4, limit: 15_000 });
    const count = ranks === 2 ? Math.ceil(moments / 2) : Math.floor(moments / 2);
    for (let i = 0; i < count; i++) {
      const moment = {
        rank: random.integer(ranks),
        steps: random.integer(steps),
        wait: random.uniform(0, 150),
      };
      const result = { ranks, ...(await campaign.killAt(moment)) };
      console.error(JSON.stringify(result));
      results.push(result);
    }
  }
  return results;
}

async function main(): Promise<void> {
  if (values.help) return void console.log(help);
  const known = ['split', 'network', 'shapes', 'cut', 'kill'];
  const parts = values.only.split(',');
  const unknown = parts.filter((part) => !known.includes(part));
  if (unknown.length > 0) throw new Error(`--only: ${unknown.join()} is not among ${known.join(', ')}`);
  const [seed, moments] = [Number(values.seed), Number(values.moments)];
  if (!Number.isInteger(seed) || !Number.isInteger(moments) || moments < 1)
    throw new Error('--seed and --moments must be integers, --moments from 1 on');
  if (!hasOpenMpi) throw new Error('there is no mpirun of Open MPI: apt-get install openmpi-bin');
  const refused = parts.includes('network') || parts.includes('cut') ? whyNoHosts() : null;
  if (refused !== null)
    throw new Error(`network and cut need network namespaces (root, iproute2): ${refused}`);
  setDriverDefaults();
  const load = currentLoad();
  using rank = await Bundle.of('scaling/rank.ts');
  using relay = await Bundle.of('scaling/relay.ts');
  using resumable = await Bundle.of('scaling/resumable.ts');
  const adapter = await adapterName(rank.file);
  const name = `scaling-${slugOf(adapter)}`;
  const taken = environment(adapter, load);
  let data = (readResults(name, values.out) ?? {}) as Data;
  const add = (part: string, more: Partial<Data>): void => {
    data = { ...data, ...more, taken: { ...data.taken, [part]: taken } };
    // Each part as soon as it is there: the next may fail.
    if (values.save) writeResults(name, { data, markdown: markdownOf(data) }, values.out);
  };
  if (parts.includes('split')) add('split', { splits: await splits(rank.file) });
  if (parts.includes('network')) add('network', await network(rank.file, relay.file));
  if (parts.includes('shapes')) add('shapes', { shapes: await shapes(rank.file) });
  if (parts.includes('cut')) add('cut', { cuts: await cuts(rank.file, relay.file, seed) });
  if (parts.includes('kill')) add('kill', { kills: await kills(resumable.file, seed, moments) });
  console.log(markdownOf(data));
}

async function adapterName(program: string): Promise<string> {
  const args = ['steps', 'cifar_resnet8', '1', '32', '1', 'apart'];
  const [first] = await resultsOf<StepsResult>({ ranks: 1, program, args });
  return (first as StepsResult).adapter;
}

await main();
