import { noGrad } from '../autograd/mode.js';
import {
  abs,
  cat,
  clamp_,
  copy_,
  mul_,
  narrow,
  reshape,
  stack,
  sum,
  amax,
  square,
  sqrt,
  pow,
} from '../ops/index.js';
import { numel } from '../tensor/shape.js';
import type { Tensor } from '../tensor/tensor.js';
import { tidy } from '../tensor/tidy.js';

type Tensors = Tensor | Iterable<Tensor>;

const listOf = (tensors: Tensors): Tensor[] => (Symbol.iterator in tensors ? [...tensors] : [tensors]);
const gradsOf = (parameters: Tensors): Tensor[] =>
  listOf(parameters).flatMap((parameter) => (parameter.leafGrad === null ? [] : [parameter.leafGrad]));

function norm(x: Tensor, p: number): Tensor {
  if (p === Infinity) return amax(abs(x));
  if (p === 2) return sqrt(sum(square(x)));
  return pow(sum(pow(abs(x), p)), 1 / p);
}

/**
 * `torch.nn.utils.clip_grad_norm_`: scales all gradients, in place, so that their norm as one vector is at most `maxNorm`.
 * Returns that norm before the scaling, a zero-dim tensor; nothing waits for the GPU.
 */
export function clipGradNorm_(
  parameters: Tensors,
  maxNorm: number,
  { normType = 2 }: { normType?: number } = {},
): Tensor {
  const grads = gradsOf(parameters);
  return noGrad(() =>
    tidy(() => {
      const total = norm(stack(grads.map((grad) => norm(grad, normType))), normType);
      const scale = clamp_(total.add(1e-6).reciprocal().mul(maxNorm), { max: 1 });
      for (const grad of grads) mul_(grad, scale);
      return total;
    }),
  );
}

/** `torch.nn.utils.clip_grad_value_`: clamps every gradient element, in place, to [-clipValue, clipValue]. */
export function clipGradValue_(parameters: Tensors, clipValue: number): void {
  noGrad(() => {
    for (const grad of gradsOf(parameters)) clamp_(grad, { min: -clipValue, max: clipValue });
  });
}

/** `torch.nn.utils.parameters_to_vector`: all values, one after another. */
export function parametersToVector(parameters: Iterable<Tensor>): Tensor {
  return tidy(() => cat([...parameters].map((parameter) => reshape(parameter, [-1]))));
}

/** `torch.nn.utils.vector_to_parameters`: the inverse of {@link parametersToVector}, in place. */
export function vectorToParameters(vector: Tensor, parameters: Iterable<Tensor>): void {
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
