import { runtime } from '../../device/index.js';
import { dtypeInfo } from '../../kernels/base/dtype.js';
import { differentiate } from '../../kernels/expr/grad.js';
import { e, input, type Expr } from '../../kernels/expr/expr.js';
import * as fn from '../../kernels/expr/functions.js';
import { planPointwise } from '../../kernels/pointwise/plan.js';
import type { Tensor } from '../../tensor/tensor.js';
import { launch } from '../base/launch.js';
import { planLimits } from '../base/run-plan.js';
import { add, mul, relu, sigmoid, sub, tanh } from '../pointwise/pointwise.js';

export type CellKind = 'lstm' | 'gru' | 'tanh' | 'relu';

/** What formulas of cells are written in: expressions, or ops on tensors. */
interface Algebra<T> {
  add(a: T, b: T): T;
  sub(a: T, b: T): T;
  mul(a: T, b: T): T;
  sigmoid(x: T): T;
  tanh(x: T): T;
  relu(x: T): T;
}

/** The next states, from the gates' pre-activations and the carried state. */
type Formula = <T>(a: Algebra<T>, ...operands: T[]) => readonly T[];

/** What a step computes. */
export interface Cell {
  readonly gates: number;
  /** The first gate that the product with the hidden state goes to. */
  readonly recurrentFrom: number;
  /** 1, or 2 where there is a cell state. */
  readonly states: number;
  /** The state that is read directly too, besides through the product. */
  readonly carried: number | null;
  /** The next states over inputs: the gates, then the carried state. */
  readonly next: readonly Expr[];
  /** The same by ops. */
  readonly byOps: (...operands: Tensor[]) => readonly Tensor[];
}

const expressions: Algebra<Expr> = { ...e, sigmoid: fn.sigmoid, tanh: fn.tanh };

function cellOf(shape: Pick<Cell, 'gates' | 'recurrentFrom' | 'carried'>, formula: Formula): Cell {
  const operands = Array.from({ length: shape.gates + (shape.carried === null ? 0 : 1) }, (_, i) => input(i));
  const next = formula(expressions, ...operands);
  const byOps = (...given: Tensor[]): readonly Tensor[] =>
    formula<Tensor>({ add, sub, mul, sigmoid, tanh, relu }, ...given);
  return { ...shape, states: next.length, next, byOps };
}

/** Elman's cell (https://pytorch.org/docs/stable/generated/torch.nn.RNN.html). */
const simpleCell = (activation: 'tanh' | 'relu'): Cell =>
  cellOf({ gates: 1, recurrentFrom: 0, carried: null }, (a, x) => [a[activation](x!)]);

/** Hochreiter & Schmidhuber 1997 with forget gates: i, f, g, o. */
const lstmCell = (): Cell =>
  cellOf({ gates: 4, recurrentFrom: 0, carried: 1 }, (a, i, f, g, o, c) => {
    const next = a.add(a.mul(a.sigmoid(f!), c!), a.mul(a.sigmoid(i!), a.tanh(g!)));
    return [a.mul(a.sigmoid(o!), a.tanh(next)), next];
  });

/** Cho et al. 2014, with the reset gate after the product: n of the input, then r, z, n of the state. */
const gruCell = (): Cell =>
  cellOf({ gates: 4, recurrentFrom: 1, carried: 0 }, (a, nx, r, z, nh, h) => {
    const fresh = a.tanh(a.add(nx!, a.mul(a.sigmoid(r!), nh!)));
    return [a.add(fresh, a.mul(a.sigmoid(z!), a.sub(h!, fresh)))];
  });

const makers: Readonly<Record<CellKind, () => Cell>> = {
  tanh: () => simpleCell('tanh'),
  relu: () => simpleCell('relu'),
  lstm: lstmCell,
  gru: gruCell,
};
const made = new Map<CellKind, Cell>();

/** @internal The cell, made when first asked for. */
export function cellFor(kind: CellKind): Cell {
  let cell = made.get(kind);
  if (cell === undefined) made.set(kind, (cell = makers[kind]()));
  return cell;
}

/** Runs `exprs` over rows of larger tensors; inputs that share an output's buffer are read through it. */
function run(
  name: string,
  exprs: readonly Expr[],
  inputs: readonly Tensor[],
  outputs: readonly Tensor[],
  oneBuffer: boolean,
): void {
  const { compute } = dtypeInfo[(outputs[0] as Tensor).dtype];
  const launches = planPointwise(runtime().target, {
    name,
    exprs: exprs.map((expr) => e.cast(expr, compute)),
    inputs,
    outputs,
    alias: inputs.map(({ storage }) => outputs.findIndex((out) => out.storage === storage)),
    oneBuffer,
    exact: true,
    ...planLimits(),
  });
  launch(launches, [...inputs, ...outputs]);
}

/** Rows [size, count * hidden] as `count` parts [size, hidden]. */
function partsOf(rows: Tensor, count: number): Tensor[] {
  const [size, columns] = rows.shape as [number, number];
  const hidden = columns / count;
  return Array.from({ length: count }, (_, i) =>
    rows.alias([size, hidden], rows.strides, rows.offset + i * hidden),
  );
}

/** @internal One launch: the next states of some rows. */
export function runNext(cell: Cell, gates: Tensor, state: Tensor | null, next: readonly Tensor[]): void {
  const inputs = [...partsOf(gates, cell.gates), ...(state ? [state] : [])];
  run('recurrentStep', cell.next, inputs, next, false);
}

const gradients = new WeakMap<Cell, readonly Expr[]>();

/**
 * The gradients of the gates and of the carried state. Inputs are those of `next`, then the gradient of h,
 * then what is carried from the step after.
 */
function gradientsOf(cell: Cell): readonly Expr[] {
  const known = gradients.get(cell);
  if (known !== undefined) return known;
  const { gates, carried, next } = cell;
  const operands = gates + (carried === null ? 0 : 1);
  const hidden = input(operands);
  const carry = input(operands + 1);
  const seeds = carried === null ? [hidden] : carried === 0 ? [e.add(hidden, carry)] : [hidden, carry];
  const all = Array.from({ length: operands }, (_, i) =>
    next.map((expr, j) => e.mul(seeds[j]!, differentiate(expr, i))).reduce((a, b) => e.add(a, b)),
  );
  gradients.set(cell, all);
  return all;
}

/** @internal One launch: the gradients of gates and carried state, side by side in the rows of `out`. */
export function runGradients(
  cell: Cell,
  gates: Tensor,
  state: Tensor | null,
  gradHidden: Tensor,
  carry: Tensor | null,
  out: Tensor,
): void {
  const inputs = [...partsOf(gates, cell.gates), ...(state ? [state] : []), gradHidden];
  if (carry !== null) inputs.push(carry);
  const exprs = gradientsOf(cell);
  run('recurrentStepBackward', exprs, inputs, partsOf(out, exprs.length), true);
}
