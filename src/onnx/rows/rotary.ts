import { int, type Value } from '../graph.js';
import { named, tensorAt, type Row, type RowTable } from '../row.js';

/** ONNX has an operator for it from version 23 on only: the formula's own steps. */
const rotaryEmbedding: Row = (t, args) => {
  const [x, cos, sin] = [0, 1, 2].map((i) => tensorAt(args, i)) as [
    ReturnType<typeof tensorAt>,
    ReturnType<typeof tensorAt>,
    ReturnType<typeof tensorAt>,
  ];
  const { interleaved } = named(args.slice(3), { interleaved: false });
  if (cos.dtype !== x.dtype || sin.dtype !== x.dtype)
    throw t.unsupported('rotaryEmbedding', 'mixes dtypes; convert cosines and sines to that of x');
  const features = x.shape.at(-1) as number;
  const pairs = cos.shape.at(-1) as number;
  const value = t.value(x);
  const part = (start: number, end: number, step = 1): Value =>
    t.node('Slice', [value, t.list([start]), t.list([end]), t.list([-1]), t.list([step])]);
  const [a, b] = interleaved
    ? [part(0, 2 * pairs, 2), part(1, 2 * pairs, 2)]
    : [part(0, pairs), part(pairs, 2 * pairs)];
  const [c, s] = [t.value(cos), t.value(sin)];
  const times = (one: Value, other: Value): Value => t.node('Mul', [one, other]);
  const turned = [t.node('Sub', [times(a, c), times(b, s)]), t.node('Add', [times(b, c), times(a, s)])];
  const rest = 2 * pairs < features ? [part(2 * pairs, features)] : [];
  const joined = (parts: readonly Value[]): Value => t.node('Concat', parts, { axis: int(-1) });
  if (!interleaved) return joined([...turned, ...rest]);
  const columns = joined(turned.map((half) => t.node('Unsqueeze', [half, t.list([-1])])));
  columns.dtype = x.dtype;
  columns.shape = [...x.shape.slice(0, -1), pairs, 2];
  const whole = t.reshape(columns, [...x.shape.slice(0, -1), 2 * pairs]);
  return rest.length === 0 ? whole : joined([whole, ...rest]);
};

export const rotaryRows: RowTable = { rotaryEmbedding };
