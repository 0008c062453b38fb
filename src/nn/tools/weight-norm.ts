import { readOptions } from '../../tensor/options.js';
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
import { isTensor, type HookHandle, type Tensor } from '../../tensor/tensor.js';
import { fieldsOf, type Module } from '../base/module.js';
import { Parameter, UninitializedParameter } from '../base/parameter.js';

/** Computes a layer's weight from other parameters, before each of its calls. */
type Compute = (module: Module, training: boolean) => Tensor;

/** The hooks, by layer and name of the weight. */
const hooks = new WeakMap<Module, Map<string, HookHandle>>();

function takeWeight(op: string, module: Module, name: string): Parameter {
  const weight = fieldsOf(module)[name];
  if (hooks.get(module)?.has(name)) throw new Error(`${op}: '${name}' is computed by another norm already`);
  if (!(weight instanceof Parameter) || weight instanceof UninitializedParameter)
    throw new Error(`${op}: ${module.constructor.name} has no parameter '${name}' with values yet`);
  Reflect.deleteProperty(module, name);
  return weight;
}

function install(module: Module, name: string, compute: Compute): void {
  const set = (on: Module, training: boolean): void => {
    const fields = fieldsOf(on);
    const before = fields[name];
    fields[name] = compute(on, training).keep();
    // What the tape needs of it, it holds itself.
    if (isTensor(before)) before.dispose();
  };
  set(module, false);
  const handle = module.registerForwardPreHook((on: Module) => set(on, on.training));
  const known = hooks.get(module) ?? new Map<string, HookHandle>();
  hooks.set(module, known.set(name, handle));
}

/** Takes the hook off; the weight is a parameter again, with the value that it has. */
function uninstall(
  op: string,
  module: Module,
  name: string,
  compute: Compute,
  parts: readonly string[],
): void {
  const handle = hooks.get(module)?.get(name);
  if (handle === undefined || !parts.every((part) => fieldsOf(module)[name + part] !== undefined))
    throw new Error(`${op}: '${name}' of ${module.constructor.name} has no such norm`);
  handle.remove();
  hooks.get(module)?.delete(name);
  const fields = fieldsOf(module);
  const weight = noGrad(() => compute(module, false));
  for (const part of ['', ...parts]) {
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

const dims = new WeakMap<Module, Map<string, number | null>>();

/**
 * `torch.nn.utils.weight_norm` (Salimans & Kingma 2016, https://arxiv.org/abs/1602.07868): the parameter
 * `name` becomes two, its length `weight_g` (per index of `dim`; null for one length) and its direction
 * `weight_v`. Returns the module.
 */
export function weightNorm<M extends Module>(module: M, name = 'weight', dim: number | null = 0): M {
  const weight = takeWeight('weightNorm', module, name);
  const fields = fieldsOf(module);
  const length = noGrad(() => normExcept(weight, dim));
  fields[`${name}G`] = new Parameter(length);
  length.dispose();
  fields[`${name}V`] = weight;
  dims.set(module, (dims.get(module) ?? new Map<string, number | null>()).set(name, dim));
  install(module, name, weightOf(name, dim));
  return module;
}

/** `torch.nn.utils.remove_weight_norm`. */
export function removeWeightNorm<M extends Module>(module: M, name = 'weight'): M {
  const dim = dims.get(module)?.get(name) ?? null;
  uninstall('removeWeightNorm', module, name, weightOf(name, dim), ['G', 'V']);
  return module;
}

export interface SpectralNormOptions {
  /** Default 1. */
  nPowerIterations?: number;
  eps?: number;
  /** The dim of the outputs; default 0, for transposed convolutions 1. */
  dim?: number;
}

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

const spectrals = new WeakMap<Module, Map<string, Compute>>();

/**
 * `torch.nn.utils.spectral_norm` (Miyato et al. 2018, https://arxiv.org/abs/1802.05957): the parameter
 * `name` is divided by its largest singular value, which a power iteration follows in training. Returns the
 * module.
 */
export function spectralNorm<M extends Module>(
  module: M,
  name = 'weight',
  options: SpectralNormOptions = {},
): M {
  const { nPowerIterations, eps, dim } = readOptions<Required<SpectralNormOptions>>(
    'spectralNorm',
    { nPowerIterations: 1, eps: 1e-12, dim: /Transpose/.test(module.constructor.name) ? 1 : 0 },
    options,
  );
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
  spectrals.set(module, (spectrals.get(module) ?? new Map<string, Compute>()).set(name, compute));
  install(module, name, compute);
  return module;
}

/** `torch.nn.utils.remove_spectral_norm`. */
export function removeSpectralNorm<M extends Module>(module: M, name = 'weight'): M {
  const compute = spectrals.get(module)?.get(name);
  if (compute === undefined)
    throw new Error(`removeSpectralNorm: '${name}' of ${module.constructor.name} has no such norm`);
  uninstall('removeSpectralNorm', module, name, compute, ['Orig', 'U', 'V']);
  return module;
}
