import { beforeAll, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';

const values = async (x: k.Tensor | null | undefined): Promise<number[]> =>
  Array.from(await (x as k.Tensor).data());

beforeAll(() => k.init());

describe('recording', () => {
  it('records nothing when no input requires grad', () => {
    const before = k.autograd.recordedNodes();
    const y = k.tensor([1, 2]).mul(3).exp();
    expect(y.requiresGrad).toBe(false);
    expect(k.autograd.recordedNodes()).toBe(before);
  });

  it('names the op that made a tensor', () => {
    const x = k.tensor([1, 2], { requiresGrad: true });
    expect(x.gradFn).toBeNull();
    expect(x.mul(2).gradFn?.name).toBe('mul');
  });

  it('integer results never require grad', () => {
    const x = k.tensor([[3, 1, 2]], { requiresGrad: true });
    const [best, at] = x.max(1);
    expect([best.requiresGrad, at.requiresGrad, x.argmax(1).requiresGrad]).toEqual([true, false, false]);
  });

  it('only floats can require grad', () => {
    expect(() => k.tensor([1, 2], { dtype: 'int32', requiresGrad: true })).toThrow(
      /only floating point.*int32/,
    );
  });
});

describe('backward', () => {
  it('adds into the gradients of leaves', async () => {
    const x = k.tensor([1, 2, 3], { requiresGrad: true });
    x.mul(x).sum().backward();
    x.sum().backward();
    expect(await values(x.grad)).toEqual([3, 5, 7]);
  });

  it('sums over every use of a tensor and runs each node once', async () => {
    const x = k.tensor([2], { requiresGrad: true });
    let runs = 0;
    class Square extends k.autograd.Function {
      static forward(ctx: k.autograd.FunctionContext, a: k.Tensor): k.Tensor {
        ctx.saveForBackward(a);
        return a.mul(a);
      }
      static backward(ctx: k.autograd.FunctionContext, grad: k.Tensor): k.Tensor {
        runs++;
        return grad.mul((ctx.savedTensors[0] as k.Tensor).mul(2));
      }
    }
    const y = Square.apply(x);
    y.add(y).mul(y).sum().backward();
    expect(runs).toBe(1);
    expect(await values(x.grad)).toEqual([64]);
  });

  it('goes through graphs far deeper than the call stack', async () => {
    const x = k.tensor([1], { requiresGrad: true });
    let y = x;
    for (let i = 0; i < 3000; i++) y = y.add(0.5);
    y.sum().backward();
    expect(await values(x.grad)).toEqual([1]);
  });

  it('needs a gradient to start from more than one element', () => {
    const x = k.tensor([1, 2], { requiresGrad: true });
    expect(() => x.mul(2).backward()).toThrow(/shape \[2\].*Reduce it first/s);
  });

  it('says why a tensor cannot start it', () => {
    expect(() => k.tensor([1]).backward()).toThrow(/does not require grad/);
  });

  it('refuses a second pass unless the graph was retained', async () => {
    const x = k.tensor([3], { requiresGrad: true });
    const y = x.mul(x).sum();
    y.backward(null, { retainGraph: true });
    y.backward();
    expect(await values(x.grad)).toEqual([12]);
    expect(() => y.backward()).toThrow(/already freed.*retainGraph/s);
  });

  it('goes back twice through ops that saved nothing', async () => {
    const x = k.tensor([1, 2], { requiresGrad: true });
    const y = x.add(1).reshape(2, 1).t().sum();
    y.backward();
    y.backward();
    expect(await values(x.grad)).toEqual([2, 2]);
  });

  it('leaves no gradient on a leaf that does not require one', () => {
    const x = k.tensor([1], { requiresGrad: true });
    const frozen = k.tensor([2]);
    x.mul(frozen).sum().backward();
    expect(frozen.grad).toBeNull();
  });

  it('keeps the gradient of an inner tensor on request', async () => {
    const x = k.tensor([1, 2], { requiresGrad: true });
    const y = x.mul(3);
    y.retainGrad();
    y.mul(y).sum().backward();
    expect(await values(y.grad)).toEqual([6, 12]);
  });

  it('keeps the gradient of what an inner tensor is now, after it was changed in place', async () => {
    const x = k.tensor([1, 1], { requiresGrad: true });
    const y = x.mul(1);
    const view = y.slice(0, 0, 1);
    y.retainGrad();
    view.retainGrad();
    y.mul_(3);
    y.sum().add(view.mul(5).sum()).backward();
    expect(await values(y.grad)).toEqual([6, 1]);
    expect(await values(view.grad)).toEqual([5]);
  });

  it('leaves no gradient on a leaf that was switched off, or detached, since the forward', async () => {
    const x = k.tensor([1, 1], { requiresGrad: true });
    const y = k.tensor([1, 1], { requiresGrad: true });
    const z = k.tensor([1, 1], { requiresGrad: true });
    const loss = x.mul(2).add(y.mul(3)).add(z.mul(4)).sum();
    x.requiresGrad_(false);
    y.detach_();
    z.requiresGrad_(false).requiresGrad_();
    loss.backward();
    expect(x.grad).toBeNull();
    expect(y.grad).toBeNull();
    expect(await values(z.grad)).toEqual([4, 4]);
  });

  it('refuses detach_() of views, and only of them', () => {
    const x = k.ones(4, 2).requiresGrad_();
    const views = [x.narrow(0, 0, 2), x.t(), x.unbind()[0], k.noGrad(() => x.view(8)), x.detach().view(8)];
    for (const view of views) expect(() => view?.detach_()).toThrow('use detach() instead');
    const free = [x.clone(), x.detach(), x.narrow(0, 0, 2).detach()];
    for (const tensor of free) expect(tensor.detach_()).toBe(tensor);
  });

  it("takes the gradient by PyTorch's name", async () => {
    const x = k.tensor([1, 2], { requiresGrad: true });
    const y = x.mul(2);
    y.backward({ gradient: k.tensor([1, 3]), retainGraph: true });
    k.backward(y, { gradTensors: [k.tensor([1, 0])] });
    expect(await x.grad?.toArray()).toEqual([4, 6]);
  });

  it("takes only a gradient of the tensor's own shape", () => {
    const x = k.ones(3).requiresGrad_();
    expect(() => (x.grad = k.ones(3, 1))).toThrow(/gradient of shape \[3, 1\].*\[3\]/s);
  });

  it('stops at detach()', async () => {
    const x = k.tensor([2], { requiresGrad: true });
    x.mul(x.detach()).sum().backward();
    expect(await values(x.grad)).toEqual([2]);
  });
});

describe('hooks', () => {
  it('see the gradient and may replace it', async () => {
    const x = k.tensor([1, 2], { requiresGrad: true });
    const seen: k.Tensor[] = [];
    const y = x.mul(1);
    y.registerHook((grad) => {
      seen.push(grad);
      return grad.mul(10);
    });
    y.sum().backward();
    expect(await values(seen[0])).toEqual([1, 1]);
    expect(await values(x.grad)).toEqual([10, 10]);
  });

  it('of a leaf run once, on the whole gradient', async () => {
    const x = k.tensor([1], { requiresGrad: true });
    const seen: k.Tensor[] = [];
    x.registerHook((grad) => void seen.push(grad));
    x.add(x).add(x).sum().backward();
    expect(seen.length).toBe(1);
    expect(await values(seen[0])).toEqual([3]);
  });

  it('stop after remove()', () => {
    const x = k.tensor([1], { requiresGrad: true });
    let calls = 0;
    const handle = x.registerHook(() => void calls++);
    handle.remove();
    x.sum().backward();
    expect(calls).toBe(0);
  });
});

describe('hooks that return a tensor of the user', () => {
  it('leave it to the user', async () => {
    const x = k.ones([4]).requiresGrad_();
    const own = k.ones([4]).mul(7);
    const y = x.mul(2);
    y.registerHook(() => own);
    x.registerHook((grad) => grad);
    y.sum().backward();
    const w = k.ones([4]).requiresGrad_();
    w.registerHook(() => own);
    w.sum().backward();
    k.noGrad(() => w.grad!.mul_(2));
    expect(await values(own)).toEqual([7, 7, 7, 7]);
    expect(await values(x.grad)).toEqual([14, 14, 14, 14]);
  });
});

describe('hooks that return something else than a gradient', () => {
  const backwardWith = (hook: unknown) => (): void => {
    const y = k.ones(2).requiresGrad_().mul(2);
    y.registerHook(hook as k.TensorHook);
    y.sum().backward();
  };

  it('are refused with what was expected', () => {
    expect(backwardWith(() => 3)).toThrow(/a tensor hook returned number '3'.*shape \[2\]/s);
    expect(backwardWith((g: k.Tensor) => g.sum())).toThrow(/changed the gradient's shape to \[\]/);
    expect(backwardWith((g: k.Tensor) => g.int())).toThrow(/changed the gradient's dtype to int32/);
  });

  it('of modules too', () => {
    const layer = new k.nn.Linear(2, 2);
    layer.registerFullBackwardHook((_, [gradInput]) => [gradInput!.sum()]);
    const y = layer(k.ones(1, 2).requiresGrad_());
    expect(() => y.sum().backward()).toThrow(/Linear: a full backward hook changed the gradient's shape/);
  });
});

describe('a custom Function', () => {
  const product = (backward: (grad: k.Tensor) => unknown) =>
    class Product extends k.autograd.Function {
      static forward(_: k.autograd.FunctionContext, a: k.Tensor, b: k.Tensor): k.Tensor {
        return a.mul(b);
      }
      static backward(_: k.autograd.FunctionContext, grad: k.Tensor): k.Tensor[] {
        return backward(grad) as k.Tensor[];
      }
    };
  const gradients = async (backward: (grad: k.Tensor) => unknown): Promise<number[][]> => {
    const [a, b] = [k.ones(2).requiresGrad_(), k.ones(2).requiresGrad_()];
    product(backward).apply(a, b).sum().backward();
    return [await values(a.grad), await values(b.grad)];
  };

  it('returns a gradient for each argument of forward', async () => {
    await expect(gradients((g) => g)).rejects.toThrow(
      /Product.backward returned 1 gradients for 2 arguments/,
    );
    await expect(gradients((g) => [g, g, g])).rejects.toThrow(/returned 3 gradients for 2 arguments/);
    expect(await gradients((g) => [g, g, null])).toEqual([
      [1, 1],
      [1, 1],
    ]);
  });

  it('names itself when what it returns is no tensor', async () => {
    await expect(gradients(() => 3)).rejects.toThrow(
      /Product\.backward returned number '3'; expected a tensor/,
    );
    await expect(gradients((g) => Promise.resolve(g))).rejects.toThrow(
      /Product\.backward returned a promise \(it cannot be async\)/,
    );
    class Count extends k.autograd.Function {
      static forward(_: k.autograd.FunctionContext, x: k.Tensor): k.Tensor {
        return x.numel() as never;
      }
      static backward = (_: k.autograd.FunctionContext, grad: k.Tensor): k.Tensor => grad;
    }
    expect(() => Count.apply(k.ones(2))).toThrow(/Count\.forward returned number '2'; expected a tensor/);
  });

  it("returns tensors of the arguments' shapes, or of shapes that they broadcast to", async () => {
    await expect(gradients((g) => [3, g])).rejects.toThrow(/returned number '3' as gradient 0/);
    await expect(gradients((g) => [g, g.sum()])).rejects.toThrow(/shape \[\] for argument 1.*\[2\]/s);
    expect(await gradients((g) => [g.repeat(3, 1), g.int()])).toEqual([
      [3, 3],
      [1, 1],
    ]);
  });
});

describe('autograd.grad', () => {
  it('returns gradients and touches no .grad', async () => {
    const x = k.tensor([2], { requiresGrad: true });
    const w = k.tensor([5], { requiresGrad: true });
    const [dx] = k.autograd.grad(x.mul(w).sum(), [x]);
    expect(await values(dx)).toEqual([5]);
    expect([x.grad, w.grad]).toEqual([null, null]);
  });

  it('leaves what it need not run for a later pass', async () => {
    const [x, y] = [k.ones(2).requiresGrad_(), k.ones(2).requiresGrad_()];
    const inner = x.mul(x);
    const [grad] = k.autograd.grad(inner.mul(y).sum(), inner);
    expect(await values(grad!)).toEqual([1, 1]);
    inner.sum().backward();
    expect(await values(x.grad)).toEqual([2, 2]);
  });

  it('reaches inner tensors', async () => {
    const x = k.tensor([2], { requiresGrad: true });
    const y = x.mul(3);
    const [dy] = k.autograd.grad(y.mul(y).sum(), y);
    expect(await values(dy)).toEqual([12]);
  });

  it('says which input was not used, or gives null for it when allowed', () => {
    const x = k.tensor([2], { requiresGrad: true });
    const other = k.tensor([2], { requiresGrad: true });
    expect(() => k.autograd.grad(x.sum(), [x, other])).toThrow(/input 1 was not used/);
    expect(k.autograd.grad(x.sum(), [x, other], { allowUnused: true })[1]).toBeNull();
  });
});

describe('backward()', () => {
  it('takes its options in the place of the gradient too', async () => {
    const x = k.ones(2).requiresGrad_();
    const loss = x.mul(x).sum();
    loss.backward({ retainGraph: true });
    loss.backward(null, { retainGraph: true });
    k.autograd.backward(loss, { retainGraph: true });
    expect(await values(x.grad)).toEqual([6, 6]);
  });

  it('takes only a tensor for a gradient', () => {
    const y = k.ones(2).requiresGrad_().mul(2);
    expect(() => y.sum().backward(5 as never)).toThrow(
      /must be a tensor of shape \[\] or null, got number '5'/,
    );
    expect(() => y.backward([1, 1] as never)).toThrow(/must be a tensor of shape \[2\]/);
  });
});

describe('higher derivatives', () => {
  it.each([
    { op: 'prod', input: [0, 3], first: [3, 0], second: [2, 1] },
    { op: 'prod', input: [0, 0], first: [0, 0], second: [2, 1] },
    { op: 'prod', input: [0, 0, 2], first: [0, 0, 0], second: [4, 2, 0] },
    { op: 'cumprod', input: [0, 3], first: [4, 0], second: [2, 1] },
    { op: 'cumprod', input: [0, 0, 2], first: [1, 0, 0], second: [6, 3, 0] },
  ] as const)('of $op over $input: factors of zero', async ({ op, input, first, second }) => {
    const x = k.tensor([...input], { requiresGrad: true });
    const y = op === 'prod' ? x.prod(0) : x.cumprod(0).sum();
    const [grad] = k.autograd.grad(y, x, { createGraph: true });
    expect(await values(grad!)).toEqual(first);
    const weights = k.arange(1, input.length + 1);
    const [twice] = k.autograd.grad(grad!.mul(weights).sum(), x);
    expect(await values(twice!)).toEqual(second);
  });

  it('of x^3: 3x^2, 6x, 6', async () => {
    const x = k.tensor([2], { requiresGrad: true });
    const [first] = k.autograd.grad(x.pow(3).sum(), x, { createGraph: true });
    const [second] = k.autograd.grad((first as k.Tensor).sum(), x, { createGraph: true });
    const [third] = k.autograd.grad((second as k.Tensor).sum(), x);
    expect([await values(first), await values(second), await values(third)]).toEqual([[12], [12], [6]]);
  });

  it('go through matmul, softmax cross-entropy, batch norm and convolution', async () => {
    const image = k.tensor(
      Float32Array.from({ length: 32 }, (_, i) => Math.sin(i * 1.3)),
      { shape: [2, 1, 4, 4] },
    );
    const w = k.tensor(
      Float32Array.from({ length: 18 }, (_, i) => 0.4 * Math.cos(i)),
      { shape: [2, 1, 3, 3], requiresGrad: true },
    );
    const head = k.tensor(
      [
        [0.5, -0.3],
        [0.2, 0.7],
        [-0.6, 0.1],
      ],
      { requiresGrad: true },
    );
    const labels = k.tensor([0, 2], { dtype: 'int32' });
    const loss = (weight: k.Tensor): k.Tensor => {
      const y = k
        .batchNorm(k.conv2d(image, weight, null, { padding: 1 }), null, null, { training: true })
        .tanh();
      return k.crossEntropy(y.mean([2, 3]).matmul(head.t()), labels);
    };
    const gradient = (weight: k.Tensor): k.Tensor =>
      k.autograd.grad(loss(weight), weight, { createGraph: true })[0] as k.Tensor;
    await expect(k.gradcheck(gradient, [w], { atol: 5e-3 })).resolves.toBe(true);
  });
});

describe('gradcheck', () => {
  it('finds a wrong gradient and says where', async () => {
    class Wrong extends k.autograd.Function {
      static forward(_: k.autograd.FunctionContext, x: k.Tensor): k.Tensor {
        return x.mul(2);
      }
      static backward(_: k.autograd.FunctionContext, grad: k.Tensor): k.Tensor {
        return grad.mul(3);
      }
    }
    const x = k.tensor([1, 2], { requiresGrad: true });
    await expect(k.gradcheck((a) => Wrong.apply(a), [x])).rejects.toThrow(/input 0, element 0/);
  });
});

describe('detectAnomaly', () => {
  it('names the op whose gradient is NaN', async () => {
    const x = k.tensor([0], { requiresGrad: true });
    const run = k.autograd.detectAnomaly(() => x.sqrt().mul(0).sum().backward());
    await expect(run).rejects.toThrow(/backward of sqrt produced NaN/);
  });
});
