import { beforeAll, describe, expect, it } from 'vitest';
import { init, nn, noGrad, ones, relu, tensor, type Tensor } from '../../src/index.js';

const { Linear, Module, Sequential } = nn;

beforeAll(() => init());

function constant(weight: number): InstanceType<typeof Linear> {
  const layer = new Linear(1, 1, { bias: false });
  nn.init.constant_(layer.weight, weight);
  return layer;
}

describe('forward hooks', () => {
  it('see arguments and output, and may replace them', async () => {
    const layer = constant(3);
    const pre = layer.registerForwardPreHook((_, [x]) => x.add(1));
    const post = layer.registerForwardHook((module, [x], y) => {
      expect(module).toBe(layer);
      return y.mul(10).add(x);
    });
    expect(await layer(tensor([[1]])).item()).toBe(62);
    pre.remove();
    post.remove();
    expect(await layer(tensor([[1]])).item()).toBe(3);
  });

  it('may keep what they see: it is not freed with the call', async () => {
    const model = new Sequential(constant(2), constant(3));
    const seen: Tensor[] = [];
    model[0]?.registerForwardHook((_, __, y) => {
      seen.push(y);
    });
    noGrad(() => model(tensor([[1]])));
    expect(await seen[0]?.item()).toBe(2);
  });
});

describe('full backward hooks', () => {
  it('see the gradients of inputs and outputs, and may replace the former', async () => {
    const layer = constant(3);
    let seen: (Tensor | null)[] = [];
    layer.registerFullBackwardHook((_, gradInput, gradOutput) => {
      seen = [...gradInput, ...gradOutput];
      return [gradInput[0]!.mul(100)];
    });
    const x = tensor([[5]], { requiresGrad: true });
    layer(x).mul(2).backward();
    expect(await Promise.all(seen.map((grad) => grad?.item()))).toEqual([6, 2]);
    expect(await x.grad?.item()).toBe(600);
    expect(await layer.weight.grad?.item()).toBe(10);
  });

  it('run without a gradient of the input when that needs none', async () => {
    const layer = constant(3);
    let inputs: readonly (Tensor | null)[] = [];
    layer.registerFullBackwardHook((_, gradInput) => {
      inputs = gradInput;
    });
    layer(tensor([[5]])).backward();
    expect(inputs).toEqual([null]);
    expect(await layer.weight.grad?.item()).toBe(5);
  });
});

describe('the memory of a call', () => {
  class Probe extends Module {
    inner: Tensor | null = null;
    stored: Tensor[] = [];
    child = new (class Holder extends nn.Identity {
      cache: Tensor | null = null;
    })();
    forward(x: Tensor): Tensor {
      const temporary = x.add(1);
      this.stored = [x.add(2)];
      this.child.cache = x.add(3);
      probe = temporary;
      return temporary.mul(2);
    }
  }
  let probe: Tensor | null = null;

  it('frees what forward made and did not return', () => {
    const y = new Probe()(ones(2));
    expect(y.isDisposed).toBe(false);
    expect(probe?.isDisposed).toBe(true);
    expect(() => probe?.storage).toThrow(
      /was freed by the end of Probe.forward\(\).*return it, store it on the module/,
    );
  });

  it('keeps what forward stored on the module or its child', async () => {
    const module = new Probe();
    module(ones(1));
    expect(await module.stored[0]?.item()).toBe(3);
    expect(await module.child.cache?.item()).toBe(4);
  });

  it('frees the intermediates of a Sequential as it goes', () => {
    const alive: boolean[] = [];
    const made: Tensor[] = [];
    class Step extends Module {
      forward(x: Tensor): Tensor {
        alive.push(...made.map((tensor) => !tensor.isDisposed));
        made.push(relu(x));
        return made.at(-1) as Tensor;
      }
    }
    const x = ones(2);
    const y = noGrad(() => new Sequential(new Step(), new nn.Identity(), new Step(), new Step())(x));
    // Seen by the second step: [1st]; by the third: [1st, 2nd].
    expect(alive).toEqual([true, false, true]);
    expect([x.isDisposed, y.isDisposed]).toEqual([false, false]);
  });

  it('leaves what the tape needs', async () => {
    const model = new Sequential(constant(2), new nn.ReLU(), constant(3));
    model(tensor([[1]])).backward();
    expect(await model.getParameter('2.weight').grad?.item()).toBe(2);
    expect(await model.getParameter('0.weight').grad?.item()).toBe(3);
  });
});

it.each(['registerForwardHook', 'registerForwardPreHook', 'registerFullBackwardHook'] as const)(
  '%s takes one function',
  (method) => {
    const layer = new nn.ReLU();
    const register = layer[method].bind(layer) as (...args: unknown[]) => unknown;
    expect(() => register(3)).toThrow(`${method}: expected a function to call, got 3`);
    expect(() => register(() => null, { prepend: true })).toThrow(`${method}: takes 1 argument`);
  },
);
