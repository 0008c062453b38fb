/** The graph that a trace builds, before it has names and bytes. */
import type { Shape } from '../tensor/shape.js';
import type { TypedArray } from '../tensor/dtype.js';
import type { Tensor } from '../tensor/tensor.js';

/** TensorProto.DataType (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3). */
export const elementTypes = { float32: 1, uint8: 2, int32: 6, int64: 7, bool: 9, float16: 10 } as const;
export type ElementType = keyof typeof elementTypes;

export type Attribute =
  | { readonly kind: 'int'; readonly value: number }
  | { readonly kind: 'float'; readonly value: number }
  | { readonly kind: 'string'; readonly value: string }
  | { readonly kind: 'strings'; readonly value: readonly string[] }
  | { readonly kind: 'ints'; readonly value: readonly number[] };
export type Attributes = Readonly<Record<string, Attribute>>;

export const int = (value: number | boolean): Attribute => ({ kind: 'int', value: Number(value) });
export const float = (value: number): Attribute => ({ kind: 'float', value });
export const text = (value: string): Attribute => ({ kind: 'string', value });
export const ints = (value: readonly number[]): Attribute => ({ kind: 'ints', value });

/** Where the numbers of an initializer come from. */
export type Source =
  | { readonly kind: 'host'; readonly values: ArrayLike<number> }
  /** A parameter, a buffer, or a tensor from outside the model: read when the graph is written. */
  | { readonly kind: 'tensor'; readonly tensor: Tensor }
  /** Made in the forward: read where it was used. */
  | { readonly kind: 'read'; readonly data: Promise<TypedArray> };

export interface Constant {
  readonly source: Source;
  /** The key in the state dict; null: a name is made up. */
  readonly key: string | null;
}

/** What flows along an edge. */
export interface Value {
  /** Not known of what a row makes on its way. */
  dtype: ElementType | null;
  shape: Shape | null;
  readonly node: Node | null;
  readonly constant: Constant | null;
  /** The position among the graph's inputs. */
  readonly input: number | null;
}

/**
 * Sizes that a node takes as an int64 tensor. Those that follow the batch, or another dynamic axis, are not
 * known as numbers before the traces are compared.
 */
export interface Sizes {
  readonly sizes: readonly number[];
  /**
   * `reshape`: 0 takes the size of `data`, -1 what is left; `expand`: 1 leaves it; `bound`: may be counted
   * from the end of dim `dim` of `data`.
   */
  readonly rule: 'reshape' | 'expand' | 'bound' | 'plain';
  readonly data: Value | null;
  readonly dim?: number;
}

/** Null stands for an optional operand that is left out. */
export type Operand = Value | Sizes | null;

export interface Node {
  readonly op: string;
  readonly operands: readonly Operand[];
  readonly attributes: Attributes;
  readonly results: readonly Value[];
  /** Of the module in whose forward it stands. */
  readonly path: string;
}

export const isSizes = (operand: Operand): operand is Sizes => operand !== null && 'sizes' in operand;

/** A model as it ran once. */
export interface Graph {
  readonly nodes: readonly Node[];
  readonly inputs: readonly Value[];
  readonly outputs: readonly { readonly name: string | null; readonly value: Value }[];
}

/** The nodes that `outputs` depend on, in order. */
export function liveNodes({ nodes, outputs }: Graph): Node[] {
  const live = new Set<Node>();
  for (const { value } of outputs) if (value.node !== null) live.add(value.node);
  for (let at = nodes.length - 1; at >= 0; at--) {
    const node = nodes[at] as Node;
    if (!live.has(node)) continue;
    for (const operand of node.operands)
      if (operand !== null && !isSizes(operand) && operand.node !== null) live.add(operand.node);
  }
  return nodes.filter((node) => live.has(node));
}

/** Sizes beside no tensor of which they could be taken. */
export const sizesOf = (sizes: readonly number[]): Sizes => ({ sizes, rule: 'plain', data: null });
