/**
 * What there is to measure in the first ten minutes on a GPU, in one file that needs only Node and Dawn
 * (docs/hardware.md says how to pack it):
 *
 *     node card.mjs [--software] [--only PATTERN] [--seconds 400] [--out FILE]
 *
 * The adapter; small products and convolutions with each tile against float64; ceilings; every work of
 * works.ts, products and convolutions with each tile too, in turns; a training step with the time that the GPU
 * idles. Progress goes to standard error, the results as JSON to FILE or to standard output, also those of a run
 * that fails or runs out of time half way.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import * as k from '../../src/index.js';
import { candidateTiles } from '../../src/kernels/tuning/table.js';
import { prepare } from '../cases.js';
import { copy, measureCeilings } from '../ceilings.js';
import { median } from '../report.js';
import { forced, tileErrors, tileName } from './tile-errors.js';
import { hardwareWorks, type HardwareWork } from './works.js';

const { values } = parseArgs({
  options: {
    software: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    seconds: { type: 'string', default: '400' },
    out: { type: 'string' },
  },
});

const start = performance.now();
const secondsLeft = (): number => Number(values.seconds) - (performance.now() - start) / 1000;
const results: Record<string, unknown> = {};
const say = (text: string): void =>
  console.error(`${((performance.now() - start) / 1000).toFixed(1)} s: ${text}`);

const samples = 7;
/** Long against the cost of a submit and a wait. */
const sampleMs = 25;

/** The adapter's way for a work, or one that is forced. */
interface Variant {
  readonly name: string;
  readonly tuning: ReturnType<typeof forced> | undefined;
}

/** Milliseconds of one run of `work` in each variant: medians of samples that are taken in turns. */
async function timed(
  work: HardwareWork,
  variants: readonly Variant[],
): Promise<Record<string, number | string>> {
  const rt = k.runtime();
  const { run, before } = work.prepare();
  const once = (variant: Variant): void => {
    rt.useTuning(variant.tuning);
    try {
      k.tidy(() => void run());
    } finally {
      rt.useTuning(undefined);
    }
  };
  const sample = async (variant: Variant, count: number): Promise<number> => {
    const from = performance.now();
    for (let i = 0; i < count; i++) once(variant);
    await k.synchronize();
    return performance.now() - from;
  };
  before?.();
  const counts = new Map<Variant, number>();
  const result: Record<string, number | string> = {};
  for (const variant of variants) {
    try {
      await sample(variant, 1);
      let count = 1;
      for (
        let ms = await sample(variant, 1);
        ms < sampleMs && count < 1 << 16;
        ms = await sample(variant, count)
      )
        count *= 2;
      counts.set(variant, count);
    } catch (error) {
      result[variant.name] = (error as Error).message;
    }
  }
  const times = new Map([...counts.keys()].map((variant) => [variant, [] as number[]]));
  for (let i = 0; i < samples; i++) {
    // In either order, so that none always comes after the same.
    const order = i % 2 === 0 ? [...counts] : [...counts].reverse();
    for (const [variant, count] of order) times.get(variant)!.push((await sample(variant, count)) / count);
  }
  for (const [variant, list] of times) result[variant.name] = median(list);
  return result;
}

/** Wall time of a ResNet-18 training step beside what its kernels take. */
async function trainingStep(): Promise<object> {
  const { run } = await prepare({ op: 'train', network: 'resnet18', input: [8, 3, 64, 64] });
  for (let i = 0; i < 3; i++) await run();
  const walls: number[] = [];
  for (let i = 0; i < 10; i++) {
    const from = performance.now();
    await run();
    walls.push(performance.now() - from);
  }
  const { rows, dispatches } = await k.runtime().profile(run);
  return {
    wallMs: median(walls),
    dispatches: dispatches.length,
    gpuMs: rows.reduce((sum, { ms }) => sum + ms, 0),
    source: rows[0]?.source,
    kernels: rows,
  };
}

/** Microseconds per dispatch that does nothing. */
async function emptyDispatch(): Promise<number> {
  const rt = k.runtime();
  const out = rt.alloc(16, 'probe');
  const kernel = {
    name: 'probeEmpty',
    bindings: ['write' as const],
    params: [],
    wgsl: `@group(0) @binding(0) var<storage, read_write> out: array<u32>;
@compute @workgroup_size(1)
fn main() { out[0] = 1u; }`,
  };
  const timesUs: number[] = [];
  for (let i = 0; i < samples + 1; i++) {
    const from = performance.now();
    for (let j = 0; j < 1000; j++) rt.dispatch(kernel, [out], [], [1, 1, 1]);
    await k.synchronize();
    timesUs.push(performance.now() - from);
  }
  rt.free(out);
  return median(timesUs.slice(1));
}

async function measure(): Promise<void> {
  await k.init();
  const rt = k.runtime();
  const { info, features, limits, target } = rt;
  results['adapter'] = { info, features, limits, target };
  say(`${info.vendor} ${info.architecture} ${info.device} ${info.description}`);
  if (target.kind === 'software' && !values.software)
    throw new Error('this is a software adapter; --software measures it all the same');

  const tiles = candidateTiles(target);
  results['tileErrors'] = await tileErrors(tiles);
  say(`${tiles.length} tiles against float64: ${JSON.stringify(results['tileErrors'])}`);

  results['emptyDispatchUs'] = await emptyDispatch();
  // The cache of a card may hold 64 MiB.
  const hugeCopy = rt.maxBinding >= 1 << 30 ? { hugeCopyGigabytesPerSecond: await copy(1 << 30) } : {};
  results['ceilings'] = { ...(await measureCeilings()), ...hugeCopy };
  say(
    `ceilings: ${JSON.stringify(results['ceilings'])}, a dispatch ${String(results['emptyDispatchUs'])} us`,
  );

  results['trainingStep'] = await trainingStep();
  const { kernels: _, ...step } = results['trainingStep'] as { kernels: unknown };
  say(`ResNet-18 training step, 8x3x64x64: ${JSON.stringify(step)}`);

  const times: Record<string, object> = {};
  results['works'] = times;
  for (const [name, work] of Object.entries(hardwareWorks)) {
    if (!new RegExp(values.only).test(name)) continue;
    if (secondsLeft() < 5) {
      say(`no time for ${name}`);
      times[name] = { skipped: 'out of time' };
      continue;
    }
    const { leastBytes, flops } = work;
    const variants: Variant[] = [{ name: 'default', tuning: undefined }];
    // The largest product is left to its own tile: slow tiles would take most of the time there is.
    if (flops !== undefined && flops < 1e11)
      for (const tile of tiles) variants.push({ name: tileName(tile), tuning: forced(tile) });
    const ms = await timed(work, variants);
    const own = Number(ms['default']);
    times[name] = {
      ms,
      gigabytesPerSecond: leastBytes / own / 1e6,
      ...(flops !== undefined && { gflops: flops / own / 1e6 }),
    };
    say(`${name}: ${JSON.stringify(times[name])}`);
  }
}

try {
  await measure();
} catch (error) {
  results['error'] = (error as Error).stack;
  say(`failed: ${String(results['error'])}`);
  process.exitCode = 1;
} finally {
  k.close();
  const text = `${JSON.stringify(results, null, 1)}\n`;
  if (values.out === undefined) process.stdout.write(text);
  else writeFileSync(values.out, text);
}
