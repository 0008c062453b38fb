/**
 * From plain JavaScript nothing that is given is left unread: every layer, optimizer, scheduler, dataset,
 * measure and transform, and every op that has a row, refuses an argument too many and an option that it has
 * not. What calls look like is taken from the rows of test/cases; what has none stands in `calls`.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { beforeAll, expect, it } from 'vitest';
import * as transforms from '../../src/data/transforms.js';
import * as k from '../../src/index.js';
import * as metrics from '../../src/metrics/index.js';
import { loadFamilies } from '../ops/cases.js';
import { upload } from '../rows.js';
import { full } from '../tooling/full.js';

type Fn = (...args: unknown[]) => unknown;
const { data, nn, optim } = k;
const { lrScheduler } = optim;

beforeAll(() => k.init());

/** Given where nothing is taken any more; no number, tensor or options. */
class Surplus {
  toString(): string {
    return 'surplus';
  }
}
const refusal = /takes|does not know what to do|no option|too many|one by one|among them|nothing else/;

const isClass = (fn: Fn): boolean => /^class\b/.test(Function.prototype.toString.call(fn));
const p = (): k.Tensor => k.ones(2, 2).requiresGrad_();
const dataset = { length: 3, get: (index: number): number => index };
const image = { width: 4, height: 4, data: new Uint8Array(48) };
/** An object of options, and no dataset or picture. */
const isPlain = (value: unknown): boolean =>
  value !== dataset &&
  value !== image &&
  typeof value === 'object' &&
  value !== null &&
  Object.getPrototypeOf(value) === Object.prototype;

const steps = (): k.optim.SGD => new optim.SGD([p(), p()], { lr: 1, momentum: 0.9 });
const batch = (): k.Tensor => k.ones(4, 2);
const labels = (): k.Tensor => k.tensor([0, 1, 2, 0], { dtype: 'int32' });
const classes = { task: 'multiclass', numClasses: 3 };

/** What a call of each takes, by the names under which they are exported. */
const calls: Readonly<Record<string, () => readonly unknown[]>> = {
  ...Object.fromEntries(
    Object.keys(optim)
      .filter(
        (name) => /^[A-Z]/.test(name) && !['Optimizer', 'FusedOptimizer', 'EarlyStopping'].includes(name),
      )
      .map((name) => [name, () => [[p()], { lr: 0.1 }]]),
  ),
  EarlyStopping: () => [{ patience: 1 }],
  snapshot: () => [new nn.Linear(1, 1)],
  deepcopy: () => [new nn.Linear(1, 1)],
  LazyLinear: () => [2],
  ...Object.fromEntries(
    ['1d', '2d', '3d'].flatMap((rank) => [
      ...['LazyConv', 'LazyConvTranspose'].map((name) => [name + rank, () => [2, 3]] as const),
      ...['LazyBatchNorm', 'LazyInstanceNorm'].map((name) => [name + rank, () => []] as const),
      ...['ZeroPad', 'CircularPad'].map((name) => [name + rank, () => [1]] as const),
    ]),
  ),
  ...Object.fromEntries(
    [
      'NLLLoss',
      'MSELoss',
      'L1Loss',
      'SmoothL1Loss',
      'HuberLoss',
      'BCELoss',
      'BCEWithLogitsLoss',
      'KLDivLoss',
    ].map((name) => [name, () => []]),
  ),
  RMSNorm: () => [2],
  ModuleDict: () => [{}],
  ModuleList: () => [[]],
  ParameterDict: () => [{}],
  ParameterList: () => [[]],
  Parameter: () => [k.ones(1)],
  UninitializedParameter: () => [],
  RotaryPositionalEmbeddings: () => [4],
  fused: () => [k.ones(1), []],
  ConcatDataset: () => [[dataset]],
  DataLoader: () => [dataset],
  SequentialSampler: () => [dataset],
  RandomSampler: () => [dataset],
  SubsetRandomSampler: () => [[1]],
  WeightedRandomSampler: () => [[1], 1],
  BatchSampler: () => [[1], 1],
  ShapesDataset: () => [4],
  Subset: () => [dataset, [1]],
  TensorDataset: () => [batch()],
  classBalancedWeights: () => [[0, 1]],
  defaultCollate: () => [[1, 2]],
  stackSamples: () => [[1, 2]],
  toTensors: () => [1],
  cutmix: () => [k.ones(4, 1, 2, 2), labels(), { numClasses: 3 }],
  mixup: () => [batch(), labels(), { numClasses: 3 }],
  randomSplit: () => [dataset, [1, 2]],
  stratifiedSplit: () => [[0, 0, 1, 1], 0.5, 0],
  ...Object.fromEntries(
    [
      'ConfusionMatrix',
      'AUROC',
      'AveragePrecision',
      'Accuracy',
      'F1Score',
      'Precision',
      'Recall',
      'CohenKappa',
      'MatthewsCorrCoef',
    ].map((name) => [name, () => [classes]]),
  ),
  FBetaScore: () => [{ ...classes, beta: 2 }],
  Mean: () => [],
  MeanMetric: () => [],
  MeanAbsoluteError: () => [],
  MeanSquaredError: () => [],
  R2Score: () => [],
  MetricCollection: () => [{ mean: new metrics.MeanMetric() as never }],
  ...Object.fromEntries(
    [
      ...['ToTensor', 'Grayscale', 'ColorJitter', 'RandAugment', 'AutoAugment', 'TrivialAugmentWide'],
      ...['RandomErasing', 'RandomGrayscale', 'RandomInvert', 'RandomAutocontrast', 'RandomEqualize'],
      ...['RandomHorizontalFlip', 'RandomVerticalFlip'],
    ].map((name) => [name, () => []]),
  ),
  Normalize: () => [[0.5], [0.5]],
  Compose: () => [[new transforms.ToTensor()]],
  Lambda: () => [(x: unknown) => x],
  OnDevice: () => [[new transforms.ToTensor()]],
  ...Object.fromEntries(
    ['RandomApply', 'RandomChoice', 'RandomOrder'].map((name) => [
      name,
      () => [[new transforms.Grayscale()]],
    ]),
  ),
  ...Object.fromEntries(
    ['CenterCrop', 'Resize', 'RandomCrop', 'RandomResizedCrop', 'Pad'].map((name) => [name, () => [2]]),
  ),
  ...Object.fromEntries(['RandomRotation', 'RandomAffine'].map((name) => [name, () => [10]])),
  GaussianBlur: () => [3],
  RandomPosterize: () => [4],
  RandomSolarize: () => [128],
  RandomAdjustSharpness: () => [2],
};

/** Functions of pictures: what they take behind the picture. */
const ofImages: Readonly<Record<string, readonly unknown[]>> = {
  centerCrop: [2, 2],
  crop: [0, 0, 2, 2],
  horizontalFlip: [],
  pad: [[1, 1, 1, 1], 0, 'constant'],
  quarterTurns: [1],
  verticalFlip: [],
  gaussianBlur: [
    [3, 3],
    [1, 1],
  ],
  adjustBrightness: [1],
  adjustContrast: [1],
  adjustHue: [0.1],
  adjustSaturation: [1],
  adjustSharpness: [1],
  autocontrast: [],
  equalize: [],
  grayscale: [],
  invert: [],
  posterize: [4],
  resizeImage: [2, 2, 'bilinear'],
  solarize: [128],
  affine: [{ angle: 0, translate: [0, 0], scale: 1, shear: [0, 0] }, {}],
  rotate: [10, {}],
};

/** Bases that are not made by themselves, and what comes from files or the platform. */
const open = new Set<unknown>([
  ...[nn.Module, nn.Summary, optim.Optimizer, optim.FusedOptimizer, lrScheduler.LRScheduler],
  ...[optim.restore, metrics.Metric, transforms.Transform, nn.AdaptiveLogSoftmaxWithLoss],
  ...[data.ByteImageDataset, data.CIFAR10, data.CIFAR100, data.MNIST, data.FashionMNIST, data.Random],
  ...[data.fromPixels, data.toImageData, data.imagesToTensor],
  // They take any number of modules, of matrices, or parameters of any name.
  ...[nn.Sequential, k.chainMatmul, nn.ParameterDict],
]);

/** By function, the arguments of a call that works. */
function recorded(): Map<Fn, readonly unknown[]> {
  const examples = new Map<Fn, readonly unknown[]>();
  const watched = (value: unknown): unknown => {
    if (typeof value !== 'function') return value;
    const note = (args: readonly unknown[]): void => {
      if (!examples.has(value as Fn)) examples.set(value as Fn, args);
    };
    return new Proxy(value, {
      apply: (target, self, args: unknown[]) => (
        note(args),
        Reflect.apply(target as Fn, self, args) as unknown
      ),
      construct: (target, args: unknown[]) => (note(args), Reflect.construct(target, args) as object),
    });
  };
  const scope = Object.fromEntries(
    Object.entries({ ...optim.swaUtils, ...lrScheduler, ...nn, ...nn.functional, ...k })
      .filter(([name]) => name !== 'var')
      .map(([name, value]) => [name, watched(value)]),
  );
  const run = (ts: string, inputs: Readonly<Record<string, unknown>>): void => {
    const all = { ...scope, ...inputs };
    const call = new Function(...Object.keys(all), `'use strict'; return (${ts});`) as Fn;
    void Promise.resolve(call(...Object.values(all))).catch(() => undefined);
  };
  const rowsOf = (file: string): readonly { readonly ts: string }[] =>
    JSON.parse(readFileSync(new URL(`../cases/${file}`, import.meta.url), 'utf8')) as { ts: string }[];
  // Seconds: the ops, of which each has a reader or a count of its own.
  for (const family of full ? loadFamilies() : [])
    for (const rows of family.ops.values()) {
      const { row, golden } = rows.find(({ row }) => row.raises !== true) ?? rows[0]!;
      run(row.ts, Object.fromEntries([...golden.inputs].map(([name, host]) => [name, upload(host).keep()])));
    }
  const files = readdirSync(new URL('../cases/nn/', import.meta.url)).filter((f) => f.startsWith('layers'));
  const layers = files.flatMap((file) => rowsOf(`nn/${file}`)).map(({ ts }) => ts);
  // One row of each is enough.
  for (const ts of new Map(layers.map((row) => [row.split('(')[0], row])).values()) run(ts, {});
  for (const { ts } of rowsOf('optim/schedulers.json'))
    if (!/\[\(|lr, |\[0\.\d+, 0\.\d+\]/.test(ts)) run(ts, { o: steps() });
  return examples;
}

async function said(call: () => unknown): Promise<string> {
  try {
    await call();
    return 'nothing';
  } catch (error) {
    return error instanceof Error && !(error instanceof TypeError) ? error.message : `a bad ${String(error)}`;
  }
}

it('every export refuses an argument too many and an unknown option', async () => {
  const problems: string[] = [];
  await k.runtime().withoutWork(async () => {
    const examples = recorded();
    for (const [name, args] of Object.entries(ofImages))
      examples.set((transforms as unknown as Record<string, Fn>)[name]!, [image, ...args]);
    const spaces = { nn, optim, lrScheduler, data, metrics, transforms };
    const named = new Map<Fn, string>();
    for (const [space, members] of Object.entries(spaces))
      for (const [name, member] of Object.entries(members))
        if (typeof member === 'function') named.set(member as Fn, `${space}.${name}`);
    for (const [name, member] of Object.entries(k))
      if (typeof member === 'function') named.set(member as Fn, name);
    for (const [fn, name] of named) {
      const args = examples.get(fn) ?? calls[name.split('.').at(-1)!]?.();
      if (open.has(fn)) continue;
      if (args === undefined) {
        if (name.includes('.')) problems.push(`${name}: no example; give it one in \`calls\``);
        continue;
      }
      const call = (given: readonly unknown[]): unknown =>
        isClass(fn)
          ? new (fn as unknown as new (...args: readonly unknown[]) => unknown)(...given)
          : fn(...given);
      const last = args.at(-1);
      const surplus = Array.from({ length: 12 }, () => new Surplus());
      const tooMany = await said(() => call([...args, ...surplus]));
      if (!refusal.test(tooMany)) problems.push(`${name}, arguments too many: ${tooMany}`);
      const behind = await said(() => call([...args, ...(isPlain(last) ? [] : [{}]), ...surplus]));
      if (!refusal.test(behind) && !/surplus|\[object Object\]/.test(behind))
        problems.push(`${name}, behind its options: ${behind}`);
      const unknown = { ...(isPlain(last) ? (last as object) : {}), zzz: 1 };
      const option = await said(() => call([...(isPlain(last) ? args.slice(0, -1) : args), unknown]));
      if (!/zzz|takes \d|too many|one by one|among them|\[object Object\]/.test(option))
        problems.push(`${name}, unknown option: ${option}`);
    }
  });
  expect(problems).toEqual([]);
});

it.each([
  ['Sigmoid', () => new (nn.Sigmoid as new (options: object) => object)({ inplace: true })],
  ['Tanh', () => new (nn.Tanh as new (options: object) => object)({ inplace: true })],
])('%s names the option that it has not', (name, make) => {
  expect(make).toThrow(`${name}: takes no arguments, got 1; there is no option 'inplace'`);
});

it('a module of the user without a constructor takes no arguments, as in PyTorch', () => {
  class Net extends nn.Module {
    forward(x: k.Tensor): k.Tensor {
      return x;
    }
  }
  expect(() => new (Net as new (width: number) => object)(3)).toThrow('Net: takes no arguments, got 1');
});

it.each(['cuda', 'cpu', 'float', 'half', 'eval'] as const)('model.%s takes none', (method) => {
  const model = new nn.Linear(1, 1) as unknown as Record<string, Fn>;
  expect(() => model[method]!(1)).toThrow(`${method}: takes no arguments, got 1`);
});
