import { reshapedCopy, type Formula } from './formulas.js';
import { isContiguous, overlap, overlapsItself, pointwiseStrides } from './layout.js';
import { NdArray, broadcastStrides, positions, rowMajor, sameShape } from './ndarray.js';
import {
  edgeOf,
  gradFnOf,
  Node,
  rebaseHistory,
  refuseView,
  runBackward,
  SavedTensor,
  type Edge,
  type Grads,
} from './node.js';
import { Refused, Tensor, Undefined, type Creation, type Geometry, type Hook } from './tensor.js';

const geometryOf = (values: NdArray | undefined): Geometry[] =>
  values === undefined ? [] : [{ shape: values.shape, strides: rowMajor(values.shape), offset: 0 }];

/**
 * What PyTorch does with tensors, in float64: each method is a rule of the eager engine. Statements are
 * refused before they change anything, except `backward`.
 *
 * With `lenient`, saved tensors are copies and graphs are never freed: an engine that keeps copies may accept
 * what PyTorch refuses, and this is what it then has to give.
 */
export class Machine {
  gradMode = true;
  /** The largest magnitude of any value or gradient so far. */
  largest = 0;
  /** The largest sum of magnitudes of a gradient: what is rounded where its elements cancel in a sum. */
  largestSum = 0;
  /** The least distance from a kink or a tie so far. */
  margin = Infinity;

  constructor(
    readonly lenient = false,
    /** Follow PyTorch's code where it differs from its documentation; see `ViewInfo.inherits`. */
    private readonly literal = false,
  ) {}

  leaf(values: NdArray, requiresGrad: boolean): Tensor {
    const result = Tensor.from(values);
    result.wantsGrad = requiresGrad;
    this.see(values);
    return result;
  }

  private see(values: NdArray): void {
    for (const value of values.data) if (!(Math.abs(value) <= this.largest)) this.largest = Math.abs(value);
  }

  private readonly seeGradient = (grad: NdArray): void => {
    this.see(grad);
    this.largestSum = Math.max(
      this.largestSum,
      grad.data.reduce((sum, value) => sum + Math.abs(value), 0),
    );
  };

  private compute(formula: Formula, inputs: readonly Tensor[]): NdArray {
    const values = inputs.map((x) => x.read());
    const result = formula.forward(...values);
    if (formula.margin) this.margin = Math.min(this.margin, formula.margin(...values));
    this.see(result);
    return result;
  }

  private needs(inputs: readonly Tensor[]): boolean[] | null {
    if (!this.gradMode || !inputs.some((x) => x.requiresGrad)) return null;
    return inputs.map((x) => x.requiresGrad);
  }

  // ---- ops

  /** An op that makes a tensor of its own. */
  apply(formula: Formula, inputs: readonly Tensor[]): Tensor {
    const needs = this.needs(inputs);
    const edges = needs && inputs.map(edgeOf);
    const values = this.compute(formula, inputs);
    const result = Tensor.from(
      values,
      formula.layout === 'pointwise'
        ? pointwiseStrides(values.shape, [...geometryOf(formula.leading), ...inputs])
        : rowMajor(values.shape),
    );
    if (needs && edges) {
      result.gradFn = this.record(
        formula,
        inputs,
        edges,
        savesOf(formula, edges).map((i) => [i, inputs[i] as Tensor]),
        result,
      );
    }
    return result;
  }

  /** An op whose result is written over `inputs[0]`. */
  inPlace(formula: Formula, inputs: readonly Tensor[]): void {
    const self = inputs[0] as Tensor;
    const needs = this.needs(inputs);
    if (needs || (this.gradMode && self.view?.base.requiresGrad)) this.checkInPlace(self);
    const edges = needs && inputs.map(edgeOf);
    const values = this.compute(formula, inputs);
    if (!sameShape(values.shape, self.shape)) throw new Refused('shape');
    this.checkOverlap(self, inputs.slice(1));
    if (needs && self.view && overlapsItself(self.view.base))
      throw new Undefined('writes into one element of an expanded tensor, which has no gradient');
    // What is overwritten could not be saved as it is: PyTorch keeps a copy of it, but not of another input
    // on the same memory.
    const saves = edges ? savesOf(formula, edges) : [];
    const saved = saves.map((i): [number, Tensor] => [
      i,
      i === 0 ? Tensor.from(self.read()) : (inputs[i] as Tensor),
    ]);
    const early = saved.map(([i, x]): [number, SavedTensor] => [i, new SavedTensor(x, this.lenient)]);
    self.write(values);
    self.storage.version++;
    if (needs && edges) {
      rebaseHistory(self, this.record(formula, inputs, edges, early, self), this.lenient);
    }
  }

  private checkInPlace(self: Tensor): void {
    if (self.view !== null) {
      refuseView(self);
      const watched = self.requiresGrad || self.view.base.requiresGrad;
      if (watched && gradFnOf(self.view.base) === null) throw new Refused('view of leaf');
    }
    if (self.requiresGrad && this.isLeaf(self)) throw new Refused('leaf');
  }

  /**
   * PyTorch's code looks at what it last knew of a view, and takes one for a leaf whose base was written to
   * since.
   */
  private isLeaf(x: Tensor): boolean {
    return (this.literal ? x.gradFn : gradFnOf(x)) === null;
  }

  private checkOverlap(self: Tensor, sources: readonly Tensor[]): void {
    if (overlapsItself(self)) throw new Refused('internal overlap');
    const written = positions(self.shape, self.strides, self.offset);
    if (new Set(written).size < written.length) throw new Undefined('writes one location several times');
    for (const source of sources) {
      if (source.storage !== self.storage) continue;
      const status = overlap(self, source);
      if (status === 'partial' && !this.lenient) throw new Refused('partial overlap');
      const read = positions(
        self.shape,
        broadcastStrides(source.shape, source.strides, self.shape),
        source.offset,
      );
      if (status === 'unknown' && read.some((at, i) => written.includes(at) && at !== written[i]))
        throw new Undefined('reads what it writes');
    }
  }

  private record(
    { name, backward, savesOther = false, savesOutput = false }: Formula,
    inputs: readonly Tensor[],
    edges: readonly (Edge | null)[],
    saves: readonly (readonly [number, Tensor | SavedTensor])[],
    result: Tensor,
  ): Node {
    const shapes = inputs.map((x) => x.shape);
    const saved = saves.map(
      ([i, x]) => [i, x instanceof SavedTensor ? x : new SavedTensor(x, this.lenient)] as const,
    );
    const output = savesOutput ? new SavedTensor(result, this.lenient, true) : undefined;
    const keeps = savesOther || output !== undefined || saved.length > 0;
    return new Node(
      name,
      edges,
      keeps,
      ([grad]) => {
        const values = new Array<NdArray | undefined>(shapes.length).fill(undefined);
        for (const [i, tensor] of saved) values[i] = tensor.unpack();
        const thunks = backward(grad as NdArray, { inputs: values, output: output?.unpack(), shapes });
        return edges.map((edge, i) => (edge === null ? null : (thunks[i] as () => NdArray)()));
      },
      1,
      this.lenient,
    );
  }

  // ---- views

  /**
   * Views of `x`, whose geometry `make` derives from that of `x`. Several at once (`split`) are the outputs
   * of one op and may not be written in place.
   */
  views(name: string, x: Tensor, make: (x: Geometry) => Geometry[], several = false): Tensor[] {
    const fresh: Creation = !this.gradMode ? 'noGrad' : several ? 'multi-output' : 'default';
    const creation = fresh === 'default' && x.view !== null ? x.view.creation : fresh;
    const inherits = this.literal ? 'always' : creation === 'noGrad' ? 'never' : 'since a write';
    const needs = this.needs([x]);
    const edge = needs && edgeOf(x);
    const results = make(x).map((window) => {
      const result = new Tensor(x.storage, window);
      result.view = { base: x.view?.base ?? x, creation, inherits, version: x.storage.version };
      return result;
    });
    if (needs) {
      const { shape } = x;
      // Of a row-major array, memory positions are row-major indices: they say where each element of the view
      // comes from.
      const sources = make({ shape, strides: rowMajor(shape), offset: 0 }).map((window) =>
        positions(window.shape, window.strides, window.offset),
      );
      const backward = (grads: Grads): Grads => {
        const out = NdArray.full(shape, 0);
        sources.forEach((from, k) => {
          const grad = grads[k];
          if (grad)
            from.forEach((at, i) => (out.data[at] = (out.data[at] as number) + (grad.data[i] as number)));
        });
        return [out];
      };
      const node = new Node(name, [edge], false, backward, results.length);
      results.forEach((result, i) => {
        result.gradFn = node;
        result.outputIndex = i;
      });
    }
    return results;
  }

  /** The same memory, cut off from the tape; the version counter is shared. */
  detach(x: Tensor): Tensor {
    return new Tensor(x.storage, x);
  }

  /** The tensor itself if it lies row-major already, else a copy that does. */
  contiguous(x: Tensor): Tensor {
    return isContiguous(x) ? x : this.apply(reshapedCopy(x.shape), [x]);
  }

  // ---- the tape

  detach_(x: Tensor): void {
    if (x.view !== null) throw new Refused('detach view');
    x.gradFn = null;
    x.wantsGrad = false;
  }

  setRequiresGrad(x: Tensor, value: boolean): void {
    // PyTorch asks for the node from before the write, and what wants gradients by its base goes on to do so.
    const lost = x.view?.creation === 'multi-output' && x.view.version !== x.storage.version;
    if (lost && x.inheritsGrad && x.gradFn === null) return;
    if (!value && !this.isLeaf(x)) throw new Refused('not a leaf');
    x.wantsGrad = value;
  }

  retainGrad(x: Tensor): void {
    if (!x.requiresGrad) throw new Refused('no grad');
    const node = gradFnOf(x);
    if (node === null || x.retainedBy !== null) return;
    x.retainedBy = node;
    node.retained[x.outputIndex] = x;
  }

  hook(x: Tensor, hook: Hook): void {
    if (!x.requiresGrad) throw new Refused('no grad');
    const node = gradFnOf(x);
    if (node === null) x.hooks.push(hook);
    else (node.hooks[x.outputIndex] ??= []).push(hook);
  }

  backward(roots: readonly Tensor[], seeds: readonly NdArray[], retainGraph: boolean): void {
    runBackward(roots.map(needEdge), seeds, { retainGraph, watch: this.seeGradient });
  }

  /** `autograd.grad`: copies of the gradients at `inputs`. */
  grad(
    outputs: readonly Tensor[],
    inputs: readonly Tensor[],
    seeds: readonly NdArray[],
    retainGraph: boolean,
  ): Tensor[] {
    const roots = outputs.map(needEdge);
    const captures = inputs.map(needEdge);
    const grads = runBackward(roots, seeds, { retainGraph, captures, watch: this.seeGradient });
    return grads.map((grad) => {
      if (grad === null) throw new Refused('unused');
      return Tensor.from(grad);
    });
  }
}

/** Which inputs a formula saves, given which gradients go anywhere. */
const savesOf = (formula: Formula, edges: readonly (Edge | null)[]): readonly number[] =>
  formula.savesInputs?.(edges.map((edge) => edge !== null)) ?? [];

function needEdge(x: Tensor): Edge {
  const edge = edgeOf(x);
  if (edge === null) throw new Refused('no grad');
  return edge;
}
