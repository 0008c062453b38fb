import { currentRecording, currentTrail } from '../device/index.js';
import { isFloatingPoint, type DType } from '../tensor/dtype.js';
import { isTensor, type GradFn, type Tensor, type TensorHook } from '../tensor/tensor.js';
import { sameShape, showShape, type Shape } from '../tensor/shape.js';
import { isAnomalyEnabled } from './anomaly.js';
import { primitives } from './primitives.js';
import { currentSaver, type Saver } from './recompute.js';
import type { SavedTensors } from './saved.js';

/** Where a gradient goes next: input `index` of `node`. */
export interface Edge {
  readonly node: GradNode;
  readonly index: number;
}

/** Gradients of a node's inputs, in the order of its edges; null where none flows. */
export type InputGrads = readonly (Tensor | null | undefined)[];

export type BackwardFn = (grads: readonly (Tensor | null)[], needs: readonly boolean[]) => InputGrads;

let sequence = 0;
let liveNodes = 0;

/** Number of tape nodes recorded since the process started; a frozen prefix adds none. */
export const recordedNodes = (): number => liveNodes;

export interface OutputMeta {
  readonly shape: Shape;
  readonly dtype: DType;
}

/** One recorded op. Nodes only point towards the leaves. */
export class GradNode implements GradFn {
  /** Later ops have larger numbers; the engine runs nodes from the largest down. */
  readonly sequence: number;
  readonly outputs: OutputMeta[] = [];
  /** Stack of the forward call, kept in anomaly mode. */
  readonly trace: string | undefined;
  /** The checkpointed call that it was recorded in, which computes again what `saved` stands for. */
  readonly saver: Saver | null;
  /** The module that it was recorded in, while a profile is taken. */
  readonly path: string;
  private hookLists: TensorHook[][] | null = null;
  private retained: (WeakRef<Tensor> | undefined)[] | null = null;

  constructor(
    readonly name: string,
    readonly edges: readonly (Edge | null)[],
    readonly saved: SavedTensors | null,
    private readonly fn: BackwardFn,
    order?: number,
  ) {
    this.sequence = order ?? sequence++;
    if (order === undefined) liveNodes++;
    this.path = currentTrail()?.path ?? '';
    this.saver = saved === null ? null : currentSaver();
    if (saved !== null && this.saver?.discards !== true) saved.watch(this);
    if (isAnomalyEnabled()) this.trace = new Error(`forward of ${name}`).stack;
  }

  /**
   * Makes `tensor` this node's next output. Its `retainGrad()` comes along, so that it gets the gradient of
   * the values it has now; not so where only part of it was written, through a view (PyTorch's rule).
   */
  addOutput(tensor: Tensor, whole = true): void {
    const index = this.outputs.length;
    this.outputs.push({ shape: tensor.shape, dtype: tensor.dtype });
    if (isFloatingPoint(tensor.dtype)) this.placeOutput(tensor, index, whole);
  }

  /** @internal Makes `tensor`, which an in-place op gave the values of output `index`, that output. */
  placeOutput(tensor: Tensor, index: number, whole = true): void {
    tensor.node = this;
    tensor.outputIndex = index;
    tensor.wantsGrad = false;
    if (whole && tensor.retainedBy !== null) {
      tensor.retainedBy.dropRetained(tensor);
      this.retainGrad(tensor);
    }
  }

  backward(grads: readonly (Tensor | null)[], needs: readonly boolean[]): InputGrads {
    return this.fn(grads, needs);
  }

  hooksOf(index: number): TensorHook[] {
    this.hookLists ??= [];
    return (this.hookLists[index] ??= []);
  }

  retainGrad(tensor: Tensor): void {
    this.retained ??= [];
    this.retained[tensor.outputIndex] = new WeakRef(tensor);
    tensor.retainedBy = this;
  }

  dropRetained(tensor: Tensor): void {
    const { retained } = this;
    if (retained === null) return;
    for (let i = 0; i < retained.length; i++) if (retained[i]?.deref() === tensor) retained[i] = undefined;
  }

  /** @internal Runs tensor hooks and `retainGrad` for output `index`. */
  finishGrad(index: number, grad: Tensor): Tensor {
    const hooks = this.hookLists?.[index];
    if (hooks !== undefined) grad = runHooks(hooks, grad);
    const keeper = this.retained?.[index]?.deref();
    if (keeper !== undefined) {
      const before = keeper.leafGrad;
      keeper.grad = (before === null ? grad : primitives().add(before, grad)).keep();
    }
    return grad;
  }
}

/**
 * @internal A user's hook may hold on to the gradient it sees, so from then on only the collector may free
 * it.
 */
export function runHooks(hooks: readonly TensorHook[], grad: Tensor): Tensor {
  if (hooks.length > 0) currentRecording()?.refuse('a hook sees its gradients');
  for (const hook of [...hooks]) {
    grad.keep();
    const changed: unknown = hook(grad) ?? grad;
    if (changed !== grad) checkHooked('a tensor hook', changed, grad);
    // What it returns may be a tensor that it holds, too.
    grad = (changed as Tensor).keep();
  }
  return grad;
}

/** @internal What a user's function returned in place of a tensor. */
export const shown = (value: unknown): string =>
  value instanceof Promise ? 'a promise (it cannot be async)' : `${typeof value} '${String(value)}'`;

/**
 * @internal Throws unless `changed`, which `hook` returned in place of `grad`, is a tensor of its shape and
 * dtype.
 */
export function checkHooked(hook: string, changed: unknown, grad: Tensor): void {
  const should = `expected a tensor of shape ${showShape(grad.shape)} (${grad.dtype}), or nothing to keep the gradient as it is`;
  if (!isTensor(changed)) throw new Error(`${hook} returned ${shown(changed)}: ${should}`);
  if (!sameShape(changed.shape, grad.shape))
    throw new Error(`${hook} changed the gradient's shape to ${showShape(changed.shape)}: ${should}`);
  if (changed.dtype !== grad.dtype)
    throw new Error(`${hook} changed the gradient's dtype to ${changed.dtype}: ${should}`);
}

/** @internal Where the gradient of `tensor` goes; null when it needs none. */
export function edgeOf(tensor: Tensor): Edge | null {
  tensor.viewOf?.settle();
  if (tensor.node !== null) return { node: tensor.node as GradNode, index: tensor.outputIndex };
  if (!tensor.wantsGrad) return null;
  tensor.accumulator ??= new AccumulateGrad(tensor);
  return { node: tensor.accumulator as GradNode, index: 0 };
}

/** The end of the tape: adds into a leaf's `.grad`. It runs as soon as the whole gradient is known. */
export class AccumulateGrad extends GradNode {
  constructor(readonly leaf: Tensor) {
    super('AccumulateGrad', [], null, () => [], Number.MAX_SAFE_INTEGER);
    this.outputs.push({ shape: leaf.shape, dtype: leaf.dtype });
  }
}

/** A {@link BackwardFn} that also gets what was saved. */
export type RecordedBackward = (
  grads: readonly (Tensor | null)[],
  needs: readonly boolean[],
  kept: readonly (Tensor | null)[],
) => InputGrads;

/**
 * Puts an op on the tape. `backward` gets the gradients of `outputs`, which inputs want theirs (in the order
 * of `edges`), and what was saved.
 */
export function record(
  name: string,
  edges: readonly (Edge | null)[],
  saved: SavedTensors,
  outputs: readonly Tensor[],
  backward: RecordedBackward,
): GradNode {
  const node: GradNode = new GradNode(name, edges, saved, (grads, needs) =>
    backward(grads, needs, saved.unpack(node)),
  );
  for (const output of outputs) node.addOutput(output);
  node.saver?.recorded(name);
  return node;
}
