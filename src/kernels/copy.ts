/**
 * Tensors made from a rule on positions: fill, arange, linspace, eye, triangles, one-hot, padding, roll. All are pointwise
 * kernels over coordinates (`iota` inputs) and looked-up inputs, so any strides and dtypes work on both sides. Copies,
 * casts, cat, flip, repeat and expand need nothing of their own: give `planPointwise` a view of each side.
 *
 * Every function returns a Plan with the buffers `x` (where there is an input) and `out`.
 */
import { dtypeInfo, type DType } from './dtype.js';
import { contiguousStridesOf } from './collapse.js';
import { e, input, param, type Expr, type ExprLike } from './expr.js';
import type { Target } from './kernel.js';
import type { Plan } from './plan.js';
import {
  planPointwise,
  type PointwiseInput,
  type PointwiseOperand,
  type PointwiseProblem,
} from './pointwise.js';

export interface Limits {
  readonly maxBinding?: number;
  readonly offsetAlignment?: number;
}

/** The launches of a pointwise problem as a Plan; `names` are those of [...inputs, ...outputs] (undefined for iotas). */
export function namedPlan(
  target: Target,
  problem: PointwiseProblem,
  names: readonly (string | undefined)[],
): Plan {
  const launches = planPointwise(target, problem).map((l) => ({
    ...l,
    buffers: l.buffers.map(({ index, offset, size }) => {
      const name = names[index]!;
      return size === undefined ? name : { name, offset: offset ?? 0, size };
    }),
  }));
  return { launches, workspaces: {} };
}

/** An input whose value is the coordinate along dimension `dim` of `shape`. */
export function coordinate(shape: readonly number[], dim: number): PointwiseInput {
  return { dtype: 'int32', shape, strides: shape.map((_, d) => (d === dim ? 1 : 0)), offset: 0, iota: true };
}

/** An input whose value is the row-major position in `shape`. */
export function position(shape: readonly number[]): PointwiseInput {
  return { dtype: 'int32', shape, strides: contiguousStridesOf(shape), offset: 0, iota: true };
}

/** The param `name` in a type that holds values of `dtype`. */
function valueParam(name: string, dtype: DType): Expr {
  const type = dtypeInfo[dtype].compute;
  return param(name, type === 'bool' ? 'u32' : type);
}

interface Made extends Limits {
  readonly out: PointwiseOperand;
  /** `out` is a view: nothing beside its elements may be written. */
  readonly exact?: boolean;
}

/** Every element `value`; for bool 0 or 1. */
export function planFill(target: Target, { out, value, ...rest }: Made & { readonly value: number }): Plan {
  const exprs = [valueParam('value', out.dtype)];
  const problem = { name: 'fill', exprs, inputs: [], outputs: [out], paramNames: ['value'], params: [value] };
  return namedPlan(target, { ...problem, ...rest }, ['out']);
}

/** start + step * i. Integer dtypes compute in int32. https://pytorch.org/docs/stable/generated/torch.arange.html */
export function planArange(
  target: Target,
  { out, start, step, ...rest }: Made & { readonly start: number; readonly step: number },
): Plan {
  const float = dtypeInfo[out.dtype].compute === 'f32';
  const i = input(0, 'i32');
  const type = float ? 'f32' : 'i32';
  const value = e.add(param('start', type), e.mul(param('step', type), float ? e.cast(i, 'f32') : i));
  const problem = {
    name: 'arange',
    exprs: [value],
    inputs: [position(out.shape)],
    outputs: [out],
    paramNames: ['start', 'step'],
    params: [start, step],
  };
  return namedPlan(target, { ...problem, ...rest }, [undefined, 'out']);
}

/**
 * `steps` = out.shape[0] values from `start` to `end`, both exact: the second half counts back from the end, as in
 * https://pytorch.org/docs/stable/generated/torch.linspace.html.
 */
export function planLinspace(
  target: Target,
  { out, start, end, ...rest }: Made & { readonly start: number; readonly end: number },
): Plan {
  const steps = out.shape[0] ?? 1;
  const step = steps > 1 ? (end - start) / (steps - 1) : 0;
  const i = e.cast(input(0, 'i32'), 'f32');
  const [first, width, last, back] = [param('start'), param('step'), param('end'), param('back')];
  const front = e.add(first, e.mul(width, i));
  const tail = e.sub(last, e.mul(width, e.sub(back, i)));
  const value = e.select(e.le(e.add(i, i), back), front, tail);
  const problem = {
    name: 'linspace',
    exprs: [value],
    inputs: [position(out.shape)],
    outputs: [out],
    paramNames: ['start', 'step', 'end', 'back'],
    params: [start, step, end, steps - 1],
  };
  return namedPlan(target, { ...problem, ...rest }, [undefined, 'out']);
}

/** Ones on the diagonal of the last two dimensions. */
export function planEye(target: Target, { out, ...rest }: Made): Plan {
  const r = out.shape.length;
  const inputs = [coordinate(out.shape, r - 2), coordinate(out.shape, r - 1)];
  const exprs = [e.cast(e.eq(input(0, 'i32'), input(1, 'i32')), dtypeInfo[out.dtype].compute)];
  return namedPlan(target, { name: 'eye', exprs, inputs, outputs: [out], ...rest }, [
    undefined,
    undefined,
    'out',
  ]);
}

/** tril (column - row <= diagonal) or triu (>=) of the last two dimensions; zero elsewhere. `x` and `out` agree in dtype. */
export function planTriangle(
  target: Target,
  {
    x,
    out,
    diagonal,
    upper,
    ...rest
  }: Made & { readonly x: PointwiseOperand; readonly diagonal: number; readonly upper: boolean },
): Plan {
  const r = out.shape.length;
  const compute = dtypeInfo[x.dtype].compute;
  const offset = e.sub(input(1, 'i32'), input(0, 'i32'));
  const k = param('diagonal', 'i32');
  const exprs = [
    e.select(upper ? e.ge(offset, k) : e.le(offset, k), input(2, compute), compute === 'bool' ? false : 0),
  ];
  const inputs = [coordinate(out.shape, r - 2), coordinate(out.shape, r - 1), x];
  const problem = {
    name: upper ? 'triu' : 'tril',
    exprs,
    inputs,
    outputs: [out],
    paramNames: ['diagonal'],
    params: [diagonal],
  };
  return namedPlan(target, { ...problem, ...rest }, [undefined, undefined, 'x', 'out']);
}

/** 1 where the last coordinate equals the index. `x`: int32 of out.shape without its last dimension. */
export function planOneHot(
  target: Target,
  { x, out, ...rest }: Made & { readonly x: PointwiseOperand },
): Plan {
  const index = { ...x, shape: [...x.shape, 1], strides: [...x.strides, 0] };
  const exprs = [e.cast(e.eq(input(0, 'i32'), input(1, 'i32')), dtypeInfo[out.dtype].compute)];
  const inputs = [index, coordinate(out.shape, out.shape.length - 1)];
  return namedPlan(target, { name: 'oneHot', exprs, inputs, outputs: [out], ...rest }, [
    'x',
    undefined,
    'out',
  ]);
}

/** A dimension of the input and the position in it that an output coordinate reads. */
interface Remap {
  readonly dim: number;
  readonly index: (coordinate: Expr) => Expr;
}

/** Inputs for reading `x` at remapped coordinates: first one iota per remap, then x itself. */
function remapped(x: PointwiseOperand, out: PointwiseOperand, remaps: readonly Remap[]): PointwiseInput[] {
  const looked = new Set(remaps.map((r) => r.dim));
  return [
    ...remaps.map((r) => coordinate(out.shape, r.dim)),
    {
      dtype: x.dtype,
      offset: x.offset,
      shape: x.shape.map((n, d) => (looked.has(d) ? 1 : n)),
      strides: x.strides.map((s, d) => (looked.has(d) ? 0 : s)),
      indirect: remaps.map((r, m) => ({
        index: r.index(input(m, 'i32')),
        stride: x.strides[r.dim]!,
        size: x.shape[r.dim]!,
      })),
    },
  ];
}

export type PadMode = 'constant' | 'reflect' | 'replicate' | 'circular';

/**
 * out[.., i, ..] = x[.., i - before, ..] and beyond the edges by `mode`
 * (https://pytorch.org/docs/stable/generated/torch.nn.functional.pad.html). `before[d]` elements precede dimension d, or
 * are cut off when negative; what follows is out.shape's affair. reflect needs pads smaller than the dimension.
 */
export function planPad(
  target: Target,
  {
    x,
    out,
    before,
    mode,
    value = 0,
    ...rest
  }: Made & {
    readonly x: PointwiseOperand;
    readonly before: readonly number[];
    readonly mode: PadMode;
    readonly value?: number;
  },
): Plan {
  const compute = dtypeInfo[x.dtype].compute;
  const dims = x.shape.map((_, d) => d).filter((d) => before[d] !== 0 || out.shape[d] !== x.shape[d]);
  // Sizes are params, so that one kernel serves all shapes.
  const size = (m: number): Expr => param(`size${m}`, 'i32');
  const shifted = (c: Expr, m: number): Expr => e.sub(c, param(`before${m}`, 'i32'));
  const remaps = dims.map((dim, m): Remap => ({
    dim,
    index: (c) => {
      const i = shifted(c, m);
      if (mode === 'constant') return i;
      if (mode === 'replicate') return e.clamp(i, 0, e.sub(size(m), 1));
      if (mode === 'circular') return e.remainder(i, size(m));
      const folded = e.abs(i);
      return e.select(e.ge(folded, size(m)), e.sub(e.mul(size(m), 2), e.add(folded, 2)), folded);
    },
  }));
  const read = input(dims.length, compute);
  const paramNames = dims.flatMap((_, m) => [`before${m}`, `size${m}`]);
  const params = dims.flatMap((d) => [before[d]!, x.shape[d]!]);
  let result: Expr = read;
  if (mode === 'constant') {
    const inside = dims
      .map((_, m) => shifted(input(m, 'i32'), m))
      .map((i, m) => e.and(e.ge(i, 0), e.lt(i, size(m))))
      .reduce<ExprLike>((a, b) => e.and(a, b), true);
    result = e.select(inside, read, e.cast(valueParam('value', x.dtype), compute));
    paramNames.push('value');
    params.push(value);
  }
  const problem = {
    name: 'pad',
    exprs: [result],
    inputs: remapped(x, out, remaps),
    outputs: [out],
    paramNames,
    params,
  };
  return namedPlan(target, { ...problem, ...rest }, [...dims.map(() => undefined), 'x', 'out']);
}

/** out[.., i, ..] = x[.., (i - shift) mod size, ..]: `torch.roll`. */
export function planRoll(
  target: Target,
  {
    x,
    out,
    shifts,
    dims,
    ...rest
  }: Made & {
    readonly x: PointwiseOperand;
    readonly shifts: readonly number[];
    readonly dims: readonly number[];
  },
): Plan {
  const total = x.shape.map(
    (n, d) => dims.reduce((s, dim, i) => (dim === d ? s + shifts[i]! : s), 0) % Math.max(n, 1),
  );
  const moved = total.map((_, d) => d).filter((d) => total[d] !== 0);
  const remaps = moved.map((dim, m): Remap => ({
    dim,
    index: (c) => e.remainder(e.sub(c, param(`shift${m}`, 'i32')), param(`size${m}`, 'i32')),
  }));
  const problem = {
    name: 'roll',
    exprs: [input(moved.length, dtypeInfo[x.dtype].compute)],
    inputs: remapped(x, out, remaps),
    outputs: [out],
    paramNames: moved.flatMap((_, m) => [`shift${m}`, `size${m}`]),
    params: moved.flatMap((d) => [total[d]!, x.shape[d]!]),
  };
  return namedPlan(target, { ...problem, ...rest }, [...moved.map(() => undefined), 'x', 'out']);
}
