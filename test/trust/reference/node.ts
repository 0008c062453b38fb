import { type NdArray, sumTo, zip, type Shape } from './ndarray.js';
import { Refused, Storage, Tensor, Undefined, type Geometry, type Hook } from './tensor.js';

/* The tape: PyTorch's Node, SavedVariable, AccumulateGrad, CopySlices and the engine that runs them. */

export interface Edge {
  readonly node: Node;
  readonly index: number;
}

export type Grads = readonly (NdArray | null)[];

/**
 * A tensor that backward needs. It is no copy: the version tells whether the memory still holds what was
 * saved.
 */
export class SavedTensor {
  private readonly version: number;
  private readonly snapshot: NdArray | null;
  private readonly wasResult: boolean;

  constructor(
    private readonly tensor: Tensor,
    /** Keep a copy and never refuse; see `Machine`. */
    lenient: boolean,
    /** It is the output of the node that saves it. */
    private readonly own = false,
  ) {
    this.wasResult = tensor.gradFn !== null;
    this.version = tensor.storage.version;
    this.snapshot = lenient ? tensor.read() : null;
  }

  unpack(): NdArray {
    if (this.snapshot !== null) return this.snapshot;
    if (this.tensor.storage.version !== this.version) throw new Refused('version');
    if (this.wasResult && !this.own && this.tensor.gradFn === null)
      throw new Undefined('a saved tensor was detached in place: PyTorch fails an internal assertion');
    return this.tensor.read();
  }
}

let sequence = 0;

export class Node {
  readonly sequence: number = sequence++;
  /** Hooks on each output, in order of registration. */
  readonly hooks: Hook[][] = [];
  /** Per output: the tensor that asked to keep the gradient. */
  readonly retained: (Tensor | undefined)[] = [];
  protected released = false;

  constructor(
    readonly name: string,
    readonly edges: readonly (Edge | null)[],
    /** Has something to free after backward, so that a second one is refused. */
    private readonly keeps: boolean,
    private readonly fn: (grads: Grads) => Grads,
    readonly outputs = 1,
    private readonly lenient = false,
  ) {}

  apply(grads: Grads): Grads {
    if (this.released && this.keeps && !this.lenient) throw new Refused('freed');
    return this.fn(grads);
  }

  release(): void {
    this.released = true;
  }

  /** Hooks replace the gradient, and whoever retains it sees what they made of it. */
  arrive(grads: Grads): Grads {
    return grads.map((grad, i) => {
      if (grad === null) return null;
      const hooked = (this.hooks[i] ?? []).reduce((g, hook) => hook(g), grad);
      const keeper = this.retained[i];
      if (keeper !== undefined) keeper.grad = add(keeper.grad, hooked);
      return hooked;
    });
  }
}

const add = (a: NdArray | null, b: NdArray): NdArray => (a === null ? b : zip((x, y) => x + y, a, b));

/** The end of the tape: adds to a leaf's `grad`. */
class AccumulateGrad extends Node {
  override readonly sequence = Number.MAX_SAFE_INTEGER;

  constructor(leaf: Tensor) {
    super('AccumulateGrad', [], false, ([grad]) => {
      if (!grad) return [];
      if (leaf.gradFn !== null) throw new Refused('moved leaf');
      if (!leaf.wantsGrad) return [];
      leaf.grad = add(
        leaf.grad,
        leaf.hooks.reduce((g, hook) => hook(g), grad),
      );
      return [];
    });
  }
}

/** The gradient of a base from that of a view of it: overlapping elements are summed (AsStridedBackward). */
export function scatterView(grad: NdArray, base: Tensor, view: Geometry): NdArray {
  const memory = new Float64Array(base.storage.data.length);
  const window = new Tensor(new Storage(memory), view);
  const count = new Tensor(new Storage(memory), base);
  indicesOf(window).forEach((at, i) => (memory[at] = (memory[at] as number) + (grad.data[i] as number)));
  return count.read();
}

function indicesOf(window: Tensor): number[] {
  const { storage, shape, strides, offset } = window;
  const numbered = new Tensor(new Storage(storage.data.map((_, i) => i)), { shape, strides, offset });
  return [...numbered.read().data];
}

function copySlices(base: Tensor, view: Geometry, write: Node, lenient: boolean): Node {
  return new Node(
    'CopySlices',
    [edgeOf(base), ...write.edges.slice(1)],
    true,
    ([grad]) => {
      if (!grad) return [];
      const memory = new Float64Array(base.storage.data.length);
      const whole = new Tensor(new Storage(memory), base);
      whole.write(grad);
      const window = new Tensor(new Storage(memory), view);
      const [own, ...others] = write.apply([window.read()]);
      if (own) window.write(own);
      return [whole.read(), ...others];
    },
    1,
    lenient,
  );
}

/**
 * `tensor.grad_fn`: a view whose memory was written since takes its place on the tape anew, from its base.
 */
export function gradFnOf(tensor: Tensor): Node | null {
  const { view } = tensor;
  if (view === null) return tensor.gradFn;
  if (tensor.gradFn === null && !tensor.inheritsGrad) return null;
  if (view.version !== tensor.storage.version) {
    refuseView(tensor);
    const { base } = view;
    tensor.gradFn = new Node('AsStrided', [edgeOf(base)], false, ([grad]) => [
      grad ? scatterView(grad, base, tensor) : null,
    ]);
    tensor.outputIndex = 0;
    moveRetained(tensor);
    view.version = tensor.storage.version;
  }
  return tensor.gradFn;
}

/** Views that may be neither written in place nor used after a write to their base. */
export function refuseView({ view }: Tensor): void {
  if (view?.creation === 'multi-output') throw new Refused('multi-output view');
  if (view?.creation === 'noGrad') throw new Refused('noGrad view');
}

/**
 * `retain_grad` is about the tensor's latest value: it goes along to the new node. Hooks stay with the value
 * they were put on.
 */
function moveRetained(tensor: Tensor): void {
  const { gradFn, retainedBy } = tensor;
  if (retainedBy === null || gradFn === null || retainedBy === gradFn) return;
  retainedBy.retained.forEach((keeper, i) => {
    if (keeper === tensor) retainedBy.retained[i] = undefined;
  });
  gradFn.retained[0] = tensor;
  tensor.retainedBy = gradFn;
}

/** Where the gradient of `tensor` goes; null where none is wanted. */
export function edgeOf(tensor: Tensor): Edge | null {
  const node = gradFnOf(tensor);
  if (node !== null) return { node, index: tensor.outputIndex };
  if (!tensor.wantsGrad) return null;
  tensor.accumulator ??= new AccumulateGrad(tensor);
  return { node: tensor.accumulator, index: 0 };
}

/** After a write on the record: `node` made the present contents of `tensor` (PyTorch's `rebase_history`). */
export function rebaseHistory(tensor: Tensor, node: Node, lenient: boolean): void {
  const { view } = tensor;
  const target = view === null ? tensor : view.base;
  target.gradFn = view === null ? node : copySlices(view.base, tensor, node, lenient);
  target.outputIndex = 0;
  // Measured (1.13): a write through a view leaves the base's `retain_grad` with the value before it.
  if (view === null) moveRetained(target);
  if (view !== null) gradFnOf(tensor);
}

export interface BackwardOptions {
  readonly retainGraph: boolean;
  /** Return the gradients at these edges and touch no leaf (`autograd.grad`). */
  readonly captures?: readonly Edge[];
  /** Told of every gradient on its way. */
  readonly watch?: (grad: NdArray) => void;
}

/** Runs the tape from `roots`, each node once, when all gradients of its outputs are known. */
export function runBackward(
  roots: readonly Edge[],
  seeds: readonly NdArray[],
  { retainGraph, captures, watch }: BackwardOptions,
): (NdArray | null)[] {
  const waiting = countUses(roots);
  const wanted = captures === undefined ? null : leadingTo(roots, captures);
  const arrived = new Map<Node, (NdArray | null)[]>();
  const deliver = ({ node, index }: Edge, grad: NdArray | null): void => {
    let grads = arrived.get(node);
    if (grads === undefined) arrived.set(node, (grads = new Array<NdArray | null>(node.outputs).fill(null)));
    if (grad === null) return;
    grads[index] = add(grads[index] ?? null, grad);
    watch?.(grads[index]);
  };
  roots.forEach((edge, i) => deliver(edge, seeds[i] as NdArray));
  const ready = [...new Set(roots.map(({ node }) => node))].filter((node) => !waiting.get(node));
  const captured: (NdArray | null)[] = (captures ?? []).map(() => null);
  while (ready.length > 0) {
    ready.sort((a, b) => a.sequence - b.sequence);
    const node = ready.pop() as Node;
    const grads = arrived.get(node) ?? [];
    captures?.forEach((edge, i) => {
      if (edge.node === node) captured[i] = grads[edge.index] ?? null;
    });
    let results: Grads = [];
    const runs = wanted === null ? grads.length > 0 : wanted.has(node);
    if (runs) {
      results = node.apply(node.arrive(grads));
      if (!retainGraph) node.release();
    }
    node.edges.forEach((edge, i) => {
      if (edge === null) return;
      if (runs) deliver(edge, results[i] ?? null);
      const left = (waiting.get(edge.node) as number) - 1;
      waiting.set(edge.node, left);
      if (left === 0) ready.push(edge.node);
    });
  }
  return captured;
}

function countUses(roots: readonly Edge[]): Map<Node, number> {
  const uses = new Map<Node, number>();
  const stack = [...new Set(roots.map(({ node }) => node))];
  for (const node of stack) uses.set(node, 0);
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    for (const edge of node.edges) {
      if (edge === null) continue;
      if (!uses.has(edge.node)) stack.push(edge.node);
      uses.set(edge.node, (uses.get(edge.node) ?? 0) + 1);
    }
  }
  return uses;
}

/** The nodes that have to run so that the captured edges get their gradients. */
function leadingTo(roots: readonly Edge[], captures: readonly Edge[]): Set<Node> {
  const targets = new Set(captures.map(({ node }) => node));
  const leads = new Map<Node, boolean>();
  const visit = (node: Node): boolean => {
    const known = leads.get(node);
    if (known !== undefined) return known;
    const below = node.edges.map((edge) => edge !== null && (visit(edge.node) || targets.has(edge.node)));
    leads.set(node, below.includes(true));
    return below.includes(true);
  };
  roots.forEach(({ node }) => visit(node));
  return new Set([...leads].filter(([, useful]) => useful).map(([node]) => node));
}

/** For formulas: a gradient summed over what was broadcast. */
export const backTo = (shape: Shape, grad: NdArray): NdArray => sumTo(grad, shape);
