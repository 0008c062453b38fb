import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';
import type { Tensor } from '../../src/index.js';

interface Golden {
  readonly name: string;
  readonly options: Readonly<Record<string, number>>;
  readonly iterations: readonly {
    readonly grads: readonly (number | string)[];
    readonly newScale?: number;
  }[];
  readonly log: readonly { readonly scale: number; readonly tracker: number; readonly weights: number[][] }[];
  readonly state: Readonly<Record<string, number>>;
}

/** What PyTorch's class does (scripts/goldens/grad_scaler.py). */
const goldens = JSON.parse(
  readFileSync(new URL('../goldens/amp/grad-scaler.json', import.meta.url), 'utf8'),
) as Golden[];

const camel = (name: string): string => name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());

const weight = (): Tensor => k.ones([3]).requiresGrad_();
const sgd = (...params: Tensor[]): k.optim.SGD => new k.optim.SGD(params, { lr: 0.25, momentum: 0.5 });
const lossOf = (w: Tensor, grad: number): Tensor => w.mul(k.tensor([1, grad, 2])).sum();

beforeAll(() => k.init());

describe('GradScaler does what PyTorch does, step by step', () => {
  it.each(goldens)('$name', async ({ options, iterations, log, state }) => {
    const named = Object.fromEntries(Object.entries(options).map(([key, value]) => [camel(key), value]));
    const scaler = new k.amp.GradScaler(named);
    const weights = log[0]!.weights.map(weight);
    const optimizers = weights.map((w) => sgd(w));
    for (const [i, { grads, newScale }] of iterations.entries()) {
      optimizers.forEach((optimizer) => optimizer.zeroGrad());
      weights.forEach((w, j) => scaler.scale(lossOf(w, Number(grads[j]))).backward());
      for (const optimizer of optimizers) await scaler.step(optimizer);
      await scaler.update(newScale);
      const expected = log[i]!;
      expect(scaler.getScale()).toBe(expected.scale);
      expect(scaler.stateDict()['_growth_tracker']).toBe(expected.tracker);
      for (const [j, w] of weights.entries())
        expect([...(await w.data())], `weight ${j} after iteration ${i}`).toEqual(expected.weights[j]);
    }
    expect(scaler.stateDict()).toEqual(state);
  });
});

describe('GradScaler', () => {
  /** A scaler, an optimizer, and a weight with a scaled gradient of [1, `grad`, 2]. */
  const scaled = (grad = 1, scale = 8) => {
    const w = weight();
    const scaler = new k.amp.GradScaler({ initScale: scale });
    scaler.scale(lossOf(w, grad)).backward();
    return { w, scaler, optimizer: sgd(w) };
  };

  it('scales lists of losses', async () => {
    const scaler = new k.amp.GradScaler({ initScale: 4 });
    const [a, [b]] = scaler.scale([k.tensor([1]), [k.tensor([2])]] as const);
    expect([await a.item(), await b.item()]).toEqual([4, 8]);
  });

  it('unscales every group, so that gradients can be clipped before the step', async () => {
    const [a, b] = [weight(), weight()];
    const optimizer = new k.optim.SGD([{ params: [a] }, { params: [b], lr: 0.5 }], { lr: 1 });
    const scaler = new k.amp.GradScaler({ initScale: 1024 });
    scaler.scale(lossOf(a, 3).add(lossOf(b, 4))).backward();
    scaler.unscale_(optimizer);
    const norm = k.nn.utils.clipGradNorm_([a, b], 1);
    expect(await norm.item()).toBeCloseTo(Math.sqrt(1 + 9 + 4 + 1 + 16 + 4), 5);
    await scaler.step(optimizer);
    const scale = 1 / Math.sqrt(35);
    const close = async (w: Tensor, grads: number[], lr: number): Promise<void> =>
      [...(await w.data())].forEach((value, i) => expect(value).toBeCloseTo(1 - lr * scale * grads[i]!, 5));
    await close(a, [1, 3, 2], 1);
    await close(b, [1, 4, 2], 0.5);
  });

  it('looks at every element: of many gradients of odd sizes, views and all layouts', async () => {
    const shapes = [[1], [5], [3, 7], [257], [4, 4], [1030], [2, 3, 5], [6], [9]];
    for (const bad of [null, 0, 2, 5, 8]) {
      const params = shapes.map((shape) => k.zeros(shape).requiresGrad_());
      params.forEach((p, i) => {
        const size = p.numel();
        const values = Float32Array.from({ length: size }, (_, j) => j - 3);
        if (bad === i) values[size - 1] = bad % 2 === 0 ? NaN : -Infinity;
        const grad = k.tensor(values).reshape(p.shape);
        // A transposed one, and one that is a part of a larger one.
        p.grad = i === 2 ? grad.t().contiguous().t() : i === 7 ? k.cat([grad, grad]).narrow(0, 6, 6) : grad;
      });
      const optimizer = new k.optim.SGD(params, { lr: 1 });
      const scaler = new k.amp.GradScaler({ initScale: 4 });
      scaler.scale(k.tensor([1]));
      await scaler.step(optimizer);
      await scaler.update();
      expect(scaler.getScale(), `bad element in ${bad}`).toBe(bad === null ? 4 : 2);
      if (bad !== null) continue;
      for (const p of params)
        expect([...(await p.flatten().data())]).toEqual(
          Array.from({ length: p.numel() }, (_, j) => -(j - 3) / 4 + 0),
        );
    }
  });

  it('does not take what fills up a buffer for a gradient', async () => {
    // Buffers are reused: this leaves NaN behind the last element of the next one.
    k.full([4], NaN).dispose();
    const w = k.zeros([1]).requiresGrad_();
    w.grad = k.ones([1]);
    const scaler = new k.amp.GradScaler();
    scaler.scale(k.tensor([1]));
    await scaler.step(sgd(w));
    await scaler.update();
    expect(scaler.stateDict()['_growth_tracker']).toBe(1);
  });

  it('returns what the step returns, and waits for no one but step', async () => {
    const { scaler, optimizer } = scaled(Infinity);
    expect(await scaler.step(optimizer)).toBe(undefined);
    const update = scaler.update();
    expect(scaler.getScale()).toBe(4);
    await update;
  });

  it('update waits where only unscale_ was called', async () => {
    const { scaler, optimizer } = scaled(NaN);
    scaler.unscale_(optimizer);
    const update = scaler.update();
    expect(() => scaler.scale(k.tensor([1]))).toThrow('the update before has not ended; write await');
    await update;
    expect(scaler.getScale()).toBe(4);
  });

  it('goes on from its state dict, from a Map of a file too', () => {
    const state = {
      scale: 32,
      growth_factor: 3,
      backoff_factor: 0.25,
      growth_interval: 7,
      _growth_tracker: 5,
    };
    const scaler = new k.amp.GradScaler();
    scaler.loadStateDict(new Map(Object.entries(state)));
    expect(scaler.stateDict()).toEqual(state);
    expect([scaler.getGrowthFactor(), scaler.getBackoffFactor(), scaler.getGrowthInterval()]).toEqual([
      3, 0.25, 7,
    ]);
  });

  it('does nothing when it is not enabled', async () => {
    const w = weight();
    const scaler = new k.amp.GradScaler({ enabled: false });
    const loss = lossOf(w, 1);
    expect(scaler.scale(loss)).toBe(loss);
    loss.backward();
    await scaler.step(sgd(w));
    await scaler.update();
    expect([...(await w.data())]).toEqual([0.75, 0.75, 0.5]);
    expect([scaler.getScale(), scaler.isEnabled(), scaler.stateDict()]).toEqual([1, false, {}]);
    scaler.loadStateDict({});
  });
});

describe('GradScaler refuses what PyTorch refuses', () => {
  const start = (): { scaler: k.amp.GradScaler; optimizer: k.optim.SGD; w: Tensor } => {
    const w = weight();
    const scaler = new k.amp.GradScaler({ initScale: 2 });
    scaler.scale(lossOf(w, 1)).backward();
    return { scaler, optimizer: sgd(w), w };
  };

  it('factors the wrong way round', () => {
    expect(() => new k.amp.GradScaler({ growthFactor: 1 })).toThrow('growthFactor must be above 1');
    expect(() => new k.amp.GradScaler({ backoffFactor: 1 })).toThrow('backoffFactor must be below 1');
  });

  it('anything before scale', async () => {
    const w = weight();
    w.grad = k.ones([3]);
    const [scaler, optimizer] = [new k.amp.GradScaler(), sgd(w)];
    expect(() => scaler.unscale_(optimizer)).toThrow('unscale_: scale() has not been called yet');
    await expect(scaler.step(optimizer)).rejects.toThrow('step: scale() has not been called yet');
    await expect(scaler.update()).rejects.toThrow('update: scale() has not been called yet');
  });

  it('unscale_ twice, or after step', async () => {
    const { scaler, optimizer } = start();
    scaler.unscale_(optimizer);
    expect(() => scaler.unscale_(optimizer)).toThrow('has already been called on this optimizer since');
    await scaler.step(optimizer);
    expect(() => scaler.unscale_(optimizer)).toThrow('is being called after step()');
    await scaler.update();
    scaler.unscale_(optimizer);
  });

  it('step twice, or without gradients', async () => {
    const { scaler, optimizer, w } = start();
    await scaler.step(optimizer);
    await expect(scaler.step(optimizer)).rejects.toThrow('step: has already been called');
    await scaler.update();
    w.grad = null;
    await expect(scaler.step(optimizer)).rejects.toThrow('no inf checks were recorded for this optimizer');
  });

  it('update without a step', async () => {
    const { scaler } = start();
    await expect(scaler.update()).rejects.toThrow('no inf checks were recorded prior to update');
  });

  it('closures', async () => {
    const { scaler, optimizer } = start();
    await expect(scaler.step(optimizer, () => 1)).rejects.toThrow('a closure is not supported');
  });

  it('float16 gradients', () => {
    const { scaler } = start();
    const w = k.ones([2]).half().requiresGrad_();
    w.grad = k.ones([2]).half();
    expect(() => scaler.unscale_(sgd(w))).toThrow('attempting to unscale float16 gradients');
  });

  it('an empty state dict', () => {
    expect(() => new k.amp.GradScaler().loadStateDict({})).toThrow('the state dict is empty');
  });

  it('a step that nobody awaited', async () => {
    const { scaler, optimizer } = start();
    const step = scaler.step(optimizer);
    await expect(scaler.update()).rejects.toThrow('the step before has not ended; write await scaler.step');
    await step;
  });
});
