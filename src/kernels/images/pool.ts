/**
 * Pooling forward, on channels-last storage: one thread per output pixel and lane (a vec4 of channels where
 * their number allows it). Windows are strided (`maxPool2d`, `avgPool2d`) or adaptive (window `o` of `O`
 * covers rows `floor(o H / O)` up to `ceil((o + 1) H / O)`). Gradients are in pool-grad.ts.
 *
 * A max pool can leave its winners as `taps`: per output the number of the winning tap within its window, row
 * by row. With vec4 lanes four taps share one u32, a quarter of the memory that indices into the image would
 * take.
 */
import {
  operand,
  outputItem,
  planImages,
  threadText,
  type ImageKernel,
  type ImageProblem,
  type Operand,
} from './images.js';
import { ceilDiv, type Plan, type PlanLimits } from '../base/plan.js';

export interface StridedWindow {
  readonly kernelH: number;
  readonly kernelW: number;
  readonly strideH: number;
  readonly strideW: number;
  readonly padTop: number;
  readonly padLeft: number;
  readonly dilationH: number;
  readonly dilationW: number;
}

export interface PoolProblem extends ImageProblem {
  readonly window: StridedWindow | 'adaptive';
}

/**
 * What a sum over a window is divided by: one number, the window clipped to the padded image, or clipped to
 * the image.
 */
export type Divisor = number | 'padded' | 'inside';

const unrolledTaps = 9;

/** Columns of a tap number: tap = row in window * tapsAcross + column in window. */
export function tapsAcross({ w, outW, window }: PoolProblem): number {
  return window === 'adaptive' ? ceilDiv(w, outW) + 1 : window.kernelW;
}

const tapCount = (problem: PoolProblem): number =>
  tapsAcross(problem) *
  (problem.window === 'adaptive' ? ceilDiv(problem.h, problem.outH) + 1 : problem.window.kernelH);

/** Channels per thread. A max pool's winners must fit eight bits to go four to a word. */
export function laneWidth(problem: PoolProblem, keepTaps: boolean): 1 | 4 {
  return problem.c % 4 === 0 && (!keepTaps || tapCount(problem) <= 256) ? 4 : 1;
}

/** Words of the taps of a whole batch. */
export const tapWords = (problem: PoolProblem): number =>
  (problem.n * problem.outH * problem.outW * problem.c) / laneWidth(problem, true);

/** @internal */
export const tapsOperand = (problem: PoolProblem, width: 1 | 4, write: boolean): Operand => ({
  name: 'taps',
  items: (problem.outH * problem.outW * problem.c) / width,
  width: 1,
  stored: 'u32',
  write,
});

/** @internal As {@link planImages}, with the parameters that all pools have. */
export const planPool = (
  problem: PoolProblem,
  limits: PlanLimits,
  width: 1 | 4,
  spec: ImageKernel,
  divisor: Divisor = 1,
): Plan =>
  planImages(problem, limits, width, {
    ...spec,
    params: [
      ['tapsAcross', 'u32', tapsAcross(problem)],
      ['divisor', 'f32', typeof divisor === 'number' ? divisor : 1],
    ],
  });

/** @internal Key of everything that is compiled in. */
export const windowKey = ({ window }: PoolProblem): string =>
  window === 'adaptive' ? window : Object.values(window).join(',');

/** Whether some window leaves the image. */
function leavesImage({ h, w, outH, outW, window }: PoolProblem): boolean {
  if (window === 'adaptive') return false;
  const { kernelH, kernelW, strideH, strideW, padTop, padLeft, dilationH, dilationW } = window;
  const lastRow = (outH - 1) * strideH - padTop + (kernelH - 1) * dilationH;
  const lastColumn = (outW - 1) * strideW - padLeft + (kernelW - 1) * dilationW;
  return padTop > 0 || padLeft > 0 || lastRow >= h || lastColumn >= w;
}

/**
 * Declares the rows `ys`, `ys + step`, ... below `ye` of window `oy` that lie in the image, and `ky0`, the
 * row in the window of the first; the same for columns.
 */
function windowRange(window: PoolProblem['window']): string {
  const axis = (
    v: 'y' | 'x',
    size: string,
    out: string,
    k: number,
    s: number,
    pad: number,
    d: number,
  ): string =>
    window === 'adaptive'
      ? `
  let ${v}s = i32((o${v} * ${size}) / ${out});
  let ${v}e = i32(((o${v} + 1u) * ${size} + ${out} - 1u) / ${out});
  let k${v}0 = 0;`
      : `
  let first${v} = i32(o${v}) * ${s} - ${pad};
  let k${v}0 = (max(0, -first${v}) + ${d - 1}) / ${d};
  let ${v}s = first${v} + k${v}0 * ${d};
  let ${v}e = min(i32(${size}), first${v} + ${(k - 1) * d + 1});`;
  if (window === 'adaptive')
    return axis('y', 'p.h', 'p.outH', 0, 0, 0, 0) + axis('x', 'p.w', 'p.outW', 0, 0, 0, 0);
  return (
    axis('y', 'p.h', 'p.outH', window.kernelH, window.strideH, window.padTop, window.dilationH) +
    axis('x', 'p.w', 'p.outW', window.kernelW, window.strideW, window.padLeft, window.dilationW)
  );
}

const loops = (window: PoolProblem['window'], body: string): string => {
  const [dy, dx] = window === 'adaptive' ? [1, 1] : [window.dilationH, window.dilationW];
  return `
  var ky = ky0;
  for (var iy = ys; iy < ye; iy += ${dy}) {
    let row = p.xAt + (gid.z * p.h + u32(iy)) * p.w * p.lanes + lane;
    var tapInWindow = u32(ky) * p.tapsAcross + u32(kx0);
    for (var ix = xs; ix < xe; ix += ${dx}) {
      let v = T(x[row + u32(ix) * p.lanes]);
      ${body}
      tapInWindow++;
    }
    ky++;
  }`;
};

/**
 * Windows that are written out tap by tap: only small ones that stay inside. Measured on the software
 * adapter, with 3x3, stride 2 and padding, loops over the taps inside are a third faster than moving taps
 * into the image, and compile four times faster; 5x5 written out takes it seconds to compile.
 */
const isUnrolled = (problem: PoolProblem): boolean =>
  problem.window !== 'adaptive' &&
  problem.window.kernelH * problem.window.kernelW <= unrolledTaps &&
  !leavesImage(problem);

function eachTap(window: StridedWindow, line: (load: string, tap: number) => string): string {
  const { kernelH, kernelW, strideH, strideW, dilationH, dilationW } = window;
  const lines = [
    `let first = p.xAt + ((gid.z * p.h + oy * ${strideH}u) * p.w + ox * ${strideW}u) * p.lanes + lane;`,
  ];
  for (let i = 0; i < kernelH; i++) {
    for (let j = 0; j < kernelW; j++) {
      lines.push(
        line(`T(x[first + (${i * dilationH}u * p.w + ${j * dilationW}u) * p.lanes])`, i * kernelW + j),
      );
    }
  }
  return lines.join('\n  ');
}

/**
 * `y = max` over each window, NaN first; buffers `x y`, and `taps` when the winners are kept. Ties go to the
 * first tap.
 */
export function planMaxPool(limits: PlanLimits, problem: PoolProblem, keepTaps: boolean): Plan {
  const { window } = problem;
  const width = laneWidth(problem, keepTaps);
  const unrolled = isUnrolled(problem);
  // A NaN takes over from whatever came before it, and nothing is greater than a NaN.
  const compete = (tap: string): string =>
    `let won = (v > best) | isNan(v); best = select(best, v, won);${keepTaps ? ` tap = select(tap, U(${tap}), won);` : ''}`;
  const begin = (tap: string): string =>
    `var best = T(bitcast<f32>(lowest));${keepTaps ? ` var tap = U(${tap});` : ''}`;
  const body = (): string =>
    unrolled
      ? `${begin('0u')}
  ${eachTap(window as StridedWindow, (load, tap) => `{ let v = ${load}; ${compete(`${tap}u`)} }`)}`
      : `${windowRange(window)}
  ${begin('u32(ky0) * p.tapsAcross + u32(kx0)')}
  ${loops(window, compete('tapInWindow'))}`;
  return planPool(problem, limits, width, {
    key: `${windowKey(problem)}:${unrolled}:${keepTaps}`,
    name: 'maxPool2d',
    operands: [
      operand(problem, 'x', 'in', width),
      operand(problem, 'y', 'out', width, true),
      ...(keepTaps ? [tapsOperand(problem, width, true)] : []),
    ],
    across: problem.outW * (problem.c / width),
    down: problem.outH,
    body: () => `${threadText('p.outW', 'o')}
  var lowest = 0xff800000u;
  ${body()}
  let to = ${outputItem};
  y[p.yAt + to] = S(best);
  ${keepTaps ? 'taps[p.tapsAt + to] = pack(tap);' : ''}`,
  });
}

/**
 * @internal WGSL `pixelOf(oy, ox, tap)`: row * w + column, or h * w for the winner of a dilated window that
 * has no tap inside.
 */
export const tapPosition = (window: PoolProblem['window']): string => {
  const first = (v: 'y' | 'x', size: string, out: string): string => {
    if (window === 'adaptive') return `i32((o${v} * ${size}) / ${out})`;
    return v === 'y'
      ? `i32(oy) * ${window.strideH} - ${window.padTop}`
      : `i32(ox) * ${window.strideW} - ${window.padLeft}`;
  };
  const [dy, dx] = window === 'adaptive' ? [1, 1] : [window.dilationH, window.dilationW];
  return `
fn pixelOf(oy: u32, ox: u32, tap: u32) -> u32 {
  let ky = tap / p.tapsAcross;
  let iy = u32(${first('y', 'p.h', 'p.outH')} + i32(ky) * ${dy});
  let ix = u32(${first('x', 'p.w', 'p.outW')} + i32(tap - ky * p.tapsAcross) * ${dx});
  return select(p.h * p.w, iy * p.w + ix, iy < p.h && ix < p.w);
}`;
};

/**
 * PyTorch's indices: row * w + column of each winner, int32, stored channels-last. Buffers `taps indices`.
 */
export function planMaxPoolIndices(limits: PlanLimits, problem: PoolProblem): Plan {
  const width = laneWidth(problem, true);
  const indices: Operand = { ...operand(problem, 'indices', 'out', 1, true), stored: 'i32' };
  return planPool(problem, limits, width, {
    key: windowKey(problem),
    name: 'maxPool2dIndices',
    operands: [tapsOperand(problem, width, false), indices],
    across: problem.outW * (problem.c / width),
    down: problem.outH,
    functions: () => tapPosition(problem.window),
    body: () => `${threadText('p.outW', 'o')}
  let at = ${outputItem};
  let tap = unpack(taps[p.tapsAt + at]);
  ${Array.from({ length: width }, (_, i) => `indices[p.indicesAt + at * ${width}u + ${i}u] = i32(pixelOf(oy, ox, tap${width === 4 ? `[${i}]` : ''}));`).join('\n  ')}`,
  });
}

/** @internal WGSL `divisorOf(oy, ox) -> f32`. */
export function divisorText(problem: PoolProblem, divisor: Divisor): string {
  const { window } = problem;
  const size = (v: 'y' | 'x', length: string, out: string): string => {
    if (window === 'adaptive')
      return `i32(((o${v} + 1u) * ${length} + ${out} - 1u) / ${out}) - i32((o${v} * ${length}) / ${out})`;
    const [k, s, pad] =
      v === 'y'
        ? [window.kernelH, window.strideH, window.padTop]
        : [window.kernelW, window.strideW, window.padLeft];
    const first = `(i32(o${v}) * ${s} - ${pad})`;
    return divisor === 'padded'
      ? `min(${k}, i32(${length}) + ${pad} - ${first})`
      : `min(${first} + ${k}, i32(${length})) - max(${first}, 0)`;
  };
  const value =
    typeof divisor === 'number'
      ? 'p.divisor'
      : `f32((${size('y', 'p.h', 'p.outH')}) * (${size('x', 'p.w', 'p.outW')}))`;
  return `fn divisorOf(oy: u32, ox: u32) -> f32 { return ${value}; }`;
}

/** `y = sum over each window / divisor`; buffers `x y`. */
export function planAvgPool(limits: PlanLimits, problem: PoolProblem, divisor: Divisor): Plan {
  const { window } = problem;
  const width = laneWidth(problem, false);
  const unrolled = isUnrolled(problem);
  const body = (): string =>
    unrolled
      ? eachTap(window as StridedWindow, (load) => `sum += ${load};`)
      : `${windowRange(window)}\n  ${loops(window, 'sum += v;')}`;
  const text = (): string => `${threadText('p.outW', 'o')}
  var sum = T();
  ${body()}
  y[p.yAt + ${outputItem}] = S(sum / divisorOf(oy, ox));`;
  return planPool(
    problem,
    limits,
    width,
    {
      key: `${windowKey(problem)}:${unrolled}:${typeof divisor === 'number' ? 'number' : divisor}`,
      name: 'avgPool2d',
      operands: [operand(problem, 'x', 'in', width), operand(problem, 'y', 'out', width, true)],
      across: problem.outW * (problem.c / width),
      down: problem.outH,
      functions: () => divisorText(problem, divisor),
      body: text,
    },
    divisor,
  );
}
