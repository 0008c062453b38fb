/** `k.compile`: replays give eager's bits, and whatever would make them wrong makes the call run again. */
import { beforeAll, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';

const { nn } = k;
const F = nn.functional;

beforeAll(() => k.init());

const bits = async (tensor: k.Tensor): Promise<string> => {
  const data = await tensor.detach().contiguous().data();
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('base64');
};

interface Net {
  (x: k.Tensor): k.Tensor;
}
class Net extends nn.Module {
  conv = new nn.Conv2d(3, 8, 3, { padding: 1, bias: false });
  norm = new nn.BatchNorm2d(8);
  drop = new nn.Dropout(0.3);
  fc = new nn.Linear(8, 4);

  forward(x: k.Tensor): k.Tensor {
    const y = F.relu(this.norm(this.conv(x)));
    return this.fc(this.drop(F.adaptiveAvgPool2d(y, 1).flatten(1)));
  }
}

interface Run {
  readonly model: Net;
  readonly optimizer: k.optim.Optimizer;
  readonly step: (x: k.Tensor, y: k.Tensor) => k.Tensor;
}

type Make = (model: Net) => k.optim.Optimizer;
const sgd: Make = (model) => new k.optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9 });
const adam: Make = (model) => new k.optim.Adam(model.parameters(), { lr: 0.01 });

function make(makeOptimizer: Make = sgd): Run {
  k.manualSeed(1);
  const model = new Net();
  const optimizer = makeOptimizer(model);
  const step = (x: k.Tensor, y: k.Tensor): k.Tensor => {
    optimizer.zeroGrad();
    const loss = F.crossEntropy(model(x), y);
    loss.backward();
    optimizer.step();
    return loss;
  };
  return { model, optimizer, step };
}

const batch = (i: number, n = 4): [k.Tensor, k.Tensor] => [
  k.randn([n, 3, 6, 6]),
  k.tensor(
    Array.from({ length: n }, (_, j) => (i + j) % 4),
    { dtype: 'int32' },
  ),
];

/** Losses, weights and running statistics of steps with `between` after each, and the step's counts. */
async function trained(
  compiled: boolean,
  between: (run: Run, i: number) => void | Promise<void> = () => undefined,
  {
    steps = 6,
    optimizer = sgd,
    size = (): number => 4,
  }: { steps?: number; optimizer?: Make; size?: (i: number) => number } = {},
): Promise<{ seen: string[]; counts?: k.CompileCounts }> {
  const run = make(optimizer);
  const step = compiled ? k.compile(run.step) : run.step;
  const seen: string[] = [];
  k.manualSeed(2);
  for (let i = 0; i < steps; i++) {
    seen.push(await bits(step(...batch(i, size(i)))));
    await between(run, i);
  }
  for (const tensor of Object.values(run.model.stateDict())) seen.push(await bits(tensor));
  return { seen, ...('counts' in step && { counts: (step as unknown as k.Compiled<[], void>).counts() }) };
}

async function expectSame(
  ...args: [Parameters<typeof trained>[1]?, Parameters<typeof trained>[2]?]
): Promise<k.CompileCounts> {
  const eager = await trained(false, ...args);
  const { seen, counts } = await trained(true, ...args);
  expect(seen).toEqual(eager.seen);
  return counts!;
}

describe('a compiled training step gives the bits of the plain one', () => {
  it('with dropout, running statistics and momentum', async () => {
    expect(await expectSame()).toEqual({ eager: 1, recorded: 1, replayed: 4, reason: null });
  });

  it("with Adam, whose rates depend on the step's number", async () => {
    expect(await expectSame(undefined, { optimizer: adam })).toMatchObject({ replayed: 4 });
  });

  it('while the learning rate changes', async () => {
    const counts = await expectSame(({ optimizer }) => void (optimizer.paramGroups[0]!.lr *= 0.5));
    expect(counts).toMatchObject({ replayed: 4 });
  });

  it('with another batch size now and then', async () => {
    const counts = await expectSame(undefined, { steps: 9, size: (i) => (i % 3 === 2 ? 2 : 4) });
    expect(counts).toEqual({ eager: 2, recorded: 2, replayed: 5, reason: null });
  });

  it('when the model is switched to evaluation and back', async () => {
    const counts = await expectSame(({ model }, i) => void (i === 3 ? model.eval() : model.train()), {
      steps: 7,
    });
    expect(counts).toMatchObject({ recorded: 2, replayed: 4 });
  });

  it('when a setting of a layer changes', async () => {
    expect(
      await expectSame(({ model }, i) => void Object.assign(model.drop, { p: i < 3 ? 0.3 : 0.1 })),
    ).toMatchObject({
      recorded: 2,
    });
  });

  it('when a layer is frozen', async () => {
    const counts = await expectSame(({ model }, i) => {
      if (i === 2) model.conv.weight.requiresGrad = false;
    });
    expect(counts).toMatchObject({ recorded: 2, reason: null });
  });

  it('when a layer is replaced', async () => {
    await expectSame(({ model }, i) => {
      if (i === 3) model.fc = new nn.Linear(8, 4);
    });
  });

  it('when weights are loaded', async () => {
    await expectSame(async ({ model }, i) => {
      if (i === 3) await model.loadStateDict(new Net().stateDict());
    });
  });

  it('when the random stream is set back', async () => {
    await expectSame((_, i) => void (i === 3 && k.manualSeed(7)));
  });

  it('when gradients are looked at, and clipped between steps', async () => {
    await expectSame(({ model }) => void model.fc.weight.grad!.mul(2));
  });
});

describe('gradients', () => {
  /** A step that adds to `.grad`, which is dropped after every third. */
  async function accumulated(compiled: boolean): Promise<{ seen: string[]; counts?: k.CompileCounts }> {
    const { model, optimizer } = make();
    const add = (x: k.Tensor, y: k.Tensor): void => F.crossEntropy(model(x), y).backward();
    const fn = compiled ? k.compile(add) : add;
    const seen: string[] = [];
    k.manualSeed(3);
    for (let i = 0; i < 12; i++) {
      fn(...batch(i));
      seen.push(await bits(model.fc.weight.grad!));
      if (i % 3 < 2) continue;
      optimizer.step();
      optimizer.zeroGrad();
    }
    return { seen, ...('counts' in fn && { counts: (fn as unknown as k.Compiled<[], void>).counts() }) };
  }

  it('add up over calls as they do without', async () => {
    const { seen, counts } = await accumulated(true);
    expect(seen).toEqual((await accumulated(false)).seen);
    expect(counts!.replayed).toBeGreaterThan(4);
  });

  it('that a hook sees are computed as they are', async () => {
    const { model, step } = make();
    const norms: k.Tensor[] = [];
    model.fc.weight.registerHook((grad) => void norms.push(grad.norm()));
    const compiled = k.compile(step);
    for (let i = 0; i < 4; i++) compiled(...batch(i));
    expect(norms.length).toBe(4);
    expect(compiled.counts()).toMatchObject({ replayed: 0, reason: 'a hook sees its gradients' });
  });
});

describe('prediction', () => {
  const predict = (model: Net) =>
    k.compile((x: k.Tensor) => k.noGrad(() => ({ logits: model(x), n: x.size(0) })));

  it('gives results that outlive the next call', async () => {
    const model = new Net();
    model.eval();
    const fn = predict(model);
    const [a, b] = [k.randn([2, 3, 6, 6]), k.randn([2, 3, 6, 6])];
    for (let i = 0; i < 2; i++) fn(a);
    const [first, second] = [fn(a), fn(b)];
    expect(fn.counts().replayed).toBe(2);
    expect(first.n).toBe(2);
    expect(await bits(first.logits)).toBe(await bits(model(a)));
    expect(await bits(second.logits)).toBe(await bits(model(b)));
  });

  it('sees weights that were changed in place since: packed copies of them are made anew', async () => {
    const model = new Net();
    model.eval();
    const fn = predict(model);
    const x = k.randn([2, 3, 6, 6]);
    for (let i = 0; i < 3; i++) fn(x);
    k.noGrad(() => model.conv.weight.mul_(2));
    k.noGrad(() => model.norm.runningVar!.mul_(3));
    expect(await bits(fn(x).logits)).toBe(await bits(model(x)));
    expect(await bits(fn(x).logits)).toBe(await bits(model(x)));
  });

  it('runs layers with hooks, which are JavaScript, as they are', async () => {
    const model = new Net();
    const seen: string[] = [];
    model.fc.registerForwardHook(() => void seen.push('fc'));
    const fn = predict(model);
    for (let i = 0; i < 4; i++) fn(k.randn([2, 3, 6, 6]));
    expect(seen.length).toBe(4);
    expect(fn.counts()).toMatchObject({ replayed: 0, reason: 'Linear has hooks' });
  });
});

it('a module that keeps something of its call runs as it is', async () => {
  interface Memory {
    (x: k.Tensor): k.Tensor;
  }
  class Memory extends nn.Module {
    last = k.zeros([2]).keep();
    forward(x: k.Tensor): k.Tensor {
      return (this.last = this.last.add(x));
    }
  }
  const memory = new Memory();
  const fn = k.compile((x: k.Tensor) => k.noGrad(() => memory(x)));
  const seen: number[] = [];
  for (let i = 0; i < 5; i++)
    seen.push(
      await fn(k.ones([2]))
        .sum()
        .item(),
    );
  expect(seen).toEqual([2, 4, 6, 8, 10]);
  expect(fn.counts().reason).toBe("a call of Memory changes its 'last'");
});

describe('what fn makes on the host', () => {
  it('constants keep the values of the recording', async () => {
    const fn = k.compile((x: k.Tensor) => x.mul(k.tensor([1, 10, 100])).add(k.ones([3])));
    for (let i = 0; i < 4; i++) {
      // What others take and give back meanwhile must not be the constants' memory.
      k.tidy(() => k.randn([3]).mul(k.tensor([i, i, i])));
      expect(await fn(k.tensor([i, i, i])).toArray()).toEqual([i + 1, 10 * i + 1, 100 * i + 1]);
    }
    expect(fn.counts().replayed).toBe(2);
  });

  it('constants keep their values in memory that an earlier launch had', async () => {
    const fn = k.compile((x: k.Tensor) => {
      const sum = k.tidy(() => x.mul(2).sum());
      return x.mul(k.tensor([1, 2, 3, 4])).add(sum); // takes the place of the product above
    });
    for (let i = 0; i < 4; i++) expect(await fn(k.tensor([1, 1, 1, 1])).toArray()).toEqual([9, 10, 11, 12]);
    expect(fn.counts().replayed).toBe(2);
  });

  it('constants that are written in place begin anew in each call', async () => {
    const fn = k.compile((x: k.Tensor) => k.tensor([1, 2]).add_(x).mul_(x));
    for (let i = 1; i < 5; i++)
      expect(await fn(k.tensor([i, i])).toArray()).toEqual([(1 + i) * i, (2 + i) * i]);
    expect(fn.counts().replayed).toBe(2);
  });

  it('tables of indices that ops upload by themselves are constants too', async () => {
    const model = new nn.Sequential(
      new nn.Conv2d(3, 4, 3),
      new nn.InstanceNorm2d(4),
      new nn.ReLU(),
      new nn.ReflectionPad2d(1),
    ).eval();
    const fn = k.compile((x: k.Tensor) => k.noGrad(() => model(x)));
    for (let i = 1; i < 5; i++) {
      const x = k.arange(0, 216, { dtype: 'float32' }).reshape(2, 3, 6, 6).mul(i).sin();
      expect(await fn(x).toArray()).toEqual(await k.noGrad(() => model(x)).toArray());
    }
    expect(fn.counts().replayed).toBe(2);
  });

  it('weights of a loss, made between two passes of a step, stay what they are', async () => {
    const train = async (compiled: boolean): Promise<number[]> => {
      k.manualSeed(3);
      const model = new nn.Sequential(new nn.Linear(8, 16), new nn.ReLU(), new nn.Linear(16, 8));
      const optimizer = new k.optim.SGD(model.parameters(), { lr: 0.1 });
      const weights = Float32Array.from({ length: 64 }, (_, i) => (i % 5) + 1);
      const fn = (x: k.Tensor, y: k.Tensor): k.Tensor => {
        optimizer.zeroGrad();
        model(x).pow(2).mean().backward();
        const w = k.tensor(weights, { shape: [8, 8] });
        const loss = model(x).sub(y).pow(2).mul(w).mean();
        loss.backward();
        optimizer.step();
        return loss;
      };
      const step = compiled ? k.compile(fn) : fn;
      const [x, y] = [k.randn(8, 8), k.randn(8, 8)];
      const losses: number[] = [];
      for (let i = 0; i < 6; i++) losses.push(await step(x, y).item());
      return losses;
    };
    expect(await train(true)).toEqual(await train(false));
  });

  it('texts that look like several values are not taken for them', async () => {
    const fn = k.compile((x: k.Tensor, names: string[]) => x.mul(names.length));
    for (let i = 0; i < 3; i++) {
      expect(await fn(k.tensor([5]), ['a', 'b']).toArray()).toEqual([10]);
      expect(await fn(k.tensor([5]), ['a";"b']).toArray()).toEqual([5]);
      expect(await fn(k.tensor([5]), ['a;string b']).toArray()).toEqual([5]);
    }
  });

  it('other values of arguments are other recordings', async () => {
    const fn = k.compile((x: k.Tensor, factor: number) => x.mul(factor));
    for (const factor of [2, 3, 2, 3, 2, 3])
      expect(await fn(k.tensor([5]), factor).toArray()).toEqual([5 * factor]);
    expect(fn.counts()).toEqual({ eager: 2, recorded: 2, replayed: 2, reason: null });
  });

  it('a number that is another one in each call makes each call run, and nothing is kept', async () => {
    const fn = k.compile((x: k.Tensor, factor: number) => x.mul(factor));
    const before = k.memoryStats().liveBytes;
    for (let i = 0; i < 80; i++) fn(k.tensor([5]), i).dispose();
    expect(await fn(k.tensor([5]), 3).toArray()).toEqual([15]);
    expect(k.memoryStats().liveBytes - before).toBeLessThan(8192);
  });

  it('results in objects of classes are not replayed', async () => {
    class Pair {
      constructor(readonly sum: k.Tensor) {}
    }
    const fn = k.compile((x: k.Tensor) => new Pair(x.sum()));
    const results = [1, 2, 3].map((v) => fn(k.tensor([v, v])));
    expect(await Promise.all(results.map(({ sum }) => sum.item()))).toEqual([2, 4, 6]);
    expect(fn.counts().reason).toBe('it returns a Pair, in which tensors could be');
  });

  it('random numbers of the host (a permutation) are drawn each time', async () => {
    const fn = k.compile((x: k.Tensor) => x.indexSelect(0, k.randperm(50)));
    const seen = new Set<string>();
    for (let i = 0; i < 4; i++) seen.add(await bits(fn(k.arange(50))));
    expect(seen.size).toBe(4);
  });
});

describe('memory', () => {
  it('stays flat over replays, and goes back with reset()', async () => {
    const { step } = make();
    const before = k.memoryStats().liveBytes;
    const compiled = k.compile(step);
    const xs = Array.from({ length: 8 }, (_, i) => batch(i));
    for (let i = 0; i < 3; i++) await compiled(...xs[i]!).item();
    const held = k.memoryStats().liveBytes;
    for (let i = 3; i < 8; i++) {
      const loss = compiled(...xs[i]!);
      await loss.item();
      loss.dispose();
      expect(k.memoryStats().liveBytes - held).toBeLessThan(4096);
    }
    compiled.reset();
    expect(k.memoryStats().liveBytes).toBeLessThan(held);
    expect(before).toBeLessThan(held);
    expect(Number.isFinite(await compiled(...xs[0]!).item())).toBe(true);
  });
});

describe('errors say what to do', () => {
  it('reading a value while it is recorded', async () => {
    const reads: Promise<number>[] = [];
    const fn = k.compile((x: k.Tensor) => {
      const sum = x.sum();
      reads.push(sum.item());
      return sum;
    });
    fn(k.ones([3]));
    expect(() => fn(k.ones([3]))).toThrow(/compile: the function reads a value.*read it outside/s);
    // Whoever holds the promise of the read gets the value; one that is let go of rejects for nobody.
    expect(await Promise.all(reads)).toEqual([3, 3]);
  });

  it('an async function', () => {
    const fn = k.compile((x: k.Tensor) => Promise.resolve(x));
    expect(() => fn(k.ones([2]))).toThrow(/compile: the function is async/);
  });

  it('an argument that requires grad', () => {
    const fn = k.compile((x: k.Tensor) => x.sum());
    const x = k.ones([2]).requiresGrad_();
    for (let i = 0; i < 3; i++)
      expect(() => fn(x)).toThrow(/compile: an argument requires grad.*parameter, or detach/s);
  });

  it('something that is no function', () => {
    expect(() => k.compile(3 as unknown as () => void)).toThrow(/compile: expected a function, got 3/);
  });
});

describe('results are memory of their own, in every call', () => {
  let linear: k.nn.Linear;
  beforeAll(() => void (linear = new nn.Linear(2, 2)));
  const held: { state: k.Tensor | null } = { state: null };
  const given: [string, (x: k.Tensor) => k.Tensor | k.Tensor[]][] = [
    ['an argument', (x) => x],
    ['a view of an argument', (x) => x.view(4)],
    ['a parameter', () => linear.weight],
    ['a view of a parameter', () => linear.weight.t()],
    ['a tensor from outside', (x) => (held.state ??= x.clone().keep())],
    ['the same tensor twice', (x) => ((y: k.Tensor) => [y, y])(x.mul(2))],
    ['two views of one memory', (x) => ((y: k.Tensor) => [y, y.view(4)])(x.mul(2))],
  ];

  it.each(given)('%s', async (_, fn) => {
    const x = k.randn([2, 2]);
    const compiled = k.compile(fn);
    const before = await Promise.all([x, linear.weight].map(bits));
    const want = await Promise.all([fn(x)].flat().map(bits));
    for (let call = 0; call < 4; call++) {
      const results = [compiled(x)].flat();
      expect(results.map(({ requiresGrad }) => requiresGrad)).toEqual(results.map(() => false));
      expect(await Promise.all(results.map(bits))).toEqual(want);
      results[0]?.zero_();
      expect(await Promise.all(results.slice(1).map(bits))).toEqual(want.slice(1));
      expect(await Promise.all([x, linear.weight].map(bits))).toEqual(before);
      if (held.state) expect(await held.state.abs().sum().item()).toBeGreaterThan(0);
    }
  });

  it('a compiled function within another gives detached results there, too', () => {
    const inner = k.compile((x: k.Tensor) => linear(x));
    const outer = k.compile((x: k.Tensor) => [inner(x).requiresGrad ? 1 : 0, x.mul(1)]);
    for (let call = 0; call < 4; call++) expect(outer(k.ones([2, 2]))[0]).toBe(0);
  });
});

describe('mixed precision', () => {
  it('inside the function is replayed; a new loss scale is noticed', async () => {
    const run = async (compiled: boolean): Promise<string[]> => {
      const { model, optimizer } = make();
      const scaler = new k.amp.GradScaler({ initScale: 1024, growthInterval: 2 });
      const backward = (x: k.Tensor, y: k.Tensor): k.Tensor => {
        optimizer.zeroGrad();
        const loss = k.amp.autocast({}, () => F.crossEntropy(model(x), y));
        scaler.scale(loss).backward();
        return loss;
      };
      const fn = compiled ? k.compile(backward) : backward;
      const seen: string[] = [];
      k.manualSeed(2);
      for (let i = 0; i < 8; i++) {
        seen.push(await bits(fn(...batch(i))));
        await scaler.step(optimizer);
        await scaler.update();
        seen.push(`${scaler.getScale()}`, await bits(model.fc.weight));
      }
      return seen;
    };
    expect(await run(true)).toEqual(await run(false));
  });

  it('around the call runs it as it is', () => {
    const model = new Net();
    const fn = k.compile((x: k.Tensor) => model(x));
    for (let i = 0; i < 4; i++) k.amp.autocast({}, () => fn(k.randn([2, 3, 6, 6])));
    expect(fn.counts()).toMatchObject({ eager: 4, replayed: 0 });
  });
});

describe('what is not called by itself is noticed', () => {
  /** Values of calls, the compiled function's beside the plain one's, with a change before the fourth. */
  async function beside<S>(
    setUp: () => S,
    fnOf: (state: S) => (x: k.Tensor) => k.Tensor,
    change: (state: S) => void,
  ): Promise<k.CompileCounts> {
    const run = async (compiled: boolean): Promise<{ seen: string[]; counts?: k.CompileCounts }> => {
      k.manualSeed(9);
      const state = setUp();
      const plain = fnOf(state);
      const fn = compiled ? k.compile(plain) : plain;
      const seen: string[] = [];
      for (let i = 0; i < 6; i++) {
        if (i === 3) change(state);
        seen.push(await bits(fn(k.full([2, 2], i + 1.5))));
      }
      return { seen, ...(compiled && { counts: (fn as k.Compiled<[k.Tensor], k.Tensor>).counts() }) };
    };
    const { seen, counts } = await run(true);
    expect(seen).toEqual((await run(false)).seen);
    return counts!;
  }

  it('a layer of a list that its owner never calls', async () => {
    const counts = await beside(
      () => new nn.ModuleList([new nn.Identity(), new nn.Tanh()]),
      (list) => (x) => list[0]!(x),
      (list) => void (list[0] = new nn.Tanh()),
    );
    expect(counts.reason).toBe(null);
  });

  it('the head of a Sequential whose parts are called one by one', async () => {
    await beside(
      () => new nn.Sequential(new nn.Linear(2, 2), new nn.Linear(2, 2)),
      (model) => (x) => model.children().reduce((y, layer) => layer(y), x),
      (model) => void (model[1] = new nn.Linear(2, 2)),
    );
  });

  it('a parameter that is used by a function', async () => {
    await beside(
      () => new nn.Linear(2, 2),
      (layer) => (x) => F.linear(x, layer.weight),
      (layer) => void (layer.weight = new nn.Parameter(k.ones([2, 2]))),
    );
  });

  it('a setting in an object', async () => {
    class Scaled extends nn.Module {
      readonly config = { scale: 2 };
      forward(x: k.Tensor): k.Tensor {
        return x.mul(this.config.scale);
      }
    }
    await beside(
      () => new Scaled() as Scaled & ((x: k.Tensor) => k.Tensor),
      (module) => (x) => module(x),
      (module) => void (module.config.scale = 5),
    );
  });

  it('a setting in a Map', async () => {
    class Scaled extends nn.Module {
      readonly config = new Map([['scale', 2]]);
      forward(x: k.Tensor): k.Tensor {
        return x.mul(this.config.get('scale')!);
      }
    }
    await beside(
      () => new Scaled() as Scaled & ((x: k.Tensor) => k.Tensor),
      (module) => (x) => module(x),
      (module) => void module.config.set('scale', 5),
    );
  });

  it('a hook on a parameter', async () => {
    await beside(
      () => new nn.Linear(2, 1),
      (layer) => (x) => {
        layer.zeroGrad();
        layer(x).sum().backward();
        return layer.weight.grad!;
      },
      (layer) => void layer.weight.registerHook((grad) => grad.mul(2)),
    );
  });

  it('parameters that are given to the optimizer later', async () => {
    const leaf = (): k.Tensor => k.ones([2, 2]).requiresGrad_();
    await beside(
      () => {
        const [a, b] = [leaf(), leaf()];
        return { a, b, optimizer: new k.optim.SGD([a], { lr: 0.1 }) };
      },
      ({ a, b, optimizer }) =>
        (x) => {
          optimizer.zeroGrad();
          const loss = a.mul(b).mul(x).sum();
          loss.backward();
          optimizer.step();
          return b.detach().add(loss.detach());
        },
      ({ b, optimizer }) => optimizer.addParamGroup({ params: [b] }),
    );
  });
});

describe('what cannot be replayed runs as it is, and says why', () => {
  const calls: [string, RegExp, () => (x: k.Tensor) => k.Tensor][] = [
    [
      'random numbers that are drawn again by a checkpoint',
      /it calls getRngState/,
      () => {
        const c = k.ones([6]).requiresGrad_();
        return () => {
          c.grad = null;
          const l = k.utils.checkpoint((x: k.Tensor) => k.randn([6]).mul(x), c);
          l.sum().backward();
          return l.sub(c.grad!);
        };
      },
    ],
    ['a seed that is set', /it calls manualSeed/, () => (x) => (k.manualSeed(5), k.randn([2]).add(x))],
    [
      'a closure of an optimizer',
      /SGD.step is given a closure/,
      () => {
        const w = k.tensor([1]).requiresGrad_();
        const optimizer = new k.optim.SGD([w], { lr: 0.1 });
        return (x) =>
          optimizer.step(() => {
            optimizer.zeroGrad();
            const loss = w.mul(x).pow(2).sum();
            loss.backward();
            return loss;
          });
      },
    ],
    ['an argument that is changed', /it changes an argument in place/, () => (x) => x.mul_(2).sum()],
  ];
  it.each(calls)('%s', async (_, reason, make) => {
    const run = async (compiled: boolean): Promise<{ seen: string[]; fn: unknown }> => {
      k.manualSeed(4);
      const fn = compiled ? k.compile(make()) : make();
      const seen: string[] = [];
      for (let i = 0; i < 4; i++) {
        const x = k.full([2], i + 1);
        seen.push(await bits(fn(x)), await bits(x));
      }
      return { seen, fn };
    };
    const { seen, fn } = await run(true);
    expect(seen).toEqual((await run(false)).seen);
    expect((fn as k.Compiled<[], void>).counts()).toMatchObject({
      replayed: 0,
      reason: expect.stringMatching(reason) as string,
    });
  });

  it('an argument whose contents cannot be compared', async () => {
    const numbers = new Float32Array(1);
    const fn = k.compile((x: k.Tensor, n: Float32Array) => x.mul(n[0]!));
    for (let i = 0; i < 4; i++) {
      numbers[0] = i;
      expect(await fn(k.ones([1]), numbers).toArray()).toEqual([i]);
    }
    expect(fn.counts().reason).toMatch(/an argument is a Float32Array/);
  });

  it('`this` is passed on', async () => {
    const object = { factor: 3, scaled: k.compile(function (this: { factor: number }, x: k.Tensor) { return x.mul(this.factor); }) }; // prettier-ignore
    for (let i = 0; i < 3; i++) expect(await object.scaled(k.ones([1])).toArray()).toEqual([3]);
  });
});
