/** RNN, LSTM and GRU: a node per layer and direction. */
import { isTensor, type Tensor } from '../../tensor/tensor.js';
import { int, text, type Attribute, type Value } from '../graph.js';
import { inside, type Builder, type Row, type RowTable } from '../row.js';

interface Weights {
  readonly ih: Tensor;
  readonly hh: Tensor;
  readonly biasIh: Tensor | null;
  readonly biasHh: Tensor | null;
  readonly hr?: Tensor | null;
}

interface Step {
  readonly start: number;
  readonly size: number;
}

interface Kind {
  readonly op: 'RNN' | 'LSTM' | 'GRU';
  /** PyTorch's gates in ONNX's order. */
  readonly order: readonly number[];
  readonly attributes?: Readonly<Record<string, Attribute>>;
}

const kinds: Readonly<Record<string, Kind>> = {
  // i, f, g, o there; i, o, f, c here.
  lstm: { op: 'LSTM', order: [0, 3, 1, 2] },
  // r, z, n there; z, r, h here.
  gru: { op: 'GRU', order: [1, 0, 2], attributes: { linear_before_reset: int(1) } },
  tanh: { op: 'RNN', order: [0] },
  relu: { op: 'RNN', order: [0], attributes: { activations: { kind: 'strings', value: ['Relu'] } } },
};

/** The rows of each gate [gates * H, ...] in another order. */
function reordered(t: Builder, weight: Tensor, order: readonly number[]): Value {
  const value = t.value(weight);
  if (order.length === 1) return value;
  const hidden = (weight.shape[0] as number) / order.length;
  const lengths = t.list(order.map(() => hidden));
  const parts = t.several('Split', [value, lengths], { axis: int(0) }, order.length);
  return t.node(
    'Concat',
    order.map((gate) => parts[gate] as Value),
    { axis: int(0) },
  );
}

/** With a dim in front, for the one direction. */
const lead = (t: Builder, value: Value): Value => t.node('Unsqueeze', [value, t.list([0])]);

const biasOf = (t: Builder, { biasIh, biasHh }: Weights, order: readonly number[]): Value | null =>
  biasIh === null || biasHh === null
    ? null
    : t.node('Concat', [reordered(t, biasIh, order), reordered(t, biasHh, order)], { axis: int(0) });

/** Rows [T * B, I] of all time steps, forwards or backwards, and the initial states [B, H]. */
const recurrent: Row = (t, args) => {
  const [name, x, weights, initial, steps] = args as [
    string,
    Tensor,
    Weights,
    readonly Tensor[],
    readonly Step[],
  ];
  const kind = kinds[name];
  // The op of one layer has this name too; projections are traced step by step.
  if (kind === undefined || !isTensor(weights.ih) || weights.hr) return inside;
  const batch = (steps[0] as Step).size;
  if (steps.some(({ size }) => size !== batch))
    throw t.unsupported(
      'recurrent',
      'runs over a packed sequence of different lengths, which a graph of fixed steps cannot',
    );
  const { op, order } = kind;
  const hidden = weights.hh.shape[1] as number;
  const [length, features] = [steps.length, x.shape[1] as number];
  const backwards = length > 1 && (steps[0] as Step).start > 0;
  const bias = biasOf(t, weights, order);
  const [y, ...finals] = t.several(
    op,
    [
      t.reshape(t.value(x), [length, batch, features]),
      lead(t, reordered(t, weights.ih, order)),
      lead(t, reordered(t, weights.hh, order)),
      bias && lead(t, bias),
      null,
      ...initial.map((state) => lead(t, t.value(state))),
    ],
    {
      ...kind.attributes,
      direction: text(backwards ? 'reverse' : 'forward'),
      hidden_size: int(hidden),
    },
    1 + initial.length,
  ) as [Value, ...Value[]];
  const { dtype } = x;
  y.dtype = dtype;
  y.shape = [length, 1, batch, hidden];
  const states = finals.map((state) => {
    state.dtype = dtype;
    return t.node('Squeeze', [state, t.list([0])]);
  });
  return [t.reshape(y, [length * batch, hidden]), ...states];
};

export const recurrentRows: RowTable = { recurrent };
