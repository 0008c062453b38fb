import { runtime } from '../../device/index.js';
import { defineComposite, defineOp, type GradThunk } from '../../autograd/define.js';
import { isGradEnabled } from '../../autograd/mode.js';
import { planGemm } from '../../kernels/matmul/plan.js';
import type { GemmProblem } from '../../kernels/matmul/problem.js';
import type { DType } from '../../tensor/dtype.js';
import { Tensor } from '../../tensor/tensor.js';
import { grad as gradOf } from '../autograd/autograd.js';
import { addInto, copyInto, fillInto, rowMajor } from '../base/copies.js';
import { contiguous } from '../base/copy.js';
import { noteMultiplyAdds } from '../base/count-work.js';
import { cat } from '../shape/join.js';
import { linear, matmul, mm } from '../matmul/matmul.js';
import { add } from '../pointwise/pointwise.js';
import { cellFor, runGradients, runNext, type Cell, type CellKind } from './recurrent-cell.js';
import { elemOf, planLimits, runPlan } from '../base/run-plan.js';
import { split } from '../base/pieces.js';
import { sumDims } from '../base/sum-to.js';
import { narrow, transpose } from '../base/view.js';

/*
 * Recurrent layers over packed rows: `x` [N, I] has the rows of all time steps, and step `s` reads and writes
 * `size` rows from `start` on. Where the batch shrinks from one step to the next, the last rows of the state
 * are final; where it grows (a packed sequence from its end), the new rows start from the initial state.
 */

export interface Step {
  readonly start: number;
  readonly size: number;
}

/** What runs: forward, the steps in order; backward, the same from the end. */
interface Problem {
  readonly kind: CellKind;
  readonly steps: readonly Step[];
}

type Rows = (x: Tensor, start: number, size: number) => Tensor;

/** Rows of a matrix outside the tape. */
const rowsOf: Rows = (x, start, size) =>
  x.alias([size, x.shape[1] as number], x.strides, x.offset + start * (x.strides[0] as number));

const columnsOf = (x: Tensor, start: number, size: number): Tensor =>
  x.alias([x.shape[0] as number, size], x.strides, x.offset + start);

/** The same as an op. */
const rowsOnTape: Rows = (x, start, size) => narrow(x, 0, start, size);

/** `count` rows: those of `rows`, and where they end those of `rest`. */
function resized(rows: Tensor | null, rest: Tensor, count: number, part = rowsOf): Tensor {
  if (rows === null) return part(rest, 0, count);
  const have = rows.shape[0] as number;
  return count <= have ? part(rows, 0, count) : cat([rows, part(rest, have, count - have)]);
}

/** Rows that no later step goes on with, from the pieces that the steps left. */
function joined(pieces: Tensor[]): Tensor {
  return pieces.length === 1 ? (pieces[0] as Tensor) : cat(pieces);
}

/** `c += a b` for rows of `c`; `b` is transposed unless it is `plain`. */
function product(c: Tensor, columns: number, a: Tensor, b: Tensor, how: Partial<GemmProblem>): void {
  const [m, k] = a.shape as [number, number];
  const n = how.transB === false ? (b.shape[1] as number) : (b.shape[0] as number);
  noteMultiplyAdds(m * n * k);
  const problem: GemmProblem = {
    m,
    n,
    k,
    transB: true,
    lda: a.strides[0] as number,
    ldb: b.strides[0] as number,
    ldc: c.strides[0] as number,
    aOffset: a.offset,
    bOffset: b.offset,
    cOffset: c.offset + columns,
    accumulate: true,
    elem: elemOf('recurrent', a.dtype),
    ...how,
  };
  runPlan('recurrent', planGemm(runtime().target, planLimits(), problem), { a, b, c });
}

/**
 * Buffers of a layer have a row per row of `x`, and room for a batch before and after: what was there at the
 * start stands beside the first step, so that all steps lie alike and one kernel runs them.
 */
class Layer {
  readonly cell: Cell;
  readonly batch: number;
  readonly steps: readonly Step[];
  readonly rows: number;
  readonly hidden: number;
  readonly dtype: DType;

  constructor({ kind, steps }: Problem, x: Tensor, wHh: Tensor) {
    this.cell = cellFor(kind);
    this.steps = steps;
    this.batch = Math.max(...steps.map(({ size }) => size));
    this.rows = x.shape[0] as number;
    this.hidden = wHh.shape[1] as number;
    this.dtype = x.dtype;
  }

  empty(columns: number): Tensor {
    return Tensor.empty([this.rows + 2 * this.batch, columns], this.dtype, 'recurrent');
  }

  at(buffer: Tensor, { start, size }: Step): Tensor {
    return rowsOf(buffer, this.batch + start, size);
  }

  all(buffer: Tensor): Tensor {
    return rowsOf(buffer, this.batch, this.rows);
  }

  private get forwards(): boolean {
    return this.steps[0]?.start === 0;
  }

  /** The room that the first step reads. */
  beginning(buffer: Tensor): Tensor {
    return rowsOf(buffer, this.forwards ? 0 : this.batch + this.rows, this.batch);
  }

  /** The rows that step `s` read of a buffer of states. */
  before(buffer: Tensor, s: number): Tensor {
    const step = this.steps[s - 1];
    return resized(step ? this.at(buffer, step) : null, this.beginning(buffer), (this.steps[s] as Step).size);
  }

  /** The same of all steps, in the order of the rows. */
  allBefore(buffer: Tensor): Tensor {
    const { steps, batch, rows } = this;
    if (steps.every(({ size }) => size === batch)) return rowsOf(buffer, this.forwards ? 0 : 2 * batch, rows);
    const parts = steps.map(({ start }, s) => ({ start, part: this.before(buffer, s) }));
    return cat(parts.sort((a, b) => a.start - b.start).map(({ part }) => part));
  }

  /** How many rows of step `s` the next step goes on with, and how many came from the one before. */
  neighbours(s: number): { going: number; came: number } {
    const { size } = this.steps[s] as Step;
    const shared = (other: Step | undefined): number => Math.min(size, other?.size ?? 0);
    return { going: shared(this.steps[s + 1]), came: shared(this.steps[s - 1]) };
  }
}

/** The input product of all steps, with biases: what the gates are without the state. */
function inputProduct(layer: Layer, x: Tensor, wIn: Tensor, bias: Tensor | null): Tensor {
  const [n, features] = x.shape as [number, number];
  const rows = wIn.shape[0] as number;
  const columns = layer.cell.gates * layer.hidden;
  const buffer = layer.empty(columns);
  const gates = layer.all(buffer);
  const rest = columnsOf(gates, rows, columns - rows);
  if (rest.numel() > 0) {
    if (bias === null) fillInto(rest, 0);
    else copyInto(rest, narrow(bias, 0, rows, columns - rows));
  }
  noteMultiplyAdds(n * rows * features);
  const plan = planGemm(runtime().target, planLimits(), {
    m: n,
    n: rows,
    k: features,
    transB: true,
    ldc: columns,
    cOffset: gates.offset,
    epilogue: { bias: bias !== null },
    elem: elemOf('recurrent', x.dtype),
  });
  const operands = { a: rowMajor(x), b: rowMajor(wIn), c: gates };
  runPlan('recurrent', plan, { ...operands, ...(bias && { bias: rowMajor(bias) }) });
  return buffer;
}

/** Runs the steps over `gates`; gives buffers of all states, and the final ones. */
function runSteps(layer: Layer, gates: Tensor, wHh: Tensor, initial: readonly Tensor[]) {
  const { cell, steps, hidden } = layer;
  const states = initial.map((first) => {
    const buffer = layer.empty(hidden);
    copyInto(layer.beginning(buffer), first);
    return buffer;
  });
  const finals: Tensor[][] = initial.map(() => []);
  steps.forEach((step, s) => {
    const from = states.map((buffer) => layer.before(buffer, s));
    const rows = layer.at(gates, step);
    product(rows, cell.recurrentFrom * hidden, from[0] as Tensor, wHh, {});
    const next = states.map((buffer) => layer.at(buffer, step));
    runNext(cell, rows, cell.carried === null ? null : (from[cell.carried] as Tensor), next);
    const { going } = layer.neighbours(s);
    if (going < step.size)
      finals.forEach((pieces, i) => pieces.unshift(rowsOf(next[i]!, going, step.size - going)));
  });
  return { states, finals: finals.map(joined) };
}

/** The same steps from the end: gradients of the gates [N, gates * hidden] and of the initial states. */
function backSteps(
  layer: Layer,
  gates: Tensor,
  wHh: Tensor,
  states: readonly Tensor[],
  [gradOut, gradHidden, gradCell]: readonly Tensor[],
) {
  const { cell, steps, hidden } = layer;
  const { carried } = cell;
  const direct = cell.gates * hidden;
  const gradGates = layer.empty(direct + (carried === null ? 0 : hidden));
  const carryOf = (rows: Tensor): Tensor => columnsOf(rows, direct, hidden);
  // What goes through the product with wHh is added here; what goes past it is carried beside the gates.
  const gradStates = layer.empty(hidden);
  copyInto(layer.all(gradStates), gradOut as Tensor);
  fillInto(layer.beginning(gradStates), 0);
  if (carried === 1) copyInto(carryOf(layer.beginning(gradGates)), gradCell as Tensor);
  if (carried === 0) fillInto(carryOf(layer.beginning(gradGates)), 0);
  const firstCells: Tensor[] = [];
  let after: Tensor | null = null;
  for (let s = steps.length - 1; s >= 0; s--) {
    const step = steps[s] as Step;
    const { size } = step;
    const { going, came } = layer.neighbours(s);
    const gradRows = layer.at(gradStates, step);
    if (going < size)
      addInto(rowsOf(gradRows, going, size - going), rowsOf(gradHidden as Tensor, going, size - going));
    const out = layer.at(gradGates, step);
    const state = carried === null ? null : layer.before(states[carried] as Tensor, s);
    const carry =
      carried === null ? null : resized(after && carryOf(after), carryOf(layer.beginning(gradGates)), size);
    runGradients(cell, layer.at(gates, step), state, gradRows, carry, out);
    after = out;
    const back = (rows: Tensor, from: number, count: number): void => {
      const recurrent = columnsOf(
        rowsOf(out, from, count),
        cell.recurrentFrom * hidden,
        wHh.shape[0] as number,
      );
      if (count > 0) product(rows, 0, recurrent, wHh, { transB: false });
    };
    const before = steps[s - 1];
    if (before) back(rowsOf(layer.at(gradStates, before), 0, came), 0, came);
    if (came === size) continue;
    const first = rowsOf(layer.beginning(gradStates), came, size - came);
    back(first, came, size - came);
    if (carried === 0) addInto(first, carryOf(rowsOf(out, came, size - came)));
    if (carried === 1) firstCells.unshift(carryOf(rowsOf(out, came, size - came)));
  }
  const gradFirst = contiguous(layer.beginning(gradStates));
  return {
    gradGates: columnsOf(layer.all(gradGates), 0, direct),
    gradInitial: carried === 1 ? [gradFirst, contiguous(joined(firstCells))] : [gradFirst],
  };
}

type Args = [
  problem: Problem,
  x: Tensor,
  wIn: Tensor,
  wHh: Tensor,
  initial: readonly Tensor[],
  bias: Tensor | null,
];

const recurrentOp: (...args: Args) => readonly Tensor[] = defineOp<Args, readonly Tensor[], Problem>({
  name: 'recurrent',
  forward(ctx, problem, x, wIn, wHh, initial, bias) {
    ctx.state = problem;
    const layer = new Layer(problem, x, wHh);
    const gates = inputProduct(layer, x, wIn, bias);
    const { states, finals } = runSteps(layer, gates, rowMajor(wHh), initial);
    ctx.save(x, wIn, wHh, ...initial, bias, gates);
    // In PyTorch the output may be overwritten.
    ctx.lend(...states);
    return [layer.all(states[0] as Tensor), ...finals];
  },
  backward(ctx, ...grads) {
    const [x, wIn, wHh, ...rest] = ctx.saved as [Tensor, Tensor, Tensor, ...Tensor[]];
    const layer = new Layer(ctx.state, x, wHh);
    const { cell, hidden } = layer;
    const initial = rest.splice(0, cell.states);
    const [bias, gates, ...states] = rest as [Tensor | null, Tensor, ...Tensor[]];
    if (isGradEnabled()) {
      const inputs = [x, wIn, wHh, ...initial, ...(bias ? [bias] : [])];
      const outputs = composed(ctx.state, x, wIn, wHh, initial, bias);
      return againThrough(outputs, inputs, ctx.needs, grads);
    }
    const { gradGates, gradInitial } = backSteps(layer, gates, rowMajor(wHh), states, grads);
    const ofInput = (): Tensor => columnsOf(gradGates, 0, wIn.shape[0] as number);
    const recurrent = (): Tensor => columnsOf(gradGates, cell.recurrentFrom * hidden, wHh.shape[0] as number);
    return [
      () => mm(ofInput(), wIn),
      () => mm(transpose(ofInput(), 0, 1), x),
      () => mm(transpose(recurrent(), 0, 1), layer.allBefore(states[0] as Tensor)),
      ...gradInitial.map((one) => () => one),
      ...(bias ? [() => sumDims(gradGates, [0], false)] : []),
    ];
  },
});

/** Gradients that can be differentiated again: of the same made of ops. */
function againThrough(
  outputs: readonly Tensor[],
  inputs: readonly Tensor[],
  needs: readonly boolean[],
  gradOutputs: readonly Tensor[],
): GradThunk[] {
  const wanted = inputs.filter((_, i) => needs[i]);
  const grads = gradOf(outputs, wanted, { gradOutputs, createGraph: true, allowUnused: true });
  return inputs.map((input, i) => {
    if (!needs[i]) return null;
    const one = grads[wanted.indexOf(input)];
    return one ? () => one : null;
  });
}

/** The rows of each step, by the first of them. */
function rowsByStart(x: Tensor, steps: readonly Step[]): Map<number, Tensor> {
  const inOrder = [...steps].sort((a, b) => a.start - b.start);
  const sizes = inOrder.map(({ size }) => size);
  const rows = split(x, sizes);
  return new Map(inOrder.map(({ start }, i) => [start, rows[i] as Tensor]));
}

/** What {@link recurrentOp} computes, step by step out of ops; `wHr` projects the hidden state (LSTM). */
function composed(
  { kind, steps }: Problem,
  x: Tensor,
  wIn: Tensor,
  wHh: Tensor,
  initial: readonly Tensor[],
  bias: Tensor | null,
  wHr: Tensor | null = null,
): readonly Tensor[] {
  const cell = cellFor(kind);
  const hidden = (wHh.shape[0] as number) / (cell.gates - cell.recurrentFrom);
  const inputs = wIn.shape[0] as number;
  const fromInput = rowsByStart(linear(x, wIn, bias && narrow(bias, 0, 0, inputs)), steps);
  const outs: { start: number; rows: Tensor }[] = [];
  const finals: Tensor[][] = initial.map(() => []);
  let before: Tensor[] | null = null;
  steps.forEach(({ start, size }, s) => {
    const from = initial.map((first, i) => resized(before?.[i] ?? null, first, size, rowsOnTape));
    const recurrent = split(matmul(from[0] as Tensor, transpose(wHh, 0, 1)), hidden, 1);
    const ofInput = split(fromInput.get(start) as Tensor, hidden, 1);
    const gates = Array.from({ length: cell.gates }, (_, g) => {
      const ofBias = g * hidden >= inputs && bias ? narrow(bias, 0, g * hidden, hidden) : undefined;
      const parts = [ofInput[g], recurrent[g - cell.recurrentFrom], ofBias];
      return parts.filter((part) => part !== undefined).reduce((sum, part) => add(sum, part));
    });
    const carried = cell.carried === null ? [] : [from[cell.carried] as Tensor];
    const next = [...cell.byOps(...gates, ...carried)];
    if (wHr !== null) next[0] = matmul(next[0] as Tensor, transpose(wHr, 0, 1));
    const going = steps[s + 1]?.size ?? 0;
    if (going < size || steps[s + 1] === undefined)
      finals.forEach((list, i) => list.unshift(narrow(next[i]!, 0, going, size - going)));
    outs.push({ start, rows: next[0] as Tensor });
    before = next;
  });
  const inOrder = outs.sort((a, b) => a.start - b.start).map(({ rows }) => rows);
  return [cat(inOrder), ...finals.map((pieces) => cat(pieces))];
}

/** Parameters of one direction of a layer, as PyTorch shapes them. */
export interface RecurrentWeights {
  readonly ih: Tensor;
  readonly hh: Tensor;
  readonly biasIh: Tensor | null;
  readonly biasHh: Tensor | null;
  readonly hr?: Tensor | null;
}

/**
 * @internal One direction of a recurrent layer: packed rows `x` [N, I] and initial states [B, H] (LSTM: h and
 * c) give the outputs [N, H] and the final states.
 */
export const recurrentLayer: (
  kind: CellKind,
  x: Tensor,
  weights: RecurrentWeights,
  initial: readonly Tensor[],
  steps: readonly Step[],
) => readonly Tensor[] = defineComposite(
  'recurrent',
  (
    kind: CellKind,
    x: Tensor,
    { ih, hh, biasIh, biasHh, hr = null }: RecurrentWeights,
    initial: readonly Tensor[],
    steps: readonly Step[],
  ): readonly Tensor[] => {
    const { wIn, bias } = kind === 'gru' ? gruOrder(ih, biasIh, biasHh) : inOrder(ih, biasIh, biasHh);
    const problem = { kind, steps };
    // A projection is another product per step; rows of a buffer larger than a binding would need windows.
    const largest = (steps.length + 2) * Math.max(...steps.map(({ size }) => size)) * hh.numel() * 8;
    if (hr !== null || x.numel() === 0 || largest / (hh.shape[1] as number) > runtime().maxBinding)
      return composed(problem, x, wIn, hh, initial, bias, hr);
    return recurrentOp(problem, x, wIn, hh, initial, bias);
  },
);

const inOrder = (wIn: Tensor, biasIh: Tensor | null, biasHh: Tensor | null) => ({
  wIn,
  bias: biasIh && biasHh && add(biasIh, biasHh),
});

/**
 * PyTorch's gates are r, z, n. Here: n from the input, r, z, n from the state, so that each of the two
 * products goes to columns side by side.
 */
function gruOrder(ih: Tensor, biasIh: Tensor | null, biasHh: Tensor | null) {
  const hidden = (ih.shape[0] as number) / 3;
  const parts = (x: Tensor): [others: Tensor, last: Tensor] =>
    split(x, [2 * hidden, hidden]) as [Tensor, Tensor];
  const [others, last] = parts(ih);
  const wIn = cat([last, others]);
  if (biasIh === null || biasHh === null) return { wIn, bias: null };
  const [[othersIh, lastIh], [othersHh, lastHh]] = [parts(biasIh), parts(biasHh)];
  return { wIn, bias: cat([lastIh, add(othersIh, othersHh), lastHh]) };
}
