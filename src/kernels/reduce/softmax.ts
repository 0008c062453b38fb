/** Softmax and cross-entropy over rows of a dense [rows, classes] matrix, in the frame of row-frame.ts. */
import { labelFault } from '../base/faults.js';
import { memoKernel, type ParamField, type Target } from '../base/kernel.js';
import type { Launch, Limits } from '../base/plan.js';
import { reads, writes } from '../base/shader.js';
import { launchRows, rowKernel, rowLaunch, rowShape, rowShapeKey, type RowProblem } from './row-frame.js';

/**
 * Largest value and sum of exponentials; `m` stays finite so that a row of -inf gives NaN as in PyTorch. The
 * sum's logarithm is `m + log(z)`, which is never added up: beside a large `m` the digits of `log(z)` would
 * be lost.
 */
const normaliser = `
  var best = T(lowest());
  LOOP { best = max(best, x[base + i]); }
  let m = largest(top(best), lid);
  var acc = T(0.0);
  LOOP { acc += exp(x[base + i] - T(m)); }
  let z = total(across(acc), lid);`;

/** Buffers: x, y. `y = softmax(x)` or its logarithm. */
export function softmaxForward(target: Target, problem: RowProblem & Limits, log: boolean): Launch[] {
  const shape = rowShape(target, problem);
  const kernel = memoKernel(`softmax:${log}:${rowShapeKey(shape)}`, () =>
    rowKernel(
      log ? 'logSoftmax' : 'softmax',
      shape,
      [reads('x', 'T'), writes('y', 'T')],
      [],
      `${normaliser}
  ${log ? 'let rest = log(z);\n  LOOP { y[base + i] = (x[base + i] - T(m)) - T(rest); }' : 'LOOP { y[base + i] = exp(x[base + i] - T(m)) / z; }'}`,
    ),
  );
  return launchRows('softmax', kernel, shape, problem, ['x', 'y']);
}

/** Buffers: y, dy, dx. `dx = y (dy - sum(dy y))`, or `dy - exp(y) sum(dy)` for the logarithm. */
export function softmaxBackward(target: Target, problem: RowProblem & Limits, log: boolean): Launch[] {
  const shape = rowShape(target, problem);
  const kernel = memoKernel(`softmaxBackward:${log}:${rowShapeKey(shape)}`, () =>
    rowKernel(
      log ? 'logSoftmaxBackward' : 'softmaxBackward',
      shape,
      [reads('y', 'T'), reads('dy', 'T'), writes('dx', 'T')],
      [],
      `
  var acc = T(0.0);
  LOOP { acc += dy[base + i]${log ? '' : ' * y[base + i]'}; }
  let s = total(across(acc), lid);
  LOOP { dx[base + i] = ${log ? 'dy[base + i] - exp(y[base + i]) * s' : 'y[base + i] * (dy[base + i] - T(s))'}; }`,
    ),
  );
  return launchRows('softmax', kernel, shape, problem, ['y', 'dy', 'dx']);
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

/** Values that the forward pass of cross-entropy leaves for each row. */
export const entropyValues = 4;

/**
 * Buffers: x, labels, [weights], rowsOut. Per row {@link entropyValues}, each in a block of `rows`: the loss,
 * the label's class weight (0 when ignored), and two whose sum is log(sum(exp(x))).
 */
export function crossEntropyForward(target: Target, problem: CrossEntropyProblem): Launch {
  const shape = rowShape(target, problem);
  const { weighted, checked } = problem;
  const smooth = problem.smoothing !== 0;
  const key = `crossEntropy:${weighted}:${checked}:${smooth}:${rowShapeKey(shape)}`;
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
  let rest = log(z);
${
  smooth
    ? `  var spread = T(0.0);
  LOOP { spread += (T(rest) - (x[base + i] - T(m)))${weighted ? ' * weights[i]' : ''}; }
  let even = total(across(spread), lid) / f32(p.lanes * ${shape.width}u);`
    : ''
}
  if (LEADER) {
    var loss = 0.0; var w = 0.0;
    if (!skip) {
      if (valid) {
        let c = u32(label);
        w = ${weighted ? element('weights', '0u', 'c', shape.width) : '1.0'};
        loss = ${smooth ? '(1.0 - p.smoothing) * ' : ''}w * (rest - (${element('x', 'base', 'c', shape.width)} - m))${smooth ? ' + p.smoothing * even' : ''};
      } else {
        loss = nan(); w = 1.0;${checked ? `\n        raiseFault(vec4<u32>(u32(label), row, p.lanes * ${shape.width}u, u32(p.ignored)));` : ''}
      }
    }
    rowsOut[row] = loss;
    rowsOut[p.rows + row] = w;
    rowsOut[2u * p.rows + row] = m;
    rowsOut[3u * p.rows + row] = rest;
  }`,
    ),
    ...(checked && { fault: labelFault('crossEntropy') }),
  }));
  const buffers = ['x', 'labels', ...(weighted ? ['weights'] : []), 'rowsOut'];
  return rowLaunch(kernel, shape, problem, buffers, [problem.smoothing, problem.ignoreIndex]);
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
    `crossEntropyBackward:${weighted}:${smooth}:${perRow}:${rowShapeKey(shape)}`,
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
  let m = rowsOut[2u * p.rows + row];
  let rest = rowsOut[3u * p.rows + row];
  let w = rowsOut[p.rows + row];
  let evenShare = ${smooth ? `p.smoothing / f32(p.lanes * ${shape.width}u)` : '0.0'};
${
  smooth && weighted
    ? `  var acc = T(0.0);
  LOOP { acc += weights[i]; }
  let mass = (1.0 - p.smoothing) * w + evenShare * total(across(acc), lid);`
    : `  let mass = w;`
}
  LOOP {
    let soft = exp((x[base + i] - T(m)) - T(rest)) * mass;
    var want = T(${smooth ? (weighted ? 'weights[i] * evenShare' : 'evenShare') : '0.0'});
    ${shape.width === 4 ? 'if (u32(label) / 4u == i) { want[u32(label) % 4u] += ' : 'if (u32(label) == i) { want += '}${smooth ? '(1.0 - p.smoothing) * w' : 'w'}; }
    dx[base + i] = select(g * (soft - want), T(0.0), skip);
  }`,
      ),
  );
  const buffers = ['x', 'labels', ...(weighted ? ['weights'] : []), 'rowsOut', 'scale', 'dx'];
  return rowLaunch(kernel, shape, problem, buffers, [problem.smoothing, problem.ignoreIndex]);
}
