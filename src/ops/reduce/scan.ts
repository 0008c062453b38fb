import { type Needed, optionReader, required } from '../../tensor/options.js';
import { runtime } from '../../device/index.js';
import { defineOp, entered } from '../../autograd/define.js';
import { isGradEnabled } from '../../autograd/mode.js';
import { mayOverflow } from '../../kernels/reduce/exact-int.js';
import { planScan, type ScanOp } from '../../kernels/reduce/scan.js';
import { isFloatingPoint, type DType, type DTypeName } from '../../tensor/dtype.js';
import { normalizeDim } from '../../tensor/shape.js';
import { Tensor } from '../../tensor/tensor.js';
import { eq, ge, gt, logicalAnd } from '../pointwise/compare.js';
import { to } from '../base/copy.js';
import { arange, ones } from '../creation/creation.js';
import { cat, flip } from '../shape/join.js';
import { overwrite } from '../base/overwrite.js';
import { trueDivide as div, mul } from '../pointwise/pointwise.js';
import { planLimits, runPlan } from '../base/run-plan.js';
import { sumDims } from '../base/sum-to.js';
import { movedim, narrow, unsqueeze } from '../base/view.js';
import { maskedFill, where } from '../pointwise/where.js';

/** @internal */
export interface ScanState {
  readonly dim: number;
  readonly reverse: boolean;
}

/** @internal */
export type Scan = (x: Tensor, dim: number, reverse: boolean) => Tensor;

interface ScanCall {
  readonly name: string;
  readonly op: ScanOp;
  readonly x: Tensor;
  readonly dim: number;
  readonly reverse?: boolean;
  readonly dtype?: DType;
}

/** @internal The running value, outside the tape; of `cummax` and `cummin` its place too. */
export function runScan({ name, op, x, dim, reverse = false, dtype = x.dtype }: ScanCall): Tensor[] {
  const made = (type: DType): Tensor =>
    Tensor.empty(x.shape, type, name, x.isDense() ? x.strides : undefined, x);
  const out = made(dtype);
  const indices = op === 'cummax' || op === 'cummin' ? made('int32') : undefined;
  const results = { x, out, ...(indices && { indices }) };
  if (out.numel() > 0)
    runPlan(
      name,
      planScan(runtime().target, { name, op, dim, reverse, ...results, ...planLimits() }),
      results,
    );
  return indices ? [out, indices] : [out];
}

/** A running sum or product: integers exactly, floats with little error. */
function accumulated(kind: 'sum' | 'prod', x: Tensor, dim: number, reverse: boolean): Tensor {
  const exact = kind === 'sum' ? 'exactSum' : 'exactProd';
  const float = isFloatingPoint(x.dtype);
  const op = mayOverflow(exact, x.dtype, x.shape[dim] as number)
    ? exact
    : float && kind === 'sum'
      ? 'compensatedSum'
      : kind;
  const dtype = float ? x.dtype : 'int32';
  return runScan({ name: `cum${kind}`, op, x, dim, reverse, dtype })[0] as Tensor;
}

const cumsumOp: Scan = defineOp<[Tensor, number, boolean], Tensor, ScanState>({
  name: 'cumsum',
  forward(ctx, x, dim, reverse) {
    ctx.state = { dim, reverse };
    return accumulated('sum', x, dim, reverse);
  },
  backward: (ctx, grad) => [() => cumsumOp(grad, ctx.state.dim, !ctx.state.reverse)],
});

const cumprodOp: (x: Tensor, dim: number) => Tensor = defineOp<[Tensor, number], Tensor, number>({
  name: 'cumprod',
  forward(ctx, x, dim) {
    ctx.state = dim;
    const out = accumulated('prod', x, dim, false);
    ctx.save(x, out);
    return out;
  },
  backward(ctx, grad) {
    const [x, out] = ctx.saved as [Tensor, Tensor];
    const dim = ctx.state;
    if (isGradEnabled()) return [() => differentiable(x, grad, dim)];
    return [
      () => {
        // Before the first zero the sum of g * out behind each element, over the element; at it, the same
        // with the zero taken out; behind it nothing, since every product there is zero.
        const isZero = eq(x, 0);
        const zerosSoFar = cumsumOp(isZero, dim, false);
        const first = logicalAnd(isZero, eq(zerosSoFar, 1));
        const without = cumprodOp(maskedFill(x, first, 1), dim);
        const plain = div(cumsumOp(mul(grad, out), dim, true), maskedFill(x, isZero, 1));
        const atFirst = cumsumOp(mul(grad, without), dim, true);
        return where(eq(zerosSoFar, 0), plain, where(first, atFirst, 0));
      },
    ];
  },
});

/**
 * The gradient of `cumprod` without a division, so that its own gradient is right where factors are zero: of
 * factor k it is the product before it times the sum of `grad[j]` times the product of the factors between k
 * and j, for j from k on. It takes n^2 numbers.
 */
function differentiable(x: Tensor, grad: Tensor, dim: number): Tensor {
  const factors = movedim(x, dim, -1);
  const n = factors.shape[factors.ndim - 1] as number;
  const [row, column] = [unsqueeze(arange(n), 1), arange(n)];
  const after = where(gt(column, row), unsqueeze(factors, -2), 1);
  const between = where(ge(column, row), cumprodOp(after, after.ndim - 1), 0);
  const behind = sumDims(mul(between, unsqueeze(movedim(grad, dim, -1), -2)), [-1], false);
  return movedim(mul(exclusiveProduct(factors), behind), -1, dim);
}

/**
 * @internal Along the last dim, the product of all elements before each, or behind it. Differentiable also
 * where they are zero.
 */
export function exclusiveProduct(x: Tensor, behind = false): Tensor {
  const last = x.ndim - 1;
  const n = x.shape[last] as number;
  if (n === 0) return x;
  const one = ones([...x.shape.slice(0, -1), 1], { dtype: x.dtype });
  if (!behind) return cumprodOp(cat([one, narrow(x, last, 0, n - 1)], last), last);
  return flip(cumprodOp(cat([one, flip(narrow(x, last, 1, n - 1), last)], last), last), last);
}

export interface ScanOptions {
  dtype?: DTypeName;
}

export type ScanArgs = Needed<[dim: number], ['dim'], [], ScanOptions>;

const scanDefaults = { dim: required<number>(), dtype: undefined as DTypeName | undefined };
const readScanSum = optionReader('cumsum', scanDefaults, 'dim');
const readScanProduct = optionReader('cumprod', scanDefaults, 'dim');

/**
 * `torch.cumsum`: running sums along `dim`; bool and integers give int32, exactly.
 *
 * @throws (at the next await) DataError when one of them does not fit int32
 */
export const cumsum: (x: Tensor, ...args: ScanArgs) => Tensor = entered(
  'cumsum',
  (x: Tensor, ...args: ScanArgs): Tensor => {
    const { dim, dtype } = readScanSum(args);
    const source = dtype === undefined ? x : to(x, dtype);
    const d = normalizeDim('cumsum', dim, x.ndim);
    return x.ndim === 0 ? to(source, { copy: true }) : cumsumOp(source, d, false);
  },
);

/**
 * `torch.cumprod`: running products along `dim`; bool and integers give int32, exactly.
 *
 * @throws (at the next await) DataError when one of them does not fit int32
 */
export const cumprod: (x: Tensor, ...args: ScanArgs) => Tensor = entered(
  'cumprod',
  (x: Tensor, ...args: ScanArgs): Tensor => {
    const { dim, dtype } = readScanProduct(args);
    const source = dtype === undefined ? x : to(x, dtype);
    const d = normalizeDim('cumprod', dim, x.ndim);
    return x.ndim === 0 ? to(source, { copy: true }) : cumprodOp(source, d);
  },
);

/** `torch.Tensor.cumsum_`. */
export const cumsum_ = (x: Tensor, ...args: ScanArgs): Tensor =>
  overwrite('cumsum_', x, () => cumsum(x, ...args));

/** `torch.Tensor.cumprod_`. */
export const cumprod_ = (x: Tensor, ...args: ScanArgs): Tensor =>
  overwrite('cumprod_', x, () => cumprod(x, ...args));
