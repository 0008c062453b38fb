/**
 * Plans for Winograd convolutions. The scratch is bounded by walking over chunks of tiles.
 *
 * Error: against a float64 sum, relative to the root mean square of the result, at most 3e-5 (typically
 * 6e-6), where the direct kernels stay below 1e-5.
 */
import type { Target } from '../base/kernel.js';
import type { TunedChoice } from '../matmul/choice.js';
import type { Conv2dProblem } from './problem.js';
import { planGemm } from '../matmul/plan.js';
import {
  bindElements,
  bytesOf,
  ceilDiv,
  epilogueBuffers,
  noEpilogue,
  renamed,
  type Bound,
  type Elem,
  type Launch,
  type Plan,
  type PlanLimits,
} from '../base/plan.js';
import {
  elementwiseGrid,
  points,
  tileSize,
  winogradOutputKernel,
  winogradTilesKernel,
  winogradWeightGrid,
  winogradWeightGradKernel,
  winogradWeightsKernel,
} from './winograd.js';

/**
 * Scratch of one operand in bytes; larger problems go through it in chunks. A GPU wants few and large
 * launches; what memory it has is its own on a card only.
 */
function scratchBytes(target: Target): number {
  if (target.kind === 'software') return 16 << 20;
  return target.class === 'discrete' ? 256 << 20 : 64 << 20;
}

/**
 * Below so many tiles, transforming weights that are new in every step costs more than the products it saves.
 */
const tilesForFreshWeights = 12;

/**
 * Whether the transforms pay: they cost as much as a few dozen channels of products. The transformed weights,
 * four times as large as the weights, must fit a binding (wide_resnet101_2's last stage has 144 MiB of them).
 */
export function useWinograd(
  p: Conv2dProblem,
  { maxBinding }: PlanLimits,
  tuned?: TunedChoice['algorithm'],
): boolean {
  return (
    tuned !== 'direct' &&
    points * p.cIn * p.cOut * 4 <= maxBinding &&
    p.algorithm !== 'direct' &&
    (tuned === 'winograd' || !p.freshWeights || tilesOf(p.n, p.outH, p.outW).count >= tilesForFreshWeights) &&
    p.kernelH === 3 &&
    p.kernelW === 3 &&
    p.strideH === 1 &&
    p.strideW === 1 &&
    p.dilationH === 1 &&
    p.dilationW === 1 &&
    p.groups === 1 &&
    p.cIn % 4 === 0 &&
    p.cOut % 4 === 0 &&
    p.cIn >= 32 &&
    p.cOut >= 32 &&
    p.outH >= 4 &&
    p.outW >= 4 &&
    (p.elem ?? 'f32') === 'f32'
  );
}

/**
 * As {@link useWinograd}; with few tiles the sums are too short to pay for 36 instead of 9 products per
 * weight.
 */
export const useWinogradWeightGrad = (
  p: Conv2dProblem,
  limits: PlanLimits,
  tuned?: TunedChoice['algorithm'],
): boolean =>
  useWinograd(p, limits, tuned) && (tuned === 'winograd' || tilesOf(p.n, p.outH, p.outW).count >= 24);

interface Tiles {
  readonly h: number;
  readonly w: number;
  readonly count: number;
}

const tilesOf = (n: number, h: number, w: number): Tiles => {
  const th = ceilDiv(h, tileSize);
  const tw = ceilDiv(w, tileSize);
  return { h: th, w: tw, count: n * th * tw };
};

/** Chunks of tiles, each within the scratch bound for tensors of at most `channels` channels. */
function chunks(
  target: Target,
  total: number,
  channels: number,
  limits: PlanLimits,
): { first: number; count: number }[] {
  const most = Math.min(scratchBytes(target), limits.maxBinding);
  const parts = ceilDiv(total * points * channels * 4, most);
  const count = ceilDiv(total, parts);
  const list: { first: number; count: number }[] = [];
  for (let first = 0; first < total; first += count)
    list.push({ first, count: Math.min(count, total - first) });
  return list;
}

/**
 * Binds the images that tiles [first, first + count) touch; tile indices become relative to the first of
 * them.
 */
function bindImages(
  name: string,
  tiles: Tiles,
  chunk: { first: number; count: number },
  n: number,
  image: number,
  elem: Elem,
  limits: PlanLimits,
): Bound & { readonly tile0: number } {
  if (n * image * bytesOf(elem) <= limits.maxBinding) return { ref: name, offset: 0, tile0: chunk.first };
  const perImage = tiles.h * tiles.w;
  const first = Math.floor(chunk.first / perImage);
  const last = Math.ceil((chunk.first + chunk.count) / perImage);
  const bound = bindElements(name, first * image, (last - first) * image, elem, limits);
  return { ...bound, tile0: chunk.first - first * perImage };
}

/** Forward or input gradient, as a convolution of `input` [n, inH, inW, k] to `output` [n, outH, outW, m]. */
export function planWinograd(
  target: Target,
  limits: PlanLimits,
  p: Conv2dProblem,
  which: 'forward' | 'inputGrad',
): Plan {
  const forward = which === 'forward';
  const elem = p.elem ?? 'f32';
  const epilogue = p.epilogue ?? noEpilogue;
  const [inH, inW, k] = forward ? [p.h, p.w, p.cIn] : [p.outH, p.outW, p.cOut];
  const [outH, outW, m] = forward ? [p.outH, p.outW, p.cOut] : [p.h, p.w, p.cIn];
  const padTop = forward ? p.padTop : 2 - p.padTop;
  const padLeft = forward ? p.padLeft : 2 - p.padLeft;
  const tiles = tilesOf(p.n, outH, outW);
  const launches: Launch[] = [];
  const workspaces: Record<string, number> = {};
  for (const chunk of chunks(target, tiles.count, Math.max(k, m), limits)) {
    const bind = (name: string, h: number, w: number, c: number): Bound & { readonly tile0: number } =>
      bindImages(name, tiles, chunk, p.n, h * w * c, elem, limits);
    const x = bind(forward ? 'x' : 'dy', inH, inW, k);
    const y = bind(forward ? 'y' : 'dx', outH, outW, m);
    const residual = epilogue.residual ? bind('residual', outH, outW, m) : undefined;
    if (residual !== undefined && residual.tile0 !== y.tile0)
      throw new RangeError('conv2d: residual and output are bound apart');
    launches.push({
      kernel: winogradTilesKernel('x', !forward, elem),
      buffers: [x.ref, 'winogradIn'],
      params: [chunk.count, x.tile0, tiles.h, tiles.w, k / 4, inH, inW, padTop, padLeft, x.offset],
      grid: elementwiseGrid((chunk.count * k) / 4),
    });
    const gemm = planGemm(target, limits, {
      m: chunk.count,
      n: m,
      k,
      batch: points,
      transB: !forward,
      elem: 'f32',
    });
    launches.push(...renamed(gemm.launches, { a: 'winogradIn', b: 'w', c: 'winogradOut' }));
    mergeWorkspaces(workspaces, gemm.workspaces);
    mergeWorkspaces(workspaces, {
      winogradIn: chunk.count * points * k * 4,
      winogradOut: chunk.count * points * m * 4,
    });
    launches.push({
      kernel: winogradOutputKernel(epilogue, !forward, elem),
      buffers: [
        'winogradOut',
        y.ref,
        ...epilogueBuffers(epilogue).map((name) => (name === 'residual' && residual ? residual.ref : name)),
      ],
      params: [
        chunk.count,
        y.tile0,
        tiles.h,
        tiles.w,
        m / 4,
        outH,
        outW,
        0,
        0,
        y.offset,
        residual?.offset ?? 0,
      ],
      grid: elementwiseGrid((chunk.count * m) / 4),
    });
  }
  return {
    launches,
    workspaces,
    weights: {
      key: 'winograd',
      bytes: points * k * m * 4,
      launches: [
        {
          kernel: winogradWeightsKernel(p.weights ?? 'oihw', elem),
          buffers: ['weight', 'packed'],
          params: [p.cIn, p.cOut],
          grid: winogradWeightGrid(p.cIn, p.cOut),
        },
      ],
    },
  };
}

/** Weight gradient: products of input points with output-gradient points, summed over tiles. */
export function planWinogradWeightGrad(target: Target, limits: PlanLimits, p: Conv2dProblem): Plan {
  const elem = p.elem ?? 'f32';
  const tiles = tilesOf(p.n, p.outH, p.outW);
  const launches: Launch[] = [];
  const workspaces: Record<string, number> = {};
  for (const chunk of chunks(target, tiles.count, Math.max(p.cIn, p.cOut), limits)) {
    const x = bindImages('x', tiles, chunk, p.n, p.h * p.w * p.cIn, elem, limits);
    const dy = bindImages('dy', tiles, chunk, p.n, p.outH * p.outW * p.cOut, elem, limits);
    launches.push({
      kernel: winogradTilesKernel('x', false, elem),
      buffers: [x.ref, 'winogradIn'],
      params: [chunk.count, x.tile0, tiles.h, tiles.w, p.cIn / 4, p.h, p.w, p.padTop, p.padLeft, x.offset],
      grid: elementwiseGrid((chunk.count * p.cIn) / 4),
    });
    launches.push({
      kernel: winogradTilesKernel('dy', false, elem),
      buffers: [dy.ref, 'winogradOut'],
      params: [chunk.count, dy.tile0, tiles.h, tiles.w, p.cOut / 4, p.outH, p.outW, 0, 0, dy.offset],
      grid: elementwiseGrid((chunk.count * p.cOut) / 4),
    });
    const gemm = planGemm(target, limits, {
      m: p.cIn,
      n: p.cOut,
      k: chunk.count,
      batch: points,
      transA: true,
    });
    launches.push(...renamed(gemm.launches, { a: 'winogradIn', b: 'winogradOut', c: 'winogradGrad' }));
    mergeWorkspaces(workspaces, gemm.workspaces);
    mergeWorkspaces(workspaces, {
      winogradIn: chunk.count * points * p.cIn * 4,
      winogradOut: chunk.count * points * p.cOut * 4,
      winogradGrad: points * p.cIn * p.cOut * 4,
    });
    launches.push({
      kernel: winogradWeightGradKernel(p.weights ?? 'oihw', elem),
      buffers: ['winogradGrad', 'dw'],
      params: [p.cIn, p.cOut, chunk.first === 0 ? 1 : 0],
      grid: winogradWeightGrid(p.cIn, p.cOut),
    });
  }
  return { launches, workspaces };
}

function mergeWorkspaces(into: Record<string, number>, from: Readonly<Record<string, number>>): void {
  for (const [name, bytes] of Object.entries(from)) into[name] = Math.max(into[name] ?? 0, bytes);
}
