/** A layer's call refuses what its forward does not take, as PyTorch does with a TypeError. */
import { beforeAll, expect, it } from 'vitest';
import * as k from '../../src/index.js';

beforeAll(() => k.init());

const { nn } = k;
type Loose = (...args: unknown[]) => unknown;
const x = (): k.Tensor => k.ones(2, 3);
const image = (): k.Tensor => k.ones(1, 3, 4, 4);
const ids = (): k.Tensor => k.tensor([0, 1], { dtype: 'int32' });

const surplus: Readonly<Record<string, () => [unknown, ...unknown[]]>> = {
  CrossEntropyLoss: () => [new nn.CrossEntropyLoss(), x(), ids(), { weight: k.ones(3) }],
  MSELoss: () => [new nn.MSELoss(), x(), x(), x()],
  BatchNorm1d: () => [new nn.BatchNorm1d(3), x(), { training: false }],
  Dropout: () => [new nn.Dropout(0.5), x(), {}],
  Linear: () => [new nn.Linear(3, 3), x(), x()],
  Softmax: () => [new nn.Softmax(1), x(), 1],
  ReLU: () => [new nn.ReLU(), x(), true],
  Conv2d: () => [new nn.Conv2d(3, 4, 3), image(), { stride: 2 }],
  MaxPool2d: () => [new nn.MaxPool2d(2), image(), 2],
  Embedding: () => [new nn.Embedding(2, 3), ids(), 1],
  Sequential: () => [new nn.Sequential(new nn.ReLU()), x(), x()],
  GRU: () => [new nn.GRU(3, 3), x(), null, 1],
};

it.each(Object.entries(surplus))('%s', (name, make) => {
  const [layer, ...args] = make();
  expect(() => (layer as Loose)(...args)).toThrow(
    new RegExp(`^${name}: forward takes \\d arguments?, got ${args.length}`),
  );
});

it('what a forward has by default or as a rest is taken', () => {
  const cell = new nn.GRUCell(3, 3);
  expect(cell(x(), k.zeros(2, 3)).shape).toEqual([2, 3]);
  expect(new nn.ConvTranspose2d(3, 1, 2)(image(), [5, 5]).shape).toEqual([1, 1, 5, 5]);
  class Scaled extends nn.Linear {
    override forward(input: k.Tensor, scale = 1): k.Tensor {
      return super.forward(input).mul(scale);
    }
  }
  expect((new Scaled(3, 2) as unknown as Loose)(x(), 2)).toBeInstanceOf(k.Tensor);
});

it('a module of the user is called as a JavaScript function is', () => {
  class Net extends nn.Module {
    forward(input: k.Tensor): k.Tensor {
      return input;
    }
  }
  expect([x(), x()].map(new Net())).toHaveLength(2);
});

it('a copy of a layer is as strict', () => {
  const copy = nn.deepcopy(new nn.Linear(3, 3)) as unknown as Loose;
  expect(() => copy(x(), 1)).toThrow('Linear: forward takes 1 argument, got 2');
});

it('a module without forward says so', () => {
  class Empty extends (nn.Module as unknown as new () => object) {}
  expect(() => (new Empty() as Loose)(x())).toThrow('Empty: has no method forward');
});

type Make = new (...args: unknown[]) => object;
it.each<[keyof typeof nn, unknown[], string]>([
  ['MaxPool2d', [{ kernelSize: 2, padding: 1 }], 'kernel_size=2, stride=2, padding=1'],
  ['AvgPool1d', [{ kernelSize: 3 }], 'kernel_size=(3,), stride=(3,)'],
  ['MaxUnpool2d', [{ kernelSize: 2 }], 'kernel_size=(2, 2), stride=(2, 2)'],
  ['LPPool2d', [2, { kernelSize: 3 }], 'norm_type=2, kernel_size=3, stride=None'],
  ['LPPool1d', [{ normType: 2, kernelSize: 3 }], 'norm_type=2, kernel_size=3'],
  ['Fold', [[4, 4], { kernelSize: 2 }], 'output_size=(4, 4), kernel_size=2, dilation=1'],
  ['Unfold', [{ kernelSize: 2, stride: 2 }], 'kernel_size=2, dilation=1, padding=0, stride=2'],
  ['Unflatten', [{ dim: 1, unflattenedSize: [2, 3] }], 'dim=1, unflattened_size=(2, 3)'],
  ['AdaptiveAvgPool2d', [{ outputSize: 1 }], 'output_size=1'],
  ['AdaptiveMaxPool2d', [{ outputSize: [1, 2] }], 'output_size=(1, 2)'],
  ['PixelShuffle', [{ upscaleFactor: 2 }], 'upscale_factor=2'],
  ['PixelUnshuffle', [{ downscaleFactor: 2 }], 'downscale_factor=2'],
  ['ChannelShuffle', [{ groups: 2 }], 'groups=2'],
  ['LocalResponseNorm', [{ size: 2, k: 2 }], '2, alpha=0.0001, beta=0.75, k=2'],
  ['LayerNorm', [{ normalizedShape: 3, eps: 1e-3 }], '(3,), eps=0.001, elementwise_affine=True'],
  ['ZeroPad2d', [{ padding: 1 }], '(1, 1, 1, 1)'],
  ['ConstantPad1d', [1, { value: 3 }], 'padding=(1, 1), value=3.0'],
  ['RMSNorm', [{ normalizedShape: [3] }], '(3,), eps=None'],
])('%s takes its arguments by name, and says which is missing', (name, args, printed) => {
  const type = nn[name] as unknown as Make;
  expect(String(new type(...args))).toContain(`${name}(${printed}`);
  expect(() => new type()).toThrow(new RegExp(`^${name}: '\\w+' is missing`));
  expect(() => new type({ zzz: 1 })).toThrow(`${name}: there is no option 'zzz'`);
});

it.each<[string, () => unknown, string]>([
  ['Conv2d', () => new (nn.Conv2d as unknown as Make)(3, 4), "Conv2d: 'kernelSize' is missing"],
  ['Conv2d', () => new (nn.Conv2d as unknown as Make)(3, 4, [3, 3, 3]), 'Conv2d: kernelSize must be'],
  ['Parameter', () => new (nn.Parameter as unknown as Make)(3), 'Parameter: expected a tensor, got 3'],
  ['PixelShuffle', () => new nn.PixelShuffle(0), 'upscaleFactor must be a positive integer'],
  ['LayerNorm', () => new nn.LayerNorm([]), 'normalizedShape needs at least one size'],
])('%s says what it wants', (_, make, message) => expect(make).toThrow(message));
