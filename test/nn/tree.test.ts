import { beforeAll, describe, expect, it } from 'vitest';
import { init, nn, ones, relu, tensor, zeros, type Tensor } from '../../src/index.js';

const { Identity, Linear, Module, ModuleDict, ModuleList, Parameter, ParameterList, ReLU, Sequential } = nn;

beforeAll(() => init());

class Net extends Module {
  fc1 = new Linear(2, 3);
  scale = new Parameter(ones(3));
  fc2 = new Linear(3, 1, { bias: false });

  forward(x: Tensor): Tensor {
    return this.fc2(relu(this.fc1(x)).mul(this.scale));
  }
}

describe('a module', () => {
  it('is called like a function and typed by its forward', async () => {
    const net = new Net();
    const y: Tensor = net(ones(4, 2));
    expect(y.shape).toEqual([4, 1]);
    expect(typeof net).toBe('function');
    expect(net).toBeInstanceOf(Net);
    expect(net).toBeInstanceOf(Module);
  });

  it('registers parameters and children by name, where nothing else has it', () => {
    const net = new Sequential(new ReLU());
    net.addModule('fc', new Linear(1, 1));
    net.registerParameter('scale', new Parameter(zeros(1)));
    net.registerParameter('none', null);
    expect([...net.stateDict().keys()]).toEqual(['scale', 'fc.weight', 'fc.bias']);
    net.addModule('fc', new ReLU());
    const wrong = net as unknown as Record<string, (...args: unknown[]) => void>;
    expect(() => wrong['addModule']?.('scale', new ReLU())).toThrow("already has a property 'scale'");
    expect(() => wrong['registerParameter']?.('a.b', null)).toThrow("'a.b' cannot name a Parameter");
    expect(() => wrong['registerParameter']?.('a', zeros(1))).toThrow("'a' must be a Parameter or null");
  });

  it('has types: wrong arguments do not compile', () => {
    const net = new Net();
    const wrong = (): unknown => {
      // @ts-expect-error forward takes a tensor
      return net(3);
    };
    expect(wrong).toThrow();
  });

  it('may have fields called name and length', () => {
    class Named extends Identity {
      override name = 'trunk';
      override length = new Linear(1, 1);
    }
    const named = new Named();
    expect(named.name).toBe('trunk');
    expect(named.length).toBeInstanceOf(Linear);
    expect(named.namedChildren().map(([key]) => key)).toEqual(['length']);
  });

  it('takes several arguments and may return anything', () => {
    class Both extends Module {
      forward(a: Tensor, factor: number): { twice: Tensor; list: Tensor[] } {
        return { twice: a.mul(factor), list: [a.neg()] };
      }
    }
    const { twice, list } = new Both()(ones(2), 2);
    expect([twice.isDisposed, list[0]?.isDisposed]).toEqual([false, false]);
  });

  it('refuses an async forward', () => {
    class Late extends Module {
      async forward(x: Tensor): Promise<Tensor> {
        return x;
      }
    }
    expect(() => new Late()(ones(1))).toThrow(/Late: forward must not be async/);
  });
});

describe('the tree', () => {
  it('is the own properties in order', () => {
    const net = new Net();
    expect(net.namedChildren().map(([name]) => name)).toEqual(['fc1', 'fc2']);
    expect(net.namedParameters().map(([name]) => name)).toEqual([
      'scale',
      'fc1.weight',
      'fc1.bias',
      'fc2.weight',
    ]);
    expect(net.namedModules().map(([name, module]) => `${name}:${module.constructor.name}`)).toEqual([
      ':Net',
      'fc1:Linear',
      'fc2:Linear',
    ]);
  });

  it('follows assignment: replaced, removed, added', () => {
    const net = new Net() as Net & Record<string, unknown>;
    net.fc2 = new Linear(3, 10);
    net['extra'] = new ReLU();
    (net as { fc1: unknown }).fc1 = null;
    expect(net.namedParameters().map(([name, { shape }]) => `${name} ${shape}`)).toEqual([
      'scale 3',
      'fc2.weight 10,3',
      'fc2.bias 10',
    ]);
    expect(net.children().map((child) => child.constructor.name)).toEqual(['Linear', 'ReLU']);
  });

  it('counts shared modules and parameters once, but saves them under each name', () => {
    class Shared extends Identity {
      a = new Linear(2, 2);
      b = this.a;
      c = new Linear(2, 2, { bias: false });
    }
    const shared = new Shared();
    shared.c.weight = shared.a.weight;
    expect(shared.modules().length).toBe(3);
    expect(shared.parameters().length).toBe(2);
    expect([...shared.stateDict().keys()]).toEqual(['a.weight', 'a.bias', 'b.weight', 'b.bias', 'c.weight']);
  });

  it("maps camelCase properties to PyTorch's keys and leaves other names alone", () => {
    class Odd extends Identity {
      inProjWeight = new Parameter(ones(1));
      layer1 = new Linear(1, 1, { bias: false });
      Conv2d_1a_3x3 = new Linear(1, 1, { bias: false });
      attentionQKV = new Linear(1, 1, { bias: false });
      bn = new nn.BatchNorm1d(1, { affine: false });
    }
    expect([...new Odd().stateDict().keys()]).toEqual([
      'in_proj_weight',
      'layer1.weight',
      'Conv2d_1a_3x3.weight',
      'attention_qkv.weight',
      'bn.running_mean',
      'bn.running_var',
      'bn.num_batches_tracked',
    ]);
  });

  it('finds modules and parameters by path, or says what there is', () => {
    const model = new Sequential(new Linear(1, 2), new Sequential(new ReLU(), new Linear(2, 3)));
    expect(model.getSubmodule('1.1', Linear).outFeatures).toBe(3);
    expect(model.getParameter('1.1.bias').shape).toEqual([3]);
    expect(() => model.getSubmodule('1.7')).toThrow(
      "'1.7' does not exist: Sequential has no child '7' (it has: 0, 1)",
    );
    expect(() => model.getSubmodule('0', ReLU)).toThrow("'0' is a Linear, not a ReLU");
    expect(() => model.getParameter('0.gain')).toThrow("Linear has no parameter 'gain'");
  });

  it('switches modes and gradients for all below', () => {
    const net = new Sequential(new Net(), new nn.Dropout());
    net.eval();
    expect(net.modules().every((module) => !module.training)).toBe(true);
    net.requiresGrad_(false);
    expect(net.parameters().some((parameter) => parameter.requiresGrad)).toBe(false);
  });

  it('applies a function to children before parents', () => {
    const seen: string[] = [];
    new Sequential(new Linear(1, 1), new ReLU()).apply((module) => seen.push(module.constructor.name));
    expect(seen).toEqual(['Linear', 'ReLU', 'Sequential']);
  });
});

describe('Sequential', () => {
  it('is indexed, iterated, extended and cut like an array', () => {
    const model = new Sequential(new Linear(2, 4), new ReLU(), new Linear(4, 3));
    model[2] = new Linear(4, 10);
    expect(model.length).toBe(3);
    expect(model.at(-1)).toBe(model[2]);
    expect([...model].map((child) => child.constructor.name)).toEqual(['Linear', 'ReLU', 'Linear']);
    expect(model.slice(0, 2).length).toBe(2);
    expect(model(ones(5, 2)).shape).toEqual([5, 10]);
    expect(new Sequential(...model.children().slice(0, -1))(ones(5, 2)).shape).toEqual([5, 4]);
    model.append(new ReLU()).insert(0, new Identity());
    expect(model.toString().match(/\(\d\): \w+/g)).toEqual([
      '(0): Identity',
      '(1): Linear',
      '(2): ReLU',
      '(3): Linear',
      '(4): ReLU',
    ]);
  });

  it('replaces what negative indices name, and refuses one that names nothing', () => {
    const model = new Sequential(new Linear(2, 4), new ReLU());
    const last = new Linear(4, 3);
    model[-1] = last;
    expect([model[-1], model[-2], model[1]]).toEqual([last, model[0], last]);
    expect(model[-3]).toBe(undefined);
    expect(() => (model[2] = new ReLU())).toThrow(
      'Sequential: index 2 is out of range for 2 entries; append() adds one',
    );
    expect(() => (model[-3] = new ReLU())).toThrow('index -3 is out of range for 2 entries');
    expect([...model.stateDict().keys()]).toEqual(['0.weight', '0.bias', '1.weight', '1.bias']);
    expect(model.toString().match(/\(\S+\): \w+/g)).toEqual(['(0): Linear', '(1): Linear']);
    expect(model(ones(5, 2)).shape).toEqual([5, 3]);
  });

  it('counts children with names by their places too', () => {
    const model = new Sequential({ conv: new Linear(1, 2), relu: new ReLU() });
    model[-1] = new Identity();
    expect(model.namedChildren().map(([name, child]) => `${name} ${child.constructor.name}`)).toEqual([
      'conv Linear',
      'relu Identity',
    ]);
    expect(model[0]).toBe(model.at(0));
  });

  it('keeps places in copies', () => {
    const copy = nn.deepcopy(new Sequential({ 1: new Linear(1, 2), 3: new ReLU() }));
    copy[-1] = new Identity();
    expect(copy.namedChildren().map(([name]) => name)).toEqual(['1', '3']);
  });

  it('takes named modules', () => {
    const model = new Sequential({ conv1: new Linear(1, 2), reluLast: new ReLU() });
    expect(model.namedChildren().map(([name]) => name)).toEqual(['conv1', 'reluLast']);
    expect(model.length).toBe(2);
    const mapped = new Sequential(new Map<string, nn.Module>([['b', new ReLU()], ['0', new Linear(1, 2)]])); // prettier-ignore
    expect(mapped.namedChildren().map(([name]) => name)).toEqual(['b', '0']);
  });

  it('keeps names in order when more follow, and numbers what a pop leaves, as PyTorch', () => {
    const model = new Sequential({ a: new ReLU(), b: new nn.Tanh(), c: new nn.GELU() });
    const names = (): string[] => model.namedChildren().map(([name]) => name);
    expect(() => model.insert(1, new nn.ELU())).toThrow('the children have names');
    expect(model.append(new nn.ELU())).toBe(model);
    expect(names()).toEqual(['a', 'b', 'c', '3']);
    expect([...nn.deepcopy(model)].map(String)).toEqual([...model].map(String));
    expect(model.pop(0)).toBeInstanceOf(ReLU);
    expect(names()).toEqual(['0', '1', '2']);
    model.insert(-1, new ReLU()).extend([new nn.Sigmoid()]);
    expect([...model].map((child) => child.constructor.name)).toEqual([
      'Tanh',
      'GELU',
      'ReLU',
      'ELU',
      'Sigmoid',
    ]);
    expect(model.pop()).toBeInstanceOf(nn.Sigmoid);
    expect(() => model.pop(4)).toThrow('Sequential.pop: index 4 is out of range for 4 modules');
    expect(() => model.extend(3 as never)).toThrow('Sequential.extend: expected an array of modules, got 3');
  });

  it('says what is not a module', () => {
    expect(() => new Sequential(new ReLU(), null as never)).toThrow('child 1 is not a module (got null)');
    expect(() => new Sequential({ forward: new ReLU() })).toThrow("'forward' cannot name a module");
    expect(() => new Sequential([new ReLU()] as never)).toThrow(
      'child 0 is not a module (got an array; spread',
    );
    expect(() => new Sequential(new Date() as never)).toThrow('child 0 is not a module (got object)');
    expect(() => new Sequential(new Map([['a', 3]]) as never)).toThrow(
      'child a is not a module (got number)',
    );
  });
});

describe('containers', () => {
  it('hold children without being called', () => {
    const list = new ModuleList([new Linear(1, 2), new Linear(2, 3)]);
    const dict = new ModuleDict({ headA: new Linear(1, 1), b: new ReLU() });
    expect([...list.stateDict().keys()]).toEqual(['0.weight', '0.bias', '1.weight', '1.bias']);
    expect([...dict.stateDict().keys()]).toEqual(['headA.weight', 'headA.bias']);
    expect(dict.has('b') && dict.delete('b') && !dict.has('b')).toBe(true);
    expect(() => dict.get('c')).toThrow("there is no 'c' (there is: headA)");
    expect(() => list()).toThrow('a list is not called');
  });

  it('a list takes any iterable of modules and nothing else', () => {
    expect(new ModuleList(new Set([new ReLU(), new Linear(1, 2)])).length).toBe(2);
    expect(() => new ModuleList({ a: new ReLU() } as never)).toThrow('expected an array of modules');
    expect(() => new ModuleList(new Map([['a', new ReLU()]]) as never)).toThrow('child 0 is not a module');
  });

  it('dicts are updated from each other, keep their order and give entries away', () => {
    const dict = new ModuleDict<nn.Module>({ b: new ReLU() }).set('1', new nn.Tanh()).set('0', new nn.GELU());
    expect(dict.keys()).toEqual(['b', '1', '0']);
    expect(new ModuleDict(dict).items()).toEqual(dict.items());
    expect(dict.pop('1')).toBeInstanceOf(nn.Tanh);
    expect(() => dict.pop('1')).toThrow("there is no '1' (there is: b, 0)");
    expect(() => dict.set('training', new ReLU())).toThrow("'training' cannot name a module");
    expect(() => dict.update(5 as never)).toThrow('ModuleDict: expected an object or pairs');
    const parameters = new nn.ParameterDict(new nn.ParameterDict({ w: ones(2) }));
    expect(parameters.pop('w').shape).toEqual([2]);
    expect(parameters.size).toBe(0);
  });

  it('lists replace the last by -1 and refuse an index beyond the end', () => {
    const modules = new ModuleList([new Linear(1, 1), new ReLU()]);
    modules[-1] = new Identity();
    expect(modules[1]).toBeInstanceOf(Identity);
    expect(() => (modules[2] = new ReLU())).toThrow('ModuleList: index 2 is out of range for 2 entries');
    const parameters = new ParameterList([zeros(1), zeros(2)]);
    parameters[-1] = new Parameter(zeros(3));
    expect(parameters.namedParameters().map(([name, { shape }]) => `${name} ${shape}`)).toEqual([
      '0 1',
      '1 3',
    ]);
    expect(() => (parameters[2] = new Parameter(zeros(1)))).toThrow('ParameterList: index 2 is out of range');
  });

  it('make parameters of tensors', () => {
    const list = new ParameterList([zeros(1), zeros(2)]);
    expect(list.length).toBe(2);
    expect(list.namedParameters().map(([name, { shape }]) => `${name} ${shape}`)).toEqual(['0 1', '1 2']);
  });
});

describe('the tree by options', () => {
  const build = (): nn.Sequential => {
    const shared = new Linear(1, 2);
    return new Sequential(shared, new Sequential(shared, new nn.BatchNorm1d(2)));
  };
  const names = (named: readonly (readonly [string, unknown])[]): string =>
    named.map(([name]) => name).join();

  it('takes prefix, recurse and removeDuplicate by name', () => {
    const model = build();
    expect(names(model.namedModules({ prefix: 'm' }))).toBe('m,m.0,m.1,m.1.1');
    expect(names(model.namedModules({ removeDuplicate: false }))).toBe(',0,1,1.0,1.1');
    const parameters = 'p.0.weight,p.0.bias,p.1.1.weight,p.1.1.bias';
    expect(names(model.namedParameters({ prefix: 'p' }))).toBe(parameters);
    expect(names(model.namedParameters('p'))).toBe(parameters);
    expect(model.namedParameters({ removeDuplicate: false })).toHaveLength(6);
    expect(names(model.namedBuffers({ prefix: 'b' }))).toMatch(/^b\.1\.1\.running_mean,/);
    expect(model.parameters({ recurse: false })).toEqual([]);
    expect(model.buffers({ recurse: false })).toEqual([]);
    expect(model.at(0)?.parameters({ recurse: false })).toHaveLength(2);
  });

  it.each(['namedModules', 'namedParameters', 'namedBuffers', 'parameters', 'buffers'] as const)(
    '%s refuses what it does not know',
    (method) => {
      const model = build();
      const call = model[method].bind(model) as (...args: unknown[]) => unknown;
      expect(() => call({ zzz: 1 })).toThrow(`${method}: there is no option 'zzz'`);
      expect(() => call('', true, true, 1)).toThrow(`${method}: does not know what to do`);
    },
  );
});

describe("a plain tensor in a parameter's place", () => {
  const put = (module: nn.Module, name: string, value: unknown): void =>
    void ((module as unknown as Record<string, unknown>)[name] = value);
  const message = (type: string, name: string): string =>
    `${type}: '${name}' was a Parameter and is a plain tensor now, which is neither trained nor saved; assign new nn.Parameter(tensor), or null`;

  it.each([
    ['weight', () => new Linear(2, 1)],
    ['bias', () => new nn.Conv2d(1, 1, 1)],
    ['weight', () => new nn.BatchNorm1d(2)],
    ['weightIhL0', () => new nn.LSTM(1, 1)],
    ['weight', () => nn.deepcopy(new nn.Embedding(2, 2))],
    ['0', () => new ParameterList([zeros(1)])],
  ])("is refused as a new layer's %s (%#)", (name, make) => {
    const layer: nn.Module = make();
    put(layer, name, ones(2));
    expect(() => layer.stateDict()).toThrow(message(layer.constructor.name, name));
    expect(() => new Sequential(layer).parameters()).toThrow(message(layer.constructor.name, name));
  });

  it('does not compile', () => {
    const layer = new Linear(2, 1);
    // @ts-expect-error a plain tensor is no parameter
    layer.weight = ones(1, 2);
    expect(() => layer.parameters()).toThrow(message('Linear', 'weight'));
  });

  it('is refused of a module of your own once its parameters have been asked for', () => {
    const net = new Net();
    net.parameters();
    put(net, 'scale', ones(3));
    expect(() => net.parameters()).toThrow(message('Net', 'scale'));
  });

  it('is no mistake where it is a buffer; null and another parameter take its place', () => {
    const layer = new Linear(2, 1);
    layer.bias = null;
    layer.weight = new Parameter(ones(1, 2));
    expect([...layer.stateDict().keys()]).toEqual(['weight']);
    Reflect.deleteProperty(layer, 'weight');
    layer.registerBuffer('weight', ones(1, 2));
    expect(layer.namedBuffers().map(([name]) => name)).toEqual(['weight']);
  });
});

describe('a conversion', () => {
  it('makes new parameters, to which gradients, names and hooks go along', async () => {
    const layer = new Linear(2, 1);
    const { weight } = layer;
    const seen: string[] = [];
    const handle = weight.registerHook((grad) => void seen.push(grad.dtype));
    layer(ones(1, 2)).sum().backward();
    layer.half();
    expect([layer.weight === weight, weight.isDisposed, weight.grad]).toEqual([false, true, null]);
    expect([layer.weight.grad?.dtype, await layer.weight.grad?.toArray()]).toEqual(['float16', [[1, 1]]]);
    layer(ones([1, 2], { dtype: 'float16' }))
      .sum()
      .backward();
    handle.remove();
    layer(ones([1, 2], { dtype: 'float16' }))
      .sum()
      .backward();
    expect(seen).toEqual(['float32', 'float16']);
  });

  it('to the dtype that a model has changes nothing', () => {
    const layer = new Linear(2, 1);
    const { weight } = layer;
    expect(layer.to('float32').weight).toBe(weight);
    expect(weight.isDisposed).toBe(false);
  });
});

describe('buffers', () => {
  it('are named by a word and hold a tensor or nothing', () => {
    const layer = new ReLU();
    const register = layer.registerBuffer.bind(layer) as (...args: unknown[]) => void;
    for (const name of ['a.b', '', 3, undefined])
      expect(() => register(name, ones(1))).toThrow('cannot name a buffer');
    for (const value of [3, undefined])
      expect(() => register('a', value)).toThrow("registerBuffer: 'a' must be a tensor or null");
    expect(() => register('a', null, { zzz: 1 })).toThrow("there is no option 'zzz'");
    register('kept', ones(1));
    register('rest', ones(1), { persistent: false });
    expect([...layer.stateDict().keys()]).toEqual(['kept']);
  });

  it('belong to the state dict unless they are not persistent', () => {
    class Stats extends Identity {
      declare runningSum: Tensor;
      declare scratch: Tensor;
      constructor() {
        super();
        this.registerBuffer('runningSum', zeros(2));
        this.registerBuffer('scratch', zeros(2), false);
      }
    }
    const stats = new Stats();
    expect(stats.namedBuffers().map(([name]) => name)).toEqual(['running_sum', 'scratch']);
    expect([...stats.stateDict().keys()]).toEqual(['running_sum']);
    expect(() => stats.registerBuffer('forward', zeros(1))).toThrow("already has a property 'forward'");
  });
});

describe('deepcopy', () => {
  it('says that private names cannot be copied', () => {
    class Scaled extends Identity {
      #factor = 2;
      override forward(x: Tensor): Tensor {
        return x.mul(this.#factor);
      }
    }
    class Renamed extends Scaled {}
    expect(() => nn.deepcopy(new Sequential(new Renamed()))).toThrow(
      /deepcopy: Scaled uses this\.#factor, which cannot be copied.* a field without #/,
    );
  });

  it('copies values, modes and sharing, and nothing is shared with the original', async () => {
    const model = new Sequential(new Linear(2, 2), new nn.BatchNorm1d(2), new Linear(2, 2));
    (model.at(2) as InstanceType<typeof Linear>).weight = model.getParameter('0.weight');
    model.eval();
    model.getParameter('2.bias').requiresGrad = false;
    const copy = nn.deepcopy(model);
    expect(copy).toBeInstanceOf(Sequential);
    expect(copy.toString()).toBe(model.toString());
    expect(copy.at(1)?.training).toBe(false);
    expect(copy.getParameter('2.weight')).toBe(copy.getParameter('0.weight'));
    expect(copy.getParameter('2.bias').requiresGrad).toBe(false);
    const x = tensor([[1, 2]]);
    expect(await copy(x).toArray()).toEqual(await model(x).toArray());
    nn.init.zeros_(copy.getParameter('0.weight'));
    expect(await model.getParameter('0.weight').abs().sum().item()).toBeGreaterThan(0);
  });
});
