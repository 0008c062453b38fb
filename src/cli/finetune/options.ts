import { augmentations } from '../images.js';
import * as read from '../option-readers.js';
import {
  choice,
  flag,
  formerly,
  grouped,
  negation,
  orBare,
  planned,
  text,
  value,
  type Options,
} from '../option-rows.js';
import { helpOf, optimizerNames } from '../optimizers.js';
import { scheduleNames } from '../schedules.js';
import { data, json, limit, model, onBadImage, statistics, weights } from '../shared-options.js';

/**
 * The options of `kindling finetune`. What is {@link planned} is a field of the plan, and so of config.json;
 * the others go into fields that several of them make up (`planOf`), or are about the call and not the
 * training.
 */
export const finetuneOptions = {
  json,
  ...grouped('Data:', {
    data: {
      ...data,
      help: 'a folder with one folder of images per class, or with train and val in it, or a .bin file of CIFAR-10',
    },
    val: text('<path>', 'data to validate on after each epoch'),
    valSplit: value('<fraction>', 'take this share of every class for validation instead', read.fraction),
    classes: text('<a,b,c>', 'use only these classes of the data'),
    map: text('<new=a,b;...>', "make new classes of several: 'animal=cat,dog;vehicle=car,ship'"),
    limit: planned({ ...limit, help: `train on ${limit.help}` }),
    ...statistics,
    onBadImage: planned(onBadImage),
    workers: value('<n>', 'threads that read and change images', read.seedNumber, 0),
  }),
  ...grouped('Model:', {
    model: { ...model, help: `${model.help}; needed unless the weights say it` },
    weights: { ...weights, help: `${weights.help}; random otherwise` },
    head: planned(
      choice('<which>', 'a new last layer, or the one in the weight file', ['new', 'keep'], 'new'),
    ),
    freeze: value(
      '<what>',
      'what is not trained: trunk (all but the head), none, or names such as conv1,bn1,layer1; default: trunk with --weights, else none',
      read.collectList,
    ),
    unfreezeAt: value(
      '<epoch:what>',
      'trains these from that epoch on, e.g. 5:layer4; may be given again',
      read.collect,
    ),
    trunkMode: planned(
      choice(
        '<mode>',
        'eval keeps running statistics as they are; default: eval for what is frozen, train for the rest',
        ['eval', 'train'],
      ),
      (mode): 'auto' | 'eval' | 'train' => mode ?? 'auto',
    ),
  }),
  ...grouped('Training:', {
    epochs: planned(value('<n>', 'passes over the data', read.positiveInteger, 10)),
    batchSize: planned(
      formerly(
        value(
          '<n>',
          'images at once: a step; under mpirun of each rank, so that a step is made of n times the ranks',
          read.positiveInteger,
          32,
        ),
        '--batch',
      ),
    ),
    optimizer: planned(choice('<name>', 'what makes the steps', optimizerNames, 'sgd')),
    lr: value('<rate>', 'learning rate; default: 0.01 for sgd, 0.001 for adam, ...', read.nonNegative),
    headLr: planned(value('<rate>', "the head's own learning rate", read.nonNegative)),
    momentum: planned(value('<m>', helpOf.momentum, read.nonNegative)),
    weightDecay: planned(value('<w>', helpOf.weightDecay, read.nonNegative)),
    schedule: planned(choice('<name>', 'of the learning rate', scheduleNames, 'none')),
    stepSize: planned(
      value('<n>', 'epochs between two cuts (step) or restarts (warmrestarts)', read.positiveInteger, 7),
    ),
    gamma: planned(
      value('<factor>', 'factor of a cut (step, multistep, exponential, plateau)', read.positive, 0.1),
    ),
    milestones: planned(value('<e,e,...>', 'epochs of the cuts (multistep)', read.indexList)),
    patience: planned(
      value('<n>', 'epochs without less loss that are let pass (plateau)', read.positiveInteger, 3),
    ),
    warmupEpochs: planned(value('<n>', 'epochs of a linear rise to the full rate', read.positiveInteger)),
    clipGradNorm: planned(value('<n>', "cuts the gradients' norm to this", read.positive)),
    amp: planned(
      flag('mixed precision: products in float16, with a loss scale (amp.autocast, amp.GradScaler)'),
      (given) => given === true,
    ),
    ema: planned(
      value('<decay>', 'validates and saves a moving average of the weights, such as 0.999', read.fraction),
    ),
    earlyStop: value('<n>', 'ends after n epochs without less (validation) loss', read.positiveInteger),
    minDelta: value('<d>', 'smaller changes of the loss are none (early stop)', read.nonNegative, 0),
    seed: planned(value('<n>', 'of the new weights and the order of the images', read.seedNumber, 0)),
    cacheFeatures: flag('run frozen layers once where that is exact (the default)'),
    featureCache: planned(negation('run the frozen layers anew in every epoch; the result is the same')),
  }),
  ...grouped('Regularisation:', {
    augment: planned(
      orBare(
        choice('[how]', 'changes training images at random; flip-crop where no name follows', augmentations),
      ),
      (how) => (how === true ? 'flip-crop' : (how ?? 'none')),
    ),
    mixup: planned(
      value(
        '<alpha>',
        'blends pairs of images and their labels; with --cutmix each batch gets one of the two, by chance',
        read.positive,
      ),
    ),
    cutmix: planned(
      value('<alpha>', 'pastes a part of one image into another, labels in proportion', read.positive),
    ),
    labelSmoothing: planned(
      value('<e>', 'share of each label that is spread over all classes', read.share, 0),
    ),
    classWeights: planned(
      choice('<how>', "balanced: rare classes' images count more", ['none', 'balanced'], 'none'),
    ),
  }),
  ...grouped('Result:', {
    out: text(
      '<run>',
      'a folder for checkpoints, history and report (made), or a .safetensors file for the weights alone',
    ),
    force: flag('replace the run that is in the folder, or the file'),
    resume: text(
      '<run>',
      'go on with a run that was stopped or killed, or with more --epochs; takes no other option but --on-bad-image and --workers',
    ),
  }),
};

/** The command line of `kindling finetune`, as it was given. */
export type FinetuneOptions = Options<typeof finetuneOptions>;

/** Options that mean something beside `--resume`; the run's own config.json has the others. */
export const besideResume: readonly (keyof FinetuneOptions)[] = [
  'resume',
  'json',
  'workers',
  'epochs',
  'onBadImage',
];
