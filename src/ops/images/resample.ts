import { linearMapOf, type LinearMap, type Taps } from '../matmul/linear-map.js';

/*
 * Where each output position of a resampled dim looks, and with what weights: the rules of PyTorch's
 * ATen/native/UpSample.h, in float32 as there, so that positions on a border fall on the same side.
 */

/** @internal The kinds of filter along one dim. */
export type ResampleMode = 'nearest' | 'nearest-exact' | 'linear' | 'cubic' | 'area';

const f = Math.fround;

/**
 * @internal Input positions per output position. `factor` goes before the sizes, but not with aligned
 * corners.
 */
export function scaleOf(from: number, to: number, aligned: boolean, factor?: number): number {
  if (aligned) return to > 1 ? (from - 1) / (to - 1) : 0;
  return factor === undefined ? from / to : 1 / factor;
}

/** @internal The input position that output `i` of a nearest mode copies. */
export function sourceAt(kind: ResampleMode, i: number, from: number, scale: number): number {
  const at = kind === 'nearest-exact' ? f(f(i + 0.5) * f(scale)) : f(i * f(scale));
  return Math.min(Math.floor(at), from - 1);
}

/** Keys' cubic (1981) at distance `d`, with slope `a` where it crosses zero. */
function cubic(d: number, a: number): number {
  const x = Math.abs(d);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

const triangle = (d: number): number => Math.max(0, 1 - Math.abs(d));

function linearTaps(i: number, from: number, scale: number, aligned: boolean): Taps {
  const at = aligned ? f(i * f(scale)) : Math.max(f(f(f(i + 0.5) * f(scale)) - 0.5), 0);
  const low = Math.min(Math.floor(at), from - 1);
  const mix = Math.min(f(at - low), 1);
  return [
    [low, 1 - mix],
    [Math.min(low + 1, from - 1), mix],
  ];
}

function cubicTaps(i: number, from: number, scale: number, aligned: boolean): Taps {
  const at = aligned ? f(i * f(scale)) : f(f(f(i + 0.5) * f(scale)) - 0.5);
  const low = Math.floor(at);
  return [-1, 0, 1, 2].map((k) => [Math.min(Math.max(low + k, 0), from - 1), cubic(f(at - low) - k, -0.75)]);
}

/** Pillow's way: the filter covers as much of the input as an output pixel does, its weights add up to 1. */
function antialiasedTaps(kind: ResampleMode, i: number, from: number, scale: number): Taps {
  const wide = Math.max(f(scale), 1);
  const reach = (kind === 'cubic' ? 2 : 1) * wide;
  const centre = f(f(scale) * f(i + 0.5));
  const low = Math.max(Math.trunc(centre - reach + 0.5), 0);
  const high = Math.min(Math.trunc(centre + reach + 0.5), from);
  const taps = Array.from({ length: high - low }, (_, k) => {
    const d = (low + k - centre + 0.5) / wide;
    return [low + k, kind === 'cubic' ? cubic(d, -0.5) : triangle(d)] as const;
  });
  const total = taps.reduce((sum, [, weight]) => sum + weight, 0);
  return total === 0 ? taps : taps.map(([at, weight]) => [at, weight / total]);
}

function areaTaps(i: number, from: number, to: number): Taps {
  const low = Math.floor((i * from) / to);
  const count = Math.ceil(((i + 1) * from) / to) - low;
  return Array.from({ length: count }, (_, k) => [low + k, 1 / count]);
}

/** @internal The map of a filter along one dim. `scale` is what {@link scaleOf} gives. */
export function resamplingMap(
  kind: ResampleMode,
  from: number,
  to: number,
  scale: number,
  aligned: boolean,
  antialias: boolean,
): LinearMap {
  return linearMapOf(from, to, (i) => {
    if (antialias) return antialiasedTaps(kind, i, from, scale);
    if (kind === 'linear') return linearTaps(i, from, scale, aligned);
    if (kind === 'cubic') return cubicTaps(i, from, scale, aligned);
    if (kind === 'area') return areaTaps(i, from, to);
    return [[sourceAt(kind, i, from, scale), 1]];
  });
}
