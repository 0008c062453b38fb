/** Parts of a tensor that share its memory: what a view shows, and the whole with a part replaced. */
import type { Shape } from '../tensor/shape.js';
import { int, type Operand, type Sizes, type Value } from './graph.js';
import type { Builder } from './row.js';

/** How a tensor's elements lie in memory, in elements. */
export interface Layout {
  readonly shape: Shape;
  readonly strides: readonly number[];
  readonly offset: number;
}

/** The value of a tensor that fills its memory, and how it lies there. */
export interface Whole {
  readonly value: Value;
  readonly layout: Layout;
}

/** Along each dim of the whole: so many entries from one on. */
interface Box {
  readonly starts: readonly number[];
  readonly lengths: readonly number[];
  readonly steps: readonly number[];
}

/** The place of an address in a dense tensor, which it holds. */
function coordinatesOf({ shape, strides, offset }: Layout, address: number): number[] {
  const at = shape.map(() => 0);
  const byStride = shape.map((_, d) => d).filter((d) => (shape[d] as number) > 1);
  byStride.sort((a, b) => (strides[b] as number) - (strides[a] as number));
  let rest = address - offset;
  for (const d of byStride) {
    at[d] = Math.floor(rest / (strides[d] as number));
    rest -= (at[d] as number) * (strides[d] as number);
  }
  return at;
}

/** The box of `whole` that `view` shows with its dims in order; null for another kind of view. */
function boxOf(whole: Layout, view: Layout): Box | null {
  const starts = coordinatesOf(whole, view.offset);
  const lengths = whole.shape.map(() => 1);
  const steps = whole.shape.map(() => 1);
  let next = 0;
  for (const [i, length] of view.shape.entries()) {
    if (length === 1) continue;
    const stride = view.strides[i] as number;
    const fits = (d: number): boolean => {
      const [size, own] = [whole.shape[d] as number, whole.strides[d] as number];
      const step = stride / own;
      return (
        size > 1 && step >= 1 && Number.isInteger(step) && (starts[d] as number) + (length - 1) * step < size
      );
    };
    let found = -1;
    for (let d = next; d < whole.shape.length; d++)
      if (fits(d) && (found < 0 || (whole.strides[d] as number) > (whole.strides[found] as number)))
        found = d;
    if (found < 0) return null;
    lengths[found] = length;
    steps[found] = stride / (whole.strides[found] as number);
    next = found + 1;
  }
  return { starts, lengths, steps };
}

/** The position of each element of `view` among those of `whole`, both in row-major order. */
function positionsOf(whole: Layout, view: Layout): number[] {
  const positions: number[] = [];
  const walk = (d: number, address: number): void => {
    if (d < view.shape.length) {
      for (let i = 0; i < (view.shape[d] as number); i++)
        walk(d + 1, address + i * (view.strides[d] as number));
      return;
    }
    const at = coordinatesOf(whole, address);
    positions.push(at.reduce((sum, i, dim) => sum * (whole.shape[dim] as number) + i, 0));
  };
  walk(0, view.offset);
  return positions;
}

const count = (shape: Shape): number => shape.reduce((a, b) => a * b, 1);
const isSame = (a: Shape, b: Shape): boolean => a.length === b.length && a.every((size, d) => size === b[d]);

function shaped(t: Builder, value: Value, shape: Shape): Value {
  if (value.shape !== null && isSame(value.shape, shape)) return value;
  return noted(t.reshape(value, shape), value, shape);
}

function noted(value: Value, like: Value, shape: Shape): Value {
  value.dtype ??= like.dtype;
  value.shape ??= shape;
  return value;
}

function sliced(t: Builder, data: Value, dim: number, start: number, length: number, step = 1): Value {
  const shape = data.shape as Shape;
  const size = shape[dim] as number;
  if (length === size && step === 1) return data;
  const bound = (at: number): Sizes => ({ sizes: [at], rule: 'bound', data, dim });
  const end = Math.min(size, start + (length - 1) * step + 1);
  const operands: Operand[] = [data, bound(start), bound(end), t.list([dim])];
  if (step !== 1) operands.push(t.list([step]));
  return noted(
    t.node('Slice', operands),
    data,
    shape.map((n, d) => (d === dim ? length : n)),
  );
}

/** What `view`, which is not empty, shows of `whole`. */
export function shown(t: Builder, whole: Whole, view: Layout): Value {
  const { value, layout } = whole;
  const box = boxOf(layout, view);
  if (box !== null) {
    const part = box.lengths.reduce(
      (data, length, d) => sliced(t, data, d, box.starts[d] as number, length, box.steps[d]),
      value,
    );
    return shaped(t, part, view.shape);
  }
  const flat = shaped(t, value, [count(layout.shape)]);
  const places = t.constant(positionsOf(layout, view), view.shape, 'int64');
  return noted(t.node('Gather', [flat, places], { axis: int(0) }), value, view.shape);
}

/** `whole` with `part`, of the shape of `view`, where that shows it. */
export function replaced(t: Builder, whole: Whole, view: Layout, part: Value): Value {
  const { value, layout } = whole;
  const box = boxOf(layout, view);
  if (box?.steps.every((step) => step === 1)) {
    const dims = box.lengths.map((_, d) => d).filter((d) => box.lengths[d] !== layout.shape[d]);
    return within(t, value, box, dims, shaped(t, part, box.lengths));
  }
  const places = positionsOf(layout, view);
  const flat = shaped(t, value, [count(layout.shape)]);
  const at = t.constant(places, [places.length], 'int64');
  const made = t.node('ScatterElements', [flat, at, shaped(t, part, [places.length])], { axis: int(0) });
  return shaped(t, noted(made, value, [count(layout.shape)]), layout.shape);
}

/** `data` with `part` in the box, which is narrower along `dims`. */
function within(t: Builder, data: Value, box: Box, dims: readonly number[], part: Value): Value {
  const [dim, ...rest] = dims;
  if (dim === undefined) return part;
  const shape = data.shape as Shape;
  const [size, start, length] = [shape[dim], box.starts[dim], box.lengths[dim]] as [number, number, number];
  const end = start + length;
  const middle = rest.length === 0 ? part : within(t, sliced(t, data, dim, start, length), box, rest, part);
  const parts = [
    ...(start > 0 ? [sliced(t, data, dim, 0, start)] : []),
    middle,
    ...(end < size ? [sliced(t, data, dim, end, size - end)] : []),
  ];
  return noted(t.node('Concat', parts, { axis: int(dim) }), data, shape);
}
