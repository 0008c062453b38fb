import { beforeAll, describe, expect, it } from 'vitest';
import {
  formats,
  init,
  nn,
  noGrad,
  ones,
  optim,
  runtime,
  tensor,
  zeros,
  type Tensor,
} from '../../src/index.js';
import { loadRows } from '../rows.js';

/** A row of test/cases/optim/optimizers.json; scripts/goldens/optim.py says what is in it. */
interface OptimizerRow {
  readonly op: keyof typeof optim;
  readonly name: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly second?: Readonly<Record<string, unknown>>;
}
interface ClipRow {
  readonly name: string;
  readonly normType: number | 'inf';
  readonly maxNorm: number;
}

const runs = loadRows<OptimizerRow, { values: number[][] }>('optim/optimizers');
const runOf = (wanted: string): (typeof runs)[number] => runs.find(({ key }) => key === wanted)!;

beforeAll(() => init());

/** The parameters, the number of steps and the values of scripts/goldens/optim.py. */
const shapes = [[5], [2, 3], [2, 3, 2, 2], [1], [7], [3, 4], []];
const steps = 12;

function values(shape: readonly number[], seed: number, scale: number): Tensor {
  const count = shape.reduce((a, b) => a * b, 1);
  return tensor(
    Float64Array.from({ length: count }, (_, i) => scale * Math.sin(0.7 * i + seed)),
    { shape },
  );
}

type Groups = Tensor[] | { params: Tensor[] }[];
const make = ({ op, options, second }: OptimizerRow, params: Tensor[]): optim.FusedOptimizer => {
  const groups = second ? [{ params: params.slice(0, 4) }, { params: params.slice(4), ...second }] : params;
  const Optimizer = optim[op] as new (groups: Groups, options: object) => optim.FusedOptimizer;
  return new Optimizer(groups, options);
};

const start = (): Tensor[] => shapes.map((shape, k) => values(shape, k, 1).requiresGrad_());

/** The gradients of a step; the third parameter gets its first one late. */
function setGrads(params: readonly Tensor[], step: number): void {
  params.forEach((p, k) => (p.grad = k === 2 && step < 2 ? null : values(p.shape, 10 * step + k + 0.5, 0.5)));
}

async function expectClose(params: readonly Tensor[], want: readonly (readonly number[])[]): Promise<void> {
  for (const [k, p] of params.entries()) {
    const got = Array.from(await p.data());
    got.forEach((value, i) =>
      expect(value, `parameter ${k}, element ${i}`).toBeCloseTo(want[k]?.[i] as number, 5),
    );
  }
}

describe('every optimizer computes what PyTorch does', () => {
  it.each(runs)('$key', async ({ row, golden }) => {
    const params = start();
    const optimizer = make(row, params);
    for (let step = 0; step < steps; step++) {
      setGrads(params, step);
      optimizer.step();
    }
    await expectClose(params, golden.values);
  });
});

describe('a step', () => {
  const momentum = runOf('SGD | momentum, nesterov, weightDecay');

  it('handles views and gradients in another layout', async () => {
    const params = start();
    const [two, three, conv] = [params[1] as Tensor, params[5] as Tensor, params[2] as Tensor];
    const backing = zeros(20);
    const inside = backing.narrow(0, 3, 6).view(2, 3);
    inside.copy_(noGrad(() => two.detach()));
    const turned = three.detach().t().contiguous().t();
    const last = conv.detach().contiguous({ memoryFormat: 'channelsLast' });
    const odd = params.map((p, k) =>
      (k === 1 ? inside : k === 5 ? turned : k === 2 ? last : p).requiresGrad_(),
    );
    const optimizer = make(momentum.row, odd);
    for (let step = 0; step < steps; step++) {
      setGrads(odd, step);
      optimizer.step();
    }
    await expectClose(odd, momentum.golden.values);
    const rest = await backing.data();
    expect([...rest.slice(0, 3), ...rest.slice(9)].every((value) => value === 0)).toBe(true);
  });

  it('updates several parameters per dispatch and compiles nothing for a new rate', () => {
    const params = Array.from({ length: 11 }, () => ones(5).requiresGrad_());
    const optimizer = new optim.SGD(params, { lr: 0.1 });
    const each = Math.floor(runtime().limits.maxStorageBuffersPerShaderStage / 2);
    for (const p of params) p.grad = ones(5);
    optimizer.step();
    const before = runtime().opCounts().get('sgd') ?? 0;
    for (const group of optimizer.paramGroups) group.lr = 0.2;
    optimizer.step();
    expect((runtime().opCounts().get('sgd') ?? 0) - before).toBe(Math.floor(11 / each) + (11 % each));
  });

  it('leaves frozen parameters and those without a gradient alone', async () => {
    const [a, b, c] = [ones(2).requiresGrad_(), ones(2).requiresGrad_(), ones(2).requiresGrad_()];
    const optimizer = new optim.Adam([a, b, c], { weightDecay: 1 });
    b.grad = ones(2);
    b.requiresGrad = false;
    c.grad = ones(2);
    optimizer.step();
    expect([await a.toArray(), await b.toArray()]).toEqual([
      [1, 1],
      [1, 1],
    ]);
    expect(await c.sum().item()).toBeLessThan(2);
    expect([...optimizer.state.keys()]).toEqual([c]);
  });

  it('is noticed by a backward that still needs the old weights', () => {
    const w = ones(2).requiresGrad_();
    const optimizer = new optim.SGD([w], { lr: 1 });
    const loss = w.mul(w).sum();
    loss.backward(null, { retainGraph: true });
    optimizer.step();
    expect(() => loss.backward()).toThrow(/changed in place by SGD\.step/);
  });

  it('runs a closure with grad mode on', async () => {
    const w = ones(1).requiresGrad_();
    const optimizer = new optim.SGD([w], { lr: 0.5 });
    const loss = noGrad(() =>
      optimizer.step(() => {
        const value = w.mul(3).sum();
        value.backward();
        return value;
      }),
    );
    expect([await loss.item(), await w.item()]).toEqual([3, -0.5]);
  });
});

describe('parameter groups', () => {
  it('have options of their own', async () => {
    const [a, b] = [ones(1).requiresGrad_(), ones(1).requiresGrad_()];
    const optimizer = new optim.SGD([{ params: [a] }, { params: [b], lr: 0.1 }], { lr: 1 });
    const c = ones(1).requiresGrad_();
    optimizer.addParamGroup({ params: c, lr: 0.01 });
    for (const p of [a, b, c]) p.grad = ones(1);
    optimizer.step();
    expect([await a.item(), await b.item(), await c.item()].map((v) => Number(v.toFixed(6)))).toEqual([
      0, 0.9, 0.99,
    ]);
  });

  it('may be empty, as in PyTorch, and are in the state', async () => {
    const makers = [optim.SGD, optim.Adam, optim.AdamW, optim.RMSprop, optim.Adagrad, optim.Rprop];
    for (const Optimizer of makers) {
      const p = ones(1).requiresGrad_();
      const optimizer = new Optimizer([{ params: [] }, { params: [p] }], { lr: 0.1 });
      optimizer.addParamGroup({ params: [], lr: 1 });
      p.grad = ones(1);
      optimizer.step();
      expect(await p.item()).toBeLessThan(1);
      const state = optimizer.stateDict();
      expect(state.param_groups.map((group) => group.params)).toEqual([[], [0], []]);
      await optimizer.loadStateDict(state);
      expect(optimizer.paramGroups[2]?.lr).toBe(1);
    }
    expect(() => new optim.SGD([{ params: [] }], { lr: 1 }).step()).not.toThrow();
    expect(() => new optim.LBFGS([{ params: [] }])).not.toThrow();
  });

  it('are checked', () => {
    const layer = new nn.Linear(1, 1);
    expect(() => new optim.SGD([], { lr: 1 })).toThrow('SGD: the list of parameters is empty');
    expect(() => new optim.SGD([layer.weight, layer.weight], { lr: 1 })).toThrow(/parameter 1 .*given twice/);
    expect(() => new optim.SGD([layer.weight.mul(2)], { lr: 1 })).toThrow(
      'is the result of mul; only leaves can be optimised',
    );
    expect(() => new optim.SGD(layer.parameters(), { lr: -1 })).toThrow('SGD: lr must be at least 0, got -1');
    expect(() => new optim.SGD(layer.parameters(), { lr: 1, nesterov: true })).toThrow(
      'nesterov needs a momentum',
    );
    expect(() => new optim.Adam(layer.parameters(), { betas: [1, 0.9] })).toThrow('betas must be');
  });
});

describe('zeroGrad', () => {
  it('drops gradients and frees their memory, or zeroes them', async () => {
    const layer = new nn.Linear(2, 2);
    const optimizer = new optim.SGD(layer.parameters(), { lr: 1 });
    layer(ones(1, 2)).sum().backward();
    const grad = layer.weight.leafGrad as Tensor;
    optimizer.zeroGrad();
    expect([layer.weight.grad, grad.isDisposed]).toEqual([null, true]);
    layer(ones(1, 2)).sum().backward();
    optimizer.zeroGrad({ setToNone: false });
    expect(await layer.bias?.grad?.toArray()).toEqual([0, 0]);
  });
});

describe('state dicts', () => {
  it('have the structure and names of PyTorch', () => {
    const params = start();
    const optimizer = new optim.AdamW(
      [{ params: params.slice(0, 2) }, { params: params.slice(2), lr: 0.5 }],
      { amsgrad: true },
    );
    setGrads(params, 3);
    optimizer.step();
    const { state, param_groups: groups } = optimizer.stateDict();
    expect(Object.keys(state[4] ?? {}).sort()).toEqual(['exp_avg', 'exp_avg_sq', 'max_exp_avg_sq', 'step']);
    expect(groups[1]).toEqual({
      lr: 0.5,
      betas: [0.9, 0.999],
      eps: 1e-8,
      weight_decay: 0.01,
      amsgrad: true,
      maximize: false,
      params: [2, 3, 4, 5, 6],
    });
  });

  it.each([...new Map(runs.map((run) => [run.row.op, run])).values()])(
    'carry on where $row.op stopped, bit for bit, through a file',
    async ({ row, golden }) => {
      const first = start();
      const optimizer = make(row, first);
      for (let step = 0; step < 5; step++) {
        setGrads(first, step);
        optimizer.step();
      }
      const file = await formats.encodeTorch(optimizer.stateDict());
      const second = first.map((p) => noGrad(() => p.detach().clone()).requiresGrad_());
      const resumed = make({ ...row, options: { lr: 9 }, ...(row.second && { second: {} }) }, second);
      await resumed.loadStateDict(await formats.loadValue(file));
      for (let step = 5; step < steps; step++) {
        for (const [params, one] of [
          [first, optimizer],
          [second, resumed],
        ] as const) {
          setGrads(params, step);
          one.step();
        }
      }
      for (const [i, p] of second.entries())
        expect(await p.data()).toEqual(await (first[i] as Tensor).data());
      await expectClose(second, golden.values);
    },
  );

  it('that do not fit are refused', async () => {
    const a = new optim.SGD([ones(2).requiresGrad_()], { lr: 1, momentum: 0.9 });
    const b = new optim.SGD([ones(2).requiresGrad_(), ones(3).requiresGrad_()], { lr: 1 });
    await expect(a.loadStateDict(b.stateDict())).rejects.toThrow(
      'group 0 has 2 parameters in the state dict and 1 here',
    );
    const wrong = { state: { 0: { momentum_buffer: ones(3) } }, param_groups: [{ lr: 1, params: [0] }] };
    await expect(a.loadStateDict(wrong)).rejects.toThrow(
      'momentum_buffer of parameter 0 is [3], the parameter [2]',
    );
  });
});

describe('a state', () => {
  const trained = (make: (params: Tensor[]) => optim.Optimizer): optim.Optimizer => {
    const params = [ones(2).requiresGrad_()];
    setGrads(params, 1);
    const optimizer = make(params);
    optimizer.step();
    return optimizer;
  };
  const kinds = {
    momentum: () => trained((params) => new optim.SGD(params, { lr: 1, momentum: 0.9 })),
    adam: () => trained((params) => new optim.Adam(params)),
    nadam: () => trained((params) => new optim.NAdam(params)),
    lbfgs: () => new optim.LBFGS([ones(2).requiresGrad_()]) as optim.Optimizer,
  };

  it.each([
    [
      'adam',
      'momentum',
      'Adam.loadStateDict: the state of parameter 0 has no step, exp_avg, exp_avg_sq, only momentum_buffer',
    ],
    [
      'nadam',
      'adam',
      'has no mu_product, only step, exp_avg, exp_avg_sq: it is not of NAdam with these options',
    ],
    ['momentum', 'adam', 'SGD.loadStateDict: the state of parameter 0 has no momentum_buffer'],
    ['lbfgs', 'adam', 'LBFGS.loadStateDict: the state of parameter 0 has no func_evals'],
  ] as const)('of another optimizer is refused: into %s from %s', async (into, from, message) => {
    const optimizer = kinds[into]();
    const before = [...optimizer.state.values()];
    await expect(optimizer.loadStateDict(kinds[from]().stateDict())).rejects.toThrow(message);
    expect([...optimizer.state.values()]).toEqual(before);
  });

  it('that is empty, from before the first step, fits', async () => {
    const optimizer = kinds.adam();
    await optimizer.loadStateDict(new optim.SGD([ones(2).requiresGrad_()], { lr: 0.5 }).stateDict());
    expect([optimizer.state.size, optimizer.paramGroups[0]?.lr]).toEqual([0, 0.5]);
  });

  it('that is being loaded allows neither a step nor a look at it, until it is there or has failed', async () => {
    const [from, into] = [kinds.adam(), kinds.adam()];
    const unfinished = 'Adam: loadStateDict() has not finished: await it before the optimizer is used';
    const loading = into.loadStateDict(from.stateDict());
    expect(() => void into.step()).toThrow(unfinished);
    expect(() => into.stateDict()).toThrow(unfinished);
    await expect(into.loadStateDict(from.stateDict())).rejects.toThrow(unfinished);
    await loading;
    await expect(into.loadStateDict({})).rejects.toThrow("'state' is not a dict");
    expect(() => void into.step()).not.toThrow();
  });
});

describe('parameters that a conversion has replaced', () => {
  const gone = (): Tensor[] => {
    const layer = new nn.Linear(3, 2, { bias: false });
    const parameters = layer.parameters();
    layer.half();
    return parameters;
  };
  const freed = "parameter 0 'weight' of shape [2, 3]";
  const remedy = 'make the optimizer, after such a conversion';

  it('are refused by step, which says which they are', async () => {
    const layer = new nn.Linear(3, 2);
    const [sgd, lbfgs] = [new optim.SGD(layer.parameters(), { lr: 1 }), new optim.LBFGS(layer.parameters())];
    layer.half();
    expect(() => sgd.step()).toThrow(`SGD.step: ${freed} in group 0 was freed`);
    expect(() => sgd.step()).toThrow(remedy);
    await expect(lbfgs.step(() => 0)).rejects.toThrow(`LBFGS.step: ${freed} in group 0 was freed`);
  });

  it('are refused by clipping and by a new optimizer', () => {
    expect(() => nn.utils.clipGradNorm_(gone(), 1)).toThrow(`clipGradNorm_: ${freed} was freed`);
    expect(() => nn.utils.clipGradValue_(gone(), 1)).toThrow(`clipGradValue_: ${freed} was freed`);
    expect(() => new optim.SGD(gone(), { lr: 1 })).toThrow(`SGD: ${freed} was freed`);
  });
});

describe('clipping', () => {
  const clips = loadRows<ClipRow, { total: number; grads: number[][] }>('optim/clip');
  it.each(clips)('by $key', async ({ row: { normType, maxNorm }, golden: { total, grads } }) => {
    const params = [values([3], 1, 2), values([2, 2], 2, 2)].map((grad) => {
      const p = zeros(grad.shape).requiresGrad_();
      p.grad = grad;
      return p;
    });
    const norm = nn.utils.clipGradNorm_(params, maxNorm, {
      normType: normType === 'inf' ? Infinity : normType,
    });
    expect(await norm.item()).toBeCloseTo(total, 5);
    await expectClose(
      params.map((p) => p.grad as Tensor),
      grads,
    );
  });

  it('looks at the norm when asked to', async () => {
    const p = zeros(2).requiresGrad_();
    p.grad = tensor([3, 4]);
    const clip = (): Promise<Tensor> => nn.utils.clipGradNorm_(p, 1, { errorIfNonfinite: true });
    expect(await (await clip()).item()).toBe(5);
    const clipped = await p.grad.toArray();
    p.grad = tensor([1, Infinity]);
    await expect(clip()).rejects.toThrow('order 2 of the gradients is Infinity; nothing was clipped');
    expect(clipped).toEqual([expect.closeTo(0.6, 5), expect.closeTo(0.8, 5)]);
    expect(await nn.utils.clipGradNorm_([], { maxNorm: 1 }).item()).toBe(0);
    expect(await nn.utils.getTotalNorm([tensor([3]), tensor([4])]).item()).toBe(5);
  });

  it('by value', async () => {
    const p = zeros(3).requiresGrad_();
    p.grad = tensor([-5, 0.5, 5]);
    nn.utils.clipGradValue_(p, 1);
    expect(await p.grad.toArray()).toEqual([-1, 0.5, 1]);
  });
});

/** Bits of a parameter's values after three steps with gradients that differ from step to step. */
async function trained(count: number, make: (parameters: Tensor[]) => optim.Optimizer): Promise<Uint32Array> {
  const values = Float32Array.from({ length: count }, (_, i) => Math.sin(i));
  const parameter = new nn.Parameter(tensor(values));
  const optimizer = make([parameter]);
  for (let step = 1; step <= 3; step++) {
    parameter.grad = tensor(values.map((v) => Math.cos(step * v)));
    optimizer.step();
  }
  const result = (await parameter.data()) as Float32Array;
  return new Uint32Array(result.slice().buffer);
}

describe('large parameters, which have a kernel of their own', () => {
  it.each([
    ['SGD', (p: Tensor[]) => new optim.SGD(p, { lr: 0.1, momentum: 0.9, weightDecay: 0.01 })],
    ['Adam', (p: Tensor[]) => new optim.Adam(p, { lr: 0.01 })],
    ['RMSprop', (p: Tensor[]) => new optim.RMSprop(p, { lr: 0.01, momentum: 0.5 })],
  ])('%s: the same bits as for a parameter of four elements more', async (_name, make) => {
    const large = 1 << 15;
    const wide = await trained(large, make);
    const ordinary = await trained(large + 4, make);
    expect(wide).toEqual(ordinary.slice(0, large));
  });
});
