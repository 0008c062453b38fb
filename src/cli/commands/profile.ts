import { profile, runtime } from '../../index.js';
import { writeFileAtomically } from '../../formats/index.js';
import { layerLabel, type LayerRow, type Profile } from '../../nn/tools/profiler.js';
import { defineCommand } from '../command.js';
import { checkInterrupted, type Context } from '../context.js';
import { checkReplaceable } from '../files.js';
import { builderOf, modelFromFile, neededModel } from '../load-model.js';
import * as read from '../option-readers.js';
import { formerly, text, value, type Options } from '../option-rows.js';
import { byteSize, grouped, table } from '../output.js';
import { json, modelOperand, weights, workload } from '../shared-options.js';
import { openNamedWeights } from '../weights-file.js';
import { inputShape, workOf } from '../workload.js';

const profileOptions = {
  ...workload,
  weights: { ...weights, help: `${weights.help}; default: fresh ones` },
  rows: formerly(value('<n>', 'kernels and layers to show', read.positiveInteger, 10), '--top', '--top-k'),
  trace: text('<file>', 'write a trace for chrome://tracing or ui.perfetto.dev'),
  out: text('<file>', 'write the JSON document to a file, beside the text'),
  json,
};

/**
 * Passes before the measured one: the first compiles, the second leaves the pool as every later one finds it.
 */
const warmup = 2;

/**
 * `kindling profile`: where a model's GPU time goes, by kernel and by layer, in a forward pass or a step of
 * training on random images.
 */
async function profileModel(context: Context, options: Options<typeof profileOptions>): Promise<void> {
  const { output } = context;
  const known = options.weights === undefined ? neededModel(options) : options.model;
  if (known !== undefined) builderOf(known, 'profile');
  const files = [options.trace, options.out].filter((path) => path !== undefined);
  for (const path of files) await checkReplaceable(path);
  const opened =
    options.weights === undefined ? null : await openNamedWeights(context, known, options.weights);
  const modelName = neededModel({ model: known ?? opened?.card.model });
  const builder = builderOf(modelName, 'profile');
  await context.openDevice();
  const model =
    opened === null
      ? builder()
      : await modelFromFile(modelName, opened.checkpoint, { options: opened.card.options });
  const shape = inputShape(modelName, options);
  const work = workOf(model, shape, options.train);
  for (let i = 0; i < warmup; i++) {
    checkInterrupted(context);
    work();
    await runtime().synchronize();
  }
  runtime().resetPeakMemory();
  const plain = await seconds(async () => {
    work();
    await runtime().synchronize();
  });
  const { peakBytes } = runtime().memoryStats();
  const measured = await profile(work);
  const report = {
    model: modelName,
    weights: options.weights ?? null,
    input: shape,
    mode: options.train === true ? 'train' : 'forward',
    adapter: runtime().info,
    timing: measured.rows[0]?.source ?? 'timestamp',
    wallMs: 1e3 * plain,
    profiledWallMs: measured.wallMs,
    gpuMs: measured.gpuMs,
    dispatches: measured.dispatches.length,
    peakBytes,
    ops: measured.rows.map(({ name, calls, ms }) => ({ name, calls, ms })),
    layers: layersOf(measured),
  };
  if (options.trace !== undefined) await write(options.trace, measured.exportChromeTrace());
  if (options.out !== undefined) await write(options.out, `${JSON.stringify(report, null, 2)}\n`);

  const what = report.mode === 'train' ? 'a training step' : 'a forward pass';
  output.line(`${modelName}, ${what} of ${shape.join('x')}: ${report.wallMs.toFixed(1)} ms`);
  output.line(
    `GPU ${report.gpuMs.toFixed(1)} ms in ${grouped(report.dispatches)} dispatches; peak ${byteSize(peakBytes)}` +
      (report.timing === 'wallclock' ? '; timed by the host, as the adapter has no timestamps' : ''),
  );
  output.line();
  for (const line of opTable(report, options.rows)) output.line(line);
  output.line();
  for (const line of layerTable(report, options.rows)) output.line(line);
  for (const path of files) {
    output.line();
    output.line(`written: ${path}`);
  }
  output.document(report);
}

type Report = {
  readonly gpuMs: number;
  readonly mode: string;
  readonly ops: readonly { readonly name: string; readonly calls: number; readonly ms: number }[];
  readonly layers: readonly LayerRow[];
};

const ms = (value: number): string => value.toFixed(2);
const share = (value: number, { gpuMs }: Report): string => `${((100 * value) / (gpuMs || 1)).toFixed(1)} %`;

function opTable(report: Report, top: number): string[] {
  const rows = report.ops
    .slice(0, top)
    .map((op) => [op.name, grouped(op.calls), ms(op.ms), share(op.ms, report)]);
  return [
    ...table([['kernel', 'calls', 'ms', 'share'], ...rows], [1, 2, 3]),
    ...more(report.ops.length - top, 'kernels'),
  ];
}

function layerTable(report: Report, top: number): string[] {
  const train = report.mode === 'train';
  const head = ['layer', 'calls', ...(train ? ['forward ms', 'backward ms'] : []), 'ms', 'share'];
  const rows = report.layers
    .slice(0, top)
    .map((row) => [
      layerLabel(row),
      grouped(row.calls),
      ...(train ? [ms(row.forwardMs), ms(row.backwardMs)] : []),
      ms(row.ms),
      share(row.ms, report),
    ]);
  return [...table([head, ...rows], [1, 2, 3, 4, 5]), ...more(report.layers.length - top, 'layers')];
}

const more = (count: number, what: string): string[] =>
  count > 0 ? [`and ${grouped(count)} more ${what} (--rows shows more, --json all)`] : [];

/** Paths as in the model's state dict: without the model's own class in front. */
function layersOf(measured: Profile): LayerRow[] {
  const root = measured.spans.find(({ kind, path }) => kind === 'module' && !path.includes('.'))?.path ?? '';
  return measured.layers().map((row) => ({
    ...row,
    path: row.path.startsWith(`${root}.`) ? row.path.slice(root.length + 1) : row.path,
  }));
}

async function seconds(fn: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await fn();
  return (performance.now() - start) / 1e3;
}

async function write(path: string, text: string): Promise<void> {
  await writeFileAtomically(path, [new TextEncoder().encode(text)]);
}

export const profileCommand = defineCommand({
  name: 'profile',
  help: "measure where a model's GPU time goes, by kernel and by layer",
  operands: [modelOperand],
  options: profileOptions,
  examples: [
    ['kindling profile resnet18'],
    ['kindling profile resnet50 --train --batch-size 8 --trace trace.json', 'for ui.perfetto.dev'],
    ['kindling profile --weights run --out profile.json', 'the model of a run'],
  ],
  // `--json FILE`, which was the file to write.
  modern: (args) =>
    args.map((word, i) =>
      word === '--json' && /^[^-].*[./\\]/.test(args[i + 1] ?? '')
        ? '--out'
        : word.replace(/^--json=/, '--out='),
    ),
  run: ({ context, options }) => profileModel(context, options),
});
