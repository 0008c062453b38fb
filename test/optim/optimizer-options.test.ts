import { beforeAll, describe, expect, it } from 'vitest';
import { init, nn, optim, zeros, type Tensor } from '../../src/index.js';

beforeAll(() => init());

/** Optimizers as plain JavaScript may call them. */
type Untyped = new (params: unknown, options?: unknown) => optim.Optimizer;
const made = (name: string, options?: unknown, params: unknown = [zeros(1)]): optim.Optimizer =>
  new (optim[name as keyof typeof optim] as Untyped)(params, options);

const withBetas = ['Adam', 'AdamW', 'RAdam', 'NAdam', 'Adamax'];

describe.each(withBetas)('%s refuses betas', (name) => {
  it.each([
    [[0.9], 'must be two numbers, got [0.9]'],
    [[0.9, 0.99, 0.999], 'must be two numbers, got [0.9, 0.99, 0.999]'],
    [0.9, 'must be two numbers, got 0.9'],
    [null, 'must be two numbers, got null'],
    [['0.9', 0.99], "must be two numbers, got ['0.9', 0.99]"],
    [[0.9, NaN], 'must be two numbers, got [0.9, NaN]'],
    [[0.9, 1], 'must be from 0 to below 1, got 0.9 and 1'],
  ])('%j', (betas, message) => {
    expect(() => made(name, { betas })).toThrow(`${name}: betas ${message}`);
    const group = { params: zeros(1), betas } as unknown as { params: Tensor };
    expect(() => made(name).addParamGroup(group)).toThrow(`${name}: betas ${message}`);
  });
});

describe('options of the wrong kind', () => {
  const every = [...withBetas, 'SGD', 'Adagrad', 'Adadelta', 'RMSprop', 'Rprop', 'ASGD', 'LBFGS'];
  it.each(every)('%s refuses rates that are no numbers', (name) => {
    expect(() => made(name, { lr: null })).toThrow(`${name}: lr must be a number, got null`);
    expect(() => made(name, { lr: '0.1' })).toThrow(`${name}: lr must be a number, got '0.1'`);
    expect(() => made(name, { lr: NaN })).toThrow(`${name}: lr must be a number, got NaN`);
    expect(() => made(name, null)).toThrow(`${name}: does not know what to do with its argument null`);
  });

  it.each([
    ['Adam', { eps: null }, 'Adam: eps must be a number, got null'],
    ['Adam', { amsgrad: 1 }, 'amsgrad must be true or false, got 1'],
    ['Rprop', { stepSizes: [0.5] }, 'Rprop: stepSizes must be two numbers, got [0.5]'],
    ['Rprop', { etas: 0.5 }, 'Rprop: etas must be two numbers, got 0.5'],
    ['ASGD', { t0: 'a' }, "ASGD: t0 must be a number, got 'a'"],
    ['SGD', { lr: 1, dampening: [] }, 'SGD: dampening must be a number, got []'],
    ['LBFGS', { maxIter: 'a' }, "LBFGS: maxIter must be a number, got 'a'"],
  ])('%s %j', (name, options, message) => {
    expect(() => made(name, options)).toThrow(message);
  });

  it('of the optimizer are refused where every group has its own', () => {
    const groups = [{ params: [zeros(1)], lr: 0.1 }];
    expect(() => made('SGD', { lr: -1 }, groups)).toThrow('SGD: lr must be at least 0, got -1');
  });
});

describe('options that a group was given later', () => {
  it.each([
    ['lr', undefined, 'lr must be a number, got undefined'],
    ['lr', NaN, 'lr must be a number, got NaN'],
    ['betas', [0.9], 'betas must be two numbers, got [0.9]'],
  ])('%s = %j is refused by the step, which changes nothing', async (name, value, message) => {
    const parameter = zeros(1).requiresGrad_();
    const optimizer = made('Adam', {}, [parameter]);
    parameter.sum().backward();
    Object.assign(optimizer.paramGroups[0] as object, { [name]: value });
    expect(() => void optimizer.step()).toThrow(`Adam.step: group 0: ${message}`);
    expect(await parameter.item()).toBe(0);
  });
});

describe('SGD needs a learning rate', () => {
  it('from its options or from every group', () => {
    expect(() => made('SGD')).toThrow("SGD: 'lr' is missing; as in new SGD(model.parameters(), {");
    expect(() => made('SGD', { momentum: 0.9 })).toThrow("SGD: 'lr' is missing");
    const optimizer = new optim.SGD([{ params: [zeros(1)], lr: 0.1 }]);
    expect(optimizer.paramGroups[0]?.lr).toBe(0.1);
    expect(() => optimizer.addParamGroup({ params: zeros(1) })).toThrow("SGD: 'lr' is missing");
  });
});

describe('what is no list of parameters', () => {
  it.each([
    ['a module', () => new nn.Linear(1, 1), 'a Linear'],
    ['layers', () => new nn.Sequential(new nn.Linear(1, 1), new nn.ReLU()), '[a Linear, a ReLU]'],
    ['a function', () => () => [], 'a function'],
    ['nothing', () => undefined, 'undefined'],
    ['a tensor', () => zeros(1), 'a Tensor'],
    ['a group', () => ({ params: [zeros(1)] }), 'an object'],
    ['numbers', () => [1, 2], '[1, 2]'],
    ['null', () => [null], '[null]'],
    ['an empty group', () => [{}], 'undefined'],
    ['a group of a module', () => [{ params: new nn.Linear(1, 1) }], 'a Linear'],
    ['a mixture', () => [zeros(1), { params: [zeros(1)] }], '[a Tensor, an object]'],
  ])('%s', (_, params, got) => {
    const make = optim.SGD as unknown as Untyped;
    expect(() => new make(params(), { lr: 0.1 })).toThrow(
      `SGD: expected a list of tensors, as model.parameters() gives it, or of groups { params, ... }, got ${got}`,
    );
  });
});
