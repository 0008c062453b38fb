/** What a float32 is made of, and its neighbours; by its bits, so that subnormal numbers count too. */
import { e, type Expr } from './expr.js';
import { mathFunction, unaryFunction, type Function1 } from './function.js';
import { wgslFunction } from './wgsl-function.js';

/*
 * x = mantissa * 2^exponent with the magnitude of the mantissa in [0.5, 1). Zero and what is not finite have
 * exponent 0.
 */

const kIsPlain = wgslFunction(`fn kIsPlain$s(x: $F) -> $B {
  let m = bitcast<$U>(x) & $U(0x7fffffffu);
  return (m != $U(0u)) & (m < $U(0x7f800000u));
}`);

// A subnormal number is shifted until its leading bit is where a normal one's is not written.
const kMantissa = wgslFunction(
  `fn kMantissa$s(x: $F) -> $F {
  let bits = bitcast<$U>(x);
  let m = bits & $U(0x7fffffffu);
  let shifted = select(bits, bits << (countLeadingZeros(m) - $U(8u)), m < $U(0x00800000u));
  let y = bitcast<$F>((bits & $U(0x80000000u)) | (shifted & $U(0x007fffffu)) | $U(0x3f000000u));
  return select(x, y, kIsPlain$s(x));
}`,
  kIsPlain,
);

const kExponent = wgslFunction(
  `fn kExponent$s(x: $F) -> $F {
  let m = bitcast<$U>(x) & $U(0x7fffffffu);
  let normal = $I(m >> $U(23u)) - $I(126);
  let y = select(normal, $I(-117) - $I(countLeadingZeros(m)), m < $U(0x00800000u));
  return select($F(0.0f), $F(y), kIsPlain$s(x));
}`,
  kIsPlain,
);

function parts(x: number): [mantissa: number, exponent: number] {
  if (x === 0 || !Number.isFinite(x)) return [x, 0];
  let exponent = Math.floor(Math.log2(Math.abs(x))) + 1;
  // The logarithm may have been rounded up to the next integer.
  if (Math.abs(x) / 2 ** exponent < 0.5) exponent -= 1;
  return [x / 2 ** exponent, exponent];
}

/** As `frexp` has it. */
export const mantissa: Function1 = unaryFunction(
  'mantissa',
  kMantissa,
  (x) => parts(x)[0],
  (x) => mantissaSlope(x),
);

/** The power of two that makes the mantissa of a number. */
export const mantissaSlope = (x: Expr): Expr =>
  e.select(e.and(e.ne(x, 0), e.isFinite(x)), e.div(mantissa(x), x), 1);

/** As `frexp` has it. */
export const exponent: Function1 = unaryFunction('exponent', kExponent, (x) => parts(x)[1], null);

const kNextafter = wgslFunction(`fn kNextafter$s(x: $F, y: $F) -> $F {
  let a = bitcast<$U>(x);
  let b = bitcast<$U>(y);
  let ma = a & $U(0x7fffffffu);
  let mb = b & $U(0x7fffffffu);
  let sign = a & $U(0x80000000u);
  // As integers in the order of the floats.
  let ia = select($I(ma), -$I(ma), sign != $U(0u));
  let ib = select($I(mb), -$I(mb), (b & $U(0x80000000u)) != $U(0u));
  let away = (ib > ia) == (sign == $U(0u));
  let moved = sign | select(ma - $U(1u), ma + $U(1u), away);
  let fromZero = (b & $U(0x80000000u)) | $U(1u);
  let r = select(select(moved, fromZero, ma == $U(0u)), b, ia == ib);
  let nan = (ma > $U(0x7f800000u)) | (mb > $U(0x7f800000u));
  return bitcast<$F>(select(r, $U(0x7fc00000u), nan));
}`);

/** The next float32 after the first on the way to the second. */
export const nextafter = mathFunction({
  name: 'nextafter',
  wgsl: { f32: kNextafter },
  value: ([x = 0, y = 0]) => {
    if (Number.isNaN(x) || Number.isNaN(y)) return NaN;
    if (x === y) return y;
    const float = new Float32Array([x]);
    const bits = new Int32Array(float.buffer);
    if (x === 0) bits[0] = y < 0 ? -0x7fffffff : 1;
    else bits[0] = (bits[0] as number) + (y > x === x > 0 ? 1 : -1);
    return float[0] as number;
  },
  derivatives: [null, null],
});
