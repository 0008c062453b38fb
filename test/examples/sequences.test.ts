/** Programs over sequences, as a PyTorch user would write them from memory. */
import { beforeAll, describe, expect, it } from 'vitest';
import {
  arange,
  einsum,
  init,
  manualSeed,
  nn,
  noGrad,
  nonzero,
  optim,
  randn,
  softmax,
  tensor,
  type Tensor,
} from '../../src/index.js';

const { crossEntropy } = nn.functional;

beforeAll(async () => {
  await init();
  manualSeed(0);
});

/** Losses of `steps` steps; the last must be well below the first. */
async function train(net: nn.Module, steps: number, loss: () => Tensor, lr = 0.01): Promise<number[]> {
  const optimizer = new optim.Adam(net.parameters(), { lr });
  const losses: number[] = [];
  for (let step = 0; step < steps; step++) {
    optimizer.zeroGrad();
    const value = loss();
    value.backward();
    nn.utils.clipGradNorm_(net.parameters(), 1);
    optimizer.step();
    losses.push(await value.item());
  }
  return losses;
}

const text = 'hello world, hello kindling. ';
const letters = [...new Set(text)].sort();
const ids = [...text].map((letter) => letters.indexOf(letter));
const int32 = (values: readonly number[]): Tensor => tensor([...values], { dtype: 'int32' });

class CharLSTM extends nn.Module {
  embedding = new nn.Embedding(letters.length, 16);
  lstm = new nn.LSTM(16, 32, { batchFirst: true });
  fc = new nn.Linear(32, letters.length);

  forward(x: Tensor, state: [Tensor, Tensor] | null = null): [Tensor, [Tensor, Tensor]] {
    const [output, next] = this.lstm(this.embedding(x), state);
    return [this.fc(output), next];
  }
}

describe('a character LSTM', () => {
  it('learns a text and writes it letter by letter from its state', async () => {
    const net = new CharLSTM();
    const [x, y] = [int32(ids.slice(0, -1)).unsqueeze(0), int32(ids.slice(1))];
    const losses = await train(net, 60, () => crossEntropy(net(x)[0].reshape(-1, letters.length), y), 0.03);
    expect(losses.at(-1)).toBeLessThan(0.1);
    net.eval();
    let letter = ids[0] as number;
    let state: [Tensor, Tensor] | null = null;
    let written = letters[letter] as string;
    for (let i = 0; i < 11; i++) {
      const [logits, next]: [Tensor, [Tensor, Tensor]] = noGrad(() =>
        net(tensor([[letter]], { dtype: 'int32' }), state),
      );
      state = next;
      letter = await logits.argmax(-1).item();
      written += letters[letter];
    }
    expect(written).toBe('hello world,');
  });
});

class TextTransformer extends nn.Module {
  embedding = new nn.Embedding(letters.length, 16);
  position = new nn.Embedding(32, 16);
  encoder = new nn.TransformerEncoder(
    new nn.TransformerEncoderLayer(16, 2, { dimFeedforward: 32, dropout: 0, batchFirst: true }),
    1,
  );
  fc = new nn.Linear(16, letters.length);

  forward(x: Tensor): Tensor {
    const length = x.shape[1] as number;
    const mask = nn.Transformer.generateSquareSubsequentMask(length);
    const places = this.position(arange(length, { dtype: 'int32' }));
    return this.fc(this.encoder(this.embedding(x).add(places), mask));
  }
}

describe('a text transformer', () => {
  it('learns a text, and no position sees a later one', async () => {
    const net = new TextTransformer();
    const [x, y] = [int32(ids.slice(0, -1)).unsqueeze(0), int32(ids.slice(1))];
    const losses = await train(net, 40, () => crossEntropy(net(x).reshape(-1, letters.length), y), 0.02);
    expect(losses.at(-1)).toBeLessThan((losses[0] as number) / 4);
    const whole = (await net(x).select(1, 3).toArray()) as number[][];
    const start = (await net(x.narrow(1, 0, 4))
      .select(1, 3)
      .toArray()) as number[][];
    start[0]?.forEach((value, i) => expect(value).toBeCloseTo(whole[0]?.[i] as number, 4));
  });
});

class EinsumAttention extends nn.Module {
  query = new nn.Linear(8, 8, { bias: false });
  key = new nn.Linear(8, 8, { bias: false });
  value = new nn.Linear(8, 8, { bias: false });

  forward(x: Tensor): Tensor {
    const [q, k, v] = [this.query, this.key, this.value].map((layer) => layer(x).unflatten(-1, [2, 4]));
    const scores = einsum('bqhd,bkhd->bhqk', q as Tensor, k as Tensor).div(2);
    return einsum('bhqk,bkhd->bqhd', softmax(scores, -1), v as Tensor).flatten(2);
  }
}

describe('attention by einsum', () => {
  it('is what MultiheadAttention computes', async () => {
    const own = new EinsumAttention();
    const layer = new nn.MultiheadAttention(8, 2, { bias: false, batchFirst: true });
    noGrad(() => {
      [own.query, own.key, own.value].forEach(({ weight }, i) =>
        layer.inProjWeight?.narrow(0, 8 * i, 8).copy_(weight),
      );
      nn.init.eye_(layer.outProj.weight);
    });
    const x = randn(2, 5, 8);
    const want = await layer(x, x, x, { needWeights: false })[0].data();
    (await own(x).data()).forEach((value, i) => expect(value).toBeCloseTo(want[i] as number, 5));
  });
});

class AudioClassifier extends nn.Module {
  conv1 = new nn.Conv1d(1, 8, 9, { stride: 2, padding: 4 });
  bn1 = new nn.BatchNorm1d(8);
  conv2 = new nn.Conv1d(8, 16, 9, { stride: 2, padding: 4 });
  fc = new nn.Linear(16, 2);

  forward(x: Tensor): Tensor {
    const y = nn.functional.relu(this.bn1(this.conv1(x)));
    return this.fc(nn.functional.relu(this.conv2(y)).mean(-1));
  }
}

describe('a classifier of sounds by Conv1d', () => {
  it('tells a high tone from a low one', async () => {
    const tone = (f: number): number[] => Array.from({ length: 64 }, (_, i) => Math.sin(f * i + f));
    const waves = tensor([0.2, 0.25, 0.3, 1.2, 1.3, 1.4].map((f) => [tone(f)]));
    const labels = int32([0, 0, 0, 1, 1, 1]);
    const net = new AudioClassifier();
    const losses = await train(net, 25, () => crossEntropy(net(waves), labels));
    expect(losses.at(-1)).toBeLessThan((losses[0] as number) / 3);
    expect(await net(waves).argmax(1).toArray()).toEqual([0, 0, 0, 1, 1, 1]);
  });
});

describe('sequences of different lengths', () => {
  it('are told apart by the last state of a packed GRU', async () => {
    const { packSequence } = nn.utils.rnn;
    const rnn = new nn.GRU(1, 8);
    const fc = new nn.Linear(8, 2);
    const rising = [3, 5, 4].map((length) => arange(length).div(length).unsqueeze(1));
    const falling = rising.map((x) => x.neg());
    const packed = packSequence([...rising, ...falling], { enforceSorted: false });
    const labels = int32([0, 0, 0, 1, 1, 1]);
    const net = new nn.ModuleList([rnn, fc]);
    const losses = await train(net, 25, () => crossEntropy(fc(rnn(packed)[1].select(0, 0)), labels), 0.05);
    expect(losses.at(-1)).toBeLessThan(0.2);
  });
});

describe('a batch filtered by a mask', () => {
  it('trains on the rows that are sure', async () => {
    const [x, score] = [tensor([[1, 0], [0, 1], [1, 1]]), tensor([0.9, 0.2, 0.8])]; // prettier-ignore
    const rows = (await nonzero(score.gt(0.5))).squeeze(1);
    const net = new nn.Linear(2, 1, { bias: false });
    net(x.indexSelect(0, rows)).sum().backward();
    expect(await net.weight.grad?.toArray()).toEqual([[2, 1]]);
    expect(await (await score.maskedSelect(score.gt(0.5))).toArray()).toEqual([
      expect.closeTo(0.9, 5),
      expect.closeTo(0.8, 5),
    ]);
  });
});
