import { writeFileAtomically } from '../../formats/index.js';
import { applyClassMap, relabelled, shortList } from '../classes.js';
import type { ClassMap, LabelledImages } from '../classes.js';
import { defineCommand } from '../command.js';
import type { Context } from '../context.js';
import { CliError, UsageError } from '../errors.js';
import { checkReplaceable } from '../files.js';
import { digestOfImages, skippedImages, warnOfStray, warnSkipped } from '../finetune/data.js';
import { classMapOf } from '../finetune/plan.js';
import { scoresOf, type ClassScore } from '../finetune/scores.js';
import { openImages } from '../images.js';
import { limited } from '../limit.js';
import type { ModelCard } from '../model-card.js';
import * as read from '../option-readers.js';
import { formerly, text, value, type Options } from '../option-rows.js';
import { grouped, percent, table } from '../output.js';
import { isLead, oneFirst, sameOnAll } from '../ranks.js';
import {
  batchSize,
  data,
  limit,
  onBadImage,
  operand,
  trainedModel,
  weightsOperand,
} from '../shared-options.js';
import { makeTrained, openTrained } from '../trained.js';
import { evaluate, inferenceBatch } from '../training.js';

const evalOptions = {
  ...trainedModel,
  data,
  batchSize: { ...batchSize, help: 'images at once; default: 16 of 224 pixels a side, more of smaller ones' },
  classes: text('<a,b,c>', 'use only these classes of the data, as outputs 0, 1, 2'),
  map: text('<new=a,b;...>', 'make new classes of several of the data'),
  outputs: value('<i,j,...>', "the model's output number for each class of the data", read.indexList),
  topK: formerly(
    value('<k>', 'count an image also when its class is among the k likeliest', read.positiveInteger),
    '--top',
  ),
  predictions: text('<file>', 'write the predicted class of each image, as a JSON array'),
  limit,
  seed: value('<n>', 'of what --limit takes', read.seedNumber, 0),
  onBadImage,
};
type EvalOptions = Options<typeof evalOptions>;

/** With more classes the table by class is left to `--json`. */
const mostInTable = 30;

/** `kindling eval`: how often a model is right about labelled images. */
async function evaluateModel(context: Context, options: EvalOptions): Promise<void> {
  const { output } = context;
  const { weights, data } = options;
  if (weights === undefined)
    throw new UsageError('eval: name a run or a weight file: eval WEIGHTS DATA, or --weights');
  if (data === undefined) throw new UsageError('eval: name the images: eval WEIGHTS DATA, or --data');
  const map = classMapOf(options);
  if (options.predictions !== undefined && isLead(context)) await checkReplaceable(options.predictions);
  const trained = await oneFirst(context, () => openTrained(context, options));

  await context.openDevice();
  const { model, outputs } = await makeTrained(trained, options.numClasses);
  const opened = await openImages(data, trained.input, { onBadImage: options.onBadImage });
  warnOfStray(context, opened);
  const images = labelledFor(opened, outputs, options, map ?? mapOfCard(trained.card, opened), trained.card);
  const chosen = limited(images, options.limit ?? null, options.seed);
  await sameOnAll(context, 'images', digestOfImages(chosen, data));

  output.line(`${trained.modelName} with ${weights}, ${grouped(chosen.dataset.length)} images of ${data}`);
  const started = performance.now();
  const result = await evaluate(context, model, chosen, {
    batchSize: options.batchSize ?? inferenceBatch(trained.input.size),
    label: 'evaluating',
    ...(options.topK !== undefined && { top: options.topK }),
  });
  const seconds = (performance.now() - started) / 1000;
  const { count, correct, topCorrect, loss, predictions } = result;
  if (options.predictions !== undefined && isLead(context)) {
    const text = `${JSON.stringify([...predictions])}\n`;
    await writeFileAtomically(options.predictions, [new TextEncoder().encode(text)]);
  }
  const byClass = await perClass(chosen, predictions, options.outputs);
  output.line(`accuracy ${correct}/${count} (${percent(correct, count)})`);
  if (options.topK !== undefined)
    output.line(`top-${options.topK} accuracy ${topCorrect}/${count} (${percent(topCorrect, count)})`);
  output.line(`loss ${loss.toFixed(4)}`);
  if (byClass.length <= mostInTable) {
    const share = (part: number | null): string => (part === null ? '-' : percent(part, 1));
    const rows = byClass.map(({ name, images: n, correct: right, precision, recall, f1 }) => [
      `  ${name}`,
      `${right}/${n}`,
      ...[precision, recall, f1].map(share),
    ]);
    const head = ['  class', 'right', 'precision', 'recall', 'F1'];
    for (const line of table([head, ...rows], [1, 2, 3, 4])) output.line(line);
  }
  output.line(`time ${seconds.toFixed(1)} s (${(count / seconds).toFixed(0)} images/s)`);
  if (options.predictions !== undefined) output.line(`predictions in ${options.predictions}`);
  const skipped = skippedImages([chosen]);
  warnSkipped(context, skipped);
  output.document({
    model: trained.modelName,
    weights,
    data,
    classes: images.classes,
    input: trained.input,
    count,
    correct,
    accuracy: correct / count,
    ...(options.topK === undefined ? {} : { top: options.topK, topAccuracy: topCorrect / count }),
    loss,
    byClass,
    skipped,
    seconds: Number(seconds.toFixed(3)),
    ...(options.predictions === undefined ? {} : { predictions: options.predictions }),
  });
}

interface ClassCount extends ClassScore {
  readonly correct: number;
}

/** Images, hits and scores of each class that has images; their labels may be any of the model's outputs. */
async function perClass(
  { classes, labels }: LabelledImages,
  predictions: Int32Array,
  outputsOfClasses: readonly number[] | undefined,
): Promise<ClassCount[]> {
  const outputs = [...new Set(labels)].sort((a, b) => a - b);
  const nameOf = (label: number): string =>
    classes[outputsOfClasses === undefined ? label : outputsOfClasses.indexOf(label)] ?? `class ${label}`;
  const names = outputs.map(nameOf);
  const at = (label: number): number => outputs.indexOf(label);
  const { perClass: scores, matrix } = await scoresOf(
    [...names, 'another'],
    Array.from(labels, at),
    Array.from(predictions, (prediction) =>
      prediction < 0 ? -1 : at(prediction) < 0 ? names.length : at(prediction),
    ),
  );
  return scores.slice(0, names.length).map((score, i) => ({ ...score, correct: matrix[i]?.[i] ?? 0 }));
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
  card: ModelCard,
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
  const own = card.classes;
  if (map === null && own?.length === outputs && classes.every((each) => own.includes(each))) {
    // By name: the data may have fewer classes, or sort them otherwise.
    return relabelled(
      images,
      Int32Array.from(classes, (each) => own.indexOf(each)),
      own,
    );
  }
  if (classes.length !== outputs) {
    throw new CliError(
      `${name}: has ${classes.length} classes (${shortList(classes)}), but the model has ${outputs} outputs; ` +
        'choose with --classes or --map, or say with --outputs which output stands for each class',
    );
  }
  return images;
}

export const evalCommand = defineCommand({
  name: 'eval',
  help: 'measure the accuracy of a model on labelled images',
  operands: [weightsOperand('[weights]'), operand('[data]', 'the images, as --data')],
  options: evalOptions,
  examples: [
    ['kindling eval run photos/val', 'a run of kindling finetune'],
    ['kindling eval --weights resnet20.th --model cifar_resnet20 --data test_batch.bin'],
    ['kindling eval resnet50 imagenet/val --top-k 5 --limit 1000', 'published weights'],
  ],
  run: ({ context, options }) => evaluateModel(context, options),
});
