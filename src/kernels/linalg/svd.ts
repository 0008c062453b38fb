/**
 * Singular values and vectors of small matrices, one invocation each: Householder bidiagonalisation, then
 * implicit QR with zero shifts where these keep small values exact (J. Demmel, W. Kahan, "Accurate singular
 * values of bidiagonal matrices", 1990; in LAPACK's order, sgebd2 and sbdsqr).
 */
import type { Target } from '../base/kernel.js';
import type { Launch } from '../base/plan.js';
import { writes } from '../base/shader.js';
import { epsilon, numberFunctions, reflectorFunction, rotateFunction, smallest } from './reflect.js';
import { cellLaunch } from './team.js';

const functions = `${numberFunctions}
${rotateFunction('rotateU', 'u')}
${rotateFunction('rotateV', 'v')}
${reflectorFunction('reflector', 'a')}
struct Two { small: f32, big: f32, sinR: f32, cosR: f32, sinL: f32, cosL: f32, }
// The singular value decomposition of [[f, g], [0, h]].
fn twoByTwo(f: f32, g: f32, h: f32) -> Two {
  let turned = abs(h) > abs(f);
  let ft = select(f, h, turned);
  let ht = select(h, f, turned);
  let fa = abs(ft);
  let ha = abs(ht);
  let ga = abs(g);
  var most = select(1, 3, turned);
  var out: Two;
  var cl = 1.0;
  var cr = 1.0;
  var sl = 0.0;
  var sr = 0.0;
  if (ga == 0.0) { out.small = ha; out.big = fa; }
  else {
    if (ga > fa) { most = 2; }
    if (ga > fa && fa / ga < ${epsilon}) {
      out.big = ga;
      out.small = select((fa / ga) * ha, fa / (ga / ha), ha > 1.0);
      sl = ht / g;
      sr = 1.0;
      cr = ft / g;
    } else {
      let dd = fa - ha;
      var l = select(dd / fa, 1.0, dd == fa);
      let m = g / ft;
      var t = 2.0 - l;
      let s = sqrt(t * t + m * m);
      let r = select(sqrt(l * l + m * m), abs(m), l == 0.0);
      let half = 0.5 * (s + r);
      out.small = ha / half;
      out.big = fa * half;
      if (m * m == 0.0) {
        if (l == 0.0) { t = signed(2.0, ft) * signed(1.0, g); } else { t = g / signed(dd, ft) + m / t; }
      } else { t = (m / (s + t) + m / (r + l)) * (1.0 + half); }
      l = sqrt(t * t + 4.0);
      cr = 2.0 / l;
      sr = t / l;
      cl = (cr + sr * m) / half;
      sl = (ht / ft) * sr / half;
    }
  }
  if (turned) { out.cosL = sr; out.sinL = cr; out.cosR = sl; out.sinR = cl; }
  else { out.cosL = cl; out.sinL = sl; out.cosR = cr; out.sinR = sr; }
  var way = 1.0;
  if (most == 1) { way = signed(1.0, out.cosR) * signed(1.0, out.cosL) * signed(1.0, f); }
  else if (most == 2) { way = signed(1.0, out.sinR) * signed(1.0, out.cosL) * signed(1.0, g); }
  else { way = signed(1.0, out.sinR) * signed(1.0, out.sinL) * signed(1.0, h); }
  out.big = signed(out.big, way);
  out.small = signed(out.small, way * signed(1.0, f) * signed(1.0, h));
  return out;
}
// The smaller singular value of [[f, g], [0, h]].
fn smallerOf(f: f32, g: f32, h: f32) -> f32 {
  let low = min(abs(f), abs(h));
  let high = max(abs(f), abs(h));
  let ga = abs(g);
  if (low == 0.0) { return 0.0; }
  let s = 1.0 + low / high;
  let t = (high - low) / high;
  if (ga < high) {
    let q = (ga / high) * (ga / high);
    return low * (2.0 / (sqrt(s * s + q) + sqrt(t * t + q)));
  }
  let q = high / ga;
  if (q == 0.0) { return (low * high) / ga; }
  return 2.0 * ((low / (sqrt(1.0 + (s * q) * (s * q)) + sqrt(1.0 + (t * q) * (t * q)))) * q);
}`;

const d = (i: string): string => `s[sb + u32(${i})]`;
const e = (i: string): string => `e[sb + u32(${i})]`;

/** Chases the bulge from `lo` down to `hi`, or up (`down` false), with the shift or without. */
function chase(down: boolean, shifted: boolean): string {
  const inner = down ? 'i' : 'i - 1';
  const head = down ? 'for (var i = lo; i < hi; i++) {' : 'for (var i = hi; i > lo; i--) {';
  const first = down ? 'i > lo' : 'i < hi';
  const behind = down ? 'i - 1' : 'i';
  const next = down ? 'i + 1' : 'i - 1';
  const last = down ? 'hi - 1' : 'lo';
  const end = down ? 'hi' : 'lo';
  // Which rotation meets which side: upwards, left and right change places, and turn the other way.
  const apply = (right: string, left: string): string =>
    down
      ? `rotateV(vb, n, n, i, ${right});
rotateU(ub, p.m, p.w, i, ${left});`
      : `rotateV(vb, n, n, i - 1, ${left.replace(', ', ', -')});
rotateU(ub, p.m, p.w, i - 1, ${right.replace(', ', ', -')});`;
  if (!shifted)
    return `var c1 = 1.0;
var c2 = 1.0;
var s2 = 0.0;
${head}
  let one = givens(${d('i')} * c1, ${e(inner)});
  c1 = one.x;
  if (${first}) { ${e(behind)} = s2 * one.z; }
  let two = givens(c2 * one.z, ${d(next)} * one.y);
  c2 = two.x;
  s2 = two.y;
  ${d('i')} = two.z;
  ${apply('one.x, one.y', 'two.x, two.y')}
}
let rest = ${d(end)} * c1;
${d(end)} = rest * c2;
${e(last)} = rest * s2;`;
  const start = down ? 'lo' : 'hi';
  return `var f = (abs(${d(start)}) - shift) * (signed(1.0, ${d(start)}) + shift / ${d(start)});
var g = ${e(down ? 'lo' : 'hi - 1')};
${head}
  let one = givens(f, g);
  if (${first}) { ${e(behind)} = one.z; }
  f = one.x * ${d('i')} + one.y * ${e(inner)};
  ${e(inner)} = one.x * ${e(inner)} - one.y * ${d('i')};
  g = one.y * ${d(next)};
  ${d(next)} = one.x * ${d(next)};
  let two = givens(f, g);
  ${d('i')} = two.z;
  f = two.x * ${e(inner)} + two.y * ${d(next)};
  ${d(next)} = two.x * ${d(next)} - two.y * ${e(inner)};
  if (${down ? 'i < hi - 1' : 'i > lo + 1'}) {
    g = two.y * ${e(down ? 'i + 1' : 'i - 2')};
    ${e(down ? 'i + 1' : 'i - 2')} = two.x * ${e(down ? 'i + 1' : 'i - 2')};
  }
  ${apply('one.x, one.y', 'two.x, two.y')}
}
${e(last)} = f;`;
}

const body = `let n = p.n;
let ab = cell * p.m * n;
let ub = cell * p.m * p.w;
let vb = cell * n * n;
let sb = cell * n;
for (var i = 0u; i < n; i++) {
  let t = reflector(ab + i * n + i, n, p.m - i);
  tauQ[sb + i] = t;
  s[sb + i] = a[ab + i * n + i];
  for (var c = i + 1u; c < n; c++) {
    var dot = a[ab + i * n + c];
    for (var r = i + 1u; r < p.m; r++) { dot = fma(a[ab + r * n + i], a[ab + r * n + c], dot); }
    dot *= t;
    a[ab + i * n + c] -= dot;
    for (var r = i + 1u; r < p.m; r++) { a[ab + r * n + c] = fma(-a[ab + r * n + i], dot, a[ab + r * n + c]); }
  }
  var q = 0.0;
  if (i + 1u < n) {
    q = reflector(ab + i * n + i + 1u, 1u, n - 1u - i);
    e[sb + i] = a[ab + i * n + i + 1u];
    for (var r = i + 1u; r < p.m; r++) {
      let row = ab + r * n;
      var dot = a[row + i + 1u];
      for (var c = i + 2u; c < n; c++) { dot = fma(a[ab + i * n + c], a[row + c], dot); }
      dot *= q;
      a[row + i + 1u] -= dot;
      for (var c = i + 2u; c < n; c++) { a[row + c] = fma(-a[ab + i * n + c], dot, a[row + c]); }
    }
  }
  tauP[sb + i] = q;
}
for (var r = 0u; r < p.m; r++) { for (var c = 0u; c < p.w; c++) { u[ub + r * p.w + c] = select(0.0, 1.0, r == c); } }
for (var r = 0u; r < n; r++) { for (var c = 0u; c < n; c++) { v[vb + r * n + c] = select(0.0, 1.0, r == c); } }
for (var step = 1u; step <= n; step++) {
  let i = n - step;
  for (var c = i; c < p.w; c++) {
    var dot = u[ub + i * p.w + c];
    for (var r = i + 1u; r < p.m; r++) { dot = fma(a[ab + r * n + i], u[ub + r * p.w + c], dot); }
    dot *= tauQ[sb + i];
    u[ub + i * p.w + c] -= dot;
    for (var r = i + 1u; r < p.m; r++) { u[ub + r * p.w + c] = fma(-a[ab + r * n + i], dot, u[ub + r * p.w + c]); }
  }
  for (var c = i + 1u; c < n; c++) {
    var dot = v[vb + (i + 1u) * n + c];
    for (var r = i + 2u; r < n; r++) { dot = fma(a[ab + i * n + r], v[vb + r * n + c], dot); }
    dot *= tauP[sb + i];
    v[vb + (i + 1u) * n + c] -= dot;
    for (var r = i + 2u; r < n; r++) { v[vb + r * n + c] = fma(-a[ab + i * n + r], dot, v[vb + r * n + c]); }
  }
}
let eps = ${epsilon};
let tol = 10.0 * eps;
var least = abs(s[sb]);
var mu = least;
for (var i = 1u; i < n && least > 0.0; i++) {
  mu = abs(s[sb + i]) * (mu / (mu + abs(e[sb + i - 1u])));
  least = min(least, mu);
}
let size = f32(n);
let thresh = max(tol * (least / sqrt(size)), 6.0 * size * size * ${smallest});
var budget = 6u * n * n;
var oldLo = -1;
var oldHi = -1;
var downward = true;
var hi = i32(n) - 1;
while (hi > 0 && budget > 0u) {
  budget--;
  var most = abs(${d('hi')});
  var lo = hi;
  var cut = false;
  while (lo > 0) {
    let off = abs(${e('lo - 1')});
    if (off <= thresh) { cut = true; break; }
    most = max(most, max(abs(${d('lo - 1')}), off));
    lo--;
  }
  if (cut) {
    ${e('lo - 1')} = 0.0;
    if (lo == hi) { hi--; continue; }
  }
  if (lo == hi - 1) {
    let two = twoByTwo(${d('lo')}, ${e('lo')}, ${d('hi')});
    ${d('lo')} = two.big;
    ${e('lo')} = 0.0;
    ${d('hi')} = two.small;
    rotateV(vb, n, n, lo, two.cosR, two.sinR);
    rotateU(ub, p.m, p.w, lo, two.cosL, two.sinL);
    hi -= 2;
    continue;
  }
  if (lo > oldHi || hi < oldLo) { downward = abs(${d('lo')}) >= abs(${d('hi')}); }
  var small = 0.0;
  var split = false;
  if (downward) {
    if (abs(${e('hi - 1')}) <= tol * abs(${d('hi')})) { ${e('hi - 1')} = 0.0; continue; }
    mu = abs(${d('lo')});
    small = mu;
    for (var i = lo; i < hi; i++) {
      if (abs(${e('i')}) <= tol * mu) { ${e('i')} = 0.0; split = true; break; }
      mu = abs(${d('i + 1')}) * (mu / (mu + abs(${e('i')})));
      small = min(small, mu);
    }
  } else {
    if (abs(${e('lo')}) <= tol * abs(${d('lo')})) { ${e('lo')} = 0.0; continue; }
    mu = abs(${d('hi')});
    small = mu;
    for (var i = hi - 1; i >= lo; i--) {
      if (abs(${e('i')}) <= tol * mu) { ${e('i')} = 0.0; split = true; break; }
      mu = abs(${d('i')}) * (mu / (mu + abs(${e('i')})));
      small = min(small, mu);
    }
  }
  if (split) { continue; }
  oldLo = lo;
  oldHi = hi;
  var shift = 0.0;
  if (size * tol * (small / most) > max(eps, 0.01 * tol)) {
    var head = 0.0;
    if (downward) { head = abs(${d('lo')}); shift = smallerOf(${d('hi - 1')}, ${e('hi - 1')}, ${d('hi')}); }
    else { head = abs(${d('hi')}); shift = smallerOf(${d('lo')}, ${e('lo')}, ${d('lo + 1')}); }
    if (head > 0.0 && (shift / head) * (shift / head) < eps) { shift = 0.0; }
  }
  if (shift == 0.0) {
    if (downward) {
      ${chase(true, false)}
    } else {
      ${chase(false, false)}
    }
  } else {
    if (downward) {
      ${chase(true, true)}
    } else {
      ${chase(false, true)}
    }
  }
  if (downward) { if (abs(${e('hi - 1')}) <= thresh) { ${e('hi - 1')} = 0.0; } }
  else { if (abs(${e('lo')}) <= thresh) { ${e('lo')} = 0.0; } }
}
for (var i = 0u; i < n; i++) {
  if (s[sb + i] < 0.0) {
    s[sb + i] = -s[sb + i];
    if (n == 1u) { for (var r = 0u; r < p.m; r++) { u[ub + r * p.w] = -u[ub + r * p.w]; } }
    else { for (var r = 0u; r < n; r++) { v[vb + r * n + i] = -v[vb + r * n + i]; } }
  }
}
for (var i = 0u; i + 1u < n; i++) {
  var k = i;
  for (var j = i + 1u; j < n; j++) { if (s[sb + j] > s[sb + k]) { k = j; } }
  if (k != i) {
    let t = s[sb + k]; s[sb + k] = s[sb + i]; s[sb + i] = t;
    for (var r = 0u; r < p.m; r++) {
      let x = u[ub + r * p.w + k]; u[ub + r * p.w + k] = u[ub + r * p.w + i]; u[ub + r * p.w + i] = x;
    }
    for (var r = 0u; r < n; r++) {
      let x = v[vb + r * n + k]; v[vb + r * n + k] = v[vb + r * n + i]; v[vb + r * n + i] = x;
    }
  }
}`;

/**
 * Buffers `a` (m x n, m >= n; destroyed), `u` (m x `width`, n or m), `s` (descending), `v` (n x n, not
 * transposed), workspaces `e`, `tauQ`, `tauP`, like `s`.
 */
export function svdLaunch(target: Target, count: number, m: number, n: number, width: number): Launch {
  const names = ['a', 'u', 's', 'v', 'e', 'tauQ', 'tauP'];
  return cellLaunch(
    target,
    {
      name: 'svd',
      bindings: names.map((name) => writes(name, 'f32')),
      params: ['m', 'n', 'w'],
      functions,
      body,
    },
    count,
    [m, n, width],
  );
}
