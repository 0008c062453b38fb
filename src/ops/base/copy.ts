import { currentInterceptor } from '../../autograd/mode.js';
import { checkTensors } from './tensors.js';
import { dtypeInfo } from '../../kernels/base/dtype.js';
import { e, input, type Expr } from '../../kernels/expr/expr.js';
import {
  dtypeNamed,
  isDeviceName,
  isFloatingPoint,
  type DeviceName,
  type DTypeName,
} from '../../tensor/dtype.js';
import { broadcastShapes, isChannelsLast, isContiguous, sameShape, showShape } from '../../tensor/shape.js';
import { checkCount, optionReader, requireNumber, type Trailing } from '../../tensor/options.js';
import { isTensor, type Tensor } from '../../tensor/tensor.js';
import { applyInPlace, isRecordedWrite, type Pointwise } from './apply.js';
import {
  aliasOf,
  copyInto,
  copyOp,
  fillInto,
  fillOp,
  formatStrides,
  ownOrderOf,
  type MemoryFormat,
} from './copies.js';
import { rowMajorTwin, tied } from './layout.js';
import { checkWrite } from './write.js';

export type { MemoryFormat };

type FormatArgs = Trailing<[], { memoryFormat?: MemoryFormat }>;
const readContiguous = optionReader('contiguous', { memoryFormat: 'contiguous' as MemoryFormat });
const readClone = optionReader('clone', { memoryFormat: 'preserve' as MemoryFormat });

/**
 * `torch.Tensor.contiguous`: the tensor itself when its memory already has the format, else a copy that has.
 * Where PyTorch's answer would be the other one, because the engine stores images channels-last, the result
 * is tied to `x` (layout.ts).
 */
export function contiguous(x: Tensor, ...args: FormatArgs): Tensor {
  checkTensors('contiguous', x);
  const { memoryFormat } = readContiguous(args);
  const hasFormat = memoryFormat === 'channelsLast' ? isChannelsLast : isContiguous;
  const strides = formatStrides('contiguous', x, memoryFormat);
  const same = hasFormat(x.shape, x.strides);
  const result = same ? x : copyOp(x, x.dtype, strides, false);
  const twin = rowMajorTwin(x);
  if (twin === null || hasFormat(x.shape, twin) === same) return result;
  return tied('contiguous', same ? aliasOf(x) : result, x);
}

/** `torch.clone`: a copy; dense tensors keep their memory order unless a format is given. */
export function clone(x: Tensor, ...args: FormatArgs): Tensor {
  checkTensors('clone', x);
  const { memoryFormat } = readClone(args);
  return copyOp(x, x.dtype, formatStrides('clone', x, memoryFormat), ownOrderOf(x, memoryFormat));
}

export interface ToOptions {
  dtype?: DTypeName;
  memoryFormat?: MemoryFormat;
  copy?: boolean;
  /** Taken so that PyTorch's code runs, and not looked at: there is one device. */
  device?: unknown;
}

const readTo = optionReader('to', {
  dtype: null as DTypeName | null,
  memoryFormat: 'preserve' as MemoryFormat,
  copy: false,
  device: null as unknown,
});

/**
 * `torch.Tensor.to`: another dtype (or that of another tensor) and/or memory format; the tensor itself when
 * nothing changes, as for the name of a device, of which there is one. Floats outside int32, and NaN, give an
 * undefined integer, as in PyTorch.
 */
export function to(
  x: Tensor,
  target: DTypeName | DeviceName | Tensor | ToOptions,
  options?: ToOptions,
): Tensor {
  checkTensors('to', x);
  checkCount('to', arguments.length, 3);
  const named = typeof target === 'string' || isTensor(target);
  const { dtype: given, memoryFormat, copy } = readTo([(named ? options : target) ?? {}]);
  // Every tensor is on the one device.
  const placed = isDeviceName(target);
  const chosen = named && !placed ? (isTensor(target) ? target.dtype : target) : given;
  const dtype = chosen === null ? x.dtype : dtypeNamed('to', chosen);
  const strides = formatStrides('to', x, memoryFormat);
  const same =
    dtype === x.dtype &&
    (memoryFormat === 'preserve' || x.shape.every((size, i) => size === 1 || strides[i] === x.strides[i]));
  return same && !copy ? x : copyOp(x, dtype, strides, ownOrderOf(x, memoryFormat));
}

const cast =
  (op: string, dtype: DTypeName) =>
  (...args: [x: Tensor]): Tensor => {
    checkTensors(op, args[0]);
    checkCount(op, args.length, 1);
    return to(args[0], dtype);
  };

/** `torch.Tensor.float`. */
export const float: (x: Tensor) => Tensor = cast('float', 'float32');
/** `torch.Tensor.half`. */
export const half: (x: Tensor) => Tensor = cast('half', 'float16');
/** `torch.Tensor.int`. */
export const int: (x: Tensor) => Tensor = cast('int', 'int32');
/** `torch.Tensor.long`: int32, since the GPU has no int64. */
export const long: (x: Tensor) => Tensor = cast('long', 'int32');
/** `torch.Tensor.double`: float32, since the GPU has no float64. */
export const double: (x: Tensor) => Tensor = cast('double', 'float32');
/** `torch.Tensor.byte`: uint8. */
export const byte: (x: Tensor) => Tensor = cast('byte', 'uint8');
/** `torch.Tensor.bool`. */
export const bool: (x: Tensor) => Tensor = cast('bool', 'bool');
/** `torch.Tensor.type_as`. */
export function typeAs(x: Tensor, other: Tensor): Tensor {
  checkCount('typeAs', arguments.length, 2);
  checkTensors('typeAs', other);
  return to(x, other.dtype);
}

const copyInPlace = new Map<string, Pointwise>();

/** `torch.Tensor.copy_`: writes `source`, broadcast and converted, over this tensor. */
export function copy_(self: Tensor, source: Tensor): Tensor {
  checkCount('copy_', arguments.length, 2);
  checkTensors('copy_', source);
  const shape = broadcastShapes('copy_', self.shape, source.shape);
  if (!sameShape(shape, self.shape)) {
    throw new Error(
      `copy_: a source of shape ${showShape(source.shape)} does not fit a tensor of shape ${showShape(self.shape)}`,
    );
  }
  if (!isRecordedWrite([self, source])) {
    checkWrite('copy_', self, [source]);
    const written = currentInterceptor()?.write?.('copy_', copy_, [self, source]);
    const safe = source.storage === self.storage ? clone(source) : source;
    self.storage.beginWrite('copy_');
    copyInto(self, safe);
    written?.();
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

const fillInPlace = new Map<string, Pointwise>();

/**
 * `torch.Tensor.fill_`: a number, or what a zero-dim tensor holds; elements that share an address (`expand`)
 * are no matter for a number.
 *
 * @throws RangeError for a value that an integer dtype does not hold
 */
export function fill_(self: Tensor, value: number | boolean | Tensor): Tensor {
  checkCount('fill_', arguments.length, 2);
  if (!isTensor(value)) return filledBy('fill_', self, requireNumber('fill_', value));
  if (value.ndim > 0)
    throw new Error(`fill_: expected a number or a zero-dim tensor, got shape ${showShape(value.shape)}`);
  return copy_(self, value);
}

/** `torch.fill`: a tensor like `x` with `value` everywhere; see {@link fill_}. */
export function fill(x: Tensor, value: number | boolean | Tensor): Tensor {
  checkTensors('fill', x);
  checkCount('fill', arguments.length, 2);
  return fill_(clone(x), value);
}

/** `torch.Tensor.zero_`. */
export function zero_(self: Tensor): Tensor {
  checkTensors('zero_', self);
  checkCount('zero_', arguments.length, 1);
  return filledBy('zero_', self, 0);
}

function filledBy(name: string, self: Tensor, value: number): Tensor {
  const { dtype } = self;
  if (isRecordedWrite([self])) {
    const key = `${name}${dtype}`;
    let op = fillInPlace.get(key);
    if (op === undefined)
      fillInPlace.set(key, (op = { ...fillOp(dtype), name, inputs: [dtype], dtype, grads: [e.const(0)] }));
    return applyInPlace(op, [self], [value], { uniform: true });
  }
  checkWrite(name, self, [], { uniform: true });
  const written = currentInterceptor()?.write?.('fill_', fill_, [self, value]);
  self.storage.beginWrite(name);
  fillInto(self, value);
  written?.();
  return self;
}
