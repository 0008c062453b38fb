import { runtime, type BufferArg, type Launch } from '../device/index.js';
import {
  isWide,
  optimizerKernel,
  optimizerLaunch,
  optimizerWideKernel,
  optimizerWideLaunch,
  type UpdateRule,
} from '../kernels/optim/kernel.js';
import { copy_ } from '../ops/index.js';
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

/** An optimizer's tensor for `parameter`: float32, its memory order, contents undefined, kept past every scope. */
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
export interface RuleUse {
  readonly rule: UpdateRule;
  readonly hyper: readonly number[];
  /** The state's contents are undefined. */
  readonly fresh: boolean;
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
    const launches: Launch[] = [];
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
  { rule, hyper, fresh, updates, shared = [] }: RuleUse,
  launches: Launch[],
  written: Tensor[],
  writeBack: (readonly [Tensor, Tensor])[],
): void {
  const ready: Ready[] = [];
  for (const { parameter, grad, state } of updates) {
    if (parameter.numel() === 0) continue;
    const strides = stridesOf(parameter);
    const weight = fillsStorage(parameter) ? parameter : copyAs(parameter, strides, op);
    if (weight !== parameter) writeBack.push([parameter, weight]);
    const direct = fillsStorage(grad) && hasStrides(grad, strides) && grad.storage !== weight.storage;
    ready.push({ weight, grad: direct ? grad : copyAs(grad, strides, op), state });
  }
  arrange({ rule, hyper, fresh, shared, launches }, ready);
  for (const { weight, state } of ready) written.push(weight, ...state);
}

interface Use {
  readonly rule: UpdateRule;
  readonly hyper: readonly number[];
  readonly fresh: boolean;
  readonly shared: readonly Tensor[];
  /** What comes of it. */
  readonly launches: Launch[];
}

function arrange(how: Use, ready: readonly Ready[]): void {
  const { limits, maxBinding } = runtime();
  const buffersEach = 2 + how.rule.state.length;
  const most = Math.max(
    1,
    Math.floor((limits.maxStorageBuffersPerShaderStage - how.shared.length) / buffersEach),
  );
  let batch: Ready[] = [];
  let written = new Set<Storage>();
  // Two sizes of kernel only, full and single, so that few are compiled.
  const flush = (): void => {
    if (batch.length === most) launch(how, batch);
    else for (const one of batch) launch(how, [one]);
    batch = [];
    written = new Set();
  };
  for (const one of ready) {
    if (one.weight.numel() * bytesPerElement > maxBinding) {
      launchRanges(how, one, maxBinding);
      continue;
    }
    if (isWide(one.weight.numel())) {
      launchWide(how, one);
      continue;
    }
    // Parameters that share memory are updated one after another, as PyTorch would.
    if (written.has(one.weight.storage)) flush();
    written.add(one.weight.storage);
    if (batch.push(one) === most) flush();
  }
  flush();
}

function launch({ rule, hyper, fresh, shared, launches }: Use, batch: readonly Ready[]): void {
  const { params, grid } = optimizerLaunch(
    hyper,
    fresh,
    batch.map(({ weight }) => weight.numel()),
  );
  const tensors = [...shared, ...batch.flatMap(({ weight, grad, state }) => [weight, grad, ...state])];
  const buffers = tensors.map((tensor) => tensor.deviceBuffer);
  launches.push({ kernel: optimizerKernel(rule, batch.length), buffers, params, grid });
}

function launchWide({ rule, hyper, fresh, shared, launches }: Use, { weight, grad, state }: Ready): void {
  const { params, grid } = optimizerWideLaunch(hyper, fresh, weight.numel());
  const buffers = [...shared, weight, grad, ...state].map((tensor) => tensor.deviceBuffer);
  launches.push({ kernel: optimizerWideKernel(rule), buffers, params, grid });
}

/** A parameter larger than one binding, range by range. */
function launchRanges({ rule, hyper, fresh, shared, launches }: Use, one: Ready, maxBinding: number): void {
  const { minStorageBufferOffsetAlignment: alignment } = runtime().limits;
  const step = Math.floor(maxBinding / Math.max(16, alignment)) * Math.max(16, alignment);
  const total = one.weight.numel() * bytesPerElement;
  for (let offset = 0; offset < total; offset += step) {
    const size = Math.min(step, Math.ceil((total - offset) / 16) * 16);
    const range = (tensor: Tensor): BufferArg => ({ buffer: tensor.deviceBuffer, offset, size });
    const { params, grid } = optimizerLaunch(hyper, fresh, [size / bytesPerElement]);
    const buffers = [
      ...shared.map((tensor) => tensor.deviceBuffer),
      ...[one.weight, one.grad, ...one.state].map(range),
    ];
    launches.push({ kernel: optimizerKernel(rule, 1), buffers, params, grid });
  }
}
