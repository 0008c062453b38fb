import { type Command, Option } from 'commander';
import { augmentations, type Augmentation } from '../images.js';
import * as read from '../option-readers.js';
import { optimizerNames, type OptimizerChoice } from '../optimizers.js';
import { scheduleNames, type ScheduleChoice } from '../schedules.js';

/** The command line of `kindling finetune`, as it was given. */
export interface FinetuneOptions extends OptimizerChoice, ScheduleChoice {
  readonly resume?: string;
  readonly model?: string;
  readonly weights?: string;
  readonly val?: string;
  readonly valSplit?: number;
  readonly classes?: string;
  readonly map?: string;
  readonly head: 'new' | 'keep';
  readonly freeze?: readonly string[];
  readonly unfreezeAt?: readonly string[];
  readonly trunkMode?: 'eval' | 'train';
  readonly headLr?: number;
  readonly epochs: number;
  readonly batchSize: number;
  readonly seed: number;
  /** True for a bare `--augment`. */
  readonly augment?: Augmentation | true;
  readonly mixup?: number;
  readonly cutmix?: number;
  readonly labelSmoothing: number;
  readonly classWeights: 'none' | 'balanced';
  readonly clipGradNorm?: number;
  readonly ema?: number;
  readonly earlyStop?: number;
  readonly minDelta: number;
  readonly featureCache: boolean;
  readonly onBadImage: 'fail' | 'skip';
  readonly workers: number;
  readonly mean?: readonly number[];
  readonly std?: readonly number[];
  readonly limit?: number;
  readonly out?: string;
  readonly force?: boolean;
}

/** Options that mean something beside `--resume`; the run's own config.json has the others. */
export const besideResume: readonly string[] = ['resume', 'json', 'workers'];

/** Declares the options of `kindling finetune`. */
export function addFinetuneOptions(command: Command): Command {
  const choice = (flags: string, about: string, names: readonly string[]): Option =>
    new Option(flags, about).choices(names);
  return command
    .argument(
      '[data]',
      'a folder with one folder of images per class, or with train and val in it, or a .bin file of CIFAR-10',
    )
    .optionsGroup('Data:')
    .option('--val <path>', 'data to validate on after each epoch')
    .option('--val-split <fraction>', 'take this share of every class for validation instead', read.fraction)
    .option('--classes <a,b,c>', 'use only these classes of the data')
    .option('--map <new=a,b;...>', "make new classes of several: 'animal=cat,dog;vehicle=car,ship'")
    .option('--limit <n>', 'train on the first n images only', read.positiveInteger)
    .option(
      '--mean <r,g,b>',
      "what is subtracted from each channel (0 to 1); default: the model's",
      read.perChannel,
    )
    .option('--std <r,g,b>', 'what each channel is divided by then', read.perChannel)
    .addOption(
      choice('--on-bad-image <what>', 'what a file that cannot be decoded does', ['fail', 'skip']).default(
        'fail',
      ),
    )
    .option('--workers <n>', 'threads that read and change images', read.seedNumber, 0)
    .optionsGroup('Model:')
    .option('--model <name>', 'e.g. resnet18, cifar_resnet20; needed unless the weight file says it')
    .option(
      '--weights <which>',
      'a file, a URL, or a published name such as IMAGENET1K_V2 (kindling weights); random otherwise',
    )
    .addOption(
      choice('--head <which>', 'a new last layer, or the one in the weight file', ['new', 'keep']).default(
        'new',
      ),
    )
    .option(
      '--freeze <what>',
      'what is not trained: trunk (all but the head), none, or names such as conv1,bn1,layer1; default: trunk with --weights, else none',
      read.collectList,
    )
    .option(
      '--unfreeze-at <epoch:what>',
      'trains these from that epoch on, e.g. 5:layer4; may be given again',
      read.collect,
    )
    .addOption(
      choice(
        '--trunk-mode <mode>',
        'eval keeps running statistics as they are; default: eval for what is frozen, train for the rest',
        ['eval', 'train'],
      ),
    )
    .optionsGroup('Training:')
    .option('--epochs <n>', 'passes over the data', read.positiveInteger, 10)
    .option('--batch-size <n>', 'images per step', read.positiveInteger, 32)
    .addOption(choice('--optimizer <name>', 'what makes the steps', optimizerNames).default('sgd'))
    .option('--lr <rate>', 'learning rate; default: 0.01 for sgd, 0.001 for adam, ...', read.nonNegative)
    .option('--head-lr <rate>', "the head's own learning rate", read.nonNegative)
    .option('--momentum <m>', 'for sgd (default 0.9) and rmsprop (default 0)', read.nonNegative)
    .option('--weight-decay <w>', "default: PyTorch's", read.nonNegative)
    .addOption(choice('--schedule <name>', 'of the learning rate', scheduleNames).default('none'))
    .option('--step-size <n>', 'epochs between two cuts (step)', read.positiveInteger, 7)
    .option('--gamma <factor>', 'factor of a cut (step, multistep, exponential, plateau)', read.positive, 0.1)
    .option('--milestones <e,e,...>', 'epochs of the cuts (multistep)', read.indexList)
    .option('--patience <n>', 'epochs without less loss that are let pass (plateau)', read.positiveInteger, 3)
    .option('--warmup-epochs <n>', 'epochs of a linear rise to the full rate', read.positiveInteger)
    .option('--clip-grad-norm <n>', "cuts the gradients' norm to this", read.positive)
    .option(
      '--ema <decay>',
      'validates and saves a moving average of the weights, such as 0.999',
      read.fraction,
    )
    .option('--early-stop <n>', 'ends after n epochs without less (validation) loss', read.positiveInteger)
    .option('--min-delta <d>', 'smaller changes of the loss are none (early stop)', read.nonNegative, 0)
    .option('--seed <n>', 'of the new weights and the order of the images', read.seedNumber, 0)
    .option('--cache-features', 'run frozen layers once where that is exact (the default)')
    .option('--no-feature-cache', 'run the frozen layers anew in every epoch; the result is the same')
    .optionsGroup('Regularisation:')
    .addOption(
      choice(
        '--augment [how]',
        'changes training images at random; flip-crop where no name follows',
        augmentations,
      ),
    )
    .option('--mixup <alpha>', 'blends pairs of images and their labels', read.positive)
    .option(
      '--cutmix <alpha>',
      'pastes a part of one image into another, labels in proportion',
      read.positive,
    )
    .option('--label-smoothing <e>', 'share of each label that is spread over all classes', read.share, 0)
    .addOption(
      choice('--class-weights <how>', "balanced: rare classes' images count more", [
        'none',
        'balanced',
      ]).default('none'),
    )
    .optionsGroup('Result:')
    .option(
      '--out <run>',
      'a folder for checkpoints, history and report (made), or a .safetensors file for the weights alone',
    )
    .option('--force', 'replace the run that is in the folder, or the file')
    .option('--resume <run>', 'go on with a run that was stopped or killed; needs no other option');
}
