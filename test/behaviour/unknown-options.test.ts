/** From plain JavaScript no option is silently ignored: what is not known is an error that names it. */
import { beforeAll, expect, it } from 'vitest';
import * as transforms from '../../src/data/transforms.js';
import * as k from '../../src/index.js';

beforeAll(() => k.init());

const { nn, optim, models } = k;
const parameter = (): k.Tensor => k.ones(2, 3).requiresGrad_();
const steps = (): k.optim.SGD => new optim.SGD([parameter()], { lr: 0.1 });
const typo = { zzz: 1 } as object;

const calls: Readonly<Record<string, () => unknown>> = {
  backward: () => parameter().sum().backward(typo),
  'backward, beside a gradient': () => parameter().sum().backward(null, typo),
  grad: () => {
    const x = parameter();
    return k.grad(x.sum(), [x], typo);
  },
  gradcheck: () => k.gradcheck((x: k.Tensor) => x.sum(), [parameter()], typo),
  format: () => k.format(k.ones(2), typo),
  clipGradNorm_: () => nn.utils.clipGradNorm_([parameter()], 1, typo),
  kaimingNormal_: () => nn.init.kaimingNormal_(k.ones(2, 3), typo),
  zeroGrad: () => new nn.Linear(3, 2).zeroGrad(typo),
  loadStateDict: () => new nn.Linear(3, 2).loadStateDict(new nn.Linear(3, 2).stateDict(), typo),
  summary: () => new nn.Linear(3, 2).summary([1, 3], typo),
  DataLoader: () => new k.data.DataLoader({ length: 1, get: () => 1 }, typo),
  RandomSampler: () => new k.data.RandomSampler([1], typo),
  WeightedRandomSampler: () => new k.data.WeightedRandomSampler([1], 1, typo),
  BatchSampler: () => new k.data.BatchSampler([1], 1, typo),
  randomSplit: () => k.data.randomSplit({ length: 1, get: () => 1 }, [1], typo),
  stateDict: () => new nn.Linear(3, 2).stateDict(typo),
  AveragedModel: () => new optim.swaUtils.AveragedModel(new nn.Linear(3, 2), typo),
  SWALR: () => new optim.swaUtils.SWALR(steps(), 0.1, typo),
  checkpoint: () => k.utils.checkpoint((x: k.Tensor) => x, k.ones(1), { preserveRngState: true, ...typo }),
  checkpointSequential: () => k.utils.checkpointSequential([(x: k.Tensor) => x], 1, k.ones(1), typo),
  weightNorm: () => nn.utils.weightNorm(new nn.Linear(3, 2), typo),
  spectralNorm: () => nn.utils.spectralNorm(new nn.Linear(3, 2), typo),
  'Embedding.fromPretrained': () => nn.Embedding.fromPretrained(k.ones(1, 2), typo),
  mixup: () => k.data.mixup(k.ones(2, 2), k.tensor([0, 1], { dtype: 'int32' }), typo as k.data.MixOptions),
  RandomCrop: () => new transforms.RandomCrop(8, typo),
  RandAugment: () => new transforms.RandAugment(typo),
  crossEntropy: () => k.crossEntropy(k.ones(1, 2), k.tensor([0], { dtype: 'int32' }), typo),
  nllLoss: () => k.nllLoss(k.ones(1, 2), k.tensor([0], { dtype: 'int32' }), typo),
  scaledDotProductAttention: () =>
    k.scaledDotProductAttention(k.ones(1, 2, 2), k.ones(1, 2, 2), k.ones(1, 2, 2), typo),
  sort: () => k.ones(2).sort(typo),
  topk: () => k.ones(2).topk(1, typo),
  multinomial: () => k.multinomial(k.ones(2), 1, typo),
  isclose: () => k.isclose(k.ones(2), k.ones(2), typo),
  CTCLoss: () => new nn.CTCLoss(typo),
  Linear: () => new nn.Linear(2, 2, typo),
  BatchNorm2d: () => new nn.BatchNorm2d(2, typo),
  'nn.fused': () => nn.fused(k.ones(2), [], typo),
  SGD: () => new optim.SGD([parameter()], { lr: 0.1, ...typo }),
  Adam: () => new optim.Adam([parameter()], typo),
  LBFGS: () => new optim.LBFGS([parameter()], typo),
  'a group': () => new optim.SGD([{ params: [parameter()], ...typo }], { lr: 0.1 }),
  addParamGroup: () => steps().addParamGroup({ params: [parameter()], ...typo }),
  StepLR: () => new optim.lrScheduler.StepLR(steps(), 1, typo),
  OneCycleLR: () => new optim.lrScheduler.OneCycleLR(steps(), 0.1, { totalSteps: 3, ...typo }),
  ReduceLROnPlateau: () => new optim.lrScheduler.ReduceLROnPlateau(steps(), typo),
  ...Object.fromEntries(
    [models.resnet18, models.vgg11, models.mobilenetV2, models.mobilenetV3Small, models.efficientnetB0].map(
      (build) => [build.modelName, () => (build as (options: object) => unknown)(typo)],
    ),
  ),
};

it.each(Object.entries(calls))('%s', async (_, call) => {
  await expect((async () => k.runtime().withoutWork(() => call()))()).rejects.toThrow(
    /there is no option 'zzz'.*Its options are /,
  );
});

it('says what was probably meant', () => {
  expect(() => new optim.SGD([parameter()], { lr: 0.1, momentun: 0.9 } as object as { lr: number })).toThrow(
    "SGD: there is no option 'momentun'; did you mean 'momentum'?",
  );
});

type LooseCall = (...args: unknown[]) => unknown;
const loose = (call: unknown): LooseCall => call as LooseCall;
const classOf =
  (type: unknown): LooseCall =>
  (...args) =>
    new (type as new (...args: unknown[]) => unknown)(...args);
const { data } = k;
const surplus: Readonly<Record<string, () => unknown>> = {
  DataLoader: () => classOf(data.DataLoader)([1], {}, 1),
  RandomSampler: () => classOf(data.RandomSampler)([1], true, 1, 1),
  WeightedRandomSampler: () => classOf(data.WeightedRandomSampler)([1], 1, true, 1),
  BatchSampler: () => classOf(data.BatchSampler)([1], 1, true, 1),
  randomSplit: () => loose(data.randomSplit)([1], [1], 1),
  randperm: () => loose(k.randperm)(3, 1),
  AveragedModel: () => classOf(optim.swaUtils.AveragedModel)(new nn.Linear(1, 1), 'cpu'),
  checkpointSequential: () => loose(k.utils.checkpointSequential)([(x: k.Tensor) => x], 1, k.ones(1), {}, 1),
  stateDict: () => {
    const layer = new nn.Linear(1, 1);
    return loose(layer.stateDict.bind(layer))('', 1);
  },
  loadStateDict: () => {
    const layer = new nn.Linear(1, 1);
    return loose(layer.loadStateDict.bind(layer))(layer.stateDict(), true, 1);
  },
}; // prettier-ignore

it.each(Object.entries(surplus))('%s refuses an argument too many', async (name, call) => {
  await expect((async () => call())()).rejects.toThrow(new RegExp(`^${name}: (takes|does not know)`));
});

it.each([
  ['a flag that is none', () => classOf(data.WeightedRandomSampler)([1], 1, { replacement: 0 })],
  ['a loader flag', () => classOf(data.DataLoader)([1], { shuffle: 1 })],
])('%s is refused', (_, call) => expect(call).toThrow('must be true or false'));

it.each([
  ['Random', () => classOf(data.Random)(0, {}), "Random: the stream's numbers must be integers"],
  ['Random', () => new data.Random(0).permutation(-1), 'n must be an integer from 0 to 2^32, got -1'],
  ['RandomSampler', () => classOf(data.RandomSampler)({}), 'expected a dataset or an array'],
  ['SubsetRandomSampler', () => new data.SubsetRandomSampler([0.5]), 'indices must be integers, got 0.5'],
  [
    'randomSplit',
    () => loose(data.randomSplit)({ length: 1 }, 1),
    'lengths must be an array of numbers, got 1',
  ],
  [
    'loadStateDict',
    () => new nn.Linear(1, 1).loadStateDict(undefined as never),
    'expected a Map or an object',
  ],
  ['AveragedModel', () => classOf(optim.swaUtils.AveragedModel)(1), 'expected a module to average, got 1'],
])('%s says what it wants', (_, call, message) => expect(call).toThrow(message));

it('a state dict is loaded and given as PyTorch takes the options by position', () => {
  const layer = new nn.Linear(1, 1);
  expect(layer.loadStateDict(new Map(), false).missingKeys).toEqual(['weight', 'bias']);
  expect([...layer.stateDict('a.').keys()]).toEqual(['a.weight', 'a.bias']);
  expect(layer.stateDict({ keepVars: true }).get('bias')).toBe(layer.bias);
});

it.each(['train', 'requiresGrad_'] as const)('%s takes true or false, not options', (method) => {
  const model = new nn.Linear(2, 2);
  expect(() => model[method](typo as unknown as boolean)).toThrow(/must be true or false/);
});

it('what PyTorch takes by position is taken by position', async () => {
  const x = k.tensor([[3, 1, 2]]);
  expect(await x.topk(2, 1, false)[0].toArray()).toEqual([[1, 2]]);
  expect(await x.sort(1, { stable: true })[0].toArray()).toEqual([[1, 2, 3]]);
  expect(await x.isclose(k.zeros(1, 3), 0, 2).toArray()).toEqual([[false, true, true]]);
  expect(await k.bernoulli(k.zeros(2), 1).toArray()).toEqual([1, 1]);
  expect(await k.arange(4).reshape(2, 2).flip(0, 1).toArray()).toEqual([
    [3, 2],
    [1, 0],
  ]);
  const weight = k.tensor([1, 2, 100]);
  const label = k.tensor([2], { dtype: 'int32' });
  const [byPosition, byName] = [k.crossEntropy(x, label, weight), k.crossEntropy(x, label, { weight })];
  expect(await byPosition.item()).toBe(await byName.item());
});

it.each([
  ['full', () => k.full([2], null as unknown as number)],
  ['fill_', () => k.ones(2).fill_({ value: 3 } as unknown as number)],
  ['maskedFill', () => k.ones(2).maskedFill(k.ones(2, { dtype: 'bool' }), null as unknown as number)],
])('%s takes numbers only', (_, call) => expect(call).toThrow(/expected a number/));

it('a layer takes its numbers by position and by name', () => {
  expect({ ...new nn.ReLU(true) }).toMatchObject({ inplace: true });
  expect({ ...new nn.ELU({ alpha: 2, inplace: true }) }).toMatchObject({ alpha: 2, inplace: true });
  expect({ ...new nn.LeakyReLU(0.2, true) }).toMatchObject({ negativeSlope: 0.2, inplace: true });
  expect({ ...new nn.Hardtanh({ maxVal: 6 }) }).toMatchObject({ minVal: -1, maxVal: 6 });
  expect({ ...new nn.Dropout({ p: 0.1 }) }).toMatchObject({ p: 0.1, inplace: false });
  expect({ ...new nn.Flatten({ startDim: 2 }) }).toMatchObject({ startDim: 2, endDim: -1 });
  expect({ ...new nn.Softmax({ dim: 1 }) }).toMatchObject({ dim: 1 });
});

type Loose = Readonly<Record<string, (...args: unknown[]) => unknown>>;
type LooseClasses = Readonly<Record<string, new (...args: unknown[]) => unknown>>;

it.each([
  ['ELU', ['1']],
  ['ELU', [1, false, 3]],
  ['GLU', [{ dim: '1' }]],
  ['Softmax', [1, 2]],
  ['Dropout', [0.5, 1]],
  ['ConstantPad2d', [1, { value: '3' }]],
  ['ZeroPad2d', [{ padding: 'same' }]],
  ['Sigmoid', [{ inplace: true }]],
])('%s refuses %j', (layer, args) => {
  expect(() => new (nn as unknown as LooseClasses)[layer]!(...args)).toThrow(layer);
});

it.each([
  ['gather', [k.Tensor, 0, 'index', { sparseGrad: true }]],
  ['matmul', [k.Tensor, k.Tensor, k.Tensor]],
  ['squeeze', [k.Tensor, 0, { dim: 1 }]],
  ['mul_', [k.Tensor, 2, 3]],
  ['relu', [k.Tensor, true]],
  ['reshape', [k.Tensor, [2, 1], 2]],
  ['sum', [k.Tensor, 0, 1]],
])('%s refuses an argument too many or of the wrong kind', (op, args) => {
  const given = args.map((arg) =>
    arg === k.Tensor ? k.ones(2, 1) : arg === 'index' ? k.zeros(2, 1, { dtype: 'int32' }) : arg,
  );
  expect(() => (k as unknown as Loose)[op]!(...given)).toThrow(op);
});

it('layers take their sizes by name', () => {
  const { nn } = k;
  const sizes = { inChannels: 2, outChannels: 4, kernelSize: 3 };
  const named = [
    new nn.Linear({ inFeatures: 3, outFeatures: 2, bias: false }),
    new nn.Conv2d({ ...sizes, padding: 1 }),
    new nn.Conv1d(2, { outChannels: 4, kernelSize: 3 }),
    new nn.ConvTranspose2d(sizes),
    new nn.LSTM({ inputSize: 2, hiddenSize: 3, numLayers: 2 }),
    new nn.GRUCell({ inputSize: 2, hiddenSize: 3, bias: false }),
  ];
  expect(named.map(String)).toEqual(
    [
      new nn.Linear(3, 2, false),
      new nn.Conv2d(2, 4, 3, { padding: 1 }),
      new nn.Conv1d(2, 4, 3),
      new nn.ConvTranspose2d(2, 4, 3),
      new nn.LSTM(2, 3, 2),
      new nn.GRUCell(2, 3, { bias: false }),
    ].map(String),
  );
  expect(() => classOf(nn.Conv2d)(1, 2)).toThrow("Conv2d: 'kernelSize' is missing");
});

it("torch.nn.functional's activations take inplace", async () => {
  const x = k.tensor([-1, 2]);
  expect(k.nn.functional.relu(x, { inplace: true })).toBe(x);
  expect(await x.toArray()).toEqual([0, 2]);
});

it('behind what else they take', async () => {
  const { nn } = k;
  const F = nn.functional;
  const x = k.tensor([-2, 2]);
  expect(F.hardtanh(x, -1, 1)).not.toBe(x);
  for (const made of [
    F.leakyRelu(x, 0.5, true),
    F.hardtanh(x, { minVal: -1, inplace: true }),
    F.threshold(x, -1, 3, true),
    F.elu(x, { inplace: true }),
    F.celu(x, 2, true),
    F.dropout(x, { training: false, inplace: true }),
  ])
    expect(made).toBe(x);
  expect(await x.toArray()).toEqual([3, 1]);
  expect(await F.dropout(x, 1, true, true).toArray()).toEqual([0, 0]);
  expect(await x.toArray()).toEqual([0, 0]);
  expect(() => loose(F.elu)(x, 1, true, 2)).toThrow(/^elu: /);
});
