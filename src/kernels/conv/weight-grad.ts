/**
 * Weight gradient of a convolution: for every tap a matrix product of the shifted input, transposed, with the
 * output gradient, summed over output positions. The positions are split into parts whose results are added
 * in a fixed order.
 */
import { PlanCache, problemKey } from '../base/plan-cache.js';
import { memoKernel, type Kernel, type Target } from '../base/kernel.js';
import { planDepthwiseWeightGrad } from './depthwise-plan.js';
import { splitSumLaunch } from '../matmul/split-sum.js';
import { weightGradSumLaunch } from './weight-grad-sum.js';
import { isDepthwise, isPointwise, type Conv2dProblem } from './problem.js';
import { tunedChoice } from '../matmul/choice.js';
import { insideShare } from './gathered.js';
import { planGemm } from '../matmul/plan.js';
import { sharedLoop } from '../matmul/shared-tile.js';
import { chooseSplits, chooseTile } from '../matmul/tile-table.js';
import { planWinogradWeightGrad, useWinogradWeightGrad } from './winograd-plan.js';
import { reads, writes } from '../base/shader.js';
import {
  bindElements,
  bytesOf,
  ceilDiv,
  highHalf,
  lowHalf,
  noEpilogue,
  pair,
  renamed,
  roundUp,
  type Elem,
  type Launch,
  type Plan,
  type PlanLimits,
} from '../base/plan.js';
import {
  declareAccumulators,
  forRows,
  hasBroadcast,
  leftK,
  leftLoads,
  leftRow,
  loaded,
  multiplyAdd,
  range,
  rightCol,
  rightK,
  rightLoads,
  sharedHead,
  stepK,
  tileCol,
  tileCols,
  tileKey,
  tileShader,
  vecType,
  widen,
  type Tile,
} from '../matmul/tile.js';

interface WeightGradSpec {
  readonly tile: Tile;
  /** Rows are the elements of a run (one group, neighbouring taps adjacent) or the channels of a tap. */
  readonly run: boolean;
  /** The input is read by four channels. */
  readonly vec: boolean;
  /** The output gradient is read by vectors of the tile's width. */
  readonly vecDy: boolean;
  /** The number of positions is not a multiple of the step. */
  readonly tail: boolean;
  /**
   * Each tap sums over the positions that it reads inside the image only: worth it where padding is much of
   * what is read.
   */
  readonly inside: boolean;
  readonly elem: Elem;
}

/**
 * Declares the output positions along one axis whose tap lies in the image: `some` of them from `first` on.
 * `box` is their number too, but at least one, to divide by.
 */
function insideAxis(axis: 'H' | 'W'): string {
  const half = axis === 'H' ? highHalf : lowHalf;
  const tap = axis === 'H' ? 'th' : 'tw';
  return `  let origin${axis} = ${half('base')} + ${tap} * ${half('dilation')};
  let first${axis} = u32(max(0, (${half('stride')} - 1 - origin${axis}) / ${half('stride')}));
  let end${axis} = min(i32(p.out${axis}), (i32(p.in${axis}) - 1 - origin${axis} + ${half('stride')}) / ${half('stride')});
  let some${axis} = u32(max(0, end${axis} - i32(first${axis})));
  let box${axis} = max(1u, some${axis});`;
}

/**
 * Workgroup x: tap (or row of taps, for runs) and block of its rows; y: block of columns; z: group and split.
 * Rows are the channels of a tap, or the elements of a run.
 */
function weightGradKernel(s: WeightGradSpec): Kernel {
  const t = s.tile;
  const key = ['convWeightGrad', tileKey(t), +s.run, +s.vec, +s.vecDy, +s.tail, +s.inside, s.elem].join('.');
  return memoKernel(key, () => {
    const V = t.cols;
    const { run, vec } = s;
    const step = stepK(t);
    const walk = t.style === 'register';
    const n = leftLoads(t, 'row');
    // Invocations hold neighbouring positions; those of a register tile walk through the positions one by
    // one.
    const positions = walk ? range(step).map((q) => `_${q}`) : [''];
    const kOf = (suffix: string): string => (walk ? `k + ${suffix.slice(1)}u` : `k + ${leftK(t, 'row')}`);
    const { inside } = s;
    // Positions count through the box [boxH, boxW] of output positions from (firstH, firstW) on.
    const [boxH, boxW] = inside ? ['boxH', 'boxW'] : ['p.outH', 'p.outW'];
    const [row, column] = inside ? ['(firstH + oh)', '(firstW + ow)'] : ['oh', 'ow'];
    const by = (name: string): string => (inside ? name : `p.${name}`);
    const advance = `
      ow += ${walk ? '1u' : by('stepW')};
      let carryW = select(0u, 1u, ow >= ${boxW});
      ow -= carryW * ${boxW};
      oh += ${walk ? '' : `${by('stepH')} + `}carryW;
      let carryH = select(0u, 1u, oh >= ${boxH});
      oh -= carryH * ${boxH};
      img += ${walk ? '' : `${by('stepN')} + `}carryH;`;
    const zero = 'vec4<f32>(0.0)';
    const load = (suffix: string): string => {
      const inRange = s.tail ? ` & (${kOf(suffix)} < kEnd)` : '';
      const h = `h${suffix}`;
      const w = `w${suffix}`;
      const ok = `ok${suffix}`;
      const at = `at${suffix}`;
      const begin = `begin${suffix}`;
      const lines = [
        inside ? `      let source = (img * p.outH + firstH + oh) * p.outW + firstW + ow;` : '',
        `      let ${h} = i32(${row}) * ${highHalf('stride')} + ${highHalf('base')} + th * ${highHalf('dilation')};`,
      ];
      if (run) {
        lines.push(
          `      let ${ok} = (u32(${h}) < p.inH)${inRange};`,
          `      let ${at} = select(0, i32(p.xOff + (img * p.inH + u32(${h})) * p.inW * p.ci), ${ok});`,
          `      let ${begin} = (i32(ow) * ${lowHalf('stride')} + ${lowHalf('base')}) * i32(p.ci);`,
        );
        for (const i of range(n)) {
          const parts = range(4).map((j) => {
            const pos = `${begin} + i32(line${i}) + ${j}`;
            return `select(0.0, f32(x[${at} + clamp(${pos}, 0, rowEnd - 1)]), ${ok} & (${pos} >= 0) & (${pos} < rowEnd))`;
          });
          // Runs of whole vectors start at a multiple of four elements.
          const pos = `${begin} + i32(line${i})`;
          const value = widen(4, s.elem, `x[(${at} + clamp(${pos}, 0, rowEnd - 4)) / 4]`);
          lines.push(
            vec
              ? `      ${loaded(t, `a${i}${suffix}`)} = select(${zero}, ${value}, ${ok} & (${pos} >= 0) & (${pos} < rowEnd));`
              : `      ${loaded(t, `a${i}${suffix}`)} = vec4<f32>(${parts.join(', ')});`,
          );
        }
      } else {
        lines.push(
          `      let ${w} = i32(${column}) * ${lowHalf('stride')} + ${lowHalf('base')} + tw * ${lowHalf('dilation')};`,
          `      let ${ok} = (u32(${h}) < p.inH) & (u32(${w}) < p.inW)${inRange};`,
          `      let ${at} = p.xOff + group * p.ci + select(0u, ((img * p.inH + u32(${h})) * p.inW + u32(${w})) * inPitch, ${ok});`,
        );
        for (const i of range(n)) {
          const parts = range(4).map((j) => `f32(x[${at} + min(line${i} + ${j}u, p.ci - 1u)])`);
          const value = vec
            ? widen(4, s.elem, `x[(${at} + min(line${i}, p.ci - 4u)) >> 2u]`)
            : `vec4<f32>(${parts.join(', ')})`;
          lines.push(`      ${loaded(t, `a${i}${suffix}`)} = select(${zero}, ${value}, ${ok});`);
        }
      }
      return lines.join('\n') + advance.replace(/carry([WH])/g, `carry$1${suffix}`);
    };
    const dyLoad = (q: number): string => {
      const k = `k + ${rightK(t, q)}`;
      const at = inside
        ? `min(subgroupBroadcast(source, ${q}u), p.positions - 1u)`
        : s.tail
          ? `min(${k}, kEnd - 1u)`
          : k;
      const base = `p.dyOff + (${at}) * outPitch + group * p.co`;
      const parts = range(V).map((j) => `f32(dy[${base} + min(colC + ${j}u, p.co - 1u)])`);
      const value = s.vecDy
        ? widen(V, s.elem, `dy[(${base} + colC) / ${V}u]`)
        : `${vecType(V)}(${parts.join(', ')})`;
      return `      ${loaded(t, `b${q}`)} = ${s.tail ? `select(${vecType(V)}(0.0), ${value}, ${k} < kEnd)` : value};`;
    };
    const bindings = [
      reads('x', vecType(vec ? 4 : 1, s.elem)),
      reads('dy', vecType(s.vecDy ? V : 1, s.elem)),
      writes('partials', vecType(V)),
    ];
    const loads = [...positions.map(load), ...range(rightLoads(t)).map(dyLoad)].join('\n');
    const loop =
      t.style === 'shared'
        ? `  var k = kStart;
${sharedLoop(t, 'row', 'columns', `(kEnd - kStart + ${step - 1}u) / ${step}u`, `${loads}\n      k += ${step}u;`)}`
        : `  for (var k = kStart; k < kEnd; k += ${step}u) {
${loads}
${multiplyAdd(t, 'row')}
  }`;
    const body = `  let lane = lid.x;
  let lines = ${run ? `u32(${lowHalf('taps')}) * p.ci` : 'p.ci'};
  let lineBlocks = (lines + ${t.rows * t.lanesY - 1}u) / ${t.rows * t.lanesY}u;
  let tap = wid.x / lineBlocks;
  let row0 = (wid.x - tap * lineBlocks) * ${t.rows * t.lanesY}u${t.lanesY > 1 ? ` + lid.y * ${t.rows}u` : ''};
  let th = i32(tap)${run ? '' : ` / ${lowHalf('taps')}`};
  ${run ? `let rowEnd = i32(p.inW * p.ci);` : `let tw = i32(tap) - th * ${lowHalf('taps')};`}
${sharedHead(t)}
${range(n)
  .map((i) => `  let line${i} = ${leftRow(t, 'row', i)};`)
  .join('\n')}
  let tapCount = u32(${highHalf('taps')}${run ? '' : ` * ${lowHalf('taps')}`});
  let group = wid.z / p.splits;
  let split = wid.z - group * p.splits;
  ${run ? '' : 'let inPitch = p.ci * p.groups;'}
  let outPitch = p.co * p.groups;
  let colBlock = wid.y;
  let col = ${tileCol(t)};
  let colC = min(${rightCol(t)} * ${V}u, ${s.vecDy ? `p.co - ${V}u` : 'p.co - 1u'});
  let kStart = split * p.chunk;
${inside ? `${insideAxis('H')}\n${insideAxis('W')}` : ''}
  let kEnd = min(${inside ? 'p.positions / (p.outH * p.outW) * someH * someW' : 'p.positions'}, kStart + p.chunk);
  let k0 = kStart${walk ? '' : ` + ${leftK(t, 'row')}`};
  var ow = k0 % ${boxW};
  var oh = (k0 / ${boxW}) % ${boxH};
  var img = k0 / (${boxW} * ${boxH});
${
  inside
    ? `  let stepW = ${step}u % boxW;
  let stepH = (${step}u / boxW) % boxH;
  let stepN = ${step}u / (boxW * boxH);`
    : ''
}
${declareAccumulators(t)}
${loop}
  let pitch = ((p.co + 3u) & ~3u) / ${V}u;
${forRows(t, 'lines', `col * ${V}u < p.co`, {
  columns: `  let at = ((wid.z * tapCount + tap) * lines + row0) * pitch + col;`,
  store: (r, sum) => `partials[at + ${r} * pitch] = ${sum};`,
})}`;
    return {
      name: 'convWeightGrad',
      params: [
        ['positions', 'u32'],
        ['inH', 'u32'],
        ['inW', 'u32'],
        ['outH', 'u32'],
        ['outW', 'u32'],
        ['stride', 'i32'],
        ['dilation', 'i32'],
        ['base', 'i32'],
        ['taps', 'i32'],
        ['ci', 'u32'],
        ['co', 'u32'],
        ['groups', 'u32'],
        ['xOff', 'u32'],
        ['dyOff', 'u32'],
        ['chunk', 'u32'],
        ['splits', 'u32'],
        ...(walk || inside
          ? []
          : ([
              ['stepW', 'u32'],
              ['stepH', 'u32'],
              ['stepN', 'u32'],
            ] as const)),
      ],
      ...tileShader(t, 'columns', [s.elem], bindings, body),
    };
  });
}

/**
 * Plans the gradient of the weight: buffers `x` [n, h, w, cIn], `dy` [n, outH, outW, cOut], `dw` (in the
 * layout of the weight); the epilogue is ignored.
 */
export function planConv2dWeightGrad(target: Target, limits: PlanLimits, p: Conv2dProblem): Plan {
  return weightGradPlans.get(problemKey(target, limits, p), () => routeConv2dWeightGrad(target, limits, p));
}

const weightGradPlans = new PlanCache<Plan>();

function routeConv2dWeightGrad(target: Target, limits: PlanLimits, p: Conv2dProblem): Plan {
  const elem = p.elem ?? 'f32';
  const hwio = p.weights === 'hwio';
  if (isPointwise(p)) {
    const k = p.n * p.h * p.w;
    const plan = planGemm(
      target,
      limits,
      hwio ? { m: p.cIn, n: p.cOut, k, transA: true, elem } : { m: p.cOut, n: p.cIn, k, transA: true, elem },
    );
    const names = hwio ? { a: 'x', b: 'dy', c: 'dw' } : { a: 'dy', b: 'x', c: 'dw' };
    return { launches: renamed(plan.launches, names), workspaces: plan.workspaces };
  }
  if (isDepthwise(p) && p.weights !== 'hwio') return planDepthwiseWeightGrad(target, limits, p);
  const tuned = tunedChoice(target, 'conv2dWeightGrad', p);
  if (useWinogradWeightGrad(p, limits, tuned?.algorithm)) return planWinogradWeightGrad(target, limits, p);
  const ci = p.cIn / p.groups;
  const co = p.cOut / p.groups;
  const inside = hasBroadcast(target) && insideShare(p) < 0.8;
  const run = p.groups === 1 && p.dilationW === 1 && !inside;
  const lines = run ? p.kernelW * ci : ci;
  const tapRows = run ? p.kernelH : p.kernelH * p.kernelW;
  const tile =
    tuned?.tile ??
    chooseTile(target, {
      rows: lines,
      columns: co,
      depth: p.n * p.outH * p.outW,
      major: 'row',
      elem,
      batch: tapRows * p.groups,
      terms: p.n * p.outH * p.outW,
    });
  const lineBlocks = ceilDiv(lines, tile.rows * tile.lanesY);
  const colBlocks = ceilDiv(co, tileCols(tile));
  const inImage = p.h * p.w * p.cIn;
  const outImage = p.outH * p.outW * p.cOut;
  const most = (limits.maxBinding - limits.offsetAlignment) / bytesOf(elem);
  const images = Math.max(1, Math.min(p.n, Math.floor(most / Math.max(inImage, outImage))));
  const launches: Launch[] = [];
  let partials = 0;
  for (let first = 0; first < p.n; first += images) {
    const n = Math.min(images, p.n - first);
    const x = bindElements('x', first * inImage, n * inImage, elem, limits);
    const dy = bindElements('dy', first * outImage, n * outImage, elem, limits);
    const positions = n * p.outH * p.outW;
    const blocks = tapRows * lineBlocks * colBlocks * p.groups;
    const perPart = p.groups * tapRows * lines * roundUp(co, 4) * 4;
    const wanted = chooseSplits(target, tile, blocks, positions, 32);
    const affordable = Math.max(1, Math.floor(limits.maxBinding / perPart));
    const chunk = roundUp(ceilDiv(positions, Math.min(wanted, affordable)), Math.max(16, stepK(tile)));
    const splits = ceilDiv(positions, chunk);
    // The partial sums lie as an HWIO weight does, so that a single part is the result.
    const whole = hwio && co % 4 === 0 && elem === 'f32' && splits === 1 && images >= p.n;
    if (!whole) partials = Math.max(partials, perPart * splits);
    const params = [
      positions,
      p.h,
      p.w,
      p.outH,
      p.outW,
      pair(p.strideH, p.strideW),
      pair(p.dilationH, p.dilationW),
      pair(-p.padTop, -p.padLeft),
      pair(p.kernelH, p.kernelW),
      ci,
      co,
      p.groups,
      x.offset,
      dy.offset,
      chunk,
      splits,
    ];
    if (tile.style !== 'register' && !inside) {
      const step = stepK(tile);
      params.push(step % p.outW, Math.floor(step / p.outW) % p.outH, Math.floor(step / (p.outW * p.outH)));
    }
    launches.push({
      kernel: weightGradKernel({
        tile,
        run,
        vec: ci % 4 === 0 && x.offset % 4 === 0,
        vecDy: co % tile.cols === 0 && dy.offset % tile.cols === 0,
        tail: inside || positions % stepK(tile) !== 0,
        inside,
        elem,
      }),
      buffers: [x.ref, dy.ref, whole ? 'dw' : 'partials'],
      params,
      grid: [tapRows * lineBlocks, colBlocks, p.groups * splits],
    });
    if (whole) continue;
    const taps = p.kernelH * p.kernelW;
    const sum = { splits, elem, batch: 1, outOff: 0, outBatch: 0, residualOff: 0, partials: 'partials' };
    launches.push(
      hwio
        ? splitSumLaunch({
            ...sum,
            rows: taps * ci,
            columns: co,
            ldo: co,
            out: 'dw',
            epilogue: noEpilogue,
            epilogueRefs: [],
            accumulate: first > 0,
          })
        : weightGradSumLaunch(target, { groups: p.groups, taps, ci, co, splits, first: first === 0, elem }),
    );
  }
  return { launches, workspaces: partials > 0 ? { partials } : {} };
}
