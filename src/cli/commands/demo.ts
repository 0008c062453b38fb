import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { manualSeed, runtime } from '../../index.js';
import { ShapesDataset } from '../../data/index.js';
import { loadCheckpoint, type HostTensor } from '../../formats/index.js';
import { hostStateDict, replaceHead, type Head } from '../../models/index.js';
import type { TensorModule } from '../../nn/index.js';
import type { Optimizer } from '../../optim/index.js';
import { Trainer } from '../../train/index.js';
import type { Schedule } from '../../train/schedule.js';
import { SampleLoader } from '../batches.js';
import type { LabelledImages } from '../classes.js';
import { defineCommand } from '../command.js';
import { checkInterrupted, type Context } from '../context.js';
import { CliError } from '../errors.js';
import { trunkFeatures } from '../features.js';
import { fit, type FitResult } from '../training-loop.js';
import { builderOf, modelFromFile } from '../load-model.js';
import { cardInput, readCard, type CardInput } from '../model-card.js';
import * as read from '../option-readers.js';
import { value, type Options } from '../option-rows.js';
import { makeOptimizer } from '../optimizers.js';
import { grouped, percent } from '../output.js';
import { json } from '../shared-options.js';
import { makeSchedule } from '../schedules.js';
import { evaluate } from '../training.js';
import { packageVersion } from '../versions.js';

const demoOptions = {
  perClass: value('<n>', 'pictures of each class to learn from', read.positiveInteger, 20),
  epochs: value('<n>', 'passes over them', read.positiveInteger, 15),
  seed: value('<n>', 'of the pictures and the new weights', read.seedNumber, 1),
  json,
};

/** Made by `npm run pretrain`. */
const weights = fileURLToPath(new URL('../../../weights/shapes-cifar_resnet8.safetensors', import.meta.url));
const testPerClass = 60;
/** Far from the training images' seeds. */
const testSeed = 2_000_000;
const batchSize = 20;

/**
 * `kindling demo`: transfer learning in miniature, with nothing from outside. A small network knows ten
 * shapes; with its trunk frozen it learns five others from a few pictures each, and a fresh network tries the
 * same.
 */
async function demo(context: Context, options: Options<typeof demoOptions>): Promise<void> {
  const { output } = context;
  const { perClass, epochs, seed } = options;
  const started = performance.now();
  const since = (from: number): number => (performance.now() - from) / 1000;
  if (!existsSync(weights))
    throw new CliError(`${weights}: the demo's weight file is missing; make it with npm run pretrain`);
  const checkpoint = await loadCheckpoint(weights);
  const card = readCard(checkpoint);
  const modelName = card.model ?? '';
  const input = card.input ?? cardInput(builderOf(modelName).input);

  await context.openDevice();
  const { info, target } = runtime();
  output.line(
    `kindling ${packageVersion()} on ${info.description || info.device}${target.kind === 'software' ? ' (no GPU)' : ''}`,
  );
  output.line();
  manualSeed(seed);
  const model = await modelFromFile(modelName, checkpoint);
  const train = novelShapes(perClass, seed, input);
  const test = novelShapes(testPerClass, testSeed, input);
  const steps = {
    epochs,
    seed,
    lineEvery: Math.max(1, Math.ceil(epochs / 5)),
    indent: '   ',
  };

  output.line(
    `${modelName}, ${grouped(parameterCount(model))} parameters, was trained by kindling on pictures of ${(card.classes ?? []).join(', ')}.`,
  );
  output.line(`It has never seen these: ${train.classes.join(', ')}.`);
  output.line(
    `It gets ${perClass} pictures of each to learn from; ${test.dataset.length} others are the test.`,
  );
  output.line();

  const transferStarted = performance.now();
  const trained = await hostStateDict(model);
  const head = replaceHead(model, train.classes.length);
  const transfer = await trainHead(context, model, head, train, test, steps);
  const transferSeconds = since(transferStarted);
  const unchanged = await sameTrunk(trained, await hostStateDict(model), head.path);
  if (!unchanged) throw new CliError('demo: the frozen trunk has changed, which must not happen');
  output.line(
    `   accuracy ${percent(transfer.before, 1)} before, ${percent(transfer.after, 1)} after, in ${transferSeconds.toFixed(1)} s;`,
  );
  output.line('   the frozen layers have the bytes that they had.');
  output.line();

  checkInterrupted(context);
  const scratchStarted = performance.now();
  output.line('2. The same from scratch, for comparison: random weights, all layers trained.');
  const scratch = await trainAll(context, modelName, train, test, steps);
  const scratchSeconds = since(scratchStarted);
  output.line(`   accuracy ${percent(scratch, 1)}, in ${scratchSeconds.toFixed(1)} s`);
  output.line();
  output.line(
    `What the network had learnt about other shapes was worth ${percent(transfer.after, 1)} against ${percent(scratch, 1)}. ` +
      `${since(started).toFixed(0)} s in all.`,
  );
  output.line(
    'Next, your own pictures: kindling finetune FOLDER --model resnet18 --weights FILE (kindling finetune --help)',
  );
  output.document({
    model: modelName,
    classes: train.classes,
    trainImages: train.dataset.length,
    testImages: test.dataset.length,
    epochs,
    transfer: {
      accuracyBefore: transfer.before,
      accuracyAfter: transfer.after,
      seconds: transferSeconds,
      trunkUnchanged: unchanged,
    },
    scratch: { accuracy: scratch, seconds: scratchSeconds },
    seconds: since(started),
  });
}

interface Steps {
  readonly epochs: number;
  readonly seed: number;
  readonly lineEvery: number;
  readonly indent: string;
}

async function trainHead(
  context: Context,
  model: TensorModule,
  head: Head,
  train: LabelledImages,
  test: LabelledImages,
  steps: Steps,
): Promise<{ before: number; after: number }> {
  const { output } = context;
  model.requiresGrad_(false);
  head.layer.requiresGrad_(true);
  model.eval();
  const layer = head.layer as TensorModule;
  output.line(
    `1. A new last layer for ${train.classes.length} classes, the rest frozen: ${grouped(parameterCount(layer))} parameters to train.`,
  );
  const run = async (images: LabelledImages): Promise<Awaited<ReturnType<typeof trunkFeatures>>> =>
    trunkFeatures(context, model, head, images, { batchSize, label: '   frozen layers' });
  const [features, testFeatures] = [await run(train), await run(test)];
  if (features === null || testFeatures === null)
    throw new CliError('demo: the model does not end in its head');
  const untrained = await evaluate(context, layer, testFeatures, { batchSize });
  const optimizer = makeOptimizer(head.layer.parameters(), { optimizer: 'adamw', lr: 0.02 });
  const trainer = new Trainer({ model: layer, optimizer, scheduler: cosine(optimizer, steps.epochs) });
  const result = await fit(context, trainer, {
    ...steps,
    train: new SampleLoader(features, { batchSize, seed: steps.seed }),
    validation: new SampleLoader(testFeatures, { batchSize }),
  });
  checkInterrupted(context);
  return { before: untrained.correct / untrained.count, after: finalAccuracy(result) };
}

async function trainAll(
  context: Context,
  modelName: string,
  train: LabelledImages,
  test: LabelledImages,
  steps: Steps,
): Promise<number> {
  const model = builderOf(modelName)({ numClasses: train.classes.length });
  const optimizer = makeOptimizer(model.parameters(), { optimizer: 'adamw', lr: 0.005 });
  const trainer = new Trainer({ model, optimizer, scheduler: cosine(optimizer, steps.epochs) });
  await fit(context, trainer, {
    ...steps,
    train: new SampleLoader(train, { batchSize, seed: steps.seed }),
    validation: null,
  });
  checkInterrupted(context);
  model.eval();
  const { correct, count } = await evaluate(context, model, test, {
    batchSize,
    label: '   test',
  });
  return correct / count;
}

const cosine = (optimizer: Optimizer, epochs: number): Schedule | null =>
  makeSchedule(optimizer, { schedule: 'cosine', stepSize: 1, gamma: 1 }, { epochs, batches: 1 });

function finalAccuracy({ epochs }: FitResult): number {
  return epochs.at(-1)?.validationAccuracy ?? 0;
}

function novelShapes(perClass: number, seed: number, { mean, std }: CardInput): LabelledImages {
  const shapes = new ShapesDataset({ classes: 'novel', perClass, seed, normalize: { mean, std } });
  const labels = Int32Array.from({ length: shapes.length }, (_, i) => shapes.label(i));
  return {
    name: 'new shapes',
    dataset: shapes,
    classes: shapes.classes,
    labels,
    describe: (index) => `picture ${index}`,
    picture: (index) => Promise.resolve(shapes.image(index)),
  };
}

function parameterCount(model: TensorModule): number {
  return model.parameters().reduce((count, parameter) => count + parameter.numel(), 0);
}

/** Whether all but the head has the same bytes in two state dicts, running statistics included. */
async function sameTrunk(
  one: ReadonlyMap<string, HostTensor>,
  other: ReadonlyMap<string, HostTensor>,
  headPath: string,
): Promise<boolean> {
  for (const [key, tensor] of one) {
    if (key.startsWith(`${headPath}.`)) continue;
    const bytes = await other.get(key)?.bytes();
    if (bytes === undefined || Buffer.compare(await tensor.bytes(), bytes) !== 0) return false;
  }
  return true;
}

export const demoCommand = defineCommand({
  name: 'demo',
  help: 'learn new classes from a few pictures, in under a minute and without any file',
  options: demoOptions,
  examples: [['kindling demo'], ['kindling demo --per-class 5 --epochs 30']],
  run: ({ context, options }) => demo(context, options),
});
