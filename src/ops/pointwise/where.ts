import { entered } from '../../autograd/define.js';
import { dtypeInfo } from '../../kernels/base/dtype.js';
import { e, input, param, type Expr } from '../../kernels/expr/expr.js';
import { elementOf, isFloatingPoint, resultType, type DType } from '../../tensor/dtype.js';
import { isTensor, type Tensor } from '../../tensor/tensor.js';
import { applyInPlace, applyPointwise, type Pointwise } from '../base/apply.js';
import type { Operand } from '../base/row.js';
import { argumentReader, checkCount, type Needed, requireNumber } from '../../tensor/options.js';

/*
 * Choice by a bool condition. The condition keeps its own dtype, so these are not rows of the promoting
 * table.
 */

const compiled = new Map<string, { op: Pointwise; params: readonly (0 | 1)[] }>();

function choose(name: string, condition: Tensor, a: Operand, b: Operand, common: DType) {
  const kind = (x: Operand): string => (isTensor(x) ? x.dtype : 'number');
  const key = `${name}:${condition.dtype}:${kind(a)}:${kind(b)}:${common}`;
  let entry = compiled.get(key);
  if (entry === undefined) {
    const inputs: DType[] = [condition.dtype];
    const names: string[] = [];
    const params: (0 | 1)[] = [];
    const compute = dtypeInfo[common].compute;
    const load = (x: Operand, side: 0 | 1): Expr => {
      if (isTensor(x)) return e.cast(input(inputs.push(x.dtype) - 1, dtypeInfo[x.dtype].compute), compute);
      const label = side === 0 ? 'a' : 'b';
      names.push(label);
      params.push(side);
      return compute === 'bool' ? e.ne(param(label, 'u32'), 0) : param(label, compute);
    };
    const test = e.cast(input(0, dtypeInfo[condition.dtype].compute), 'bool');
    const [left, right] = [load(a, 0), load(b, 1)];
    const n = inputs.length;
    const g = input(n);
    const flows = [
      null,
      ...(isTensor(a) ? [e.select(test, g, 0)] : []),
      ...(isTensor(b) ? [e.select(test, 0, g)] : []),
    ];
    const grads = isFloatingPoint(common)
      ? flows.map((flow, i) => (i > 0 && isFloatingPoint(inputs[i] as DType) ? flow : null))
      : undefined;
    entry = {
      op: {
        name,
        expr: e.select(test, left, right),
        inputs,
        dtype: common,
        params: names,
        ...(grads && { grads }),
      },
      params,
    };
    compiled.set(key, entry);
  }
  const tensors = [condition, ...[a, b].filter(isTensor)];
  const number = (side: 0 | 1): number => elementOf(name, Number(side === 0 ? a : b), common);
  return { op: entry.op, tensors, params: entry.params.map(number) };
}

/** @internal */
export function checkCondition(op: string, condition: Tensor): void {
  if (!isTensor(condition))
    throw new Error(`${op}: the condition must be a bool tensor, got ${String(condition)}`);
  if (condition.dtype !== 'bool' && condition.dtype !== 'uint8')
    throw new Error(`${op}: the condition must be bool, got ${condition.dtype}`);
}

/** `torch.where`: `a` where `condition` is true, `b` elsewhere; all three broadcast. */
export const where: (condition: Tensor, a: Operand, b: Operand) => Tensor = entered('where', (...args) => {
  checkCount('where', args.length, 3);
  const [condition, a, b] = args;
  checkCondition('where', condition);
  for (const chosen of [a, b]) if (!isTensor(chosen)) requireNumber('where', chosen);
  const { op, tensors, params } = choose('where', condition, a, b, resultType(a, b));
  return applyPointwise(op, tensors, params);
});

type FillValue = number | boolean | Tensor;
type MaskValue = Needed<[mask: Tensor, value: FillValue], ['mask', 'value']>;
const readMaskedFill = argumentReader<[mask: Tensor, value: FillValue]>('maskedFill', 'mask', 'value');
const readMaskedFillInPlace = argumentReader<[mask: Tensor, value: FillValue]>(
  'maskedFill_',
  'mask',
  'value',
);

/** `torch.Tensor.masked_fill`: `value` where `mask` is true, else `x`. */
export const maskedFill: (x: Tensor, ...args: MaskValue) => Tensor = entered('maskedFill', (x, ...args) => {
  const [mask, value] = readMaskedFill(args);
  checkCondition('maskedFill', mask);
  if (!isTensor(value)) requireNumber('maskedFill', value);
  const { op, tensors, params } = choose('maskedFill', mask, value, x, x.dtype);
  return applyPointwise(op, tensors, params);
});

const filled = new Map<string, Pointwise>();

/** `torch.Tensor.masked_fill_`; `value` may be a zero-dim tensor. */
export function maskedFill_(x: Tensor, ...args: MaskValue): Tensor {
  const [mask, value] = readMaskedFillInPlace(args);
  checkCondition('maskedFill_', mask);
  const given = isTensor(value) ? value.dtype : null;
  if (isTensor(value) && value.ndim !== 0)
    throw new Error(`maskedFill_: value must be a number or a zero-dim tensor, got ${value.toString()}`);
  const key = `${x.dtype}:${mask.dtype}:${given ?? ''}`;
  let op = filled.get(key);
  if (op === undefined) {
    const compute = dtypeInfo[x.dtype].compute;
    const test = e.cast(input(1, mask.dtype === 'bool' ? 'bool' : 'u32'), 'bool');
    const number = compute === 'bool' ? e.ne(param('value', 'u32'), 0) : param('value', compute);
    const fill = given === null ? number : e.cast(input(2, dtypeInfo[given].compute), compute);
    const g = input(given === null ? 2 : 3);
    const toValue = given === null ? [] : [isFloatingPoint(given) ? e.select(test, g, 0) : null];
    op = {
      name: 'maskedFill_',
      expr: e.select(test, fill, input(0, compute)),
      inputs: [x.dtype, mask.dtype, ...(given === null ? [] : [given])],
      dtype: x.dtype,
      params: given === null ? ['value'] : [],
      ...(isFloatingPoint(x.dtype) && { grads: [e.select(test, 0, g), null, ...toValue] }),
    };
    filled.set(key, op);
  }
  if (isTensor(value)) return applyInPlace(op, [x, mask, value]);
  return applyInPlace(
    op,
    [x, mask],
    [elementOf('maskedFill_', requireNumber('maskedFill_', value), x.dtype)],
  );
}
