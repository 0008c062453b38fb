/**
 * What the recipes share: a pretrained network, images in batches, and the two loops that every training
 * script has.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { argv } from 'node:process';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import {
  argmax,
  data,
  formats,
  init,
  manualSeed,
  models,
  nn,
  noGrad,
  type optim,
  type Tensor,
} from '../../src/index.js';
import { ImageFolder } from '../../src/node.js';

export interface Options {
  /**
   * A folder with `train/CLASS/*.jpg` and `val/CLASS/*.jpg`; without it, pictures of five shapes are drawn.
   */
  data?: string | undefined;
  /**
   * A weight file, a URL, or a name such as IMAGENET1K_V1; without it, the small network that kindling ships.
   */
  weights?: string | undefined;
  /** What the weight file is of. */
  model?: 'resnet18' | 'resnet34' | 'resnet50' | undefined;
  /** Passes over the training images, where a recipe trains. */
  epochs?: number | undefined;
  /**
   * Learning rate, where a recipe has one. The defaults suit the small network; a large one wants about a
   * tenth or less.
   */
  lr?: number | undefined;
}

/** The parts of torchvision's ResNets that the recipes name. */
export interface Pretrained extends nn.TensorModule {
  conv1: nn.Conv2d;
  layer3: nn.TensorModule;
  get fc(): nn.Linear;
  set fc(module: nn.TensorModule);
}

/** Made by `npm run pretrain`: it knows ten shapes, none of which is among the five of the recipes. */
export const shippedWeights = fileURLToPath(
  new URL('../../weights/shapes-cifar_resnet8.safetensors', import.meta.url),
);

/**
 * The shipped network, laid out and named like torchvision's ResNets: children from `conv1` to `avgpool`,
 * then `fc`.
 */
class SmallResNet extends nn.Module {
  conv1: nn.Conv2d;
  bn1: nn.BatchNorm2d;
  relu = new nn.ReLU();
  layer1: nn.TensorModule;
  layer2: nn.TensorModule;
  layer3: nn.TensorModule;
  avgpool = new nn.AdaptiveAvgPool2d(1);
  declare fc: nn.Linear;

  constructor() {
    super();
    const { conv1, bn1, layer1, layer2, layer3, linear } = models.cifarResnet8();
    [this.conv1, this.bn1, this.layer1, this.layer2, this.layer3] = [conv1, bn1, layer1, layer2, layer3];
    this.fc = linear;
  }

  forward(x: Tensor): Tensor {
    x = this.relu(this.bn1(this.conv1(x)));
    x = this.layer3(this.layer2(this.layer1(x)));
    return this.fc(this.avgpool(x).flatten(1));
  }
}

/**
 * In your own script this is `await models.resnet18({ weights: 'IMAGENET1K_V1' })`, or a path instead of the
 * name.
 */
export async function pretrained({ weights, model = 'resnet18' }: Options = {}): Promise<Pretrained> {
  if (weights !== undefined) return models[model]({ weights });
  const small = new SmallResNet();
  const { tensors } = await formats.loadCheckpoint(shippedWeights);
  await small.loadStateDict(
    new Map([...tensors].map(([key, value]) => [key.replace(/^linear/, 'fc'), value])),
  );
  return small as unknown as Pretrained;
}

export interface Images {
  train: data.DataLoader<unknown, [Tensor, Tensor]>;
  val: data.DataLoader<unknown, [Tensor, Tensor]>;
  classes: readonly string[];
}

const drawn = new Map<string, data.ShapesDataset>();
/** Pictures are the same for every recipe, so they are drawn once. */
export function shapes(classes: 'base' | 'novel', perClass: number, seed: number): data.ShapesDataset {
  const key = `${classes} ${perClass} ${seed}`;
  const known =
    drawn.get(key) ?? new data.ShapesDataset({ classes, perClass, seed, normalize: data.shapesStatistics });
  drawn.set(key, known);
  return known;
}

const imagenet = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

export function images({ data: folder }: Options = {}, batchSize = 20, perClass = 16): Images {
  const loaders = <T>(train: data.Dataset<T>, val: data.Dataset<T>, classes: readonly string[]): Images =>
    ({
      train: new data.DataLoader(train, { batchSize, shuffle: true, seed: 1 }),
      val: new data.DataLoader(val, { batchSize }),
      classes,
    }) as unknown as Images;
  if (folder === undefined) {
    const [train, val] = [shapes('novel', perClass, 0), shapes('novel', 12, 1000)];
    return loaders(train, val, train.classes);
  }
  const { Compose, Resize, CenterCrop, RandomResizedCrop, RandomHorizontalFlip, ToTensor, Normalize } =
    data.transforms;
  const toInput = [new ToTensor(), new Normalize(imagenet.mean, imagenet.std)] as const;
  const train = new ImageFolder(join(folder, 'train'), {
    transform: new Compose([new RandomResizedCrop(224), new RandomHorizontalFlip(), ...toInput]),
  });
  const val = new ImageFolder(join(folder, existsSync(join(folder, 'val')) ? 'val' : 'test'), {
    transform: new Compose([new Resize(256), new CenterCrop(224), ...toInput]),
  });
  return loaders(train, val, train.classes);
}

/** One pass over the images; the modes (`train()`, `eval()`) are the caller's. Returns the mean loss. */
export async function trainEpoch(
  model: nn.TensorModule,
  { train }: Images,
  optimizer: optim.Optimizer,
): Promise<number> {
  const criterion = new nn.CrossEntropyLoss();
  let [sum, batches] = [0, 0];
  for await (const [inputs, labels] of train) {
    optimizer.zeroGrad();
    const loss = criterion(model(inputs), labels);
    loss.backward();
    optimizer.step();
    sum += await loss.item();
    batches++;
  }
  return sum / batches;
}

/** The share of the validation images that the model gets right. Leaves the modes as they were. */
export async function accuracy(model: nn.TensorModule, { val }: Images): Promise<number> {
  const modes = model.modules().map((module) => [module, module.training] as const);
  model.eval();
  let [correct, count] = [0, 0];
  for await (const [inputs, labels] of val) {
    correct += await noGrad(() => argmax(model(inputs), 1).eq(labels).sum()).item();
    count += labels.numel();
  }
  for (const [module, training] of modes) module.training = training;
  return correct / count;
}

export const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

/** Runs `main` when the file is the script that was started, with its options from the command line. */
export async function runIfScript(url: string, main: (options: Options) => Promise<unknown>): Promise<void> {
  if (url !== pathToFileURL(argv[1] ?? '').href) return;
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    options: { data: text, weights: text, model: text, epochs: text, lr: text },
  });
  await init();
  manualSeed(1);
  const number = (given: string | undefined) => (given === undefined ? undefined : Number(given));
  const model = values.model as Options['model'];
  await main({ ...values, model, epochs: number(values.epochs), lr: number(values.lr) });
}
