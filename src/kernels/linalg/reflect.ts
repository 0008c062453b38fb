/**
 * WGSL that the eigenvalue and singular value kernels share: one invocation works on one small matrix, in
 * LAPACK's order of operations, so that vectors get LAPACK's signs.
 */

/** What rounding loses, relative. */
export const epsilon = '5.9604645e-8';
export const smallest = '1.1754944e-38';

export const numberFunctions = `fn signed(v: f32, like: f32) -> f32 { return select(abs(v), -abs(v), (bitcast<u32>(like) >> 31u) == 1u); }
fn length2(x: f32, y: f32) -> f32 {
  let a = abs(x);
  let b = abs(y);
  let most = max(a, b);
  let least = min(a, b);
  if (least == 0.0) { return most; }
  let q = least / most;
  return most * sqrt(fma(q, q, 1.0));
}
// Cosine, sine and length of the rotation that takes (f, g) to (r, 0).
fn givens(f: f32, g: f32) -> vec3<f32> {
  if (g == 0.0) { return vec3<f32>(1.0, 0.0, f); }
  if (f == 0.0) { return vec3<f32>(0.0, signed(1.0, g), abs(g)); }
  let d = length2(f, g);
  let r = signed(d, f);
  return vec3<f32>(abs(f) / d, g / r, r);
}`;

/** Columns `j` and `j + 1` of a matrix of `rows` by `width` that begins at `base`, rotated. */
export const rotateFunction = (
  name: string,
  array: string,
): string => `fn ${name}(base: u32, rows: u32, width: u32, j: i32, c: f32, s: f32) {
  for (var i = 0u; i < rows; i++) {
    let at = base + i * width + u32(j);
    let x = ${array}[at];
    let y = ${array}[at + 1u];
    ${array}[at + 1u] = c * y - s * x;
    ${array}[at] = s * y + c * x;
  }
}`;

/**
 * A reflector that takes the vector of `count` elements of `array` at `first`, `stride` apart, to a multiple
 * of its first unit vector: leaves that multiple in its first place, the rest of v behind, and gives tau.
 */
export const reflectorFunction = (
  name: string,
  array: string,
): string => `fn ${name}(first: u32, stride: u32, count: u32) -> f32 {
  if (count < 2u) { return 0.0; }
  var most = 0.0;
  for (var i = 1u; i < count; i++) { most = max(most, abs(${array}[first + i * stride])); }
  if (most == 0.0) { return 0.0; }
  let alpha = ${array}[first];
  let unit = max(most, abs(alpha));
  var squares = (alpha / unit) * (alpha / unit);
  for (var i = 1u; i < count; i++) {
    let v = ${array}[first + i * stride] / unit;
    squares = fma(v, v, squares);
  }
  let beta = -signed(unit * sqrt(squares), alpha);
  for (var i = 1u; i < count; i++) { ${array}[first + i * stride] /= alpha - beta; }
  ${array}[first] = beta;
  return (beta - alpha) / beta;
}`;
