/**
 * The passes of batch norm over whole [rows, channels] matrices: normalising with what follows it (residual,
 * activation), and the way back through them. Statistics are in channels.ts. A thread keeps one column of
 * lanes and walks down rows of a block, so that what belongs to a channel is loaded once.
 */
import {
  blockEntry,
  blockLaunches,
  blockParams,
  blockShape,
  blockThread,
  joinMembers,
  laneOf,
  memberMemory,
  type BlockShape,
  type ChannelsProblem,
  type Lane,
} from './blocks.js';
import { memoKernel, type Kernel, type Target } from '../base/kernel.js';
import type { Activation, Launch } from '../base/plan.js';
import { reads, shader, writes, type Binding } from '../base/shader.js';
import { activate } from '../matmul/tile.js';

/** What follows the normalisation: `y = activation(x * scale + shift + residual)`. */
export interface ChannelsAfter {
  readonly residual: boolean;
  readonly activation: Activation;
}

/** Whether {@link rowLoop} takes so many rows without a rest. */
export const isEven = (rows: number): boolean => rows % 2 === 0;

/**
 * Rows in pairs, then, unless the number is `even`, the last one. `row` is WGSL for the row whose first lane
 * is at index `at`, with names ending in `i`. More rows per turn are no faster, and every access takes the
 * software driver tens of milliseconds to compile. A thread takes every `members`-th row, from `member` on.
 */
export function rowLoop(row: (at: string, i: number) => string, even = false, members = 1): string {
  const alone = members === 1;
  const rest = `
  if (r < n) {
${row('at', 0)}
  }`;
  const next = alone ? 'p.columns' : `${members}u * p.columns`;
  return `
  var at = ${alone ? 'first' : '(first + member)'} * p.columns + column;
  var r = ${alone ? '0u' : 'member'};
  for (; r + ${alone ? '2u <=' : `${members}u <`} n; r += ${2 * members}u) {
${row('at', 0)}
${row(`at + ${next}`, 1)}
    at += ${2 * members}u * p.columns;
  }${even ? '' : rest}`;
}

/** WGSL that stores row `i` of the forward result. */
export const storeResult =
  ({ residual, activation }: ChannelsAfter, { T, load, store }: Lane) =>
  (at: string, i: number): string => {
    const sum = residual ? ` + ${load(`residual[${at}]`)}` : '';
    const value = `${load(`x[${at}]`)} * scale + shift${sum}`;
    return `    var v${i} = ${value}; ${activate(`v${i}`, activation, T)}y[${at}] = ${store(`v${i}`)};`;
  };

/**
 * The mask of an activation behind a residual sum comes from the result, and what it leaves is kept: it is
 * the residual's gradient.
 */
export const keepsMasked = ({ residual, activation }: ChannelsAfter): boolean =>
  residual && activation !== 'none';

/**
 * WGSL that loads `x{i}` and `g{i}`, the gradient behind the activation, which is computed anew from x where
 * {@link keepsMasked} is false.
 */
export const loadGrad =
  (after: ChannelsAfter, { T, load, store }: Lane) =>
  (at: string, i: number): string => {
    const { activation } = after;
    const loads = `    let x${i} = ${load(`x[${at}]`)}; var g${i} = ${load(`dy[${at}]`)};`;
    if (activation === 'none') return loads;
    const mask = (v: string): string => {
      const passes = activation === 'relu' ? `${v} > ${T}()` : `(${v} > ${T}()) & (${v} < ${T}(6.0))`;
      return `g${i} = select(${T}(), g${i}, ${passes});`;
    };
    if (keepsMasked(after)) return `${loads} ${mask(load(`y[${at}]`))} g[${at}] = ${store(`g${i}`)};`;
    return `${loads} let v${i} = x${i} * scale + shift; ${mask(`v${i}`)}`;
  };

/** WGSL that adds row `i` to the sums s0, s1 of g and q0, q1 of `g * (x - mean)`. */
export const addGrad = (i: number): string => `s${i} += g${i}; q${i} += g${i} * (x${i} - mean);`;

const affine = `  let scale = stats[2u * p.columns + column];
  let shift = stats[3u * p.columns + column];`;

function kernelOf(
  target: Target,
  key: string,
  name: string,
  problem: ChannelsProblem,
  bindings: (lane: Lane) => readonly Binding[],
  body: (lane: Lane, shape: BlockShape) => string,
  joins = false,
): Kernel {
  const lane = laneOf(problem);
  const { T, S } = lane;
  const shape = blockShape(target, problem);
  return memoKernel(`${key}:${S}:${shape.wx}:${shape.wy}`, () => ({
    name,
    params: blockParams,
    ...shader({
      bindings: bindings(lane),
      ...(joins && { functions: memberMemory(shape, T) }),
      ...blockEntry(shape),
      body: `${blockThread(shape)}\n${body(lane, shape)}`,
    }),
  }));
}

/**
 * Forward: `y = activation(x * scale + shift + residual)` with rows 2 and 3 of `stats`. Buffers: the matrices
 * x, [residual], y, then stats.
 */
export function channelApply(target: Target, problem: ChannelsProblem, after: ChannelsAfter): Launch[] {
  const { residual, activation } = after;
  const kernel = kernelOf(
    target,
    `channelApply:${residual}:${activation}`,
    'batchNorm',
    problem,
    ({ T, S }) => [
      reads('x', S),
      ...(residual ? [reads('residual', S)] : []),
      writes('y', S),
      reads('stats', T),
    ],
    (lane, { wy }) => `${affine}${rowLoop(storeResult(after, lane), false, wy)}`,
  );
  return blockLaunches(
    kernel,
    target,
    problem,
    'apply',
    ['x', ...(residual ? ['residual'] : []), 'y'],
    ['stats'],
  );
}

/**
 * First launches backward: per block and channel the sums of `g` and `g * (x - mean)`, where g is `dy` behind
 * the activation. Buffers: the matrices x, dy, with a residual and an activation also y (the result) and g
 * (written: it is the residual's gradient), then stats, partials. Without a residual the activation's result
 * is computed anew from x.
 */
export function channelGradPartial(target: Target, problem: ChannelsProblem, after: ChannelsAfter): Launch[] {
  const { activation } = after;
  const keeps = keepsMasked(after);
  const kernel = kernelOf(
    target,
    `channelGradPartial:${keeps}:${activation}`,
    'batchNormGradSums',
    problem,
    ({ T, S }) => [
      reads('x', S),
      reads('dy', S),
      ...(keeps ? [reads('y', S), writes('g', S)] : []),
      reads('stats', T),
      writes('partials', T),
    ],
    (lane, shape) => {
      const { T } = lane;
      const loop = rowLoop((at, i) => `${loadGrad(after, lane)(at, i)} ${addGrad(i)}`, false, shape.wy);
      return `  let mean = stats[column];
${activation !== 'none' && !keeps ? affine : ''}
  var s0 = ${T}(); var s1 = ${T}(); var q0 = ${T}(); var q1 = ${T}();${loop}
  var s = s0 + s1;
  var q = q0 + q1;
${joinMembers(
  shape,
  `  let to = ((p.firstBlock + block) * p.columns + column) * 2u;
  partials[to] = s;
  partials[to + 1u] = q;`,
)}`;
    },
    true,
  );
  const matrices = ['x', 'dy', ...(keeps ? ['y', 'g'] : [])];
  return blockLaunches(kernel, target, problem, 'sums', matrices, ['stats', 'partials']);
}

/**
 * Last launches backward: `dx = a * g + b * (x - mean) + c`. Buffers: the matrices x, dy (or g, where
 * {@link channelGradPartial} wrote it), dx, then stats and the coefficients a, b, c.
 */
export function channelGradApply(target: Target, problem: ChannelsProblem, after: ChannelsAfter): Launch[] {
  const activation = after.residual ? 'none' : after.activation;
  const kernel = kernelOf(
    target,
    `channelGradApply:${activation}`,
    'batchNormBackward',
    problem,
    ({ T, S }) => [
      reads('x', S),
      reads('dy', S),
      writes('dx', S),
      reads('stats', T),
      reads('coefficients', T),
    ],
    (lane, { wy }) => `  let mean = stats[column];
  let a = coefficients[column];
  let b = coefficients[p.columns + column];
  let c = coefficients[2u * p.columns + column];
${activation !== 'none' ? affine : ''}${rowLoop(
      (at, i) =>
        `${loadGrad({ residual: false, activation }, lane)(at, i)} dx[${at}] = ${lane.store(`a * g${i} + (b * (x${i} - mean) + c)`)};`,
      false,
      wy,
    )}`,
  );
  const matrices = ['x', keepsMasked(after) ? 'g' : 'dy', 'dx'];
  return blockLaunches(kernel, target, problem, 'apply', matrices, ['stats', 'coefficients']);
}
