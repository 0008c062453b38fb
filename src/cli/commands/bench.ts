import { runtime } from '../../index.js';
import { loadTuning, saveTuning, type TunedEntry } from '../../device/index.js';
import { TuningTable } from '../../kernels/tuning/table.js';
import type { Choices } from '../../kernels/base/kernel.js';
import type { TunedChoice } from '../../kernels/matmul/choice.js';
import { defineCommand } from '../command.js';
import { checkInterrupted, type Context } from '../context.js';
import { builderOf, neededModel } from '../load-model.js';
import * as read from '../option-readers.js';
import { flag, value, type Options } from '../option-rows.js';
import { byteSize, grouped, table } from '../output.js';
import { json, modelOperand, workload } from '../shared-options.js';
import { recordProblems, tune, type TuneResult, type TuneRow } from '../tune.js';
import { inputShape, workOf } from '../workload.js';

const benchOptions = {
  ...workload,
  tune: flag('measure other tiles for its layers and keep those that are faster on this adapter'),
  seconds: value('<n>', 'that --tune may search', read.positive, 60),
  json,
};

/**
 * Passes before the measured ones: the first compiles, the second leaves the pool as every later one finds
 * it.
 */
const warmup = 2;
/** Runs are timed until there are this many and they have taken this long, or there are more than enough. */
const least = { runs: 8, seconds: 1 };
const most = { runs: 50, seconds: 15 };
/** Seconds that the model is timed for with and without what was found. */
const comparison = 10;
/** Choices that make the model slower than this share of its time before are not kept. */
const notSlower = 1.02;

/**
 * `kindling bench`: the time of a model's forward pass or step of training; with `--tune` a search for better
 * tiles too.
 */
async function bench(context: Context, options: Options<typeof benchOptions>): Promise<void> {
  const { output } = context;
  const modelName = neededModel(options);
  const builder = builderOf(modelName, 'bench');
  await context.openDevice();
  const gpu = runtime();
  const given = gpu.target.tuning;
  try {
    if (options.tune) gpu.useTuning(undefined);
    const model = builder();
    const shape = inputShape(modelName, options);
    const mode = options.train === true ? 'train' : 'forward';
    const work = workOf(model, shape, options.train);
    for (let i = 0; i < warmup; i++) await timed(context, work);

    gpu.resetPeakMemory();
    gpu.resetOpCounts();
    await timed(context, work);
    const dispatches = [...gpu.opCounts().values()].reduce((sum, count) => sum + count, 0);
    const times = await manyTimes(context, work);
    const report = {
      model: modelName,
      input: shape,
      mode,
      adapter: gpu.info,
      tuned: tunedCount(gpu.target.tuning),
      runs: times.length,
      medianMs: quantile(times, 0.5),
      p90Ms: quantile(times, 0.9),
      imagesPerSecond: (1e3 * (shape[0] ?? 1)) / quantile(times, 0.5),
      dispatches,
      pipelines: gpu.pipelineCount(),
      peakBytes: gpu.memoryStats().peakBytes,
      rssBytes: process.memoryUsage.rss(),
    };
    const what = mode === 'train' ? 'a training step' : 'a forward pass';
    output.line(
      `${modelName}, ${what} of ${shape.join('x')}: median ${ms(report.medianMs)}, 90th percentile ${ms(report.p90Ms)} ` +
        `(${times.length} runs), ${report.imagesPerSecond.toFixed(1)} images/s`,
    );
    output.line(
      `${grouped(dispatches)} dispatches, ${report.pipelines} pipelines, ${byteSize(report.peakBytes)} of GPU memory at peak; ` +
        (gpu.info.description || gpu.info.device),
    );
    if (report.tuned > 0) output.line(`with ${report.tuned} measured choices of tiles`);
    if (!options.tune) {
      output.document(report);
      return;
    }
    const dryRun = workOf(model, shape, options.train);
    output.document({ ...report, tuning: await search(context, dryRun, work, options.seconds) });
  } finally {
    gpu.useTuning(given);
  }
}

const ms = (value: number): string => `${value.toFixed(value < 10 ? 2 : 1)} ms`;

const tunedCount = (tuning: Choices | undefined): number =>
  tuning instanceof TuningTable ? tuning.choices.size : 0;

/** Searches, keeps what it found, and times the model with and without. `dryRun` is never run in earnest. */
async function search(
  context: Context,
  dryRun: () => void,
  work: () => void,
  seconds: number,
): Promise<Record<string, unknown>> {
  const { output } = context;
  const gpu = runtime();
  const known = loadTuning(gpu);
  const problems = recordProblems(dryRun);
  output.line();
  output.line(
    `tuning ${problems.length} matrix products and convolutions for up to ${seconds} s; Ctrl-C keeps what is found`,
  );
  const bar = output.progress('tuning', problems.length);
  const result = await tune(problems, {
    seconds,
    signal: context.signal,
    known,
    onRow: ({ key }) => bar.advance(1, key),
  });
  bar.stop();
  const found = result.rows.filter(({ choice }) => choice !== null);
  for (const line of rowTable(result)) output.line(line);
  for (const line of summaryOf(result)) output.line(line);
  const worthKeeping = !sameChoices(known, result.choices);
  // At once, so that nothing that comes later can lose it.
  let file = worthKeeping ? keep(context, result.choices) : null;
  checkInterrupted(context);

  let compared: Awaited<ReturnType<typeof compare>> | null = null;
  if (found.length > 0) {
    compared = await compare(context, work, new TuningTable(result.choices));
    const { beforeMs, afterMs, ratio } = compared;
    output.line();
    output.line(`the model: ${ms(beforeMs)} before, ${ms(afterMs)} after (${(1 / ratio).toFixed(3)}x)`);
    if (ratio > notSlower && file !== null) {
      output.line('together the choices are slower than the defaults: not kept');
      keep(context, known);
      file = null;
    }
  }
  if (file !== null)
    output.line(`kept in ${file}; init({ tuned: true }) or KINDLING_TUNED=1 makes use of them`);
  const { rows, ended, left, small } = result;
  return { seconds: result.seconds, ended, problems: problems.length, left, small, rows, ...compared, file };
}

function keep({ output }: Context, choices: ReadonlyMap<string, TunedEntry>): string | null {
  try {
    return saveTuning(runtime(), choices);
  } catch (error) {
    output.warn(error instanceof Error ? error.message : String(error));
    return null;
  }
}

const sameChoices = (a: ReadonlyMap<string, TunedEntry>, b: ReadonlyMap<string, TunedEntry>): boolean =>
  a.size === b.size && [...b].every(([key, entry]) => a.get(key) === entry);

/**
 * Runs in turns, so that both have the same share of whatever else the machine does; `ratio` is the median of
 * after / before.
 */
async function compare(
  context: Context,
  work: () => void,
  tuning: Choices,
): Promise<{ beforeMs: number; afterMs: number; ratio: number }> {
  const turn = (used: Choices | undefined): Promise<number> => {
    runtime().useTuning(used);
    return timed(context, work);
  };
  const [before, after, ratios]: [number[], number[], number[]] = [[], [], []];
  for (let i = 0; i < warmup; i++) for (const used of [undefined, tuning]) await turn(used);
  const start = performance.now();
  while (before.length < least.runs || performance.now() - start < 1e3 * comparison) {
    // Who goes first alternates: the second of a pair finds warmer caches.
    const first = before.length % 2 === 0;
    const [a, b] = first
      ? [await turn(undefined), await turn(tuning)]
      : [await turn(tuning), await turn(undefined)].reverse();
    before.push(a as number);
    after.push(b as number);
    ratios.push((b as number) / (a as number));
  }
  return { beforeMs: quantile(before, 0.5), afterMs: quantile(after, 0.5), ratio: quantile(ratios, 0.5) };
}

function rowTable({ rows }: TuneResult): string[] {
  if (rows.length === 0) return [];
  const cells = rows.map((row) => [
    row.key,
    grouped(row.calls),
    row.defaultMs.toFixed(3),
    row.ms.toFixed(3),
    row.choice === null ? '' : `${(row.defaultMs / row.ms).toFixed(2)}x`,
    choiceText(row),
  ]);
  return table([['shape', 'calls', 'default ms', 'best ms', 'gain', 'choice'], ...cells], [1, 2, 3, 4]);
}

function choiceText({ choice, tried, failed }: TuneRow): string {
  const refused = failed > 0 ? `, ${failed} refused` : '';
  return choice === null ? `default (${tried} tried${refused})` : describe(choice);
}

function describe({ tile, algorithm }: TunedChoice): string {
  const size = tile && `${tile.style} ${tile.rows}x${tile.cols}`;
  const shape = tile && tile.style === 'register' ? ` by ${tile.lanes}x${tile.lanesY}` : '';
  return [algorithm, size && size + shape].filter(Boolean).join(', ');
}

function summaryOf({ rows, seconds, left, small, ended }: TuneResult): string[] {
  const better = rows.filter(({ choice }) => choice !== null).length;
  const rest = [left > 0 && `${left} not reached`, small > 0 && `${small} too small to matter`].filter(
    Boolean,
  );
  const end = { done: '', time: '; time is up', interrupted: '; interrupted' }[ended];
  return [
    `${better} of ${rows.length} measured beat the default, in ${seconds.toFixed(1)} s` +
      `${rest.length > 0 ? `; ${rest.join(', ')}` : ''}${end}`,
  ];
}

async function timed(context: Context, work: () => void): Promise<number> {
  checkInterrupted(context);
  const start = performance.now();
  work();
  await runtime().synchronize();
  return performance.now() - start;
}

async function manyTimes(context: Context, work: () => void): Promise<number[]> {
  const times: number[] = [];
  const start = performance.now();
  for (;;) {
    times.push(await timed(context, work));
    const seconds = (performance.now() - start) / 1e3;
    const enough = times.length >= least.runs && seconds >= least.seconds;
    if (enough || times.length >= most.runs || (times.length >= 3 && seconds >= most.seconds)) return times;
  }
}

/** With linear interpolation, as NumPy's. */
function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const at = q * (sorted.length - 1);
  const low = sorted[Math.floor(at)] ?? NaN;
  const high = sorted[Math.ceil(at)] ?? NaN;
  return low + (high - low) * (at - Math.floor(at));
}

export const benchCommand = defineCommand({
  name: 'bench',
  help: "time a model's forward pass or step of training; --tune looks for faster tiles",
  operands: [modelOperand],
  options: benchOptions,
  examples: [
    ['kindling bench resnet18'],
    ['kindling bench resnet18 --batch-size 8 --train', 'a step of training'],
    ['kindling bench resnet50 --tune --seconds 120', 'looks for faster tiles'],
  ],
  run: ({ context, options }) => bench(context, options),
});
