/**
 * Connectionist temporal classification (Graves et al. 2006): sums over all alignments of a label sequence
 * with a sequence of distributions, in log space. A workgroup per sample goes through the time steps; its
 * invocations share the states, which are the labels with blanks around each.
 *
 * Buffers: `lp` [steps, batch, classes] log-probabilities, `targets` (i32), `spans` (i32 [3, batch]: input
 * length, target length, where the target starts), `alpha` and `beta` [batch, steps, states], `nll` [batch],
 * `dnll` [batch], `dlp` as `lp`.
 */
import { ceilDiv, type Plan } from '../base/plan.js';
import { foldGrid, linearWorkgroup, memoKernel, type Kernel, type ParamField } from '../base/kernel.js';
import { reads, shader, writes } from '../base/shader.js';

export interface CtcProblem {
  readonly steps: number;
  readonly batch: number;
  readonly classes: number;
  /** Of the longest target: twice its length, and one more. */
  readonly states: number;
  readonly blank: number;
}

const params: readonly ParamField[] = [
  ['steps', 'u32'],
  ['batch', 'u32'],
  ['classes', 'u32'],
  ['states', 'u32'],
  ['blank', 'u32'],
];

const group = 64;

/** Stands for the logarithm of 0: shaders may take it that there are no infinities. */
const functions = `
const none = -1e30;
fn logSum(a: f32, b: f32, c: f32) -> f32 {
  let m = max(a, max(b, c));
  if (m < -1e29) { return none; }
  return m + log(exp(a - m) + exp(b - m) + exp(c - m));
}
// Class of state s of a target that starts at 'start'.
fn classOf(s: u32, start: u32) -> u32 {
  if ((s & 1u) == 0u) { return p.blank; }
  return min(u32(targets[start + (s >> 1u)]), p.classes - 1u);
}
fn emission(t: u32, n: u32, c: u32) -> f32 { return max(lp[(t * p.batch + n) * p.classes + c], none); }`;

const spans = `  let length = min(u32(spans[n]), p.steps);
  let states = min(2u * u32(spans[p.batch + n]) + 1u, p.states);
  let start = u32(spans[2u * p.batch + n]);`;

const shared = [reads('lp', 'f32'), reads('targets', 'i32'), reads('spans', 'i32')];

const alphaKernel = (): Kernel =>
  memoKernel('ctc|alpha', () => ({
    name: 'ctcLoss',
    params,
    ...shader({
      bindings: [...shared, writes('alpha', 'f32'), writes('nll', 'f32')],
      workgroup: group,
      builtins: ['wid', 'nwg', 'lid'],
      functions,
      body: `  let n = ${linearWorkgroup};
  if (n >= p.batch) { return; }
${spans}
  let base = n * p.steps * p.states;
  for (var t = 0u; t < p.steps; t++) {
    if (t < length) {
      let before = base + (t - 1u) * p.states;
      for (var s = lid; s < states; s += ${group}u) {
        let c = classOf(s, start);
        var a = none;
        if (t == 0u) {
          if (s < 2u) { a = 0.0; }
        } else {
          a = alpha[before + s];
          var b = none;
          var d = none;
          if (s > 0u) { b = alpha[before + s - 1u]; }
          if (s > 1u && (s & 1u) == 1u && c != classOf(s - 2u, start)) { d = alpha[before + s - 2u]; }
          a = logSum(a, b, d);
        }
        alpha[base + t * p.states + s] = max(a + emission(t, n, c), none);
      }
    }
    storageBarrier();
  }
  if (lid != 0u) { return; }
  var total = none;
  if (length > 0u) {
    let last = base + (length - 1u) * p.states + states - 1u;
    total = alpha[last];
    if (states > 1u) { total = logSum(total, alpha[last - 1u], none); }
  } else if (states == 1u) {
    total = 0.0;
  }
  var infinity = 0x7f800000u;
  nll[n] = select(-total, bitcast<f32>(infinity), total < -1e29);`,
    }),
  }));

const betaKernel = (): Kernel =>
  memoKernel('ctc|beta', () => ({
    name: 'ctcLossBackward',
    params,
    ...shader({
      bindings: [...shared, writes('beta', 'f32')],
      workgroup: group,
      builtins: ['wid', 'nwg', 'lid'],
      functions,
      body: `  let n = ${linearWorkgroup};
  if (n >= p.batch) { return; }
${spans}
  let base = n * p.steps * p.states;
  for (var i = 0u; i < p.steps; i++) {
    let t = p.steps - 1u - i;
    if (t < length) {
      let after = base + (t + 1u) * p.states;
      for (var s = lid; s < states; s += ${group}u) {
        let c = classOf(s, start);
        var a = none;
        if (t == length - 1u) {
          if (s + 2u >= states) { a = 0.0; }
        } else {
          a = beta[after + s];
          var b = none;
          var d = none;
          if (s + 1u < states) { b = beta[after + s + 1u]; }
          if (s + 2u < states && (s & 1u) == 1u && c != classOf(s + 2u, start)) { d = beta[after + s + 2u]; }
          a = logSum(a, b, d);
        }
        beta[base + t * p.states + s] = max(a + emission(t, n, c), none);
      }
    }
    storageBarrier();
  }`,
    }),
  }));

/** As PyTorch's: the derivative by the scores of which \`lp\` is the log-softmax. */
const gradKernel = (): Kernel =>
  memoKernel('ctc|grad', () => ({
    name: 'ctcLossBackward',
    params,
    ...shader({
      bindings: [
        ...shared,
        reads('alpha', 'f32'),
        reads('beta', 'f32'),
        reads('nll', 'f32'),
        reads('dnll', 'f32'),
        writes('dlp', 'f32'),
      ],
      workgroup: group,
      builtins: ['wid', 'nwg', 'lid'],
      functions,
      body: `  let i = ${linearWorkgroup} * ${group}u + lid;
  if (i >= p.steps * p.batch) { return; }
  let t = i / p.batch;
  let n = i - t * p.batch;
${spans}
  let g = dnll[n];
  let row = i * p.classes;
  for (var c = 0u; c < p.classes; c++) {
    dlp[row + c] = select(0.0, exp(max(lp[row + c], none)) * g, t < length && g != 0.0);
  }
  if (t >= length || g == 0.0) { return; }
  let at = (n * p.steps + t) * p.states;
  for (var s = 0u; s < states; s++) {
    let c = classOf(s, start);
    let both = alpha[at + s] + beta[at + s];
    if (both > -1e29) { dlp[row + c] -= exp(both - emission(t, n, c) + nll[n]) * g; }
  }`,
    }),
  }));

const values = ({ steps, batch, classes, states, blank }: CtcProblem): number[] => [
  steps,
  batch,
  classes,
  states,
  blank,
];

/** Writes `alpha` and `nll`. */
export function planCtc(problem: CtcProblem): Plan {
  return {
    launches: [
      {
        kernel: alphaKernel(),
        buffers: ['lp', 'targets', 'spans', 'alpha', 'nll'],
        params: values(problem),
        grid: foldGrid(problem.batch),
      },
    ],
    workspaces: {},
  };
}

/** Writes `dlp`. */
export function planCtcGrad(problem: CtcProblem): Plan {
  const { steps, batch, states } = problem;
  const all = values(problem);
  return {
    launches: [
      {
        kernel: betaKernel(),
        buffers: ['lp', 'targets', 'spans', 'beta'],
        params: all,
        grid: foldGrid(batch),
      },
      {
        kernel: gradKernel(),
        buffers: ['lp', 'targets', 'spans', 'alpha', 'beta', 'nll', 'dnll', 'dlp'],
        params: all,
        grid: foldGrid(ceilDiv(steps * batch, group)),
      },
    ],
    workspaces: { beta: 4 * batch * steps * states },
  };
}
