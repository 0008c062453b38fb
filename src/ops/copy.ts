import { defineOp } from '../autograd/define.js';
import { registerPrimitives } from '../autograd/primitives.js';
import { dtypeInfo } from '../kernels/base/dtype.js';
import { e, input, param, type Expr } from '../kernels/expr/expr.js';
import { elementOf, isDType, isFloatingPoint, type DType } from '../tensor/dtype.js';
import {
  broadcastShapes,
  channelsLastStrides,
  contiguousStrides,
  denseStrides,
  isChannelsLast,
  isContiguous,
  isDense,
  sameShape,
  showShape,
  stridesLike,
} from '../tensor/shape.js';
import { Tensor } from '../tensor/tensor.js';
import { applyInPlace, isRecordedWrite, launchPointwise, type Pointwise } from './apply.js';
import { rowMajorTwin, tied } from './layout.js';
import { sumTo } from './sum-to.js';
import { checkWrite } from './write.js';

/** How a tensor's elements lie in memory, as PyTorch names it. */
export type MemoryFormat = 'contiguous' | 'channelsLast' | 'preserve';

const casts = new Map<string, Pointwise>();

function castOp(from: DType, to: DType): Pointwise {
  const key = `${from}>${to}`;
  let op = casts.get(key);
  if (op === undefined) {
    const x = input(0, dtypeInfo[from].compute);
    op = {
      name: from === to ? 'copy' : 'to',
      expr: e.cast(x, dtypeInfo[to].compute),
      inputs: [from],
      dtype: to,
      params: [],
    };
    casts.set(key, op);
  }
  return op;
}

/** @internal Writes `source` (broadcast, converted) over `target`, outside the tape. */
export function copyInto(target: Tensor, source: Tensor): void {
  launchPointwise(castOp(source.dtype, target.dtype), [source], [], target, true);
}

/** `own`: the order is the engine's choice (`Storage.ownOrder`). */
const copyOp = defineOp<[Tensor, DType, readonly number[], boolean], Tensor, DType>({
  name: 'clone',
  forward(ctx, x, dtype, strides, own) {
    ctx.state = x.dtype;
    const out = Tensor.empty(x.shape, dtype, 'clone', strides);
    out.storage.ownOrder = own;
    launchPointwise(castOp(x.dtype, dtype), [x], [], out, false);
    return out;
  },
  backward: (ctx, grad) => [() => to(grad, ctx.state)],
});

/** @internal A copy with the given dense strides, which are the engine's choice unless `own` is false. */
export const copyAs = (x: Tensor, strides: readonly number[], own = true): Tensor =>
  copyOp(x, x.dtype, strides, own);

function formatStrides(op: string, x: Tensor, format: MemoryFormat): readonly number[] {
  if (format === 'contiguous') return contiguousStrides(x.shape);
  if (format === 'channelsLast') {
    if (x.ndim !== 4)
      throw new Error(`${op}: channelsLast needs a 4-dimensional tensor, got shape ${showShape(x.shape)}`);
    return channelsLastStrides(x.shape);
  }
  if (format !== 'preserve')
    throw new Error(
      `${op}: memory format must be 'contiguous', 'channelsLast' or 'preserve', got '${String(format)}'`,
    );
  return x.isDense() ? stridesLike(x.shape, x.shape, x.strides) : denseStrides(x.shape, x.strides);
}

const ownOrderOf = (x: Tensor, format: MemoryFormat): boolean => format === 'preserve' && x.storage.ownOrder;

/**
 * `torch.Tensor.contiguous`: the tensor itself when its memory already has the format, else a copy that has.
 * Where PyTorch's answer would be the other one, because the engine stores images channels-last, the result
 * is tied to `x` (layout.ts).
 */
export function contiguous(
  x: Tensor,
  { memoryFormat = 'contiguous' }: { memoryFormat?: MemoryFormat } = {},
): Tensor {
  const hasFormat = memoryFormat === 'channelsLast' ? isChannelsLast : isContiguous;
  const same = hasFormat(x.shape, x.strides);
  const result = same ? x : copyOp(x, x.dtype, formatStrides('contiguous', x, memoryFormat), false);
  const twin = rowMajorTwin(x);
  if (twin === null || hasFormat(x.shape, twin) === same) return result;
  return tied('contiguous', same ? aliasOf(x) : result, x);
}

/** Another handle on the same memory, on the tape. */
export const aliasOf: (x: Tensor) => Tensor = defineOp<[Tensor], Tensor>({
  name: 'alias',
  forward: (_, x) => x.alias(),
  backward: (_, grad) => [() => grad],
});

/** `torch.clone`: a copy; dense tensors keep their memory order unless a format is given. */
export function clone(
  x: Tensor,
  { memoryFormat = 'preserve' }: { memoryFormat?: MemoryFormat } = {},
): Tensor {
  return copyOp(x, x.dtype, formatStrides('clone', x, memoryFormat), ownOrderOf(x, memoryFormat));
}

export interface ToOptions {
  dtype?: DType;
  memoryFormat?: MemoryFormat;
  copy?: boolean;
}

/**
 * `torch.Tensor.to`: another dtype and/or memory format; the tensor itself when nothing changes. Floats
 * outside int32, and NaN, give an undefined integer, as in PyTorch.
 */
export function to(x: Tensor, target: DType | ToOptions): Tensor {
  const {
    dtype = x.dtype,
    memoryFormat = 'preserve',
    copy = false,
  } = typeof target === 'string' ? { dtype: target } : target;
  if (!isDType(dtype))
    throw new Error(`to: '${String(dtype)}' is not a dtype (float32, float16, int32, uint8, bool)`);
  const strides = formatStrides('to', x, memoryFormat);
  const same =
    dtype === x.dtype &&
    (memoryFormat === 'preserve' || x.shape.every((size, i) => size === 1 || strides[i] === x.strides[i]));
  return same && !copy ? x : copyOp(x, dtype, strides, ownOrderOf(x, memoryFormat));
}

/** `torch.Tensor.float`. */
export function float(x: Tensor): Tensor {
  return to(x, 'float32');
}
/** `torch.Tensor.half`. */
export function half(x: Tensor): Tensor {
  return to(x, 'float16');
}
/** `torch.Tensor.int`. */
export function int(x: Tensor): Tensor {
  return to(x, 'int32');
}
/** `torch.Tensor.bool`. */
export function bool(x: Tensor): Tensor {
  return to(x, 'bool');
}
/** `torch.Tensor.type_as`. */
export function typeAs(x: Tensor, other: Tensor): Tensor {
  return to(x, other.dtype);
}

const copyInPlace = new Map<string, Pointwise>();

/** `torch.Tensor.copy_`: writes `source`, broadcast and converted, over this tensor. */
export function copy_(self: Tensor, source: Tensor): Tensor {
  const shape = broadcastShapes('copy_', self.shape, source.shape);
  if (!sameShape(shape, self.shape)) {
    throw new Error(
      `copy_: a source of shape ${showShape(source.shape)} does not fit a tensor of shape ${showShape(self.shape)}`,
    );
  }
  if (!isRecordedWrite([self, source])) {
    checkWrite('copy_', self, [source]);
    const safe = source.storage === self.storage ? clone(source) : source;
    self.storage.beginWrite('copy_');
    copyInto(self, safe);
    if (safe !== source) safe.dispose();
    return self;
  }
  const key = `${self.dtype}<${source.dtype}`;
  let op = copyInPlace.get(key);
  if (op === undefined) {
    const y: Expr = input(1, dtypeInfo[source.dtype].compute);
    op = {
      name: 'copy_',
      expr: e.cast(y, dtypeInfo[self.dtype].compute),
      inputs: [self.dtype, source.dtype],
      dtype: self.dtype,
      params: [],
      grads: [e.const(0), isFloatingPoint(source.dtype) ? input(2) : null],
    };
    copyInPlace.set(key, op);
  }
  return applyInPlace(op, [self, source]);
}

const fills = new Map<DType, Pointwise>();

function fillOp(dtype: DType): Pointwise {
  let op = fills.get(dtype);
  if (op === undefined) {
    const compute = dtypeInfo[dtype].compute;
    const value = compute === 'bool' ? e.ne(param('value', 'u32'), 0) : param('value', compute);
    op = { name: 'fill', expr: value, inputs: [], dtype, params: ['value'] };
    fills.set(dtype, op);
  }
  return op;
}

/** @internal Fills fresh or exclusively written memory, outside the tape. */
export function fillInto(target: Tensor, value: number, exact = true): void {
  const { dtype } = target;
  const stored = dtype === 'bool' ? Number(value !== 0) : elementOf('fill_', value, dtype);
  launchPointwise(fillOp(dtype), [], [stored], target, exact);
}

const fillInPlace = new Map<DType, Pointwise>();

/**
 * `torch.Tensor.fill_`; elements that share an address (`expand`) are no matter here.
 *
 * @throws RangeError for a value that an integer dtype does not hold
 */
export function fill_(self: Tensor, value: number | boolean): Tensor {
  if (isRecordedWrite([self])) {
    let op = fillInPlace.get(self.dtype);
    if (op === undefined)
      fillInPlace.set(
        self.dtype,
        (op = { ...fillOp(self.dtype), name: 'fill_', inputs: [self.dtype], grads: [e.const(0)] }),
      );
    return applyInPlace(op, [self], [Number(value)], { uniform: true });
  }
  checkWrite('fill_', self, [], { uniform: true });
  self.storage.beginWrite('fill_');
  fillInto(self, Number(value));
  return self;
}

/** `torch.Tensor.zero_`. */
export function zero_(self: Tensor): Tensor {
  return fill_(self, 0);
}

const sums = new Map<DType, Pointwise>();

/** @internal Adds `source`, of the same dtype, to `target`, outside the tape. */
export function addInto(target: Tensor, source: Tensor): void {
  const { dtype } = target;
  let op = sums.get(dtype);
  if (op === undefined) {
    const [a, b] = [0, 1].map((i) => input(i, dtypeInfo[dtype].compute)) as [Expr, Expr];
    sums.set(dtype, (op = { name: 'add_', expr: e.add(a, b), inputs: [dtype, dtype], dtype, params: [] }));
  }
  applyInPlace(op, [target, source]);
}

/** @internal A dense copy in the memory order of `like`. */
export function cloneLike(x: Tensor, like: Tensor): Tensor {
  const shaped = sameShape(x.shape, like.shape) ? x : sumTo(x, like.shape);
  const strides = isDense(like.shape, like.strides) ? like.strides : contiguousStrides(like.shape);
  return copyOp(shaped, like.dtype, strides, like.storage.ownOrder);
}

// An in-place write makes the tape copy what it was lent, also in a program that never runs it back.
registerPrimitives({ cloneLike });
