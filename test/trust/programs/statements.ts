import * as formulas from '../reference/formulas.js';
import { NdArray, numel, type Shape } from '../reference/ndarray.js';
import type { Machine } from '../reference/machine.js';
import { overlapsItself } from '../reference/layout.js';
import { Refused, Undefined, type Geometry, type Tensor } from '../reference/tensor.js';
import * as views from '../reference/views.js';

/*
 * The language of random programs: every statement in three forms, as the reference interpreter runs it, as TypeScript for
 * kindling, and as Python for PyTorch. The printed code is what is run.
 */

type Value = number | boolean | string | null | readonly Value[];

/**
 * One statement: plain data. Registers are numbered; a statement may only read what an earlier one has made.
 */
export interface Statement {
  readonly op: string;
  /** Registers that it works on. */
  readonly on: readonly number[];
  readonly args: Readonly<Record<string, Value>>;
  /** Registers that it makes. */
  readonly out: readonly number[];
  readonly noGrad?: boolean;
}

export type Program = readonly Statement[];

interface Form {
  /** Runs it on the reference; the results go to the statement's registers. */
  run(machine: Machine, on: Tensor[], args: Args): Tensor[] | void;
  /** An expression. */
  ts(on: readonly string[], args: Args): string;
  python(on: readonly string[], args: Args): string;
  /** Its value is a list of results. */
  readonly several?: boolean;
}

/** Arguments, read with the type that the statement's row expects. */
class Args {
  constructor(private readonly values: Readonly<Record<string, Value>>) {}

  number(name: string): number {
    return this.values[name] as number;
  }
  flag(name: string): boolean {
    return this.values[name] as boolean;
  }
  list(name: string): readonly number[] {
    return this.values[name] as readonly number[];
  }
  text(name: string): string {
    return this.values[name] as string;
  }
  has(name: string): boolean {
    return this.values[name] !== undefined && this.values[name] !== null;
  }
  array(data: string, shape: string): NdArray {
    return new NdArray(this.list(shape), Float64Array.from(this.list(data)));
  }
}

/** `[[1, 2], [3, 4]]`: how both languages write an array. */
function nested(data: readonly number[], shape: Shape, show: (value: number) => string = String): string {
  const [size, ...rest] = shape;
  if (size === undefined) return show(data[0] as number);
  const step = numel(rest);
  return `[${Array.from({ length: size }, (_, i) => nested(data.slice(i * step, (i + 1) * step), rest, show)).join(', ')}]`;
}

const tuple = (list: readonly number[]): string => `(${list.join(', ')}${list.length === 1 ? ',' : ''})`;
const jsList = (list: readonly number[]): string => `[${list.join(', ')}]`;

const literal = {
  ts: (args: Args, data: string, shape: string): string =>
    `tensor(${nested(args.list(data), args.list(shape))})`,
  python: (args: Args, data: string, shape: string): string =>
    `torch.tensor(${nested(args.list(data), args.list(shape))}, dtype=torch.float64)`,
};
const mask = {
  ts: (args: Args): string =>
    `tensor(${nested(args.list('mask'), args.list('shape'), (v) => String(v !== 0))}, { dtype: 'bool' })`,
  python: (args: Args): string =>
    `torch.tensor(${nested(args.list('mask'), args.list('shape'), (v) => (v ? 'True' : 'False'))})`,
};
const index = {
  ts: (data: readonly number[], shape: Shape): string => `tensor(${nested(data, shape)}, { dtype: 'int32' })`,
  python: (data: readonly number[], shape: Shape): string => `torch.tensor(${nested(data, shape)})`,
};

// ---- rows

function view(
  make: (x: Geometry, args: Args) => Geometry,
  ts: (args: Args) => string,
  python: (args: Args, x: string) => string = (args, x) => `${x}.${ts(args)}`,
): Form {
  return {
    run: (machine, [x], args) => machine.views('view', x as Tensor, (from) => [make(from, args)]),
    ts: ([x], args) => `${x}.${ts(args)}`,
    python: ([x], args) => python(args, x as string),
  };
}

function severalViews(make: (x: Geometry, args: Args) => Geometry[], call: (args: Args) => string): Form {
  return {
    several: true,
    run: (machine, [x], args) => machine.views('split', x as Tensor, (from) => make(from, args), true),
    ts: ([x], args) => `${x}.${call(args)}`,
    python: ([x], args) => `${x}.${call(args)}`,
  };
}

/** An op of one input with the same call in both languages, unless `python` says otherwise. */
function op(
  formula: (args: Args, on: readonly Tensor[]) => formulas.Formula,
  ts: (on: readonly string[], args: Args) => string,
  python: (on: readonly string[], args: Args) => string = ts,
): Form {
  return { run: (machine, on, args) => [machine.apply(formula(args, on), on)], ts, python };
}

function inPlace(
  formula: (args: Args) => formulas.Formula,
  ts: (on: readonly string[], args: Args) => string,
  python: (on: readonly string[], args: Args) => string = ts,
): Form {
  return { run: (machine, on, args) => machine.inPlace(formula(args), on), ts, python };
}

const unaryNames = Object.keys(formulas.unary) as (keyof typeof formulas.unary)[];
const functional = new Set(['relu6', 'selu', 'hardsigmoid', 'silu']);
const unaryForms = Object.fromEntries(
  unaryNames.map((name) => [
    name,
    op(
      () => formulas.unary[name],
      ([x]) => (functional.has(name) ? `F.${name}(${x})` : `${x}.${name}()`),
    ),
  ]),
);
const pairNames = Object.keys(formulas.pairs) as (keyof typeof formulas.pairs)[];
const pairForms = Object.fromEntries(
  pairNames.map((name) => [
    name,
    op(
      () => formulas.pairs[name],
      ([x, y]) => `${x}.${name}(${y})`,
    ),
  ]),
);
const inPlacePairs = Object.fromEntries(
  (['add', 'sub', 'mul', 'div'] as const).map((name) => [
    `${name}_`,
    inPlace(
      () => formulas.pairs[name],
      ([x, y]) => `${x}.${name}_(${y})`,
    ),
  ]),
);
const inPlaceUnary = Object.fromEntries(
  (['relu', 'sigmoid', 'tanh', 'exp'] as const).map((name) => [
    `${name}_`,
    inPlace(
      () => formulas.unary[name],
      ([x]) => `${x}.${name}_()`,
    ),
  ]),
);

const allDims = (x: Tensor): number[] => x.shape.map((_, d) => d);
const dimsOf = (args: Args, x: Tensor): readonly number[] =>
  args.has('dims') ? args.list('dims') : allDims(x);

const reduction = (
  name: string,
  formula: (dims: readonly number[], keepdim: boolean, along: boolean) => formulas.Formula,
): Form =>
  op(
    (args, [x]) => formula(dimsOf(args, x as Tensor), args.flag('keepdim'), args.has('dims')),
    ([x], args) =>
      args.has('dims')
        ? `${x}.${name}(${jsList(args.list('dims'))}, { keepdim: ${args.flag('keepdim')} })`
        : `${x}.${name}()`,
    ([x], args) =>
      args.has('dims')
        ? `${x}.${name}(dim=${tuple(args.list('dims'))}, keepdim=${args.flag('keepdim') ? 'True' : 'False'})`
        : `${x}.${name}()`,
  );

const pairLoss = (
  name: string,
  python: string,
  formula: (reduction: formulas.Reduction) => formulas.Formula,
): Form =>
  op(
    (args) => formula(args.text('reduction') as formulas.Reduction),
    ([x, y], args) => `F.${name}(${x}, ${y}, { reduction: '${args.text('reduction')}' })`,
    ([x, y], args) => `F.${python}(${x}, ${y}, reduction='${args.text('reduction')}')`,
  );

const classLoss = (
  name: string,
  python: string,
  formula: (target: readonly number[], reduction: formulas.Reduction) => formulas.Formula,
): Form =>
  op(
    (args) => formula(args.list('target'), args.text('reduction') as formulas.Reduction),
    ([x], args) =>
      `F.${name}(${x}, ${index.ts(args.list('target'), [args.list('target').length])}, { reduction: '${args.text('reduction')}' })`,
    ([x], args) =>
      `F.${python}(${x}, ${index.python(args.list('target'), [args.list('target').length])}, reduction='${args.text('reduction')}')`,
  );

/** What PyTorch accepts for tensors that overlap themselves, with a warning or without defining it. */
function notExpanded(x: Tensor): void {
  if (overlapsItself(x)) throw new Undefined('fills a tensor that overlaps itself');
}

/** Seeds for the gradient of each root: `args.seeds` holds them flattened, one list per root. */
const seedsOf = (args: Args, roots: readonly Tensor[]): NdArray[] => {
  const seeds = args.list('seeds');
  return roots.map(({ shape }) => {
    const size = numel(shape);
    return new NdArray(
      shape,
      Float64Array.from({ length: size }, (_, i) => seeds[i % seeds.length] as number),
    );
  });
};

/** `seed` repeats the numbers over the root's shape; both languages have one. */
const seedText = (roots: readonly string[], args: Args): string =>
  `[${roots.map((root) => `seed(${root}, ${jsList(args.list('seeds'))})`).join(', ')}]`;

export const forms: Readonly<Record<string, Form>> = {
  leaf: {
    run: (machine, _, args) => [machine.leaf(args.array('values', 'shape'), args.flag('requiresGrad'))],
    ts: (_, args) =>
      `${literal.ts(args, 'values', 'shape')}${args.flag('requiresGrad') ? '.requiresGrad_()' : ''}`,
    python: (_, args) =>
      `${literal.python(args, 'values', 'shape')}${args.flag('requiresGrad') ? '.requires_grad_()' : ''}`,
  },

  // views
  select: view(
    (x, a) => views.select(x, a.number('dim'), a.number('index')),
    (a) => `select(${a.number('dim')}, ${a.number('index')})`,
  ),
  narrow: view(
    (x, a) => views.narrow(x, a.number('dim'), a.number('start'), a.number('length')),
    (a) => `narrow(${a.number('dim')}, ${a.number('start')}, ${a.number('length')})`,
  ),
  slice: view(
    (x, a) => views.slice(x, a.number('dim'), a.number('start'), a.number('end'), a.number('step')),
    (a) => `slice(${a.number('dim')}, ${a.number('start')}, ${a.number('end')}, ${a.number('step')})`,
    (a, x) =>
      `${x}[${':, '.repeat(a.number('dim'))}${a.number('start')}:${a.number('end')}:${a.number('step')}]`,
  ),
  expand: view(
    (x, a) => views.expand(x, a.list('sizes')),
    (a) => `expand(${jsList(a.list('sizes'))})`,
  ),
  permute: view(
    (x, a) => views.permute(x, a.list('dims')),
    (a) => `permute(${jsList(a.list('dims'))})`,
  ),
  transpose: view(
    (x, a) => views.transpose(x, a.number('a'), a.number('b')),
    (a) => `transpose(${a.number('a')}, ${a.number('b')})`,
  ),
  view: view(
    (x, a) => strict(views.reshaped(x, a.list('sizes'))),
    (a) => `view(${jsList(a.list('sizes'))})`,
  ),
  reshape: {
    run: (machine, [x], a) => [reshape(machine, x as Tensor, a.list('sizes'))],
    ts: ([x], a) => `${x}.reshape(${jsList(a.list('sizes'))})`,
    python: ([x], a) => `${x}.reshape(${jsList(a.list('sizes'))})`,
  },
  flatten: {
    run(machine, on, a) {
      const x = on[0] as Tensor;
      const [start, end] = [a.number('start'), a.number('end')];
      if (start === end) return [x];
      return [reshape(machine, x, views.flattenedShape(x.shape, start, end))];
    },
    ts: ([x], a) => `${x}.flatten(${a.number('start')}, ${a.number('end')})`,
    python: ([x], a) => `${x}.flatten(${a.number('start')}, ${a.number('end')})`,
  },
  unsqueeze: view(
    (x, a) => views.unsqueeze(x, a.number('dim')),
    (a) => `unsqueeze(${a.number('dim')})`,
  ),
  squeeze: view(
    (x, a) => views.squeeze(x, a.number('dim')),
    (a) => `squeeze(${a.number('dim')})`,
  ),
  diagonal: view(
    (x, a) => views.diagonal(x, a.number('offset')),
    (a) => `diagonal({ offset: ${a.number('offset')} })`,
    (a, x) => `${x}.diagonal(${a.number('offset')})`,
  ),
  unfold: view(
    (x, a) => views.unfold(x, a.number('dim'), a.number('size'), a.number('step')),
    (a) => `unfold(${a.number('dim')}, ${a.number('size')}, ${a.number('step')})`,
  ),
  split: severalViews(
    (x, a) => views.split(x, a.number('size'), a.number('dim')),
    (a) => `split(${a.number('size')}, ${a.number('dim')})`,
  ),
  chunk: severalViews(
    (x, a) => {
      const total = x.shape[a.number('dim')] as number;
      return views.split(x, Math.ceil(total / a.number('chunks')), a.number('dim'));
    },
    (a) => `chunk(${a.number('chunks')}, ${a.number('dim')})`,
  ),
  unbind: severalViews(
    (x, a) => views.unbind(x, a.number('dim')),
    (a) => `unbind(${a.number('dim')})`,
  ),
  detach: {
    run: (machine, [x]) => [machine.detach(x as Tensor)],
    ts: ([x]) => `${x}.detach()`,
    python: ([x]) => `${x}.detach()`,
  },
  contiguous: {
    run: (machine, [x]) => [machine.contiguous(x as Tensor)],
    ts: ([x]) => `${x}.contiguous()`,
    python: ([x]) => `${x}.contiguous()`,
  },

  // pointwise
  ...unaryForms,
  ...pairForms,
  clone: op(
    () => formulas.clone,
    ([x]) => `${x}.clone()`,
  ),
  addNumber: op(
    (a) => formulas.addNumber(a.number('value')),
    ([x], a) => `${x}.add(${a.number('value')})`,
  ),
  mulNumber: op(
    (a) => formulas.mulNumber(a.number('value')),
    ([x], a) => `${x}.mul(${a.number('value')})`,
  ),
  clamp: op(
    (a) => formulas.clamp(a.number('min'), a.number('max')),
    ([x], a) => `${x}.clamp(${a.number('min')}, ${a.number('max')})`,
  ),
  where: op(
    (a) => formulas.where(a.array('mask', 'shape')),
    ([x, y], a) => `where(${mask.ts(a)}, ${x}, ${y})`,
    ([x, y], a) => `torch.where(${mask.python(a)}, ${x}, ${y})`,
  ),
  maskedFill: op(
    (a) => formulas.maskedFill(a.array('mask', 'shape'), a.number('value')),
    ([x], a) => `${x}.maskedFill(${mask.ts(a)}, ${a.number('value')})`,
    ([x], a) => `${x}.masked_fill(${mask.python(a)}, ${a.number('value')})`,
  ),

  // reductions, losses, matrices
  sum: reduction('sum', formulas.sum),
  mean: reduction('mean', formulas.mean),
  amax: reduction('amax', formulas.amax),
  prod: op(
    (a, [x]) => formulas.prod(a.has('dim') ? [a.number('dim')] : allDims(x as Tensor)),
    ([x], a) => `${x}.prod(${a.has('dim') ? a.number('dim') : ''})`,
  ),
  max: op(
    (a) => formulas.maxAlong(a.number('dim')),
    ([x], a) => `${x}.max(${a.number('dim')})[0]`,
  ),
  softmax: op(
    (a) => formulas.softmax(a.number('dim')),
    ([x], a) => `${x}.softmax(${a.number('dim')})`,
  ),
  logSoftmax: op(
    (a) => formulas.logSoftmax(a.number('dim')),
    ([x], a) => `${x}.logSoftmax(${a.number('dim')})`,
    ([x], a) => `${x}.log_softmax(${a.number('dim')})`,
  ),
  mseLoss: pairLoss('mseLoss', 'mse_loss', formulas.mseLoss),
  l1Loss: pairLoss('l1Loss', 'l1_loss', formulas.l1Loss),
  bceWithLogits: pairLoss(
    'binaryCrossEntropyWithLogits',
    'binary_cross_entropy_with_logits',
    formulas.bceWithLogits,
  ),
  nllLoss: classLoss('nllLoss', 'nll_loss', formulas.nllLoss),
  crossEntropy: classLoss('crossEntropy', 'cross_entropy', formulas.crossEntropy),
  matmul: op(
    () => formulas.matmul,
    ([x, y]) => `${x}.matmul(${y})`,
  ),
  cat: op(
    (a) => formulas.cat(a.number('dim')),
    (on, a) => `cat([${on.join(', ')}], ${a.number('dim')})`,
    (on, a) => `torch.cat([${on.join(', ')}], ${a.number('dim')})`,
  ),
  stack: op(
    (a) => formulas.stack(a.number('dim')),
    (on, a) => `stack([${on.join(', ')}], ${a.number('dim')})`,
    (on, a) => `torch.stack([${on.join(', ')}], ${a.number('dim')})`,
  ),
  indexSelect: op(
    (a) => formulas.indexSelect(a.number('dim'), a.list('index')),
    ([x], a) =>
      `${x}.indexSelect(${a.number('dim')}, ${index.ts(a.list('index'), [a.list('index').length])})`,
    ([x], a) =>
      `${x}.index_select(${a.number('dim')}, ${index.python(a.list('index'), [a.list('index').length])})`,
  ),
  gather: op(
    (a) => formulas.gather(a.number('dim'), a.list('index'), a.list('shape')),
    ([x], a) => `${x}.gather(${a.number('dim')}, ${index.ts(a.list('index'), a.list('shape'))})`,
    ([x], a) => `${x}.gather(${a.number('dim')}, ${index.python(a.list('index'), a.list('shape'))})`,
  ),

  // in place
  ...inPlacePairs,
  ...inPlaceUnary,
  copy_: {
    run(machine, on) {
      const [self, source] = on as [Tensor, Tensor];
      const same =
        self.storage === source.storage &&
        self.offset === source.offset &&
        String(self.shape) === String(source.shape) &&
        String(self.strides) === String(source.strides);
      // PyTorch copies nothing then, expanded or not, and records it all the same.
      if (same && overlapsItself(self)) throw new Undefined('copies an expanded tensor to itself');
      machine.inPlace(formulas.copy, on);
    },
    ts: ([x, y]) => `${x}.copy_(${y})`,
    python: ([x, y]) => `${x}.copy_(${y})`,
  },
  addNumber_: inPlace(
    (a) => formulas.addNumber(a.number('value')),
    ([x], a) => `${x}.add_(${a.number('value')})`,
  ),
  mulNumber_: inPlace(
    (a) => formulas.mulNumber(a.number('value')),
    ([x], a) => `${x}.mul_(${a.number('value')})`,
  ),
  clamp_: inPlace(
    (a) => formulas.clamp(a.number('min'), a.number('max')),
    ([x], a) => `${x}.clamp_(${a.number('min')}, ${a.number('max')})`,
  ),
  fill_: filling(
    (a) => formulas.fill(a.number('value')),
    ([x], a) => `${x}.fill_(${a.number('value')})`,
  ),
  zero_: filling(
    () => formulas.fill(0),
    ([x]) => `${x}.zero_()`,
  ),
  maskedFill_: filling(
    (a) => formulas.maskedFill(a.array('mask', 'shape'), a.number('value')),
    ([x], a) => `${x}.maskedFill_(${mask.ts(a)}, ${a.number('value')})`,
    ([x], a) => `${x}.masked_fill_(${mask.python(a)}, ${a.number('value')})`,
  ),

  // the tape
  requiresGrad_: {
    run: (machine, [x], a) => machine.setRequiresGrad(x as Tensor, a.flag('value')),
    ts: ([x], a) => `${x}.requiresGrad_(${a.flag('value')})`,
    python: ([x], a) => `${x}.requires_grad_(${a.flag('value') ? 'True' : 'False'})`,
  },
  detach_: {
    run: (machine, [x]) => machine.detach_(x as Tensor),
    ts: ([x]) => `${x}.detach_()`,
    python: ([x]) => `${x}.detach_()`,
  },
  retainGrad: {
    run: (machine, [x]) => machine.retainGrad(x as Tensor),
    ts: ([x]) => `${x}.retainGrad()`,
    python: ([x]) => `${x}.retain_grad()`,
  },
  hook: {
    run: (machine, [x], a) => machine.hook(x as Tensor, (grad) => grad.map((g) => g * a.number('factor'))),
    ts: ([x], a) => `${x}.registerHook((g) => g.mul(${a.number('factor')}))`,
    python: ([x], a) => `${x}.register_hook(lambda g: g * ${a.number('factor')})`,
  },
  clearGrad: {
    run(_machine, [x]) {
      (x as Tensor).grad = null;
    },
    ts: ([x]) => `${x}.grad = null`,
    python: ([x]) => `${x}.grad = None`,
  },
  backward: {
    run: (machine, on, a) => machine.backward(on, seedsOf(a, on), a.flag('retainGraph')),
    ts: (on, a) =>
      `autograd.backward([${on.join(', ')}], ${seedText(on, a)}, { retainGraph: ${a.flag('retainGraph')} })`,
    python: (on, a) =>
      `torch.autograd.backward([${on.join(', ')}], ${seedText(on, a)}, retain_graph=${a.flag('retainGraph') ? 'True' : 'False'})`,
  },
  // A gradient's strides follow from the ops that it came through; the reference has none for them.
  grad: {
    several: true,
    run(machine, on, a) {
      const outputs = on.slice(0, a.number('outputs'));
      return machine.grad(outputs, on.slice(a.number('outputs')), seedsOf(a, outputs), a.flag('retainGraph'));
    },
    ts(on, a) {
      const [outputs, inputs] = [on.slice(0, a.number('outputs')), on.slice(a.number('outputs'))];
      return `autograd.grad([${outputs.join(', ')}], [${inputs.join(', ')}], { gradOutputs: ${seedText(outputs, a)}, retainGraph: ${a.flag('retainGraph')} }).map((g) => g.clone({ memoryFormat: 'contiguous' }))`;
    },
    python(on, a) {
      const [outputs, inputs] = [on.slice(0, a.number('outputs')), on.slice(a.number('outputs'))];
      return `[g.clone(memory_format=torch.contiguous_format) for g in torch.autograd.grad([${outputs.join(', ')}], [${inputs.join(', ')}], ${seedText(outputs, a)}, retain_graph=${a.flag('retainGraph') ? 'True' : 'False'})]`;
    },
  },
};

function strict(geometry: Geometry | null): Geometry {
  if (geometry === null) throw new Refused('shape');
  return geometry;
}

/** A view where strides allow it, else a copy under the new shape. */
function reshape(machine: Machine, x: Tensor, sizes: readonly number[]): Tensor {
  if (views.reshaped(x, sizes) !== null) {
    return machine.views('view', x, (from) => [strict(views.reshaped(from, sizes))])[0] as Tensor;
  }
  return machine.apply(formulas.reshapedCopy(sizes), [x]);
}

function filling(
  formula: (args: Args) => formulas.Formula,
  ts: Form['ts'],
  python: Form['python'] = ts,
): Form {
  return {
    run(machine, on, args) {
      notExpanded(on[0] as Tensor);
      machine.inPlace(formula(args), on);
    },
    ts,
    python,
  };
}

const formOf = (statement: Statement): Form => {
  const form = forms[statement.op];
  if (form === undefined) throw new Error(`no statement ${statement.op}`);
  return form;
};

/** Runs one statement on the reference. */
export function runStatement(machine: Machine, registers: Map<number, Tensor>, statement: Statement): void {
  const on = statement.on.map((r) => registers.get(r) as Tensor);
  machine.gradMode = statement.noGrad !== true;
  try {
    const results = formOf(statement).run(machine, on, new Args(statement.args)) ?? [];
    statement.out.forEach((r, i) => registers.set(r, results[i] as Tensor));
  } finally {
    machine.gradMode = true;
  }
}

/** One line of TypeScript; `name` spells a register, `declare` a new one. */
export function printTypeScript(
  statement: Statement,
  name: (register: number) => string = (r) => `r${r}`,
  declare = 'const ',
): string {
  const { several, ts } = formOf(statement);
  const call = ts(statement.on.map(name), new Args(statement.args));
  const right = statement.noGrad === true ? `noGrad(() => ${call})` : call;
  if (statement.out.length === 0) return `${right};`;
  const left = statement.out.map(name);
  return `${declare}${several ? `[${left.join(', ')}]` : left[0]} = ${right};`;
}

/** One line of Python. */
export function printPython(statement: Statement): string {
  const { several, python } = formOf(statement);
  const call = python(
    statement.on.map((r) => `r${r}`),
    new Args(statement.args),
  );
  const left = statement.out.map((r) => `r${r}`);
  const line =
    left.length === 0 ? call : `${left.join(', ')}${several && left.length === 1 ? ',' : ''} = ${call}`;
  return statement.noGrad === true ? `with torch.no_grad(): ${line}` : line;
}
