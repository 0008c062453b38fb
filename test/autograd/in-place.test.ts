import { beforeAll, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';

type Tensor = k.Tensor;

const values = async (x: k.Tensor | null): Promise<number[]> => Array.from(await (x as k.Tensor).data());

beforeAll(() => k.init());

describe('in-place ops', () => {
  it('refuse leaves that require grad while grad mode is on', () => {
    const w = k.tensor([1], { requiresGrad: true });
    expect(() => w.add_(1)).toThrow(/leaf.*noGrad/s);
    k.noGrad(() => w.add_(1));
  });

  it('of a saved tensor make backward name the op that changed it', () => {
    const x = k.tensor([1, 2], { requiresGrad: true });
    const y = x.mul(1);
    const z = y.mul(y).sum();
    y.add_(1);
    expect(() => z.backward()).toThrow(/mul needs was changed in place by add_.*clone/s);
  });

  it('take part in the tape', async () => {
    const x = k.tensor([1, 2], { requiresGrad: true });
    const y = x.mul(1);
    y.mul_(x);
    y.sum().backward();
    expect(await values(x.grad)).toEqual([2, 4]);
  });

  it('through a view reach the base and its other views', async () => {
    const x = k.tensor(
      [
        [1, 2],
        [3, 4],
      ],
      { requiresGrad: true },
    );
    const base = x.mul(1);
    const row = base.select(0, 1);
    const column = base.select(1, 1);
    row.mul_(10);
    column.sum().backward();
    expect(await values(base)).toEqual([1, 2, 30, 40]);
    expect(await values(x.grad)).toEqual([0, 1, 0, 10]);
  });

  it('through a view of a tensor with gaps in its memory stay inside that memory', async () => {
    const gappy = k.arange(12, { dtype: 'float32' }).reshape(3, 4).narrow(1, 1, 2).detach();
    const y = k.tensor([1, 2, 3], { requiresGrad: true });
    gappy.select(1, 1).mul_(y);
    gappy.mul(gappy).sum().backward();
    expect(await values(gappy)).toEqual([1, 2, 5, 12, 9, 30]);
    expect(await values(y.grad)).toEqual([8, 144, 600]);
  });

  it('of a view copy the write into the gradient of what was written, whatever the kind of view', async () => {
    const weights = k.tensor([
      [1, 2],
      [3, 4],
    ]);
    const into = async (view: (base: Tensor) => Tensor, size: number): Promise<number[]> => {
      const x = k.ones(size).requiresGrad_();
      const base = k.zeros(2, 2);
      view(base).copy_(x);
      base.mul(weights).sum().backward();
      return values(x.grad);
    };
    expect(await into((b) => b.select(0, 1), 2)).toEqual([3, 4]);
    expect(await into((b) => b.t().select(0, 1), 2)).toEqual([2, 4]);
    expect(await into((b) => b.slice(1, 1), 1)).toEqual([6]);
    expect(await into((b) => b.view(-1), 4)).toEqual([1, 2, 3, 4]);
    expect(await into((b) => b.diagonal(), 2)).toEqual([1, 4]);
    expect(await into((b) => b.unfold(1, 2, 2).squeeze(1), 2)).toEqual([4, 6]);
    expect(await into((b) => b.unsqueeze(0).permute(2, 0, 1).select(0, 0), 1)).toEqual([4]);
  });

  it('collect results in a buffer that required no grad', async () => {
    const x = k.tensor([1, 2, 3], { requiresGrad: true });
    const out = k.zeros(3);
    for (let i = 0; i < 3; i++) out.select(0, i).add_(x.select(0, i).mul(i + 1));
    out.mul(out).sum().backward();
    expect(await values(x.grad)).toEqual([2, 16, 54]);
  });

  it('through views can be differentiated twice', async () => {
    const x = k.tensor([2, 3], { requiresGrad: true });
    const base = x.mul(1);
    base.slice(0, 0, 1).mul_(x.slice(0, 1, 2)); // [x0 x1, x1]
    const [first] = k.autograd.grad(base.mul(base).sum(), x, { createGraph: true });
    first!.sum().backward();
    expect(await values(first!)).toEqual([36, 30]);
    expect(await values(x.grad)).toEqual([18 + 24, 24 + 8 + 2]);
  });

  it('through views can be differentiated twice where the gradient reads the result', async () => {
    const x = k.tensor([0.5, 2], { requiresGrad: true });
    const base = x.mul(2);
    base.slice(0, 0, 1).exp_(); // [e^(2 x0), 2 x1]
    const [first] = k.autograd.grad(base.sum(), x, { createGraph: true });
    first!.sum().backward();
    const rounded = async (t: Tensor | null): Promise<string[]> => (await values(t)).map((v) => v.toFixed(4));
    expect(await rounded(first!)).toEqual([(2 * Math.E).toFixed(4), '2.0000']);
    expect(await rounded(x.grad)).toEqual([(4 * Math.E).toFixed(4), '0.0000']);
  });

  it('refuse, on the tape, views that have no place on it', async () => {
    const x = k.ones(3).requiresGrad_();
    const base = x.mul(1);
    const hidden = k.noGrad(() => base.slice(0, 0, 2));
    expect(() => hidden.fill_(0)).toThrow(/fill_: .*made without grad mode.*clone\(\)/s);
    const [first] = base.split(1);
    expect(() => first!.mul_(2)).toThrow(/mul_: split, chunk and unbind give several views/);
    expect(() => base.unbind(0)[1]!.copy_(x.sum())).toThrow(/copy_: split, chunk and unbind/);
    const plain = k.zeros(4);
    plain.chunk(2)[1]!.fill_(1);
    expect(await values(plain)).toEqual([0, 0, 1, 1]);
  });

  it('refuse the use of one of several views once their memory was written', () => {
    const base = k.ones(4).requiresGrad_().mul(1);
    const [left] = base.chunk(2);
    base.mul_(2);
    expect(() => left!.sum()).toThrow(/split, chunk and unbind give several views/);
  });

  it('reach views whose elements share memory, which then add up', async () => {
    const x = k.ones(2).requiresGrad_();
    const base = x.mul(1);
    const rows = base.expand([2, 2]);
    base.mul_(3);
    const weights = k.tensor([
      [1, 2],
      [3, 4],
    ]);
    rows.mul(weights).sum().backward();
    expect(await values(x.grad)).toEqual([12, 18]);

    const y = k.ones(3).requiresGrad_();
    const source = y.mul(1);
    const windows = source.unfold(0, 2, 1);
    source.mul_(3);
    windows.mul(weights).sum().backward();
    expect(await values(y.grad)).toEqual([3, 15, 12]);
  });

  it('refuse tensors whose elements share memory', () => {
    const expanded = (): Tensor => k.zeros(1).expand([1000]);
    const windows = (): Tensor => k.zeros(4).unfold(0, 2, 1);
    const message = /share one place in memory.*clone\(\)/s;
    expect(() => expanded().add_(1)).toThrow(message);
    expect(() => expanded().copy_(k.ones(1000))).toThrow(message);
    expect(() => expanded().normal_()).toThrow(message);
    expect(() => expanded().maskedFill_(k.ones([1000], { dtype: 'bool' }), 1)).toThrow(message);
    expect(() => windows().mul_(2)).toThrow(message);
  });

  it('refuse one element of an expanded tensor on the tape, which PyTorch refuses in backward', () => {
    const y = k.tensor([2], { requiresGrad: true });
    const element = k.ones(1).expand([2]).detach().narrow(0, 0, 1);
    expect(() => element.mul_(y)).toThrow(/mul_: .*view of an expanded one.*clone\(\) it first/s);
    k.noGrad(() => element.mul_(y));
  });

  it('give every element the same value even where elements share memory', async () => {
    expect(await values(k.zeros(1).expand([3]).fill_(5))).toEqual([5, 5, 5]);
  });

  it('refuse a source that shares part of the memory, and take one that is the same', async () => {
    const x = k.tensor([1, 2, 3, 4]);
    expect(() => x.slice(0, 1).add_(x.slice(0, 0, 3))).toThrow(/add_: .*shares part of its memory.*clone/s);
    expect(() => x.slice(0, 1).copy_(x.slice(0, 0, 3))).toThrow(/copy_: .*shares part of its memory/s);
    expect(() => x.div_(x.select(0, 0))).toThrow(/shares part of its memory/);
    expect(await values(x.add_(x))).toEqual([2, 4, 6, 8]);
    expect(await values(x.copy_(x))).toEqual([2, 4, 6, 8]);
  });

  it('refuse a view that is itself a leaf', () => {
    const view = k.ones(3).slice(0, 0, 2).requiresGrad_();
    expect(() => view.add_(1)).toThrow(/leaf that requires grad/);
  });

  it("may follow ops whose gradient reads the result where PyTorch's reads the operand", async () => {
    const x = k.tensor([0.5, 1]).requiresGrad_();
    for (const op of ['relu6', 'hardsigmoid', 'selu'] as const) {
      x.grad = null;
      k[op](x).sum().backward();
      const plain = await values(x.grad);
      x.grad = null;
      k[op](x).mul_(2).sum().backward();
      expect(await values(x.grad)).toEqual(plain.map((value) => 2 * value));
    }
  });

  it('may overwrite scores after the loss was taken', async () => {
    const x = k.tensor([[0, Math.log(3)]], { requiresGrad: true });
    const scores = x.mul(1);
    const loss = k.crossEntropy(scores, k.tensor([0], { dtype: 'int32' }));
    scores.fill_(0);
    loss.backward();
    expect((await values(x.grad)).map((value) => value.toFixed(4))).toEqual(['-0.7500', '0.7500']);
  });

  it('must keep the shape', () => {
    expect(() => k.zeros(1, 2).add_(k.ones(3, 2))).toThrow(/add_.*\[3, 2\].*\[1, 2\]/s);
  });

  it('must keep the dtype category', () => {
    expect(() => k.zeros([2], { dtype: 'int32' }).add_(0.5)).toThrow(/float32.*int32/s);
  });
});

describe('reshape, flatten and contiguous of what is stored channels-last', () => {
  const image = (): Tensor => k.conv2d(k.ones(2, 2, 4, 4), k.ones(3, 2, 3, 3));

  it('give views where memory allows what PyTorch has', async () => {
    const y = image();
    y.flatten(2).fill_(1);
    expect(await y.sum().item()).toBe(24);
  });

  it('refuse to be written where they are copies and PyTorch has views', () => {
    const message = /copy made by flatten where PyTorch has a view.*channels-last.*clone\(\)/s;
    expect(() => image().flatten().add_(1)).toThrow(message);
    expect(() => image().flatten().slice(0, 0, 1).fill_(1)).toThrow(message);
    expect(() => image().flatten().detach().zero_()).toThrow(message);
    expect(() => image().relu().contiguous().add_(1)).toThrow(/copy made by contiguous/);
    expect(() =>
      k
        .conv1d(k.ones(1, 2, 4), k.ones(3, 2, 3))
        .relu()
        .flatten()
        .add_(1),
    ).toThrow(message);
  });

  it('refuse to be written where they are views and PyTorch has copies', () => {
    expect(() => image().permute(0, 2, 3, 1).contiguous().add_(1)).toThrow(
      /view made by contiguous where PyTorch has a copy/,
    );
    expect(() => image().permute(0, 2, 3, 1).reshape(8, 3).add_(1)).toThrow(/view made by reshape/);
  });

  it('refuse to be read once their source was written', () => {
    const y = image();
    const flat = y.flatten();
    const rows = y.permute(0, 2, 3, 1).reshape(8, 3);
    y.add_(1);
    expect(() => flat.sum()).toThrow(/add_ changed the tensor that flatten took this one.*made a copy/s);
    expect(() => rows.sum()).toThrow(/reshape shares its memory.*clone\(\) the result/s);
    expect(() => y.flatten().sum()).not.toThrow();
  });

  it('take a clone for writing', async () => {
    const y = image();
    const before = await y.sum().item();
    y.flatten().clone().zero_();
    expect(await y.sum().item()).toBe(before);
  });

  it('do not concern softmax, whose results lie as their operand does', async () => {
    const y = k.tensor([[1, 2], [1, 2]]).softmax(0); // prettier-ignore
    y.flatten().add_(1);
    expect(await values(y)).toEqual([1.5, 1.5, 1.5, 1.5]);
  });
});
