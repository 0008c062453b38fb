import { currentRecording } from '../../device/index.js';
import { readOptions, noMore } from '../../tensor/options.js';
import { noGrad } from '../../autograd/mode.js';
import { zero_ } from '../../ops/index.js';
import { isTensor, Tensor } from '../../tensor/tensor.js';
import { showShape, type Shape } from '../../tensor/shape.js';
import { optionReader, type Trailing } from '../../tensor/options.js';

/**
 * `torch.nn.Parameter`: a tensor that a module trains. Assigned to a property of a module it is one of the
 * module's parameters. It shares the memory of `data`, requires grad unless told otherwise, and outlives
 * every scope.
 */
export class Parameter extends Tensor {
  /** For TypeScript only, to which a plain tensor would be a parameter otherwise. */
  declare protected readonly ofModule: true;

  constructor(data: Tensor, options: { requiresGrad?: boolean } = {}) {
    noMore(new.target.name, arguments, 2);
    const { requiresGrad } = readOptions('Parameter', { requiresGrad: true }, options);
    if (!isTensor(data)) throw new Error(`Parameter: expected a tensor, got ${String(data)}`);
    super(data.storage, data.shape, data.dtype, { strides: data.strides, offset: data.offset });
    if (requiresGrad) this.requiresGrad = true;
    this.keep();
  }

  /** @internal Contents undefined: an initialiser fills them. */
  static blank(shape: Shape, op: string, strides?: readonly number[]): Parameter {
    const data = Tensor.empty(shape, 'float32', op, strides);
    const parameter = new Parameter(data);
    data.dispose();
    return parameter;
  }

  override toString(): string {
    return super.toString().replace(/^tensor/, 'Parameter');
  }
}

/**
 * `torch.nn.UninitializedParameter`: a parameter of a lazy layer, of no size until the layer's first call or
 * `loadStateDict`, which put another parameter in its place: make the optimizer after that.
 */
export class UninitializedParameter extends Parameter {
  constructor() {
    noMore(new.target.name, arguments, 0);
    const data = Tensor.empty([0], 'float32', 'UninitializedParameter');
    super(data);
    data.dispose();
  }

  override toString(): string {
    return '<UninitializedParameter>';
  }
}

/** @internal Checks a size that a layer's constructor was given. */
export function requireCount(layer: string, name: string, value: number): void {
  if (!Number.isInteger(value) || value < 1) {
    throw new Error(`${layer}: ${name} must be a positive integer, got ${String(value)}`);
  }
}

/**
 * @internal What is done to a parameter that a conversion has replaced would change nothing.
 * @throws Error when it was freed
 */
export function checkLive(op: string, parameter: Tensor, index: number, where = ''): void {
  if (!parameter.isDisposed) return;
  const name = parameter.name && ` '${parameter.name}'`;
  throw new Error(
    `${op}: parameter ${index}${name} of shape ${showShape(parameter.shape)}${where} was freed: model.half(), ` +
      'float() and to() put new parameters in the place of the old; take model.parameters(), and make the ' +
      'optimizer, after such a conversion',
  );
}

export type ZeroGradArgs = Trailing<[setToNone: boolean], { setToNone?: boolean }>;
/** @internal */
export const readZeroGrad = optionReader('zeroGrad', { setToNone: true }, 'setToNone');

/** @internal Drops the gradient; without `setToNone` it is filled with zeros instead and keeps its memory. */
export function clearGrad(parameter: Tensor, setToNone: boolean): void {
  const grad = parameter.leafGrad;
  if (setToNone || grad === null) {
    parameter.grad = null;
    return;
  }
  grad.node = null;
  noGrad(() => zero_(grad));
}

/** @internal Drops the gradients of `parameters()`; each replay of a compiled function those of then. */
export function clearGrads(parameters: () => readonly Tensor[], setToNone: boolean): void {
  const clear = (): void => {
    for (const parameter of parameters()) clearGrad(parameter, setToNone);
  };
  const recording = currentRecording();
  if (recording === null) {
    clear();
    return;
  }
  const known = parameters();
  recording.guard(() => {
    const now = parameters();
    return now.length === known.length && now.every((parameter, i) => parameter === known[i]);
  });
  if (setToNone) for (const parameter of known) recording.clears(parameter);
  recording.host(clear);
}
