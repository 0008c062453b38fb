import { checkTensors } from '../base/tensors.js';
import { defineComposite } from '../../autograd/define.js';
import { isGradEnabled } from '../../autograd/mode.js';
import { e } from '../../kernels/expr/expr.js';
import { isFloatingPoint } from '../../tensor/dtype.js';
import { expandsTo, normalizeDim, showShape, broadcastShapes } from '../../tensor/shape.js';
import { checkCount, noMore, optionReader, requireNumber } from '../../tensor/options.js';
import { type Tensor } from '../../tensor/tensor.js';
import { contractPair, settle, type Label, type Labelled } from './contract.js';
import { cat } from '../shape/join.js';
import { bmm, dot, mm, mv, outer } from './matmul.js';
import { overwrite } from '../base/overwrite.js';
import { add, mul, sub } from '../pointwise/pointwise.js';
import { binaryOp, type Binary } from '../base/row.js';
import { sumDims } from '../base/sum-to.js';
import { expand, narrow, reshape } from '../base/view.js';

/* Products beside `matmul`: contractions over chosen dims, Kronecker and cross products, `add` + product. */

/** How many of the last and first dims are summed over, or which of either. */
export type TensordotDims =
  number | readonly [of: readonly number[] | number, by: readonly number[] | number];

const readTensordot = optionReader('tensordot', { dims: 2 as TensordotDims }, 'dims');

/**
 * `torch.tensordot`: the product summed over `dims`: so many of the last dims of `a` with the first of `b`
 * (default 2), or pairs of dims, `[ofA, ofB]`. The result has the other dims of `a`, then those of `b`.
 */
export const tensordot: (a: Tensor, b: Tensor, dims?: TensordotDims | { dims?: TensordotDims }) => Tensor =
  defineComposite('tensordot', (a: Tensor, b: Tensor, ...args: unknown[]): Tensor => {
    const { dims } = readTensordot(args);
    checkTensors('tensordot', a, b);
    if (
      typeof dims === 'number' &&
      !(Number.isInteger(dims) && dims >= 0 && dims <= Math.min(a.ndim, b.ndim))
    ) {
      throw new Error(
        `tensordot: dims must be an integer from 0 to the lesser rank of shapes ${showShape(a.shape)} and ${showShape(b.shape)}, or two lists of dims; got ${dims}`,
      );
    }
    const [ofA, ofB] = (
      typeof dims === 'number'
        ? [
            Array.from({ length: dims }, (_, i) => a.ndim - dims + i),
            Array.from({ length: dims }, (_, i) => i),
          ]
        : [
            [dims[0]].flat().map((d) => normalizeDim('tensordot', d, a.ndim)),
            [dims[1]].flat().map((d) => normalizeDim('tensordot', d, b.ndim)),
          ]
    ) as [number[], number[]];
    if (ofA.length !== ofB.length || new Set(ofA).size !== ofA.length || new Set(ofB).size !== ofB.length)
      throw new Error(
        `tensordot: dims must be two lists of as many different dims each, got ${showShape(ofA)} and ${showShape(ofB)}`,
      );
    const labelsA: Label[] = a.shape.map((_, d) => `a${d}`);
    const labelsB: Label[] = b.shape.map((_, d) => `b${d}`);
    ofA.forEach((d, i) => (labelsB[ofB[i] as number] = labelsA[d] as Label));
    const kept = new Set([...labelsA, ...labelsB].filter((label) => !ofA.some((d) => labelsA[d] === label)));
    const [terms] = settle('tensordot', [
      { x: a, labels: labelsA },
      { x: b, labels: labelsB },
    ]);
    const [left, right] = terms as [Labelled, Labelled];
    return contractPair(left, right, kept).x;
  });

/**
 * `torch.inner`: products summed over the last dims, which must agree; a zero-dim operand multiplies.
 */
export const inner: (a: Tensor, b: Tensor) => Tensor = defineComposite(
  'inner',
  (a: Tensor, b: Tensor) => {
    checkTensors('inner', a, b);
    if (a.ndim === 0 || b.ndim === 0) return mul(a, b);
    if (a.shape[a.ndim - 1] !== b.shape[b.ndim - 1]) {
      throw new Error(
        `inner: the last dims of shapes ${showShape(a.shape)} and ${showShape(b.shape)} must agree`,
      );
    }
    return tensordot(a, b, [[-1], [-1]]);
  },
  2,
);

/** `torch.vdot`: the sum of products of two vectors (there are no complex numbers to conjugate). */
export function vdot(a: Tensor, b: Tensor): Tensor {
  checkTensors('vdot', a);
  checkCount('vdot', arguments.length, 2);
  return dot(a, b);
}

/** `torch.ger`: {@link outer}. */
export { outer as ger } from './matmul.js';

/**
 * `torch.kron`: every element of `a` times all of `b`, block by block; missing leading dims count as 1.
 * Integers past int32 wrap, as in `mul`.
 */
export const kron: (a: Tensor, b: Tensor) => Tensor = defineComposite(
  'kron',
  (a: Tensor, b: Tensor) => {
    checkTensors('kron', a, b);
    const rank = Math.max(a.ndim, b.ndim);
    const sizes = (x: Tensor): number[] => [...new Array<number>(rank - x.ndim).fill(1), ...x.shape];
    const [outerSizes, innerSizes] = [sizes(a), sizes(b)];
    const blocks = mul(
      reshape(
        a,
        outerSizes.flatMap((size) => [size, 1]),
      ),
      reshape(
        b,
        innerSizes.flatMap((size) => [1, size]),
      ),
    );
    return reshape(
      blocks,
      outerSizes.map((size, d) => size * (innerSizes[d] as number)),
    );
  },
  2,
);

export interface AddmmOptions {
  /** Multiplies what is added to; with 0 not even NaN there counts. Of integers whole. Default 1. */
  beta?: number;
  /** Multiplies the product. Of integers whole. Default 1. */
  alpha?: number;
}

type AddProduct = (x: Tensor, a: Tensor, b: Tensor, options?: AddmmOptions) => Tensor;

/** The product as it is, and zero as the gradient of what does not count. */
const besides: Binary = binaryOp('besides', 'promote', (_x, product) => product, {
  grad: (g) => [e.const(0, 'f32'), g],
});

/** `beta * x + alpha * product(a, b)`, where `x` broadcasts to the product. */
function addProduct(op: string, product: (a: Tensor, b: Tensor) => Tensor): AddProduct {
  const read = optionReader(op, { beta: 1, alpha: 1 });
  return defineComposite(op, (x: Tensor, a: Tensor, b: Tensor, ...args: unknown[]): Tensor => {
    const options = read(args);
    checkTensors(op, x);
    const p = product(a, b);
    const factor = (key: 'alpha' | 'beta'): number => {
      const value = requireNumber(`${op}: ${key}`, options[key]);
      if (!Number.isInteger(value) && !isFloatingPoint(p.dtype) && !isFloatingPoint(x.dtype))
        throw new Error(`${op}: ${key} must be an integer where integers are multiplied, got ${value}`);
      return value;
    };
    const [alpha, beta] = [factor('alpha'), factor('beta')];
    if (!expandsTo(x.shape, p.shape)) {
      throw new Error(
        `${op}: shape ${showShape(x.shape)} does not broadcast to the product's ${showShape(p.shape)}`,
      );
    }
    if (beta === 0) {
      const scaled = alpha === 1 ? p : mul(p, alpha);
      return x.requiresGrad && isGradEnabled() ? besides(x, scaled) : scaled;
    }
    return add(beta === 1 ? x : mul(x, beta), p, { alpha });
  });
}

const inPlace = (op: AddProduct): AddProduct =>
  function (x, a, b, options = {}) {
    noMore(`${op.name}_`, arguments, 4);
    return overwrite(`${op.name}_`, x, () => op(x, a, b, options));
  };

/** `torch.addmm`: `beta * x + alpha * (a @ b)` of matrices. */
export const addmm: AddProduct = addProduct('addmm', mm);
/** `torch.Tensor.addmm_`. */
export const addmm_: AddProduct = inPlace(addmm);
/** `torch.addmv`: `beta * x + alpha * (a @ b)` of a matrix and a vector. */
export const addmv: AddProduct = addProduct('addmv', mv);
/** `torch.Tensor.addmv_`. */
export const addmv_: AddProduct = inPlace(addmv);
/** `torch.addr`: `beta * x + alpha * outer(a, b)`. */
export const addr: AddProduct = addProduct('addr', outer);
/** `torch.Tensor.addr_`. */
export const addr_: AddProduct = inPlace(addr);
/** `torch.baddbmm`: `beta * x + alpha * bmm(a, b)`. */
export const baddbmm: AddProduct = addProduct('baddbmm', bmm);
/** `torch.Tensor.baddbmm_`. */
export const baddbmm_: AddProduct = inPlace(baddbmm);
/** `torch.addbmm`: `beta * x + alpha * bmm(a, b)` summed over the batch. */
export const addbmm: AddProduct = addProduct('addbmm', (a, b) => sumDims(bmm(a, b), [0], false));
/** `torch.Tensor.addbmm_`. */
export const addbmm_: AddProduct = inPlace(addbmm);

const readCross = optionReader('cross', { dim: null as number | null }, 'dim');

/**
 * `torch.cross`: the cross products of vectors of three that lie along `dim`, by default the first dim of
 * size 3. Other dims broadcast.
 */
export function cross(a: Tensor, b: Tensor, dim?: number | { dim?: number }): Tensor {
  checkCount('cross', arguments.length, 3);
  checkTensors('cross', a, b);
  const { dim: given } = readCross(dim === undefined ? [] : [dim]);
  if (given !== null) return crossAlong(a, b, given);
  const shape = broadcastShapes('cross', a.shape, b.shape);
  const first = shape.indexOf(3);
  if (first < 0) throw new Error(`cross: shape ${showShape(shape)} has no dim of size 3`);
  return crossAlong(a, b, first - shape.length);
}

/** @internal `torch.linalg.cross`: {@link cross} along `dim`, by default the last. */
export const crossAlong: (a: Tensor, b: Tensor, dim: number) => Tensor = defineComposite(
  'cross',
  (a: Tensor, b: Tensor, dim: number): Tensor => {
    checkTensors('cross', a, b);
    const shape = broadcastShapes('cross', a.shape, b.shape);
    const d = normalizeDim('cross', dim, shape.length);
    if (shape[d] !== 3 || [a, b].some((x) => x.shape[d - shape.length + x.ndim] !== 3)) {
      throw new Error(
        `cross: dim ${dim} of shapes ${showShape(a.shape)} and ${showShape(b.shape)} must have size 3`,
      );
    }
    // c[i] = a[i + 1] b[i + 2] - a[i + 2] b[i + 1], counted round.
    const turned = (x: Tensor): [Tensor, Tensor] => {
      const wide = expand(x, shape);
      const twice = cat([wide, wide], d);
      return [narrow(twice, d, 1, 3), narrow(twice, d, 2, 3)];
    };
    const [[a1, a2], [b1, b2]] = [turned(a), turned(b)];
    return sub(mul(a1, b2), mul(a2, b1));
  },
);
