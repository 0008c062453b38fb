/**
 * Softmax and cross-entropy over rows of a dense [rows, classes] matrix. On a software adapter one thread
 * walks a row (barriers are dear there); on a GPU a workgroup shares one, reducing through workgroup memory.
 */
import { labelFault } from '../base/faults.js';
import {
  foldGrid,
  linearWorkgroup,
  memoKernel,
  type Kernel,
  type ParamField,
  type Target,
} from '../base/kernel.js';

import type { BufferRef, Launch, Limits } from '../base/plan.js';
import { reads, shader, writes, type Binding } from '../base/shader.js';

export interface RowProblem {
  readonly rows: number;
  readonly classes: number;
}

interface RowShape {
  /** Threads that share a row; 1 on software adapters. */
  readonly share: number;
  readonly width: 1 | 4;
}

function rowShape(target: Target, { classes }: RowProblem): RowShape {
  const width = classes % 4 === 0 ? 4 : 1;
  if (target.kind === 'software') return { share: 1, width };
  return { share: classes / width >= 64 ? 64 : 16, width };
}

const softwareGroup = 8;

/** NaN by bits: comparisons with NaN cannot be trusted on every adapter. */
const helpers = `
fn isNan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }
fn nan() -> f32 { var bits = 0x7fc00000u; return bitcast<f32>(bits); }
fn lowest() -> f32 { return -3.402823466e+38; }
`;

/** Frame of a row kernel: `row` is its index, the loops step over lanes of `T`, a type of bindings too. */
function rowKernel(
  name: string,
  { share, width }: RowShape,
  bindings: readonly Binding[],
  params: readonly ParamField[],
  body: string,
): Kernel {
  const T = width === 4 ? 'vec4<f32>' : 'f32';
  const single = share === 1;
  const reduce = single
    ? 'fn total(v: f32, t: u32) -> f32 { return v; }\nfn largest(v: f32, t: u32) -> f32 { return v; }'
    : `
var<workgroup> shared_: array<f32, ${share}>;
fn total(v: f32, t: u32) -> f32 {
  shared_[t] = v; workgroupBarrier();
  for (var s = ${share / 2}u; s > 0u; s >>= 1u) { if (t < s) { shared_[t] += shared_[t + s]; } workgroupBarrier(); }
  let r = shared_[0]; workgroupBarrier();
  return r;
}
fn largest(v: f32, t: u32) -> f32 {
  shared_[t] = v; workgroupBarrier();
  for (var s = ${share / 2}u; s > 0u; s >>= 1u) { if (t < s) { shared_[t] = max(shared_[t], shared_[t + s]); } workgroupBarrier(); }
  let r = shared_[0]; workgroupBarrier();
  return r;
}`;
  const sum =
    width === 4
      ? 'fn across(v: vec4<f32>) -> f32 { return (v.x + v.y) + (v.z + v.w); }\nfn top(v: vec4<f32>) -> f32 { return max(max(v.x, v.y), max(v.z, v.w)); }'
      : 'fn across(v: f32) -> f32 { return v; }\nfn top(v: f32) -> f32 { return v; }';
  return {
    name,
    params: [['rows', 'u32'], ['lanes', 'u32'], ...params],
    ...shader({
      bindings: bindings.map((b) => (b.type === 'T' ? { ...b, type: T } : b)),
      functions: `${helpers}\n${sum}\n${reduce}`,
      workgroup: single ? softwareGroup : share,
      builtins: ['wid', 'nwg', 'lid'],
      body: `  let row = ${single ? `${linearWorkgroup} * ${softwareGroup}u + lid` : linearWorkgroup};
  if (row >= p.rows) { return; }
  let t = ${single ? '0u' : 'lid'};
  let base = row * p.lanes;
${body
  .replace(/\bLOOP\b/g, `for (var i = t; i < p.lanes; i += ${share}u)`)
  .replace(/\bT\b/g, T)
  .replace(/\bLEADER\b/g, single ? 'true' : 't == 0u')}`,
    }),
  };
}

function launch(
  kernel: Kernel,
  { share, width }: RowShape,
  { rows, classes }: RowProblem,
  buffers: readonly BufferRef[],
  params: readonly number[] = [],
): Launch {
  return {
    kernel,
    buffers,
    params: [rows, classes / width, ...params],
    grid: foldGrid(share === 1 ? Math.ceil(rows / softwareGroup) : rows),
  };
}

/** Launches over [rows, classes] matrices, as many rows at a time as a binding holds. */
function launchRows(
  kernel: Kernel,
  shape: RowShape,
  { rows, classes }: RowProblem,
  { maxBinding = Infinity }: Limits,
  matrices: readonly string[],
): Launch[] {
  const rowBytes = 4 * classes;
  if (rows * rowBytes <= maxBinding) return [launch(kernel, shape, { rows, classes }, matrices)];
  // 64 rows are a multiple of 256 bytes, at which a binding may start.
  const atOnce = Math.floor(maxBinding / (64 * rowBytes)) * 64;
  if (atOnce < 1)
    throw new Error(
      `softmax: 64 rows of ${classes} values exceed the ${maxBinding} bytes that this adapter binds at once`,
    );
  const launches: Launch[] = [];
  for (let first = 0; first < rows; first += atOnce) {
    const part = Math.min(atOnce, rows - first);
    const range = { offset: first * rowBytes, size: part * rowBytes };
    const buffers = matrices.map((name) => ({ name, ...range }));
    launches.push(launch(kernel, shape, { rows: part, classes }, buffers));
  }
  return launches;
}

/** Largest value and sum of exponentials; `m` stays finite so that a row of -inf gives NaN as in PyTorch. */
const normaliser = `
  var best = T(lowest());
  LOOP { best = max(best, x[base + i]); }
  let m = largest(top(best), t);
  var acc = T(0.0);
  LOOP { acc += exp(x[base + i] - T(m)); }
  let z = total(across(acc), t);`;

/** Buffers: x, y. `y = softmax(x)` or its logarithm. */
export function softmaxForward(target: Target, problem: RowProblem & Limits, log: boolean): Launch[] {
  const shape = rowShape(target, problem);
  const kernel = memoKernel(`softmax:${log}:${shape.share}:${shape.width}`, () =>
    rowKernel(
      log ? 'logSoftmax' : 'softmax',
      shape,
      [reads('x', 'T'), writes('y', 'T')],
      [],
      `${normaliser}
  ${log ? 'let shift = m + log(z);\n  LOOP { y[base + i] = x[base + i] - T(shift); }' : 'LOOP { y[base + i] = exp(x[base + i] - T(m)) / z; }'}`,
    ),
  );
  return launchRows(kernel, shape, problem, problem, ['x', 'y']);
}

/** Buffers: y, dy, dx. `dx = y (dy - sum(dy y))`, or `dy - exp(y) sum(dy)` for the logarithm. */
export function softmaxBackward(target: Target, problem: RowProblem & Limits, log: boolean): Launch[] {
  const shape = rowShape(target, problem);
  const kernel = memoKernel(`softmaxBackward:${log}:${shape.share}:${shape.width}`, () =>
    rowKernel(
      log ? 'logSoftmaxBackward' : 'softmaxBackward',
      shape,
      [reads('y', 'T'), reads('dy', 'T'), writes('dx', 'T')],
      [],
      `
  var acc = T(0.0);
  LOOP { acc += dy[base + i]${log ? '' : ' * y[base + i]'}; }
  let s = total(across(acc), t);
  LOOP { dx[base + i] = ${log ? 'dy[base + i] - exp(y[base + i]) * s' : 'y[base + i] * (dy[base + i] - T(s))'}; }`,
    ),
  );
  return launchRows(kernel, shape, problem, problem, ['y', 'dy', 'dx']);
}

export interface CrossEntropyProblem extends RowProblem {
  /** Class weights are bound. */
  readonly weighted: boolean;
  /** The forward pass raises an error for labels out of range; else they give NaN. */
  readonly checked: boolean;
  readonly smoothing: number;
  readonly ignoreIndex: number;
}

const entropyParams: readonly ParamField[] = [
  ['smoothing', 'f32'],
  ['ignored', 'i32'],
];

const readLabel = `
  let label = labels[row];
  let skip = label == p.ignored;
  let valid = label >= 0 && u32(label) < p.lanes * WIDTH;`;

/**
 * Buffers: x, labels, [weights], rowsOut. Per row three values, each in a block of `rows`: the loss, the
 * label's class weight (0 when ignored), and log(sum(exp(x))).
 */
export function crossEntropyForward(target: Target, problem: CrossEntropyProblem): Launch {
  const shape = rowShape(target, problem);
  const { weighted, checked } = problem;
  const smooth = problem.smoothing !== 0;
  const key = `crossEntropy:${weighted}:${checked}:${smooth}:${shape.share}:${shape.width}`;
  const kernel = memoKernel(key, () => ({
    ...rowKernel(
      'crossEntropy',
      shape,
      [
        reads('x', 'T'),
        reads('labels', 'i32'),
        ...(weighted ? [reads('weights', 'T')] : []),
        writes('rowsOut', 'f32'),
      ],
      entropyParams,
      `${readLabel.replace('WIDTH', `${shape.width}u`)}
${normaliser}
  let lse = m + log(z);
${
  smooth
    ? `  var spread = T(0.0);
  LOOP { spread += (T(lse) - x[base + i])${weighted ? ' * weights[i]' : ''}; }
  let even = total(across(spread), t) / f32(p.lanes * ${shape.width}u);`
    : ''
}
  if (LEADER) {
    var loss = 0.0; var w = 0.0;
    if (!skip) {
      if (valid) {
        let c = u32(label);
        w = ${weighted ? element('weights', '0u', 'c', shape.width) : '1.0'};
        loss = ${smooth ? '(1.0 - p.smoothing) * ' : ''}w * (lse - ${element('x', 'base', 'c', shape.width)})${smooth ? ' + p.smoothing * even' : ''};
      } else {
        loss = nan(); w = 1.0;${checked ? `\n        raiseFault(vec4<u32>(u32(label), row, p.lanes * ${shape.width}u, u32(p.ignored)));` : ''}
      }
    }
    rowsOut[row] = loss;
    rowsOut[p.rows + row] = w;
    rowsOut[2u * p.rows + row] = lse;
  }`,
    ),
    ...(checked && { fault: labelFault('crossEntropy') }),
  }));
  const buffers = ['x', 'labels', ...(weighted ? ['weights'] : []), 'rowsOut'];
  return launch(kernel, shape, problem, buffers, [problem.smoothing, problem.ignoreIndex]);
}

const element = (array: string, base: string, c: string, width: 1 | 4): string =>
  width === 4 ? `${array}[${base} + ${c} / 4u][${c} % 4u]` : `${array}[${base} + ${c}]`;

/**
 * Buffers: x, labels, [weights], rowsOut (of the forward), scale, dx. `scale` holds the gradient of each
 * row's loss, or one value for all rows when `perRow` is false: `dx = scale (W softmax(x) - target)` with the
 * smoothed, weighted target and W its sum.
 */
export function crossEntropyBackward(target: Target, problem: CrossEntropyProblem, perRow: boolean): Launch {
  const shape = rowShape(target, problem);
  const { weighted } = problem;
  const smooth = problem.smoothing !== 0;
  const kernel = memoKernel(
    `crossEntropyBackward:${weighted}:${smooth}:${perRow}:${shape.share}:${shape.width}`,
    () =>
      rowKernel(
        'crossEntropyBackward',
        shape,
        [
          reads('x', 'T'),
          reads('labels', 'i32'),
          ...(weighted ? [reads('weights', 'T')] : []),
          reads('rowsOut', 'f32'),
          reads('scale', 'f32'),
          writes('dx', 'T'),
        ],
        entropyParams,
        `${readLabel.replace('WIDTH', `${shape.width}u`)}
  let g = select(scale[${perRow ? 'row' : '0'}], 0.0, skip);
  let lse = rowsOut[2u * p.rows + row];
  let w = rowsOut[p.rows + row];
  let evenShare = ${smooth ? `p.smoothing / f32(p.lanes * ${shape.width}u)` : '0.0'};
${
  smooth && weighted
    ? `  var acc = T(0.0);
  LOOP { acc += weights[i]; }
  let mass = (1.0 - p.smoothing) * w + evenShare * total(across(acc), t);`
    : `  let mass = w;`
}
  LOOP {
    let soft = exp(x[base + i] - T(lse)) * mass;
    var want = T(${smooth ? (weighted ? 'weights[i] * evenShare' : 'evenShare') : '0.0'});
    ${shape.width === 4 ? 'if (u32(label) / 4u == i) { want[u32(label) % 4u] += ' : 'if (u32(label) == i) { want += '}${smooth ? '(1.0 - p.smoothing) * w' : 'w'}; }
    dx[base + i] = select(g * (soft - want), T(0.0), skip);
  }`,
      ),
  );
  const buffers = ['x', 'labels', ...(weighted ? ['weights'] : []), 'rowsOut', 'scale', 'dx'];
  return launch(kernel, shape, problem, buffers, [problem.smoothing, problem.ignoreIndex]);
}
