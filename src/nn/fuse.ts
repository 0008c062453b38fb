import { isGradEnabled } from '../autograd/mode.js';
import type { EpilogueActivation } from '../kernels/base/plan.js';
import { hasMask } from '../ops/activation-mask.js';
import { add, relu } from '../ops/index.js';
import { currentScope, isTensor } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { Hardswish, ReLU, ReLU6, SiLU } from './activation.js';
import { asOne, internals, isObserved } from './call.js';
import { Conv2d } from './conv.js';
import type { Module, TensorModule } from './module.js';
import { BatchNorm2d } from './norm.js';

/** An activation layer, or the function for models that hold none. */
export type TailActivation = TensorModule | 'relu' | null;

/** What follows the last layer. */
export interface Tail {
  /** Added to the last layer's result. */
  readonly residual?: Tensor | null;
  /** Applied to that. */
  readonly activation?: TailActivation;
}

/** @internal Nobody is told of `module`'s calls. */
export function isUnseen(module: Module): boolean {
  if (isObserved()) return false;
  const { preHooks, forwardHooks, backwardHooks } = module[internals];
  return preHooks.list.length + forwardHooks.list.length + backwardHooks.list.length === 0;
}

/** @internal `module` if it is of this very class and nobody can see, or has changed, what it does. */
export function plain<M extends Module>(
  module: Module | undefined,
  type: abstract new (...args: never[]) => M,
): M | null {
  if (module === undefined || module.constructor !== type || Object.hasOwn(module, 'forward')) return null;
  return isUnseen(module) ? (module as M) : null;
}

type FusedActivation = Exclude<EpilogueActivation, 'none'>;

const fusedLayers = [
  [ReLU, 'relu'],
  [ReLU6, 'relu6'],
  [SiLU, 'silu'],
  [Hardswish, 'hardswish'],
] as const;

function fusedActivation(module: TailActivation | undefined): FusedActivation | null {
  if (module === 'relu') return 'relu';
  if (module === null || module === undefined) return null;
  return fusedLayers.find(([type]) => plain(module, type))?.[1] ?? null;
}

const wantsGrad = (...tensors: readonly (Tensor | null | undefined)[]): boolean =>
  isGradEnabled() && tensors.some((tensor) => tensor?.requiresGrad === true);

const isImages = (x: unknown): boolean => isTensor(x) && x.ndim === 4 && x.dtype === 'float32';

/** One step of {@link runLayers}: its result, the layers it covers, and what it leaves of the tail. */
interface Step {
  readonly result: Tensor;
  readonly count: number;
  readonly tail: Tail;
}

function step(x: Tensor, layers: readonly TensorModule[], at: number, tail: Tail): Step {
  const layer = layers[at] as TensorModule;
  const unfused = (): Step => ({ result: layer(x), count: 1, tail });
  if (!isImages(x)) return unfused();
  const conv = plain(layer, Conv2d);
  const norm = plain(layers[conv ? at + 1 : at], BatchNorm2d);
  if (!conv && !norm) return unfused();

  let count = (conv ? 1 : 0) + (norm ? 1 : 0);
  const last = at + count === layers.length;
  let residual = last ? (tail.residual ?? null) : null;
  if (residual !== null && residual.dtype !== 'float32') residual = null;

  // In evaluation the convolution takes the norm along.
  const recorded = conv === null || wantsGrad(x, conv.weight, conv.bias, norm?.weight, norm?.bias, residual);
  const map = norm === null || recorded ? null : norm.affineMap();
  const inOne = conv !== null && map !== null && map.scale.numel() === conv.weight.shape[0];
  const fusible = (module: TailActivation | undefined): FusedActivation | null => {
    const found = fusedActivation(module);
    return found !== null && (hasMask(found) || inOne || (norm === null && !recorded)) ? found : null;
  };

  let activation = fusible(layers[at + count]);
  let rest = tail;
  if (activation !== null) count++;
  else if (last && (residual !== null || !tail.residual)) {
    activation = fusible(tail.activation);
    rest = activation === null ? { activation: tail.activation ?? null } : {};
  }
  const after = { residual, activation: activation ?? ('none' as const) };
  const sums = residual !== null || activation !== null;
  const done = (result: Tensor): Step => ({ result, count, tail: rest });
  const fused = (skip: number, fn: () => Tensor): Tensor => asOne(layers.slice(at + skip, at + count), fn);
  if (inOne) return done(fused(0, () => conv.forwardThen(x, { ...map, ...after })));
  if (norm === null) return sums && conv ? done(fused(0, () => conv.forwardThen(x, after))) : unfused();
  const masked = { residual, activation: hasMask(after.activation) ? after.activation : ('none' as const) };
  if (conv === null) return sums ? done(fused(0, () => norm.forwardThen(x, masked))) : unfused();
  const y = conv(x);
  const result = sums ? fused(1, () => norm.forwardThen(y, masked)) : norm(y);
  dropTemporary(y);
  return done(result);
}

/**
 * @internal `activation(layers(x) + residual)`, layer after layer as Sequential does, in as few launches as give the same: in
 * evaluation a convolution takes the batch norm, residual and (clipped) ReLU behind it along, and in training the norm takes the latter
 * two. Layers with hooks, subclasses, replaced ones and those under observation are called one by one.
 */
export function runLayers(x: Tensor, layers: readonly TensorModule[], tail: Tail = {}): Tensor {
  let value = x;
  let rest = tail;
  for (let at = 0; at < layers.length;) {
    const before = value;
    const done = step(before, layers, at, rest);
    at += done.count;
    rest = done.tail;
    value = done.result;
    if (before !== x && before !== value && isTensor(value)) dropTemporary(before);
  }
  return finish(value, rest);
}

function finish(x: Tensor, { residual = null, activation = null }: Tail): Tensor {
  const sum = residual === null ? x : add(x, residual);
  if (activation === null) return sum;
  return activation === 'relu' ? relu(sum) : activation(sum);
}

/** Frees what a layer returned, if it was made in the open scope and nobody kept it. */
function dropTemporary(tensor: unknown): void {
  if (!isTensor(tensor) || tensor.isKept || tensor.isDisposed) return;
  if (currentScope()?.made.includes(tensor)) tensor.disposeBy('Sequential, once the next module had run');
}
