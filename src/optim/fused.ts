import { runtime, type BufferArg } from '../device/index.js';
import type { Launch } from '../kernels/base/plan.js';
import {
  isWide,
  optimizerLaunch,
  optimizerRangeLaunches,
  optimizerWideLaunch,
  type RuleValues,
} from '../kernels/optim/kernel.js';
import { copy_ } from '../ops/index.js';
import { bound } from '../ops/base/launch.js';
import { planLimits } from '../ops/base/run-plan.js';
import { contiguousStrides } from '../tensor/shape.js';
import type { Storage } from '../tensor/storage.js';
import { Tensor } from '../tensor/tensor.js';

/** One parameter of a step. */
export interface Update {
  readonly parameter: Tensor;
  readonly grad: Tensor;
  /** In the order of the rule; made by {@link stateLike}. */
  readonly state: readonly Tensor[];
}

interface Ready {
  readonly weight: Tensor;
  readonly grad: Tensor;
  readonly state: readonly Tensor[];
}

const bytesPerElement = 4;

/** The layout that state, gradient and weight share in the kernel. */
const stridesOf = (parameter: Tensor): readonly number[] =>
  parameter.isDense() ? parameter.strides : contiguousStrides(parameter.shape);

/**
 * An optimizer's tensor for `parameter`: float32, its memory order, contents undefined, kept past every
 * scope.
 */
export function stateLike(parameter: Tensor, op: string): Tensor {
  return Tensor.empty(parameter.shape, 'float32', op, stridesOf(parameter)).keep();
}

/** The kernel takes whole buffers, padding included, so a tensor must be all there is in its storage. */
function fillsStorage(tensor: Tensor): boolean {
  return (
    tensor.dtype === 'float32' &&
    tensor.offset === 0 &&
    tensor.isDense() &&
    tensor.storage.bytes === tensor.numel() * bytesPerElement
  );
}

function hasStrides(tensor: Tensor, strides: readonly number[]): boolean {
  return tensor.shape.every((size, i) => size === 1 || tensor.strides[i] === strides[i]);
}

/** A float32 copy in the kernel's layout. */
function copyAs(source: Tensor, strides: readonly number[], op: string): Tensor {
  const copy = Tensor.empty(source.shape, 'float32', op, strides);
  copy_(copy, source);
  return copy;
}

/** A rule with the values that it takes, and the parameters that it is applied to. */
export interface RuleUse extends RuleValues {
  readonly updates: readonly Update[];
  /** Tensors that the rule reads for all. */
  readonly shared?: readonly Tensor[];
}

/**
 * Applies rules, several parameters per dispatch, to all parameters or to none. Parameters that are views or
 * not float32, and gradients in another layout, go through a copy. Call it in a scope and with grad mode off.
 *
 * @param undo takes back what was noted on the host, if it turns out that nothing was changed
 * @throws Error when one of the launches cannot be made; nothing has been changed then
 */
export function applyRules(op: string, uses: readonly RuleUse[], undo: () => void): void {
  const rt = runtime();
  rt.together(() => {
    const launches: Launch<BufferArg>[] = [];
    const written: Tensor[] = [];
    const writeBack: (readonly [Tensor, Tensor])[] = [];
    for (const use of uses) collect(op, use, launches, written, writeBack);
    for (const tensor of written) tensor.storage.beginWrite(op);
    rt.commit(launches, undo);
    for (const [parameter, weight] of writeBack) {
      copy_(parameter, weight);
      parameter.storage.writer = op;
    }
  });
}

function collect(
  op: string,
  use: RuleUse,
  launches: Launch<BufferArg>[],
  written: Tensor[],
  writeBack: (readonly [Tensor, Tensor])[],
): void {
  const ready: Ready[] = [];
  for (const { parameter, grad, state } of use.updates) {
    if (parameter.numel() === 0) continue;
    const strides = stridesOf(parameter);
    const weight = fillsStorage(parameter) ? parameter : copyAs(parameter, strides, op);
    if (weight !== parameter) writeBack.push([parameter, weight]);
    const direct = fillsStorage(grad) && hasStrides(grad, strides) && grad.storage !== weight.storage;
    ready.push({ weight, grad: direct ? grad : copyAs(grad, strides, op), state });
  }
  arrange(use, ready, launches);
  for (const { weight, state } of ready) written.push(weight, ...state);
}

function arrange(use: RuleUse, ready: readonly Ready[], launches: Launch<BufferArg>[]): void {
  const { rule, shared = [] } = use;
  const { limits, maxBinding } = runtime();
  const buffersEach = 2 + rule.state.length;
  const most = Math.max(
    1,
    Math.floor((limits.maxStorageBuffersPerShaderStage - shared.length) / buffersEach),
  );
  let batch: Ready[] = [];
  let written = new Set<Storage>();
  const add = (launch: Launch, updated: readonly Ready[]): void => {
    const tensors = updated.flatMap(({ weight, grad, state }) => [weight, grad, ...state]);
    launches.push(bound(launch, [...shared, ...tensors]));
  };
  const addBatch = (updated: readonly Ready[]): void => {
    const sizes = updated.map(({ weight }) => weight.numel());
    add(optimizerLaunch(use, sizes), updated);
  };
  // Two sizes of kernel only, full and single, so that few are compiled.
  const flush = (): void => {
    if (batch.length === most) addBatch(batch);
    else for (const one of batch) addBatch([one]);
    batch = [];
    written = new Set();
  };
  for (const one of ready) {
    const elements = one.weight.numel();
    if (elements * bytesPerElement > maxBinding) {
      for (const launch of optimizerRangeLaunches(use, elements, planLimits())) add(launch, [one]);
      continue;
    }
    if (isWide(elements)) {
      add(optimizerWideLaunch(use, elements), [one]);
      continue;
    }
    // Parameters that share memory are updated one after another, as PyTorch would.
    if (written.has(one.weight.storage)) flush();
    written.add(one.weight.storage);
    if (batch.push(one) === most) flush();
  }
  flush();
}
