import { defineOp } from '../../autograd/define.js';
import { planTaps } from '../../kernels/images/taps.js';
import { numel, stridesLike } from '../../tensor/shape.js';
import { Tensor } from '../../tensor/tensor.js';
import { fillInto, rowMajor } from '../base/copies.js';
import { elemOf, planLimits, runPlan } from '../base/run-plan.js';

/** @internal A sparse linear map from `from` to `to` positions; each output mixes a run of inputs. */
export interface LinearMap {
  readonly from: number;
  readonly to: number;
  /** Per output position: the first input position, how many there are, and where their weights start. */
  readonly rows: Int32Array;
  readonly weights: Float32Array;
}

/** @internal Input positions and their weights; those that stand there twice add up. */
export type Taps = readonly (readonly [at: number, weight: number])[];

/** @internal The map whose output `i` mixes `tapsOf(i)`. */
export function linearMapOf(from: number, to: number, tapsOf: (i: number) => Taps): LinearMap {
  const rows = new Int32Array(3 * to);
  const weights: number[] = [];
  for (let i = 0; i < to; i++) {
    const taps = tapsOf(i);
    let [low, high] = [from, -1];
    for (const [at] of taps) [low, high] = [Math.min(low, at), Math.max(high, at)];
    const count = Math.max(0, high - low + 1);
    rows.set([count === 0 ? 0 : low, count, weights.length], 3 * i);
    const dense = new Array<number>(count).fill(0);
    for (const [at, weight] of taps) dense[at - low] = (dense[at - low] as number) + weight;
    weights.push(...dense);
  }
  return { from, to, rows, weights: Float32Array.from(weights) };
}

function transposed({ from, to, rows, weights }: LinearMap): LinearMap {
  const taps: (readonly [number, number])[][] = Array.from({ length: from }, () => []);
  for (let i = 0; i < to; i++) {
    const [low, count, first] = rows.subarray(3 * i, 3 * i + 3) as unknown as [number, number, number];
    for (let k = 0; k < count; k++) {
      const weight = weights[first + k] as number;
      if (weight !== 0) (taps[low + k] as (readonly [number, number])[]).push([i, weight]);
    }
  }
  return linearMapOf(to, from, (i) => taps[i] as Taps);
}

/**
 * @internal `map` along `dim` of a float tensor. The result lies in memory as `x` does. Linear in `x`: its
 * gradient is the transposed map.
 */
export const applyLinearMap: (x: Tensor, dim: number, map: LinearMap) => Tensor = defineOp<
  [Tensor, number, LinearMap],
  Tensor,
  { readonly dim: number; readonly map: LinearMap }
>({
  name: 'linearMap',
  forward(ctx, x, dim, map) {
    ctx.state = { dim, map };
    const { from, to } = map;
    const shape = x.shape.map((size, d) => (d === dim ? to : size));
    const elem = elemOf('linearMap', x.dtype);
    const source = x.isDense() ? x : rowMajor(x);
    const y = Tensor.empty(shape, x.dtype, 'linearMap', stridesLike(shape, x.shape, source.strides), x);
    if (y.numel() === 0) return y;
    if (map.weights.length === 0) {
      fillInto(y, 0);
      return y;
    }
    const inner = from > 1 ? (source.strides[dim] as number) : to > 1 ? (y.strides[dim] as number) : 1;
    const outer = numel(shape) / (to * inner);
    const problem = { elem, outer, from, to, inner, offset: source.offset };
    runPlan('linearMap', planTaps(planLimits(), problem), {
      x: source,
      rows: Tensor.fromHost(map.rows, [map.rows.length], 'int32'),
      weights: Tensor.fromHost(map.weights, [map.weights.length], 'float32'),
      y,
    });
    return y;
  },
  backward: (ctx, grad) => [() => applyLinearMap(grad, ctx.state.dim, transposed(ctx.state.map))],
});
