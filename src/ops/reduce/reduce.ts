import { checkTensors } from '../base/tensors.js';
import { defineComposite, defineOp, entered } from '../../autograd/define.js';
import { isGradEnabled } from '../../autograd/mode.js';
import { dtypeInfo } from '../../kernels/base/dtype.js';
import { mayOverflow } from '../../kernels/reduce/exact-int.js';
import { input } from '../../kernels/expr/expr.js';
import { reductions, type Reduction } from '../../kernels/reduce/plan.js';
import { isFloatingPoint, toFloatType, type DType } from '../../tensor/dtype.js';
import { normalizeDim, normalizeDims, numel, showShape } from '../../tensor/shape.js';
import { type Needed, optionReader, required, type Trailing } from '../../tensor/options.js';
import { isTensor, type Tensor } from '../../tensor/tensor.js';
import { eq } from '../pointwise/compare.js';
import { to } from '../base/copy.js';
import { arange } from '../creation/creation.js';
import { trueDivide as div, exp, maximum, minimum, mul, sub } from '../pointwise/pointwise.js';
import {
  countOf,
  loaded,
  overDims,
  overDimsAs,
  reducedShape,
  runReduce,
  spread,
  type DimArgs,
  type Dims,
  type DtypeOptions,
  type KeepdimOptions,
  type OverDims,
  type Span,
} from '../base/reduction.js';
import { exclusiveProduct } from './scan.js';
import { sumDims } from '../base/sum-to.js';
import { permute, reshape } from '../base/view.js';
import { maskedFill, where } from '../pointwise/where.js';

/* Reductions (https://pytorch.org/docs/stable/torch.html#reduction-ops). */

const readSum = optionReader('sum', overDimsAs, 'dim', 'keepdim');
const readMean = optionReader('mean', overDimsAs, 'dim', 'keepdim');
const readProd = optionReader('prod', overDimsAs, 'dim', 'keepdim');
const readAmax = optionReader('amax', overDims, 'dim', 'keepdim');
const readAmin = optionReader('amin', overDims, 'dim', 'keepdim');
const readLogsumexp = optionReader('logsumexp', { dim: required<Dims>(), keepdim: false }, 'dim', 'keepdim');

/**
 * `torch.sum`; bool and integers give int32, exactly.
 *
 * @throws (at the next await) DataError when an integer sum does not fit int32
 */
export const sum: (x: Tensor, ...args: DimArgs<DtypeOptions>) => Tensor = entered(
  'sum',
  (x: Tensor, ...args: DimArgs<DtypeOptions>): Tensor => {
    const { dim, keepdim, dtype } = readSum(args);
    const source = dtype === null ? x : to(x, dtype);
    return sumDims(source, normalizeDims('sum', dim, x.ndim), keepdim);
  },
);

const meanOp: OverDims = defineOp<[Tensor, readonly number[], boolean], Tensor, Span>({
  name: 'mean',
  forward(ctx, x, dims, keepdim) {
    ctx.state = { shape: x.shape, dims };
    return runReduce({
      name: 'mean',
      recipe: reductions.mean,
      inputs: [x],
      dims,
      keepdim,
      dtypes: [x.dtype],
    })[0] as Tensor;
  },
  backward: (ctx, grad) => [() => spread(mul(grad, 1 / countOf(ctx.state)), ctx.state)],
});

/** `torch.mean` of a float tensor. */
export function mean(x: Tensor, ...args: DimArgs<DtypeOptions>): Tensor {
  checkTensors('mean', x);
  const { dim, keepdim, dtype } = readMean(args);
  const source = dtype === null ? x : to(x, dtype);
  if (!isFloatingPoint(source.dtype))
    throw new Error(
      `mean: expected a float tensor, got ${source.dtype}; convert it with .to('float32') or pass { dtype: 'float32' }`,
    );
  return meanOp(source, normalizeDims('mean', dim, x.ndim), keepdim);
}

function checkNotEmpty(op: string, x: Tensor, dims: readonly number[]): void {
  if (dims.some((d) => x.shape[d] === 0) || (dims.length === x.ndim && x.numel() === 0)) {
    throw new Error(
      `${op}: cannot reduce the empty dim of shape ${showShape(x.shape)}: there is no element to choose`,
    );
  }
}

const extremeOp = (
  name: 'amax' | 'amin',
): ((x: Tensor, dims: readonly number[], keepdim: boolean) => Tensor) =>
  defineOp<[Tensor, readonly number[], boolean], Tensor, Span>({
    name,
    forward(ctx, x, dims, keepdim) {
      checkNotEmpty(name, x, dims);
      ctx.state = { shape: x.shape, dims };
      const recipe: Reduction = {
        op: name === 'amax' ? 'max' : 'min',
        map: loaded(x.dtype),
        finish: [loadedResult(x.dtype)],
      };
      const out = runReduce({ name, recipe, inputs: [x], dims, keepdim, dtypes: [x.dtype] })[0] as Tensor;
      ctx.save(x, out);
      return out;
    },
    backward(ctx, grad) {
      const [x, out] = ctx.saved as [Tensor, Tensor];
      const { state } = ctx;
      return [
        () => {
          // Ties share the gradient; in float16 there might be more of them than it can count.
          const hit = to(eq(x, spread(out, state)), 'float32');
          const share = div(
            reshape(grad, reducedShape(state.shape, state.dims, true)),
            sumDims(hit, state.dims, true),
          );
          return to(mul(hit, spread(share, state)), x.dtype);
        },
      ];
    },
  });

/** What a reduction of `dtype` hands to its finish. */
const loadedResult = (dtype: DType) =>
  dtype === 'bool' || dtype === 'uint8' ? input(0, 'i32') : input(0, dtypeInfo[dtype].compute);

const amaxOp = extremeOp('amax');
const aminOp = extremeOp('amin');

/** `torch.amax`: the largest value; ties share the gradient evenly. */
export function amax(x: Tensor, ...args: DimArgs<KeepdimOptions>): Tensor {
  checkTensors('amax', x);
  const { dim, keepdim } = readAmax(args);
  return amaxOp(x, normalizeDims('amax', dim, x.ndim), keepdim);
}

/** `torch.amin`: the smallest value; ties share the gradient evenly. */
export function amin(x: Tensor, ...args: DimArgs<KeepdimOptions>): Tensor {
  checkTensors('amin', x);
  const { dim, keepdim } = readAmin(args);
  return aminOp(x, normalizeDims('amin', dim, x.ndim), keepdim);
}

const chooseOp = (name: 'max' | 'min'): ((x: Tensor, dim: number, keepdim: boolean) => [Tensor, Tensor]) =>
  defineOp<[Tensor, number, boolean], [Tensor, Tensor], { shape: readonly number[]; dim: number }>({
    name,
    forward(ctx, x, dim, keepdim) {
      const dims = x.ndim === 0 ? [] : [dim];
      checkNotEmpty(name, x, dims);
      ctx.state = { shape: x.shape, dim };
      const recipe: Reduction = {
        op: name === 'max' ? 'argmax' : 'argmin',
        map: loaded(x.dtype),
        finish: [loadedResult(x.dtype), input(1, 'i32')],
      };
      const [values, indices] = runReduce({
        name,
        recipe,
        inputs: [x],
        dims,
        keepdim,
        dtypes: [x.dtype, 'int32'],
      }) as [Tensor, Tensor];
      ctx.save(indices);
      return [values, indices];
    },
    backward(ctx, grad) {
      const { shape, dim } = ctx.state;
      return [() => placeAt(grad, ctx.saved[0] as Tensor, shape, dim)];
    },
  });

/** Zeros of `shape` with `grad` at index `indices` of `dim`. */
function placeAt(grad: Tensor, indices: Tensor, shape: readonly number[], dim: number): Tensor {
  if (shape.length === 0) return grad;
  const one = reducedShape(shape, [dim], true);
  const positions = reshape(
    arange(shape[dim] as number),
    one.map((_, i) => (i === dim ? (shape[dim] as number) : 1)),
  );
  return where(eq(reshape(indices, one), positions), reshape(grad, one), 0);
}

const maxOp = chooseOp('max');
const minOp = chooseOp('min');

export interface ChooseOptions extends KeepdimOptions {
  dim: number;
}

/** What `max` and `min` may be called with. */
export interface Extreme {
  /** The extreme of all elements. */
  (x: Tensor): Tensor;
  /** Values and (first) indices along `dim`. */
  (
    x: Tensor,
    dim: number | ChooseOptions,
    keepdim?: boolean | KeepdimOptions,
  ): [values: Tensor, indices: Tensor];
  /** Element by element, as `maximum`/`minimum`. */
  (x: Tensor, other: Tensor): Tensor;
}

function extreme(name: 'max' | 'min'): Extreme {
  const choose = name === 'max' ? maxOp : minOp;
  const whole = name === 'max' ? amaxOp : aminOp;
  const pairwise = name === 'max' ? maximum : minimum;
  const read = optionReader(name, { dim: null as number | null, keepdim: false }, 'dim', 'keepdim');
  return ((x: Tensor, ...args: [Tensor] | unknown[]) => {
    checkTensors(name, x);
    if (isTensor(args[0])) return pairwise(x, ...(args as [Tensor]));
    const { dim, keepdim } = read(args);
    if (dim !== null) return choose(x, normalizeDim(name, dim, x.ndim), keepdim);
    if (keepdim) throw new Error(`${name}: keepdim needs a dim; amax and amin keep all of them`);
    return whole(x, normalizeDims(name, null, x.ndim), false);
  }) as Extreme;
}

/** `torch.max`. NaN wins; along a dim the first index of the largest value. */
export const max: Extreme = extreme('max');
/** `torch.min`. NaN wins; along a dim the first index of the smallest value. */
export const min: Extreme = extreme('min');

type DimArg = Trailing<[dim: number | null, keepdim: boolean], KeepdimOptions & { dim?: number | null }>;

function argExtreme(name: 'argmax' | 'argmin'): (x: Tensor, ...args: DimArg) => Tensor {
  const read = optionReader(name, { dim: null as number | null, keepdim: false }, 'dim', 'keepdim');
  return entered(name, (x: Tensor, ...args: DimArg): Tensor => {
    checkTensors(name, x);
    const { dim, keepdim } = read(args);
    const dims =
      dim === null
        ? normalizeDims(name, null, x.ndim)
        : x.ndim === 0
          ? []
          : [normalizeDim(name, dim, x.ndim)];
    checkNotEmpty(name, x, dims);
    const recipe: Reduction = { op: name, map: loaded(x.dtype) };
    const [index] = runReduce({
      name,
      recipe,
      inputs: [x],
      dims,
      keepdim,
      dtypes: ['int32'],
    });
    return index as Tensor;
  });
}

/** `torch.argmax`: int32 index of the first largest element, along `dim` or in the flattened tensor. */
export const argmax: (x: Tensor, ...args: DimArg) => Tensor = argExtreme('argmax');
/** `torch.argmin`: int32 index of the first smallest element, along `dim` or in the flattened tensor. */
export const argmin: (x: Tensor, ...args: DimArg) => Tensor = argExtreme('argmin');

const prodOp: OverDims = defineOp<[Tensor, readonly number[], boolean], Tensor, Span>({
  name: 'prod',
  forward(ctx, x, dims, keepdim) {
    ctx.state = { shape: x.shape, dims };
    ctx.save(x);
    const dtype = isFloatingPoint(x.dtype) ? x.dtype : 'int32';
    return runReduce({
      name: 'prod',
      recipe: {
        op: mayOverflow('exactProd', x.dtype, countOf(ctx.state)) ? 'exactProd' : 'prod',
        map: loaded(x.dtype),
      },
      inputs: [x],
      dims,
      keepdim,
      dtypes: [dtype],
    })[0] as Tensor;
  },
  backward(ctx, grad) {
    const x = ctx.saved[0] as Tensor;
    const span = ctx.state;
    if (isGradEnabled()) return [() => mul(spread(grad, span), productOfOthers(x, span.dims))];
    return [
      () => {
        // One zero leaves a gradient at the zero alone, two leave none: no division by an element that is
        // zero.
        const isZero = eq(x, 0);
        const zeros = spread(sumDims(isZero, span.dims, true), span);
        const rest = spread(prodOp(maskedFill(x, isZero, 1), span.dims, true), span);
        const others = where(
          isZero,
          where(eq(zeros, 1), rest, 0),
          where(eq(zeros, 0), div(rest, maskedFill(x, isZero, 1)), 0),
        );
        return mul(spread(grad, span), others);
      },
    ];
  },
});

/**
 * The product of all other elements of `dims`, without a division: its own gradient is right where elements
 * are zero.
 */
function productOfOthers(x: Tensor, dims: readonly number[]): Tensor {
  const kept = x.shape.map((_, d) => d).filter((d) => !dims.includes(d));
  const order = [...kept, ...dims];
  const sizes = order.map((d) => x.shape[d] as number);
  const flat = reshape(permute(x, order), [...sizes.slice(0, kept.length), numel(sizes.slice(kept.length))]);
  const others = mul(exclusiveProduct(flat), exclusiveProduct(flat, true));
  const inverse = order.map((_, d) => order.indexOf(d));
  return permute(reshape(others, sizes), inverse);
}

/**
 * `torch.prod`; its gradient is right with zeros among the factors. Bool and integers give int32, exactly.
 *
 * @throws (at the next await) DataError when an integer product does not fit int32
 */
export const prod: (x: Tensor, ...args: DimArgs<DtypeOptions>) => Tensor = entered(
  'prod',
  (x: Tensor, ...args: DimArgs<DtypeOptions>): Tensor => {
    const { dim, keepdim, dtype } = readProd(args);
    const source = dtype === null ? x : to(x, dtype);
    return prodOp(source, normalizeDims('prod', dim, x.ndim), keepdim);
  },
);

const logsumexpOp: (x: Tensor, dims: readonly number[], keepdim: boolean) => Tensor = defineOp<
  [Tensor, readonly number[], boolean],
  Tensor,
  Span
>({
  name: 'logsumexp',
  forward(ctx, x, dims, keepdim) {
    ctx.state = { shape: x.shape, dims };
    const out = runReduce({
      name: 'logsumexp',
      recipe: reductions.logsumexp,
      inputs: [x],
      dims,
      keepdim,
      // Of large values float16 keeps too little for the gradient's exponential.
      dtypes: ['float32'],
    })[0] as Tensor;
    ctx.save(x, out);
    return out;
  },
  backward(ctx, grad) {
    const [x, out] = ctx.saved as [Tensor, Tensor];
    return [() => to(mul(spread(grad, ctx.state), exp(sub(x, spread(out, ctx.state)))), x.dtype)];
  },
});

type LogsumexpArgs = Needed<[dim: Dims], ['dim'], [keepdim: boolean], KeepdimOptions>;

/** `torch.logsumexp`: `log(sum(exp(x)))` without overflow. */
export const logsumexp: (x: Tensor, ...args: LogsumexpArgs) => Tensor = defineComposite(
  'logsumexp',
  (x: Tensor, ...args: LogsumexpArgs): Tensor => {
    const { dim, keepdim } = readLogsumexp(args);
    const source = to(x, toFloatType(x.dtype));
    return to(logsumexpOp(source, normalizeDims('logsumexp', dim, x.ndim), keepdim), source.dtype);
  },
);

function truth(name: 'any' | 'all'): (x: Tensor, ...args: DimArgs<KeepdimOptions>) => Tensor {
  const read = optionReader(name, overDims, 'dim', 'keepdim');
  return (x, ...args) => {
    const { dim, keepdim } = read(args);
    const bools = to(x, 'bool');
    const recipe: Reduction = { ...reductions[name], finish: [input(0, 'u32')] };
    const dims = normalizeDims(name, dim, x.ndim);
    if (numel(bools.shape) === 0) return emptyTruth(name, x, dims, keepdim);
    return runReduce({
      name,
      recipe,
      inputs: [bools],
      dims,
      keepdim,
      dtypes: ['bool'],
    })[0] as Tensor;
  };
}

/** Over nothing, `any` is false and `all` is true. */
function emptyTruth(name: 'any' | 'all', x: Tensor, dims: readonly number[], keepdim: boolean): Tensor {
  const count = sumDims(to(x, 'int32'), dims, keepdim);
  return name === 'all' ? eq(count, 0) : eq(count, 1);
}

/** `torch.any`. */
export const any: (x: Tensor, ...args: DimArgs<KeepdimOptions>) => Tensor = defineComposite(
  'any',
  truth('any'),
);
/** `torch.all`. */
export const all: (x: Tensor, ...args: DimArgs<KeepdimOptions>) => Tensor = defineComposite(
  'all',
  truth('all'),
);

type CountArgs = Trailing<[dim: Dims], { dim?: Dims }>;
const readCount = optionReader('countNonzero', { dim: null as Dims }, 'dim');

/** `torch.count_nonzero`, int32. */
export const countNonzero: (x: Tensor, ...args: CountArgs) => Tensor = defineComposite(
  'countNonzero',
  (x: Tensor, ...args: CountArgs): Tensor =>
    sumDims(to(x, 'bool'), normalizeDims('countNonzero', readCount(args).dim, x.ndim), false),
);
