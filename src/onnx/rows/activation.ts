/** Pointwise ops with an operator of their own where the expression would be several. */
import { isTensor } from '../../tensor/tensor.js';
import { float, type Attributes, type Value } from '../graph.js';
import { batchNormOfBatch } from './products.js';
import { inside, optional, tensorAt, type Builder, type Row, type RowTable } from '../row.js';

const unary =
  (op: string, attributes: Attributes = {}): Row =>
  (t, args) =>
    isTensor(args[0]) && args[0].isFloatingPoint() ? t.node(op, [t.value(args[0])], attributes) : inside;

/** With numbers behind the tensor as attributes. */
const withNumbers =
  (op: string, ...names: readonly string[]): Row =>
  (t, [x, ...numbers]) => {
    if (!isTensor(x) || !x.isFloatingPoint() || !numbers.every((v) => typeof v === 'number')) return inside;
    const attributes = names.map((name, i) => [name, float(numbers[i] as number)] as const);
    return t.node(op, [t.value(x)], Object.fromEntries(attributes));
  };

/** A parameter [C] that a row was given as [C, 1, 1], to broadcast. */
function perChannel(t: Builder, operand: unknown, channels: number, otherwise: number): Value {
  if (!isTensor(operand)) {
    const number = typeof operand === 'number' ? operand : otherwise;
    return t.constant(new Float32Array(channels).fill(number), [channels], 'float32');
  }
  const value = t.value(operand);
  const source = value.node?.op === 'Reshape' ? value.node.operands[0] : null;
  const isVector = (v: Value): boolean => v.shape?.length === 1 && v.shape[0] === channels;
  if (isVector(value)) return value;
  if (source && !('sizes' in source) && isVector(source)) return source;
  return t.reshape(value, [channels]);
}

/** In evaluation: by the running statistics. */
const batchNorm: Row = (t, args, result) => {
  if (args.length === 8) return batchNormOfBatch(t, args, result);
  const [x, mean, variance, weight, bias, eps] = args;
  if (!isTensor(x) || args.length !== 6 || x.ndim < 2) return inside;
  const channels = x.shape[1] as number;
  const of = (operand: unknown, otherwise: number): Value => perChannel(t, operand, channels, otherwise);
  return t.node(
    'BatchNormalization',
    [t.value(x), of(weight, 1), of(bias, 0), of(mean, 0), of(variance, 1)],
    { epsilon: float(eps as number) },
  );
};

export const activationRows: RowTable = {
  batchNorm,
  hardsigmoid: unary('HardSigmoid', { alpha: float(1 / 6), beta: float(0.5) }),
  hardswish: unary('HardSwish'),
  selu: unary('Selu'),
  softsign: unary('Softsign'),
  reciprocal: unary('Reciprocal'),
  elu: withNumbers('Elu', 'alpha'),
  celu: (t, args, result) =>
    tensorAt(args, 0).dtype === 'float32' ? withNumbers('Celu', 'alpha')(t, args, result) : inside,
  leakyRelu: withNumbers('LeakyRelu', 'alpha'),
  prelu: (t, [x, slope]) => {
    const weight = optional(t, slope);
    return isTensor(x) && weight !== null && x.isFloatingPoint()
      ? t.node('PRelu', [t.value(x), weight])
      : inside;
  },
};
