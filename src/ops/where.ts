import { dtypeInfo } from '../kernels/base/dtype.js';
import { e, input, param, type Expr } from '../kernels/expr/expr.js';
import { elementOf, isFloatingPoint, resultType, type DType } from '../tensor/dtype.js';
import { isTensor, type Tensor } from '../tensor/tensor.js';
import { applyInPlace, applyPointwise, type Pointwise } from './apply.js';
import type { Operand } from './row.js';

/* Choice by a bool condition. The condition keeps its own dtype, so these are not rows of the promoting table. */

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

function checkCondition(op: string, condition: Tensor): void {
  if (condition.dtype !== 'bool' && condition.dtype !== 'uint8')
    throw new Error(`${op}: the condition must be bool, got ${condition.dtype}`);
}

/** `torch.where`: `a` where `condition` is true, `b` elsewhere; all three broadcast. */
export function where(condition: Tensor, a: Operand, b: Operand): Tensor {
  checkCondition('where', condition);
  const { op, tensors, params } = choose('where', condition, a, b, resultType(a, b));
  return applyPointwise(op, tensors, params);
}

/** `torch.Tensor.masked_fill`: `value` where `mask` is true, else `x`. */
export function maskedFill(x: Tensor, mask: Tensor, value: number | boolean | Tensor): Tensor {
  checkCondition('maskedFill', mask);
  const { op, tensors, params } = choose('maskedFill', mask, value, x, x.dtype);
  return applyPointwise(op, tensors, params);
}

const filled = new Map<string, Pointwise>();

/** `torch.Tensor.masked_fill_`. */
export function maskedFill_(x: Tensor, mask: Tensor, value: number | boolean): Tensor {
  checkCondition('maskedFill_', mask);
  const key = `${x.dtype}:${mask.dtype}`;
  let op = filled.get(key);
  if (op === undefined) {
    const compute = dtypeInfo[x.dtype].compute;
    const test = e.cast(input(1, mask.dtype === 'bool' ? 'bool' : 'u32'), 'bool');
    const fill = compute === 'bool' ? e.ne(param('value', 'u32'), 0) : param('value', compute);
    op = {
      name: 'maskedFill_',
      expr: e.select(test, fill, input(0, compute)),
      inputs: [x.dtype, mask.dtype],
      dtype: x.dtype,
      params: ['value'],
      ...(isFloatingPoint(x.dtype) && { grads: [e.select(test, 0, input(2)), null] }),
    };
    filled.set(key, op);
  }
  return applyInPlace(op, [x, mask], [elementOf('maskedFill_', Number(value), x.dtype)]);
}
