/** What a row of the table is, and what it builds with. */
import { normalizeDim, type Shape } from '../tensor/shape.js';
import { isPlainObject } from '../tensor/options.js';
import { isTensor, type Tensor } from '../tensor/tensor.js';
import { elementTypes, int, type Attributes, type ElementType, type Operand, type Value } from './graph.js';

/** The graph under construction. */
export interface Builder {
  /** The version of the operator set that the graph is written in. */
  readonly opset: number;
  /** The value of an op's operand. @throws Error for one that no op with a name made */
  value(x: Tensor): Value;
  node(op: string, operands: readonly Operand[], attributes?: Attributes): Value;
  /** A node with `count` results. */
  several(op: string, operands: readonly Operand[], attributes: Attributes, count: number): Value[];
  constant(values: ArrayLike<number>, shape: Shape, dtype: ElementType): Value;
  /** Zero-dim. */
  scalar(value: number, dtype: ElementType): Value;
  /** An int64 list that is the same for all inputs (axes). */
  list(values: readonly number[]): Value;
  /** `data` in another shape, which may follow the batch. */
  reshape(data: Value, shape: Shape): Value;
  /** An error that names the op and the module in whose forward it was called. */
  unsupported(name: string, why?: string): Error;
}

/** The op itself has no node: what it is made of is traced. */
export const inside = Symbol('inside');

/**
 * What stands for one op in the graph: its value, or its values where it returns several tensors (null for
 * one that has none).
 *
 * @param args as they were given
 * @param result what the op returned
 */
export type Row = (
  t: Builder,
  args: readonly unknown[],
  result: unknown,
) => Value | readonly (Value | null)[] | typeof inside;

/** Rows by the names that ops go by (`defineOp`, `defineComposite`, `entered`, rows of pointwise ops). */
export type RowTable = Readonly<Record<string, Row>>;

/**
 * The arguments behind the tensors, which an op has checked, by name: given by position, or in an object at
 * the end.
 */
export function named<T extends object>(
  args: readonly unknown[],
  defaults: T,
  ...positional: readonly string[]
): T {
  const read = { ...defaults } as Record<string, unknown>;
  args.forEach((arg, i) => {
    if (isPlainObject(arg) && i === args.length - 1) {
      for (const [key, value] of Object.entries(arg)) if (value !== undefined) read[key] = value;
    } else if (arg !== undefined && i < positional.length) read[positional[i] as string] = arg;
  });
  return read as T;
}

/** A number per dim. */
export const perDim = (value: unknown, dims: number): number[] =>
  Array.isArray(value)
    ? value.length === 1
      ? new Array<number>(dims).fill(value[0] as number)
      : [...(value as readonly number[])]
    : new Array<number>(dims).fill(value as number);

/** Dims as PyTorch takes them (null: all), from 0 on. */
export const dimsOf = (dim: unknown, rank: number): number[] =>
  dim === null || dim === undefined || (Array.isArray(dim) && dim.length === 0)
    ? Array.from({ length: rank }, (_, d) => d)
    : [dim].flat().map((d) => (rank === 0 ? 0 : normalizeDim('exportOnnx', d as number, rank)));

/** The tensor among `args` at `at`, which is one. */
export const tensorAt = (args: readonly unknown[], at: number): Tensor => args[at] as Tensor;

/** The value of an operand that may be left out. */
export const optional = (t: Builder, x: unknown): Value | null => (isTensor(x) ? t.value(x) : null);

/** `value` in another dtype. */
export const cast = (t: Builder, value: Value, dtype: ElementType): Value =>
  value.dtype === dtype ? value : typed(t.node('Cast', [value], { to: int(elementTypes[dtype]) }), dtype);

/** Notes the dtype of a value made on the way. */
export function typed(value: Value, dtype: ElementType | null): Value {
  value.dtype ??= dtype;
  return value;
}
