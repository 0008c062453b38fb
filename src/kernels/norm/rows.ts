/**
 * Layer norm and RMS norm over rows of a dense [rows, classes] matrix: forward in one launch, the input's
 * gradient in one, those of the affine map in two (by the blocks of blocks.ts). A row is read once where its
 * threads can hold it in registers.
 */
import { memoKernel, type Target } from '../base/kernel.js';
import type { Launch, Plan } from '../base/plan.js';
import { reads, shader, writes, type Binding } from '../base/shader.js';
import {
  rowKernel,
  rowLaunch,
  rowShape,
  rowShapeKey,
  type RowProblem,
  type RowShape,
} from '../reduce/row-frame.js';
import { rowLoop } from './channels-apply.js';
import {
  blockEntry,
  blockLaunches,
  blockParams,
  blockShape,
  blockThread,
  channelPartials,
  finishThreads,
  joinMembers,
  joinTeam,
  lane,
  memberMemory,
  namesOf,
  sumBlocks,
} from './blocks.js';

export interface RowNormProblem extends RowProblem {
  /** By the mean square alone (RMS norm), else by deviations from the mean. */
  readonly rms: boolean;
  /** `gamma` is bound. */
  readonly scaled: boolean;
  /** `beta` is bound. */
  readonly shifted: boolean;
}

/** Lanes of a row that one thread keeps in registers, at most. */
const heldLanes = 4;
/** Threads of a row, at most. */
const mostThreads = 256;

const shapeOf = (target: Target, problem: RowProblem): RowShape => rowShape(target, problem, mostThreads);

const lanesOf = ({ width }: RowShape, { classes }: RowProblem): number => classes / width;

/**
 * Whether rows suit a team (on software adapters a thread) each. There a single thread goes over 2,048
 * elements in less time than the two launches more take that sums by parts need.
 */
export function fitsRowNorm(target: Target, problem: RowProblem, maxBinding: number): boolean {
  const { rows, classes } = problem;
  if (rows * classes * 4 > maxBinding) return false;
  const lanes = lanesOf(shapeOf(target, problem), problem);
  return target.kind === 'software' ? lanes <= 512 : lanes <= 16 * mostThreads;
}

/** How a kernel goes over a row again and again. */
interface Passes {
  /** WGSL before the first pass, which loads what a thread holds. */
  readonly held: string;
  /** A pass: WGSL of a lane with names ending in `j`, at element `at` and lane `i` of the row. */
  readonly each: (body: (j: string, at: string) => string) => string;
}

/** `load` makes values with names ending in `j` of element `at`, which is lane `i` of the row. */
function passes(
  shape: RowShape,
  problem: RowProblem,
  load: (j: string, at: string, i: string) => string,
): Passes {
  const { share } = shape;
  if (!isHeld(shape, problem))
    return {
      held: '',
      each: (body) => `LOOP { let at = base + i; ${load('', 'at', 'i')} ${body('', 'at')} }`,
    };
  const lanes = Array.from({ length: Math.ceil(lanesOf(shape, problem) / share) }, (_, j) => `${j}`);
  return {
    held: lanes
      .map(
        (j) => `let i${j} = t + ${j}u * ${share}u; let at${j} = base + i${j}; let own${j} = i${j} < lanes;
${load(j, `select(0u, at${j}, own${j})`, `select(0u, i${j}, own${j})`)}`,
      )
      .join('\n'),
    each: (body) => lanes.map((j) => `if (own${j}) { let i = i${j}; ${body(j, `at${j}`)} }`).join('\n'),
  };
}

const isHeld = (shape: RowShape, problem: RowProblem): boolean =>
  shape.share > 1 && lanesOf(shape, problem) <= heldLanes * shape.share;

const heldKey = (shape: RowShape, problem: RowProblem): string =>
  isHeld(shape, problem) ? `${Math.ceil(lanesOf(shape, problem) / shape.share)}` : '';

/** Buffers x, y, stats (1 / std per row, then the means unless `rms`), [gamma], [beta]. */
function forwardLaunch(target: Target, problem: RowNormProblem, eps: number): Launch {
  const shape = shapeOf(target, problem);
  const { rms, scaled, shifted } = problem;
  const bindings = [
    reads('x', 'T'),
    writes('y', 'T'),
    writes('stats', 'f32'),
    ...(scaled ? [reads('gamma', 'T')] : []),
    ...(shifted ? [reads('beta', 'T')] : []),
  ];
  const key = `rowNorm:${rms}:${scaled}:${shifted}:${rowShapeKey(shape)}:${heldKey(shape, problem)}`;
  const kernel = memoKernel(key, () => {
    const { held, each } = passes(shape, problem, (j, at) => `let a${j} = x[${at}];`);
    const count = `f32(p.lanes * ${shape.width}u)`;
    const mean = `var sum = T();
${each((j) => `sum += a${j};`)}
  let mean = total(across(sum), lid) / ${count};`;
    // The sum of a thread by itself is long: the mean of what is left is taken away too.
    const corrects = !rms && shape.share === 1;
    const deviation = (j: string): string => (rms ? `a${j}` : `(a${j} - mean)`);
    const centred = (j: string): string => (corrects ? `(${deviation(j)} - drift)` : deviation(j));
    const squares = `total(across(squares), lid) / ${count}`;
    const affine = `${scaled ? ' * gamma[i]' : ''}${shifted ? ' + beta[i]' : ''}`;
    return rowKernel(
      rms ? 'rmsNorm' : 'layerNorm',
      shape,
      bindings,
      [['eps', 'f32']],
      `${held}
${rms ? '' : mean}
  var squares = T(); ${corrects ? 'var rest = T();' : ''}
${each((j) => `let d = ${deviation(j)}; squares += d * d; ${corrects ? 'rest += d;' : ''}`)}
  ${corrects ? `let drift = total(across(rest), lid) / ${count};` : ''}
  let invstd = 1.0 / sqrt(${squares}${corrects ? ' - drift * drift' : ''} + p.eps);
  if (LEADER) {
    stats[row] = invstd;
    ${rms ? '' : `stats[p.rows + row] = mean${corrects ? ' + drift' : ''};`}
  }
${each((j, at) => `y[${at}] = ${centred(j)} * invstd${affine};`)}`,
    );
  });
  return rowLaunch(kernel, shape, problem, namesOf(bindings), [eps]);
}

/**
 * Buffers x, dy, dx, stats, [gamma]. With g = gamma dy and h the normalised input `dx = invstd (g - mean(g) -
 * h mean(g h))` (Ba et al. 2016), of which RMS norm has no mean(g).
 */
function inputGradLaunch(target: Target, problem: RowNormProblem): Launch {
  const shape = shapeOf(target, problem);
  const { rms, scaled } = problem;
  const bindings = [
    reads('x', 'T'),
    reads('dy', 'T'),
    writes('dx', 'T'),
    reads('stats', 'f32'),
    ...(scaled ? [reads('gamma', 'T')] : []),
  ];
  const key = `rowNormBackward:${rms}:${scaled}:${rowShapeKey(shape)}:${heldKey(shape, problem)}`;
  const kernel = memoKernel(key, () => {
    const { held, each } = passes(
      shape,
      problem,
      (j, at, i) => `let h${j} = (x[${at}]${rms ? '' : ' - mean'}) * invstd;
  let g${j} = dy[${at}]${scaled ? ` * gamma[${i}]` : ''};`,
    );
    const count = `f32(p.lanes * ${shape.width}u)`;
    return rowKernel(
      rms ? 'rmsNormBackward' : 'layerNormBackward',
      shape,
      bindings,
      [],
      `let invstd = stats[row];
  ${rms ? '' : 'let mean = stats[p.rows + row];'}
${held}
  ${rms ? '' : 'var s = T();'} var q = T();
${each((j) => `${rms ? '' : `s += g${j};`} q += g${j} * h${j};`)}
  ${rms ? '' : `let ms = total(across(s), lid) / ${count};`}
  let mq = total(across(q), lid) / ${count};
${each((j, at) => `dx[${at}] = invstd * (g${j}${rms ? '' : ' - ms'} - h${j} * mq);`)}`,
    );
  });
  return rowLaunch(kernel, shape, problem, namesOf(bindings));
}

/** `y = (x - mean) / std * gamma + beta`, and 1 / std and mean per row. Buffers as those of its launch. */
export function planRowNorm(target: Target, problem: RowNormProblem, eps: number): Plan {
  return { launches: [forwardLaunch(target, problem, eps)], workspaces: {} };
}

/** The input's gradient. */
export function planRowNormInputGrad(target: Target, problem: RowNormProblem): Plan {
  return { launches: [inputGradLaunch(target, problem)], workspaces: {} };
}

/**
 * The gradients of gamma and beta, in one pass over the matrices: buffers x, dy, stats, dgamma and, where the
 * problem is `shifted`, dbeta.
 */
export function planRowNormAffineGrad(target: Target, problem: RowNormProblem): Plan {
  const { rows, classes, rms, shifted } = problem;
  const columns = { rows, channels: classes };
  const { width, T } = lane(classes);
  const shape = blockShape(target, columns);
  const kernel = memoKernel(`rowNormAffine:${rms}:${width}:${shape.wx}:${shape.wy}`, () => {
    const row = (at: string, i: number): string => {
      const r = `first + ${i === 0 ? 'r' : `r + ${shape.wy}u`}`;
      const deviation = rms ? `x[${at}]` : `(x[${at}] - stats[p.rows + ${r}])`;
      return `let g${i} = dy[${at}]; s${i} += g${i}; q${i} += g${i} * (${deviation} * stats[${r}]);`;
    };
    return {
      name: rms ? 'rmsNormBackward' : 'layerNormBackward',
      params: blockParams,
      ...shader({
        bindings: [reads('x', T), reads('dy', T), reads('stats', 'f32'), writes('partials', T)],
        functions: memberMemory(shape, T),
        ...blockEntry(shape),
        body: `${blockThread(shape)}
  var s0 = ${T}(); var s1 = ${T}(); var q0 = ${T}(); var q1 = ${T}();${rowLoop(row, false, shape.wy)}
  var s = s0 + s1;
  var q = q0 + q1;
${joinMembers(
  shape,
  `  let to = ((p.firstBlock + block) * p.columns + column) * 2u;
  partials[to] = s;
  partials[to + 1u] = q;`,
)}`,
      }),
    };
  });
  const blocks = channelPartials(target, columns) / (2 * classes);
  return {
    launches: [
      ...blockLaunches(kernel, target, columns, 'sums', ['x', 'dy'], ['stats', 'partials']),
      affineFinish(target, classes, blocks, shifted),
    ],
    workspaces: { partials: 4 * channelPartials(target, columns) },
  };
}

function affineFinish(target: Target, channels: number, blocks: number, shifted: boolean): Launch {
  const { width } = lane(channels);
  const threads = finishThreads(target);
  const bindings: Binding[] = [
    reads('partials', 'f32'),
    writes('dgamma', 'f32'),
    ...(shifted ? [writes('dbeta', 'f32')] : []),
  ];
  const kernel = memoKernel(`rowNormAffineFinish:${shifted}:${width}:${threads.team}`, () => ({
    name: 'layerNormBackward',
    params: [
      ['channels', 'u32'],
      ['blocks', 'u32'],
    ],
    ...shader({
      bindings,
      functions: threads.team === 1 ? '' : `var<workgroup> joined: array<vec2<f32>, ${threads.workgroup}>;`,
      workgroup: threads.workgroup,
      builtins: threads.builtins,
      body: `${threads.head}
${sumBlocks(threads, width)}
${joinTeam(threads, 'vec2<f32>(s, q)', 's += other.x; q += other.y;', `  dgamma[c] = q;\n${shifted ? '  dbeta[c] = s;' : ''}`)}`,
    }),
  }));
  return {
    kernel,
    buffers: namesOf(bindings),
    params: [channels, blocks],
    grid: [Math.ceil(channels / threads.across), 1, 1],
  };
}
