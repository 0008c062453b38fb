import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';
import { models, nn, noGrad, type Tensor } from '../../src/index.js';
import { observeCalls } from '../../src/nn/base/call.js';

/** Layers that run as one must be told from layers that run one by one by their launches only. */

beforeAll(() => k.init());
beforeEach(() => void k.manualSeed(7));

/** Images channels-last in memory, as they are between layers. */
const random = (...shape: number[]): Tensor => {
  if (shape.length !== 4) return k.randn(...shape);
  const [n, c, h, w] = shape as [number, number, number, number];
  return k.randn(n, h, w, c).permute(0, 3, 1, 2);
};

/** With statistics, factors and shifts as after a training. */
function norm(channels: number, options: nn.BatchNormOptions = {}): nn.BatchNorm2d {
  const bn = new nn.BatchNorm2d(channels, options);
  noGrad(() => {
    bn.runningMean?.normal_();
    bn.runningVar?.uniform_(0.5, 2);
    bn.weight?.uniform_(-1, 2);
    bn.bias?.normal_();
  });
  return bn;
}

interface Parts {
  readonly conv?: nn.Conv2d;
  readonly bn?: nn.BatchNorm2d;
  readonly residual?: Tensor;
  readonly activation?: 'relu' | 'relu6' | 'silu' | 'hardswish';
}

/** The same of ordinary ops. In training the norm's running statistics are left alone. */
function byHand(x: Tensor, { conv, bn, residual, activation }: Parts): Tensor {
  let y = x;
  if (conv) {
    const { stride, padding, groups } = conv;
    y = k.conv2d(y, conv.weight, conv.bias, { stride, padding, groups });
  }
  if (bn) {
    const { weight, bias, eps, training } = bn;
    const [mean, variance] = training ? [null, null] : [bn.runningMean, bn.runningVar];
    y = k.batchNorm(y, mean, variance, { weight, bias, eps, training: mean === null });
  }
  if (residual) y = k.add(y, residual);
  const { relu, relu6, silu, hardswish } = k.nn.functional;
  return activation === undefined ? y : { relu, relu6, silu, hardswish }[activation](y);
}

/** Largest difference over the largest value. */
const off = (got: Tensor, want: Tensor): Promise<number> => {
  expect(got.shape).toEqual(want.shape);
  return noGrad(() => got.sub(want).abs().max().div(want.abs().max())).item();
};

/** Dispatches of `fn` by kernel. */
function launches(fn: () => unknown): Record<string, number> {
  const before = new Map(k.runtime().opCounts());
  k.tidy(() => void fn());
  const made = [...k.runtime().opCounts()].map(([name, count]) => [name, count - (before.get(name) ?? 0)]);
  return Object.fromEntries(made.filter(([, count]) => count !== 0)) as Record<string, number>;
}

const total = (counts: Record<string, number>): number => Object.values(counts).reduce((a, b) => a + b, 0);
const ownLaunches = ['add', 'relu', 'relu6'];

describe('in evaluation without gradients', () => {
  const cases: [name: string, conv: () => nn.Conv2d, size: number][] = [
    ['3x3', () => new nn.Conv2d(8, 8, 3, { padding: 1 }), 6],
    ['3x3 without bias at stride 2', () => new nn.Conv2d(8, 8, 3, { padding: 1, stride: 2, bias: false }), 6],
    ['1x1', () => new nn.Conv2d(8, 8, 1, { bias: false }), 6],
    ['depthwise', () => new nn.Conv2d(8, 8, 3, { padding: 1, groups: 8, bias: false }), 6],
    ['large enough for Winograd', () => new nn.Conv2d(32, 32, 3, { padding: 1, bias: false }), 32],
  ];

  it.each(cases)('%s: convolution, norm, residual and ReLU are one step', async (_, make, size) => {
    const [conv, bn] = [make(), norm(make().outChannels).eval()];
    await noGrad(async () => {
      const x = random(2, conv.inChannels, size, size);
      const residual = random(...conv(x).shape);
      const run = (): Tensor => nn.fused(x, [conv, bn], { residual, activation: 'relu' });
      expect(await off(run(), byHand(x, { conv, bn, residual, activation: 'relu' }))).toBeLessThan(1e-5);
      expect(launches(run)).toEqual(launches(() => conv(x)));
    });
  });

  const layers = {
    none: () => [],
    relu: () => [new nn.ReLU({ inplace: true })],
    relu6: () => [new nn.ReLU6()],
    silu: () => [new nn.SiLU({ inplace: true })],
    hardswish: () => [new nn.Hardswish()],
  };
  const activations = Object.keys(layers) as (keyof typeof layers)[];

  it.each(activations)('of a Sequential, activation %s', async (activation) => {
    const [conv, bn] = [new nn.Conv2d(8, 8, 3, { padding: 1 }), norm(8)];
    const last = layers[activation]();
    const model = new nn.Sequential(conv, bn, ...last).eval();
    await noGrad(async () => {
      const x = random(2, 8, 6, 6);
      const want = byHand(x, { conv, bn, ...(activation !== 'none' && { activation }) });
      expect(await off(model(x), want)).toBeLessThan(1e-5);
      expect(launches(() => model(x))).toEqual(launches(() => conv(x)));
    });
  });

  it.each(['silu', 'hardswish'] as const)(
    '%s of a convolution without norm, of large values too',
    async (activation) => {
      const conv = new nn.Conv2d(8, 8, 1);
      const model = new nn.Sequential(conv, ...layers[activation]());
      await noGrad(async () => {
        const x = random(2, 8, 6, 6).mul(1e4);
        expect(await off(model(x), byHand(x, { conv, activation }))).toBeLessThan(1e-5);
        expect(launches(() => model(x))).toEqual(launches(() => conv(x)));
      });
    },
  );

  it.each(['silu', 'hardswish'] as const)(
    '%s keeps to itself where gradients are recorded',
    async (activation) => {
      const [conv, bn] = [new nn.Conv2d(8, 8, 3, { padding: 1 }), norm(8).eval()];
      const x = random(2, 8, 6, 6);
      for (const parts of [{ conv }, { conv, bn }]) {
        const model = new nn.Sequential(...Object.values(parts), ...layers[activation]());
        const gradients = (y: Tensor): Tensor[] =>
          k.autograd.grad(y.square().sum(), [conv.weight, conv.bias!]);
        const want = gradients(byHand(x, { ...parts, activation }));
        for (const [i, got] of gradients(model(x)).entries())
          expect(await off(got, want[i]!)).toBeLessThan(1e-5);
      }
    },
  );

  it('a convolution without norm takes the activation along, with gradients too', async () => {
    const conv = new nn.Conv2d(8, 8, 3, { padding: 1 });
    const x = random(2, 8, 6, 6);
    const model = new nn.Sequential(conv, new nn.ReLU());
    expect(launches(() => model(x))).toEqual(launches(() => conv(x)));
    const gradients = (y: Tensor): Tensor[] => k.autograd.grad(y.square().sum(), [conv.weight, conv.bias!]);
    const want = gradients(byHand(x, { conv, activation: 'relu' }));
    for (const [i, got] of gradients(model(x)).entries()) expect(await off(got, want[i]!)).toBeLessThan(1e-5);
  });
});

describe("the norm's cached factor and shift", () => {
  const [channels, size] = [8, 6];
  const setup = (): { x: Tensor; conv: nn.Conv2d; bn: nn.BatchNorm2d; model: nn.Sequential } => {
    const [conv, bn] = [new nn.Conv2d(channels, channels, 1), norm(channels)];
    return { x: random(2, channels, size, size), conv, bn, model: new nn.Sequential(conv, bn).eval() };
  };

  it('are made once', () => {
    const { x, model } = setup();
    noGrad(() => {
      model(x);
      expect(Object.keys(launches(() => model(x))).filter((name) => name.startsWith('batchNorm'))).toEqual(
        [],
      );
    });
  });

  const changes: [what: string, change: (bn: nn.BatchNorm2d) => unknown][] = [
    ['running variance', (bn) => bn.runningVar!.mul_(4)],
    ['running mean', (bn) => bn.runningMean!.add_(3)],
    ['weight', (bn) => bn.weight!.mul_(-2)],
    ['bias', (bn) => bn.bias!.add_(3)],
    ['weight, replaced', (bn) => (bn.weight = new nn.Parameter(random(channels)))],
    ['bias, removed', (bn) => (bn.bias = null)],
    ['running mean, replaced', (bn) => (bn.runningMean = random(channels).keep())],
    ['eps', (bn) => (bn.eps = 1)],
    ['statistics, reset', (bn) => bn.resetRunningStats()],
    ['state, loaded', (bn) => bn.loadStateDict(norm(channels).stateDict())],
    ['statistics, by a training step', (bn) => bn.train()(random(2, channels, size, size)) && bn.eval()],
    [
      'parameters, by an optimizer',
      (bn) => {
        k.enableGrad(() =>
          bn(random(2, channels, size, size))
            .square()
            .sum()
            .backward(),
        );
        new k.optim.SGD(bn.parameters(), { lr: 0.1 }).step();
      },
    ],
  ];

  it.each(changes)('follow a change of the %s', async (_, change) => {
    const { x, conv, bn, model } = setup();
    await noGrad(async () => {
      const before = model(x);
      change(bn);
      expect(await off(model(x), byHand(x, { conv, bn }))).toBeLessThan(1e-5);
      expect(await off(model(x), before)).toBeGreaterThan(1e-3);
    });
  });

  it('are right for statistics that do not lie densely', async () => {
    const { x, conv, bn, model } = setup();
    const everyOther = (): Tensor => k.rand(channels, 2).add(0.5).select(1, 0);
    bn.runningVar = everyOther();
    bn.weight = new nn.Parameter(everyOther());
    expect(bn.weight.strides).toEqual([2]);
    await noGrad(async () => {
      expect(await off(model(x), byHand(x, { conv, bn }))).toBeLessThan(1e-5);
    });
  });

  it('are told apart for norms whose statistics begin at the same place of one storage', async () => {
    const shared = { mean: random(8), variance: k.rand(8).add(0.5), weight: random(8), bias: random(8) };
    const x = random(2, 4, 6, 6);
    await noGrad(async () => {
      for (const width of [4, 8]) {
        const [conv, bn] = [new nn.Conv2d(4, width, 1), new nn.BatchNorm2d(width).eval()];
        bn.runningMean = shared.mean.narrow(0, 0, width);
        bn.runningVar = shared.variance.narrow(0, 0, width);
        bn.weight = new nn.Parameter(shared.weight.narrow(0, 0, width));
        bn.bias = new nn.Parameter(shared.bias.narrow(0, 0, width));
        expect(await off(nn.fused(x, [conv, bn]), byHand(x, { conv, bn }))).toBeLessThan(1e-5);
      }
    });
  });
});

describe('in training', () => {
  /** Gradients of a weighted sum of `y`, so that no symmetry hides an error. */
  const gradients = (y: Tensor, inputs: readonly Tensor[], by: Tensor, createGraph = false): Tensor[] =>
    k.autograd.grad(y.mul(by).sum(), inputs, { createGraph });

  it.each([
    ['none', false],
    ['relu', false],
    ['relu6', false],
    ['none', true],
    ['relu', true],
    ['relu6', true],
  ] as const)('activation %s, residual %s: results, gradients, statistics', async (activation, added) => {
    const [conv, bn] = [new nn.Conv2d(8, 8, 3, { padding: 1 }), norm(8)];
    const twin = norm(8);
    twin.loadStateDict(bn.stateDict());
    const x = random(3, 8, 6, 6).requiresGrad_();
    const residual = added ? random(3, 8, 6, 6).requiresGrad_() : undefined;
    const layer = { none: null, relu: 'relu', relu6: new nn.ReLU6() }[activation] as nn.ReLU6 | 'relu' | null;
    const got = nn.fused(x, [conv, bn], { residual: residual ?? null, activation: layer });
    const want = byHand(x, {
      conv,
      bn,
      ...(residual && { residual }),
      ...(activation !== 'none' && { activation }),
    });
    expect(await off(got, want)).toBeLessThan(1e-5);

    const inputs = [x, conv.weight, bn.weight!, bn.bias!, ...(residual ? [residual] : [])];
    const by = random(...got.shape);
    const expected = gradients(want, inputs, by);
    for (const [i, gradient] of gradients(got, inputs, by).entries())
      expect(await off(gradient, expected[i]!), `gradient ${i}`).toBeLessThan(2e-5);

    twin(noGrad(() => conv(x)));
    for (const [i, [name, buffer]] of bn.namedBuffers().entries())
      expect(await off(buffer.to('float32'), twin.buffers()[i]!.to('float32')), name).toBeLessThan(1e-5);
  });

  it("a bias before a norm has the gradient zero, as rounding allows, the norm's own has not", async () => {
    const [conv, bn] = [new nn.Conv2d(4, 4, 1), norm(4)];
    const y = nn.fused(random(2, 4, 6, 6), [conv, bn], { activation: 'relu' });
    const [bias, shift] = gradients(y, [conv.bias!, bn.bias!], random(...y.shape)) as [Tensor, Tensor];
    expect(await bias.abs().max().item()).toBeLessThan(1e-4);
    expect(await shift.abs().max().item()).toBeGreaterThan(1e-2);
  });

  it('can be differentiated twice, norm, residual and ReLU in one', async () => {
    const bn = norm(4);
    const [x, residual] = [random(2, 4, 3, 3).requiresGrad_(), random(2, 4, 3, 3).requiresGrad_()];
    const channel = (t: Tensor): Tensor => t.reshape(1, -1, 1, 1);
    const dims = [0, 2, 3];
    const centred = x.sub(x.mean(dims, { keepdim: true }));
    const variance = centred.square().mean(dims, { keepdim: true });
    const normed = centred.mul(variance.add(bn.eps).rsqrt()).mul(channel(bn.weight!)).add(channel(bn.bias!));
    const inputs = [x, residual, bn.weight!, bn.bias!];
    const [by, ...again] = [...Array.from({ length: 3 }, () => random(2, 4, 3, 3)), random(4), random(4)];
    const second = (y: Tensor): Tensor[] => {
      // Squared, so that the residual and beta have second derivatives as well.
      const first = gradients(y.square(), inputs, by!, true);
      const sum = first.map((g, i) => g.mul(again[i]!).sum()).reduce((a, b) => a.add(b));
      return k.autograd.grad(sum, inputs);
    };
    const want = second(normed.add(residual).relu());
    const got = second(nn.fused(x, [bn], { residual, activation: 'relu' }));
    for (const [i, gradient] of got.entries())
      expect(await off(gradient, want[i]!), `second derivative ${i}`).toBeLessThan(1e-4);
  });

  it('averages over all batches where momentum is null', async () => {
    const bn = new nn.BatchNorm2d(4, { momentum: null });
    const batches = [random(2, 4, 6, 6), random(2, 4, 6, 6)];
    for (const x of batches) {
      const y = nn.fused(x, [bn], { residual: x, activation: 'relu' });
      expect(await off(y, byHand(x, { bn, residual: x, activation: 'relu' }))).toBeLessThan(1e-5);
    }
    const mean = batches.map((x) => x.mean([0, 2, 3])).reduce((a, b) => a.add(b));
    expect(await off(bn.runningMean!, mean.div(2))).toBeLessThan(1e-5);
    expect(await bn.numBatchesTracked!.item()).toBe(2);
  });
});

describe('gradients in evaluation', () => {
  it.each([
    ['all', true],
    ["the input's only", false],
  ])('%s: a frozen norm keeps its statistics', async (_, trainable) => {
    const [conv, bn] = [new nn.Conv2d(8, 8, 3, { padding: 1 }), norm(8).eval()];
    for (const module of [conv, bn]) module.requiresGrad_(trainable);
    const before = bn.runningMean!.clone();
    const x = random(2, 8, 6, 6).requiresGrad_();
    const residual = random(2, 8, 6, 6);
    const inputs = trainable ? [x, conv.weight, conv.bias!, bn.weight!, bn.bias!] : [x];
    const by = random(2, 8, 6, 6);
    const of = (y: Tensor): Tensor[] => k.autograd.grad(y.mul(by).sum(), inputs);
    const want = of(byHand(x, { conv, bn, residual, activation: 'relu' }));
    const got = of(nn.fused(x, [conv, bn], { residual, activation: 'relu' }));
    for (const [i, gradient] of got.entries()) expect(await off(gradient, want[i]!)).toBeLessThan(2e-5);
    expect(await off(bn.runningMean!, before)).toBe(0);
  });
});

describe("a block of one's own", () => {
  class Own extends nn.Module {
    conv1 = new nn.Conv2d(8, 8, 3, { padding: 1, bias: false });
    bn1 = norm(8);
    relu = new nn.ReLU();
    conv2 = new nn.Conv2d(8, 8, 3, { padding: 1, bias: false });
    bn2 = norm(8);

    forward(x: Tensor): Tensor {
      const y = nn.fused(x, [this.conv1, this.bn1, this.relu]);
      return nn.fused(y, [this.conv2, this.bn2], { residual: x, activation: this.relu });
    }

    layerByLayer(x: Tensor): Tensor {
      const y = this.relu(this.bn1(this.conv1(x)));
      return this.relu(this.bn2(this.conv2(y)).add(x));
    }
  }

  /** A block and torchvision's with the same weights. */
  const both = (): [Own, models.BasicBlock] => {
    const shape = { inplanes: 8, planes: 8, stride: 1, downsample: null, groups: 1, baseWidth: 64 };
    const [own, theirs] = [new Own(), new models.BasicBlock(shape)];
    theirs.loadStateDict(own.stateDict());
    return [own, theirs];
  };

  it("in evaluation launches what torchvision's does, to the same bits", async () => {
    const [own, theirs] = both().map((block) => block.eval()) as ReturnType<typeof both>;
    const x = random(2, 8, 6, 6);
    await noGrad(async () => {
      const counts = launches(() => theirs(x));
      expect(launches(() => own(x))).toEqual(counts);
      expect(total(launches(() => own.layerByLayer(x)))).toBeGreaterThan(total(counts));
      expect(await off(own(x), theirs(x))).toBe(0);
      expect(await off(own(x), own.layerByLayer(x))).toBeLessThan(1e-5);
    });
  });

  it('in training has the gradients of the layers one by one', async () => {
    const [own, theirs] = both();
    const x = random(2, 8, 6, 6).requiresGrad_();
    const by = random(2, 8, 6, 6);
    const of = (block: nn.Module, y: Tensor): Tensor[] =>
      k.autograd.grad(y.mul(by).sum(), [x, ...block.parameters()]);
    expect(launches(() => own(x))).toEqual(launches(() => theirs(x)));
    const got = of(own, own(x));
    for (const [i, want] of of(theirs, theirs(x)).entries()) expect(await off(got[i]!, want)).toBe(0);
    for (const [i, want] of of(own, own.layerByLayer(x)).entries())
      expect(await off(got[i]!, want)).toBeLessThan(2e-5);
  });
});

describe('what can be seen or is not as usual', () => {
  const x = (): Tensor => random(2, 8, 6, 6);
  const parts = (): [nn.Conv2d, nn.BatchNorm2d] => [new nn.Conv2d(8, 8, 1), norm(8)];

  it.each(['evaluation', 'training'])('a forward hook on the norm sees its own output: %s', async (mode) => {
    const [conv, bn] = parts();
    const model = new nn.Sequential(conv, bn, new nn.ReLU()).train(mode === 'training');
    const input = x();
    await noGrad(async () => {
      const before = model(input);
      let seen: Tensor | undefined;
      const hook = bn.registerForwardHook((_, __, output) => void (seen = output as Tensor));
      expect(await off(model(input), before)).toBeLessThan(1e-5);
      expect(await off(seen!, byHand(input, { conv, bn }))).toBeLessThan(1e-5);
      expect(await seen!.min().item()).toBeLessThan(0);
      hook.remove();
    });
  });

  it('a hook that changes the ReLU is obeyed', async () => {
    const relu = new nn.ReLU();
    const [conv, bn] = parts();
    relu.registerForwardHook((_, __, output) => (output as Tensor).mul(2));
    const input = x();
    const y = new nn.Sequential(conv, bn, relu).eval()(input);
    expect(await off(y, byHand(input, { conv, bn, activation: 'relu' }).mul(2))).toBeLessThan(1e-5);
  });

  it('a backward hook sees the gradient of its layer', async () => {
    const [conv, bn] = parts();
    const input = x();
    const model = new nn.Sequential(conv, bn, new nn.ReLU());
    let seen: Tensor | undefined;
    bn.registerFullBackwardHook((_, __, [gradient]) => void (seen = gradient!.clone().keep()));
    model(input).sum().backward();
    const passed = noGrad(() => byHand(input, { conv, bn }).gt(0).to('float32'));
    expect(await off(seen!, passed)).toBe(0);
  });

  it('a subclass runs its own forward', async () => {
    class Doubled extends nn.ReLU {
      override forward(y: Tensor): Tensor {
        return super.forward(y).mul(2);
      }
    }
    const [conv, bn] = parts();
    const input = x();
    const y = new nn.Sequential(conv, bn, new Doubled()).eval()(input);
    expect(await off(y, byHand(input, { conv, bn, activation: 'relu' }).mul(2))).toBeLessThan(1e-5);
  });

  it('a subclass with the same forward is fused', () => {
    class Frozen extends nn.BatchNorm2d {
      override train(): this {
        return super.train(false);
      }
    }
    const conv = new nn.Conv2d(8, 8, 1);
    const model = new nn.Sequential(conv, new Frozen(8).eval(), new nn.ReLU());
    const input = x();
    noGrad(() => {
      model(input);
      expect(launches(() => model(input))).toEqual(launches(() => conv(input)));
    });
  });

  it('a forward assigned to one layer counts', async () => {
    const [conv, bn] = parts();
    const relu = new nn.ReLU();
    relu.forward = (y) => y.neg();
    const input = x();
    const y = noGrad(() => new nn.Sequential(conv, bn, relu).eval()(input));
    expect(await off(y, byHand(input, { conv, bn }).neg())).toBeLessThan(1e-5);
  });

  it('a norm replaced by Identity is gone', async () => {
    const [conv, bn] = parts();
    const model = new nn.Sequential(conv, bn, new nn.ReLU()).eval();
    model[1] = new nn.Identity();
    const input = x();
    await noGrad(async () => {
      expect(await off(model(input), byHand(input, { conv, activation: 'relu' }))).toBeLessThan(1e-5);
    });
  });

  it.each([
    ['without running statistics', { trackRunningStats: false }],
    ['without factor and shift', { affine: false }],
    ['with momentum null', { momentum: null }],
  ])('a norm %s, in evaluation', async (_, options) => {
    const [conv, bn] = [new nn.Conv2d(8, 8, 1), norm(8, options).eval()];
    const input = x();
    await noGrad(async () => {
      const y = nn.fused(input, [conv, bn], { residual: input, activation: 'relu' });
      const want = byHand(input, { conv, bn, residual: input, activation: 'relu' });
      expect(await off(y, want)).toBeLessThan(1e-5);
    });
  });

  it('an activation of another kind comes after the residual', async () => {
    const [conv, bn] = parts();
    bn.eval();
    const input = x();
    await noGrad(async () => {
      const tail = { residual: input, activation: new nn.LeakyReLU(0.5) };
      const want = k.leakyRelu(byHand(input, { conv, bn, residual: input }), { negativeSlope: 0.5 });
      expect(await off(nn.fused(input, [conv, bn], tail), want)).toBeLessThan(1e-5);
      const late = nn.fused(input, [conv, bn, new nn.ReLU()], tail);
      const sum = byHand(input, { conv, bn, activation: 'relu' }).add(input);
      expect(await off(late, k.leakyRelu(sum, { negativeSlope: 0.5 }))).toBeLessThan(1e-5);
    });
  });

  it.each(['evaluation', 'training'])(
    'a residual that must be broadcast, or broadcasts: %s',
    async (mode) => {
      const [conv, bn] = parts();
      bn.train(mode === 'training');
      for (const shape of [
        [1, 8, 1, 1],
        [3, 1, 8, 6, 6],
      ]) {
        const input = x();
        const residual = random(...shape).requiresGrad_(mode === 'training');
        const got = nn.fused(input, [conv, bn], { residual, activation: 'relu' });
        const want = byHand(input, { conv, bn, residual, activation: 'relu' });
        expect(await off(got, want)).toBeLessThan(1e-5);
        if (mode === 'training') {
          const of = (y: Tensor): Tensor => k.autograd.grad(y.square().sum(), residual)[0]!;
          expect(await off(of(got), of(want))).toBeLessThan(1e-5);
        }
      }
    },
  );

  it.each(['float16', 'int32'] as const)('a residual of %s is added as it would be', async (dtype) => {
    const [conv, bn] = parts();
    bn.eval();
    const [input, residual] = [x(), k.to(random(2, 8, 6, 6).mul(4), dtype)];
    await noGrad(async () => {
      const got = nn.fused(input, [conv, bn], { residual, activation: 'relu' });
      const want = byHand(input, { conv, bn, residual, activation: 'relu' });
      expect(got.dtype).toBe(want.dtype);
      expect(await off(got, want)).toBeLessThan(1e-5);
    });
  });

  it('a float16 convolution is no part of it', async () => {
    const conv = new nn.Conv2d(8, 8, 1).half();
    const model = new nn.Sequential(conv, new nn.ReLU());
    await noGrad(async () => {
      const input = k.to(x(), 'float16');
      expect(model(input).dtype).toBe('float16');
      expect(await off(model(input), byHand(input, { conv, activation: 'relu' }))).toBeLessThan(1e-2);
    });
  });

  it('a float16 norm behind a float32 convolution is taken at its values', async () => {
    const [conv, bn] = parts();
    bn.half().eval();
    const input = x();
    await noGrad(async () => {
      expect(await off(nn.fused(input, [conv, bn]), byHand(input, { conv, bn }))).toBeLessThan(1e-5);
    });
  });

  it("a norm for another number of channels is refused in the norm's words", () => {
    const layers = [new nn.Conv2d(8, 8, 1), norm(4).eval()];
    const input = x();
    expect(() => noGrad(() => nn.fused(input, layers))).toThrow(
      'batchNorm: input [2, 8, 6, 6] has 8 channels',
    );
  });

  it('a weight of fewer channels than the layer was made for goes with a norm made for them', async () => {
    const [conv, bn] = [new nn.Conv2d(8, 8, 1), norm(4).eval()];
    conv.weight = new nn.Parameter(random(4, 8, 1, 1));
    conv.bias = null;
    const input = x();
    await noGrad(async () => {
      expect(await off(nn.fused(input, [conv, bn]), byHand(input, { conv, bn }))).toBeLessThan(1e-5);
    });
    expect(() => noGrad(() => nn.fused(input, [conv, norm(8).eval()]))).toThrow('has 4 channels');
  });
});

describe('the end of a residual block that is a Sequential', () => {
  const block = (): nn.Sequential =>
    new nn.Sequential(
      new nn.Sequential(new nn.Conv2d(8, 8, 1), norm(8), new nn.ReLU()),
      new nn.Sequential(new nn.Conv2d(8, 8, 1), norm(8)),
    );
  const tail = (residual: Tensor): { residual: Tensor; activation: 'relu' } => ({
    residual,
    activation: 'relu',
  });

  it('takes residual and activation into its last convolution, however deep', async () => {
    const f = block().eval();
    await noGrad(async () => {
      const x = random(2, 8, 6, 6);
      expect(await off(nn.fused(x, [f], tail(x)), f(x).add(x).relu())).toBeLessThan(1e-5);
      expect(total(launches(() => nn.fused(x, [f], tail(x))))).toBe(2);
    });
  });

  it('in training into its last norm', async () => {
    const f = block();
    const x = random(2, 8, 6, 6);
    expect(await off(nn.fused(x, [f], tail(x)), f(x).add(x).relu())).toBeLessThan(1e-5);
    const counts = launches(() => nn.fused(x, [f], tail(x)));
    expect(ownLaunches.filter((name) => name in counts)).toEqual([]);
  });

  it.each([
    ['the outer', (f: nn.Sequential): nn.Module => f],
    ['the inner', (f: nn.Sequential): nn.Module => f[1]!],
  ])('is called where %s one has a hook', async (_, pick) => {
    const f = block().eval();
    await noGrad(async () => {
      const x = random(2, 8, 6, 6);
      const want = f(x);
      let seen: Tensor | undefined;
      pick(f).registerForwardHook((__, ___, output) => void (seen = output as Tensor));
      expect(await off(nn.fused(x, [f], tail(x)), want.add(x).relu())).toBeLessThan(1e-5);
      expect(await off(seen!, want)).toBeLessThan(1e-5);
    });
  });

  it('is called where a subclass has a forward of its own', async () => {
    class Doubled extends nn.Sequential {
      override forward(x: Tensor): Tensor {
        return super.forward(x).mul(2);
      }
    }
    const f = new Doubled(...block()).eval();
    await noGrad(async () => {
      const x = random(2, 8, 6, 6);
      expect(await off(nn.fused(x, [f], tail(x)), f(x).add(x).relu())).toBeLessThan(1e-5);
    });
  });

  it('may be empty, or no Sequential at all', async () => {
    const x = random(2, 8, 6, 6);
    for (const f of [new nn.Sequential(), new nn.Identity()])
      expect(await off(nn.fused(x, [f], tail(x)), x.mul(2).relu())).toBe(0);
  });

  it('shows every layer to those who watch', () => {
    const seen: string[] = [];
    const watch = { enter: (module: nn.Module) => void seen.push(module.constructor.name), leave: () => {} };
    const x = random(2, 8, 6, 6);
    noGrad(() => observeCalls(watch, () => nn.fused(x, [block().eval()], tail(x))));
    expect(seen.join(' ')).toBe(
      'Sequential Sequential Conv2d BatchNorm2d ReLU Sequential Conv2d BatchNorm2d',
    );
  });
});

describe('families launch nothing for a sum, ReLU or ReLU6 of their own', () => {
  const tiny = { numClasses: 2 };
  const residualRow = [2, 8, 2, 1] as const;
  it.each([
    [
      'MobileNetV2',
      () => new models.MobileNetV2({ ...tiny, widthMult: 0.25, invertedResidualSetting: [residualRow] }),
    ],
    ['DenseNet', () => new models.DenseNet({ ...tiny, growthRate: 8, blockConfig: [2], numInitFeatures: 8 })],
    [
      'RegNet',
      () => new models.RegNet({ depth: 2, w0: 8, wa: 0, wm: 2, groupWidth: 8 }, { ...tiny, stemWidth: 8 }),
    ],
  ])('%s', (_, make) => {
    const model = make();
    const x = random(2, 3, 32, 32);
    const own = (): string[] =>
      Object.keys(launches(() => model(x))).filter((name) => ownLaunches.includes(name));
    expect(own()).toEqual([]);
    model.eval();
    expect(noGrad(own)).toEqual([]);
  });
});

describe('launches of a ResNet block', () => {
  const make = (): models.BasicBlock =>
    new models.BasicBlock({
      inplanes: 8,
      planes: 8,
      stride: 1,
      downsample: null,
      groups: 1,
      baseWidth: 64,
    });

  it('in evaluation are those of its two convolutions', () => {
    const block = make().eval();
    noGrad(() => {
      const x = random(2, 8, 6, 6);
      block(x);
      const convolutions = launches(() => block.conv2(block.conv1(x)));
      expect(launches(() => block(x))).toEqual(convolutions);
    });
  });

  it('in training are convolutions and norms, nothing for ReLU or the sum', () => {
    const block = make();
    const x = random(2, 8, 6, 6);
    const counts = launches(() => block(x));
    const alone = launches(() => block.bn2(block.conv2(block.bn1(block.conv1(x)))));
    expect(ownLaunches.filter((name) => name in counts)).toEqual([]);
    expect(total(counts)).toBe(total(alone));
  });
});
