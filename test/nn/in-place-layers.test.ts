import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';
import { nn, noGrad, type Tensor } from '../../src/index.js';

/** Layers with `inplace: true` write the result over their input; every number is PyTorch's. */

beforeAll(() => k.init());
beforeEach(() => void k.manualSeed(3));

const w = (): Tensor => k.tensor([-4, -0.75, 0.05, 0.75, 7], { requiresGrad: true });
const close = (got: unknown, want: readonly number[]): void =>
  want.forEach((value, i) => expect((got as number[])[i]).toBeCloseTo(value, 4));

/** What `x = w * 1; y = layer(x); (y * x).sum().backward()` leaves in x and in w.grad. */
const activations: Record<string, [layer: () => nn.TensorModule, x: number[], grad: number[]]> = {
  ReLU: [() => new nn.ReLU(true), [0, 0, 0.05, 0.75, 7], [0, 0, 0.1, 1.5, 14]],
  ReLU6: [() => new nn.ReLU6(true), [0, 0, 0.05, 0.75, 6], [0, 0, 0.1, 1.5, 0]],
  LeakyReLU: [() => new nn.LeakyReLU(0.2, true), [-0.8, -0.15, 0.05, 0.75, 7], [-0.32, -0.06, 0.1, 1.5, 14]],
  ELU: [
    () => new nn.ELU(1.5, true),
    [-1.472527, -0.79145, 0.05, 0.75, 7],
    [-0.080911, -1.121564, 0.1, 1.5, 14],
  ],
  CELU: [
    () => new nn.CELU(1.5, true),
    [-1.395775, -0.590204, 0.05, 0.75, 7],
    [-0.193966, -0.715954, 0.1, 1.5, 14],
  ],
  SELU: [
    () => new nn.SELU(true),
    [-1.725899, -0.927632, 0.052535, 0.788026, 7.354907],
    [-0.11115, -1.540736, 0.110397, 1.655959, 15.455617],
  ],
  SiLU: [
    () => new nn.SiLU(true),
    [-0.071945, -0.240616, 0.025625, 0.509384, 6.993623],
    [0.007578, -0.075746, 0.026906, 0.858414, 14.063619],
  ],
  Mish: [
    () => new nn.Mish(true),
    [-0.072592, -0.276495, 0.030798, 0.610018, 6.999989],
    [0.007807, -0.088891, 0.03892, 1.202661, 14.00028],
  ],
  Hardtanh: [() => new nn.Hardtanh(-1, 1, true), [-1, -0.75, 0.05, 0.75, 1], [0, -1.5, 0.1, 1.5, 0]],
  Hardswish: [
    () => new nn.Hardswish(true),
    [0, -0.28125, 0.025417, 0.46875, 7],
    [0, -0.140625, 0.026264, 0.703125, 14],
  ],
  Hardsigmoid: [
    () => new nn.Hardsigmoid(true),
    [0, 0.375, 0.508333, 0.625, 1],
    [0, 0.125, 0.169444, 0.208333, 0],
  ],
  RReLU: [
    () => new nn.RReLU(0.125, 0.375, true).eval(),
    [-1, -0.1875, 0.05, 0.75, 7],
    [-0.5, -0.09375, 0.1, 1.5, 14],
  ],
  Threshold: [() => new nn.Threshold(0.1, -3, true), [-3, -3, -3, 0.75, 7], [0, 0, 0, 1.5, 14]],
};

describe.each(Object.entries(activations))('%s in place', (_, [layer, values, grad]) => {
  it.each([
    ['a tensor of its own', (x: Tensor) => x],
    // Memory that others show cannot be given up: the write goes into it.
    ['a view', (x: Tensor) => x.view(5, 1)],
  ])('writes into %s, with its gradient', async (_kind, shown) => {
    const leaf = w();
    const x = leaf.mul(1);
    const input = shown(x);
    const y = layer()(input);
    expect(y).toBe(input);
    close(await x.toArray(), values);
    y.mul(shown(x)).sum().backward();
    close(await leaf.grad?.toArray(), grad);
  });

  it('writes without a tape', async () => {
    const x = noGrad(() => w().mul(1));
    layer()(x);
    close(await x.toArray(), values);
  });

  it('refuses a leaf that requires grad', () => {
    expect(() => layer()(w())).toThrow(/a leaf that requires grad cannot be changed in place/);
  });
});

describe('dropouts in place', () => {
  it.each([
    ['Dropout', () => new nn.Dropout(1, true), [1, 1, 1, 2], [0, 0]],
    ['Dropout1d', () => new nn.Dropout1d(1, true), [1, 1, 2], [0, 0]],
    ['Dropout2d', () => new nn.Dropout2d(1, true), [1, 1, 1, 2], [0, 0]],
    ['Dropout3d', () => new nn.Dropout3d(1, true), [1, 1, 1, 1, 2], [0, 0]],
    // PyTorch's two alpha dropouts take the option and do not look at it.
    ['AlphaDropout', () => new nn.AlphaDropout(1, true), [1, 1, 1, 2], [1, 1]],
    ['FeatureAlphaDropout', () => new nn.FeatureAlphaDropout(1, true), [1, 1, 1, 2], [1, 1]],
  ] as [string, () => nn.TensorModule, number[], number[]][])('%s', async (_, layer, shape, left) => {
    const x = k.ones(shape);
    layer()(x);
    expect(await x.flatten().toArray()).toEqual(left);
  });

  it.each([
    ['a tensor of its own', (x: Tensor) => x],
    ['a view', (x: Tensor) => x.view(25, 40)],
  ])('write what they return into %s, with its gradient', async (_kind, shown) => {
    const leaf = k.ones([1000], { requiresGrad: true });
    const x = leaf.mul(3);
    new nn.Dropout(0.5, true)(shown(x));
    x.sum().backward();
    const values = (await x.toArray()) as number[];
    expect(new Set(values)).toEqual(new Set([0, 6]));
    expect(await leaf.grad?.toArray()).toEqual(values);
  });

  it('leave their input alone in evaluation, a leaf too', () => {
    const leaf = k.ones([2], { requiresGrad: true });
    expect(new nn.Dropout(0.5, true).eval()(leaf)).toBe(leaf);
  });
});

describe('in a Sequential', () => {
  it("the first layer writes over the network's input", async () => {
    const x = k.tensor([[-1, 2]]);
    new nn.Sequential(new nn.ReLU(true), new nn.Linear(2, 2))(x);
    expect(await x.toArray()).toEqual([[0, 2]]);
  });

  it('the layer behind those that return their input, or a view of it, does', async () => {
    const x = k.tensor([[[-1, 2]]]);
    new nn.Sequential(new nn.Identity(), new nn.Dropout(0), new nn.Flatten(), new nn.ReLU(true))(x);
    expect(await x.toArray()).toEqual([[[0, 2]]]);
  });

  it('a hook before it sees, afterwards, what it wrote', async () => {
    const conv = new nn.Conv2d(1, 1, 1);
    let seen: Tensor | undefined;
    conv.registerForwardHook((_m, _args, output) => void (seen = output as Tensor));
    const y = new nn.Sequential(conv, new nn.ReLU(true))(k.randn(1, 1, 3, 3));
    expect(await seen?.toArray()).toEqual(await y.toArray());
  });

  const overwritten = ['Sigmoid', 'Tanh', 'ReLU', 'Softmax', 'LogSoftmax'] as const;
  const fine = ['GELU', 'ELU', 'SiLU', 'SELU', 'CELU', 'Mish', 'Softplus', 'Hardtanh', 'LeakyReLU'] as const;
  const more = ['Softsign', 'LogSigmoid', 'Hardswish', 'Tanhshrink', 'PReLU', 'Identity', 'Dropout'] as const;
  const first = (name: string): nn.TensorModule =>
    name.endsWith('max')
      ? new nn[name as 'Softmax'](1)
      : new (nn as unknown as Record<string, new () => nn.TensorModule>)[name]!();
  const after = { ReLU: new nn.ReLU(true), SiLU: new nn.SiLU(true), Dropout: new nn.Dropout(0.5, true) };

  it.each(overwritten)('%s, whose gradient reads its result, refuses backward', (name) => {
    for (const second of Object.values(after)) {
      const y = new nn.Sequential(first(name), second)(w().mul(1).view(1, 5));
      expect(() => y.sum().backward()).toThrow(/that \w+ needs was changed in place/);
    }
  });

  it.each([...fine, ...more])('%s, whose gradient reads its operand in PyTorch, goes back', (name) => {
    for (const second of Object.values(after))
      new nn.Sequential(first(name), second)(w().mul(1).view(1, 5)).sum().backward();
  });

  it.each([
    ['Linear', () => new nn.Linear(5, 5)],
    ['LayerNorm', () => new nn.LayerNorm(5)],
    ['BatchNorm1d', () => new nn.BatchNorm1d(5)],
    ['GroupNorm', () => new nn.GroupNorm(1, 5)],
  ])('%s goes back', (_, make) => {
    for (const second of Object.values(after)) {
      const x = k.randn([3, 5]).requiresGrad_();
      new nn.Sequential(make(), second)(x).sum().backward();
    }
  });
});

it('a later write is noticed where the layer needs its result', () => {
  const x = w().mul(1);
  const y = new nn.ReLU(true)(x);
  y.add_(1);
  expect(() => y.sum().backward()).toThrow(/that relu_ needs was changed in place by add_/);
});

it('the tape keeps what SiLU overwrote without a copy', () => {
  const layer = new nn.SiLU(true);
  const x = w().mul(1);
  k.runtime().resetOpCounts();
  layer(x);
  expect([...k.runtime().opCounts()]).toEqual([['silu_', 1]]);
});

it('gradients of gradients go through', async () => {
  const leaf = k.randn([6]).requiresGrad_();
  const both = (inplace: boolean): Tensor => {
    const y = new nn.SiLU(inplace)(leaf.mul(2)).pow(2).sum();
    const [g] = k.autograd.grad(y, [leaf], { createGraph: true });
    return k.autograd.grad((g as Tensor).pow(2).sum(), [leaf])[0] as Tensor;
  };
  const [got, want] = [both(true), both(false)];
  expect(await got.sub(want).abs().max().item()).toBeLessThan(1e-5);
});

it('retainGrad() stays with the tensor', async () => {
  const x = w().mul(1);
  x.retainGrad();
  new nn.SiLU(true)(x);
  x.sum().backward();
  expect(await x.grad?.toArray()).toEqual([1, 1, 1, 1, 1]);
});

describe.each([
  ['ReLU', () => new nn.ReLU(true)],
  ['SiLU', () => new nn.SiLU(true)],
  ['Dropout', () => new nn.Dropout(0.5, true)],
] as [string, () => nn.TensorModule][])('%s at the start of', (_, layer) => {
  it('a checkpointed part gives the gradients of the plain call, twice', async () => {
    const [leaf, net] = [
      k.randn([4, 5]).requiresGrad_(),
      new nn.Sequential(layer(), new nn.Linear(5, 5), layer()),
    ];
    const grads = async (call: (x: Tensor) => Tensor): Promise<unknown> => {
      k.manualSeed(5);
      const y = call(leaf.mul(2)).pow(2).sum();
      y.backward({ retainGraph: true });
      y.backward();
      const found = await leaf.grad?.toArray();
      leaf.grad = null;
      return found;
    };
    expect(await grads((x) => k.utils.checkpoint(net, x))).toEqual(await grads(net));
  });

  it('a network that is compiled trains to the same bits', async () => {
    const run = async (compiled: boolean): Promise<unknown> => {
      k.manualSeed(11);
      const net = new nn.Sequential(new nn.Linear(5, 5), layer(), new nn.Linear(5, 5), layer());
      const optimizer = new k.optim.SGD(net.parameters(), { lr: 0.1 });
      const step = (x: Tensor): Tensor => {
        optimizer.zeroGrad();
        const loss = net(x).pow(2).sum();
        loss.backward();
        optimizer.step();
        return loss;
      };
      const called = compiled ? k.compile(step) : step;
      const losses = [];
      for (let i = 0; i < 5; i++) losses.push(await called(k.randn([4, 5])).item());
      if (compiled) expect((called as ReturnType<typeof k.compile>).counts().replayed).toBe(3);
      return losses;
    };
    expect(await run(true)).toEqual(await run(false));
  });

  it('a compiled function changes its argument in every call', async () => {
    const part = layer();
    const [plain, compiled] = [(x: Tensor) => part(x).mul(2), k.compile((x: Tensor) => part(x).mul(2))];
    for (let i = 0; i < 4; i++) {
      const [a, b] = [k.ones([4]).mul(-i), k.ones([4]).mul(-i)];
      const seed = k.getRngState();
      plain(a);
      k.setRngState(seed);
      compiled(b);
      expect(await b.toArray()).toEqual(await a.toArray());
    }
  });
});
