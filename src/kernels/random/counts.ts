/**
 * Poisson's and the binomial distribution, whose parameters are tensors. Where few events are expected they
 * are counted one by one; else a hat function is drawn from and rejected (Hörmann 1993, "The transformed
 * rejection method for generating Poisson random variables" and "The generation of binomial random variates":
 * PTRS and BTRS), with probabilities by Loader's saddle-point expansion (2000), for which float32 has digits
 * enough.
 */
import { linearWorkgroup, memoKernel } from '../base/kernel.js';
import type { Plan, PlanLimits } from '../base/plan.js';
import { reads, shader, writes } from '../base/shader.js';
import { kLog } from '../expr/math.js';
import { WgslFunctions } from '../expr/wgsl-function.js';
import { entryPoint, generatorOf, group, keyParams, launchRanges, type RandomKey } from './fill.js';

/** More trials than any draw takes; what lies behind the last element may be no number. */
const most = 4096;

const probabilities = (log: string): string => `
// log(n!) less Stirling's formula for it.
fn stirlingError(n: f32) -> f32 {
  let r = 1.0 / (n * n);
  return (0.083333333333 - (0.0027777777778 - (0.00079365079365 - 0.000595238095 * r) * r) * r) / n;
}
// x log(x / m) + m - x
fn deviance(x: f32, m: f32) -> f32 {
  if (abs(x - m) < 0.1 * (x + m)) {
    let v = (x - m) / (x + m);
    let w = v * v;
    return (x - m) * v + 2.0 * x * v * w * (0.33333333 + w * (0.2 + w * (0.14285714 + w * 0.11111111)));
  }
  return x * ${log}(x / m) + m - x;
}
fn log1minus(q: f32) -> f32 {
  if (q > 0.01) { return ${log}(1.0 - q); }
  return -q * (1.0 + q * (0.5 + q * (0.33333333 + q * (0.25 + q * 0.2))));
}
// (0, 1]
fn draw4(i: u32, t: u32) -> vec4<f32> { return 1.0 - unit4(random4(i, t)); }`;

const poisson = (log: string): string => `
fn logPoisson(k: f32, m: f32) -> f32 {
  if (k == 0.0) { return -m; }
  return -deviance(k, m) - stirlingError(k) - 0.5 * ${log}(6.283185307179586 * k);
}
fn count(i: u32, m: f32, _unused: f32) -> f32 {
  if (!(m > 0.0)) { return 0.0; }
  if (m < 10.0) {
    let limit = exp(-m);
    var k = 0.0;
    var product = 1.0;
    for (var t = 0u; t < ${most}u; t++) {
      let u = draw4(i, t);
      for (var j = 0u; j < 4u; j++) {
        product *= u[j];
        if (product < limit) { return k; }
        k += 1.0;
      }
    }
    return k;
  }
  let b = 0.931 + 2.53 * sqrt(m);
  let a = -0.059 + 0.02483 * b;
  let least = 0.9277 - 3.6224 / (b - 2.0);
  let scale = 1.1239 + 1.1328 / (b - 3.4);
  for (var t = 0u; t < ${most}u; t++) {
    let d = draw4(i, t);
    let u = d.x - 0.5;
    let us = max(0.5 - abs(u), 1e-9);
    let k = floor((2.0 * a / us + b) * u + m + 0.43);
    if (us >= 0.07 && d.y <= least) { return k; }
    if (k < 0.0 || (us < 0.013 && d.y > us)) { continue; }
    if (${log}(d.y * scale / (a / (us * us) + b)) <= logPoisson(k, m)) { return k; }
  }
  return m;
}`;

const binomial = (log: string): string => `
fn logBinomial(k: f32, n: f32, q: f32) -> f32 {
  if (k == 0.0) { return n * log1minus(q); }
  if (k == n) { return n * ${log}(q); }
  return stirlingError(n) - stirlingError(k) - stirlingError(n - k) - deviance(k, n * q)
    - deviance(n - k, n * (1.0 - q)) + 0.5 * ${log}(n / (k * (n - k)) * 0.15915494309189535);
}
fn likelier(i: u32, n: f32, q: f32) -> f32 {
  if (n * q < 10.0) {
    // Failures until the next success are geometric.
    let rate = log1minus(q);
    var passed = 0.0;
    var k = 0.0;
    for (var t = 0u; t < ${most}u; t++) {
      let u = draw4(i, t);
      for (var j = 0u; j < 4u; j++) {
        passed += max(ceil(${log}(u[j]) / rate), 1.0);
        if (passed > n) { return k; }
        k += 1.0;
      }
    }
    return k;
  }
  let deviation = sqrt(n * q * (1.0 - q));
  let b = 1.15 + 2.53 * deviation;
  let a = -0.0873 + 0.0248 * b + 0.01 * q;
  let least = 0.92 - 4.2 / b;
  let scale = (2.83 + 5.1 / b) * deviation;
  let mode = logBinomial(floor((n + 1.0) * q), n, q);
  for (var t = 0u; t < ${most}u; t++) {
    let d = draw4(i, t);
    let u = d.x - 0.5;
    let us = max(0.5 - abs(u), 1e-9);
    let k = floor((2.0 * a / us + b) * u + n * q + 0.5);
    if (k < 0.0 || k > n) { continue; }
    if (us >= 0.07 && d.y <= least) { return k; }
    if (${log}(d.y * scale / (a / (us * us) + b)) <= logBinomial(k, n, q) - mode) { return k; }
  }
  return n * q;
}
fn count(i: u32, n: f32, q: f32) -> f32 {
  if (!(n > 0.0) || !(q > 0.0)) { return 0.0; }
  if (q >= 1.0) { return n; }
  if (q <= 0.5) { return likelier(i, n, q); }
  return n - likelier(i, n, 1.0 - q);
}`;

const kinds = { poisson, binomial } as const;

/**
 * `count` draws into `y` by the float32 parameters in `a` (rates, or how many tries) and, of the binomial
 * distribution, `b` (probabilities), all dense.
 */
export function planCounts(
  limits: PlanLimits,
  kind: keyof typeof kinds,
  count: number,
  key: RandomKey,
): Plan {
  const kernel = memoKernel(`random:${kind}`, () => {
    const functions = new WgslFunctions();
    const log = functions.use(kLog, 1);
    const second = kind === 'binomial';
    return {
      name: `random_${kind}`,
      params: keyParams,
      ...shader({
        bindings: [
          reads('a', 'vec4<f32>'),
          ...(second ? [reads('b', 'vec4<f32>')] : []),
          writes('y', 'vec4<f32>'),
        ],
        functions: [
          generatorOf('i: u32, t: u32', 't'),
          functions.code(),
          probabilities(log),
          kinds[kind](log),
        ].join('\n'),
        ...entryPoint,
        body: `  let i = ${linearWorkgroup} * ${group}u + lane;
  if (i >= p.count) { return; }
  var v = vec4<f32>();
  for (var j = 0u; j < 4u; j++) { v[j] = count(4u * (p.first + i) + j, a[i][j], ${second ? 'b[i][j]' : '0.0'}); }
  y[i] = v;`,
      }),
    };
  });
  const names = kind === 'binomial' ? ['a', 'b', 'y'] : ['a', 'y'];
  return launchRanges(kernel, names, 'f32', count, limits, key, [0, 0, 0, 0]);
}
