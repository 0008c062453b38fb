import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';

const { checkpoint, checkpointSequential } = k.utils;

type Layer = k.nn.TensorModule;

const bits = async (x: k.Tensor | null): Promise<string> =>
  x === null ? 'none' : Buffer.from((await x.data()).slice().buffer).toString('hex');

/**
 * Every gradient and every buffer of `model` after one backward of `forward(x)`, as bits; and that of `x`.
 */
async function outcome(
  model: Layer,
  x: k.Tensor,
  forward: (x: k.Tensor) => k.Tensor,
): Promise<Map<string, string>> {
  model.zeroGrad();
  x.grad = null;
  k.manualSeed(7);
  const y = forward(x);
  y.square().sum().backward();
  const found = new Map<string, string>([
    ['output', await bits(y)],
    ['input', await bits(x.grad)],
  ]);
  for (const [name, p] of model.namedParameters()) found.set(name, await bits(p.grad));
  return found;
}

const mlp = (): k.nn.Sequential =>
  new k.nn.Sequential(
    new k.nn.Linear(6, 8),
    new k.nn.Tanh(),
    new k.nn.Dropout(0.4),
    new k.nn.Linear(8, 8),
    new k.nn.Sigmoid(),
    new k.nn.Linear(8, 5),
  );

const convolutions = (): k.nn.Sequential =>
  new k.nn.Sequential(
    new k.nn.Conv2d(3, 8, 3, { padding: 1 }),
    new k.nn.BatchNorm2d(8),
    new k.nn.ReLU({ inplace: true }),
    new k.nn.Conv2d(8, 8, 3, { padding: 1, bias: false }),
    new k.nn.BatchNorm2d(8),
    new k.nn.ReLU(),
    new k.nn.MaxPool2d(2),
  );

beforeAll(() => k.init());
beforeEach(() => k.manualSeed(1));

describe('checkpoint', () => {
  it.each([
    ['dense layers with dropout', mlp, [4, 6]],
    ['convolutions, batch norm, in-place ReLU and a pool', convolutions, [2, 3, 8, 8]],
  ])('gives the same bits as the plain call: %s', async (_, make, shape) => {
    const model = make();
    const x = k.randn(...shape).requiresGrad_();
    const plain = await outcome(model, x, model);
    expect(await outcome(model, x, (input) => checkpoint(model, input))).toEqual(plain);
  });

  it('works where only parameters require grad', async () => {
    const model = mlp();
    const x = k.randn(4, 6);
    const plain = await outcome(model, x, model);
    expect(plain.get('0.weight')).not.toBe('none');
    expect(await outcome(model, x, (input) => checkpoint(model, input))).toEqual(plain);
  });

  it('takes functions of several inputs, nested ones among them, that return several outputs', async () => {
    const run = async (checkpointed: boolean): Promise<string[]> => {
      const [a, b, c] = [1, 2, 3].map((seed) => {
        k.manualSeed(seed);
        return k.randn(3, 3).requiresGrad_();
      }) as [k.Tensor, k.Tensor, k.Tensor];
      const mix = (x: k.Tensor, rest: { parts: k.Tensor[] }, scale: number) => {
        const [y, z] = rest.parts as [k.Tensor, k.Tensor];
        return { sum: x.mul(y).tanh(), others: [z.exp().mul(x), y.sigmoid().mul(scale)] };
      };
      const { sum, others } = checkpointed
        ? checkpoint(mix, a, { parts: [b, c] }, 3)
        : mix(a, { parts: [b, c] }, 3);
      sum.add(others[0]!).sum().backward();
      return Promise.all([a, b, c].map((t) => bits(t.grad)));
    };
    expect(await run(true)).toEqual(await run(false));
  });

  it('nests', async () => {
    const model = mlp();
    const x = k.randn(4, 6).requiresGrad_();
    const plain = await outcome(model, x, model);
    const [first, second] = [model.slice(0, 3), model.slice(3)];
    const nested = (input: k.Tensor): k.Tensor =>
      checkpoint((v: k.Tensor) => checkpoint(second, checkpoint(first, v).mul(1)), input);
    expect(await outcome(model, x, nested)).toEqual(plain);
  });

  it('works in tidy and in the scope of a module', async () => {
    const block = convolutions();
    class Net extends k.nn.Module {
      block = block;
      forward(x: k.Tensor): k.Tensor {
        return checkpoint(this.block, x.mul(2)).mul(0.5);
      }
    }
    const net = new Net();
    const x = k.randn(2, 3, 8, 8).requiresGrad_();
    const plain = await outcome(block, x, (input) => block(input.mul(2)).mul(0.5));
    expect(await outcome(block, x, (input) => k.tidy(() => net(input)))).toEqual(plain);
  });

  it('lets autograd.grad, a second backward and a derivative of the gradient through', async () => {
    const x = k.tensor([0.5, -1, 2], { requiresGrad: true });
    const f = (v: k.Tensor): k.Tensor => v.tanh().mul(v).sum();
    const plain = k.autograd.grad(f(x), x, { createGraph: true })[0]!;
    const y = checkpoint(f, x);
    const once = k.autograd.grad(y, x, { createGraph: true })[0]!;
    expect(await bits(once)).toBe(await bits(plain));
    const again = k.autograd.grad(y, x, { retainGraph: true })[0]!;
    expect(await bits(again)).toBe(await bits(plain));
    const [second] = k.autograd.grad(once.sum(), x);
    const [expected] = k.autograd.grad(plain.sum(), x);
    expect(await bits(second!)).toBe(await bits(expected!));
  });

  it('records nothing under noGrad', () => {
    const model = mlp();
    const before = k.autograd.recordedNodes();
    expect(k.noGrad(() => checkpoint(model, k.randn(4, 6))).requiresGrad).toBe(false);
    expect(k.autograd.recordedNodes()).toBe(before);
  });

  it('computes only once more, and not the last op where backward needs only its input', () => {
    const calls: string[] = [];
    const square = (name: string) =>
      class extends k.autograd.Function {
        static override readonly name = name;
        static forward(ctx: k.autograd.FunctionContext, x: k.Tensor): k.Tensor {
          calls.push(name);
          ctx.saveForBackward(x);
          return x.square();
        }
        static backward(ctx: k.autograd.FunctionContext, grad: k.Tensor): k.Tensor {
          return grad.mul(ctx.savedTensors[0]!).mul(2);
        }
      };
    const [First, Last] = [square('first'), square('last')];
    const y = checkpoint((x: k.Tensor) => Last.apply(First.apply(x)), k.ones(2).requiresGrad_());
    expect(calls).toEqual(['first', 'last']);
    y.sum().backward();
    expect(calls).toEqual(['first', 'last', 'first']);
  });
});

describe('random numbers', () => {
  it('are drawn again as they were, and the stream goes on as without checkpointing', async () => {
    const drop = (x: k.Tensor): k.Tensor => k.dropout(x, 0.5).mul(k.rand(64)).square();
    const x = k.ones(64).requiresGrad_();
    const run = async (y: () => k.Tensor): Promise<string[]> => {
      k.manualSeed(3);
      x.grad = null;
      y().sum().backward();
      return [await bits(x.grad), JSON.stringify(k.getRngState())];
    };
    expect(await run(() => checkpoint(drop, x))).toEqual(await run(() => drop(x)));
  });

  it('are others with preserveRngState: false', async () => {
    const x = k.ones(64).requiresGrad_();
    const seen: k.RngState[] = [];
    const look = (v: k.Tensor): k.Tensor => {
      seen.push(k.getRngState());
      return v.mul(k.rand(64)).square();
    };
    checkpoint(look, x, { preserveRngState: false }).sum().backward();
    expect(seen[1]).not.toEqual(seen[0]);
    checkpoint(look, x).sum().backward();
    expect(seen[3]).toEqual(seen[2]);
  });
});

describe('running statistics', () => {
  it('are updated once, as without checkpointing', async () => {
    const x = k.randn(2, 3, 8, 8);
    const after = async (
      momentum: number | null,
      call: (bn: k.nn.BatchNorm2d) => k.Tensor,
    ): Promise<string[]> => {
      const bn = new k.nn.BatchNorm2d(3, { momentum });
      call(bn).square().sum().backward();
      return Promise.all(bn.buffers().map(bits));
    };
    for (const momentum of [0.1, null]) {
      const plain = await after(momentum, (bn) => bn(x));
      expect(await after(momentum, (bn) => checkpoint(bn, x))).toEqual(plain);
      expect(await after(momentum, (bn) => checkpoint((v: k.Tensor) => bn(v).mul(1), x))).toEqual(plain);
    }
  });
});

describe('memory', () => {
  /** Peak bytes above what was there before, of one forward and backward. */
  function peak(run: () => k.Tensor): number {
    const rt = k.runtime();
    const before = k.memoryStats().liveBytes;
    rt.resetPeakMemory();
    const loss = k.tidy(() => run().sum());
    loss.backward();
    loss.dispose();
    return k.memoryStats().peakBytes - before;
  }

  const chain = (): k.nn.Sequential =>
    new k.nn.Sequential(
      ...Array.from({ length: 9 }, () => [new k.nn.Conv2d(8, 8, 1), new k.nn.Tanh()]).flat(),
    );

  it('of 9 layers in 3 segments peaks below 60 % of the plain call', () => {
    const model = chain();
    const x = k.randn(4, 8, 32, 32);
    for (const run of [() => model(x), () => checkpointSequential(model, 3, x)]) {
      run().sum().backward();
      model.zeroGrad();
    }
    const plain = peak(() => model(x));
    model.zeroGrad();
    const checkpointed = peak(() => checkpointSequential(model, 3, x));
    expect(checkpointed).toBeLessThan(0.6 * plain);
  });

  it('is all given back after backward', () => {
    const model = chain();
    const x = k.randn(4, 8, 32, 32);
    const step = (): void => {
      const loss = k.tidy(() => checkpointSequential(model, 3, x).sum());
      loss.backward();
      loss.dispose();
      model.zeroGrad();
    };
    step();
    const before = k.memoryStats().liveBytes;
    for (let i = 0; i < 3; i++) step();
    expect(k.memoryStats().liveBytes).toBeLessThanOrEqual(before);
  });
});

describe('checkpointSequential', () => {
  it.each([1, 2, 3, 6])('in %i segments gives the same bits', async (segments) => {
    const model = mlp();
    const x = k.randn(4, 6).requiresGrad_();
    const plain = await outcome(model, x, model);
    expect(await outcome(model, x, (v) => checkpointSequential(model, segments, v))).toEqual(plain);
  });

  it('takes a list of modules and functions', async () => {
    const model = mlp();
    const x = k.randn(4, 6).requiresGrad_();
    const plain = await outcome(model, x, (v) => k.relu(model(v)));
    expect(await outcome(model, x, (v) => checkpointSequential([...model, k.relu], 2, v))).toEqual(plain);
  });

  it.each([0, 7, 1.5])('refuses %d segments of 6 parts', (segments) => {
    expect(() => checkpointSequential(mlp(), segments, k.randn(4, 6))).toThrow(
      /segments must be a whole number from 1 to the 6 parts/,
    );
  });
});

describe('errors', () => {
  const x = (): k.Tensor => k.tensor([1, 2, 3], { requiresGrad: true });

  it('name a function that does something else the second time', () => {
    let calls = 0;
    const scalar = k.tensor(1, { requiresGrad: true });
    const shifting = (v: k.Tensor): k.Tensor => (calls++ === 0 ? v : scalar).exp().tanh();
    expect(() => checkpoint(shifting, x()).sum().backward()).toThrow(
      /checkpoint\(shifting\): computed again.*shape \[\].*first time it was float32 of shape \[3\]/,
    );
    calls = 0;
    const summing = (v: k.Tensor): k.Tensor => (calls++ === 0 ? v.exp() : v.sum().exp());
    expect(() => checkpoint(summing, x()).sum().backward()).toThrow(
      /checkpoint\(summing\): computed again for backward, its op 1 is sum where the first time it was exp/,
    );
    calls = 0;
    const shrinking = (v: k.Tensor): k.Tensor => (calls++ === 0 ? v.exp().tanh() : v.exp());
    expect(() => checkpoint(shrinking, x()).sum().backward()).toThrow(
      /saved 1 tensors where the first time it saved 2/,
    );
  });

  it('name an op that saves nothing and is missing the second time: dropout of a layer in another mode', () => {
    const drop = new k.nn.Dropout(0.5);
    const y = checkpoint((v: k.Tensor) => drop(v.exp()).mul(v), x());
    drop.eval();
    expect(() => y.sum().backward()).toThrow(
      /its op 2 is mul where the first time it was dropout.*same mode/,
    );
  });

  it('name an input that was changed in place before backward', () => {
    const input = k.ones(3).mul(x());
    const exp = (v: k.Tensor): k.Tensor => v.mul(v).exp();
    const y = checkpoint(exp, input).sum();
    input.add_(1);
    expect(() => y.backward()).toThrow(/that checkpoint\(exp\) needs was changed in place by add_/);
  });

  it('say what to do about a temporary that a closure captured', () => {
    const y = k.tidy(() => {
      const temporary = x().mul(2);
      return checkpoint(() => temporary.exp().sum());
    });
    expect(() => y.backward()).toThrow(/pass the tensors it works on as inputs\..*was freed by tidy\(\)/);
  });

  it('refuse async functions, the reentrant form and backward inside', () => {
    expect(() => checkpoint(async () => Promise.resolve(1))).toThrow(/must not be async/);
    const reentrant = { useReentrant: true } as unknown as { useReentrant: false };
    expect(() => checkpoint(k.exp, x(), reentrant)).toThrow(/no reentrant form/);
    const inner = (v: k.Tensor): k.Tensor => {
      v.exp().sum().backward();
      return v;
    };
    expect(() => checkpoint(inner, x())).toThrow(
      /checkpoint\(inner\): backward\(\) or grad\(\) was called inside/,
    );
  });

  it('refuse a second backward over a freed graph', () => {
    const y = checkpoint(k.exp, x()).sum();
    y.backward();
    expect(() => y.backward()).toThrow(/already freed by an earlier backward/);
  });
});
