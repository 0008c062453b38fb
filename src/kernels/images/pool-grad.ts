/**
 * Gradients of pooling, in gather form: each thread owns input pixels and sums over the windows that cover
 * them in a fixed order, so nothing is added atomically and results do not depend on timing.
 *
 * For small strided windows a thread owns a block of stride x stride pixels. All of them are covered by the
 * same few windows, and which tap of which window each pixel is becomes a compile-time constant; 3x3 with
 * stride 2 reads 4 gradients for 4 pixels.
 */
import { inputItem, operand, outputItem, threadText } from './images.js';
import {
  divisorText,
  laneWidth,
  planPool,
  tapPosition,
  tapsOperand,
  windowKey,
  type Divisor,
  type PoolProblem,
  type StridedWindow,
} from './pool.js';
import { ceilDiv, type Plan, type PlanLimits } from '../base/plan.js';

/**
 * Windows whose gradient goes by blocks. On the software adapter blocks are 3 to 9 times faster than single
 * pixels for 2x2 and 3x3 with stride 2; with stride 1 they save no load, and many taps take seconds to
 * compile.
 */
const inBlocks = (window: PoolProblem['window']): window is StridedWindow => {
  if (window === 'adaptive') return false;
  const pixels = window.strideH * window.strideW;
  const [down, across] = spanBlocks(window);
  return pixels > 1 && pixels <= 16 && window.kernelH * window.kernelW <= 16 && down * across <= 16;
};

/** How many windows, down and across, cover a block. */
const spanBlocks = ({
  kernelH,
  kernelW,
  strideH,
  strideW,
  dilationH,
  dilationW,
}: StridedWindow): [number, number] => [
  ceilDiv((kernelH - 1) * dilationH + 1, strideH),
  ceilDiv((kernelW - 1) * dilationW + 1, strideW),
];

interface Gather {
  /** Declares `g`, what window (oy, ox) gives to its pixels, from the item `at` of its output pixel. */
  readonly fetch: string;
  /** Adds to the sum `into` the share of the pixel that is tap `tap` of the window. */
  readonly share: (into: string, tap: string) => string;
}

/**
 * Sums over blocks: pixel (ry, rx) of block (by, bx) is tap (ry + qy stride, rx + qx stride) of window (by -
 * qy, bx - qx).
 */
function blockText(window: StridedWindow, { fetch, share }: Gather): string {
  const { kernelH, kernelW, strideH, strideW, padTop, padLeft, dilationH, dilationW } = window;
  const [spanH, spanW] = spanBlocks(window);
  const lines: string[] = [];
  const tapAt = (r: number, q: number, stride: number, dilation: number, kernel: number): number => {
    const distance = r + q * stride;
    return distance % dilation === 0 && distance / dilation < kernel ? distance / dilation : -1;
  };
  const touched = new Set<string>();
  for (let qy = 0; qy < spanH; qy++) {
    for (let qx = 0; qx < spanW; qx++) {
      const shares: string[] = [];
      for (let ry = 0; ry < strideH; ry++) {
        for (let rx = 0; rx < strideW; rx++) {
          const ky = tapAt(ry, qy, strideH, dilationH, kernelH);
          const kx = tapAt(rx, qx, strideW, dilationW, kernelW);
          if (ky < 0 || kx < 0) continue;
          touched.add(`${ry}_${rx}`);
          shares.push(share(`sum${ry}_${rx}`, `${ky * kernelW + kx}u`));
        }
      }
      if (shares.length === 0) continue;
      lines.push(`{
    // Windows outside wrap around to huge numbers.
    let wy = by - ${qy}u; let wx = bx - ${qx}u;
    let inside = wy < p.outH && wx < p.outW;
    let oy = min(wy, p.outH - 1u); let ox = min(wx, p.outW - 1u);
    let at = ${outputItem};
    ${fetch}
    ${shares.join('\n    ')}
  }`);
    }
  }
  const pixels = Array.from(
    { length: strideH * strideW },
    (_, i) => [Math.floor(i / strideW), i % strideW] as const,
  );
  return `${threadText(`((p.w - 1u + ${padLeft}u) / ${strideW}u + 1u)`, 'b')}
  ${pixels.map(([ry, rx]) => `var sum${ry}_${rx} = T();`).join('\n  ')}
  ${lines.join('\n  ')}
  ${pixels
    .map(
      ([ry, rx]) => `{
    let iy = by * ${strideH}u + ${ry}u - ${padTop}u; let ix = bx * ${strideW}u + ${rx}u - ${padLeft}u;
    if (iy < p.h && ix < p.w) { dx[p.dxAt + ${inputItem}] = S(sum${ry}_${rx}); }
  }`,
    )
    .join('\n  ')}`;
}

/** Windows that tile the image: each pixel is in one of them at most. */
const isTiling = (window: PoolProblem['window']): window is StridedWindow =>
  window !== 'adaptive' &&
  window.padTop + window.padLeft === 0 &&
  window.kernelH === window.strideH &&
  window.kernelW === window.strideW &&
  window.dilationH * window.dilationW === 1;

/** One pixel per thread and one window per pixel; global pooling above all. */
function tileText({ strideH, strideW }: StridedWindow, { fetch, share }: Gather): string {
  return `${threadText('p.w', 'i')}
  let wy = iy / ${strideH}u; let wx = ix / ${strideW}u;
  let inside = wy < p.outH && wx < p.outW;
  let oy = min(wy, p.outH - 1u); let ox = min(wx, p.outW - 1u);
  let at = ${outputItem};
  ${fetch}
  var sum = T();
  ${share('sum', `((iy - wy * ${strideH}u) * p.tapsAcross + ix - wx * ${strideW}u)`)}
  dx[p.dxAt + ${inputItem}] = S(sum);`;
}

/** One pixel per thread, any window. */
function pixelText(window: PoolProblem['window'], { fetch, share }: Gather): string {
  const range = (v: 'y' | 'x'): string => {
    const [size, out] = v === 'y' ? ['p.h', 'p.outH'] : ['p.w', 'p.outW'];
    if (window === 'adaptive')
      return `let low${v} = i${v} * ${out} / ${size}; let high${v} = ((i${v} + 1u) * ${out} + ${size} - 1u) / ${size};`;
    const [k, s, pad, d] =
      v === 'y'
        ? [window.kernelH, window.strideH, window.padTop, window.dilationH]
        : [window.kernelW, window.strideW, window.padLeft, window.dilationW];
    return `let low${v} = u32(max(0, i32(i${v}) + ${pad - (k - 1) * d + s - 1})) / ${s}u; let high${v} = min(${out}, (i${v} + ${pad}u) / ${s}u + 1u);`;
  };
  const tap = (v: 'y' | 'x'): string => {
    if (window === 'adaptive')
      return `let k${v} = i${v} - (o${v} * ${v === 'y' ? 'p.h' : 'p.w'}) / ${v === 'y' ? 'p.outH' : 'p.outW'};`;
    const [s, pad, d] =
      v === 'y'
        ? [window.strideH, window.padTop, window.dilationH]
        : [window.strideW, window.padLeft, window.dilationW];
    const distance = `i${v} + ${pad}u - o${v} * ${s}u`;
    return d === 1
      ? `let k${v} = ${distance};`
      : `let far${v} = ${distance}; if (far${v} % ${d}u != 0u) { continue; } let k${v} = far${v} / ${d}u;`;
  };
  return `${threadText('p.w', 'i')}
  var sum = T();
  ${range('y')}
  ${range('x')}
  let inside = true;
  for (var oy = lowy; oy < highy; oy++) {
    ${tap('y')}
    for (var ox = lowx; ox < highx; ox++) {
      ${tap('x')}
      let at = ${outputItem};
      ${fetch}
      ${share('sum', '(ky * p.tapsAcross + kx)')}
    }
  }
  dx[p.dxAt + ${inputItem}] = S(sum);`;
}

function gatherText(window: PoolProblem['window'], gather: Gather): string {
  if (inBlocks(window)) return blockText(window, gather);
  return isTiling(window) ? tileText(window, gather) : pixelText(window, gather);
}

function gatherGrid({ window, h, w, c }: PoolProblem, width: number): { across: number; down: number } {
  const lanes = c / width;
  if (!inBlocks(window)) return { across: w * lanes, down: h };
  return {
    across: (Math.floor((w - 1 + window.padLeft) / window.strideW) + 1) * lanes,
    down: Math.floor((h - 1 + window.padTop) / window.strideH) + 1,
  };
}

/** `dx` = the gradients of the windows that each pixel won; buffers `dy taps dx`. */
export function planMaxPoolGrad(limits: PlanLimits, problem: PoolProblem): Plan {
  const { window } = problem;
  const width = laneWidth(problem, true);
  const gather: Gather = {
    fetch: 'let g = select(T(), T(dy[p.dyAt + at]), inside); let winner = unpack(taps[p.tapsAt + at]);',
    share: (into, tap) => `${into} += select(T(), g, winner == U(${tap}));`,
  };
  return planPool(problem, limits, width, {
    key: windowKey(problem),
    name: 'maxPool2dBackward',
    operands: [
      operand(problem, 'dy', 'out', width),
      tapsOperand(problem, width, false),
      operand(problem, 'dx', 'in', width, true),
    ],
    ...gatherGrid(problem, width),
    body: () => gatherText(window, gather),
  });
}

/** The transpose of {@link planMaxPoolGrad}: `y` = the winners' pixels of `x`; buffers `x taps y`. */
export function planMaxPoolGather(limits: PlanLimits, problem: PoolProblem): Plan {
  const width = laneWidth(problem, true);
  const component = (i: number): string => (width === 4 ? `[${i}]` : '');
  const each = (i: number): string =>
    `picked(pixelOf(oy, ox, winner${component(i)}), lane, gid.z)${component(i)}`;
  return planPool(problem, limits, width, {
    key: windowKey(problem),
    name: 'maxPool2dGather',
    operands: [
      operand(problem, 'x', 'in', width),
      tapsOperand(problem, width, false),
      operand(problem, 'y', 'out', width, true),
    ],
    across: problem.outW * (problem.c / width),
    down: problem.outH,
    functions: () => `${tapPosition(problem.window)}
fn picked(pixel: u32, lane: u32, image: u32) -> T {
  let inside = pixel < p.h * p.w;
  let value = T(x[p.xAt + (image * p.h * p.w + select(0u, pixel, inside)) * p.lanes + lane]);
  return select(T(), value, inside);
}`,
    body: () => `${threadText('p.outW', 'o')}
  let at = ${outputItem};
  let winner = unpack(taps[p.tapsAt + at]);
  y[p.yAt + at] = S(${Array.from({ length: width }, (_, i) => each(i)).join(', ')});`,
  });
}

/** `dx` = the sum of `dy / divisor` over the windows that cover each pixel; buffers `dy dx`. */
export function planAvgPoolGrad(limits: PlanLimits, problem: PoolProblem, divisor: Divisor): Plan {
  const { window } = problem;
  const width = laneWidth(problem, false);
  const gather: Gather = {
    fetch: 'let g = select(T(), T(dy[p.dyAt + at]), inside) / divisorOf(oy, ox);',
    share: (into) => `${into} += g;`,
  };
  return planPool(
    problem,
    limits,
    width,
    {
      key: `${windowKey(problem)}:${typeof divisor === 'number' ? 'number' : divisor}`,
      name: 'avgPool2dBackward',
      operands: [operand(problem, 'dy', 'out', width), operand(problem, 'dx', 'in', width, true)],
      ...gatherGrid(problem, width),
      functions: () => divisorText(problem, divisor),
      body: () => gatherText(window, gather),
    },
    divisor,
  );
}
