import { beforeAll, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';
import type { Tensor } from '../../src/index.js';
import { policies, type Policy } from '../../src/amp/op-lists.js';

const f32 = (...shape: number[]): Tensor => k.full(shape, 0.5);
const f16 = (...shape: number[]): Tensor => f32(...shape).half();
const ids = (): Tensor => k.tensor([0, 1], { dtype: 'int32' });

/** A call of each op of the lists, on tensors that `x` makes (and `y` the second). */
type Call = (x: typeof f32, y: typeof f32) => Tensor | readonly Tensor[];

const unary =
  (fn: (t: Tensor) => Tensor): Call =>
  (x) =>
    fn(x(2, 2));
const loss =
  (fn: (a: Tensor, b: Tensor) => Tensor): Call =>
  (x, y) =>
    fn(x(2, 3), y(2, 3));
const F = k.nn.functional;

const calls: Readonly<Record<Exclude<Policy, 'refused'>, Readonly<Record<string, Call>>>> = {
  lower: {
    addbmm: (x, y) => k.addbmm(x(2, 2), x(1, 2, 2), y(1, 2, 2)),
    addmm: (x, y) => k.addmm(x(2, 2), x(2, 2), y(2, 2)),
    addmv: (x, y) => k.addmv(x(2), x(2, 2), y(2)),
    addr: (x, y) => k.addr(x(2, 2), x(2), y(2)),
    baddbmm: (x, y) => k.baddbmm(x(1, 2, 2), x(1, 2, 2), y(1, 2, 2)),
    bmm: (x, y) => k.bmm(x(1, 2, 2), y(1, 2, 2)),
    conv1d: (x, y) => k.conv1d(x(1, 4, 4), y(4, 4, 1)),
    conv2d: (x, y) => k.conv2d(x(1, 4, 4, 4), y(4, 4, 1, 1)),
    conv3d: (x, y) => k.conv3d(x(1, 4, 2, 2, 2), y(4, 4, 1, 1, 1)),
    convTranspose1d: (x, y) => k.convTranspose1d(x(1, 4, 4), y(4, 4, 1)),
    convTranspose2d: (x, y) => k.convTranspose2d(x(1, 4, 4, 4), y(4, 4, 1, 1)),
    convTranspose3d: (x, y) => k.convTranspose3d(x(1, 4, 2, 2, 2), y(4, 4, 1, 1, 1)),
    linear: (x, y) => k.linear(x(2, 2), y(2, 2), y(2)),
    matmul: (x, y) => k.matmul(x(2, 2), y(2, 2)),
    mm: (x, y) => k.mm(x(2, 2), y(2, 2)),
    mv: (x, y) => k.mv(x(2, 2), y(2)),
    prelu: (x, y) => k.prelu(x(2, 2), y(1)),
    recurrent: (x) => new k.nn.LSTM(2, 2)(x(3, 1, 2))[0],
    scaledDotProductAttention: (x, y) => F.scaledDotProductAttention(x(2, 2), y(2, 2), y(2, 2)),
    einsum: (x, y) => k.einsum('ij,jk->ik', x(2, 2), y(2, 2)),
    chainMatmul: (x, y) => k.chainMatmul(x(2, 2), y(2, 2), x(2, 2)),
    'nn.Linear': (x) => new k.nn.Linear(2, 2)(x(2, 2)),
    'nn.GRUCell': (x) => new k.nn.GRUCell(2, 2)(x(1, 2)),
    'nn.RNNCell': (x) => new k.nn.RNNCell(2, 2)(x(1, 2)),
    'nn.LSTMCell': (x) => new k.nn.LSTMCell(2, 2)(x(1, 2)),
  },
  float32: {
    acos: unary(k.acos),
    asin: unary(k.asin),
    binaryCrossEntropyWithLogits: loss(F.binaryCrossEntropyWithLogits),
    cdist: loss(k.cdist),
    cosh: unary(k.cosh),
    cosineEmbeddingLoss: (x, y) => F.cosineEmbeddingLoss(x(2, 3), y(2, 3), k.ones([2])),
    cosineSimilarity: loss(F.cosineSimilarity),
    crossEntropy: (x) => F.crossEntropy(x(2, 3), ids()),
    ctcLoss: (x) => F.ctcLoss(x(3, 1, 3), k.tensor([[1]], { dtype: 'int32' }), [3], [1]),
    dist: loss(k.dist),
    erfinv: unary(k.erfinv),
    exp: unary(k.exp),
    expm1: unary(k.expm1),
    gaussianNllLoss: (x, y) => F.gaussianNllLoss(x(2, 3), y(2, 3), x(2, 3)),
    groupNorm: (x, y) => F.groupNorm(x(1, 4, 2), 2, { weight: y(4) }),
    hingeEmbeddingLoss: loss(F.hingeEmbeddingLoss),
    huberLoss: loss(F.huberLoss),
    klDiv: loss(F.klDiv),
    l1Loss: loss(F.l1Loss),
    layerNorm: (x, y) => F.layerNorm(x(2, 4), 4, { weight: y(4), bias: y(4) }),
    log: unary(k.log),
    log10: unary(k.log10),
    log1p: unary(k.log1p),
    log2: unary(k.log2),
    logsumexp: unary((t) => k.logsumexp(t, 1)),
    marginRankingLoss: (x, y) => F.marginRankingLoss(x(2), y(2), k.ones([2])),
    mseLoss: loss(F.mseLoss),
    multiMarginLoss: (x) => F.multiMarginLoss(x(2, 3), ids()),
    multilabelMarginLoss: (x) =>
      F.multilabelMarginLoss(
        x(2, 2),
        k.tensor(
          [
            [0, -1],
            [1, -1],
          ],
          { dtype: 'int32' },
        ),
      ),
    nllLoss: (x) => F.nllLoss(x(2, 3), ids()),
    normalize: unary(F.normalize),
    pairwiseDistance: loss(F.pairwiseDistance),
    pdist: unary(k.pdist),
    poissonNllLoss: loss(F.poissonNllLoss),
    pow: unary((t) => k.pow(t, 2)),
    reciprocal: unary(k.reciprocal),
    renorm: unary((t) => k.renorm(t, 2, 0, 1)),
    rmsNorm: unary((t) => F.rmsNorm(t, 2)),
    rsqrt: unary(k.rsqrt),
    sinh: unary(k.sinh),
    smoothL1Loss: loss(F.smoothL1Loss),
    softMarginLoss: loss(F.softMarginLoss),
    softplus: unary(F.softplus),
    tan: unary(k.tan),
    tripletMarginLoss: (x, y) => F.tripletMarginLoss(x(2, 3), y(2, 3), x(2, 3)),
    softmin: unary((t) => F.softmin(t, 1)),
  },
  float32Default: {
    cumprod: unary((t) => k.cumprod(t, 0)),
    cumsum: unary((t) => k.cumsum(t, 0)),
    logSoftmax: unary((t) => k.logSoftmax(t, 1)),
    norm: unary((t) => k.norm(t)),
    prod: unary((t) => k.prod(t)),
    softmax: unary((t) => k.softmax(t, 1)),
    sum: unary((t) => k.sum(t)),
  },
  widest: {
    addcdiv: (x, y) => k.addcdiv(x(2), x(2), y(2)),
    addcmul: (x, y) => k.addcmul(x(2), x(2), y(2)),
    atan2: (x, y) => k.atan2(x(2), y(2)),
    bilinear: (x, y) => F.bilinear(x(2, 2), x(2, 2), y(2, 2, 2)),
    cat: (x, y) => k.cat([x(2), y(2)]),
    cross: (x, y) => k.cross(x(2, 3), y(2, 3)),
    dot: (x, y) => k.dot(x(2), y(2)),
    gridSample: (x, y) => F.gridSample(x(1, 1, 2, 2), y(1, 2, 2, 2)),
    indexPut: (x, y) => k.indexPut(x(3), [ids()], y(2)),
    scatterAdd: (x, y) => k.scatterAdd(x(3), 0, ids(), y(2)),
    stack: (x, y) => k.stack([x(2), y(2)]),
    tensordot: (x, y) => k.tensordot(x(2, 2), y(2, 2), 1),
  },
};

/** What the ops give in autocast. Nothing is computed: dtypes follow from shapes. */
const dtypesIn = (call: Call, x: typeof f32, y: typeof f32): string[] =>
  k.runtime().withoutWork(() =>
    k.amp.autocast({}, () => {
      const made = call(x, y);
      return (made instanceof k.Tensor ? [made] : made).map(({ dtype }) => dtype);
    }),
  );

beforeAll(() => k.init());

describe('the lists', () => {
  it('are all tried here', () => {
    const tried = Object.entries(calls).flatMap(([policy, rows]) =>
      Object.keys(rows).filter((name) => policies.has(name) && policies.get(name) === policy),
    );
    const listed = [...policies].filter(([, policy]) => policy !== 'refused').map(([name]) => name);
    expect(tried.sort()).toEqual(listed.sort());
  });

  it.each(Object.entries(calls.lower))('%s runs in float16', (_, call) => {
    for (const [x, y] of [
      [f32, f32],
      [f16, f32],
      [f32, f16],
    ] as const)
      expect(new Set(dtypesIn(call, x, y))).toEqual(new Set(['float16']));
  });

  it.each(Object.entries({ ...calls.float32, ...calls.float32Default }))('%s runs in float32', (_, call) => {
    for (const [x, y] of [
      [f16, f16],
      [f16, f32],
      [f32, f16],
    ] as const)
      expect(dtypesIn(call, x, y)).toEqual(['float32']);
  });

  it.each(Object.entries(calls.widest))('%s takes the widest dtype', (_, call) => {
    expect(dtypesIn(call, f16, f16)).toEqual(['float16']);
    expect(dtypesIn(call, f16, f32)).toEqual(['float32']);
    expect(dtypesIn(call, f32, f16)).toEqual(['float32']);
  });

  it('a reduction takes the dtype that it is given', () => {
    const half = { dtype: 'float16' } as const;
    for (const call of [
      (t: Tensor) => k.sum(t, half),
      (t: Tensor) => k.cumsum(t, 0, half),
      (t: Tensor) => t.softmax(1, half),
    ])
      expect(dtypesIn(unary(call), f16, f16)).toEqual(['float16']);
  });

  it('all else runs as it is given', () => {
    expect(dtypesIn((x, y) => [k.add(x(2), y(2)), k.relu(x(2)), k.mean(x(2))], f16, f32)).toEqual([
      'float32',
      'float16',
      'float16',
    ]);
    expect(dtypesIn((x) => k.matmul(x(2, 2).int(), x(2, 2).int()), f32, f32)).toEqual(['int32']);
  });

  it('binaryCrossEntropy is refused with what to do', () => {
    k.amp.autocast({}, () => {
      expect(() => F.binaryCrossEntropy(f32(2), f32(2))).toThrow(/unsafe to autocast.*WithLogits/s);
      k.amp.autocast({ enabled: false }, () => F.binaryCrossEntropy(f32(2), f32(2)));
    });
  });

  it('in-place ops run as they would outside', () => {
    const x = f32(2, 2);
    k.amp.autocast({}, () => x.addmm_(f32(2, 2), f32(2, 2)));
    expect(x.dtype).toBe('float32');
  });
});

describe('where it is in force', () => {
  const product = (): string => f32(2, 2).matmul(f32(2, 2)).dtype;

  it('a callback, until it returns or throws', () => {
    expect(k.amp.autocast({}, product)).toBe('float16');
    expect(() =>
      k.amp.autocast({}, () => {
        throw new Error('inside');
      }),
    ).toThrow('inside');
    expect([product(), k.amp.isAutocastEnabled()]).toEqual(['float32', false]);
  });

  it('an async callback with all that it awaits, and no other code meanwhile', async () => {
    let inside = '';
    const region = k.amp.autocast({}, async () => {
      await f32(1).item();
      inside = product();
    });
    expect(product()).toBe('float32');
    await region;
    expect([inside, product()]).toEqual(['float16', 'float32']);
  });

  it('a guard for `using`', () => {
    const guard = k.amp.autocast();
    expect(product()).toBe('float16');
    guard[Symbol.dispose]();
    expect(product()).toBe('float32');
  });

  it('nested, the inner one decides', () => {
    const seen = k.amp.autocast({}, () => [
      k.amp.autocast({ enabled: false }, () => [product(), k.amp.autocast({}, product)]),
      product(),
      k.noGrad(product),
    ]);
    expect(seen).toEqual([['float32', 'float16'], 'float16', 'float16']);
  });

  it('refuses bfloat16 and other dtypes with what to do', () => {
    const given = (dtype: string) => () => k.amp.autocast({ dtype: dtype as 'float16' });
    expect(given('bfloat16')).toThrow(/WGSL has no bfloat16.*use \{ dtype: 'float16' \}.*GradScaler/s);
    expect(given('int32')).toThrow("dtype must be 'float16', got 'int32'");
    expect(() => k.amp.autocast({ enable: true } as never)).toThrow("'enable'");
  });
});

describe('gradients', () => {
  it('come back to float32 parameters in float32, close to those of float32', async () => {
    k.manualSeed(0);
    const net = new k.nn.Sequential(
      new k.nn.Linear(8, 16),
      new k.nn.GELU(),
      new k.nn.LayerNorm(16),
      new k.nn.Linear(16, 4),
    );
    const [x, y] = [k.randn([5, 8]), k.tensor([0, 1, 2, 3, 0], { dtype: 'int32' })];
    const gradients = async (enabled: boolean): Promise<number[][]> => {
      net.zeroGrad();
      const loss = k.amp.autocast({ enabled }, () => F.crossEntropy(net(x), y));
      expect(loss.dtype).toBe('float32');
      loss.backward();
      expect(net.parameters().map((p) => p.grad?.dtype)).toEqual(net.parameters().map(() => 'float32'));
      return Promise.all(net.parameters().map(async (p) => [...(await p.grad!.data())]));
    };
    const [exact, cast] = [await gradients(false), await gradients(true)];
    exact.flat().forEach((value, i) => expect(Math.abs(cast.flat()[i]! - value)).toBeLessThan(2e-3));
    expect(cast).not.toEqual(exact);
  });

  it('come back through what is made of float16 activations', async () => {
    const w = k.ones([2, 1, 1, 1]).requiresGrad_();
    const x = k.arange(9).float().reshape(1, 1, 3, 3);
    const through: Readonly<Record<string, (y: Tensor) => Tensor>> = {
      amax: (y) => y.amax([2, 3]),
      min: (y) => y.min(),
      norm: (y) => y.norm(),
      indices: (y) => F.maxPool2d(y, 3, { returnIndices: true })[0],
    };
    const grads: Record<string, unknown> = {};
    for (const [name, fn] of Object.entries(through)) {
      w.grad = null;
      k.amp.autocast({}, () => fn(k.conv2d(x, w)).sum()).backward();
      expect(w.grad).toMatchObject({ dtype: 'float32' });
      grads[name] = await w.grad!.flatten().toArray();
    }
    const each = Math.sqrt(204 / 2);
    expect(grads).toEqual({
      amax: [8, 8],
      min: [0, 0],
      norm: [expect.closeTo(each, 1), expect.closeTo(each, 1)],
      indices: [8, 8],
    });
  });

  it('are computed as recorded, whether backward runs inside or outside', async () => {
    const w = k.full([4, 4], 0.3).requiresGrad_();
    const gradient = async (inside: boolean): Promise<number[]> => {
      w.grad = null;
      const run = (): Tensor => w.matmul(w).exp().sum();
      if (inside) k.amp.autocast({}, () => run().backward());
      else k.amp.autocast({}, run).backward();
      return [...(await w.grad!.data())];
    };
    expect(await gradient(true)).toEqual(await gradient(false));
  });

  it('of a checkpointed function are those without', async () => {
    k.manualSeed(0);
    const net = new k.nn.Sequential(new k.nn.Linear(4, 8), new k.nn.Tanh(), new k.nn.Linear(8, 4));
    const x = k.randn([3, 4]).requiresGrad_();
    const gradients = async (checkpointed: boolean): Promise<number[][]> => {
      net.zeroGrad();
      // Those without a cache: with one, both calls' gradients are added in float16.
      const loss = k.amp.autocast({ cacheEnabled: checkpointed }, () => {
        // The cache knows the weights already.
        const y = net(x);
        return k.sum(checkpointed ? k.utils.checkpoint(net, y) : net(y));
      });
      loss.backward();
      return Promise.all(net.parameters().map(async (p) => [...(await p.grad!.data())]));
    };
    expect(await gradients(true)).toEqual(await gradients(false));
  });
});

describe('the cache', () => {
  const casts = (fn: () => void): number => {
    k.runtime().resetOpCounts();
    fn();
    return k.runtime().opCounts().get('to') ?? 0;
  };
  const [x, w] = [(): Tensor => f16(2, 2), (): Tensor => f32(2, 2).requiresGrad_()];

  it('casts a parameter once per region, and again in the next', () => {
    const weight = w();
    const once = (): number => {
      const input = x();
      return casts(() => k.amp.autocast({}, () => input.matmul(weight).add(input.matmul(weight))));
    };
    expect([once(), once()]).toEqual([1, 1]);
  });

  it('lasts as long as the outermost region', () => {
    const [input, weight] = [x(), w()];
    const inner = (): void => void k.amp.autocast({}, () => input.matmul(weight));
    expect(casts(() => k.amp.autocast({}, () => [inner(), inner()]))).toBe(1);
    expect(casts(() => k.amp.autocast({ enabled: false }, () => [inner(), inner()]))).toBe(1);
  });

  it('leaves activations and what needs no gradient alone, and can be turned off or cleared', () => {
    const [input, weight, constant] = [x(), w(), f32(2, 2)];
    const twice = (t: Tensor) => () => [input.matmul(t), input.matmul(t)];
    expect(casts(() => k.amp.autocast({}, twice(constant)))).toBe(2);
    expect(casts(() => k.amp.autocast({ cacheEnabled: false }, twice(weight)))).toBe(2);
    const cleared = (): void => {
      input.matmul(weight);
      k.amp.clearAutocastCache();
      input.matmul(weight);
    };
    expect(casts(() => k.amp.autocast({}, cleared))).toBe(2);
  });

  it('knows when a parameter has changed', async () => {
    const [input, weight] = [x(), w()];
    const products = k.amp.autocast({}, () => {
      const before = input.matmul(weight);
      k.noGrad(() => weight.mul_(2));
      return [before, input.matmul(weight)];
    });
    expect(await Promise.all(products.map((product) => product.select(0, 0).select(0, 0).item()))).toEqual([
      0.5, 1,
    ]);
  });

  it('gives no gradient-less cast, made under noGrad, to what needs a gradient', () => {
    const [input, weight] = [x(), w()];
    k.amp.autocast({}, () => {
      k.noGrad(() => input.matmul(weight));
      expect(input.matmul(weight).requiresGrad).toBe(true);
    });
  });

  it('keeps no memory past the region', () => {
    const weight = k.ones([64, 64]).requiresGrad_();
    const wide = k.ones([2, 64]).half();
    k.tidy(() => void k.amp.autocast({}, () => wide.matmul(weight)));
    const before = k.memoryStats().liveBytes;
    for (let i = 0; i < 3; i++) k.tidy(() => void k.amp.autocast({}, () => wide.matmul(weight)));
    expect(k.memoryStats().liveBytes).toBe(before);
  });
});
