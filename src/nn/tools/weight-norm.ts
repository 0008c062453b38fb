import { optionReader, type Trailing, noMore } from '../../tensor/options.js';
import { noGrad } from '../../autograd/mode.js';
import {
  clone,
  copy_,
  div,
  dot,
  mul,
  mv,
  norm,
  normalize,
  permute,
  randn,
  reshape,
  transpose,
} from '../../ops/index.js';
import { tidy } from '../../tensor/tidy.js';
import { isTensor, type Tensor } from '../../tensor/tensor.js';
import { internals, type ForwardPreHook } from '../base/call.js';
import { fieldsOf, type Module } from '../base/module.js';
import { Parameter, UninitializedParameter } from '../base/parameter.js';

/** Computes a layer's weight from other parameters, before each of its calls. */
type Compute = (module: Module, training: boolean) => Tensor;

/** A hook that sets `name` to what `compute` makes of the fields `name` with each of `parts` behind. */
interface Norm {
  readonly kind: 'weightNorm' | 'spectralNorm';
  readonly name: string;
  readonly compute: Compute;
  readonly parts: readonly string[];
}

/** By their hooks, which copies of a module have too. */
const norms = new WeakMap<ForwardPreHook, Norm>();

const hookOf = (module: Module, name: string): ForwardPreHook | undefined =>
  module[internals].preHooks.list.find((hook) => norms.get(hook)?.name === name);

function takeWeight(op: string, module: Module, name: string): Parameter {
  const weight = fieldsOf(module)[name];
  if (hookOf(module, name)) throw new Error(`${op}: '${name}' is computed by another norm already`);
  if (!(weight instanceof Parameter) || weight instanceof UninitializedParameter)
    throw new Error(`${op}: ${module.constructor.name} has no parameter '${name}' with values yet`);
  Reflect.deleteProperty(module, name);
  // What is computed is a plain tensor.
  module[internals].parameters.delete(name);
  return weight;
}

function install(module: Module, norm: Norm): void {
  const set = (on: Module, training: boolean): void => {
    const fields = fieldsOf(on);
    const before = fields[norm.name];
    fields[norm.name] = norm.compute(on, training).keep();
    // What the tape needs of it, it holds itself.
    if (isTensor(before)) before.dispose();
  };
  set(module, false);
  const hook: ForwardPreHook = (on) => set(on as Module, (on as Module).training);
  norms.set(hook, norm);
  module[internals].preHooks.add(hook);
}

/** Takes the hook off; the weight is a parameter again, with the value that it has. */
function uninstall(op: string, kind: Norm['kind'], module: Module, name: string): void {
  const hook = hookOf(module, name);
  const norm = hook && norms.get(hook);
  if (norm?.kind !== kind) throw new Error(`${op}: '${name}' of ${module.constructor.name} has no such norm`);
  const { list } = module[internals].preHooks;
  list.splice(list.indexOf(hook as ForwardPreHook), 1);
  const fields = fieldsOf(module);
  const weight = noGrad(() => norm.compute(module, false));
  for (const part of ['', ...norm.parts]) {
    (fields[name + part] as Tensor).dispose();
    Reflect.deleteProperty(module, name + part);
  }
  fields[name] = new Parameter(weight);
  weight.dispose();
}

const normExcept = (v: Tensor, dim: number | null): Tensor =>
  norm(v, {
    ...(dim !== null && { dim: v.shape.map((_, d) => d).filter((d) => d !== (dim + v.ndim) % v.ndim) }),
    keepdim: dim !== null,
  });

const weightOf =
  (name: string, dim: number | null): Compute =>
  (module) =>
    tidy(() => {
      const v = fieldsOf(module)[`${name}V`] as Tensor;
      return mul(v, div(fieldsOf(module)[`${name}G`] as Tensor, normExcept(v, dim)));
    });

export interface WeightNormOptions {
  /** Which parameter. Default `'weight'`. */
  name?: string;
  /** The dim of the outputs, which have a length each; null for one length. Default 0. */
  dim?: number | null;
}

const readWeightNorm = optionReader<Required<WeightNormOptions>>(
  'weightNorm',
  { name: 'weight', dim: 0 },
  'name',
  'dim',
);

/**
 * `torch.nn.utils.weight_norm` (Salimans & Kingma 2016, https://arxiv.org/abs/1602.07868): the parameter
 * `name` becomes two, its length `weight_g` (per index of `dim`; null for one length) and its direction
 * `weight_v`. Returns the module.
 */
export function weightNorm<M extends Module>(
  module: M,
  ...args: Trailing<[name: string, dim: number | null], WeightNormOptions>
): M {
  const { name, dim } = readWeightNorm(args);
  const weight = takeWeight('weightNorm', module, name);
  const fields = fieldsOf(module);
  const length = noGrad(() => normExcept(weight, dim));
  fields[`${name}G`] = new Parameter(length);
  length.dispose();
  fields[`${name}V`] = weight;
  install(module, { kind: 'weightNorm', name, compute: weightOf(name, dim), parts: ['G', 'V'] });
  return module;
}

/** `torch.nn.utils.remove_weight_norm`. */
export function removeWeightNorm<M extends Module>(module: M, name = 'weight'): M {
  noMore('removeWeightNorm', arguments, 2);
  uninstall('removeWeightNorm', 'weightNorm', module, name);
  return module;
}

export interface SpectralNormOptions {
  /** Which parameter. Default `'weight'`. */
  name?: string;
  /** Default 1. */
  nPowerIterations?: number;
  eps?: number;
  /** The dim of the outputs; default 0, for transposed convolutions 1. */
  dim?: number | null;
}

const readSpectralNorm = optionReader<Required<SpectralNormOptions>>(
  'spectralNorm',
  { name: 'weight', nPowerIterations: 1, eps: 1e-12, dim: null },
  'name',
  'nPowerIterations',
  'eps',
  'dim',
);

function matrixOf(weight: Tensor, dim: number): Tensor {
  const order = [dim, ...weight.shape.map((_, d) => d).filter((d) => d !== dim)];
  return reshape(dim === 0 ? weight : permute(weight, ...order), [weight.shape[dim] as number, -1]);
}

const spectral =
  (name: string, rounds: number, eps: number, dim: number): Compute =>
  (module, training) =>
    tidy(() => {
      const fields = fieldsOf(module);
      const weight = fields[`${name}Orig`] as Tensor;
      const [u, v] = [fields[`${name}U`] as Tensor, fields[`${name}V`] as Tensor];
      const matrix = matrixOf(weight, dim);
      if (training)
        noGrad(() => {
          for (let round = 0; round < rounds; round++) {
            copy_(v, normalize(mv(transpose(matrix, 0, 1), u), { dim: 0, eps }));
            copy_(u, normalize(mv(matrix, v), { dim: 0, eps }));
          }
        });
      // The next call changes them, while this one's gradient may still wait.
      return div(weight, dot(clone(u), mv(matrix, clone(v))));
    });

/**
 * `torch.nn.utils.spectral_norm` (Miyato et al. 2018, https://arxiv.org/abs/1802.05957): the parameter
 * `name` is divided by its largest singular value, which a power iteration follows in training. Returns the
 * module.
 */
export function spectralNorm<M extends Module>(
  module: M,
  ...args: Trailing<
    [name: string, nPowerIterations: number, eps: number, dim: number | null],
    SpectralNormOptions
  >
): M {
  const { name, nPowerIterations, eps, dim: given } = readSpectralNorm(args);
  const dim = given ?? (/Transpose/.test(module.constructor.name) ? 1 : 0);
  if (!Number.isInteger(nPowerIterations) || nPowerIterations < 1)
    throw new Error(`spectralNorm: nPowerIterations must be a positive integer, got ${nPowerIterations}`);
  const weight = takeWeight('spectralNorm', module, name);
  fieldsOf(module)[`${name}Orig`] = weight;
  noGrad(() => {
    const [rows, columns] = tidy(() => matrixOf(weight, dim)).shape as [number, number];
    module.registerBuffer(
      `${name}U`,
      tidy(() => normalize(randn(rows), { dim: 0, eps })),
    );
    module.registerBuffer(
      `${name}V`,
      tidy(() => normalize(randn(columns), { dim: 0, eps })),
    );
  });
  const compute = spectral(name, nPowerIterations, eps, dim);
  install(module, { kind: 'spectralNorm', name, compute, parts: ['Orig', 'U', 'V'] });
  return module;
}

/** `torch.nn.utils.remove_spectral_norm`. */
export function removeSpectralNorm<M extends Module>(module: M, name = 'weight'): M {
  noMore('removeSpectralNorm', arguments, 2);
  uninstall('removeSpectralNorm', 'spectralNorm', module, name);
  return module;
}
