import { readOptions } from '../tensor/options.js';
import { Tensor } from '../tensor/tensor.js';
import { isFloatingPoint } from '../tensor/dtype.js';
import { grad } from './engine.js';

export interface GradcheckOptions {
  /**
   * Step of the central difference. float32 differences lose half their digits, so it is far larger than in
   * float64.
   */
  eps?: number;
  /** Allowed absolute difference. */
  atol?: number;
  /** Allowed difference relative to the numerical gradient. */
  rtol?: number;
}

/** So many elements are moved before a result is waited for: more would only fill memory. */
const together = 32;

/** A fixed, non-repeating cotangent, so that errors of opposite sign cannot cancel. */
const cotangent = (i: number): number => Math.cos(1.7 * i + 0.3) + 0.2;

function project(outputs: readonly { data: ArrayLike<number> }[]): number {
  let sum = 0;
  let at = 0;
  for (const { data } of outputs)
    for (let i = 0; i < data.length; i++) sum += (data[i] as number) * cotangent(at++);
  return sum;
}

/**
 * `torch.autograd.gradcheck` in float32: compares the tape's gradient of `fn` at `inputs` with central finite
 * differences of a fixed projection of its outputs, element by element. Resolves to true, or rejects naming
 * the worst element.
 */
export async function gradcheck(
  fn: (...inputs: Tensor[]) => Tensor | readonly Tensor[],
  inputs: readonly Tensor[],
  options: GradcheckOptions = {},
): Promise<boolean> {
  const { eps, atol, rtol } = readOptions<Required<GradcheckOptions>>(
    'gradcheck',
    { eps: 1e-2, atol: 2e-3, rtol: 2e-2 },
    options,
  );
  const floats = (result: Tensor | readonly Tensor[]): Tensor[] =>
    (result instanceof Tensor ? [result] : [...result]).filter((tensor) => isFloatingPoint(tensor.dtype));
  const wanted = inputs.filter((input) => input.requiresGrad);
  if (wanted.length === 0) throw new Error('gradcheck: none of the inputs requires grad');

  const outputs = floats(fn(...inputs));
  let at = 0;
  const cotangents = outputs.map((output) =>
    Tensor.fromHost(
      Float32Array.from({ length: output.numel() }, () => cotangent(at++)),
      output.shape,
      output.dtype,
    ),
  );
  const analytic = await Promise.all(
    grad(outputs, wanted, { gradOutputs: cotangents, allowUnused: true }).map(async (g) =>
      g === null ? null : g.data(),
    ),
  );

  const values = await Promise.all(inputs.map((input) => input.data()));
  const evaluate = async (which: number, element: number, delta: number): Promise<number> => {
    const moved = inputs.map((input, i) => {
      if (i !== which) return input;
      const data = Float32Array.from(values[i] as ArrayLike<number>);
      data[element] = (data[element] as number) + delta;
      return Tensor.fromHost(data, input.shape, input.dtype).requiresGrad_();
    });
    // Grad mode stays on: `fn` may itself take gradients.
    const results = floats(fn(...moved));
    const read = await Promise.all(results.map(async (result) => ({ data: await result.data() })));
    (moved[which] as Tensor).dispose();
    return project(read);
  };

  for (let which = 0; which < inputs.length; which++) {
    const input = inputs[which] as Tensor;
    if (!input.requiresGrad) continue;
    const mine = analytic[wanted.indexOf(input)];
    const difference = async (element: number): Promise<number> => {
      const [up, down] = await Promise.all([evaluate(which, element, eps), evaluate(which, element, -eps)]);
      return (up - down) / (2 * eps);
    };
    const numeric: number[] = [];
    while (numeric.length < input.numel()) {
      const length = Math.min(together, input.numel() - numeric.length);
      const first = numeric.length;
      numeric.push(...(await Promise.all(Array.from({ length }, (_, i) => difference(first + i)))));
    }
    numeric.forEach((expected, element) => {
      const got = mine?.[element] ?? 0;
      if (!(Math.abs(got - expected) <= atol + rtol * Math.abs(expected))) {
        throw new Error(
          `gradcheck: gradient of input ${which}, element ${element}: the tape gives ${got}, finite differences give ${expected}`,
        );
      }
    });
  }
  return true;
}
