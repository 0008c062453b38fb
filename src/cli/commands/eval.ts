import { init } from '../../index.js';
import { loadCheckpoint, writeFileAtomically } from '../../formats/index.js';
import { findHead } from '../../models/index.js';
import { applyClassMap, firstImages, relabelled, shortList } from '../classes.js';
import type { ClassMap, LabelledImages } from '../classes.js';
import type { Context } from '../context.js';
import { CliError, UsageError } from '../errors.js';
import { classMapOf, inputRecipe } from '../finetune/plan.js';
import { openImages } from '../images.js';
import { modelWithWeights, readCard, type ModelCard } from '../model.js';
import { grouped, percent } from '../output.js';
import { evaluate } from '../training.js';
import { checkWritable } from '../files.js';

export interface EvalOptions {
  readonly model?: string;
  readonly weights: string;
  readonly data: string;
  readonly batchSize: number;
  readonly numClasses?: number;
  readonly mean?: readonly number[];
  readonly std?: readonly number[];
  readonly classes?: string;
  readonly map?: string;
  readonly outputs?: readonly number[];
  readonly predictions?: string;
  readonly limit?: number;
}

/** `kindling eval`: how often a model is right about labelled images. */
export async function evaluateCommand(context: Context, options: EvalOptions): Promise<void> {
  const { output } = context;
  const map = classMapOf(options);
  if (options.predictions !== undefined) await checkWritable(options.predictions);
  const checkpoint = await loadCheckpoint(options.weights);
  const card = readCard(checkpoint);
  const modelName = options.model ?? card.model;
  if (modelName === undefined)
    throw new UsageError(`--model is missing, and ${options.weights} does not say which it is for`);
  const input = inputRecipe(modelName, options, card);

  await init();
  const model = await modelWithWeights(modelName, checkpoint, {
    numClasses: options.numClasses,
    options: card.options,
  });
  model.eval();
  const { outFeatures } = findHead(model);
  const opened = await openImages(options.data, input);
  const images = labelledFor(opened, outFeatures, options, map ?? mapOfCard(card, opened));
  const chosen = options.limit === undefined ? images : firstImages(images, options.limit);

  const count = chosen.dataset.length;
  output.line(`${modelName} with ${options.weights}, ${grouped(count)} images of ${options.data}`);
  const started = performance.now();
  const result = await evaluate(context, model, chosen, {
    batchSize: options.batchSize,
    label: 'evaluating',
  });
  const seconds = (performance.now() - started) / 1000;
  const { correct, loss, predictions } = result;
  if (options.predictions !== undefined) {
    const text = `${JSON.stringify([...predictions])}\n`;
    await writeFileAtomically(options.predictions, [new TextEncoder().encode(text)]);
  }
  output.line(`accuracy ${correct}/${count} (${percent(correct, count)})`);
  output.line(`loss ${loss.toFixed(4)}`);
  output.line(`time ${seconds.toFixed(1)} s (${(count / seconds).toFixed(0)} images/s)`);
  if (options.predictions !== undefined) output.line(`predictions in ${options.predictions}`);
  output.document({
    model: modelName,
    weights: options.weights,
    data: options.data,
    classes: images.classes,
    input,
    count,
    correct,
    accuracy: correct / count,
    loss,
    seconds: Number(seconds.toFixed(3)),
    ...(options.predictions === undefined ? {} : { predictions: options.predictions }),
  });
}

/** A model that `finetune` made knows which of the data's classes its own are made of. */
function mapOfCard(card: ModelCard, images: LabelledImages): ClassMap | null {
  const { classMap } = card;
  if (classMap === undefined) return null;
  const members = classMap.flatMap(([, names]) => names);
  return members.every((name) => images.classes.includes(name)) ? new Map(classMap) : null;
}

/** The images under the labels that the model's outputs have. */
function labelledFor(
  opened: LabelledImages,
  outputs: number,
  options: EvalOptions,
  map: ClassMap | null,
): LabelledImages {
  const images = map === null ? opened : applyClassMap(opened, map);
  const { classes, name } = images;
  if (options.outputs !== undefined) {
    if (options.outputs.length !== classes.length) {
      throw new UsageError(
        `--outputs: ${options.outputs.length} numbers for ${classes.length} classes (${shortList(classes)}); give one for each, in this order`,
      );
    }
    const high = options.outputs.find((output) => output >= outputs);
    if (high !== undefined)
      throw new UsageError(`--outputs: ${high} is out of range; the model has outputs 0 to ${outputs - 1}`);
    return relabelled(images, Int32Array.from(options.outputs), classes);
  }
  if (classes.length !== outputs) {
    throw new CliError(
      `${name}: has ${classes.length} classes (${shortList(classes)}), but the model has ${outputs} outputs; ` +
        'choose with --classes or --map, or say with --outputs which output stands for each class',
    );
  }
  return images;
}
