import { readOptions, noMore } from '../../tensor/options.js';
import { currentInterceptor, isGradEnabled } from '../../autograd/mode.js';
import type { EpilogueActivation } from '../../kernels/base/plan.js';
import type { ConvEpilogue } from '../../ops/conv/conv.js';
import { add, relu } from '../../ops/index.js';
import { currentScope } from '../../tensor/scope.js';
import { isTensor, type Tensor } from '../../tensor/tensor.js';
import { asOne, internals, isObserved } from './call.js';
import type { Module, TensorModule } from './module.js';

/** What follows the last layer of {@link fused}. */
export interface FusedOptions {
  /** Added to the last layer's result, by the rules of `add`. */
  residual?: Tensor | null;
  /** Applied to that: an activation layer, or the name for models that hold none. */
  activation?: TensorModule | 'relu' | null;
}

/** @internal What a layer applies to its result: `activation(result * scale + shift + residual)`. */
export type After = ConvEpilogue;
/** @internal A factor and a shift per channel. */
export type ChannelMap = Required<Pick<After, 'scale' | 'shift'>>;

/**
 * @internal What a class of layers can do to run as one with those beside it, declared as its static
 * `fusion`. It is about the class's own forward: a subclass or an object that replaces it is called as it is.
 */
export interface Fusion<M extends Module = never> {
  /** The layer is this activation. */
  readonly activation?: Exclude<EpilogueActivation, 'none'>;
  /** The layer as a map of channels where it is one just now and records no gradient. */
  readonly channelMap?: (layer: M) => ChannelMap | null;
  /** The layer, of float32 images [N, C, H, W], with `after` in its own launches: where `takes` says so. */
  readonly then?: (layer: M, x: Tensor, after: After) => Tensor;
  readonly takes?: (layer: M, x: Tensor, after: After) => boolean;
  /** It takes float16 images as well. */
  readonly float16?: boolean;
  /** The layers that it does nothing but call one after another; null where it does more just now. */
  readonly layers?: (layer: M) => readonly TensorModule[] | null;
}

type Declaring = { readonly fusion?: Fusion; readonly prototype: Module };

/** What `module` declares, if nobody can see, or has changed, what its forward does. */
function fusionOf(module: Module): Fusion | null {
  let type = module.constructor as unknown as Declaring;
  const { fusion } = type;
  if (fusion === undefined || isObserved()) return null;
  while (!Object.hasOwn(type, 'fusion')) type = Object.getPrototypeOf(type) as Declaring;
  if (module.forward !== type.prototype.forward) return null;
  const { loading, preHooks, forwardHooks, backwardHooks } = module[internals];
  // Its own call says that it may not be used yet.
  if (loading !== null) return null;
  return preHooks.list.length + forwardHooks.list.length + backwardHooks.list.length === 0 ? fusion : null;
}

/** @internal */
export const wantsGrad = (...tensors: readonly (Tensor | null | undefined)[]): boolean =>
  isGradEnabled() && tensors.some((tensor) => tensor?.requiresGrad === true);

/** Whether a layer with this fusion may take `x` so: autocast chooses the dtypes of convolutions itself. */
const takesImages = (x: Tensor, { float16 = false }: Fusion): boolean =>
  isTensor(x) &&
  x.ndim === 4 &&
  ((x.dtype === 'float16' && float16) || (x.dtype === 'float32' && !currentInterceptor()?.enter));

/**
 * One step of {@link fused}: its result, the layers it covers, and what it leaves of what follows the last.
 */
interface Step {
  readonly result: Tensor;
  readonly count: number;
  readonly rest: FusedOptions;
}

function step(x: Tensor, layers: readonly TensorModule[], at: number, options: FusedOptions): Step {
  const layer = layers[at] as TensorModule;
  const fusion = fusionOf(layer);
  const { then, takes } = (fusion !== null && takesImages(x, fusion) && fusion) || {};
  const unfused = (): Step => ({ result: layer(x), count: 1, rest: options });
  if (then === undefined || takes === undefined) return unfused();
  const takesAlong = (what: After): boolean => takes(layer as never, x, what);

  const { residual } = options;
  const sum = (end: number): After =>
    end === layers.length && residual?.dtype === x.dtype ? { residual } : {};
  let end = at + 1;
  let after = sum(end);
  const next = layers[end];
  const map = next && fusionOf(next)?.channelMap?.(next as never);
  if (map) {
    const mapped = { ...map, ...sum(end + 1) };
    if (takesAlong(mapped)) [after, end] = [mapped, end + 1];
  }

  let rest = options;
  const last = end === layers.length;
  const summed = after.residual !== undefined;
  // The activation that follows the last layer comes after the sum.
  const module = last ? (summed || !residual ? options.activation : null) : layers[end];
  const activation = module === 'relu' ? module : module && fusionOf(module)?.activation;
  if (activation && takesAlong({ ...after, activation })) {
    after = { ...after, activation };
    if (last) rest = {};
    else end++;
  } else if (summed) rest = { activation: options.activation ?? null };
  if (Object.keys(after).length === 0) return unfused();
  const covered = layers.slice(at, end);
  return { result: asOne(covered, () => then(layer as never, x, after)), count: covered.length, rest };
}

/**
 * `activation(layers(x) + residual)`: calls the layers one after another, as Sequential does, in as few
 * launches as give the same. For blocks of your own:
 *
 * ```ts
 * class Block extends nn.Module {
 *   conv1 = new nn.Conv2d(64, 64, 3, { padding: 1, bias: false });
 *   bn1 = new nn.BatchNorm2d(64);
 *   relu = new nn.ReLU();
 *   conv2 = new nn.Conv2d(64, 64, 3, { padding: 1, bias: false });
 *   bn2 = new nn.BatchNorm2d(64);
 *
 *   forward(x: Tensor) {
 *     const y = nn.fused(x, [this.conv1, this.bn1, this.relu]);
 *     return nn.fused(y, [this.conv2, this.bn2], { residual: x, activation: this.relu });
 *   }
 * }
 * ```
 * In evaluation without gradients a Conv2d takes the BatchNorm2d, the residual and the ReLU, ReLU6, SiLU or
 * Hardswish behind it along; otherwise the norm (or a convolution without one) takes the residual and a ReLU
 * or ReLU6. A Sequential before `residual` or `activation` is run layer by layer, so that its last ones take
 * them. Layers that have hooks or a forward of their own are called by themselves, and so is everything that
 * is not of float32 images [N, C, H, W]. Each intermediate result is freed as soon as the next layer has run.
 */
export function fused(x: Tensor, layers: readonly TensorModule[], options: FusedOptions = {}): Tensor {
  noMore('fused', arguments, 3);
  if (!Array.isArray(layers))
    throw new Error(`nn.fused: expected an array of layers, got ${String(layers)}; write fused(x, [layer])`);
  const { residual, activation } = readOptions<Required<FusedOptions>>(
    'nn.fused',
    { residual: null, activation: null },
    options,
  );
  const list = residual || activation ? opened(layers) : layers;
  let value = x;
  let rest = options;
  for (let at = 0; at < list.length;) {
    const before = value;
    const done = step(before, list, at, rest);
    at += done.count;
    rest = done.rest;
    value = done.result;
    if (before !== x && before !== value && isTensor(value)) dropTemporary(before);
  }
  return finish(value, rest);
}

/** With the layers of the last one in its place, and so on, where it does nothing but call them. */
function opened(layers: readonly TensorModule[]): readonly TensorModule[] {
  const last = layers.at(-1);
  const inner = last && fusionOf(last)?.layers?.(last as never);
  return inner ? opened([...layers.slice(0, -1), ...inner]) : layers;
}

function finish(x: Tensor, { residual, activation }: FusedOptions): Tensor {
  const sum = residual ? add(x, residual) : x;
  if (!activation) return sum;
  return activation === 'relu' ? relu(sum) : activation(sum);
}

/** @internal Frees what a layer returned, if it was made in the open scope and nobody kept it. */
export function dropTemporary(tensor: unknown): void {
  if (!isTensor(tensor) || tensor.isKept || tensor.isDisposed) return;
  if (currentScope()?.made.includes(tensor))
    tensor.disposeBy('nn.fused or a Sequential, once the next layer had run');
}
