/**
 * Errors of elementwise and special functions over ranges, beside PyTorch's on the CPU: writes docs/numerics.md.
 *
 *     npx tsx scripts/numerics.ts [--only NAME,NAME] [--no-save]
 *
 * The reference is PyTorch in float64, at the same float32 points.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as k from '../src/index.js';
import type { Tensor } from '../src/index.js';

interface Row {
  readonly name: string;
  readonly range: readonly [number, number];
  /** Points lie evenly, or evenly in their logarithms. */
  readonly log?: boolean;
  /**
   * Below this value errors count as absolute: results that pass through 0, where every implementation loses its
   * relative accuracy.
   */
  readonly floor?: number;
  readonly torch: string;
  /** Python of the reference, where PyTorch's formula loses digits in float64 too. */
  readonly reference?: string;
  readonly kindling: (x: Tensor) => Tensor;
  /** Why it is worse than PyTorch. */
  readonly why?: string;
}

const count = 3001;

type Extra = Pick<Row, 'log' | 'floor' | 'why' | 'reference'>;
const row = (
  name: string,
  range: readonly [number, number],
  kindling: (x: Tensor) => Tensor,
  torch: string,
  extra: Extra = {},
): Row => ({ name, range, kindling, torch: torch.includes('(') ? torch : `torch.${torch}(x)`, ...extra });

const { special } = k;
const log = { log: true };
const zero = { floor: 1 };
const inDouble = 'PyTorch computes it in double precision and rounds';
const poles = 'by reflection it is a difference of two greater numbers, which is exact to their last place';

const rows: readonly Row[] = [
  row('exp', [-80, 80], k.exp, 'exp'),
  row('exp2', [-120, 120], k.exp2, 'exp2'),
  row('expm1', [-10, 80], k.expm1, 'expm1'),
  row('expm1', [1e-10, 1], k.expm1, 'expm1', log),
  row('log', [1e-30, 1e30], k.log, 'log', log),
  row('log', [0.5, 2], k.log, 'log'),
  row('log2', [1e-30, 1e30], k.log2, 'log2', log),
  row('log2', [0.5, 2], k.log2, 'log2'),
  row('log10', [1e-30, 1e30], k.log10, 'log10', log),
  row('log1p', [1e-10, 1e10], k.log1p, 'log1p', log),
  row('log1p', [-0.99, 1], k.log1p, 'log1p'),
  row('sqrt', [1e-30, 1e30], k.sqrt, 'sqrt', log),
  row('rsqrt', [1e-30, 1e30], k.rsqrt, 'rsqrt', log),
  row('reciprocal', [1e-30, 1e30], k.reciprocal, 'reciprocal', log),
  row('pow(x, 3.75)', [1e-8, 1e8], (x) => k.pow(x, 3.75), 'torch.pow(x, 3.75)', log),
  row('pow(x, -0.375)', [1e-30, 1e30], (x) => k.pow(x, -0.375), 'torch.pow(x, -0.375)', log),
  row('pow(1.5, x)', [-200, 200], (x) => k.pow(k.full(x.shape, 1.5), x), 'torch.pow(1.5, x)'),
  row('sin', [-10, 10], k.sin, 'sin', zero),
  row('sin', [-8000, 8000], k.sin, 'sin', zero),
  row('cos', [-10, 10], k.cos, 'cos', zero),
  row('cos', [-8000, 8000], k.cos, 'cos', zero),
  row('tan', [-1.5, 1.5], k.tan, 'tan'),
  row('asin', [-1, 1], k.asin, 'asin'),
  row('acos', [-1, 1], k.acos, 'acos'),
  row('atan', [1e-5, 1e5], k.atan, 'atan', log),
  row('atan2(x, 2)', [-100, 100], (x) => k.atan2(x, 2), 'torch.atan2(x, torch.full_like(x, 2))'),
  row('sinh', [-80, 80], k.sinh, 'sinh'),
  row('cosh', [-80, 80], k.cosh, 'cosh'),
  row('tanh', [-10, 10], k.tanh, 'tanh'),
  row('asinh', [1e-5, 1e10], k.asinh, 'asinh', log),
  row('acosh', [1, 100], k.acosh, 'acosh'),
  row('atanh', [-0.99, 0.99], k.atanh, 'atanh'),
  row('sigmoid', [-80, 80], k.sigmoid, 'sigmoid'),
  row('logit', [0.001, 0.999], (x) => k.logit(x), 'logit', zero),
  row('softplus', [-80, 80], (x) => k.softplus(x), 'torch.nn.functional.softplus(x)'),
  row('gelu', [-5, 5], (x) => k.gelu(x), 'torch.nn.functional.gelu(x)', { reference: 'x * torch.erfc(-x * 0.5 ** 0.5) / 2' }),
  row('silu', [-20, 20], k.silu, 'torch.nn.functional.silu(x)'),
  row('mish', [-20, 20], k.mish, 'torch.nn.functional.mish(x)'),
  row('hypot(x, 2)', [1e-30, 1e30], (x) => k.hypot(x, 2), 'torch.hypot(x, torch.full_like(x, 2))', log),
  row('fmod(x, 3)', [1e-5, 1e10], (x) => k.fmod(x, 3), 'torch.fmod(x, 3)', log),
  row('remainder(x, 3)', [-1e10, 1e10], (x) => k.remainder(x, 3), 'torch.remainder(x, 3)'),
  row('logaddexp(x, 1)', [-50, 50], (x) => k.logaddexp(x, 1), 'torch.logaddexp(x, torch.ones_like(x))'),
  row('logaddexp2(x, 1)', [-50, 50], (x) => k.logaddexp2(x, 1), 'torch.logaddexp2(x, torch.ones_like(x))'),
  row('sinc', [-10, 10], k.sinc, 'sinc', zero),
  row('erf', [-4, 4], k.erf, 'erf'),
  row('erfc', [-4, 9], k.erfc, 'erfc'),
  row('erfinv', [-0.999, 0.999], k.erfinv, 'erfinv'),
  row('special.erfcx', [-9, 100], special.erfcx, 'special.erfcx', { why: inDouble }),
  row('special.ndtr', [-12, 5], special.ndtr, 'special.ndtr', { reference: 'torch.erfc(-x * 0.5 ** 0.5) / 2' }),
  row('special.logNdtr', [-100, 5], special.logNdtr, 'special.log_ndtr'),
  row('special.ndtri', [1e-30, 0.999], special.ndtri, 'special.ndtri', { log: true, floor: 1 }),
  row('special.entr', [1e-10, 10], special.entr, 'special.entr', { log: true, floor: 1 }),
  row('special.xlog1py(x, 2)', [-5, 5], (x) => special.xlog1py(x, 2), 'torch.special.xlog1py(x, 2)'),
  row('lgamma', [1e-5, 1e5], k.lgamma, 'lgamma', log),
  row('lgamma', [0.5, 3], k.lgamma, 'lgamma'),
  row('lgamma', [-9.9, -0.1], k.lgamma, 'lgamma', { ...zero, why: poles }),
  row('digamma', [1e-5, 1e5], k.digamma, 'digamma', { log: true, floor: 1 }),
  row('digamma', [-9.9, -0.1], k.digamma, 'digamma', { ...zero, why: poles }),
  row('polygamma(1, x)', [0.1, 50], (x) => k.polygamma(1, x), 'torch.polygamma(1, x)'),
  row('polygamma(3, x)', [0.1, 50], (x) => k.polygamma(3, x), 'torch.polygamma(3, x)'),
  row('special.zeta(x, 1.5)', [1.125, 30], (x) => special.zeta(x, 1.5), 'torch.special.zeta(x, 1.5)'),
  row('igamma(2.5, x)', [0.01, 20], (x) => k.igamma(k.full(x.shape, 2.5), x), 'torch.igamma(torch.full_like(x, 2.5), x)', { why: inDouble }),
  row('igammac(2.5, x)', [0.01, 20], (x) => k.igammac(k.full(x.shape, 2.5), x), 'torch.igammac(torch.full_like(x, 2.5), x)', { why: inDouble }),
  row('igamma(50, x)', [10, 100], (x) => k.igamma(k.full(x.shape, 50), x), 'torch.igamma(torch.full_like(x, 50), x)', { why: inDouble }),
  row('i0', [-80, 80], k.i0, 'i0'),
  row('special.i0e', [-100, 100], special.i0e, 'special.i0e'),
  row('special.i1', [-80, 80], special.i1, 'special.i1'),
  row('special.i1e', [-100, 100], special.i1e, 'special.i1e'),
  row('special.besselJ0', [-50, 50], special.besselJ0, 'special.bessel_j0', zero),
  row('special.besselJ1', [-50, 50], special.besselJ1, 'special.bessel_j1', zero),
  row('special.besselY0', [0.125, 50], special.besselY0, 'special.bessel_y0', zero),
  row('special.besselY1', [0.125, 50], special.besselY1, 'special.bessel_y1', zero),
  row('special.modifiedBesselK0', [0.125, 50], special.modifiedBesselK0, 'special.modified_bessel_k0'),
  row('special.modifiedBesselK1', [0.125, 50], special.modifiedBesselK1, 'special.modified_bessel_k1'),
  row('special.legendrePolynomialP(x, 10)', [-1, 1], (x) => special.legendrePolynomialP(x, 10), 'torch.special.legendre_polynomial_p(x, 10)', zero),
  row('special.chebyshevPolynomialT(x, 5)', [-1, 1], (x) => special.chebyshevPolynomialT(x, 5), 'torch.special.chebyshev_polynomial_t(x, 5)', zero),
  row('special.hermitePolynomialH(x, 5)', [1, 5], (x) => special.hermitePolynomialH(x, 5), 'torch.special.hermite_polynomial_h(x, 5)', { floor: 100 }),
]; // prettier-ignore

function pointsOf({ range: [low, high], log: inLogs }: Row): Float32Array {
  const at = (t: number): number => (inLogs ? low * (high / low) ** t : low + (high - low) * t);
  return Float32Array.from({ length: count }, (_, i) =>
    Math.min(high, Math.max(low, Math.fround(at(i / (count - 1))))),
  );
}

const base64 = (a: Float32Array): string =>
  Buffer.from(a.buffer, a.byteOffset, a.byteLength).toString('base64');
function doubles(text: string): Float64Array {
  const bytes = Uint8Array.from(Buffer.from(text, 'base64'));
  return new Float64Array(bytes.buffer);
}

/** The spacing of float32 at `value`. */
const spacing = (value: number): number => 2 ** (Math.floor(Math.log2(value)) - 23);

const smallestNormal = 2 ** -126;

/** The largest error in units of the last place of the reference, and where. */
function worst(
  values: ArrayLike<number>,
  reference: Float64Array,
  points: Float32Array,
  floor: number,
): { error: number; at: number } {
  let [error, at] = [0, NaN];
  reference.forEach((r, i) => {
    const size = Math.max(Math.abs(r), floor);
    if (!Number.isFinite(r) || size < smallestNormal || size > 3.4e38) return;
    const e = Math.abs(values[i]! - r) / spacing(size);
    if (!(e <= error)) [error, at] = [e, points[i]!];
  });
  return { error, at };
}

const show = (v: number): string => (Number.isNaN(v) ? 'NaN' : v >= 1e4 ? v.toExponential(0) : v.toFixed(1));

const args = process.argv.slice(2);
const only = args.includes('--only') ? args[args.indexOf('--only') + 1]!.split(',') : null;
const chosen = rows.filter(({ name }) => only === null || only.some((part) => name.includes(part)));

await k.init();
const points = chosen.map(pointsOf);
const answers = JSON.parse(
  execFileSync(
    process.env['KINDLING_PYTHON'] ?? '/usr/bin/python3',
    [fileURLToPath(new URL('numerics.py', import.meta.url))],
    {
      input: JSON.stringify({
        rows: chosen.map(({ torch, reference = torch }, i) => ({
          torch,
          reference,
          points: base64(points[i]!),
        })),
      }),
      maxBuffer: 2 ** 30,
    },
  ).toString(),
) as { float64: string; float32: string }[];

const lines: string[] = [];
const reasons: string[] = [];
let unexplained = 0;
for (const [i, { name, range, log: inLogs, floor = 0, kindling, why }] of chosen.entries()) {
  const x = k.tensor(points[i]!);
  const reference = doubles(answers[i]!.float64);
  const ours = worst(await kindling(x).data(), reference, points[i]!, floor);
  const theirs = worst(doubles(answers[i]!.float32), reference, points[i]!, floor);
  const worse = !(ours.error <= 4 * Math.max(theirs.error, 1));
  if (worse && why !== undefined) reasons.push(`- \`${name}\`, ${range.join(' to ')}: ${why}.`);
  if (worse && why === undefined) unexplained++;
  const note = [floor > 0 ? `absolute below ${floor}` : '', inLogs ? 'points even in their logarithms' : ''];
  lines.push(
    `| \`${name}\` | ${range.join(' to ')} | ${show(ours.error)}${worse ? ' (*)' : ''} | ${show(theirs.error)} | ${note.filter(Boolean).join('; ')} |`,
  );
  console.log(`${lines.at(-1)}  worst at ${ours.at}${worse && why === undefined ? '  <- WORSE' : ''}`);
}
if (unexplained > 0) console.log(`${unexplained} rows are more than four times as far off as PyTorch`);

const page = () => `# Numerics

How far elementwise and special functions are from the exact value, in units of the last place of float32 (ulp): the largest error
over ${count.toLocaleString('en')} points of a range, kindling's (on ${k.runtime().info.description || 'this adapter'}) beside PyTorch's on the CPU. The reference
is PyTorch in float64 at the same float32 points. \`npx tsx scripts/numerics.ts\` measures and writes this page.

A row is marked (*) where kindling's error is more than four times the greater of PyTorch's and 1 ulp; below the table it says why.
"Absolute below 1": where a result passes through 0, the error counts as if the value were 1. Results below float32's normal
range do not count: adapters may flush them to 0.

Functions are made from kindling's own polynomials (\`src/kernels/expr\`), not from WGSL's, whose precision differs between adapters;
what an adapter still decides is division (2.5 ulp by the specification), square roots, and sines and cosines of arguments past 8192.

| function | range | kindling, ulp | PyTorch, ulp | |
|---|---|---|---|---|
${lines.join('\n')}
${reasons.length === 0 ? '' : `\n(*)\n\n${reasons.join('\n')}\n`}`;

const file = new URL('../docs/numerics.md', import.meta.url);
/** What follows the functions is by another script. */
const rest = /\n## Convolutions[^]*$/.exec(readFileSync(file, 'utf8'))?.[0] ?? '';
if (!args.includes('--no-save') && only === null) writeFileSync(file, page() + rest);
k.close();
