import {
  cat,
  dropout,
  indexSelect,
  reshape,
  select,
  stack,
  squeeze,
  transpose,
  unsqueeze,
  zeros,
} from '../../ops/index.js';
import { recurrentLayer, type RecurrentWeights, type Step } from '../../ops/sequence/recurrent.js';
import type { CellKind } from '../../ops/sequence/recurrent-cell.js';
import { optionReader, required, type Needed } from '../../tensor/options.js';
import { showShape } from '../../tensor/shape.js';
import { isTensor, type Tensor } from '../../tensor/tensor.js';
import { uniform_ } from '../base/init.js';
import { fieldsOf, Layer } from '../base/module.js';
import { Parameter, requireCount } from '../base/parameter.js';
import { py, pyFloat } from '../base/repr.js';
import { noteParameters } from '../base/tree.js';
import { type PackedSequence } from './packed.js';
import { checkTensors } from '../../ops/base/tensors.js';

export interface RecurrentOptions {
  /** Layers on top of each other. Default 1. */
  numLayers?: number;
  bias?: boolean;
  /** Inputs and outputs are [N, L, features] instead of [L, N, features]; states are not. Default false. */
  batchFirst?: boolean;
  /** Probability that an output of a layer but the last is dropped in training. Default 0. */
  dropout?: number;
  /** A second direction, from the end, whose outputs stand beside the first one's. Default false. */
  bidirectional?: boolean;
}

export interface RNNOptions extends RecurrentOptions {
  nonlinearity?: 'tanh' | 'relu';
}

export interface LSTMOptions extends RecurrentOptions {
  /** Size of the hidden state after a projection (Sak et al. 2014); 0, the default, for none. */
  projSize?: number;
}

interface Sizes {
  readonly inputSize: number;
  readonly hiddenSize: number;
}
type SizedArgs<T extends readonly unknown[], O> = Needed<
  [inputSize: number, hiddenSize: number],
  ['inputSize', 'hiddenSize'],
  T,
  O
>;
const sizes: Sizes = { inputSize: required(), hiddenSize: required() };

type Full = Required<RecurrentOptions> & Sizes;
const defaults: Full = {
  ...sizes,
  numLayers: 1,
  bias: true,
  batchFirst: false,
  dropout: 0,
  bidirectional: false,
};
const gatesOf: Readonly<Record<CellKind, number>> = { tanh: 1, relu: 1, gru: 3, lstm: 4 };

/** What RNN, LSTM and GRU share. Parameters are PyTorch's: `weightIhL0` is `weight_ih_l0` in a state dict. */
abstract class RNNBase extends Layer {
  readonly inputSize: number;
  readonly hiddenSize: number;
  readonly numLayers: number;
  readonly bias: boolean;
  readonly batchFirst: boolean;
  dropout: number;
  readonly bidirectional: boolean;
  readonly projSize: number;

  constructor(
    /** @internal */
    private readonly kind: CellKind,
    { inputSize, hiddenSize, numLayers, bias, batchFirst, dropout: p, bidirectional }: Full,
    projSize = 0,
  ) {
    super();
    const layer = this.constructor.name;
    for (const [name, size] of Object.entries({ inputSize, hiddenSize, numLayers }))
      requireCount(layer, name, size);
    if (!(p >= 0 && p <= 1)) throw new Error(`${layer}: dropout must be between 0 and 1, got ${String(p)}`);
    if (!Number.isInteger(projSize) || projSize < 0 || projSize >= hiddenSize)
      throw new Error(`${layer}: projSize must be from 0 to below hiddenSize ${hiddenSize}, got ${projSize}`);
    this.inputSize = inputSize;
    this.hiddenSize = hiddenSize;
    this.numLayers = numLayers;
    this.bias = bias;
    this.batchFirst = batchFirst;
    this.dropout = p;
    this.bidirectional = bidirectional;
    this.projSize = projSize;
    const rows = gatesOf[kind] * hiddenSize;
    const out = projSize || hiddenSize;
    const fields = fieldsOf(this);
    const blank = (...shape: number[]): Parameter => Parameter.blank(shape, `${layer}.weight`);
    for (let l = 0; l < numLayers; l++) {
      for (const at of this.suffixes(l)) {
        fields[`weightIh${at}`] = blank(rows, l === 0 ? inputSize : out * this.directions);
        fields[`weightHh${at}`] = blank(rows, out);
        if (bias) for (const name of ['biasIh', 'biasHh']) fields[name + at] = blank(rows);
        if (projSize > 0) fields[`weightHr${at}`] = blank(projSize, hiddenSize);
      }
    }
    noteParameters(this);
    this.resetParameters();
  }

  private get directions(): number {
    return this.bidirectional ? 2 : 1;
  }

  private suffixes(layer: number): string[] {
    return this.bidirectional ? [`L${layer}`, `L${layer}Reverse`] : [`L${layer}`];
  }

  resetParameters(): void {
    const bound = 1 / Math.sqrt(this.hiddenSize);
    for (const parameter of this.parameters()) uniform_(parameter, -bound, bound);
  }

  /** PyTorch's lays weights out in one buffer; there is nothing to do here. */
  flattenParameters(): void {}

  /** The parameters of each layer and direction, in PyTorch's order. */
  get allWeights(): Parameter[][] {
    return Array.from({ length: this.numLayers }, (_, l) =>
      this.suffixes(l).map((at) => Object.values(this.weights(at)).filter((w) => w !== null) as Parameter[]),
    ).flat();
  }

  private weights(at: string): RecurrentWeights {
    const named = (name: string): Parameter | null =>
      (fieldsOf(this)[name + at] as Parameter | undefined) ?? null;
    return {
      ih: named('weightIh') as Parameter,
      hh: named('weightHh') as Parameter,
      biasIh: named('biasIh'),
      biasHh: named('biasHh'),
      hr: named('weightHr'),
    };
  }

  /** Outputs and final states, of a tensor or of a packed sequence. */
  protected run<X extends Tensor | PackedSequence>(
    input: X,
    hx: Tensor | readonly Tensor[] | null | undefined,
  ): [output: X, states: Tensor[]] {
    const states = statesOf(this.constructor.name, this.kind === 'lstm' ? 2 : 1, hx);
    if (isTensor(input)) return this.runTensor(input, states) as [X, Tensor[]];
    if (!isTensor((input as Partial<PackedSequence> | null | undefined)?.data))
      throw new Error(
        `${this.constructor.name}: expected a tensor or a packed sequence, got ${String(input)}`,
      );
    return this.runPacked(input, states) as [X, Tensor[]];
  }

  private runTensor(input: Tensor, hx: readonly Tensor[] | null): [Tensor, Tensor[]] {
    const layer = this.constructor.name;
    if (input.ndim !== 2 && input.ndim !== 3)
      throw new Error(
        `${layer}: expected ${this.batchFirst ? '[N, L' : '[L, N'}, ${this.inputSize}], or [L, ${this.inputSize}] without a batch, got shape ${showShape(input.shape)}`,
      );
    const batched = input.ndim === 3;
    const x = !batched ? unsqueeze(input, 1) : this.batchFirst ? transpose(input, 0, 1) : input;
    const [steps, batch, features] = x.shape as [number, number, number];
    if (steps === 0) throw new Error(`${layer}: the sequence has no steps (shape ${showShape(input.shape)})`);
    for (const state of hx ?? [])
      if (state.ndim !== input.ndim)
        throw new Error(
          `${layer}: the input ${showShape(input.shape)} and the state ${showShape(state.shape)} must both have a batch, or neither`,
        );
    if (hx) this.checkStates(input, hx, batched ? batch : null);
    const initial = hx?.map((state) => (batched ? state : unsqueeze(state, 1)));
    const sizes = new Array<number>(steps).fill(batch);
    const [rows, states] = this.layers(reshape(x, [steps * batch, features]), initial ?? null, sizes);
    const y = reshape(rows, [steps, batch, rows.shape[1] as number]);
    if (!batched) return [squeeze(y, 1), states.map((state) => squeeze(state, 1))];
    return [this.batchFirst ? transpose(y, 0, 1) : y, states];
  }

  private runPacked(packed: PackedSequence, hx: readonly Tensor[] | null): [PackedSequence, Tensor[]] {
    const { data, batchSizes, sortedIndices, unsortedIndices } = packed;
    if (hx) this.checkStates(data, hx, batchSizes[0] as number);
    const ordered = (states: readonly Tensor[] | null, by: Tensor | null): Tensor[] | null =>
      states && states.map((state) => (by === null ? state : indexSelect(state, 1, by)));
    const [rows, states] = this.layers(data, ordered(hx, sortedIndices), batchSizes);
    return [packed.withData(rows), ordered(states, unsortedIndices) as Tensor[]];
  }

  /** Packed rows through all layers. */
  private layers(x: Tensor, hx: readonly Tensor[] | null, sizes: readonly number[]): [Tensor, Tensor[]] {
    const batch = sizes[0] as number;
    if (x.shape[x.ndim - 1] !== this.inputSize || x.ndim !== 2)
      throw new Error(
        `${this.constructor.name}: the last dim must be inputSize ${this.inputSize}, got ${x.shape.at(-1)}`,
      );
    const shapes = this.stateShapes(batch);
    const initial = hx ?? shapes.map((shape) => zeros(shape, { dtype: x.dtype }));
    const steps = stepsOf(sizes);
    const finals: Tensor[][] = shapes.map(() => []);
    let rows = x;
    for (let l = 0; l < this.numLayers; l++) {
      const outs = this.suffixes(l).map((at, d) => {
        const own = initial.map((state) => select(state, 0, l * this.directions + d));
        const order = d === 0 ? steps : [...steps].reverse();
        const [out, ...ends] = recurrentLayer(this.kind, rows, this.weights(at), own, order);
        ends.forEach((end, i) => finals[i]?.push(end));
        return out as Tensor;
      });
      rows = outs.length === 1 ? (outs[0] as Tensor) : cat(outs, 1);
      if (this.training && this.dropout > 0 && l < this.numLayers - 1) rows = dropout(rows, this.dropout);
    }
    return [rows, finals.map((ends) => stack(ends))];
  }

  /** Of the states h and, in an LSTM, c; without a batch where `batch` is null. */
  private stateShapes(batch: number | null): number[][] {
    const widths = [this.projSize || this.hiddenSize, ...(this.kind === 'lstm' ? [this.hiddenSize] : [])];
    const count = this.numLayers * this.directions;
    return widths.map((width) => (batch === null ? [count, width] : [count, batch, width]));
  }

  private checkStates(x: Tensor, states: readonly Tensor[], batch: number | null): void {
    const want = this.stateShapes(batch).map(showShape).join(' and ');
    const given = states.map((state) => showShape(state.shape)).join(' and ');
    if (given !== want)
      throw new Error(`${this.constructor.name}: expected states of shape ${want}, got ${given}`);
    checkDtypes(this.constructor.name, x, states);
  }

  override extraRepr(): string {
    let text = `${this.inputSize}, ${this.hiddenSize}`;
    if (this.projSize !== 0) text += `, proj_size=${this.projSize}`;
    if (this.numLayers !== 1) text += `, num_layers=${this.numLayers}`;
    if (!this.bias) text += ', bias=False';
    if (this.batchFirst) text += ', batch_first=True';
    if (this.dropout !== 0) text += `, dropout=${pyFloat(this.dropout)}`;
    return this.bidirectional ? `${text}, bidirectional=True` : text;
  }
}

const got = (value: unknown): string => (isTensor(value) ? showShape(value.shape) : String(value));

/** The one state or the two of a layer, or null where none is given. @throws Error for anything else */
function statesOf(layer: string, count: 1 | 2, hx: unknown): readonly Tensor[] | null {
  if (hx === undefined || hx === null) return null;
  const given: readonly unknown[] = count === 1 ? [hx] : Array.isArray(hx) ? hx : [];
  if (given.length === count && given.every(isTensor)) return given;
  const what = Array.isArray(hx) ? `[${hx.map(got).join(', ')}]` : got(hx);
  throw new Error(
    `${layer}: ${count === 1 ? 'the initial state is one tensor' : 'the initial states are two tensors, [h, c]'}, got ${what}`,
  );
}

function checkDtypes(layer: string, x: Tensor, states: readonly Tensor[]): void {
  const other = states.find(({ dtype }) => dtype !== x.dtype);
  if (other !== undefined)
    throw new Error(`${layer}: the input is ${x.dtype} and a state ${other.dtype}; they must be the same`);
}

function checkNonlinearity(layer: string, given: string): void {
  if (given !== 'tanh' && given !== 'relu')
    throw new Error(`${layer}: nonlinearity must be 'tanh' or 'relu', got '${String(given)}'`);
}

function stepsOf(sizes: readonly number[]): Step[] {
  let start = 0;
  return sizes.map((size) => {
    start += size;
    return { start: start - size, size };
  });
}

const layerReader = <T extends Full>(layer: string, options: T) =>
  optionReader<T>(layer, options, 'inputSize', 'hiddenSize', 'numLayers');
const readRNN = layerReader<Required<RNNOptions> & Sizes>('RNN', { ...defaults, nonlinearity: 'tanh' });
const readLSTM = layerReader('LSTM', { ...defaults, projSize: 0 });
const readGRU = layerReader('GRU', defaults);

// Besides tensors they take packed sequences, and then return one.
export interface RNN {
  (input: PackedSequence, hx?: Tensor | null): [output: PackedSequence, hn: Tensor];
}
export interface GRU {
  (input: PackedSequence, hx?: Tensor | null): [output: PackedSequence, hn: Tensor];
}
export interface LSTM {
  (
    input: PackedSequence,
    hx?: readonly [h: Tensor, c: Tensor] | null,
  ): [output: PackedSequence, states: [hn: Tensor, cn: Tensor]];
}

/**
 * `torch.nn.RNN`: `h' = tanh(W_ih x + b_ih + W_hh h + b_hh)` over a sequence. Called with [L, N, inputSize]
 * (or batch first, without a batch, or packed) and perhaps the initial state [layers * directions, N,
 * hiddenSize]; returns the outputs and the final state.
 */
export class RNN extends RNNBase {
  readonly nonlinearity: 'tanh' | 'relu';

  constructor(...args: SizedArgs<[numLayers: number], RNNOptions>) {
    const options = readRNN(args);
    checkNonlinearity('RNN', options.nonlinearity);
    super(options.nonlinearity, options);
    this.nonlinearity = options.nonlinearity;
  }

  forward(input: PackedSequence, hx?: Tensor | null): [output: PackedSequence, hn: Tensor];
  forward(input: Tensor, hx?: Tensor | null): [output: Tensor, hn: Tensor];
  forward(input: Tensor | PackedSequence, hx?: Tensor | null): [Tensor | PackedSequence, Tensor] {
    const [output, [hn]] = this.run(input, hx);
    return [output, hn as Tensor];
  }
}

/** `torch.nn.GRU` (Cho et al. 2014, https://arxiv.org/abs/1406.1078). Called like {@link RNN}. */
export class GRU extends RNNBase {
  constructor(...args: SizedArgs<[numLayers: number], RecurrentOptions>) {
    super('gru', readGRU(args));
  }

  forward(input: PackedSequence, hx?: Tensor | null): [output: PackedSequence, hn: Tensor];
  forward(input: Tensor, hx?: Tensor | null): [output: Tensor, hn: Tensor];
  forward(input: Tensor | PackedSequence, hx?: Tensor | null): [Tensor | PackedSequence, Tensor] {
    const [output, [hn]] = this.run(input, hx);
    return [output, hn as Tensor];
  }
}

/**
 * `torch.nn.LSTM` (Hochreiter & Schmidhuber 1997), with projections by `projSize`. Called like {@link RNN},
 * but with two states, `[h, c]`.
 */
export class LSTM extends RNNBase {
  constructor(...args: SizedArgs<[numLayers: number], LSTMOptions>) {
    const { projSize, ...options } = readLSTM(args);
    super('lstm', options, projSize);
  }

  forward(
    input: PackedSequence,
    hx?: readonly [h: Tensor, c: Tensor] | null,
  ): [output: PackedSequence, states: [hn: Tensor, cn: Tensor]];
  forward(
    input: Tensor,
    hx?: readonly [h: Tensor, c: Tensor] | null,
  ): [output: Tensor, states: [hn: Tensor, cn: Tensor]];
  forward(
    input: Tensor | PackedSequence,
    hx?: readonly [h: Tensor, c: Tensor] | null,
  ): [Tensor | PackedSequence, [Tensor, Tensor]] {
    return this.run(input, hx) as [Tensor | PackedSequence, [Tensor, Tensor]];
  }
}

export interface RecurrentCellOptions {
  bias?: boolean;
}

const cellReader = <T extends Sizes & Required<RecurrentCellOptions>>(cell: string, options: T) =>
  optionReader<T>(cell, options, 'inputSize', 'hiddenSize', 'bias');
const readRNNCell = cellReader<Sizes & { bias: boolean; nonlinearity: 'tanh' | 'relu' }>('RNNCell', {
  ...sizes,
  bias: true,
  nonlinearity: 'tanh',
});
const readGRUCell = cellReader('GRUCell', { ...sizes, bias: true });
const readLSTMCell = cellReader('LSTMCell', { ...sizes, bias: true });

/** One step of a layer, for loops of one's own. */
abstract class RNNCellBase extends Layer {
  readonly inputSize: number;
  readonly hiddenSize: number;
  readonly bias: boolean;
  weightIh: Parameter;
  weightHh: Parameter;
  biasIh: Parameter | null;
  biasHh: Parameter | null;

  constructor(
    /** @internal */
    protected kind: CellKind,
    { inputSize, hiddenSize, bias }: Sizes & Required<RecurrentCellOptions>,
  ) {
    super();
    this.inputSize = inputSize;
    this.hiddenSize = hiddenSize;
    this.bias = bias;
    const layer = this.constructor.name;
    requireCount(layer, 'inputSize', inputSize);
    requireCount(layer, 'hiddenSize', hiddenSize);
    const rows = gatesOf[kind] * hiddenSize;
    const blank = (...shape: number[]): Parameter => Parameter.blank(shape, `${layer}.weight`);
    this.weightIh = blank(rows, inputSize);
    this.weightHh = blank(rows, hiddenSize);
    this.biasIh = bias ? blank(rows) : null;
    this.biasHh = bias ? blank(rows) : null;
    noteParameters(this);
    this.resetParameters();
  }

  resetParameters(): void {
    const bound = 1 / Math.sqrt(this.hiddenSize);
    for (const parameter of this.parameters()) uniform_(parameter, -bound, bound);
  }

  /** The next states of [N, inputSize] or [inputSize]. */
  protected step(input: Tensor, given: Tensor | readonly Tensor[] | null): Tensor[] {
    const layer = this.constructor.name;
    const count = this.kind === 'lstm' ? 2 : 1;
    const hx = statesOf(layer, count, given);
    checkTensors(layer, input);
    if ((input.ndim !== 1 && input.ndim !== 2) || input.shape.at(-1) !== this.inputSize)
      throw new Error(
        `${layer}: expected [N, ${this.inputSize}] or [${this.inputSize}], got shape ${showShape(input.shape)}`,
      );
    const batched = input.ndim === 2;
    const x = batched ? input : unsqueeze(input, 0);
    const size = x.shape[0] as number;
    const shape = [size, this.hiddenSize];
    const wanted = batched ? shape : [this.hiddenSize];
    if (hx?.some((state) => showShape(state.shape) !== showShape(wanted)))
      throw new Error(
        `${layer}: expected ${count === 1 ? 'a state' : 'two states'} of shape ${showShape(wanted)}, got ${hx.map(got).join(' and ')}`,
      );
    const initial = hx
      ? hx.map((state) => (batched ? state : unsqueeze(state, 0)))
      : Array.from({ length: count }, () => zeros(shape, { dtype: x.dtype }));
    checkDtypes(layer, x, initial);
    const { weightIh: ih, weightHh: hh, biasIh, biasHh } = this;
    const [out, , cell] = recurrentLayer(this.kind, x, { ih, hh, biasIh, biasHh }, initial, [
      { start: 0, size },
    ]);
    const next = [out, ...(cell ? [cell] : [])] as Tensor[];
    return batched ? next : next.map((state) => squeeze(state, 0));
  }

  override extraRepr(): string {
    return `${this.inputSize}, ${this.hiddenSize}${this.bias ? '' : `, bias=${py(this.bias)}`}`;
  }
}

/**
 * `torch.nn.RNNCell`: `tanh(W_ih x + b_ih + W_hh h + b_hh)` (or ReLU); the state is zeros where none is
 * given.
 */
export class RNNCell extends RNNCellBase {
  readonly nonlinearity: 'tanh' | 'relu';

  constructor(
    ...args: SizedArgs<[bias: boolean], RecurrentCellOptions & { nonlinearity?: 'tanh' | 'relu' }>
  ) {
    const { nonlinearity, ...options } = readRNNCell(args);
    checkNonlinearity('RNNCell', nonlinearity);
    super(nonlinearity, options);
    this.nonlinearity = nonlinearity;
  }

  forward(input: Tensor, hx: Tensor | null = null): Tensor {
    return this.step(input, hx)[0] as Tensor;
  }

  override extraRepr(): string {
    const other = this.nonlinearity === 'tanh' ? '' : `, nonlinearity=${this.nonlinearity}`;
    return super.extraRepr() + other;
  }
}

/** `torch.nn.GRUCell`: one step of {@link GRU}. */
export class GRUCell extends RNNCellBase {
  constructor(...args: SizedArgs<[bias: boolean], RecurrentCellOptions>) {
    super('gru', readGRUCell(args));
  }

  forward(input: Tensor, hx: Tensor | null = null): Tensor {
    return this.step(input, hx)[0] as Tensor;
  }
}

/** `torch.nn.LSTMCell`: one step of {@link LSTM}; takes and returns `[h, c]`. */
export class LSTMCell extends RNNCellBase {
  constructor(...args: SizedArgs<[bias: boolean], RecurrentCellOptions>) {
    super('lstm', readLSTMCell(args));
  }

  forward(input: Tensor, hx: readonly [h: Tensor, c: Tensor] | null = null): [h: Tensor, c: Tensor] {
    return this.step(input, hx) as [Tensor, Tensor];
  }
}
