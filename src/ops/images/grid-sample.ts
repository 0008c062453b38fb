import { defineComposite } from '../../autograd/define.js';
import { e, type Expr } from '../../kernels/expr/expr.js';
import { promoteTypes, toFloatType } from '../../tensor/dtype.js';
import { optionReader, type Trailing } from '../../tensor/options.js';
import { sameShape, showShape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { to } from '../base/copy.js';
import { arange } from '../creation/creation.js';
import { gather } from '../gather/gather.js';
import { add, mul } from '../pointwise/pointwise.js';
import { rowFunction, type PointwiseFn } from '../base/row.js';
import { expand, reshape, select, unsqueeze } from '../base/view.js';

/*
 * Sampling by coordinates (https://pytorch.org/docs/stable/generated/torch.nn.functional.grid_sample.html).
 * Along each dim a point reads some neighbouring positions, its taps, each with a weight that follows from
 * its coordinate; what is read is the sum over all combinations of taps. Everything is made of pointwise ops
 * and gathers, so gradients, of any order, are theirs.
 */

export type GridSampleMode = 'bilinear' | 'nearest' | 'bicubic';
export type GridPaddingMode = 'zeros' | 'border' | 'reflection';

export interface GridSampleOptions {
  /** Default `'bilinear'`, which is trilinear for volumes. */
  mode?: GridSampleMode;
  /** What lies outside: zeros (default), the border's values, or the reflected image. */
  paddingMode?: GridPaddingMode;
  /** -1 and 1 are the corner pixels' centres, rather than the image's edges. Default false. */
  alignCorners?: boolean | null;
}

/** -1 to 1 as a position along a dim of size `n`. */
const positionOf = (x: Expr, n: Expr, aligned: boolean): Expr =>
  aligned ? e.mul(e.mul(e.add(x, 1), 0.5), e.sub(n, 1)) : e.mul(e.sub(e.mul(e.add(x, 1), n), 1), 0.5);

/** Into 0 to n - 1; on the bounds and beyond the gradient is 0. */
const clipped = (x: Expr, n: Expr): Expr => {
  const last = e.sub(n, 1);
  return e.select(e.gt(x, 0), e.select(e.lt(x, last), x, last), 0);
};

/** Folded back at the first and the last pixel's centre (aligned) or outer edge. */
function reflected(x: Expr, n: Expr, aligned: boolean): Expr {
  const low = aligned ? e.const(0) : e.const(-0.5);
  const span = aligned ? e.sub(n, 1) : n;
  const from = e.abs(e.sub(x, low));
  const turns = e.floor(e.div(from, span));
  const rest = e.sub(from, e.mul(turns, span));
  const even = e.eq(e.sub(turns, e.mul(e.floor(e.mul(turns, 0.5)), 2)), 0);
  const folded = e.add(e.select(even, rest, e.sub(span, rest)), low);
  return e.select(e.le(span, 0), 0, folded);
}

function padded(x: Expr, n: Expr, padding: GridPaddingMode, aligned: boolean): Expr {
  if (padding === 'zeros') return x;
  return clipped(padding === 'border' ? x : reflected(x, n, aligned), n);
}

/** Keys' cubic (1981) with slope -0.75 at distance `d` of at least 0. */
function cubic(d: Expr): Expr {
  const near = e.add(e.mul(e.mul(e.sub(e.mul(d, 1.25), 2.25), d), d), 1);
  const far = e.mul(e.sub(e.mul(e.add(e.mul(e.sub(d, 5), d), 8), d), 4), -0.75);
  return e.select(e.lt(d, 1), near, e.select(e.lt(d, 2), far, 0));
}

/** The functions of a coordinate and a dim's size for one way of sampling. */
interface Rule {
  /** Position of the point, as its taps see it. */
  readonly point: PointwiseFn;
  readonly taps: readonly {
    /** Its weight: of the point and the dim's size. */
    readonly weight: PointwiseFn;
    /** The position that it reads, as int32. */
    readonly at: PointwiseFn;
  }[];
}

const rules = new Map<string, Rule>();

function ruleOf(mode: GridSampleMode, padding: GridPaddingMode, aligned: boolean): Rule {
  const key = `${mode}:${padding}:${aligned}`;
  let rule = rules.get(key);
  if (rule === undefined) rules.set(key, (rule = makeRule(mode, padding, aligned)));
  return rule;
}

function makeRule(mode: GridSampleMode, padding: GridPaddingMode, aligned: boolean): Rule {
  const row = (expr: (x: Expr, n: Expr) => Expr): PointwiseFn =>
    rowFunction({ name: 'gridSample', kind: 'float', expr });
  const cubicly = mode === 'bicubic';
  /** Before rounding down and stepping to the tap. A cubic's taps are padded one by one. */
  const base = (x: Expr): Expr => (mode === 'nearest' ? e.round(x) : e.floor(x));
  const tapAt = (x: Expr, n: Expr, step: number): Expr => {
    const at = e.add(base(x), step);
    return cubicly ? padded(at, n, padding, aligned) : at;
  };
  const inside = (at: Expr, n: Expr): Expr => e.and(e.gt(at, -1), e.lt(at, n));
  const weightAt = (x: Expr, step: number): Expr => {
    if (mode === 'nearest') return e.const(1);
    const part = e.sub(x, base(x));
    if (!cubicly) return step === 0 ? e.sub(1, part) : part;
    return cubic(step < 1 ? e.sub(part, step) : e.sub(step, part));
  };
  const steps = mode === 'nearest' ? [0] : cubicly ? [-1, 0, 1, 2] : [0, 1];
  return {
    point: row((x, n) => {
      const at = positionOf(x, n, aligned);
      return cubicly ? at : padded(at, n, padding, aligned);
    }),
    taps: steps.map((step) => ({
      weight: row((x, n) => e.select(inside(tapAt(x, n, step), n), weightAt(x, step), 0)),
      at: row((x, n) => e.clamp(tapAt(x, n, step), 0, e.sub(n, 1))),
    })),
  };
}

type GridSampleArgs = Trailing<
  [mode: GridSampleMode, paddingMode: GridPaddingMode, alignCorners: boolean | null],
  GridSampleOptions
>;

const readOptions = optionReader<Required<GridSampleOptions>>(
  'gridSample',
  { mode: 'bilinear', paddingMode: 'zeros', alignCorners: null },
  'mode',
  'paddingMode',
  'alignCorners',
);

function oneOf(what: string, value: string, allowed: readonly string[]): void {
  if (!allowed.includes(value))
    throw new Error(`gridSample: ${what} must be one of ${allowed.join(', ')}, got '${String(value)}'`);
}

/**
 * `torch.nn.functional.grid_sample` (Jaderberg et al. 2015): `x` [N, C, H, W] read at the points of `grid`
 * [N, oH, oW, 2], whose last dim is (x, y) from -1 to 1, giving [N, C, oH, oW]; or volumes [N, C, D, H, W]
 * with a grid [N, oD, oH, oW, 3] of (x, y, z).
 */
export const gridSample: (x: Tensor, grid: Tensor, ...args: GridSampleArgs) => Tensor = defineComposite(
  'gridSample',
  (x: Tensor, grid: Tensor, ...args: GridSampleArgs): Tensor => {
    const { mode, paddingMode, alignCorners } = readOptions(args);
    oneOf('mode', mode, ['bilinear', 'nearest', 'bicubic']);
    oneOf('paddingMode', paddingMode, ['zeros', 'border', 'reflection']);
    const rank = x.ndim - 2;
    const [n, channels, ...sizes] = x.shape as [number, number, ...number[]];
    if (
      (rank !== 2 && rank !== 3) ||
      grid.ndim !== rank + 2 ||
      grid.shape[0] !== n ||
      grid.shape.at(-1) !== rank
    ) {
      throw new Error(
        `gridSample: expected images [N, C, H, W] with a grid [N, oH, oW, 2], or volumes with one of 3, got ${showShape(x.shape)} and ${showShape(grid.shape)}`,
      );
    }
    if (mode === 'bicubic' && rank === 3)
      throw new Error("gridSample: mode 'bicubic' works on images only, not on volumes");
    if (sizes.some((size) => size === 0))
      throw new Error(`gridSample: the images of ${showShape(x.shape)} are empty`);
    const out = grid.shape.slice(1, -1);
    const count = out.reduce((a, b) => a * b, 1);
    const rule = ruleOf(mode, paddingMode, alignCorners ?? false);
    // Neither positions in float16 nor flat indices in floats would tell all pixels apart.
    const points = to(reshape(grid, [n, count, rank]), 'float32');
    // Per dim, of which the grid has the last one first: weights and positions of its taps.
    const taps = sizes.map((size, d) => {
      const point = rule.point(select(points, 2, rank - 1 - d), size);
      return rule.taps.map(({ weight, at }) => [weight(point, size), to(at(point, size), 'int32')] as const);
    });
    const flat = reshape(x, [n, channels, sizes.reduce((a, b) => a * b, 1)]);
    const read = (weight: Tensor, at: Tensor): Tensor => {
      const index = expand(unsqueeze(at, 1), [n, channels, count]);
      return mul(gather(flat, 2, index), unsqueeze(weight, 1));
    };
    const walk = (d: number, weight: Tensor | null, at: Tensor | null): Tensor => {
      if (d === rank) return read(weight as Tensor, at as Tensor);
      const terms = (taps[d] as (typeof taps)[number]).map(([w, i]) =>
        walk(
          d + 1,
          weight === null ? w : mul(weight, w),
          at === null ? i : add(mul(at, sizes[d] as number), i),
        ),
      );
      return terms.reduce((a, b) => add(a, b));
    };
    const samples = reshape(walk(0, null, null), [n, channels, ...out]);
    return to(samples, promoteTypes(x.dtype, grid.dtype));
  },
);

const readAffine = optionReader<{ alignCorners: boolean | null }>(
  'affineGrid',
  { alignCorners: null },
  'alignCorners',
);

/**
 * `torch.nn.functional.affine_grid`: the grid for {@link gridSample} that maps an output of shape `size` [N,
 * C, H, W] (or [N, C, D, H, W]) by the affine maps `theta` [N, 2, 3] (or [N, 3, 4]).
 */
export const affineGrid: (
  theta: Tensor,
  size: readonly number[],
  ...args: Trailing<[alignCorners: boolean | null], { alignCorners?: boolean | null }>
) => Tensor = defineComposite(
  'affineGrid',
  (
    theta: Tensor,
    size: readonly number[],
    ...args: Trailing<[alignCorners: boolean | null], { alignCorners?: boolean | null }>
  ): Tensor => {
    const { alignCorners } = readAffine(args);
    const rank = size.length - 2;
    const n = size[0] as number;
    if ((rank !== 2 && rank !== 3) || !sameShape(theta.shape, [n, rank, rank + 1])) {
      throw new Error(
        `affineGrid: theta must have shape [N, 2, 3] for images or [N, 3, 4] for volumes of size ${showShape(size)}, got ${showShape(theta.shape)}`,
      );
    }
    const ones = size.slice(2).map(() => 1);
    /** Column `i` of theta, to broadcast over the grid. */
    const column = (i: number): Tensor => reshape(select(theta, 2, i), [n, ...ones, rank]);
    let grid = column(rank);
    for (let i = 0; i < rank; i++) {
      // Column i belongs to the i-th dim from the end.
      const d = rank - 1 - i;
      const length = size[d + 2] as number;
      const steps = alignCorners === true ? length - 1 : length;
      const first = alignCorners === true ? -1 : -1 + 1 / length;
      const at = length === 1 ? mul(arange(1), 0) : add(mul(arange(length), 2 / steps), first);
      const along = reshape(to(at, 'float32'), [1, ...ones.map((_, k) => (k === d ? length : 1)), 1]);
      grid = add(grid, mul(along, column(i)));
    }
    return to(grid, toFloatType(theta.dtype));
  },
);
