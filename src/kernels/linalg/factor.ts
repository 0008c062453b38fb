/**
 * Factorisations in place: LU with partial pivoting, Cholesky, Householder QR; signs, pivots and `info` as
 * LAPACK has them (getrf, potrf, geqrf; https://netlib.org/lapack/explore-html/).
 */
import type { Fault, Target } from '../base/kernel.js';
import type { Launch } from '../base/plan.js';
import { reads, writes } from '../base/shader.js';
import { cellLaunch, teamLaunch } from './team.js';

/** Raised by a factorisation that did not come to its end, with the matrix and LAPACK's `info`. */
const failure = (op: string, text: (info: number) => string): Fault => ({
  op,
  text: ([matrix, info, count]) =>
    `${op}: ${count > 1 ? `matrix ${matrix} of the batch` : 'the matrix'} ${text(info)}`,
});

const raise = (fault: Fault | undefined): string =>
  fault ? 'if (found != 0u) { raiseFault(vec4<u32>(matrix, found, p.count, 0u)); }' : '';

const at = (index: number): string => `[${index - 1}, ${index - 1}]`;

export interface FactorSpec {
  readonly count: number;
  readonly rows: number;
  readonly columns: number;
  /** The op whose error a failure is; without one only `info` tells. */
  readonly loud?: string | undefined;
}

/**
 * Buffers `a` (rows x columns; afterwards L below the diagonal, U above), `pivots` (int32, from 1) and `info`
 * (int32, 0 or the first zero pivot, from 1).
 */
export function luLaunch(target: Target, spec: FactorSpec & { readonly pivot: boolean }): Launch {
  const { count, rows, columns, loud, pivot } = spec;
  const fault = loud === undefined ? undefined : failure(loud, (info) => `is singular: U${at(info)} is zero`);
  const search = pivot
    ? `var best = -1.0;
for (var i = j + lane; i < p.m; i += lanes) {
  let v = abs(a[base + i * p.n + j]);
  if (v > best) { best = v; place = i; }
}
place = teamPlace(best, place, lane);`
    : '';
  return teamLaunch(
    target,
    {
      name: 'lu',
      key: pivot ? '' : 'plain',
      bindings: [writes('a', 'f32'), writes('pivots', 'i32'), writes('info', 'i32')],
      params: ['m', 'n'],
      ...(fault && { fault }),
      body: (sync) => `let base = matrix * p.m * p.n;
let k = min(p.m, p.n);
var found = 0u;
for (var j = 0u; j < k; j++) {
  var place = j;
  ${search}
  if (lane == 0u) { pivots[matrix * k + j] = i32(place) + 1; }
  if (place != j) {
    for (var c = lane; c < p.n; c += lanes) {
      let v = a[base + j * p.n + c];
      a[base + j * p.n + c] = a[base + place * p.n + c];
      a[base + place * p.n + c] = v;
    }
  }
  ${sync}
  let d = a[base + j * p.n + j];
  if (d == 0.0) { found = select(found, j + 1u, found == 0u); }
  else { for (var i = j + 1u + lane; i < p.m; i += lanes) { a[base + i * p.n + j] /= d; } }
  ${sync}
  for (var i = j + 1u; i < p.m; i++) {
    let f = a[base + i * p.n + j];
    for (var c = j + 1u + lane; c < p.n; c += lanes) {
      a[base + i * p.n + c] = fma(-f, a[base + j * p.n + c], a[base + i * p.n + c]);
    }
  }
  ${sync}
}
if (lane == 0u) {
  info[matrix] = i32(found);
  ${raise(fault)}
}`,
    },
    count,
    rows * columns,
    [rows, columns],
  );
}

/**
 * Buffers `a` (square; its lower triangle becomes L, the rest zero) and `info` (int32, 0 or the order of the
 * first leading minor that is not positive).
 */
export function choleskyLaunch(target: Target, { count, rows, loud }: FactorSpec): Launch {
  const fault =
    loud === undefined
      ? undefined
      : failure(loud, (info) => `is not positive definite: its leading minor of order ${info} is not`);
  return teamLaunch(
    target,
    {
      name: 'cholesky',
      bindings: [writes('a', 'f32'), writes('info', 'i32')],
      params: ['n'],
      ...(fault && { fault }),
      body: (sync) => `let base = matrix * p.n * p.n;
var found = 0u;
for (var j = 0u; j < p.n; j++) {
  let d = a[base + j * p.n + j];
  if (found == 0u && !(d > 0.0)) { found = j + 1u; }
  let root = sqrt(d);
  ${sync}
  if (found == 0u) {
    if (lane == 0u) { a[base + j * p.n + j] = root; }
    for (var i = j + 1u + lane; i < p.n; i += lanes) { a[base + i * p.n + j] /= root; }
  }
  for (var c = j + 1u + lane; c < p.n; c += lanes) { a[base + j * p.n + c] = 0.0; }
  ${sync}
  if (found == 0u) {
    for (var i = j + 1u; i < p.n; i++) {
      let f = a[base + i * p.n + j];
      for (var c = j + 1u + lane; c <= i; c += lanes) {
        a[base + i * p.n + c] = fma(-f, a[base + c * p.n + j], a[base + i * p.n + c]);
      }
    }
  }
  ${sync}
}
if (lane == 0u) {
  info[matrix] = i32(found);
  ${raise(fault)}
}`,
    },
    count,
    rows * rows,
    [rows],
  );
}

/**
 * Buffers `a` (rows x columns; afterwards R above, reflectors below the diagonal) and `tau` (the smaller of
 * both sizes).
 */
export function qrLaunch(target: Target, { count, rows, columns }: FactorSpec): Launch {
  return teamLaunch(
    target,
    {
      name: 'qr',
      bindings: [writes('a', 'f32'), writes('tau', 'f32')],
      params: ['m', 'n'],
      body: (sync) => `let base = matrix * p.m * p.n;
let k = min(p.m, p.n);
for (var j = 0u; j < k; j++) {
  var most = 0.0;
  for (var i = j + 1u + lane; i < p.m; i += lanes) { most = max(most, abs(a[base + i * p.n + j])); }
  most = teamMax(most, lane);
  let alpha = a[base + j * p.n + j];
  let unit = max(most, abs(alpha));
  var squares = 0.0;
  if (most > 0.0) {
    for (var i = j + 1u + lane; i < p.m; i += lanes) {
      let v = a[base + i * p.n + j] / unit;
      squares = fma(v, v, squares);
    }
  }
  squares = teamSum(squares, lane);
  var t = 0.0;
  if (squares > 0.0) {
    let first = alpha / unit;
    let size = unit * sqrt(fma(first, first, squares));
    let beta = select(size, -size, alpha >= 0.0);
    t = (beta - alpha) / beta;
    let scale = alpha - beta;
    for (var i = j + 1u + lane; i < p.m; i += lanes) { a[base + i * p.n + j] /= scale; }
    if (lane == 0u) { a[base + j * p.n + j] = beta; }
  }
  if (lane == 0u) { tau[matrix * k + j] = t; }
  ${sync}
  for (var c = j + 1u + lane; c < p.n; c += lanes) {
    var dot = a[base + j * p.n + c];
    for (var i = j + 1u; i < p.m; i++) { dot = fma(a[base + i * p.n + j], a[base + i * p.n + c], dot); }
    dot *= t;
    a[base + j * p.n + c] -= dot;
    for (var i = j + 1u; i < p.m; i++) {
      a[base + i * p.n + c] = fma(-a[base + i * p.n + j], dot, a[base + i * p.n + c]);
    }
  }
  ${sync}
}`,
    },
    count,
    rows * columns,
    [rows, columns],
  );
}

/**
 * Solves with a triangle of `a` (strides in elements: batch, row, column; offset last), in place of `b` (n x
 * width).
 */
export function triangularLaunch(
  target: Target,
  spec: {
    readonly count: number;
    readonly n: number;
    readonly width: number;
    readonly upper: boolean;
    readonly unit: boolean;
    readonly strides: readonly [batch: number, row: number, column: number, offset: number];
  },
): Launch {
  const { count, n, width, upper, unit, strides } = spec;
  const a = (row: string, column: string): string =>
    `a[base + ${row} * p.rowStride + ${column} * p.columnStride]`;
  return cellLaunch(
    target,
    {
      name: 'solveTriangular',
      key: `${upper ? 'u' : 'l'}${unit ? '1' : ''}`,
      bindings: [reads('a', 'f32'), writes('b', 'f32')],
      params: ['n', 'w', 'batchStride', 'rowStride', 'columnStride', 'start'],
      body: `let matrix = cell / p.w;
let base = p.start + matrix * p.batchStride;
let column = matrix * p.n * p.w + cell % p.w;
for (var step = 0u; step < p.n; step++) {
  let i = ${upper ? 'p.n - 1u - step' : 'step'};
  var v = b[column + i * p.w];
  for (var j = ${upper ? 'i + 1u' : '0u'}; j < ${upper ? 'p.n' : 'i'}; j++) {
    v = fma(-${a('i', 'j')}, b[column + j * p.w], v);
  }
  b[column + i * p.w] = v${unit ? '' : ` / ${a('i', 'i')}`};
}`,
    },
    count * width,
    [n, width, ...strides],
  );
}

/**
 * The row swaps of an LU factorisation (`pivots`, `swaps` a matrix), in order or undone, on `b` (rows x
 * width), in place.
 */
export function swapRowsLaunch(
  target: Target,
  spec: {
    readonly count: number;
    readonly rows: number;
    readonly width: number;
    readonly swaps: number;
    readonly undo: boolean;
  },
): Launch {
  const { count, rows, width, swaps, undo } = spec;
  return cellLaunch(
    target,
    {
      name: 'swapRows',
      key: undo ? 'undo' : '',
      bindings: [reads('pivots', 'i32'), writes('b', 'f32')],
      params: ['m', 'w', 'k'],
      body: `let matrix = cell / p.w;
let column = matrix * p.m * p.w + cell % p.w;
for (var step = 0u; step < p.k; step++) {
  let i = ${undo ? 'p.k - 1u - step' : 'step'};
  let other = clamp(u32(pivots[matrix * p.k + i] - 1), 0u, p.m - 1u);
  let v = b[column + i * p.w];
  b[column + i * p.w] = b[column + other * p.w];
  b[column + other * p.w] = v;
}`,
    },
    count * width,
    [rows, width, swaps],
  );
}
