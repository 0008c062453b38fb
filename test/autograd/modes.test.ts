import { beforeAll, describe, expect, it } from 'vitest';
import { withoutAsyncContexts } from '../../src/autograd/mode.js';
import * as k from '../../src/index.js';

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

beforeAll(() => k.init());

describe('noGrad', () => {
  it('records nothing inside a callback and restores the mode after it', () => {
    const x = k.tensor([1], { requiresGrad: true });
    expect(k.noGrad(() => x.mul(2)).requiresGrad).toBe(false);
    expect(x.mul(2).requiresGrad).toBe(true);
  });

  it('lasts until an async callback has settled', async () => {
    const x = k.tensor([1], { requiresGrad: true });
    const inside = await k.noGrad(async () => {
      await x.item();
      return x.mul(2).requiresGrad;
    });
    expect([inside, k.isGradEnabled()]).toEqual([false, true]);
  });

  it('restores the mode when the callback throws', () => {
    expect(() =>
      k.noGrad(() => {
        throw new Error('inside');
      }),
    ).toThrow('inside');
    expect(k.isGradEnabled()).toBe(true);
  });

  it('is a guard for `using`', () => {
    const guard = k.noGrad();
    expect(k.isGradEnabled()).toBe(false);
    guard[Symbol.dispose]();
    expect(k.isGradEnabled()).toBe(true);
  });

  it('can be lifted by enableGrad', () => {
    expect(k.noGrad(() => k.enableGrad(() => k.isGradEnabled()))).toBe(true);
  });
});

describe('a grad mode with an async callback', () => {
  it('holds for what the callback awaits, and for no other code meanwhile', async () => {
    const evaluate = async (): Promise<boolean> => {
      await turn();
      return k.isGradEnabled();
    };
    const inside = k.noGrad(() => evaluate());
    const meanwhile = k.isGradEnabled();
    await Promise.resolve();
    expect([meanwhile, k.isGradEnabled(), await inside, k.isGradEnabled()]).toEqual([
      true,
      true,
      false,
      true,
    ]);
  });

  it('leaves a training step beside it alone', async () => {
    const w = k.tensor([3], { requiresGrad: true });
    const validation = k.noGrad(async () => {
      await turn();
      const y = w.mul(2);
      await turn();
      return y.requiresGrad;
    });
    const loss = w.mul(w).sum();
    await turn();
    loss.add(w.mul(4).sum()).backward();
    expect([await validation, await w.grad?.toArray()]).toEqual([false, [10]]);
  });

  it('keeps two of them apart, whichever ends first', async () => {
    const seen = async (turns: number): Promise<boolean[]> => {
      for (let i = 0; i < turns; i++) await turn();
      return [k.isGradEnabled(), k.autograd.isInferenceMode()];
    };
    const modes = await Promise.all([
      k.inferenceMode(() => seen(3)),
      k.noGrad(() => seen(1)),
      k.noGrad(() => k.enableGrad(() => seen(2))),
      seen(2),
    ]);
    expect(modes).toEqual([
      [false, true],
      [false, false],
      [true, false],
      [true, false],
    ]);
  });

  it('ends with its promise, also for what it left running', async () => {
    let left = Promise.resolve(false);
    await k.noGrad(async () => {
      await turn();
      left = turn()
        .then(turn)
        .then(() => k.isGradEnabled());
    });
    expect(await left).toBe(true);
  });

  it('ends when it rejects, with one rejection', async () => {
    const failing = k.noGrad(async () => {
      await turn();
      throw new Error('inside');
    });
    await expect(failing).rejects.toThrow('inside');
    expect(k.isGradEnabled()).toBe(true);
  });

  it('contains setGradEnabled', async () => {
    await k.noGrad(async () => {
      await turn();
      k.setGradEnabled(true);
      await turn();
      expect(k.isGradEnabled()).toBe(true);
      k.setGradEnabled(false);
    });
    expect(k.isGradEnabled()).toBe(true);
  });

  it('is refused where the platform has no async contexts, with the way out', async () => {
    const restore = withoutAsyncContexts();
    try {
      expect(() => k.noGrad(() => Promise.reject(new Error('lost')))).toThrow(/noGrad: .*Await outside/s);
      expect(() => k.setGradEnabled(true, turn)).toThrow('setGradEnabled(true, () => model(x))');
      expect(k.noGrad(() => k.isGradEnabled())).toBe(false);
      expect(k.isGradEnabled()).toBe(true);
      await turn();
    } finally {
      restore();
    }
  });
});

describe('a grad mode without a callback', () => {
  it('does not outlast the synchronous code that set it', async () => {
    k.noGrad();
    expect(k.isGradEnabled()).toBe(false);
    await Promise.resolve();
    expect(k.isGradEnabled()).toBe(true);
  });

  it('complains at its end when it was held across an await', async () => {
    const hold = async (): Promise<void> => {
      using _guard = k.inferenceMode();
      await turn();
      expect([k.isGradEnabled(), k.autograd.isInferenceMode()]).toEqual([true, false]);
    };
    await expect(hold()).rejects.toThrow('await inferenceMode(async () => { ... })');
    expect(k.isGradEnabled()).toBe(true);
  });

  it('stays for setGradEnabled as a statement, as in PyTorch, and ends with `using`', async () => {
    k.setGradEnabled(false);
    await turn();
    expect(k.isGradEnabled()).toBe(false);
    {
      using _guard = k.setGradEnabled(true);
      expect(k.isGradEnabled()).toBe(true);
    }
    expect(k.isGradEnabled()).toBe(false);
    k.setGradEnabled(true);
    expect(k.isGradEnabled()).toBe(true);
  });
});

describe('callbacks that must be synchronous', () => {
  it('do not start when they are declared async', () => {
    let started = false;
    const start = async (): Promise<void> => {
      started = true;
      await turn();
    };
    expect(() => k.tidy(start)).toThrow('tidy: the callback must not be async');
    expect(started).toBe(false);
  });

  it('free what they made before their first await, and their rejection is not reported again', async () => {
    const before = k.memoryStats().liveBuffers;
    const unhandled: unknown[] = [];
    const note = (reason: unknown): void => void unhandled.push(reason);
    process.on('unhandledRejection', note);
    let late = '';
    const make = async (): Promise<void> => {
      const x = k.ones(4);
      await turn();
      try {
        x.add(1);
      } catch (error) {
        late = (error as Error).message;
        throw error;
      }
    };
    expect(() => k.tidy(() => make())).toThrow('tidy: the callback must not be async');
    expect(k.memoryStats().liveBuffers).toBe(before);
    await turn();
    await turn();
    process.off('unhandledRejection', note);
    expect(late).toContain('was freed by tidy()');
    expect(unhandled).toEqual([]);
  });

  it('are those of an optimizer step and of checkpoint too', () => {
    const w = k.tensor([1], { requiresGrad: true });
    const step = new k.optim.SGD([w], { lr: 1 });
    expect(() => step.step(turn)).toThrow(
      'SGD.step: the callback must not be async; await what it does first',
    );
    expect(() => k.utils.checkpoint(async (_: k.Tensor) => turn(), w)).toThrow(
      'checkpoint: the callback must not be async',
    );
  });
});

describe('inferenceMode', () => {
  it('makes tensors that autograd refuses to save', () => {
    const made = k.inferenceMode(() => k.tensor([1, 2]).mul(2));
    const w = k.tensor([1, 2], { requiresGrad: true });
    expect(() => w.mul(made)).toThrow(/inferenceMode.*clone/s);
  });
});
