import {
  currentInterceptor,
  inModeOf,
  interceptedBy,
  isGradEnabled,
  type Interceptor,
  type ModeGuard,
} from '../autograd/mode.js';
import { currentSaver } from '../autograd/recompute.js';
import { runtime } from '../device/index.js';
import { to } from '../ops/base/copy.js';
import { isFloatingPoint, type DType } from '../tensor/dtype.js';
import { isPlainObject, readOptions, requireBoolean, noMore } from '../tensor/options.js';
import { isTensor, type Tensor } from '../tensor/tensor.js';
import { scoped } from '../tensor/tidy.js';
import { policies, type Policy } from './op-lists.js';

export interface AutocastOptions {
  /** What products and convolutions run in. Default, and so far the only choice: `'float16'`. */
  dtype?: 'float16';
  /** false: everything inside runs as it would without autocast. Default true. */
  enabled?: boolean;
  /** Whether a float32 parameter that is used more than once is cast only once. Default true. */
  cacheEnabled?: boolean;
}

interface Cached {
  readonly version: number;
  readonly cast: Tensor;
}

/** Casts of parameters, for as long as the outermost region lasts. */
class CastCache {
  private readonly casts = new Map<Tensor, Cached>();
  /** Regions that have not ended. */
  private regions = 0;

  begin(): void {
    this.regions++;
  }

  end(): void {
    if (--this.regions === 0) this.clear();
  }

  clear(): void {
    for (const { cast } of this.casts.values()) cast.dispose();
    this.casts.clear();
  }

  cast(x: Tensor, dtype: DType): Tensor {
    // What a checkpoint records must come again when it runs anew, after the region.
    if (this.regions === 0 || currentSaver() !== null) return to(x, dtype);
    const known = this.casts.get(x);
    const { version } = x.storage;
    // Made where nothing was recorded, it has no way back to the parameter.
    const fits = known?.version === version && (known.cast.requiresGrad || !isGradEnabled());
    if (known !== undefined && fits && !known.cast.isDisposed) return known.cast;
    known?.cast.dispose();
    const cast = to(x, dtype).keep();
    this.casts.set(x, { version, cast });
    return cast;
  }
}

/** Float tensors among an op's arguments, in lists and options too, cast by `cast`. */
function mapTensors(value: unknown, cast: (x: Tensor) => Tensor): unknown {
  if (isTensor(value)) return isFloatingPoint(value.dtype) ? cast(value) : value;
  if (Array.isArray(value)) return mapItems(value as readonly unknown[], cast);
  if (!isPlainObject(value)) return value;
  const mapped: Record<string, unknown> = {};
  let changed = false;
  for (const [key, item] of Object.entries(value)) {
    mapped[key] = mapTensors(item, cast);
    changed ||= mapped[key] !== item;
  }
  return changed ? mapped : value;
}

function mapItems(items: readonly unknown[], cast: (x: Tensor) => Tensor): readonly unknown[] {
  let mapped: unknown[] | null = null;
  for (let i = 0; i < items.length; i++) {
    const item = mapTensors(items[i], cast);
    if (item !== items[i]) (mapped ??= [...items])[i] = item;
  }
  return mapped ?? items;
}

const namesDtype = (args: readonly unknown[]): boolean =>
  args.some((arg) => isPlainObject(arg) && (arg['dtype'] ?? null) !== null);

function hasFloat32(args: readonly unknown[]): boolean {
  let found = false;
  mapItems(args, (x) => {
    found ||= x.dtype === 'float32';
    return x;
  });
  return found;
}

class Region implements Interceptor {
  readonly enter: Interceptor['enter'];
  private readonly cache: CastCache;

  constructor(
    dtype: DType,
    enabled: boolean,
    readonly caches: boolean,
    outer: Interceptor | null,
  ) {
    this.cache = outer instanceof Region ? outer.cache : new CastCache();
    this.cache.begin();
    const lower = (x: Tensor): Tensor => (x.dtype === 'float32' ? this.lower(x, dtype) : x);
    const raise = (x: Tensor): Tensor => to(x, 'float32');
    const castsFor: Readonly<Record<Policy, (args: readonly unknown[]) => ((x: Tensor) => Tensor) | null>> = {
      lower: () => lower,
      float32: () => raise,
      float32Default: (args) => (namesDtype(args) ? null : raise),
      widest: (args) => (hasFloat32(args) ? raise : null),
      refused: () => null,
    };
    this.enter = !enabled
      ? null
      : (name, op, args) => {
          const policy = policies.get(name);
          if (policy === undefined) return undefined;
          if (policy === 'refused') throw new Error(refusal(name));
          const cast = castsFor[policy](args);
          // Ops inside are part of this one.
          return interceptedBy(null, () =>
            scoped(name, () => op(...((cast === null ? args : mapItems(args, cast)) as never[]))),
          );
        };
  }

  /** Parameters are cast once, activations each time. */
  private lower(x: Tensor, dtype: DType): Tensor {
    const lasts = this.caches && x.requiresGrad && x.isLeaf && x.viewOf === null;
    return lasts ? this.cache.cast(x, dtype) : to(x, dtype);
  }

  end(): void {
    this.cache.end();
  }

  clear(): void {
    this.cache.clear();
  }
}

const refusal = (name: string): string =>
  `${name}: is unsafe to autocast, since logarithms of float16 probabilities overflow. Drop the sigmoid before it and ` +
  'use binaryCrossEntropyWithLogits (BCEWithLogitsLoss), or call it inside amp.autocast({ enabled: false }) on float32 tensors';

function checkDtype(dtype: unknown): asserts dtype is 'float16' {
  if (dtype === 'float16') return;
  const name = String(dtype);
  throw new Error(
    name === 'bfloat16'
      ? "amp.autocast: WGSL has no bfloat16, so that a GPU could only imitate it at float32's cost; use { dtype: 'float16' } " +
          'and scale the loss with amp.GradScaler'
      : `amp.autocast: dtype must be 'float16', got '${name}'`,
  );
}

/**
 * `torch.autocast` ({@link https://pytorch.org/docs/stable/amp.html}; Micikevicius et al. 2018,
 * https://arxiv.org/abs/1710.03740): inside, products and convolutions run in float16 (their sums in
 * float32), and what needs float32's range or precision runs in float32, by PyTorch's lists for CUDA. Weights
 * stay float32, and their gradients come back in float32. Call it around the forward pass and the loss;
 * `backward()` and optimizers are not affected. In-place ops run as they would outside.
 *
 * With a callback, sync or async, it returns what the callback returns; without one a guard for `using` in
 * synchronous code, as `noGrad` does. Where the adapter has no float16 (WebGPU's `shader-f16`), everything
 * runs in float32.
 *
 * ```ts
 * const loss = k.amp.autocast({}, () => lossOf(model(x), y));
 * ```
 *
 * @throws Error for another dtype, `'bfloat16'` too: WGSL has none
 */
export function autocast(options?: AutocastOptions): ModeGuard;
export function autocast<R>(options: AutocastOptions, fn: () => R): R;
export function autocast<R>(options: AutocastOptions = {}, fn?: () => R): R | ModeGuard {
  noMore('autocast', arguments, 2);
  const { dtype, enabled, cacheEnabled } = readOptions<Required<AutocastOptions>>(
    'amp.autocast',
    { dtype: 'float16', enabled: true, cacheEnabled: true },
    options,
  );
  checkDtype(dtype);
  requireBoolean('amp.autocast: enabled', enabled);
  requireBoolean('amp.autocast: cacheEnabled', cacheEnabled);
  if (fn !== undefined && typeof fn !== 'function')
    throw new Error(`amp.autocast: expected a function after the options, got ${typeof fn}`);
  const works = enabled && runtime().target.f16;
  const interceptor = new Region(dtype, works, cacheEnabled, currentInterceptor());
  return inModeOf({ name: 'amp.autocast', args: '{}, ', interceptor }, fn);
}

/** `torch.is_autocast_enabled`. */
export function isAutocastEnabled(): boolean {
  noMore('isAutocastEnabled', arguments, 0);
  return (currentInterceptor()?.enter ?? null) !== null;
}

/** `torch.clear_autocast_cache`: casts of parameters that are kept are dropped. */
export function clearAutocastCache(): void {
  noMore('clearAutocastCache', arguments, 0);
  const region = currentInterceptor();
  if (region instanceof Region) region.clear();
}
