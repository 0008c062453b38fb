import {
  argumentReader,
  optionReader,
  readOptions,
  required,
  type Needed,
  noMore,
} from '../../tensor/options.js';
import { noGrad } from '../../autograd/mode.js';
import {
  abs,
  add,
  cat,
  clamp_,
  copy_,
  mul,
  mul_,
  narrow,
  reciprocal,
  reshape,
  stack,
  sum,
  zeros,
  amax,
  square,
  sqrt,
  pow,
} from '../../ops/index.js';
import { numel } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { tidy } from '../../tensor/tidy.js';
import { checkLive } from '../base/parameter.js';

export * as rnn from '../layers/packed.js';
export { removeSpectralNorm, removeWeightNorm, spectralNorm, weightNorm } from './weight-norm.js';
export { fuseConvBnEval, fuseLinearBnEval, skipInit } from './fuse-norm.js';

type Tensors = Tensor | Iterable<Tensor>;

const listOf = (tensors: Tensors): Tensor[] => (Symbol.iterator in tensors ? [...tensors] : [tensors]);
const gradsOf = (op: string, parameters: Tensors): Tensor[] =>
  listOf(parameters).flatMap((parameter, i) => {
    checkLive(op, parameter, i);
    return parameter.leafGrad === null ? [] : [parameter.leafGrad];
  });

function norm(x: Tensor, p: number): Tensor {
  if (p === Infinity) return amax(abs(x));
  if (p === 2) return sqrt(sum(square(x)));
  return pow(sum(pow(abs(x), p)), 1 / p);
}

export interface TotalNormOptions {
  /** Order of the norm: 2 (default), 1, another positive number, or Infinity. */
  normType?: number;
}

/** `torch.nn.utils.get_total_norm`: the norm of some tensors as one vector, a zero-dim tensor; 0 for none. */
export function getTotalNorm(tensors: Tensors, options: TotalNormOptions = {}): Tensor {
  noMore('getTotalNorm', arguments, 2);
  const { normType } = readOptions<Required<TotalNormOptions>>('getTotalNorm', { normType: 2 }, options);
  if (!(normType > 0)) throw new Error(`getTotalNorm: normType must be above 0, got ${String(normType)}`);
  const all = listOf(tensors);
  if (all.length === 0) return zeros([]);
  return noGrad(() => tidy(() => norm(stack(all.map((tensor) => norm(tensor, normType))), normType)));
}

/**
 * `torch.nn.utils.clip_grads_with_norm_`: scales all gradients, in place, so that their norm is at most
 * `maxNorm`, given what it is now.
 */
export function clipGradsWithNorm_(parameters: Tensors, maxNorm: number, totalNorm: Tensor): void {
  noMore('clipGradsWithNorm_', arguments, 3);
  const grads = gradsOf('clipGradsWithNorm_', parameters);
  noGrad(() =>
    tidy(() => {
      const scale = clamp_(mul(reciprocal(add(totalNorm, 1e-6)), maxNorm), { max: 1 });
      for (const grad of grads) mul_(grad, scale);
    }),
  );
}

const readClip = optionReader(
  'clipGradNorm_',
  { maxNorm: required<number>(), normType: 2, errorIfNonfinite: false },
  'maxNorm',
  'normType',
  'errorIfNonfinite',
);

/**
 * `torch.nn.utils.clip_grad_norm_`: scales all gradients, in place, so that their norm as one vector is at
 * most `maxNorm`. Returns that norm before the scaling, a zero-dim tensor; nothing waits for the GPU. With
 * `errorIfNonfinite` the norm is looked at first, so that the result is a promise.
 *
 * @throws Error (a rejection) when `errorIfNonfinite` is set and the norm is infinite or NaN; then nothing
 * was scaled
 */
export function clipGradNorm_(
  parameters: Tensors,
  ...args: Needed<
    [maxNorm: number],
    ['maxNorm'],
    [normType: number],
    TotalNormOptions & { errorIfNonfinite?: false }
  >
): Tensor;
export function clipGradNorm_(
  parameters: Tensors,
  ...args: Needed<
    [maxNorm: number],
    ['maxNorm'],
    [normType: number, errorIfNonfinite: true],
    TotalNormOptions & { errorIfNonfinite: true }
  >
): Promise<Tensor>;
export function clipGradNorm_(parameters: Tensors, ...args: unknown[]): Tensor | Promise<Tensor> {
  const { maxNorm, normType, errorIfNonfinite } = readClip(args);
  const list = listOf(parameters);
  const total = getTotalNorm(gradsOf('clipGradNorm_', list), { normType });
  const clip = (): Tensor => {
    clipGradsWithNorm_(list, maxNorm, total);
    return total;
  };
  if (!errorIfNonfinite) return clip();
  return total.item().then((value) => {
    if (Number.isFinite(value)) return clip();
    throw new Error(
      `clipGradNorm_: the total norm of order ${normType} of the gradients is ${value}; nothing was clipped`,
    );
  });
}

/** `torch.nn.utils.clip_grad_value_`: clamps every gradient element, in place, to [-clipValue, clipValue]. */
export function clipGradValue_(
  parameters: Tensors,
  ...args: Needed<[clipValue: number], ['clipValue']>
): void {
  const [clipValue] = argumentReader<[number]>('clipGradValue_', 'clipValue')(args);
  if (!(clipValue >= 0))
    throw new Error(`clipGradValue_: clipValue must be at least 0, got ${String(clipValue)}`);
  noGrad(() => {
    for (const grad of gradsOf('clipGradValue_', parameters))
      clamp_(grad, { min: -clipValue, max: clipValue });
  });
}

/** `torch.nn.utils.parameters_to_vector`: all values, one after another. */
export function parametersToVector(parameters: Iterable<Tensor>): Tensor {
  noMore('parametersToVector', arguments, 1);
  return tidy(() => cat([...parameters].map((parameter) => reshape(parameter, [-1]))));
}

/** `torch.nn.utils.vector_to_parameters`: the inverse of {@link parametersToVector}, in place. */
export function vectorToParameters(vector: Tensor, parameters: Iterable<Tensor>): void {
  noMore('vectorToParameters', arguments, 2);
  const list = [...parameters];
  const total = list.reduce((count, parameter) => count + parameter.numel(), 0);
  if (vector.ndim !== 1 || vector.numel() !== total) {
    throw new Error(
      `vectorToParameters: expected a vector of ${total} values, got shape [${vector.shape.join(', ')}]`,
    );
  }
  noGrad(() =>
    tidy(() => {
      let at = 0;
      for (const parameter of list) {
        const size = numel(parameter.shape);
        copy_(parameter, reshape(narrow(vector, 0, at, size), parameter.shape));
        at += size;
      }
    }),
  );
}
