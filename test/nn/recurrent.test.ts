import { beforeAll, describe, expect, it } from 'vitest';
import {
  autograd,
  gradcheck,
  init,
  mul,
  nn,
  noGrad,
  sum,
  tensor,
  zeros,
  type Tensor,
} from '../../src/index.js';
import { uniform } from '../models/fill.js';

const { packPaddedSequence, packSequence, padPackedSequence, padSequence, unpackSequence, unpadSequence } =
  nn.utils.rnn;

beforeAll(() => init());

const filled = (key: string, ...shape: number[]): Tensor => tensor(uniform(key, shape), { shape });

function fill<M extends nn.Module>(layer: M): M {
  for (const [key, parameter] of layer.namedParameters())
    noGrad(() => parameter.copy_(filled(key, ...parameter.shape)));
  return layer;
}

async function expectSame(got: Tensor | null | undefined, want: Tensor | null | undefined): Promise<void> {
  expect(got?.shape).toEqual(want?.shape);
  const [a, b] = [await (got as Tensor).data(), await (want as Tensor).data()];
  b.forEach((value, i) => expect(a[i]).toBeCloseTo(value, 5));
}

const squares = (...outputs: Tensor[]): Tensor =>
  outputs.map((y) => sum(mul(y, y))).reduce((a, b) => a.add(b));

describe('a recurrent layer', () => {
  it('goes on from the states that it returned', async () => {
    const lstm = fill(new nn.LSTM(3, 4, 2));
    const x = filled('x', 6, 2, 3);
    const [all, [h, c]] = lstm(x);
    const [first, states] = lstm(x.narrow(0, 0, 4));
    const [second, [h2, c2]] = lstm(x.narrow(0, 4, 2), states);
    await expectSame(first, all.narrow(0, 0, 4));
    await expectSame(second, all.narrow(0, 4, 2));
    await expectSame(h2, h);
    await expectSame(c2, c);
  });

  it('is what its cell does step by step, gradients too', async () => {
    const gru = fill(new nn.GRU(3, 4));
    const cell = new nn.GRUCell(3, 4);
    cell.loadStateDict(
      Object.fromEntries([...gru.stateDict()].map(([key, value]) => [key.replace('_l0', ''), value])),
    );
    const x = filled('x', 5, 2, 3);
    let h: Tensor | null = null;
    const steps: Tensor[] = [];
    for (const step of x.unbind(0)) steps.push((h = cell(step, h)));
    const [output] = gru(x);
    await expectSame(steps.at(-1), output.select(0, 4));
    squares(output).backward();
    squares(...steps).backward();
    await expectSame(cell.weightHh.grad, gru.getParameter('weight_hh_l0').grad);
    await expectSame(cell.biasIh?.grad, gru.getParameter('bias_ih_l0').grad);
  });

  it.each([
    ['LSTM', () => new nn.LSTM(3, 4)],
    ['GRU', () => new nn.GRU(3, 4)],
    ['RNN', () => new nn.RNN(3, 4)],
  ] as const)('%s: its gradient can be differentiated again', async (_, make) => {
    const layer = fill<nn.Module>(make()) as nn.GRU;
    const x = filled('x', 2, 1, 3).requiresGrad_();
    const penalty = (input: Tensor): Tensor => {
      const [output] = layer(input);
      return squares(...autograd.grad(squares(output), input, { createGraph: true }));
    };
    expect(await gradcheck(penalty, [x], { atol: 5e-2, rtol: 5e-2 })).toBe(true);
  });

  it('may have its output overwritten before backward', async () => {
    const gru = fill(new nn.GRU(3, 4));
    const x = filled('x', 3, 2, 3);
    squares(gru(x)[0].relu()).backward();
    const want = gru.getParameter('weight_hh_l0').grad?.clone();
    gru.zeroGrad();
    squares(gru(x)[0].relu_()).backward();
    await expectSame(gru.getParameter('weight_hh_l0').grad, want);
  });

  it('drops between its layers in training only', async () => {
    const lstm = fill(new nn.LSTM(3, 4, { numLayers: 2, dropout: 0.9 }));
    const x = filled('x', 3, 2, 3);
    const still = fill(new nn.LSTM(3, 4, 2));
    lstm.eval();
    await expectSame(lstm(x)[0], still(x)[0]);
    lstm.train();
    const [a, b] = [await lstm(x)[0].data(), await still(x)[0].data()];
    expect([...a]).not.toEqual([...b]);
  });

  it('says what is wrong', () => {
    const lstm = new nn.LSTM(3, 4);
    expect(() => lstm(zeros(5, 2, 4))).toThrow('LSTM: the last dim must be inputSize 3, got 4');
    expect(() => lstm(zeros(5, 2, 3), [zeros(1, 2, 4), zeros(1, 3, 4)])).toThrow(
      'LSTM: expected states of shape [1, 2, 4] and [1, 2, 4], got [1, 2, 4] and [1, 3, 4]',
    );
    expect(() => lstm(zeros(5, 2, 3), zeros(1, 2, 4) as never)).toThrow('two tensors, [h, c]');
    expect(() => lstm(zeros(5))).toThrow('LSTM: expected [L, N, 3], or [L, 3] without a batch');
    expect(() => new nn.GRU(3, 4, { hidden: 2 } as never)).toThrow("GRU: there is no option 'hidden'");
    expect(() => new nn.RNN(3, 4, { nonlinearity: 'selu' as never })).toThrow("'tanh' or 'relu'");
    expect(() => new nn.LSTM(3, 4, { projSize: 4 })).toThrow('projSize must be from 0 to below hiddenSize 4');
    expect(() => new nn.GRUCell(3, 4)(zeros(2, 5))).toThrow('GRUCell: expected [N, 3] or [3]');
  });
});

describe('a state', () => {
  const x = (): Tensor => zeros(5, 2, 3);
  const h = (): Tensor => zeros(1, 2, 4);
  type Loose = (input: unknown, hx?: unknown) => unknown;
  const wrong: readonly [string, () => unknown, string][] = [
    ['RNN', () => (new nn.RNN(3, 4) as Loose)(x(), [h(), h()]), 'one tensor, got [[1, 2, 4], [1, 2, 4]]'],
    ['RNN', () => new nn.RNN(3, 4)(zeros(5, 3), zeros(1, 5)), 'states of shape [1, 4], got [1, 5]'],
    ['GRU', () => new nn.GRU(3, 4)(x(), zeros(1, 4)), 'must both have a batch, or neither'],
    ['GRU', () => new nn.GRU(3, 4)(x(), zeros([1, 2, 4], { dtype: 'float16' })), 'a state float16'],
    ['GRU', () => (new nn.GRU(3, 4) as Loose)(undefined), 'a tensor or a packed sequence, got undefined'],
    ['LSTM', () => (new nn.LSTM(3, 4) as Loose)(x(), [h()]), 'two tensors, [h, c], got [[1, 2, 4]]'],
    ['LSTM', () => (new nn.LSTM(3, 4) as Loose)(x(), [h(), undefined]), 'got [[1, 2, 4], undefined]'],
    [
      'LSTM',
      () => new nn.LSTM(3, 4)(packSequence([zeros(2, 3), zeros(4, 3)], { enforceSorted: false }), [h(), zeros(1, 3, 4)]),
      'states of shape [1, 2, 4] and [1, 2, 4], got [1, 2, 4] and [1, 3, 4]',
    ], // prettier-ignore
    ['RNNCell', () => new nn.RNNCell(3, 4)(zeros(2, 3), zeros(4)), 'a state of shape [2, 4], got [4]'],
    ['LSTMCell', () => (new nn.LSTMCell(3, 4) as Loose)(zeros(2, 3), zeros(2, 4)), '[h, c], got [2, 4]'],
    ['LSTMCell', () => (new nn.LSTMCell(3, 4) as Loose)(zeros(3), [zeros(4), null]), 'got [[4], null]'],
    ['GRUCell', () => (new nn.GRUCell(3, 4) as Loose)(1), 'expected a tensor, got 1'],
  ];
  it.each(wrong)('of %s that does not fit is refused (%#)', (layer, call, message) => {
    expect(call).toThrow(`${layer}: `);
    expect(call).toThrow(message);
  });
});

describe('packed sequences', () => {
  const sequences = (): Tensor[] => [2, 4, 3].map((length, i) => filled(`s${i}`, length, 3));

  it('pack and unpad to what they were, in the order given', async () => {
    const packed = packSequence(sequences(), { enforceSorted: false });
    expect(packed.batchSizes).toEqual([3, 3, 2, 1]);
    expect(await packed.sortedIndices?.toArray()).toEqual([1, 2, 0]);
    const back = unpackSequence(packed);
    for (const [i, one] of sequences().entries()) await expectSame(back[i], one);
  });

  it('pad with a value, up to a length', async () => {
    const padded = padSequence(sequences(), { batchFirst: true, paddingValue: -1 });
    expect(padded.shape).toEqual([3, 4, 3]);
    expect(await padded.select(0, 0).select(0, 3).toArray()).toEqual([-1, -1, -1]);
    const packed = packPaddedSequence(padded, [2, 4, 3], { batchFirst: true, enforceSorted: false });
    const [again, lengths] = padPackedSequence(packed, {
      batchFirst: true,
      paddingValue: -1,
      totalLength: 5,
    });
    expect(again.shape).toEqual([3, 5, 3]);
    await expectSame(again.narrow(1, 0, 4), padded);
    expect(await lengths.toArray()).toEqual([2, 4, 3]);
    await expectSame(unpadSequence(padded, lengths, true)[2], sequences()[2]);
  });

  it.each([
    ['LSTM', () => new nn.LSTM(3, 4, { bidirectional: true, numLayers: 2 })],
    ['GRU', () => new nn.GRU(3, 4, { bidirectional: true })],
    ['RNN', () => new nn.RNN(3, 4, { bidirectional: true })],
  ] as const)('through %s they come out as each alone does', async (_, make) => {
    const layer = fill<nn.Module>(make()) as nn.GRU;
    const packed = packSequence(sequences(), { enforceSorted: false });
    const [output, states] = layer(packed);
    const hidden = [states].flat() as Tensor[];
    squares(output.data, ...hidden).backward();
    const grads = layer.parameters().map((p) => p.grad?.clone());
    layer.zeroGrad();
    const alone = sequences().map((x) => layer(x));
    for (const [i, one] of unpackSequence(output).entries()) {
      await expectSame(one, alone[i]?.[0]);
      for (const [s, state] of hidden.entries())
        await expectSame(state.select(1, i), [alone[i]?.[1]].flat()[s] as Tensor);
    }
    squares(...alone.flat(2)).backward();
    for (const [i, parameter] of layer.parameters().entries()) await expectSame(parameter.grad, grads[i]);
  });

  it('say what is wrong', () => {
    const x = zeros(4, 2, 3);
    expect(() => packPaddedSequence(x, [2, 4])).toThrow('lengths must not grow, got [2, 4]');
    expect(() => packPaddedSequence(x, [5, 2])).toThrow('lengths must be from 1 to 4, got [5, 2]');
    expect(() => packPaddedSequence(x, [4])).toThrow('1 lengths for 2 sequences');
    expect(() => new nn.utils.rnn.PackedSequence(zeros(4, 3), [3, 2])).toThrow('add up to 5');
  });
});
