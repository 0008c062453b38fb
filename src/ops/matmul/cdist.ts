import { defineComposite, defineOp } from '../../autograd/define.js';
import { isGradEnabled } from '../../autograd/mode.js';
import { e, input, param, substitute, type Expr } from '../../kernels/expr/expr.js';
import * as fn from '../../kernels/expr/functions.js';
import { normP, reductions, type Reduction } from '../../kernels/reduce/plan.js';
import { isFloatingPoint } from '../../tensor/dtype.js';
import { broadcastShapes, showShape, type Shape } from '../../tensor/shape.js';
import { optionReader, type Trailing } from '../../tensor/options.js';
import { type Tensor } from '../../tensor/tensor.js';
import { to } from '../base/copy.js';
import { zeros } from '../creation/creation.js';
import { mul } from '../pointwise/pointwise.js';
import { runReduce } from '../base/reduction.js';
import { rowFunction } from '../base/row.js';
import { sumDims } from '../base/sum-to.js';
import { expand, transpose, unsqueeze } from '../base/view.js';

/* Distances between all pairs of rows. */

/** Ranges of p whose gradients have a formula of their own. */
type Range = 'one' | 'low' | 'two' | 'high' | 'most';

function rangeOf(p: number): Range {
  if (p === 1) return 'one';
  if (p === 2) return 'two';
  if (p === Infinity) return 'most';
  return p < 2 ? 'low' : 'high';
}

type Slope = (a: Expr, b: Expr, g: Expr, norm: Expr, p: Expr) => Expr;

/**
 * What one coordinate of a pair adds to the gradient of its first row, `g` being the gradient of the pair's
 * distance `norm`. PyTorch's choices where the distance or the difference is zero.
 */
const slopes: Readonly<Record<Range, Slope>> = {
  one: (a, b, g) => e.mul(g, e.sign(e.sub(a, b))),
  two: (a, b, g, norm) => e.select(e.eq(norm, 0), 0, e.div(e.mul(g, e.sub(a, b)), norm)),
  low(a, b, g, norm, p) {
    const d = e.sub(a, b);
    const flat = e.or(e.eq(norm, 0), e.and(e.eq(d, 0), e.lt(p, 1)));
    const scaled = e.mul(e.sign(d), fn.pow(e.abs(d), e.sub(p, 1)));
    return e.select(flat, 0, e.mul(e.mul(scaled, g), fn.pow(norm, e.sub(1, p))));
  },
  high(a, b, g, norm, p) {
    const d = e.sub(a, b);
    const scaled = e.mul(d, fn.pow(e.abs(d), e.sub(p, 2)));
    return e.select(e.eq(norm, 0), 0, e.mul(e.mul(scaled, g), fn.pow(norm, e.sub(1, p))));
  },
  most: (a, b, g, norm) => e.select(e.eq(e.abs(e.sub(a, b)), norm), e.mul(g, e.sign(e.sub(a, b))), 0),
};

const rows = new Map<Range, ReturnType<typeof rowFunction>>();

function slopeRow(range: Range): ReturnType<typeof rowFunction> {
  let row = rows.get(range);
  if (row === undefined) {
    const slope = slopes[range];
    // Named one by one: a row takes as many operands as its expression says.
    const expr: Slope = (a, b, g, norm, p) => slope(a, b, g, norm, p);
    rows.set(range, (row = rowFunction({ name: 'cdistBackward', kind: 'float', expr })));
  }
  return row;
}

function recipeOf(p: number): Reduction {
  const byP = [reductions.norm0, reductions.norm1, reductions.norm2][p];
  const recipe: Reduction = p === Infinity ? reductions.normInf : (byP ?? normP(param('p')));
  const difference = e.sub(input(0), input(1));
  return {
    ...recipe,
    map: substitute(recipe.map ?? input(0), (i) => (i === 0 ? difference : undefined)),
  };
}

/** [..., P, M] and [..., R, M] with the same leading dims as [..., P, R, M]. */
function pairs(a: Tensor, b: Tensor): [a: Tensor, b: Tensor, shape: Shape] {
  const [left, right] = [unsqueeze(a, -2), unsqueeze(b, -3)];
  const shape = broadcastShapes('cdist', left.shape, right.shape);
  return [expand(left, shape), expand(right, shape), shape];
}

/** The gradient of `a`, summed over the rows of `b`. */
function slopeOf(a: Tensor, b: Tensor, g: Tensor, norm: Tensor, p: number): Tensor {
  const [left, right, shape] = pairs(a, b);
  const dim = shape.length - 2;
  const range = rangeOf(p);
  const [slant, length] = [unsqueeze(g, -1), unsqueeze(norm, -1)];
  if (isGradEnabled())
    return to(sumDims(slopeRow(range)(left, right, slant, length, p), [dim], false), a.dtype);
  const [x, y, grad, distance] = [0, 1, 2, 3].map((i) => input(i)) as [Expr, Expr, Expr, Expr];
  return runReduce({
    name: 'cdistBackward',
    recipe: { op: 'sum', map: slopes[range](x, y, grad, distance, param('p')) },
    inputs: [left, right, expand(slant, shape), expand(length, shape)],
    dims: [dim],
    keepdim: false,
    dtypes: [a.dtype],
    params: { p },
  })[0] as Tensor;
}

/** In float32, so that the gradient knows which differences are the largest, of float16 too. */
const cdistOp = defineOp<[Tensor, Tensor, number], Tensor, number>({
  name: 'cdist',
  forward(ctx, a, b, p) {
    ctx.state = p;
    const [left, right, shape] = pairs(a, b);
    const out =
      shape[shape.length - 1] === 0
        ? zeros(shape.slice(0, -1))
        : (runReduce({
            name: 'cdist',
            recipe: recipeOf(p),
            inputs: [left, right],
            dims: [shape.length - 1],
            keepdim: false,
            dtypes: ['float32'],
            params: { p },
          })[0] as Tensor);
    ctx.save(a, b, out);
    return out;
  },
  backward(ctx, grad) {
    const [a, b, out] = ctx.saved as [Tensor, Tensor, Tensor];
    const p = ctx.state;
    if (p === 0) return [() => mul(a, 0), () => mul(b, 0)];
    return [() => slopeOf(a, b, grad, out, p), () => slopeOf(b, a, transposed(grad), transposed(out), p)];
  },
});

const transposed = (x: Tensor): Tensor => transpose(x, -2, -1);

const computeModes = [
  'use_mm_for_euclid_dist_if_necessary',
  'use_mm_for_euclid_dist',
  'donot_use_mm_for_euclid_dist',
] as const;

export interface CdistOptions {
  /** Which norm: 0, or any positive number, Infinity too. Default 2. */
  p?: number;
  /** PyTorch's names are taken; distances are always summed from differences, the exact way. */
  computeMode?: (typeof computeModes)[number];
}

const readCdist = optionReader(
  'cdist',
  { p: 2, computeMode: computeModes[0] as (typeof computeModes)[number] },
  'p',
  'computeMode',
);

/**
 * `torch.cdist`: the p-norm distances between each row of `a`, [..., P, M], and each of `b`, [..., R, M], as
 * [..., P, R]; leading dims broadcast. Nothing of size P x R x M is stored, unless the gradient is
 * differentiated again.
 */
export const cdist: (
  a: Tensor,
  b: Tensor,
  ...args: Trailing<[p: number, computeMode: (typeof computeModes)[number]], CdistOptions>
) => Tensor = defineComposite(
  'cdist',
  (
    a: Tensor,
    b: Tensor,
    ...args: Trailing<[p: number, computeMode: (typeof computeModes)[number]], CdistOptions>
  ): Tensor => {
    const { p, computeMode } = readCdist(args);
    if (!computeModes.includes(computeMode))
      throw new Error(
        `cdist: computeMode must be one of ${computeModes.join(', ')}, got '${String(computeMode)}'`,
      );
    if (!(p >= 0)) throw new Error(`cdist: p must not be negative, got ${p}`);
    if (!isFloatingPoint(a.dtype) || a.dtype !== b.dtype)
      throw new Error(`cdist: expected float tensors of one dtype, got ${a.dtype} and ${b.dtype}`);
    if (a.ndim < 2 || b.ndim < 2 || a.shape[a.ndim - 1] !== b.shape[b.ndim - 1]) {
      throw new Error(
        `cdist: shapes ${showShape(a.shape)} and ${showShape(b.shape)} must have at least two dims and rows of one length`,
      );
    }
    const lead = broadcastShapes('cdist', a.shape.slice(0, -2), b.shape.slice(0, -2));
    const whole = (x: Tensor): Tensor => expand(x, [...lead, ...x.shape.slice(-2)]);
    return to(cdistOp(whole(a), whole(b), p), a.dtype);
  },
);
