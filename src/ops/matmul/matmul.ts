import { checkCount } from '../../tensor/options.js';
import { runtime } from '../../device/index.js';
import { defineComposite, defineOp, entered } from '../../autograd/define.js';
import { mayOverflow } from '../../kernels/reduce/exact-int.js';
import { e } from '../../kernels/expr/expr.js';
import { planGemm } from '../../kernels/matmul/plan.js';
import { isFloatingPoint, promoteTypes } from '../../tensor/dtype.js';
import { broadcastShapes, numel, sameShape, showShape, viewStrides } from '../../tensor/shape.js';
import { Tensor } from '../../tensor/tensor.js';
import { clone } from '../base/copy.js';
import { fillInto, rowMajor } from '../base/copies.js';
import { add, mul } from '../pointwise/pointwise.js';
import { checkTensors } from '../base/tensors.js';
import { loaded, runReduce } from '../base/reduction.js';
import { sumDims } from '../base/sum-to.js';
import { elemOf, planLimits, runPlan } from '../base/run-plan.js';
import { expand, reshape, squeeze, transpose, unsqueeze } from '../base/view.js';
import { noteMultiplyAdds } from '../base/count-work.js';

/**
 * How the matrices of a [B, R, C] or [O, B, R, C] operand lie in memory: row-major or transposed, with one
 * stride from matrix to matrix, and one along O.
 */
interface MatrixLayout {
  readonly tensor: Tensor;
  readonly transposed: boolean;
  readonly ld: number;
  readonly batch: number;
  readonly outer: number;
}

function layoutOf(x: Tensor): MatrixLayout {
  const [r, c] = x.shape.slice(-2) as [number, number];
  const [sr, sc] = x.strides.slice(-2) as [number, number];
  const along = (dim: number): number =>
    x.ndim < -dim || x.shape.at(dim) === 1 ? 0 : (x.strides.at(dim) as number);
  const [batch, outer] = [along(-3), along(-4)];
  if ((sc === 1 || c === 1) && (sr >= c || r === 1))
    return { tensor: x, transposed: false, ld: r === 1 ? Math.max(c, 1) : sr, batch, outer };
  if ((sr === 1 || r === 1) && (sc >= r || c === 1))
    return { tensor: x, transposed: true, ld: c === 1 ? Math.max(r, 1) : sc, batch, outer };
  return layoutOf(clone(x, { memoryFormat: 'contiguous' }));
}

/**
 * [B, M, K] x [B, K, N] -> [B, M, N] in floats, or with a dim O before B in all three; operands may be
 * transposed, or shared by the batch through stride 0.
 */
const bmmOp: (a: Tensor, b: Tensor) => Tensor = defineOp<[Tensor, Tensor], Tensor>({
  name: 'matmul',
  forward(ctx, a, b) {
    const lead = a.shape.slice(0, -2);
    // Where PyTorch multiplies copies, what they are of may be written afterwards.
    const operands = [ctx.needs[1] ? a : null, ctx.needs[0] ? b : null];
    if (lead.length > 1) ctx.lend(...operands);
    else ctx.save(...operands);
    const [m, k] = a.shape.slice(-2) as [number, number];
    const n = b.shape.at(-1) as number;
    const batch = numel(lead);
    noteMultiplyAdds(batch * m * k * n);
    const out = Tensor.empty([...lead, m, n], a.dtype, 'matmul');
    if (out.numel() === 0) return out;
    if (k === 0) {
      fillInto(out, 0);
      return out;
    }
    const x = layoutOf(a);
    const y = layoutOf(b);
    const plan = planGemm(runtime().target, planLimits(), {
      m,
      n,
      k,
      transA: x.transposed,
      transB: y.transposed,
      lda: x.ld,
      ldb: y.ld,
      aOffset: x.tensor.offset,
      bOffset: y.tensor.offset,
      batch,
      aBatch: x.batch,
      bBatch: y.batch,
      elem: elemOf('matmul', a.dtype),
      ...(lead.length > 1 && { inner: lead[1] as number, aOuter: x.outer, bOuter: y.outer }),
    });
    runPlan('matmul', plan, { a: x.tensor, b: y.tensor, c: out });
    return out;
  },
  backward(ctx, grad) {
    const [a, b] = ctx.saved as [Tensor, Tensor];
    return [() => bmmOp(grad, transpose(b, -2, -1)), () => bmmOp(transpose(a, -2, -1), grad)];
  },
});

/** Integers have no fast path: they are rare, and exact products matter more than speed. */
function integerProduct(a: Tensor, b: Tensor): Tensor {
  const [left, right] = [unsqueeze(a, -1), unsqueeze(b, -3)];
  const shape = broadcastShapes('matmul', left.shape, right.shape);
  const [x, y] = [loaded(a.dtype), loaded(b.dtype, 1)];
  const exact = mayOverflow('exactDot', a.dtype, a.shape[a.ndim - 1] as number);
  const [out] = runReduce({
    name: 'matmul',
    recipe: exact ? { op: 'exactDot', map: x, factor: y } : { op: 'sum', map: e.mul(x, y) },
    inputs: [expand(left, shape), expand(right, shape)],
    dims: [shape.length - 2],
    keepdim: false,
    dtypes: ['int32'],
  });
  return out as Tensor;
}

function matrixProduct(a: Tensor, b: Tensor): Tensor {
  if (!isFloatingPoint(a.dtype)) return integerProduct(a, b);
  const lead = a.shape.slice(0, -2);
  const [m, k] = a.shape.slice(-2) as [number, number];
  const n = b.shape[b.ndim - 1] as number;
  if (b.ndim === 2) {
    const flat = reshape(a, [1, numel(lead) * m, k]);
    return reshape(bmmOp(flat, unsqueeze(b, 0)), [...lead, m, n]);
  }
  const batch = broadcastShapes('matmul', lead, b.shape.slice(0, -2));
  const [left, right] = [spread(a, batch), spread(b, batch)];
  const leads = leadOf(batch, left, right);
  const seen = (x: Tensor): Tensor => reshape(x, [...leads, ...x.shape.slice(-2)]);
  return reshape(bmmOp(seen(left), seen(right)), [...batch, m, n]);
}

/** The matrices of `x` for each entry of `batch`. */
const spread = (x: Tensor, batch: readonly number[]): Tensor =>
  sameShape(x.shape.slice(0, -2), batch) ? x : expand(x, [...batch, ...x.shape.slice(-2)]);

/**
 * `batch` as one dim, or as two where `a` and `b` can be seen so as they lie, and not as one (heads of
 * attention, which are taken from between other dims).
 */
function leadOf(batch: readonly number[], a: Tensor, b: Tensor): readonly number[] {
  const canBe = (leads: readonly number[]): boolean =>
    [a, b].every((x) => viewStrides(x.shape, x.strides, [...leads, ...x.shape.slice(-2)]) !== null);
  const whole = [numel(batch)];
  if (batch.length < 2 || canBe(whole)) return whole;
  for (let at = 1; at < batch.length; at++) {
    const two = [numel(batch.slice(0, at)), numel(batch.slice(at))];
    if (canBe(two)) return two;
  }
  return whole;
}

function clash(op: string, a: Tensor, b: Tensor, why: string): Error {
  return new Error(
    `${op}: shapes ${showShape(a.shape)} and ${showShape(b.shape)} cannot be multiplied: ${why}`,
  );
}

/**
 * `torch.matmul` in all its forms: dot product, matrix-vector, matrix-matrix, and batches that broadcast.
 * Integers and bool give int32, exactly.
 *
 * @throws (at the next await) DataError when an integer result does not fit int32
 */
export const matmul: (a: Tensor, b: Tensor) => Tensor = defineComposite(
  'matmul',
  (a: Tensor, b: Tensor): Tensor => {
    if (a.ndim === 0 || b.ndim === 0)
      throw clash('matmul', a, b, 'both need at least one dim; use mul for scalars');
    if (a.dtype !== b.dtype)
      throw new Error(
        `matmul: dtypes ${a.dtype} and ${b.dtype} differ (both would fit ${promoteTypes(a.dtype, b.dtype)}); convert one with .to()`,
      );
    const inner = b.ndim === 1 ? 0 : b.ndim - 2;
    if (a.shape[a.ndim - 1] !== b.shape[inner]) {
      throw clash(
        'matmul',
        a,
        b,
        `the last dim of the first (${a.shape[a.ndim - 1]}) must equal dim ${inner} of the second (${b.shape[inner]})`,
      );
    }
    const left = a.ndim === 1 ? unsqueeze(a, 0) : a;
    const right = b.ndim === 1 ? unsqueeze(b, 1) : b;
    let out = matrixProduct(left, right);
    if (b.ndim === 1) out = squeeze(out, -1);
    if (a.ndim === 1) out = squeeze(out, b.ndim === 1 ? -1 : -2);
    return out;
  },
  2,
);

function checkRanks(op: string, a: Tensor, rankA: number, b: Tensor, rankB: number, why: string): void {
  checkTensors(op, a, b);
  if (a.ndim !== rankA || b.ndim !== rankB) throw clash(op, a, b, why);
}

const fixedRank =
  (op: string, rank: number) =>
  (...args: [a: Tensor, b: Tensor]): Tensor => {
    checkCount(op, args.length, 2);
    const [a, b] = args;
    checkRanks(op, a, rank, b, rank, `both must have ${rank} dims; use matmul`);
    if (rank === 3 && a.shape[0] !== b.shape[0]) throw clash(op, a, b, 'the batch sizes differ');
    return matmul(a, b);
  };

/** `torch.mm`: [M, K] x [K, N]. */
export const mm: (a: Tensor, b: Tensor) => Tensor = fixedRank('mm', 2);
/** `torch.bmm`: [B, M, K] x [B, K, N]. */
export const bmm: (a: Tensor, b: Tensor) => Tensor = fixedRank('bmm', 3);

/** `torch.mv`: [M, K] x [K]. */
export function mv(a: Tensor, b: Tensor): Tensor {
  checkCount('mv', arguments.length, 2);
  checkRanks('mv', a, 2, b, 1, 'expected a matrix and a vector');
  return matmul(a, b);
}

/** `torch.dot`: the sum of products of two vectors. */
export const dot: (a: Tensor, b: Tensor) => Tensor = entered('dot', (...args: [a: Tensor, b: Tensor]) => {
  checkCount('dot', args.length, 2);
  const [a, b] = args;
  checkRanks('dot', a, 1, b, 1, 'expected two vectors');
  return matmul(a, b);
});

/** `torch.outer`: [M] and [N] give [M, N]. Integers past int32 wrap, as in `mul`. */
export function outer(a: Tensor, b: Tensor): Tensor {
  checkCount('outer', arguments.length, 2);
  checkRanks('outer', a, 1, b, 1, 'expected two vectors');
  return mul(unsqueeze(a, 1), unsqueeze(b, 0));
}

/** [M, K] with W [N, K] and b [N]. */
const linearOp: (x: Tensor, w: Tensor, b: Tensor | null) => Tensor = defineOp<
  [Tensor, Tensor, Tensor | null],
  Tensor
>({
  name: 'linear',
  forward(ctx, x, w, b) {
    ctx.save(ctx.needs[1] ? x : null, ctx.needs[0] ? w : null);
    const [m, k] = x.shape as [number, number];
    const n = w.shape[0] as number;
    noteMultiplyAdds(m * k * n);
    const out = Tensor.empty([m, n], x.dtype, 'linear');
    if (out.numel() === 0) return out;
    if (k === 0) {
      fillInto(out, 0);
      return b === null ? out : add(out, b);
    }
    const rows = layoutOf(unsqueeze(x, 0));
    const columns = layoutOf(unsqueeze(w, 0));
    const plan = planGemm(runtime().target, planLimits(), {
      m,
      n,
      k,
      transA: rows.transposed,
      transB: !columns.transposed,
      lda: rows.ld,
      ldb: columns.ld,
      aOffset: rows.tensor.offset,
      bOffset: columns.tensor.offset,
      epilogue: { bias: b !== null },
      elem: elemOf('linear', x.dtype),
    });
    runPlan('linear', plan, { a: rows.tensor, b: columns.tensor, c: out, ...(b && { bias: rowMajor(b) }) });
    return out;
  },
  backward(ctx, grad) {
    const [x, w] = ctx.saved as [Tensor, Tensor];
    return [() => mm(grad, w), () => mm(transpose(grad, 0, 1), x), () => sumDims(grad, [0], false)];
  },
});

/** `torch.nn.functional.linear`: `x` [..., K] with `w` [N, K] and `b` [N] gives `x @ w.T + b`, [..., N]. */
export const linear: (x: Tensor, w: Tensor, b?: Tensor | null) => Tensor = defineComposite(
  'linear',
  (x: Tensor, w: Tensor, b: Tensor | null = null): Tensor => {
    const k = x.shape[x.ndim - 1];
    if (w.ndim !== 2 || x.ndim === 0 || k !== w.shape[1]) {
      throw new Error(
        `linear: input ${showShape(x.shape)} does not fit weight ${showShape(w.shape)}: the input's last dim must be ${w.ndim === 2 ? w.shape[1] : 'the weight’s second'}` +
          (x.ndim === 4 && w.ndim === 2 ? '; flatten the input first (flatten(1))' : ''),
      );
    }
    if (b !== null && !(b.ndim === 1 && b.shape[0] === w.shape[0])) {
      throw new Error(
        `linear: bias ${showShape(b.shape)} does not fit the ${w.shape[0]} outputs of weight ${showShape(w.shape)}`,
      );
    }
    elemOf('linear', x.dtype);
    if (w.dtype !== x.dtype || (b !== null && b.dtype !== x.dtype)) {
      throw new Error(
        `linear: input is ${x.dtype}, weight ${w.dtype}${b ? `, bias ${b.dtype}` : ''}; convert with .to()`,
      );
    }
    const lead = x.shape.slice(0, -1);
    if (x.ndim === 2) return linearOp(x, w, b);
    return reshape(linearOp(reshape(x, [numel(lead), k as number]), w, b), [...lead, w.shape[0] as number]);
  },
  3,
);
