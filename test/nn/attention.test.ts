import { beforeAll, describe, expect, it } from 'vitest';
import { init, manualSeed, nn, ones, tensor, zeros, type Tensor } from '../../src/index.js';
import { uniform } from '../models/fill.js';
import { relativeL2 } from '../models/goldens.js';
import { loadRows } from '../rows.js';

interface Numbers {
  readonly shape: readonly number[];
  readonly values: readonly number[];
}
type MaskSpec = readonly ['bool' | 'float', readonly number[]];
interface LayerRow {
  readonly name: string;
  readonly options: nn.MultiheadAttentionOptions & { embedDim: number; numHeads: number };
  readonly shapes: readonly (readonly number[])[];
  readonly call: {
    attnMask?: MaskSpec;
    keyPaddingMask?: MaskSpec;
    needWeights?: boolean;
    averageAttnWeights?: boolean;
  };
}
interface FunctionRow {
  readonly name: string;
  readonly shapes: readonly (readonly number[])[];
  readonly options: { attnMask?: MaskSpec; isCausal?: boolean; scale?: number };
}
/** scripts/goldens/attention.py says what these are. */
interface FunctionGolden {
  readonly output: Numbers;
  readonly grads: Readonly<Record<string, Numbers>>;
}
interface LayerGolden extends FunctionGolden {
  readonly printed: string;
  readonly keys: readonly string[];
  readonly weights: Numbers | null;
}

const limit = 2e-6;

beforeAll(() => init());

const filled = (key: string, shape: readonly number[]): Tensor => tensor(uniform(key, shape), { shape });

/** The script's `mask`. */
function mask([kind, shape]: MaskSpec): Tensor {
  const values = uniform('mask', shape);
  if (kind === 'float') return tensor(values, { shape });
  const columns = shape.at(-1) as number;
  return tensor(
    Uint8Array.from(values, (value, i) => (i % columns !== 0 && value > 0 ? 1 : 0)),
    {
      shape,
    },
  ).to('bool');
}

function inputs(shapes: readonly (readonly number[])[]): Tensor[] {
  const made = shapes.map((shape, i) => filled(['query', 'key', 'value'][i] as string, shape));
  for (const x of made) x.requiresGrad = true;
  return made;
}

async function expectClose(what: string, got: Tensor | null | undefined, want: Numbers): Promise<void> {
  expect(got?.shape, what).toEqual(want.shape);
  expect(relativeL2(await (got as Tensor).data(), want.values), what).toBeLessThan(limit);
}

describe('MultiheadAttention', () => {
  for (const { row, golden: want } of loadRows<LayerRow, LayerGolden>('nn/attention')) {
    it(`is PyTorch's: ${row.name}`, async () => {
      const { options, shapes, call } = row;
      const { embedDim, numHeads, ...rest } = options;
      const layer = new nn.MultiheadAttention(embedDim, numHeads, rest);
      expect(String(layer)).toBe(want.printed);
      expect([...layer.stateDict()].map(([key, { shape }]) => `${key} [${shape.join(', ')}]`)).toEqual(
        want.keys,
      );
      layer.loadStateDict(
        new Map(layer.namedParameters().map(([key, { shape }]) => [key, filled(key, shape)])),
      );
      const made = inputs(shapes);
      const last = made.at(-1) as Tensor;
      const [output, weights] = layer(made[0] as Tensor, made[1] ?? last, made[2] ?? last, {
        ...call,
        attnMask: call.attnMask ? mask(call.attnMask) : null,
        keyPaddingMask: call.keyPaddingMask ? mask(call.keyPaddingMask) : null,
      });
      await expectClose('output', output, want.output);
      if (want.weights === null) expect(weights).toBeNull();
      else await expectClose('weights', weights, want.weights);
      output.mul(filled('grad', output.shape)).sum().backward();
      const leaves = new Map([
        ...layer.namedParameters(),
        ...made.map((x, i) => [['query', 'key', 'value'][i] as string, x] as const),
      ]);
      for (const [key, grad] of Object.entries(want.grads))
        await expectClose(`gradient of ${key}`, leaves.get(key)?.grad, grad);
    });
  }

  it('starts as in PyTorch: Xavier for the projections, zero biases', async () => {
    manualSeed(0);
    const layer = new nn.MultiheadAttention(64, 4);
    const weight = (await (layer.inProjWeight as Tensor).data()) as Float32Array;
    const bound = Math.sqrt(6 / (64 + 192));
    const most = weight.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
    expect(most).toBeLessThanOrEqual(bound);
    expect(most).toBeGreaterThan(0.99 * bound);
    for (const bias of [layer.inProjBias, layer.outProj.bias]) expect(await bias?.abs().sum().item()).toBe(0);
  });

  it('drops weights in training only', async () => {
    manualSeed(0);
    const layer = new nn.MultiheadAttention(8, 2, { dropout: 0.5, batchFirst: true });
    const x = filled('query', [1, 16, 8]);
    const zerosIn = async (): Promise<number> => {
      const [, weights] = layer(x, x, x, { averageAttnWeights: false });
      return (await (weights as Tensor).data()).filter((value) => value === 0).length;
    };
    expect(await zerosIn()).toBeGreaterThan(150);
    layer.eval();
    expect(await zerosIn()).toBe(0);
  });

  it('says what is wrong', () => {
    const layer = new nn.MultiheadAttention(8, 2, { batchFirst: true });
    const x = zeros(2, 5, 8);
    expect(() => new nn.MultiheadAttention(8, 3)).toThrow('embedDim 8 does not divide into 3 heads');
    expect(() => layer(x, zeros(2, 5, 4), x)).toThrow('the last dim of key must be 8');
    expect(() => layer(x, zeros(3, 5, 8), zeros(3, 5, 8))).toThrow('the batch sizes (dim 0) differ');
    expect(() => layer(x, x, x, { attnMask: zeros(4, 5) })).toThrow(
      'attnMask must have shape [5, 5] or [4, 5, 5], got [4, 5]',
    );
    expect(() => layer(x, x, x, { keyPaddingMask: zeros(2, 4) })).toThrow(
      'keyPaddingMask must have shape [2, 5], got [2, 4]',
    );
  });
});

describe('scaledDotProductAttention', () => {
  for (const { row, golden } of loadRows<FunctionRow, FunctionGolden>('nn/attention-function')) {
    it(`is PyTorch's: ${row.name}`, async () => {
      const { shapes, options } = row;
      const made = inputs(shapes);
      const got = nn.functional.scaledDotProductAttention(...(made as [Tensor, Tensor, Tensor]), {
        ...options,
        attnMask: options.attnMask ? mask(options.attnMask) : null,
      });
      await expectClose('output', got, golden.output);
      got.mul(filled('grad', got.shape)).sum().backward();
      for (const [i, key] of ['query', 'key', 'value'].entries())
        await expectClose(`gradient of ${key}`, made[i]?.grad, golden.grads[key] as Numbers);
    });
  }

  it('gives NaN where a query may look at nothing, as PyTorch does', async () => {
    const x = ones(2, 4);
    const attnMask = tensor([
      [true, false],
      [false, false],
    ]);
    const got = await nn.functional.scaledDotProductAttention(x, x, x, { attnMask }).data();
    expect([...got].map(Number.isNaN)).toEqual([
      ...new Array<boolean>(4).fill(false),
      ...new Array<boolean>(4).fill(true),
    ]);
  });

  it('says what is wrong', () => {
    const { scaledDotProductAttention } = nn.functional;
    expect(() => scaledDotProductAttention(zeros(5, 4), zeros(6, 3), zeros(6, 4))).toThrow(
      'the last dims of query [5, 4] and key [6, 3] must be equal',
    );
    expect(() => scaledDotProductAttention(zeros(5, 4), zeros(6, 4), zeros(5, 4))).toThrow(
      'differ in length',
    );
    expect(() =>
      scaledDotProductAttention(zeros(5, 4), zeros(6, 4), zeros(6, 4), {
        isCausal: true,
        attnMask: zeros(5, 6),
      }),
    ).toThrow('not both');
  });
});

it('a stack takes its layer and their number by name, and no nonsense', () => {
  const encoder = new nn.TransformerEncoderLayer(4, 2, { dimFeedforward: 8 });
  const decoderLayer = new nn.TransformerDecoderLayer(4, 2, { dimFeedforward: 8 });
  expect(new nn.TransformerEncoder(encoder, { numLayers: 2 }).layers.length).toBe(2);
  expect(new nn.TransformerDecoder({ decoderLayer, numLayers: 2 }).layers.length).toBe(2);
  expect(new nn.TransformerDecoder(decoderLayer, 0).layers.length).toBe(0);
  for (const count of [-1, 1.5, NaN, '2'] as number[])
    expect(() => new nn.TransformerEncoder(encoder, count)).toThrow('numLayers must be an integer');
  const loose = nn.TransformerEncoder as unknown as new (...args: unknown[]) => unknown;
  expect(() => new loose(encoder)).toThrow("TransformerEncoder: 'numLayers' is missing");
  expect(() => new loose(3, 2)).toThrow('expected a layer to copy, got 3');
});
