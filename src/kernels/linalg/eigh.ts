/**
 * Eigenvalues and vectors of small symmetric matrices, one invocation each: Householder tridiagonalisation,
 * then implicit QL or QR (J. Wilkinson, C. Reinsch, Handbook for Automatic Computation II; in LAPACK's order,
 * ssytd2 and ssteqr).
 */
import type { Target } from '../base/kernel.js';
import type { Launch } from '../base/plan.js';
import { writes } from '../base/shader.js';
import { epsilon, numberFunctions, reflectorFunction, rotateFunction, smallest } from './reflect.js';
import { cellLaunch } from './team.js';

const functions = `${numberFunctions}
${rotateFunction('rotateZ', 'z')}
${reflectorFunction('reflector', 'a')}
struct Pair { big: f32, small: f32, c: f32, s: f32, }
// Eigenvalues of [[x, y], [y, w]], the larger one by size first, and its vector.
fn pairOf(x: f32, y: f32, w: f32) -> Pair {
  let sum = x + w;
  let df = x - w;
  let tb = y + y;
  let ab = abs(tb);
  let rt = length2(df, tb);
  let large = select(w, x, abs(x) > abs(w));
  let little = select(x, w, abs(x) > abs(w));
  var out: Pair;
  var sign1 = 1.0;
  if (sum < 0.0) { out.big = 0.5 * (sum - rt); sign1 = -1.0; out.small = (large / out.big) * little - (y / out.big) * y; }
  else if (sum > 0.0) { out.big = 0.5 * (sum + rt); out.small = (large / out.big) * little - (y / out.big) * y; }
  else { out.big = 0.5 * rt; out.small = -0.5 * rt; }
  let sign2 = select(-1.0, 1.0, df >= 0.0);
  let cs = df + sign2 * rt;
  if (abs(cs) > ab) { let t = -tb / cs; out.s = 1.0 / sqrt(1.0 + t * t); out.c = t * out.s; }
  else if (ab == 0.0) { out.c = 1.0; out.s = 0.0; }
  else { let t = -cs / tb; out.c = 1.0 / sqrt(1.0 + t * t); out.s = t * out.c; }
  if (sign1 == sign2) { let t = out.c; out.c = -out.s; out.s = t; }
  return out;
}`;

/** One step of implicit QL (`ql`), or of QR, which is the same with everything mirrored. */
function sweep(ql: boolean): string {
  // The neighbour of l on the way to m, the off-diagonal between i and its neighbour, and where that lies.
  const next = ql ? 'l + 1' : 'l - 1';
  const edge = ql ? 'l' : 'l - 1';
  const from = (i: string): string => `d[db + u32(${i})]`;
  const off = (i: string): string => `e[db + u32(${i})]`;
  return `loop {
  var m = l;
  while (m != end) {
    let t = ${off(ql ? 'm' : 'm - 1')};
    if (t * t <= (eps * eps * abs(${from('m')})) * abs(${from(ql ? 'm + 1' : 'm - 1')}) + tiny) { break; }
    m ${ql ? '+' : '-'}= 1;
  }
  if (m != end) { ${off(ql ? 'm' : 'm - 1')} = 0.0; }
  if (m == l) { l ${ql ? '+' : '-'}= 1; }
  else if (m == ${next}) {
    let low = ${ql ? 'l' : 'l - 1'};
    let two = pairOf(${from('low')}, ${off('low')}, ${from('low + 1')});
    rotateZ(zb, n, n, low, two.c, two.s);
    ${from('low')} = two.big;
    ${from('low + 1')} = two.small;
    ${off('low')} = 0.0;
    l ${ql ? '+' : '-'}= 2;
  } else {
    if (budget == 0u) { break; }
    budget--;
    let start = ${from('l')};
    var g = (${from(next)} - start) / (2.0 * ${off(edge)});
    var r = length2(g, 1.0);
    g = ${from('m')} - start + (${off(edge)} / (g + signed(r, g)));
    var s = 1.0;
    var c = 1.0;
    var q = 0.0;
    for (var i = ${ql ? 'm - 1' : 'm'}; ${ql ? 'i >= l' : 'i < l'}; i${ql ? '--' : '++'}) {
      let f = s * ${off('i')};
      let b = c * ${off('i')};
      let turn = givens(g, f);
      c = turn.x;
      s = turn.y;
      if (${ql ? 'i != m - 1' : 'i != m'}) { ${off(ql ? 'i + 1' : 'i - 1')} = turn.z; }
      let here = ${ql ? 'i + 1' : 'i'};
      g = ${from('here')} - q;
      r = (${from(ql ? 'i' : 'i + 1')} - g) * s + 2.0 * c * b;
      q = s * r;
      ${from('here')} = g + q;
      g = c * r - b;
      rotateZ(zb, n, n, i, c, ${ql ? '-s' : 's'});
    }
    ${from('l')} -= q;
    ${off(edge)} = g;
  }
  if (l ${ql ? '>' : '<'} end) { break; }
}`;
}

const body = (mirrored: boolean): string => `let n = p.n;
let zb = cell * n * n;
let db = cell * n;
let eps = ${epsilon};
let tiny = ${smallest};
for (var i = 0u; i + 1u < n; i++) {
  let col = zb + (i + 1u) * n + i;
  let t = reflector(col, n, n - 1u - i);
  let beta = a[col];
  d[db + i] = a[zb + i * n + i];
  tau[db + i] = t;
  if (t != 0.0) {
    a[col] = 1.0;
    var inner = 0.0;
    for (var r = i + 1u; r < n; r++) {
      var sum = 0.0;
      for (var c = i + 1u; c < n; c++) { sum = fma(a[zb + max(r, c) * n + min(r, c)], a[zb + c * n + i], sum); }
      e[db + r] = t * sum;
      inner = fma(e[db + r], a[zb + r * n + i], inner);
    }
    let half = -0.5 * t * inner;
    for (var r = i + 1u; r < n; r++) { e[db + r] = fma(half, a[zb + r * n + i], e[db + r]); }
    for (var r = i + 1u; r < n; r++) {
      for (var c = i + 1u; c <= r; c++) {
        a[zb + r * n + c] -= a[zb + r * n + i] * e[db + c] + e[db + r] * a[zb + c * n + i];
      }
    }
  }
  e[db + i] = beta;
}
d[db + n - 1u] = a[zb + n * n - 1u];
for (var r = 0u; r < n; r++) { for (var c = 0u; c < n; c++) { z[zb + r * n + c] = select(0.0, 1.0, r == c); } }
for (var step = 1u; step < n; step++) {
  let i = n - 1u - step;
  if (tau[db + i] != 0.0) {
    for (var c = i + 1u; c < n; c++) {
      var dot = z[zb + (i + 1u) * n + c];
      for (var r = i + 2u; r < n; r++) { dot = fma(a[zb + r * n + i], z[zb + r * n + c], dot); }
      dot *= tau[db + i];
      z[zb + (i + 1u) * n + c] -= dot;
      for (var r = i + 2u; r < n; r++) { z[zb + r * n + c] = fma(-a[zb + r * n + i], dot, z[zb + r * n + c]); }
    }
  }
}
${
  mirrored
    ? `for (var i = 0u; i < n / 2u; i++) {
  let t = d[db + i]; d[db + i] = d[db + n - 1u - i]; d[db + n - 1u - i] = t;
}
for (var i = 0u; i < (n - 1u) / 2u; i++) {
  let t = e[db + i]; e[db + i] = e[db + n - 2u - i]; e[db + n - 2u - i] = t;
}
for (var i = 0u; i < n * n / 2u; i++) {
  let t = z[zb + i]; z[zb + i] = z[zb + n * n - 1u - i]; z[zb + n * n - 1u - i] = t;
}`
    : ''
}
var budget = 30u * n;
let count = i32(n);
var begin = 0;
while (begin < count) {
  if (begin > 0) { e[db + u32(begin) - 1u] = 0.0; }
  var last = begin;
  while (last < count - 1) {
    let t = abs(e[db + u32(last)]);
    if (t <= sqrt(abs(d[db + u32(last)])) * sqrt(abs(d[db + u32(last) + 1u])) * eps) { e[db + u32(last)] = 0.0; break; }
    last++;
  }
  var l = begin;
  var end = last;
  begin = last + 1;
  if (end == l) { continue; }
  if (abs(d[db + u32(end)]) < abs(d[db + u32(l)])) { end = l; l = last; }
  if (end > l) {
    ${sweep(true)}
  } else {
    ${sweep(false)}
  }
}
for (var i = 0u; i + 1u < n; i++) {
  var k = i;
  for (var j = i + 1u; j < n; j++) { if (d[db + j] < d[db + k]) { k = j; } }
  if (k != i) {
    let t = d[db + k]; d[db + k] = d[db + i]; d[db + i] = t;
    for (var r = 0u; r < n; r++) {
      let v = z[zb + r * n + k]; z[zb + r * n + k] = z[zb + r * n + i]; z[zb + r * n + i] = v;
    }
  }
}`;

/**
 * Buffers `a` (symmetric by its lower triangle; destroyed), `d` (values, ascending), `z` (vectors in
 * columns), workspaces `e` and `tau`, like `d`. `mirrored`: `a` is the matrix turned by 180 degrees, as
 * LAPACK works through it where the upper triangle is given; results are those of the matrix itself.
 */
export function eighLaunch(target: Target, count: number, n: number, mirrored: boolean): Launch {
  return cellLaunch(
    target,
    {
      name: 'eigh',
      key: mirrored ? 'mirrored' : '',
      bindings: [
        writes('a', 'f32'),
        writes('d', 'f32'),
        writes('z', 'f32'),
        writes('e', 'f32'),
        writes('tau', 'f32'),
      ],
      params: ['n'],
      functions,
      body: body(mirrored),
    },
    count,
    [n],
  );
}
