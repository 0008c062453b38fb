/**
 * Pooling forward, on channels-last storage: one thread per output pixel and lane (a vec4 of channels where their number
 * allows it). Windows are strided (`maxPool2d`, `avgPool2d`) or adaptive (window `o` of `O` covers rows
 * `floor(o H / O)` up to `ceil((o + 1) H / O)`). Gradients are in pool-grad.ts.
 *
 * A max pool can leave its winners as `taps`: per output the number of the winning tap within its window, row by row. With
 * vec4 lanes four taps share one u32, a quarter of the memory that indices into the image would take.
 */
import { operand, outputItem, planImages, threadText, type ImageKernel, type ImageProblem, type Operand } from './images.js';
import { ceilDiv, type Plan, type PlanLimits } from './plan.js';

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

/** What a sum over a window is divided by: one number, the window clipped to the padded image, or clipped to the image. */
export type Divisor = number | 'padded' | 'inside';

/** @internal Most taps that are written out one by one. */
export const unrolledTaps = 32;

/** Columns of a tap number: tap = row in window * tapsAcross + column in window. */
export function tapsAcross({ w, outW, window }: PoolProblem): number {
  return window === 'adaptive' ? ceilDiv(w, outW) + 1 : window.kernelW;
}

const tapCount = (problem: PoolProblem): number =>
  tapsAcross(problem) * (problem.window === 'adaptive' ? ceilDiv(problem.h, problem.outH) + 1 : problem.window.kernelH);

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
export const planPool = (problem: PoolProblem, limits: PlanLimits, width: 1 | 4, spec: ImageKernel, divisor: Divisor = 1): Plan =>
  planImages(problem, limits, width, {
    ...spec,
    params: [
      ['tapsAcross', 'u32', tapsAcross(problem)],
      ['divisor', 'f32', typeof divisor === 'number' ? divisor : 1],
    ],
  });

/** @internal Key of everything that is compiled in. */
export const windowKey = ({ window }: PoolProblem): string => (window === 'adaptive' ? window : Object.values(window).join(','));

/** @internal Whether some window leaves the image. */
export function leavesImage({ h, w, outH, outW, window }: PoolProblem): boolean {
  if (window === 'adaptive') return false;
  const { kernelH, kernelW, strideH, strideW, padTop, padLeft, dilationH, dilationW } = window;
  const lastRow = (outH - 1) * strideH - padTop + (kernelH - 1) * dilationH;
  const lastColumn = (outW - 1) * strideW - padLeft + (kernelW - 1) * dilationW;
  return padTop > 0 || padLeft > 0 || lastRow >= h || lastColumn >= w;
}

/**
 * Declares the rows `ys`, `ys + step`, ... below `ye` of window `oy` that lie in the image, and `ky0`, the row in the window of
 * the first; the same for columns.
 */
function windowRange(window: PoolProblem['window']): string {
  const axis = (v: 'y' | 'x', size: string, out: string, k: number, s: number, pad: number, d: number): string =>
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
  if (window === 'adaptive') return axis('y', 'p.h', 'p.outH', 0, 0, 0, 0) + axis('x', 'p.w', 'p.outW', 0, 0, 0, 0);
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
    var kx = kx0;
    for (var ix = xs; ix < xe; ix += ${dx}) {
      let v = T(x[row + u32(ix) * p.lanes]);
      ${body}
      kx++;
    }
    ky++;
  }`;
};

/**
 * The taps of a window written out: tap (i, j) is item `row<i> + column<j>`. With `clamped`, taps outside the image are moved to
 * the nearest one inside, so that no load is conditional; `ky<i>` and `kx<j>` say where they ended up.
 */
function unrolledLoads(window: StridedWindow, clamped: boolean): string {
  const { kernelH, kernelW, strideH, strideW, padTop, padLeft, dilationH, dilationW } = window;
  const axis = (v: 'y' | 'x', size: string, k: number, s: number, pad: number, d: number): string => {
    const lines = [`let first${v} = i32(o${v}) * ${s} - ${pad};`];
    if (clamped) {
      const low = d === 1 ? `max(0, -first${v})` : `(max(0, -first${v}) + ${d - 1}) / ${d}`;
      const high = d === 1 ? `i32(${size}) - 1 - first${v}` : `(i32(${size}) - 1 - first${v}) / ${d}`;
      lines.push(`let low${v} = ${low};`, `let high${v} = min(${k - 1}, ${high});`);
    }
    for (let i = 0; i < k; i++) lines.push(`let k${v}${i} = ${clamped ? `clamp(${i}, low${v}, high${v})` : i};`);
    return lines.join('\n  ');
  };
  const rows = Array.from(
    { length: kernelH },
    (_, i) => `let row${i} = image + u32(firsty + ky${i}${dilationH > 1 ? ` * ${dilationH}` : ''}) * p.w * p.lanes;`,
  );
  const columns = Array.from(
    { length: kernelW },
    (_, j) => `let column${j} = u32(firstx + kx${j}${dilationW > 1 ? ` * ${dilationW}` : ''}) * p.lanes;`,
  );
  return `
  let image = p.xAt + gid.z * p.h * p.w * p.lanes + lane;
  ${axis('y', 'p.h', kernelH, strideH, padTop, dilationH)}
  ${axis('x', 'p.w', kernelW, strideW, padLeft, dilationW)}
  ${rows.join('\n  ')}
  ${columns.join('\n  ')}`;
}

const eachTap = ({ kernelH, kernelW }: StridedWindow, line: (i: number, j: number) => string): string => {
  const lines: string[] = [];
  for (let i = 0; i < kernelH; i++) for (let j = 0; j < kernelW; j++) lines.push(line(i, j));
  return lines.join('\n  ');
};

const isUnrolled = (window: PoolProblem['window']): window is StridedWindow =>
  window !== 'adaptive' && window.kernelH * window.kernelW <= unrolledTaps;

/** `y = max` over each window, NaN first; buffers `x y`, and `taps` when the winners are kept. Ties go to the first tap. */
export function planMaxPool(limits: PlanLimits, problem: PoolProblem, keepTaps: boolean): Plan {
  const { window } = problem;
  const width = laneWidth(problem, keepTaps);
  const clamped = leavesImage(problem);
  // A NaN takes over from whatever came before it, and nothing is greater than a NaN.
  const compete = (tap: string): string =>
    `let won = (v > best) | isNan(v); best = select(best, v, won);${keepTaps ? ` tap = select(tap, U(u32(${tap})), won);` : ''}`;
  const body = (): string => {
    const begin = (tap: string): string => `var best = T(); ${keepTaps ? `var tap = U(u32(${tap}));` : ''}`;
    if (isUnrolled(window)) {
      const { kernelW } = window;
      const tapOf = (i: number, j: number): string => `ky${i} * ${kernelW} + kx${j}`;
      // With dilation, all taps of a window may lie outside.
      const mayMiss = clamped && (window.dilationH > 1 || window.dilationW > 1);
      return `${unrolledLoads(window, clamped)}
  ${begin(tapOf(0, 0))}
  best = T(x[row0 + column0]);
  ${eachTap(window, (i, j) => (i + j === 0 ? '' : `{ let v = T(x[row${i} + column${j}]); ${compete(tapOf(i, j))} }`))}
  ${mayMiss ? 'var lowest = 0xff800000u; if (lowy > highy || lowx > highx) { best = T(bitcast<f32>(lowest)); }' : ''}`;
    }
    return `${windowRange(window)}
  var lowest = 0xff800000u;
  ${begin('ky0 * i32(p.tapsAcross) + kx0')}
  best = T(bitcast<f32>(lowest));
  ${loops(window, compete('ky * i32(p.tapsAcross) + kx'))}`;
  };
  return planPool(problem, limits, width, {
    key: `${windowKey(problem)}:${clamped}:${keepTaps}`,
    name: 'maxPool2d',
    operands: [
      operand(problem, 'x', 'in', width),
      operand(problem, 'y', 'out', width, true),
      ...(keepTaps ? [tapsOperand(problem, width, true)] : []),
    ],
    across: problem.outW * (problem.c / width),
    down: problem.outH,
    text: () => `${threadText('p.outW', 'o')}
  ${body()}
  let to = ${outputItem};
  y[p.yAt + to] = S(best);
  ${keepTaps ? 'taps[p.tapsAt + to] = pack(tap);' : ''}`,
  });
}

/** @internal Row and column in the image of tap `t` of window (oy, ox), for one lane element. */
export const tapPosition = (window: PoolProblem['window']): string => {
  const first = (v: 'y' | 'x', size: string, out: string): string => {
    if (window === 'adaptive') return `i32((o${v} * ${size}) / ${out})`;
    return v === 'y' ? `i32(oy) * ${window.strideH} - ${window.padTop}` : `i32(ox) * ${window.strideW} - ${window.padLeft}`;
  };
  const [dy, dx] = window === 'adaptive' ? [1, 1] : [window.dilationH, window.dilationW];
  return `
fn pixelOf(oy: u32, ox: u32, tap: u32) -> u32 {
  let ky = tap / p.tapsAcross;
  let iy = u32(${first('y', 'p.h', 'p.outH')} + i32(ky) * ${dy});
  let ix = u32(${first('x', 'p.w', 'p.outW')} + i32(tap - ky * p.tapsAcross) * ${dx});
  return iy * p.w + ix;
}`;
};

/** PyTorch's indices: row * w + column of each winner, int32, stored channels-last. Buffers `taps indices`. */
export function planMaxPoolIndices(limits: PlanLimits, problem: PoolProblem): Plan {
  const width = laneWidth(problem, true);
  const indices: Operand = { ...operand(problem, 'indices', 'out', 1, true), stored: 'i32' };
  return planPool(problem, limits, width, {
    key: windowKey(problem),
    name: 'maxPool2dIndices',
    operands: [tapsOperand(problem, width, false), indices],
    across: problem.outW * (problem.c / width),
    down: problem.outH,
    text: () => `${tapPosition(problem.window)}
${threadText('p.outW', 'o')}
  let at = ${outputItem};
  let tap = unpack(taps[p.tapsAt + at]);
  ${Array.from({ length: width }, (_, i) => `indices[p.indicesAt + at * ${width}u + ${i}u] = i32(pixelOf(oy, ox, tap${width === 4 ? `[${i}]` : ''}));`).join('\n  ')}`,
  });
}

/** @internal WGSL `divisorOf(oy, ox) -> f32`. */
export function divisorText(problem: PoolProblem, divisor: Divisor): string {
  const { window } = problem;
  const size = (v: 'y' | 'x', length: string, out: string): string => {
    if (window === 'adaptive') return `i32(((o${v} + 1u) * ${length} + ${out} - 1u) / ${out}) - i32((o${v} * ${length}) / ${out})`;
    const [k, s, pad] =
      v === 'y' ? [window.kernelH, window.strideH, window.padTop] : [window.kernelW, window.strideW, window.padLeft];
    const first = `(i32(o${v}) * ${s} - ${pad})`;
    return divisor === 'padded' ? `min(${k}, i32(${length}) + ${pad} - ${first})` : `min(${first} + ${k}, i32(${length})) - max(${first}, 0)`;
  };
  const value =
    typeof divisor === 'number' ? 'p.divisor' : `f32((${size('y', 'p.h', 'p.outH')}) * (${size('x', 'p.w', 'p.outW')}))`;
  return `fn divisorOf(oy: u32, ox: u32) -> f32 { return ${value}; }`;
}

/** `y = sum over each window / divisor`; buffers `x y`. */
export function planAvgPool(limits: PlanLimits, problem: PoolProblem, divisor: Divisor): Plan {
  const { window } = problem;
  const width = laneWidth(problem, false);
  const clamped = leavesImage(problem);
  const body = (): string => {
    if (!isUnrolled(window)) return `${windowRange(window)}\n  ${loops(window, 'sum += v;')}`;
    const add = (i: number, j: number): string => {
      const load = `T(x[row${i} + column${j}])`;
      return `sum += ${clamped ? `select(T(), ${load}, ky${i} == ${i} && kx${j} == ${j})` : load};`;
    };
    return `${unrolledLoads(window, clamped)}\n  ${eachTap(window, add)}`;
  };
  const text = (): string => `${divisorText(problem, divisor)}
${threadText('p.outW', 'o')}
  var sum = T();
  ${body()}
  y[p.yAt + ${outputItem}] = S(sum / divisorOf(oy, ox));`;
  return planPool(
    problem,
    limits,
    width,
    {
      key: `${windowKey(problem)}:${clamped}:${typeof divisor === 'number' ? 'number' : divisor}`,
      name: 'avgPool2d',
      operands: [operand(problem, 'x', 'in', width), operand(problem, 'y', 'out', width, true)],
      across: problem.outW * (problem.c / width),
      down: problem.outH,
      text,
    },
    divisor,
  );
}
