import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { init, manualSeed } from '../../index.js';
import { loadCheckpoint } from '../../formats/index.js';
import { findHead, replaceHead, saveWeights, type Head } from '../../models/index.js';
import type { TensorModule } from '../../nn/index.js';
import { applyClassMap, firstImages, shortList, type LabelledImages } from '../classes.js';
import type { Context } from '../context.js';
import { CliError, Interrupted, UsageError } from '../errors.js';
import { trunkFeatures } from '../features.js';
import { checkWritable } from '../files.js';
import { fit, makeOptimizer, type FitResult, type OptimizerChoice, type ScheduleChoice } from '../fit.js';
import { openImages } from '../images.js';
import {
  builderOf,
  cardMetadata,
  modelWithWeights,
  readCard,
  type InputRecipe,
  type ModelCard,
} from '../model.js';
import { grouped, percent } from '../output.js';
import type { Labelled } from '../training.js';
import { classMapOf, inputRecipe } from './eval.js';

export interface FinetuneOptions extends OptimizerChoice, ScheduleChoice {
  readonly model?: string;
  readonly weights?: string;
  readonly val?: string;
  readonly classes?: string;
  readonly map?: string;
  readonly head: 'new' | 'keep';
  readonly freeze?: 'trunk' | 'none';
  readonly trunkMode?: 'eval' | 'train';
  readonly epochs: number;
  readonly batchSize: number;
  readonly seed: number;
  readonly augment?: boolean;
  readonly featureCache: boolean;
  readonly mean?: readonly number[];
  readonly std?: readonly number[];
  readonly limit?: number;
  readonly out?: string;
}

/** `kindling finetune`: a new head on a trained model, or the training of a whole model. */
export async function finetune(context: Context, dataPath: string, options: FinetuneOptions): Promise<void> {
  const { output } = context;
  const started = performance.now();
  const map = classMapOf(options);
  const { out } = options;
  if (out !== undefined) {
    if (!out.endsWith('.safetensors')) throw new UsageError(`--out: '${out}' must end in .safetensors`);
    await checkWritable(out);
  }
  const checkpoint = options.weights === undefined ? null : await loadCheckpoint(options.weights);
  const card = checkpoint === null ? {} : readCard(checkpoint);
  const modelName = options.model ?? card.model;
  if (modelName === undefined) throw new UsageError('--model is missing');
  const build = builderOf(modelName);
  const input = inputRecipe(modelName, options, card);

  const { trainPath, validationPath } = splitPaths(dataPath, options.val);
  const open = async (path: string, augment: boolean): Promise<LabelledImages> => {
    const images = await openImages(path, input, { augment });
    return map === null ? images : applyClassMap(images, map);
  };
  const allTrain = await open(trainPath, options.augment ?? false);
  const train = options.limit === undefined ? allTrain : firstImages(allTrain, options.limit);
  const validation = validationPath === null ? null : await open(validationPath, false);
  if (validation !== null && validation.classes.join('\n') !== train.classes.join('\n')) {
    throw new CliError(
      `${validation.name}: has other classes (${shortList(validation.classes)}) than ${train.name} (${shortList(train.classes)})`,
    );
  }

  await init();
  manualSeed(options.seed);
  const classCount = train.classes.length;
  const model =
    checkpoint === null ? build({ numClasses: classCount }) : await modelWithWeights(modelName, checkpoint);
  const freezeTrunk = (options.freeze ?? (checkpoint === null ? 'none' : 'trunk')) === 'trunk';
  const trunkMode = options.trunkMode ?? (freezeTrunk ? 'eval' : 'train');
  model.requiresGrad_(!freezeTrunk);
  const head = chooseHead(model, classCount, checkpoint !== null && options.head === 'new');
  head.layer.requiresGrad_(true);
  const trainable = model.parameters().filter((parameter) => parameter.requiresGrad);
  const count = (tensors: readonly { numel(): number }[]): number =>
    tensors.reduce((n, t) => n + t.numel(), 0);

  output.line(`${modelName}${checkpoint === null ? ', from scratch' : ` with ${checkpoint.name}`}`);
  output.line(`classes ${shortList(train.classes)}`);
  output.line(
    `images ${grouped(train.dataset.length)} of ${train.name}` +
      (validation === null ? '' : `, validation ${grouped(validation.dataset.length)} of ${validation.name}`),
  );
  output.line(`training ${grouped(count(trainable))} of ${grouped(count(model.parameters()))} parameters`);
  if (freezeTrunk && checkpoint === null)
    output.warn('--freeze trunk without --weights: the frozen layers are random');

  const cached =
    freezeTrunk && trunkMode === 'eval' && !options.augment && options.featureCache
      ? await cacheFeatures(context, model, head, train, validation, Math.max(options.batchSize, 64))
      : null;
  if (cached !== null) output.line('the frozen layers have run once; their output is reused in every epoch');
  const data = cached ?? {
    train: train.dataset,
    validation: validation === null ? undefined : { data: validation.dataset, labels: validation.labels },
  };
  const result = await fit(context, {
    ...options,
    ...data,
    model: cached === null ? model : (head.layer as TensorModule),
    trainMode: () => {
      model.train(trunkMode === 'train');
      head.layer.train();
    },
    optimizer: makeOptimizer(trainable, options),
  });

  if (out !== undefined) await save(out, model, { modelName, train, map, input, result, options });
  summary(context, { modelName, dataPath, train, trainable: count(trainable), started, result, options });
  if (result.interrupted) throw new Interrupted();
}

/** A folder with `train` and `val` in it is both at once. */
function splitPaths(
  path: string,
  val: string | undefined,
): { trainPath: string; validationPath: string | null } {
  const isFolder = (name: string): boolean => existsSync(name) && statSync(name).isDirectory();
  const [train, validation] = [join(path, 'train'), join(path, 'val')];
  if (val === undefined && isFolder(train) && isFolder(validation))
    return { trainPath: train, validationPath: validation };
  return { trainPath: path, validationPath: val ?? null };
}

function chooseHead(model: TensorModule, classes: number, fresh: boolean): Head {
  if (fresh) return replaceHead(model, classes);
  const head = findHead(model);
  if (head.outFeatures !== classes) {
    throw new CliError(
      `--head keep: the head '${head.path}' has ${head.outFeatures} classes, but the data have ${classes}; use --head new`,
    );
  }
  return head;
}

async function cacheFeatures(
  context: Context,
  model: TensorModule,
  head: Head,
  train: LabelledImages,
  validation: LabelledImages | null,
  batchSize: number,
): Promise<{ train: Labelled; validation: { data: Labelled; labels: Int32Array } | undefined } | null> {
  model.eval();
  const run = (images: LabelledImages, label: string): Promise<Labelled | null> =>
    trunkFeatures(context, model, head, images, { batchSize, label });
  const features = await run(train, 'frozen layers');
  if (features === null) return null;
  if (validation === null) return { train: features, validation: undefined };
  const data = await run(validation, 'frozen layers, validation');
  return data === null ? null : { train: features, validation: { data, labels: validation.labels } };
}

interface Outcome {
  readonly modelName: string;
  readonly train: LabelledImages;
  readonly result: FitResult;
  readonly options: FinetuneOptions;
}

async function save(
  path: string,
  model: TensorModule,
  {
    modelName,
    train,
    map,
    input,
    result,
    options,
  }: Outcome & { map: ReadonlyMap<string, readonly string[]> | null; input: InputRecipe },
): Promise<void> {
  const card: ModelCard = {
    model: modelName,
    classes: train.classes,
    ...(map === null ? {} : { classMap: [...map] }),
    input,
  };
  const { seed, optimizer, batchSize, schedule } = options;
  const training = { seed, optimizer, batchSize, schedule, epochs: result.epochs };
  await saveWeights(model, path, { metadata: { ...cardMetadata(card), training: JSON.stringify(training) } });
}

function summary(
  { output }: Context,
  {
    modelName,
    dataPath,
    train,
    trainable,
    started,
    result,
    options,
  }: Outcome & { dataPath: string; trainable: number; started: number },
): void {
  const seconds = (performance.now() - started) / 1000;
  const last = result.epochs.at(-1);
  if (result.interrupted) output.line(`stopped in epoch ${result.epochs.length + 1} of ${options.epochs}`);
  if (last !== undefined) {
    const part = last.validationAccuracy ?? last.trainAccuracy;
    const what = last.validationAccuracy === null ? 'training' : 'validation';
    output.line(
      `${what} accuracy ${percent(part, 1)} after ${result.epochs.length} epochs, ${seconds.toFixed(1)} s in all`,
    );
  }
  if (options.out !== undefined) output.line(`saved ${options.out}`);
  output.document({
    model: modelName,
    weights: options.weights ?? null,
    data: dataPath,
    classes: train.classes,
    trainableParameters: trainable,
    epochs: result.epochs,
    validationAccuracy: last?.validationAccuracy ?? null,
    interrupted: result.interrupted,
    seconds: Number(seconds.toFixed(3)),
    out: options.out ?? null,
  });
}
