import { defineComposite } from '../../autograd/define.js';
import { isFloatingPoint } from '../../tensor/dtype.js';
import { required, type Needed } from '../../tensor/options.js';
import type { Tensor } from '../../tensor/tensor.js';
import { to } from '../base/copy.js';
import { arange, ones, readCreation, zeros, type CreationOptions } from '../creation/creation.js';
import { i0 } from './more.js';
import { abs, add, cos, div, mul, rsub, sqrt, square, sub } from './pointwise.js';

/* Windows for spectra (https://pytorch.org/docs/stable/torch.html#spectral-ops). */

export interface WindowOptions extends CreationOptions {
  /** To be repeated: the window of one more element without its last. Default true. */
  periodic?: boolean;
}

type WindowArgs<Places extends readonly unknown[] = [], Options = unknown> = Needed<
  [windowLength: number],
  ['windowLength'],
  [periodic: boolean, ...Places],
  WindowOptions & Options
>;

/** The window of `values`, which takes the places 0, 1, ... of a window whose last place is `last`. */
function windowOf<T extends object>(
  op: string,
  fields: T,
  values: (places: Tensor, last: number, fields: T) => Tensor,
): (...args: readonly unknown[]) => Tensor {
  const all = { windowLength: required<number>(), periodic: true, ...fields };
  const places = ['windowLength', 'periodic', ...(Object.keys(fields) as (keyof T & string)[])] as const;
  return defineComposite(op, (...args: readonly unknown[]): Tensor => {
    const read = readCreation(op, args, all, ...places);
    const { windowLength: n, periodic, options } = read;
    const dtype = options.dtype ?? 'float32';
    if (!Number.isInteger(n) || n < 0)
      throw new Error(`${op}: windowLength must be an integer of 0 or more, got ${String(n)}`);
    if (!isFloatingPoint(dtype)) throw new Error(`${op}: dtype must be float32 or float16, got ${dtype}`);
    const last = periodic ? n : n - 1;
    const out =
      n === 0
        ? zeros([0], { dtype })
        : n === 1
          ? ones([1], { dtype })
          : to(values(arange(n, { dtype: 'float32' }), last, read), dtype);
    if (options.requiresGrad) out.requiresGrad = true;
    return out;
  });
}

/** A constant and cosines of once and twice the angle that goes round once. */
function cosines(places: Tensor, last: number, [constant, once, twice]: readonly number[]): Tensor {
  const angle = mul(places, (2 * Math.PI) / last);
  const sum = add(mul(cos(angle), once as number), constant as number);
  return twice === undefined ? sum : add(sum, mul(cos(mul(angle, 2)), twice));
}

/**
 * `torch.hann_window`: `(1 - cos(2 pi n / N)) / 2`, where `N` is the length, or one less unless `periodic`.
 */
export const hannWindow: (...args: WindowArgs) => Tensor = windowOf('hannWindow', {}, (n, last) =>
  cosines(n, last, [0.5, -0.5]),
);

/** `torch.hamming_window`: `alpha - beta cos(2 pi n / N)`; `N` as of {@link hannWindow}. */
export const hammingWindow: (
  ...args: WindowArgs<[alpha: number, beta: number], { alpha?: number; beta?: number }>
) => Tensor = windowOf('hammingWindow', { alpha: 0.54, beta: 0.46 }, (n, last, { alpha, beta }) =>
  cosines(n, last, [alpha, -beta]),
);

/**
 * `torch.blackman_window`: `0.42 - 0.5 cos(2 pi n / N) + 0.08 cos(4 pi n / N)`; `N` as of {@link hannWindow}.
 */
export const blackmanWindow: (...args: WindowArgs) => Tensor = windowOf('blackmanWindow', {}, (n, last) =>
  cosines(n, last, [0.42, -0.5, 0.08]),
);

/** `torch.bartlett_window`: `1 - |2 n / N - 1|`; `N` as of {@link hannWindow}. */
export const bartlettWindow: (...args: WindowArgs) => Tensor = windowOf('bartlettWindow', {}, (n, last) =>
  rsub(abs(sub(mul(n, 2 / last), 1)), 1),
);

/**
 * `torch.kaiser_window`: `I0(beta sqrt(1 - (2 n / N - 1)^2)) / I0(beta)`; `N` as of {@link hannWindow},
 * `beta` 12 by default.
 */
export const kaiserWindow: (...args: WindowArgs<[beta: number], { beta?: number }>) => Tensor = windowOf(
  'kaiserWindow',
  { beta: 12 },
  (n, last, { beta }) => {
    const inside = rsub(square(sub(mul(n, 2 / last), 1)), 1);
    return div(i0(mul(sqrt(inside), beta)), i0(mul(ones([]), beta)));
  },
);
