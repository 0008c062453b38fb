import { currentRecording } from '../../device/index.js';
import { isInferenceMode, isGradEnabled } from '../../autograd/mode.js';
import {
  edgeOf,
  GradNode,
  record,
  type BackwardFn,
  type Edge,
  type RecordedBackward,
} from '../../autograd/node.js';
import { primitives } from '../../autograd/primitives.js';
import { SavedTensors } from '../../autograd/saved.js';
import { geometryOf, limitOf } from '../../autograd/view.js';
import { differentiate } from '../../kernels/expr/grad.js';
import { e, input, inputsOf, replace, substitute, type Expr } from '../../kernels/expr/expr.js';
import { isFloatingPoint, type DType } from '../../tensor/dtype.js';
import {
  broadcastShapes,
  denseStrides,
  isContiguous,
  overlapsItself,
  sameShape,
  showShape,
  stridesLike,
} from '../../tensor/shape.js';
import { Tensor } from '../../tensor/tensor.js';
import { scoped } from '../../tensor/tidy.js';
import { copyInto } from './copies.js';
import { launchInPlace, launchPointwise } from './launch-pointwise.js';
import { replaceRegion, takeRegion } from './region.js';
import { sumTo } from './sum-to.js';
import { checkWrite, type WriteOptions } from './write.js';

/**
 * A pointwise computation with everything settled but the tensors: `expr` reads input `i` in the type its
 * dtype computes in (see `dtypeInfo`), broadcasts all inputs, and is stored as `dtype`.
 */
export interface Pointwise {
  readonly name: string;
  readonly expr: Expr;
  readonly inputs: readonly DType[];
  readonly dtype: DType;
  /** Names of the scalar parameters in `expr`. */
  readonly params: readonly string[];
  /**
   * Gradient of input `i` as an expression over the inputs, then the output's gradient (index n) and the
   * output (n + 1). Null where no gradient flows, a constant 0 for zeros. Default: the symbolic derivative.
   */
  readonly grads?: readonly (Expr | null)[];
  /** What the gradient reads and may all the same be overwritten: the tape copies it first. */
  readonly lends?: 'result' | 'operands';
}

const gradients = new WeakMap<Pointwise, (Gradient | null)[]>();

interface Gradient {
  readonly pointwise: Pointwise;
  /**
   * For each input of `pointwise`: an input of the forward (0..n-1), the gradient (n) or the output (n + 1).
   */
  readonly reads: readonly number[];
  /** The same as bits. */
  readonly mask: number;
  /** The gradient is the incoming one as it is, or zero throughout. */
  readonly kind: 'pass' | 'zero' | 'computed';
}

function gradientOf(op: Pointwise, i: number): Gradient | null {
  let known = gradients.get(op);
  if (known === undefined) gradients.set(op, (known = []));
  const gradient = known[i];
  return gradient !== undefined ? gradient : (known[i] = makeGradient(op, i));
}

function makeGradient(op: Pointwise, i: number): Gradient | null {
  const n = op.inputs.length;
  const g = input(n);
  const expr = op.grads !== undefined ? (op.grads[i] ?? null) : e.mul(g, derivativeOf(op, i));
  if (expr === null) return null;
  const reads = inputsOf(expr);
  const dtypes = reads.map((read) => (read < n ? (op.inputs[read] as DType) : op.dtype));
  const compact = substitute(expr, (index, type) => input(reads.indexOf(index), type));
  return {
    pointwise: {
      name: `${op.name}Backward`,
      expr: compact,
      inputs: dtypes,
      dtype: op.inputs[i] as DType,
      params: op.params,
    },
    reads,
    mask: reads.reduce((bits, read) => bits | (1 << read), 0),
    kind:
      expr.op === 'const' && expr.value === 0
        ? 'zero'
        : expr === g && op.inputs[i] === op.dtype
          ? 'pass'
          : 'computed',
  };
}

/** From the result alone where that is enough (`exp`), so that only the result is kept. */
function derivativeOf(op: Pointwise, i: number): Expr {
  const n = op.inputs.length;
  const derivative = differentiate(op.expr, i);
  const fromResult = replace(derivative, op.expr, input(n + 1));
  return inputsOf(fromResult).every((read) => read > n) ? fromResult : derivative;
}

/** Runs `op` on `inputs` and records it. `params` follow `op.params`. */
export function applyPointwise(
  op: Pointwise,
  inputs: readonly Tensor[],
  params: readonly number[] = [],
): Tensor {
  const shape = shapeOf(op.name, inputs);
  const out = emptyFor(shape, op.dtype, op.name, inputs);
  launchPointwise(op, inputs, params, out, false);
  if (isInferenceMode()) out.isInference = true;
  if (isGradEnabled() && isFloatingPoint(op.dtype)) {
    const edges = edgesOf(inputs);
    if (edges !== null)
      record(op.name, edges, saveFor(op, inputs, edges, out), [out], gradientsOf(op, inputs, params));
  }
  return out;
}

function shapeOf(name: string, inputs: readonly Tensor[]): readonly number[] {
  const first = inputs[0]?.shape;
  if (first === undefined) return [];
  for (let i = 1; i < inputs.length; i++) {
    if (!sameShape((inputs[i] as Tensor).shape, first))
      return broadcastShapes(name, ...inputs.map((x) => x.shape));
  }
  return first;
}

/** Where the inputs' gradients go; null when no input wants one. */
function edgesOf(inputs: readonly Tensor[]): Edges | null {
  let edges: (Edge | null)[] | null = null;
  for (let i = 0; i < inputs.length; i++) {
    const edge = edgeOf(inputs[i] as Tensor);
    if (edge !== null) (edges ??= new Array<Edge | null>(inputs.length).fill(null))[i] = edge;
  }
  return edges;
}

/** @internal Whether a write that reads `inputs` goes on the tape; `inputs[0]` is what is written. */
export function isRecordedWrite(inputs: readonly Tensor[]): boolean {
  const self = inputs[0] as Tensor;
  if (!isGradEnabled() || !isFloatingPoint(self.dtype)) return false;
  // A view made without grad mode has no history of its own, but its base may have one.
  return inputs.some((x) => x.requiresGrad) || self.viewOf?.base.requiresGrad === true;
}

/**
 * Runs `op` and writes the result over input 0, which must already have the result's shape and dtype (`add_`
 * and its kin).
 */
export function applyInPlace(
  op: Pointwise,
  inputs: readonly Tensor[],
  params: readonly number[] = [],
  options: WriteOptions = {},
): Tensor {
  const self = inputs[0] as Tensor;
  const shape = broadcastShapes(op.name, ...inputs.map((x) => x.shape));
  if (!sameShape(shape, self.shape)) {
    throw new Error(
      `${op.name}: the result of shape ${showShape(shape)} does not fit the tensor of shape ${showShape(self.shape)} it is written to`,
    );
  }
  checkWrite(op.name, self, inputs, options);
  const recorded = isRecordedWrite(inputs);
  if (recorded && readsTarget(op, inputs) && standsAlone(self)) return applyAside(op, inputs, params);
  const record = recorded ? beginRecord(op, inputs) : null;
  // A source that shares the memory would be read while it is written.
  const operands = inputs.map((x, i) => (i > 0 && x.storage === self.storage ? detachedCopy(x) : x));
  self.storage.beginWrite(op.name);
  launchInPlace(op, operands, params, self);
  operands.forEach((x, i) => {
    if (x !== inputs[i]) x.dispose();
  });
  if (record !== null) recordWrite(op, inputs, params, record);
  return self;
}

/** Whether a gradient needs what {@link applyInPlace} overwrites. */
function readsTarget(op: Pointwise, inputs: readonly Tensor[]): boolean {
  const { storage } = inputs[0] as Tensor;
  return inputs.some(
    (x, i) =>
      x.storage === storage &&
      inputs.some((y, j) => y.requiresGrad && ((gradientOf(op, j)?.mask ?? 0) >> i) & 1),
  );
}

/**
 * @internal Whether `self` may be given other memory, because nothing but itself and the tape shows the
 * present one: then the tape can keep that, where a write over it would cost a copy.
 */
export function standsAlone(self: Tensor): boolean {
  const { storage } = self;
  if (!storage.hasOneHandle || self.offset !== 0 || !self.isDense() || storage.bytes !== self.nbytes)
    return false;
  // A view of what is gone is one of nothing.
  if (self.viewOf !== null && (!self.viewOf.base.isDisposed || limitOf(self.viewOf) !== '')) return false;
  // Replays write where the recorded call did.
  const recording = currentRecording();
  return recording === null || recording.own.has(storage.deviceBuffer.block);
}

/** {@link applyInPlace} of a tensor that {@link standsAlone}: into memory of its own. */
function applyAside(op: Pointwise, inputs: readonly Tensor[], params: readonly number[]): Tensor {
  const self = inputs[0] as Tensor;
  const edges = inputs.map(edgeOf);
  self.storage.beginWrite(op.name);
  const saved = saveFor(op, inputs, edges);
  const out = emptyLike(self, op.name);
  launchPointwise(op, inputs, params, out, false);
  self.becomes(out);
  const usesOut = edges.some(
    (edge, i) => edge !== null && gradientOf(op, i)?.reads.includes(inputs.length + 1),
  );
  record(op.name, edges, saved, [self], gradientsOf(op, inputs, params));
  saved.save(usesOut ? self : null, 0);
  return self;
}

const emptyLike = (x: Tensor, op: string): Tensor => Tensor.empty(x.shape, x.dtype, op, x.strides, x);

/** A copy that has the place of `x` on the tape, for gradients of gradients. */
function copyForTape(x: Tensor): Tensor {
  const copy = detachedCopy(x);
  const edge = edgeOf(x);
  if (edge === null) return copy;
  if (x.node === null) {
    copy.wantsGrad = true;
    copy.accumulator = edge.node;
  } else {
    copy.node = edge.node;
    copy.outputIndex = edge.index;
  }
  return copy;
}

function detachedCopy(x: Tensor): Tensor {
  const out = emptyFor(x.shape, x.dtype, 'clone', [x]);
  copyInto(out, x);
  return out;
}

/**
 * A result in the memory order that the operands have in PyTorch's opinion: most often that of the first,
 * which has the result's shape.
 */
function emptyFor(shape: readonly number[], dtype: DType, name: string, inputs: readonly Tensor[]): Tensor {
  if (inputs.every((x) => isContiguous(x.shape, x.strides))) return Tensor.empty(shape, dtype, name);
  const first = inputs.find((x) => x.shape.some((size) => size > 1));
  if (first === undefined) return Tensor.empty(shape, dtype, name);
  const decides = sameShape(first.shape, shape) && first.isDense();
  const strides = decides
    ? stridesLike(shape, first.shape, first.strides)
    : denseStrides(shape, ...inputs.map((x) => broadcastStrides(x, shape)));
  if (isContiguous(shape, strides)) return Tensor.empty(shape, dtype, name);
  const like = inputs.find((x) => x.storage.ownOrder) ?? first;
  return Tensor.empty(shape, dtype, name, strides, like);
}

/** 0 where `x` is broadcast. */
function broadcastStrides(x: Tensor, shape: readonly number[]): number[] {
  const lead = shape.length - x.shape.length;
  return shape.map((size, d) =>
    d < lead || (x.shape[d - lead] !== size && x.shape[d - lead] === 1) ? 0 : (x.strides[d - lead] as number),
  );
}

/** Keeps what the gradients along `edges` read. */
function saveFor(
  op: Pointwise,
  inputs: readonly Tensor[],
  edges: Edges,
  out?: Tensor,
  overwritten = false,
): SavedTensors {
  const n = inputs.length;
  let wanted = 0;
  for (let i = 0; i < n; i++) if (edges[i] !== null) wanted |= gradientOf(op, i)?.mask ?? 0;
  const saved = new SavedTensors();
  if (wanted === 0) return saved;
  for (let i = 0; i < n; i++) {
    const source = (wanted >> i) & 1 ? (inputs[i] as Tensor) : null;
    // What an in-place op reads of its own target is gone afterwards: the tape keeps a copy.
    const copy =
      source !== null && overwritten && source.storage === (inputs[0] as Tensor).storage
        ? copyForTape(source)
        : null;
    saved.save(copy ?? source, -1, op.lends === 'operands');
    copy?.dispose();
  }
  if (out !== undefined) saved.save((wanted >> (n + 1)) & 1 ? out : null, 0, op.lends === 'result');
  return saved;
}

type Edges = readonly (Edge | null)[];

interface WriteRecord {
  /**
   * Where the gradients of the operands go; that of the target is there even if it has no history, for a
   * view.
   */
  readonly edges: Edges;
  /** Where the history of the written tensor, or of its base, has got to. */
  readonly history: Edge | null;
  readonly saved: SavedTensors;
}

/** What must be looked up and saved before the memory changes. */
function beginRecord(op: Pointwise, inputs: readonly Tensor[]): WriteRecord {
  const self = inputs[0] as Tensor;
  const base = self.viewOf?.base ?? null;
  const limit = limitOf(self.viewOf);
  if (base !== null && limit !== '') throw new Error(`${op.name}: ${limit}, or clone() it first`);
  if (base !== null && overlapsItself(base.shape, base.strides)) {
    throw new Error(
      `${op.name}: this tensor is a view of an expanded one, whose gradient would have no place to go; clone() it first`,
    );
  }
  const own = edgeOf(self);
  const history = base === null ? own : edgeOf(base);
  const edges = [
    base === null || history === null ? history : (own ?? history),
    ...inputs.slice(1).map(edgeOf),
  ];
  return { edges, history, saved: saveFor(op, inputs, edges, undefined, true) };
}

/** Gives the written tensor, or the tensor that it is a view of, its new place on the tape. */
function recordWrite(
  op: Pointwise,
  inputs: readonly Tensor[],
  params: readonly number[],
  { edges, history, saved }: WriteRecord,
): void {
  const self = inputs[0] as Tensor;
  const base = self.viewOf?.base ?? null;
  const n = inputs.length;
  const usesOut = edges.some((edge, i) => edge !== null && gradientOf(op, i)?.reads.includes(n + 1));
  const gradients = gradientsOf(op, inputs, params);
  if (base === null) {
    record(op.name, edges, saved, [self], gradients);
    saved.save(usesOut ? self : null, 0);
    return;
  }
  // The write changed part of the base: the base's new history passes the rest of its gradient on as it is.
  saved.save(usesOut ? detachedCopy(self) : null);
  const [place, slice] = [geometryOf(base), geometryOf(self)];
  const node = record(op.name, [history, ...edges.slice(1)], saved, [], ([grad], needs, kept) => {
    if (!grad) return [];
    // For gradients of gradients, the result is the part of the base that this node wrote.
    const out = usesOut && isGradEnabled() ? kept[n] : null;
    if (out) {
      const part: BackwardFn = ([g]) => [g ? primitives().placeRegion(g, place, slice) : null];
      new GradNode('view', [{ node, index: 0 }], null, part).addOutput(out);
    }
    const [own, ...others] = gradients([takeRegion(grad, place, slice)], needs, kept);
    if (!needs[0]) return [null, ...others];
    return [replaceRegion(grad, own ?? primitives().zeros(slice.shape, grad.dtype), place, slice), ...others];
  });
  node.addOutput(base, false);
  self.viewOf?.refresh();
}

/** The gradients of `op`'s inputs; `kept` is what {@link saveFor} saved. */
function gradientsOf(op: Pointwise, inputs: readonly Tensor[], params: readonly number[]): RecordedBackward {
  const n = inputs.length;
  const shapes = inputs.map((x) => x.shape);
  return ([grad], needs, kept) => {
    if (!grad) return [];
    const source = (read: number): Tensor => (read < n ? kept[read] : read === n ? grad : kept[n]) as Tensor;
    return shapes.map((shape, i) => {
      if (!needs[i]) return null;
      const gradient = gradientOf(op, i);
      if (gradient === null) return null;
      if (gradient.kind === 'pass') return sumTo(grad, shape);
      if (gradient.kind === 'zero') return primitives().zeros(shape, op.inputs[i] as DType);
      const full = applyPointwise(gradient.pointwise, gradient.reads.map(source), params);
      return sameShape(full.shape, shape) ? full : scoped(op.name, () => sumTo(full, shape));
    });
  };
}
