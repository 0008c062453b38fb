/**
 * Sizes that follow the input. The model is traced twice more for each dynamic axis, with that axis longer:
 * what then differs between the graphs depends on it, and how is read off the numbers. Once more would not
 * tell a half, rounded up, from what is the same for all.
 */
import { isSizes, type Graph, type Node, type Operand, type Sizes, type Value } from './graph.js';
import type { Shape } from '../tensor/shape.js';

/** An axis, or several that are always of one size, by name. */
export interface Axis {
  readonly name: string;
  /** Which inputs have it, and where. */
  readonly places: readonly { readonly input: number; readonly axis: number }[];
  /** In the first trace, and in those where it is longer. */
  readonly size: number;
  readonly longer: readonly [number, number];
}

/** A number times some axes. */
export interface Product {
  readonly factor: number;
  readonly axes: readonly Axis[];
}

/** Numbers that stand in the same place of each trace: the first, then two per axis. */
type Variants = readonly number[];

const isFixed = (variants: Variants): boolean => variants.every((size) => size === variants[0]);

/** The product that gives these numbers; null where there is none. */
export function productOf(variants: Variants, axes: readonly Axis[]): Product | null {
  const [first] = variants as [number];
  const involved: Axis[] = [];
  for (const [i, axis] of axes.entries()) {
    const sizes = [variants[2 * i + 1], variants[2 * i + 2]] as [number, number];
    if (sizes.every((size) => size === first)) continue;
    if (sizes.some((size, j) => size * axis.size !== first * (axis.longer[j] as number))) return null;
    involved.push(axis);
  }
  const factor = involved.reduce((rest, { size }) => rest / size, first);
  return Number.isInteger(factor) ? { factor, axes: involved } : null;
}

/** The same things of all traces, with the first one's nodes as keys. */
export class Traces {
  private readonly sizes = new Map<Sizes, readonly Sizes[]>();
  private readonly values = new Map<Value, readonly Value[]>();

  constructor(
    readonly axes: readonly Axis[],
    graphs: readonly Graph[],
  ) {
    const [first, ...others] = graphs as [Graph, ...Graph[]];
    for (const [i, other] of others.entries()) this.compare(first, other, axes[i >> 1] as Axis);
    const nth = <T>(list: (graph: Graph) => readonly T[], at: number): T[] =>
      graphs.map((graph) => list(graph)[at] as T);
    first.nodes.forEach((node, at) => {
      const alike = nth((graph) => graph.nodes, at);
      node.results.forEach((value, i) =>
        this.values.set(
          value,
          alike.map(({ results }) => results[i] as Value),
        ),
      );
      node.operands.forEach((operand, i) => {
        if (operand === null) return;
        const same = alike.map(({ operands }) => operands[i] as Operand);
        if (isSizes(operand)) this.sizes.set(operand, same as readonly Sizes[]);
        else if (operand.node === null) this.values.set(operand, same as readonly Value[]);
      });
    });
    first.inputs.forEach((value, at) =>
      this.values.set(
        value,
        nth((graph) => graph.inputs, at),
      ),
    );
    first.outputs.forEach(({ value }, at) =>
      this.values.set(
        value,
        nth((graph) => graph.outputs.map((output) => output.value), at),
      ),
    );
  }

  /** What `sizes` are in each trace, entry by entry. */
  variantsOf(sizes: Sizes): Variants[] {
    const all = this.sizes.get(sizes) ?? [sizes];
    return sizes.sizes.map((_, i) => all.map((each) => each.sizes[i] as number));
  }

  /** The same of a value's shape. */
  shapesOf(value: Value): Variants[] {
    const all = this.values.get(value) ?? [value];
    return (value.shape as Shape).map((_, d) => all.map(({ shape }) => (shape as Shape)[d] as number));
  }

  isFixed(variants: Variants): boolean {
    return isFixed(variants);
  }

  /**
   * Whether what was read off the traces is true of another, `graph`, in which `axis` has `to` entries.
   *
   * @throws Error where it is not
   */
  checkAt(first: Graph, graph: Graph, axis: Axis, to: number): void {
    const far = new Traces([axis], [first, graph]);
    const fits = (variants: Variants, size: number): boolean => {
      if (isFixed(variants)) return size === variants[0];
      const product = productOf(variants, this.axes);
      if (product === null) return true;
      return size === product.axes.reduce((n, each) => n * (each === axis ? to : each.size), product.factor);
    };
    for (const node of first.nodes)
      for (const operand of node.operands) {
        if (operand === null || !isSizes(operand)) continue;
        const others = far.variantsOf(operand);
        if (!this.variantsOf(operand).every((variants, i) => fits(variants, others[i]?.[1] as number)))
          throw changes(axis.name, node);
      }
  }

  private compare(first: Graph, other: Graph, { name }: Axis): void {
    const differ = (at: number): Error => changes(name, first.nodes[Math.min(at, first.nodes.length - 1)]);
    first.nodes.forEach((node, at) => {
      const same = other.nodes[at];
      if (same === undefined || !alike(node, same)) throw differ(at);
    });
    if (other.nodes.length !== first.nodes.length || other.outputs.length !== first.outputs.length)
      throw differ(first.nodes.length);
  }
}

const changes = (axis: string, node: Node | undefined): Error =>
  new Error(
    `exportOnnx: what the model computes changes with the axis '${axis}', at ${describe(node)}: a graph that serves ` +
      'all sizes cannot hold it. Leave the axis out of dynamicAxes',
  );

const describe = (node: Node | undefined): string =>
  node === undefined ? 'its start' : `${node.op}${node.path === '' ? '' : ` in '${node.path}'`}`;

/** Everything but sizes and shapes is the same. */
function alike(a: Node, b: Node): boolean {
  return (
    a.op === b.op &&
    a.results.length === b.results.length &&
    a.operands.length === b.operands.length &&
    JSON.stringify(a.attributes) === JSON.stringify(b.attributes) &&
    a.operands.every((operand, i) => alikeOperands(operand, b.operands[i] as Operand))
  );
}

function alikeOperands(a: Operand, b: Operand): boolean {
  if (a === null || b === null) return a === b;
  if (isSizes(a) || isSizes(b)) return isSizes(a) && isSizes(b) && a.sizes.length === b.sizes.length;
  if (a.constant === null || b.constant === null)
    return a.constant === b.constant && a.input === b.input && (a.node === null) === (b.node === null);
  const [x, y] = [a.constant.source, b.constant.source];
  if (x.kind === 'tensor' && y.kind === 'tensor') return x.tensor === y.tensor;
  if (x.kind === 'host' && y.kind === 'host')
    return (
      String(a.shape) === String(b.shape) &&
      x.values.length === y.values.length &&
      Array.prototype.every.call(x.values, (value: number, i: number) => Object.is(value, y.values[i]))
    );
  return x.kind === y.kind && String(a.shape) === String(b.shape);
}
