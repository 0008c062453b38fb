import type { LoadCheckpointOptions } from '../formats/index.js';
import type { Operand } from './command.js';
import { choice, flag, formerly, negation, text, value, type Options } from './option-rows.js';
import * as read from './option-readers.js';

/** Options that several commands have. */

export const json = flag('print one JSON document instead of text');

/** How a weight file is read. */
export const reading = {
  key: value('<key>', 'entry that holds the state dict; give it again for each level', read.collect),
  limit: value(
    '<name=n>',
    'raise a bound on reading, for a file you trust (the error says which); give it again for others',
    read.limit,
  ),
  verify: negation('read a file whose checksums are wrong as it is'),
};

/** The words that mean the same in every command. */
export const model = text('<name>', 'e.g. resnet50, cifar_resnet20 (kindling models lists them)');
export const weights = text(
  '<which>',
  "a run's folder, a weight file, a URL, or published ones: MODEL[:NAME] such as resnet50:IMAGENET1K_V2, or NAME with --model",
);
export const data = text(
  '<path>',
  'the images: a folder with one folder of them per class, or a .bin file of CIFAR-10',
);
export const batchSize = formerly(value('<n>', 'images at once', read.positiveInteger), '--batch');
export const force = flag('replace a file that is there already');
export const limit = value(
  '<n>',
  'only n of the images, every class in proportion and at least one of each',
  read.positiveInteger,
);

/** An operand that stands for the option of its name. */
export const operand = (form: string, help: string, name = form.replace(/[<>[\].]/g, '')): Operand => ({
  name,
  form,
  help,
});

export const weightsOperand = (form: '<weights>' | '[weights]'): Operand =>
  operand(form, "a run's folder, a weight file, a URL, or published ones (MODEL[:NAME]), as --weights");
export const modelOperand = operand('[model]', 'e.g. resnet50, cifar_resnet20, as --model');

/** Which model runs on made-up images, and on how many. */
export const workload = {
  model,
  input: value('<shape>', "batch, channels, height, width; default: 1x3 of the model's own size", read.shape),
  batchSize,
  train: flag('a step of training instead of a forward pass'),
};

/** Of a model's input, where neither the weight file nor the model is to say it. */
export const statistics = {
  mean: value(
    '<r,g,b>',
    "what is subtracted from each channel (0 to 1); default: the model's",
    read.perChannel,
  ),
  std: value('<r,g,b>', 'what each channel is divided by then', read.perChannel),
};

/** A trained model as `eval` and `predict` name it. */
export const trainedModel = {
  model,
  weights,
  numClasses: value('<n>', 'outputs of the model; the weight file is asked otherwise', read.positiveInteger),
  ...statistics,
  json,
};

export const onBadImage = choice(
  '<what>',
  'what a file that cannot be decoded does',
  ['fail', 'skip'],
  'fail',
);

/** What the reading options say, as the readers of weight files take it. */
export const readingOf = ({ key, limit, verify }: Options<typeof reading>): LoadCheckpointOptions => ({
  ...(key !== undefined && { key }),
  ...(limit !== undefined && { limits: limit }),
  verify,
});
