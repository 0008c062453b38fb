import { currentRecording, currentTrail, type Recording } from '../device/index.js';
import { optionReader } from '../tensor/options.js';
import { isFloatingPoint } from '../tensor/dtype.js';
import { noteEscape } from '../tensor/lifetime.js';
import { sameShape, showShape } from '../tensor/shape.js';
import { Tensor } from '../tensor/tensor.js';
import { scoped } from '../tensor/tidy.js';
import { isAnomalyEnabled, noteGradient } from './anomaly.js';
import { isGradEnabled } from './mode.js';
import { AccumulateGrad, edgeOf, runHooks, type Edge, type GradNode, type InputGrads } from './node.js';
import { inMode } from './passes.js';
import { primitives } from './primitives.js';

export interface BackwardOptions {
  /** Keep what the nodes saved, so that backward can run again. Default: the value of `createGraph`. */
  retainGraph?: boolean;
  /** Record the backward pass itself, for higher derivatives. */
  createGraph?: boolean;
}

/** Max-heap on sequence numbers: the latest op first, accumulators at once. */
class Ready {
  private readonly heap: GradNode[] = [];

  get size(): number {
    return this.heap.length;
  }

  push(node: GradNode): void {
    const heap = this.heap;
    let i = heap.push(node) - 1;
    while (i > 0) {
      const up = (i - 1) >> 1;
      if ((heap[up] as GradNode).sequence >= node.sequence) break;
      heap[i] = heap[up] as GradNode;
      i = up;
    }
    heap[i] = node;
  }

  pop(): GradNode {
    const heap = this.heap;
    const top = heap[0] as GradNode;
    const last = heap.pop() as GradNode;
    const n = heap.length;
    if (n > 0) {
      let i = 0;
      for (;;) {
        let child = 2 * i + 1;
        if (child >= n) break;
        if (child + 1 < n && (heap[child + 1] as GradNode).sequence > (heap[child] as GradNode).sequence)
          child++;
        if ((heap[child] as GradNode).sequence <= last.sequence) break;
        heap[i] = heap[child] as GradNode;
        i = child;
      }
      heap[i] = last;
    }
    return top;
  }
}

/** A node that has not run yet. */
class Pending {
  /** How many nodes have yet to say whether they have a gradient for it. */
  waitsFor = 0;
  /** Gradients of its outputs, as far as some have come. */
  grads: (Tensor | null)[] | null = null;
}

/** All nodes that can be reached. */
function reach(roots: readonly Edge[]): Map<GradNode, Pending> {
  const nodes = new Map<GradNode, Pending>();
  const stack: GradNode[] = [];
  for (const { node } of roots) {
    if (!nodes.has(node)) {
      nodes.set(node, new Pending());
      stack.push(node);
    }
  }
  while (stack.length > 0) {
    for (const edge of (stack.pop() as GradNode).edges) {
      if (edge === null) continue;
      let pending = nodes.get(edge.node);
      if (pending === undefined) {
        nodes.set(edge.node, (pending = new Pending()));
        stack.push(edge.node);
      }
      pending.waitsFor++;
    }
  }
  return nodes;
}

/** The nodes from which some target can be reached, targets included. */
function leadingTo(reached: Iterable<GradNode>, targets: ReadonlySet<GradNode>): Set<GradNode> {
  const nodes = [...reached].sort((a, b) => a.sequence - b.sequence);
  const useful = new Set<GradNode>(targets);
  for (const node of nodes) {
    if (node.edges.some((edge) => edge !== null && useful.has(edge.node))) useful.add(node);
  }
  return useful;
}

interface Capture {
  readonly edge: Edge;
  grad: Tensor | null;
}

function checkGrad(node: GradNode, index: number, grad: Tensor): void {
  const meta = node.outputs[index];
  if (meta !== undefined && (!sameShape(meta.shape, grad.shape) || meta.dtype !== grad.dtype)) {
    throw new Error(
      `backward: ${node.name} was given a gradient of shape ${showShape(grad.shape)} (${grad.dtype}) for an output of shape ` +
        `${showShape(meta.shape)} (${meta.dtype})`,
    );
  }
}

const hasHooks = (hooks: readonly unknown[] | null): boolean => hooks !== null && hooks.length > 0;

function guardLeaf(recording: Recording, leaf: Tensor): void {
  recording.guard(
    () => !leaf.isDisposed && leaf.wantsGrad && !hasHooks(leaf.hooks) && !hasHooks(leaf.gradHooks),
  );
}

/** Each replay gives `leaf` the gradient again, which must be gone then, in the memory that it has now. */
function recordGrad(
  recording: Recording,
  leaf: Tensor,
  { storage, shape, dtype, strides, offset }: Tensor,
): void {
  recording.hold(storage.retain());
  guardLeaf(recording, leaf);
  recording.guardGrad(leaf, () => leaf.leafGrad === null);
  recording.later(() => {
    storage.beginWrite('compile');
    leaf.leafGrad = new Tensor(storage, shape, dtype, { strides, offset }).keepAsGrad();
    leaf.gradSeen = false;
  });
}

/** Each replay adds to the gradient that is there now. */
function recordSum(recording: Recording, leaf: Tensor, old: Tensor, sum: Tensor): void {
  const { storage } = old;
  guardLeaf(recording, leaf);
  recording.guardGrad(leaf, () => leaf.leafGrad !== null && leaf.leafGrad.storage === storage);
  storage.beginWrite('gradient accumulation');
  primitives().assign(old, sum);
}

function accumulate(leaf: Tensor, grad: Tensor, createGraph: boolean): void {
  settle(leaf, grad, createGraph);
  if (!hasHooks(leaf.gradHooks) || leaf.leafGrad === null) return;
  currentRecording()?.refuse('a hook sees its gradients');
  for (const hook of [...(leaf.gradHooks ?? [])]) hook(leaf);
}

function settle(leaf: Tensor, grad: Tensor, createGraph: boolean): void {
  if (leaf.node !== null) {
    throw new Error(
      `backward: a leaf of shape ${showShape(leaf.shape)} was detached and then changed in place by ${leaf.node.name}, so that it is no ` +
        'leaf any more, but the graph still needs its gradient as one; clone() it before changing it',
    );
  }
  // It may have been switched off, or detached, since the forward.
  if (leaf.isDisposed || !leaf.wantsGrad) return;
  if (leaf.hooks !== null && leaf.hooks.length > 0) grad = runHooks(leaf.hooks, grad);
  const old = leaf.leafGrad;
  const recording = currentRecording();
  if (recording !== null && old !== null) {
    if (createGraph) recording.refuse('it adds to gradients with createGraph');
    recordSum(recording, leaf, old, primitives().add(old, grad));
    return;
  }
  if (old !== null) {
    const sum = primitives().add(old, grad);
    const seen = leaf.gradSeen;
    leaf.leafGrad = sum.keepAsGrad();
    if (!old.isDisposed) {
      if (seen) noteEscape(old.storage);
      else old.disposeBy('gradient accumulation');
    }
    leaf.gradSeen = seen && createGraph;
    return;
  }
  // A gradient that nobody else holds is taken as it is; a view or a shared one is copied.
  const own =
    !createGraph && grad.storage.exclusive && !grad.isKept && grad.isDense() && grad.dtype === leaf.dtype;
  leaf.leafGrad = (own || createGraph ? grad : primitives().cloneLike(grad, leaf)).keepAsGrad();
  leaf.gradSeen = createGraph;
  if (recording !== null) recordGrad(recording, leaf, leaf.leafGrad);
}

/**
 * One run over the tape. With captures, the gradients at their edges are what is wanted, and no leaf is
 * touched; without, every leaf is.
 */
class Pass {
  private readonly nodes: Map<GradNode, Pending>;
  /** The nodes that lead to a capture; null for all. */
  private readonly useful: ReadonlySet<GradNode> | null;
  private readonly ready = new Ready();
  private readonly createGraph: boolean;
  private readonly retainGraph: boolean;
  private readonly trail = currentTrail();

  constructor(
    private readonly roots: readonly Edge[],
    options: BackwardOptions,
    private readonly captures: readonly Capture[] | null,
  ) {
    this.createGraph = options.createGraph ?? false;
    this.retainGraph = options.retainGraph ?? this.createGraph;
    this.nodes = reach(roots);
    this.useful =
      captures === null ? null : leadingTo(this.nodes.keys(), new Set(captures.map(({ edge }) => edge.node)));
  }

  run(seeds: readonly Tensor[]): void {
    this.roots.forEach((edge, i) => this.deliver(edge, seeds[i] as Tensor));
    for (const node of new Set(this.roots.map((edge) => edge.node)))
      if (this.pending(node).waitsFor === 0) this.ready.push(node);
    while (this.ready.size > 0) this.step(this.ready.pop());
  }

  private pending(node: GradNode): Pending {
    return this.nodes.get(node) as Pending;
  }

  private isWanted(edge: Edge | null): boolean {
    return edge !== null && (this.useful === null || this.useful.has(edge.node));
  }

  /** Runs `node`, whose gradients have all come, passes its results on and lets go of what it needed. */
  private step(node: GradNode): void {
    if (node instanceof AccumulateGrad) {
      this.finishLeaf(node, this.finished(node)?.[0] ?? null);
      return;
    }
    this.note(node);
    const grads = this.finished(node);
    this.capture(node, grads);
    const needs = node.edges.map((edge) => this.isWanted(edge));
    const runs = needs.includes(true);
    const results = grads !== null && runs ? runNode(node, grads, needs) : [];
    this.passOn(node, results, needs, grads);
    // What autograd.grad had no need to run can still be run.
    if (!this.retainGraph && (this.useful === null || runs)) node.saved?.release();
    if (grads !== null && !this.createGraph) this.free(grads);
  }

  /**
   * The gradients of `node`'s outputs, after hooks; null where there are none, or nobody wants what follows.
   */
  private finished(node: GradNode): readonly (Tensor | null)[] | null {
    const pending = this.pending(node);
    const { grads } = pending;
    pending.grads = null;
    if (grads === null || (this.useful !== null && !this.useful.has(node))) return null;
    return grads.map((grad, i) => grad && node.finishGrad(i, grad));
  }

  /** The trail says whose work follows, from hooks on. */
  private note(node: GradNode): void {
    if (this.trail === null) return;
    this.trail.leave();
    this.trail.enter(`backward of ${node.name}`, 'backward', node.path);
  }

  private capture(node: GradNode, grads: readonly (Tensor | null)[] | null): void {
    if (this.captures === null || grads === null) return;
    for (const capture of this.captures)
      if (capture.edge.node === node) capture.grad = grads[capture.edge.index] ?? null;
  }

  private finishLeaf(node: AccumulateGrad, grad: Tensor | null): void {
    if (grad === null) return;
    if (this.captures === null) accumulate(node.leaf, grad, this.createGraph);
    else this.capture(node, [node.leaf.hooks === null ? grad : runHooks(node.leaf.hooks, grad)]);
  }

  private passOn(
    node: GradNode,
    results: InputGrads,
    needs: readonly boolean[],
    grads: readonly (Tensor | null)[] | null,
  ): void {
    for (let i = 0; i < node.edges.length; i++) {
      const edge = node.edges[i];
      if (!edge) continue;
      const result = results[i];
      if (result && needs[i]) {
        // Each delivered gradient gets a handle of its own, so that each can be freed as soon as its node has
        // run.
        const shared = !this.createGraph && (results.indexOf(result) < i || grads?.includes(result) === true);
        this.deliver(edge, shared ? result.alias() : result);
      }
      if (--this.pending(edge.node).waitsFor === 0) this.ready.push(edge.node);
    }
  }

  private deliver({ node, index }: Edge, grad: Tensor): void {
    checkGrad(node, index, grad);
    const pending = this.pending(node);
    const grads = (pending.grads ??= new Array<Tensor | null>(node.outputs.length).fill(null));
    const before = grads[index];
    grads[index] = before ? primitives().add(before, grad) : grad;
    if (before && !before.isKept && !this.createGraph) before.disposeBy('backward()');
  }

  private free(grads: readonly (Tensor | null)[]): void {
    for (const grad of grads) {
      if (!grad || grad.isDisposed || grad.isKept) continue;
      if (this.captures?.some((capture) => capture.grad === grad)) continue;
      grad.disposeBy('backward()');
    }
  }
}

/** The gradients of `node`'s inputs. */
function runNode(node: GradNode, grads: readonly (Tensor | null)[], needs: readonly boolean[]): InputGrads {
  const results = scoped(`backward of ${node.name}`, () => node.backward(grads, needs));
  if (isAnomalyEnabled())
    for (const result of results)
      if (result) noteGradient(node.name, node.trace, primitives().hasNaN(result));
  return results;
}

function seedFor(op: string, root: Tensor, given: Tensor | null | undefined): Tensor {
  if (given === null || given === undefined) {
    if (root.numel() !== 1) {
      throw new Error(
        `${op}: only a tensor of one element can start without a gradient; this one has shape ${showShape(root.shape)}. ` +
          'Reduce it first (sum(), mean()) or pass the gradient',
      );
    }
    return primitives().onesLike(root);
  }
  if (!(given instanceof Tensor)) {
    throw new Error(
      `${op}: the gradient to start from must be a tensor of shape ${showShape(root.shape)} or null, got ${typeof given} ` +
        `'${String(given)}'; make it one with tensor()`,
    );
  }
  if (!sameShape(given.shape, root.shape)) {
    throw new Error(
      `${op}: a gradient of shape ${showShape(given.shape)} does not fit a tensor of shape ${showShape(root.shape)}`,
    );
  }
  // As PyTorch's engine does between floating-point types.
  if (given.dtype !== root.dtype && given.isFloatingPoint() && root.isFloatingPoint())
    return primitives().fit(given, root.shape, root.dtype);
  // The engine frees gradients as it goes; the caller's stays the caller's.
  const seed = given.alias();
  if (isGradEnabled()) takePlace(seed, given);
  return seed;
}

/** Puts `seed` where `given` is on the tape: results of `createGraph` depend on where they started from. */
function takePlace(seed: Tensor, given: Tensor): void {
  const edge = edgeOf(given);
  if (edge === null) return;
  if (given.node === null) {
    seed.wantsGrad = true;
    seed.accumulator = edge.node;
  } else {
    seed.node = edge.node;
    seed.outputIndex = edge.index;
  }
}

function rootEdge(op: string, root: Tensor): Edge {
  const edge = isFloatingPoint(root.dtype) ? edgeOf(root) : null;
  if (edge === null) {
    throw new Error(
      `${op}: this tensor (shape ${showShape(root.shape)}, ${root.dtype}) does not require grad and has no gradFn: ` +
        'nothing that made it required grad, or it was made under noGrad()',
    );
  }
  return edge;
}

// They find unknown options; what is left out depends on the other options.
const runOptions = { retainGraph: undefined, createGraph: undefined };
const readBackward = optionReader('backward', runOptions);
const readGrad = optionReader('grad', { ...runOptions, gradOutputs: undefined, allowUnused: undefined });

type Seeds = Tensor | readonly (Tensor | null)[] | null;
/** By the names that PyTorch has for it, of `Tensor.backward` and of `torch.autograd.backward`. */
interface NamedSeeds {
  gradient?: Tensor | null;
  gradTensors?: Seeds;
}

/** Options given in place of the gradient, which may be among them. */
function isOptions(grads: unknown): grads is BackwardOptions & NamedSeeds {
  return typeof grads === 'object' && grads !== null && !Array.isArray(grads) && !(grads instanceof Tensor);
}

/**
 * Gradients of `roots` with respect to every leaf that requires grad, added into the leaves' `.grad`
 * (`torch.autograd.backward`). A root of more than one element needs its gradient in `grads`.
 */
export function backward(
  roots: Tensor | readonly Tensor[],
  grads?: Seeds | (BackwardOptions & NamedSeeds),
  options: BackwardOptions = {},
): void {
  const list = roots instanceof Tensor ? [roots] : roots;
  if (isOptions(grads)) {
    const { gradient = null, gradTensors = gradient, ...rest } = grads;
    return backward(roots, gradTensors, { ...options, ...rest });
  }
  readBackward([options]);
  const given = grads === null || grads === undefined ? [] : Array.isArray(grads) ? grads : [grads];
  const edges = list.map((root) => rootEdge('backward', root));
  inMode(options.createGraph ?? false, () => {
    const seeds = list.map((root, i) => seedFor('backward', root, given[i]));
    new Pass(edges, options, null).run(seeds);
  });
}

export interface GradOptions extends BackwardOptions {
  gradOutputs?: Tensor | readonly (Tensor | null)[] | null;
  /** Return null for an input the outputs do not depend on instead of throwing. */
  allowUnused?: boolean;
}

/**
 * `torch.autograd.grad`: the gradients of `outputs` with respect to `inputs`, returned; no `.grad` changes.
 */
export function grad(
  outputs: Tensor | readonly Tensor[],
  inputs: Tensor | readonly Tensor[],
  options?: GradOptions & { allowUnused?: false },
): Tensor[];
export function grad(
  outputs: Tensor | readonly Tensor[],
  inputs: Tensor | readonly Tensor[],
  options: GradOptions,
): (Tensor | null)[];
export function grad(
  outputs: Tensor | readonly Tensor[],
  inputs: Tensor | readonly Tensor[],
  options: GradOptions = {},
): (Tensor | null)[] {
  readGrad([options]);
  const roots = outputs instanceof Tensor ? [outputs] : outputs;
  const wanted = inputs instanceof Tensor ? [inputs] : inputs;
  const gradOutputs = options.gradOutputs;
  const given =
    gradOutputs === null || gradOutputs === undefined
      ? []
      : gradOutputs instanceof Tensor
        ? [gradOutputs]
        : gradOutputs;
  const edges = roots.map((root) => rootEdge('grad', root));
  const captures: Capture[] = wanted.map((input, i) => {
    const edge = edgeOf(input);
    if (edge === null)
      throw new Error(`grad: input ${i} (shape ${showShape(input.shape)}) does not require grad`);
    return { edge, grad: null };
  });
  const results = inMode(options.createGraph ?? false, () => {
    const seeds = roots.map((root, i) => seedFor('grad', root, given[i]));
    new Pass(edges, options, captures).run(seeds);
    return captures.map((capture) => capture.grad);
  });
  if (options.allowUnused !== true) {
    const unused = results.indexOf(null);
    if (unused >= 0) {
      throw new Error(
        `grad: input ${unused} was not used to compute the outputs; pass { allowUnused: true } to get null for it`,
      );
    }
  }
  return results;
}
