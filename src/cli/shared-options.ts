import type { LoadCheckpointOptions } from '../formats/index.js';
import { choice, flag, negation, text, value, type Options } from './option-rows.js';
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

/** Which model runs on made-up images, and on how many. */
export const workload = {
  input: value('<shape>', "batch, channels, height, width; default: 1x3 of the model's own size", read.shape),
  batch: value('<n>', 'images at once', read.positiveInteger),
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
  model: text('<name>', 'e.g. resnet50, cifar_resnet20; needed unless the weight file says it'),
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
