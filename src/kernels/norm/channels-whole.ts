/**
 * Batch norm of a matrix with few rows in one launch each way: a thread takes a column of lanes from top to
 * bottom, twice. On software adapters, where a launch costs as much as some thousand rows, that beats the
 * blocks of channels.ts.
 */
import {
  addGrad,
  isEven,
  keepsMasked,
  loadGrad,
  rowLoop,
  storeResult,
  type ChannelsAfter,
} from './channels-apply.js';
import { lane, laneOf, namesOf, type ChannelsProblem } from './blocks.js';
import { statisticsBindings, type MomentsFinish } from './channels.js';
import { memoKernel, type Target } from '../base/kernel.js';
import { bytesOf, type Launch } from '../base/plan.js';
import { reads, shader, writes } from '../base/shader.js';

const workgroup = 8;

/** Whether one thread per column of lanes is enough. */
export function isWhole(
  target: Target,
  { rows, channels, elem = 'f32', maxBinding = Infinity }: ChannelsProblem,
): boolean {
  if (target.kind !== 'software' || rows * channels * bytesOf(elem) > maxBinding) return false;
  return rows <= (channels / lane(channels).width >= 2 * workgroup ? 4096 : 512);
}

/** Storage arrays that {@link channelsWhole} binds: more than every adapter lets it. */
export const wholeBindings = (
  { affine, running, counted }: MomentsFinish,
  { residual }: ChannelsAfter,
): number => 3 + (residual ? 1 : 0) + (affine ? 2 : 0) + (running ? 2 : 0) + (counted ? 1 : 0);

const entryPoint = { workgroup, builtins: ['gid'] } as const;
const head = `  let column = gid.x;
  if (column >= p.columns) { return; }
  let first = 0u;
  let n = p.rows;`;

const grid = (columns: number): Launch['grid'] => [Math.ceil(columns / workgroup), 1, 1];

/**
 * Forward: statistics, running statistics and the result. Buffers: x, [residual], y, stats (four rows of
 * `channels`: mean, invstd, scale, shift), [gamma, beta], [runningMean, runningVar], [batches].
 */
export function channelsWhole(
  problem: MomentsFinish,
  after: ChannelsAfter,
  eps: number,
  momentum: number,
): Launch {
  const { rows, channels, affine, running, counted } = problem;
  const { residual, activation } = after;
  const own = laneOf(problem);
  const { width, T, S, load } = own;
  const even = isEven(rows);
  const key = `channelsWhole:${even}:${S}:${affine}:${running}:${counted}:${residual}:${activation}`;
  const bindings = [
    reads('x', S),
    ...(residual ? [reads('residual', S)] : []),
    writes('y', S),
    ...statisticsBindings(problem, T),
  ];
  const kernel = memoKernel(key, () => ({
    name: 'batchNorm',
    params: [
      ['rows', 'u32'],
      ['columns', 'u32'],
      ['eps', 'f32'],
      ['momentum', 'f32'],
    ],
    ...shader({
      bindings,
      ...entryPoint,
      body: `${head}
  let pivot = ${load('x[column]')};
  var s0 = ${T}(); var s1 = ${T}(); var q0 = ${T}(); var q1 = ${T}();
  {${rowLoop((at, i) => `    let d${i} = ${load(`x[${at}]`)} - pivot; s${i} += d${i}; q${i} += d${i} * d${i};`, even)}
  }
  let count = f32(n);
  let offset = (s0 + s1) / count;
  let mean = pivot + offset;
  let m2 = max((q0 + q1) - (s0 + s1) * offset, ${T}());
  let invstd = ${T}(1.0) / sqrt(m2 / count + p.eps);
  let scale = ${affine ? 'gamma[column] * ' : ''}invstd;
  let shift = ${affine ? 'beta[column]' : `${T}()`} - mean * scale;
  stats[column] = mean;
  stats[p.columns + column] = invstd;
  stats[2u * p.columns + column] = scale;
  stats[3u * p.columns + column] = shift;
${
  running
    ? `  runningMean[column] = (1.0 - p.momentum) * runningMean[column] + p.momentum * mean;
  runningVar[column] = (1.0 - p.momentum) * runningVar[column] + p.momentum * (m2 / max(count - 1.0, 1.0));`
    : ''
}
${counted ? '  if (column == 0u) { batches[0] += 1; }' : ''}
${rowLoop(storeResult(after, own), even)}`,
    }),
  }));
  const columns = channels / width;
  return {
    kernel,
    buffers: namesOf(bindings),
    params: [rows, columns, eps, momentum],
    grid: grid(columns),
  };
}

/**
 * Backward. Buffers: x, dy, [y, g (written: the residual's gradient)], dx, stats, dgamma, dbeta; y and g
 * where there are a residual and an activation. The formulas are those of channels-apply.ts.
 */
export function channelsWholeGrad(problem: ChannelsProblem, after: ChannelsAfter): Launch {
  const { rows, channels } = problem;
  const { activation } = after;
  const own = laneOf(problem);
  const { width, T, S, load: loaded, store } = own;
  const keeps = keepsMasked(after);
  const even = isEven(rows);
  const bindings = [
    reads('x', S),
    reads('dy', S),
    ...(keeps ? [reads('y', S), writes('g', S)] : []),
    writes('dx', S),
    reads('stats', T),
    writes('dgamma', T),
    writes('dbeta', T),
  ];
  const kernel = memoKernel(`channelsWholeGrad:${even}:${S}:${keeps}:${activation}`, () => {
    const load = loadGrad(after, own);
    return {
      name: 'batchNormBackward',
      params: [
        ['rows', 'u32'],
        ['columns', 'u32'],
      ],
      ...shader({
        bindings,
        ...entryPoint,
        body: `${head}
  let mean = stats[column];
  let invstd = stats[p.columns + column];
  let scale = stats[2u * p.columns + column];
  let shift = stats[3u * p.columns + column];
  var s0 = ${T}(); var s1 = ${T}(); var q0 = ${T}(); var q1 = ${T}();
  {${rowLoop((at, i) => `${load(at, i)} ${addGrad(i)}`, even)}
  }
  let s = s0 + s1;
  let q = q0 + q1;
  dgamma[column] = q * invstd;
  dbeta[column] = s;
  let b = -scale * invstd * invstd * q / f32(n);
  let c = -scale * s / f32(n);
${rowLoop((at, i) => {
  const kept = `    let x${i} = ${loaded(`x[${at}]`)}; let g${i} = ${loaded(`g[${at}]`)};`;
  const g = keeps ? kept : load(at, i);
  return `${g} dx[${at}] = ${store(`scale * g${i} + (b * (x${i} - mean) + c)`)};`;
}, even)}`,
      }),
    };
  });
  const columns = channels / width;
  return { kernel, buffers: namesOf(bindings), params: [rows, columns], grid: grid(columns) };
}
