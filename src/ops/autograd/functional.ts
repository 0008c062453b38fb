/** `torch.autograd.functional`. */
import { enableGrad } from '../../autograd/mode.js';
import { optionReader } from '../../tensor/options.js';
import { showShape } from '../../tensor/shape.js';
import { isTensor, type Tensor } from '../../tensor/tensor.js';
import { scoped } from '../../tensor/tidy.js';
import { grad } from './autograd.js';
import { onesLike, zeros, zerosLike } from '../creation/creation.js';
import { stack } from '../shape/join.js';
import { detach, reshape, select, viewAs } from '../base/view.js';

type Tensors = Tensor | readonly Tensor[];
/** One tensor for one tensor, a list for a list. */
type Like<I extends Tensors> = I extends Tensor ? Tensor : Tensor[];
type Fn = (...inputs: Tensor[]) => Tensors;

export interface FunctionalOptions {
  /** Results can be differentiated again. Default false. */
  createGraph?: boolean;
  /** An error where outputs do not depend on an input, instead of zeros. Default false. */
  strict?: boolean;
}
export interface JacobianOptions extends FunctionalOptions {
  /** Accepted for PyTorch's sake: rows are computed one after another either way. */
  vectorize?: boolean;
  /** Accepted for PyTorch's sake, and only as 'reverse-mode'. */
  strategy?: 'reverse-mode';
  /** `hessian`: the same for the derivative outside. */
  outerJacobianStrategy?: 'reverse-mode';
}

const defaults = { createGraph: false, strict: false };
const readers = {
  vjp: optionReader('vjp', { v: null as Tensors | null, ...defaults }, 'v', 'createGraph', 'strict'),
  jvp: optionReader('jvp', { v: null as Tensors | null, ...defaults }, 'v', 'createGraph', 'strict'),
  vhp: optionReader('vhp', { v: null as Tensors | null, ...defaults }, 'v', 'createGraph', 'strict'),
  hvp: optionReader('hvp', { v: null as Tensors | null, ...defaults }, 'v', 'createGraph', 'strict'),
  jacobian: optionReader<Required<Omit<JacobianOptions, 'outerJacobianStrategy'>>>(
    'jacobian',
    { ...defaults, vectorize: false, strategy: 'reverse-mode' },
    'createGraph',
    'strict',
    'vectorize',
  ),
  hessian: optionReader<Required<Omit<JacobianOptions, 'strategy'>>>(
    'hessian',
    { ...defaults, vectorize: false, outerJacobianStrategy: 'reverse-mode' },
    'createGraph',
    'strict',
    'vectorize',
  ),
};

const listOf = (x: Tensors): Tensor[] => (isTensor(x) ? [x] : [...x]);
const like = <I extends Tensors>(given: I, list: Tensor[]): Like<I> =>
  (isTensor(given) ? list[0] : list) as Like<I>;

/** Inputs of a graph of its own: with `createGraph` on the caller's tape, else cut off from it. */
const prepared = (inputs: readonly Tensor[], createGraph: boolean): Tensor[] =>
  inputs.map((x) => (createGraph && x.requiresGrad ? viewAs(x, x) : detach(x).requiresGrad_()));

const finished = (results: readonly Tensor[], createGraph: boolean): Tensor[] =>
  createGraph ? [...results] : results.map((result) => detach(result));

function runFn(op: string, fn: Fn, inputs: Tensor[], strict: boolean): { given: Tensors; outputs: Tensor[] } {
  const given = fn(...inputs);
  const outputs = listOf(given);
  for (const [i, y] of outputs.entries()) {
    if (!isTensor(y)) throw new Error(`${op}: the function must return tensors, got ${typeof y}`);
    if (strict && !y.requiresGrad)
      throw new Error(`${op}: output ${i} does not depend on the inputs, which strict does not allow`);
  }
  return { given, outputs };
}

/** Gradients, zeros where outputs do not depend on an input. */
function gradients(
  op: string,
  outputs: readonly Tensor[],
  inputs: readonly Tensor[],
  seeds: readonly Tensor[] | null,
  strict: boolean,
  createGraph: boolean,
): Tensor[] {
  const roots = [...outputs.keys()].filter((i) => outputs[i]?.requiresGrad);
  const found =
    roots.length === 0
      ? inputs.map(() => null)
      : grad(
          roots.map((i) => outputs[i] as Tensor),
          inputs,
          {
            ...(seeds && { gradOutputs: roots.map((i) => seeds[i] as Tensor) }),
            createGraph,
            retainGraph: true,
            allowUnused: true,
          },
        );
  return found.map((g, i) => {
    if (g !== null) return g;
    if (strict)
      throw new Error(`${op}: the outputs do not depend on input ${i}, which strict does not allow`);
    return zerosLike(inputs[i] as Tensor);
  });
}

/** `v` for tensors that it must fit; ones for a single number. */
function vectorFor(op: string, v: Tensors | null, of: readonly Tensor[], what: string): Tensor[] {
  if (v === null) {
    const [only] = of;
    if (of.length !== 1 || only?.numel() !== 1)
      throw new Error(`${op}: v can be left out only where the ${what} is one tensor of one element`);
    return [onesLike(only)];
  }
  const list = listOf(v);
  const shapes = (tensors: readonly Tensor[]): string => tensors.map((x) => showShape(x.shape)).join(', ');
  if (shapes(list) !== shapes(of))
    throw new Error(`${op}: v has shape ${shapes(list)}, the ${what} ${shapes(of)}; they must be the same`);
  return list;
}

function single(op: string, given: Tensors): Tensor {
  if (!isTensor(given) || given.numel() !== 1)
    throw new Error(`${op}: the function must return one tensor of one element`);
  return given;
}

type VectorArgs =
  [v?: Tensors | null, options?: FunctionalOptions] | [options?: FunctionalOptions & { v?: Tensors }];

/**
 * `torch.autograd.functional.vjp`: the function's outputs, and the product of `v` (like the outputs) and its
 * Jacobian, like the inputs.
 */
export function vjp<I extends Tensors>(
  fn: Fn,
  inputs: I,
  ...args: VectorArgs
): [outputs: Tensors, vjp: Like<I>] {
  const { v, createGraph, strict } = readers.vjp(args);
  return scoped('vjp', () =>
    enableGrad(() => {
      const leaves = prepared(listOf(inputs), createGraph);
      const { given, outputs } = runFn('vjp', fn, leaves, strict);
      const seeds = vectorFor('vjp', v, outputs, 'output');
      const products = gradients('vjp', outputs, leaves, seeds, strict, createGraph);
      return [like(given, finished(outputs, createGraph)), like(inputs, finished(products, createGraph))];
    }),
  );
}

/**
 * The product of a Jacobian and `v`, by differentiating a vector-Jacobian product with respect to its
 * vector.
 */
function forwardProduct(
  op: string,
  outputs: readonly Tensor[],
  leaves: readonly Tensor[],
  v: readonly Tensor[],
  strict: boolean,
  createGraph: boolean,
): Tensor[] {
  const seeds = outputs.map((y) => zeros(y.shape, { dtype: y.dtype }).requiresGrad_());
  const back = gradients(op, outputs, leaves, seeds, strict, true);
  return gradients(op, back, seeds, v, strict, createGraph);
}

/**
 * `torch.autograd.functional.jvp`: the function's outputs, and the product of its Jacobian and `v` (like the
 * inputs), like the outputs.
 */
export function jvp(fn: Fn, inputs: Tensors, ...args: VectorArgs): [outputs: Tensors, jvp: Tensors] {
  const { v, createGraph, strict } = readers.jvp(args);
  return scoped('jvp', () =>
    enableGrad(() => {
      const leaves = prepared(listOf(inputs), createGraph);
      const along = vectorFor('jvp', v, leaves, 'input');
      const { given, outputs } = runFn('jvp', fn, leaves, strict);
      const products = forwardProduct('jvp', outputs, leaves, along, strict, createGraph);
      return [like(given, finished(outputs, createGraph)), like(given, finished(products, createGraph))];
    }),
  );
}

/** `torch.autograd.functional.vhp`: the value of a function of one number, and `v` times its Hessian. */
export function vhp<I extends Tensors>(
  fn: Fn,
  inputs: I,
  ...args: VectorArgs
): [output: Tensor, vhp: Like<I>] {
  return secondOrder('vhp', fn, inputs, readers.vhp(args), (first, leaves, v, strict, createGraph) =>
    gradients('vhp', first, leaves, v, strict, createGraph),
  );
}

/** `torch.autograd.functional.hvp`: the value of a function of one number, and its Hessian times `v`. */
export function hvp<I extends Tensors>(
  fn: Fn,
  inputs: I,
  ...args: VectorArgs
): [output: Tensor, hvp: Like<I>] {
  return secondOrder('hvp', fn, inputs, readers.hvp(args), (first, leaves, v, strict, createGraph) =>
    forwardProduct('hvp', first, leaves, v, strict, createGraph),
  );
}

function secondOrder<I extends Tensors>(
  op: string,
  fn: Fn,
  inputs: I,
  { v, createGraph, strict }: { v: Tensors | null; createGraph: boolean; strict: boolean },
  product: (
    first: Tensor[],
    leaves: Tensor[],
    v: Tensor[],
    strict: boolean,
    createGraph: boolean,
  ) => Tensor[],
): [Tensor, Like<I>] {
  return scoped(op, () =>
    enableGrad(() => {
      const leaves = prepared(listOf(inputs), createGraph);
      const along = vectorFor(op, v, leaves, 'input');
      const { given, outputs } = runFn(op, fn, leaves, strict);
      single(op, given);
      const first = gradients(op, outputs, leaves, null, strict, true);
      const products = product(first, leaves, along, strict, createGraph);
      return [finished(outputs, createGraph)[0] as Tensor, like(inputs, finished(products, createGraph))];
    }),
  );
}

/** Of outputs and inputs: a tensor, or lists where lists were given. */
export type Jacobian = Tensor | Tensor[] | Tensor[][];

/** One block [...output, ...input] per output and input: a backward per element of the outputs. */
function blocks(
  op: string,
  outputs: readonly Tensor[],
  leaves: readonly Tensor[],
  strict: boolean,
  createGraph: boolean,
): Tensor[][] {
  return outputs.map((y) => {
    const flat = reshape(y, [-1]);
    const rows = Array.from({ length: y.numel() }, (_, i) =>
      gradients(op, [select(flat, 0, i)], leaves, null, strict, createGraph),
    );
    return leaves.map((x, j) => {
      if (rows.length === 0) return zeros([...y.shape, ...x.shape], { dtype: x.dtype });
      return reshape(stack(rows.map((row) => row[j] as Tensor)), [...y.shape, ...x.shape]);
    });
  });
}

/**
 * `torch.autograd.functional.jacobian`: of outputs [...O] by inputs [...I] a tensor [...O, ...I], or lists
 * of them (by outputs, then by inputs) where the function returns or takes lists.
 */
export function jacobian(
  fn: Fn,
  inputs: Tensors,
  ...args: [options?: JacobianOptions] | [createGraph: boolean, options?: JacobianOptions]
): Jacobian {
  const { createGraph, strict, strategy } = readers.jacobian(args);
  checkStrategy('jacobian', strategy);
  return scoped('jacobian', () =>
    enableGrad(() => {
      const leaves = prepared(listOf(inputs), createGraph);
      const { given, outputs } = runFn('jacobian', fn, leaves, strict);
      const rows = blocks('jacobian', outputs, leaves, strict, createGraph).map((row) =>
        like(inputs, finished(row, createGraph)),
      );
      return (isTensor(given) ? rows[0] : rows) as Jacobian;
    }),
  );
}

function checkStrategy(op: string, strategy: string): void {
  if (strategy !== 'reverse-mode')
    throw new Error(`${op}: only the strategy 'reverse-mode' is there, got '${String(strategy)}'`);
}

/**
 * `torch.autograd.functional.hessian`: of a function of one number, a tensor [...I, ...I], or lists of lists
 * where it takes a list.
 */
export function hessian(
  fn: Fn,
  inputs: Tensors,
  ...args: [options?: JacobianOptions] | [createGraph: boolean, options?: JacobianOptions]
): Jacobian {
  const { createGraph, strict, outerJacobianStrategy } = readers.hessian(args);
  checkStrategy('hessian', outerJacobianStrategy);
  return scoped('hessian', () =>
    enableGrad(() => {
      const leaves = prepared(listOf(inputs), createGraph);
      const { given, outputs } = runFn('hessian', fn, leaves, strict);
      single('hessian', given);
      const first = gradients('hessian', outputs, leaves, null, strict, true);
      const rows = blocks('hessian', first, leaves, strict, createGraph).map((row) =>
        like(inputs, finished(row, createGraph)),
      );
      return (isTensor(inputs) ? rows[0] : rows) as Jacobian;
    }),
  );
}
