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

describe('autograd.grad', () => {
  it('returns gradients and touches no .grad', async () => {
    const x = k.tensor([2], { requiresGrad: true });
    const w = k.tensor([5], { requiresGrad: true });
    const [dx] = k.autograd.grad(x.mul(w).sum(), [x]);
    expect(await values(dx)).toEqual([5]);
    expect([x.grad, w.grad]).toEqual([null, null]);
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

describe('higher derivatives', () => {
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
