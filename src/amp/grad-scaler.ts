import { currentRecording } from '../device/index.js';
import { noGrad } from '../autograd/mode.js';
import { runtime } from '../device/index.js';
import { unscaleLaunch, unscaleRangeLaunches } from '../kernels/optim/unscale.js';
import type { Launch } from '../kernels/base/plan.js';
import type { BaseOptions, Optimizer } from '../optim/optimizer.js';
import { copy_ } from '../ops/base/copy.js';
import { launch } from '../ops/base/launch.js';
import { planLimits } from '../ops/base/run-plan.js';
import { mul } from '../ops/pointwise/pointwise.js';
import { readOptions, requireBoolean, requireNumber, noMore } from '../tensor/options.js';
import type { Storage } from '../tensor/storage.js';
import { isTensor, Tensor } from '../tensor/tensor.js';
import { scoped } from '../tensor/tidy.js';

export interface GradScalerOptions {
  /** Default 65536. */
  initScale?: number;
  /** What the scale is multiplied by after `growthInterval` steps in a row without overflow. Default 2. */
  growthFactor?: number;
  /** What the scale is multiplied by after an overflow. Default 0.5. */
  backoffFactor?: number;
  /** Default 2000. */
  growthInterval?: number;
  /** false: `scale` returns what it is given, `step` only steps, all else does nothing. Default true. */
  enabled?: boolean;
}

/** What a GradScaler knows, by PyTorch's names; empty when it is not enabled. */
export interface GradScalerState {
  scale: number;
  growth_factor: number;
  backoff_factor: number;
  growth_interval: number;
  _growth_tracker: number;
}

/** Optimizers of all kinds. */
type AnyOptimizer = Pick<Optimizer<BaseOptions>, 'paramGroups' | 'step'>;

/** Whether gradients of an optimizer overflowed, which the GPU knows first. */
class InfCheck {
  private reading: Promise<boolean> | null = null;
  /** As far as the host knows. */
  known: boolean | null = null;

  constructor(private readonly found: Tensor) {}

  /** Waits for the GPU, the first time that it is asked. */
  read(): Promise<boolean> {
    this.reading ??= this.found.item().then((value) => (this.known = value !== 0));
    return this.reading;
  }

  dispose(): void {
    this.found.dispose();
  }
}

interface PerOptimizer {
  stage: 'ready' | 'unscaled' | 'stepped';
  /** Null where it has no gradients. */
  check: InfCheck | null;
}

const fix = 'Multiply the loss by the scale first in each iteration: scaler.scale(loss).backward()';

/** A tensor, or lists of tensors and lists. */
export type Scalable = Tensor | readonly Scalable[];

/**
 * `torch.cuda.amp.GradScaler`: multiplies the loss, so that small gradients do not vanish in float16, divides
 * the gradients before the step, leaves a step out whose gradients are infinite or NaN, and adapts the scale
 * to that.
 *
 * ```ts
 * const scaler = new k.amp.GradScaler();
 * for (const [x, y] of batches) {
 *   optimizer.zeroGrad();
 *   const loss = k.amp.autocast({}, () => lossOf(model(x), y));
 *   scaler.scale(loss).backward();
 *   await scaler.step(optimizer);
 *   await scaler.update();
 * }
 * ```
 *
 * Whether a step may be made is known on the GPU, so `step` waits for it, as PyTorch's does: once per
 * optimizer and iteration. The scale itself is the host's: nothing else waits, but an `update` after an
 * `unscale_` without a step.
 */
export class GradScaler {
  private scaleNow: number;
  private growthTracker = 0;
  private growthFactor: number;
  private backoffFactor: number;
  private growthInterval: number;
  private readonly enabled: boolean;
  /** `scale` has been called: before that there is nothing to unscale. */
  private started = false;
  private optimizers = new Map<AnyOptimizer, PerOptimizer>();
  /** A step or an update that nobody has awaited yet. */
  private pending: 'step' | 'update' | null = null;

  /** @throws Error unless `growthFactor` is above 1 and `backoffFactor` below */
  constructor(options: GradScalerOptions = {}) {
    noMore(new.target.name, arguments, 1);
    const { initScale, growthFactor, backoffFactor, growthInterval, enabled } = readOptions<
      Required<GradScalerOptions>
    >(
      'GradScaler',
      { initScale: 65536, growthFactor: 2, backoffFactor: 0.5, growthInterval: 2000, enabled: true },
      options,
    );
    requireBoolean('GradScaler: enabled', enabled);
    for (const [name, value] of Object.entries({ initScale, growthFactor, backoffFactor, growthInterval }))
      requireNumber(`GradScaler: ${name}`, value);
    if (!(growthFactor > 1)) throw new Error(`GradScaler: growthFactor must be above 1, got ${growthFactor}`);
    if (!(backoffFactor < 1))
      throw new Error(`GradScaler: backoffFactor must be below 1, got ${backoffFactor}`);
    this.scaleNow = Math.fround(initScale);
    this.growthFactor = growthFactor;
    this.backoffFactor = backoffFactor;
    this.growthInterval = growthInterval;
    this.enabled = enabled;
  }

  /** The loss (or losses) times the scale; call `backward()` on that. */
  scale<T extends Scalable>(outputs: T): T {
    if (!this.enabled) return outputs;
    this.checkAwaited('scale');
    this.started = true;
    const { scaleNow } = this;
    currentRecording()?.guard(() => this.scaleNow === scaleNow);
    const apply = (value: unknown): unknown => {
      if (isTensor(value)) return mul(value, scaleNow);
      if (Array.isArray(value)) return value.map(apply);
      throw new Error(`GradScaler.scale: expected a tensor or a list of tensors, got ${String(value)}`);
    };
    return apply(outputs) as T;
  }

  /**
   * Divides the gradients of the optimizer's parameters by the scale, in place, and looks for infinities and
   * NaN among them: before they are clipped or looked at. Without it `step` does so. Nothing waits.
   *
   * @throws Error when it was called already since the last `update()`, before `scale`, or for float16
   * gradients
   */
  unscale_(optimizer: AnyOptimizer): void {
    if (!this.enabled) return;
    currentRecording()?.refuse('GradScaler.unscale_ is called in it');
    this.checkStarted('unscale_');
    const state = this.stateOf(optimizer);
    if (state.stage === 'unscaled')
      throw new Error(
        'GradScaler.unscale_: has already been called on this optimizer since the last update()',
      );
    if (state.stage === 'stepped')
      throw new Error('GradScaler.unscale_: is being called after step(); call update() first');
    const grads = gradientsOf(optimizer);
    // In double precision, then rounded, as PyTorch does.
    const found = grads.length === 0 ? null : unscale(grads, Math.fround(1 / this.scaleNow));
    state.check = found && new InfCheck(found);
    state.stage = 'unscaled';
  }

  /**
   * `optimizer.step()` if its gradients, unscaled, are finite; else nothing. It waits for the GPU to say so.
   * Resolves to what `optimizer.step()` returns, undefined where it was left out.
   *
   * @throws Error (a rejection) for a second call since the last `update()`, before `scale`, for an optimizer
   * without gradients, and for closures (LBFGS)
   */
  async step(optimizer: AnyOptimizer, ...rest: readonly unknown[]): Promise<unknown> {
    if (rest.length > 0 && this.enabled)
      throw new Error('GradScaler.step: a closure is not supported; call it without, or without the scaler');
    if (!this.enabled) return optimizer.step(...(rest as [() => unknown]));
    this.checkAwaited('step');
    this.checkStarted('step');
    const state = this.stateOf(optimizer);
    if (state.stage === 'stepped')
      throw new Error('GradScaler.step: has already been called on this optimizer since the last update()');
    if (state.stage === 'ready') this.unscale_(optimizer);
    if (state.check === null)
      throw new Error('GradScaler.step: no inf checks were recorded for this optimizer: it has no gradients');
    this.pending = 'step';
    try {
      const overflow = await state.check.read();
      const result = overflow ? undefined : optimizer.step();
      state.stage = 'stepped';
      return result;
    } finally {
      this.pending = null;
    }
  }

  /**
   * Ends an iteration: after an overflow in any optimizer the scale is multiplied by `backoffFactor`, after
   * `growthInterval` iterations in a row without one by `growthFactor`. A `newScale` is taken as it is.
   *
   * @throws Error (a rejection) before `scale`, and when no gradients were looked at since the last
   * `update()`
   */
  async update(newScale?: number | Tensor): Promise<void> {
    if (!this.enabled) return;
    this.checkAwaited('update');
    this.checkStarted('update');
    if (newScale !== undefined) {
      this.scaleNow = Math.fround(isTensor(newScale) ? await readScale(newScale) : checkScale(newScale));
      this.forget();
      return;
    }
    const checks = [...this.optimizers.values()].flatMap(({ check }) => (check === null ? [] : [check]));
    if (checks.length === 0)
      throw new Error('GradScaler.update: no inf checks were recorded prior to update');
    // What is known needs no turn of the event loop, so that an update behind `await step()` is done at once.
    if (checks.some(({ known }) => known === null)) {
      this.pending = 'update';
      try {
        await Promise.all(checks.map((check) => check.read()));
      } finally {
        this.pending = null;
      }
    }
    this.adapt(checks.some(({ known }) => known === true));
    this.forget();
  }

  /** PyTorch's `_amp_update_scale_`, in float32. */
  private adapt(overflow: boolean): void {
    if (overflow) {
      this.scaleNow = Math.fround(this.scaleNow * this.backoffFactor);
      this.growthTracker = 0;
      return;
    }
    if (++this.growthTracker !== this.growthInterval) return;
    const grown = Math.fround(this.scaleNow * this.growthFactor);
    if (Number.isFinite(grown)) this.scaleNow = grown;
    this.growthTracker = 0;
  }

  /** The scale; 1 when scaling is not enabled. */
  getScale(): number {
    return this.enabled ? this.scaleNow : 1;
  }

  isEnabled(): boolean {
    return this.enabled;
  }

  getGrowthFactor(): number {
    return this.growthFactor;
  }

  setGrowthFactor(factor: number): void {
    this.growthFactor = requireNumber('GradScaler.setGrowthFactor', factor);
  }

  getBackoffFactor(): number {
    return this.backoffFactor;
  }

  setBackoffFactor(factor: number): void {
    this.backoffFactor = requireNumber('GradScaler.setBackoffFactor', factor);
  }

  getGrowthInterval(): number {
    return this.growthInterval;
  }

  setGrowthInterval(interval: number): void {
    this.growthInterval = requireNumber('GradScaler.setGrowthInterval', interval);
  }

  /** What to save, after `update()`, to go on from; an empty object when it is not enabled. */
  stateDict(): GradScalerState | Record<string, never> {
    if (!this.enabled) return {};
    return {
      scale: this.scaleNow,
      growth_factor: this.growthFactor,
      backoff_factor: this.backoffFactor,
      growth_interval: this.growthInterval,
      _growth_tracker: this.growthTracker,
    };
  }

  /**
   * Takes over a state dict of this class or of PyTorch's, as an object or, from a file, a Map.
   *
   * @throws Error for an empty one, which a scaler that is not enabled has saved, and where an entry is
   * missing
   */
  loadStateDict(state: object): void {
    if (!this.enabled) return;
    const entries = new Map<string, unknown>(state instanceof Map ? state : Object.entries(state));
    if (entries.size === 0)
      throw new Error(
        'GradScaler.loadStateDict: the state dict is empty, possibly because it was saved from a GradScaler that is not enabled',
      );
    const read = (key: keyof GradScalerState): number =>
      requireNumber(`GradScaler.loadStateDict: '${key}'`, entries.get(key));
    const [scale, growth, backoff, interval, tracker] = [
      read('scale'),
      read('growth_factor'),
      read('backoff_factor'),
      read('growth_interval'),
      read('_growth_tracker'),
    ];
    this.scaleNow = Math.fround(scale);
    this.growthFactor = growth;
    this.backoffFactor = backoff;
    this.growthInterval = interval;
    this.growthTracker = tracker;
  }

  private stateOf(optimizer: AnyOptimizer): PerOptimizer {
    let state = this.optimizers.get(optimizer);
    if (state === undefined) this.optimizers.set(optimizer, (state = { stage: 'ready', check: null }));
    return state;
  }

  private forget(): void {
    for (const { check } of this.optimizers.values()) check?.dispose();
    this.optimizers = new Map();
  }

  private checkStarted(method: string): void {
    if (!this.started) throw new Error(`GradScaler.${method}: scale() has not been called yet. ${fix}`);
  }

  private checkAwaited(method: string): void {
    if (this.pending !== null)
      throw new Error(
        `GradScaler.${method}: the ${this.pending} before has not ended; write await scaler.${this.pending}(...)`,
      );
  }
}

function checkScale(scale: number): number {
  if (typeof scale === 'number' && Number.isFinite(scale)) return scale;
  throw new Error(
    `GradScaler.update: newScale must be a number or a tensor of one element, got ${String(scale)}`,
  );
}

async function readScale(scale: Tensor): Promise<number> {
  if (scale.numel() !== 1 || scale.dtype !== 'float32' || scale.requiresGrad)
    throw new Error(
      'GradScaler.update: newScale must be a float32 tensor of one element that does not require grad',
    );
  return scale.item();
}

function gradientsOf(optimizer: AnyOptimizer): Tensor[] {
  const grads = optimizer.paramGroups.flatMap(({ params }) =>
    params.flatMap(({ leafGrad }) => (leafGrad === null ? [] : [leafGrad])),
  );
  if (grads.some(({ dtype }) => dtype === 'float16'))
    throw new Error(
      'GradScaler.unscale_: attempting to unscale float16 gradients; keep the parameters float32 (no model.half()), autocast casts them',
    );
  return grads;
}

/** The kernel takes whole buffers from their start. */
const isWhole = (grad: Tensor): boolean =>
  grad.offset === 0 && grad.isDense() && grad.storage.bytes === grad.nbytes;

/** Multiplies gradients in place; the result, an int32, is 1 if one of them is infinite or NaN. */
function unscale(grads: readonly Tensor[], factor: number): Tensor {
  return scoped('GradScaler.unscale_', () =>
    noGrad(() => {
      const found = Tensor.fromHost([0], [], 'int32').keep();
      const direct: Tensor[] = [];
      const copies: (readonly [Tensor, Tensor])[] = [];
      const seen = new Set<Storage>();
      for (const grad of new Set(grads)) {
        if (grad.numel() === 0) continue;
        // A launch may not bind memory twice that it writes.
        if (isWhole(grad) && !seen.has(grad.storage)) {
          direct.push(grad);
          seen.add(grad.storage);
          continue;
        }
        const copy = Tensor.empty(grad.shape, 'float32', 'GradScaler.unscale_');
        copy_(copy, grad);
        copies.push([grad, copy]);
      }
      launchAll(found, [...direct, ...copies.map(([, copy]) => copy)], factor);
      for (const [grad, copy] of copies) copy_(grad, copy);
      return found;
    }),
  );
}

function launchAll(found: Tensor, grads: readonly Tensor[], factor: number): void {
  const { limits, maxBinding } = runtime();
  const most = limits.maxStorageBuffersPerShaderStage - 1;
  for (const grad of grads) grad.storage.beginWrite('GradScaler.unscale_');
  const run = (launches: readonly Launch[], some: readonly Tensor[]): void =>
    launch(launches, [found, ...some]);
  const small = grads.filter((grad) => grad.nbytes <= maxBinding);
  // Two sizes of kernel only, so that few are compiled.
  const whole = small.length - (small.length % most);
  for (let at = 0; at < whole; at += most) {
    const some = small.slice(at, at + most);
    run(
      [
        unscaleLaunch(
          factor,
          some.map((grad) => grad.numel()),
        ),
      ],
      some,
    );
  }
  for (const grad of small.slice(whole)) run([unscaleLaunch(factor, [grad.numel()])], [grad]);
  for (const grad of grads)
    if (grad.nbytes > maxBinding) run(unscaleRangeLaunches(factor, grad.numel(), planLimits()), [grad]);
}
