/** Names and numbers for a graph: from traces to what is encoded. */
import type { Axis, Product, Traces } from './dynamic.js';
import { productOf } from './dynamic.js';
import {
  int,
  isSizes,
  liveNodes,
  type Graph,
  type Node,
  type Operand,
  type Sizes,
  type Value,
} from './graph.js';
import type { Dimension, NodeProto, ValueInfo } from './proto.js';

/** An initializer whose numbers have not been read. */
export interface Weight {
  readonly name: string;
  readonly value: Value;
}

export interface Assembled {
  readonly nodes: readonly NodeProto[];
  readonly weights: readonly Weight[];
  readonly integers: readonly { readonly name: string; readonly values: readonly number[] }[];
  readonly inputs: readonly ValueInfo[];
  readonly outputs: readonly ValueInfo[];
}

/** A bound past every end. */
const theEnd = 2 ** 31 - 1;

class Names {
  private readonly taken = new Set<string>();

  /** `name`, or with a number behind it. */
  unique(name: string): string {
    let free = name;
    for (let n = 1; this.taken.has(free); n++) free = `${name}_${n}`;
    this.taken.add(free);
    return free;
  }
}

class Assembler {
  private readonly names = new Names();
  private readonly nodes: NodeProto[] = [];
  private readonly weights: Weight[] = [];
  private readonly integers: { name: string; values: readonly number[] }[] = [];
  private readonly known = new Map<Value, string>();
  private readonly integersByText = new Map<string, string>();
  private readonly axes = new Map<Axis, string>();
  /** By the input whose it is. */
  private readonly shapes = new Map<number, string>();

  constructor(
    private readonly graph: Graph,
    private readonly traces: Traces,
    private readonly inputNames: readonly string[],
    private readonly outputNames: readonly string[],
  ) {}

  run(): Assembled {
    const { graph } = this;
    for (const name of [...this.inputNames, ...this.outputNames]) this.names.unique(name);
    graph.inputs.forEach((value, i) => this.known.set(value, this.inputNames[i] as string));
    const live = liveNodes(graph);
    // Weights keep the keys of the state dict, whatever else is called so.
    for (const value of new Set(live.flatMap(({ operands }) => operands)))
      if (value !== null && !isSizes(value) && typeof value.constant?.key === 'string') this.weight(value);
    const named = new Map<Value, string>();
    graph.outputs.forEach(({ value }, i) => {
      if (value.node !== null && !named.has(value)) named.set(value, this.outputNames[i] as string);
    });
    for (const node of live) this.add(node, named);
    graph.outputs.forEach(({ value }, i) => {
      const name = this.outputNames[i] as string;
      if (this.known.get(value) !== name) this.put('Identity', '', [this.name(value)], [name]);
    });
    return {
      nodes: this.nodes,
      weights: this.weights,
      integers: this.integers,
      inputs: graph.inputs.map((value, i) => this.info(this.inputNames[i] as string, value)),
      outputs: graph.outputs.map(({ value }, i) => this.info(this.outputNames[i] as string, value)),
    };
  }

  private info(name: string, value: Value): ValueInfo {
    const dims = this.traces.shapesOf(value).map((variants, d): Dimension => {
      if (this.traces.isFixed(variants)) return variants[0] as number;
      const product = productOf(variants, this.traces.axes);
      const [axis] = product?.axes ?? [];
      return axis !== undefined && product?.factor === 1 && product.axes.length === 1
        ? axis.name
        : `${name}_dim_${d}`;
    });
    return { name, dtype: value.dtype ?? 'float32', dims };
  }

  private add(node: Node, named: ReadonlyMap<Value, string>): void {
    const inputs = node.operands.map((operand) => this.operand(node, operand));
    const base = this.names.unique(`${pathOf(node)}/${node.op}`);
    const outputs = node.results.map((value, i) => {
      const name = named.get(value) ?? this.names.unique(`${base}_output_${i}`);
      this.known.set(value, name);
      return name;
    });
    this.nodes.push({ name: base, op: node.op, inputs, outputs, attributes: node.attributes });
  }

  /** A node of the assembler's own. */
  private put(
    op: string,
    path: string,
    inputs: readonly string[],
    outputs?: readonly string[],
    attributes: NodeProto['attributes'] = {},
  ): string {
    const name = this.names.unique(`${path}/${op}`);
    const made = outputs ?? [this.names.unique(`${name}_output_0`)];
    this.nodes.push({ name, op, inputs, outputs: made, attributes });
    return made[0] as string;
  }

  private operand(node: Node, operand: Operand): string {
    if (operand === null) return '';
    return isSizes(operand) ? this.sizes(node, operand) : this.name(operand);
  }

  private name(value: Value): string {
    return this.known.get(value) ?? this.weight(value);
  }

  private weight(value: Value): string {
    const { constant } = value;
    if (constant === null) throw new Error('internal: a value without a node');
    const { source, key } = constant;
    if (source.kind === 'host' && value.dtype === 'int64' && value.shape?.length === 1)
      return this.integer(Array.from(source.values));
    const name = this.names.unique(key ?? 'constant');
    this.known.set(value, name);
    this.weights.push({ name, value });
    return name;
  }

  private integer(values: readonly number[]): string {
    const text = values.join();
    let name = this.integersByText.get(text);
    if (name === undefined) {
      this.integersByText.set(text, (name = this.names.unique('sizes')));
      this.integers.push({ name, values });
    }
    return name;
  }

  // ---- sizes

  private sizes(node: Node, sizes: Sizes): string {
    const { traces } = this;
    const variants = traces.variantsOf(sizes);
    if (variants.every((each) => traces.isFixed(each))) return this.integer(sizes.sizes);
    const { rule, data } = sizes;
    const dataShape = data?.shape ? traces.shapesOf(data) : [];
    if (rule === 'bound') {
      const fromEnd = this.fromEnd(variants[0] as readonly number[], dataShape[sizes.dim as number] ?? []);
      if (fromEnd !== null) return this.integer([fromEnd]);
    }
    const lead = rule === 'expand' ? sizes.sizes.length - dataShape.length : 0;
    const kept = (i: number): boolean =>
      (rule === 'reshape' || rule === 'expand') &&
      String(dataShape[i - lead]) === String(variants[i] as readonly number[]);
    const entries = variants.map((each, i): number | null => {
      if (traces.isFixed(each)) return each[0] as number;
      return kept(i) ? (rule === 'reshape' ? 0 : 1) : null;
    });
    const open = entries.filter((entry) => entry === null).length;
    if (open === 0) return this.integer(entries as number[]);
    if (open === 1 && rule === 'reshape') return this.integer(entries.map((entry) => entry ?? -1));
    const parts = variants.map((each, i): string => {
      const entry = entries[i];
      if (typeof entry === 'number') return this.integer([entry]);
      const product = productOf(each, traces.axes);
      if (product === null) {
        const names = traces.axes.map(({ name }) => `'${name}'`).join(', ');
        throw new Error(
          `exportOnnx: a size of ${node.op}${node.path === '' ? '' : ` in '${node.path}'`} depends on ${names} and is no ` +
            `multiple of it (${each.join(', ')}). Leave the axis out of dynamicAxes`,
        );
      }
      return this.product(product);
    });
    return parts.length === 1
      ? (parts[0] as string)
      : this.put('Concat', pathOf(node), parts, undefined, { axis: int(0) });
  }

  /** A bound that is as far from the end in every trace, counted from there. */
  private fromEnd(variants: readonly number[], sizes: readonly number[]): number | null {
    const left = variants.map((at, i) => (sizes[i] as number) - at);
    if (!this.traces.isFixed(left)) return null;
    return left[0] === 0 ? theEnd : -(left[0] as number);
  }

  private product({ factor, axes }: Product): string {
    const sizes = axes.map((axis) => this.axis(axis));
    const factors = factor === 1 ? sizes : [...sizes, this.integer([factor])];
    return factors.reduce((a, b) => this.put('Mul', '', [a, b]));
  }

  /** The size of an axis, as a list of one. */
  private axis(axis: Axis): string {
    let name = this.axes.get(axis);
    if (name === undefined) {
      const [{ input, axis: at }] = axis.places as [Axis['places'][number]];
      const shape = this.shapes.get(input) ?? this.put('Shape', '', [this.inputNames[input] as string]);
      this.shapes.set(input, shape);
      name = this.put('Gather', '', [shape, this.integer([at])], undefined, { axis: int(0) });
      this.axes.set(axis, name);
    }
    return name;
  }
}

const pathOf = ({ path }: Node): string => (path === '' ? '' : `/${path.replaceAll('.', '/')}`);

/** @throws Error for a size that no nodes can compute */
export const assemble = (
  graph: Graph,
  traces: Traces,
  inputNames: readonly string[],
  outputNames: readonly string[],
): Assembled => new Assembler(graph, traces, inputNames, outputNames).run();
