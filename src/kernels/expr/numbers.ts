/** Signs, and lengths that neither overflow nor vanish. */
import { e } from './expr.js';
import { composedFunction, mathFunction } from './function.js';
import { wgslFunction } from './wgsl-function.js';

const kCopysign = wgslFunction(`fn kCopysign$s(x: $F, y: $F) -> $F {
  return bitcast<$F>((bitcast<$U>(x) & $U(0x7fffffffu)) | (bitcast<$U>(y) & $U(0x80000000u)));
}`);

/** The magnitude of the first with the sign of the second. */
export const copysign = mathFunction({
  name: 'copysign',
  wgsl: { f32: kCopysign },
  value: ([x = 0, y = 0]) => (y < 0 || Object.is(y, -0) ? -Math.abs(x) : Math.abs(x)),
  derivatives: [([x], y) => e.select(e.eq(x, 0), 0, e.div(y, x)), null],
});

/** `sqrt(x^2 + y^2)`, of numbers that are scaled by a power of two where their squares would not fit. */
export const hypot = composedFunction(
  'hypot',
  (x, y) => {
    const [a, b] = [e.abs(x), e.abs(y)];
    const most = e.maximum(a, b);
    const scale = (large: number, small: number) =>
      e.select(e.gt(most, 1e15), large, e.select(e.lt(most, 1e-15), small, 1));
    const up = scale(2 ** -80, 2 ** 80);
    const length = e.sqrt(e.add(e.square(e.mul(a, up)), e.square(e.mul(b, up))));
    return e.select(e.or(e.isInf(x), e.isInf(y)), Infinity, e.mul(length, scale(2 ** 80, 2 ** -80)));
  },
  [([x], r) => e.div(x, r), ([, y], r) => e.div(y, r)],
);
