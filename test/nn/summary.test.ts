import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  countWork,
  init,
  manualSeed,
  memoryStats,
  models,
  nn,
  randn,
  relu,
  runtime,
  type Tensor,
} from '../../src/index.js';
import { full } from '../tooling/full.js';

beforeAll(() => init());

interface Published {
  readonly model: string;
  readonly name: string;
  readonly numParams: number;
  /** 1e9 multiply-adds, three decimals. */
  readonly gflops?: number;
  readonly transforms: { readonly crop: number };
  readonly options?: models.ModelOptions;
}
const published = (
  JSON.parse(readFileSync(new URL('../../weights/manifest.json', import.meta.url), 'utf8')) as {
    weights: readonly Published[];
  }
).weights.filter((entry) => entry.gflops !== undefined);

/** `npm test` takes one of each kind; the full run every published file. */
const quick = [
  ...[
    'resnet50',
    'resnext50_32x4d',
    'vgg16',
    'mobilenet_v2',
    'mobilenet_v3_large',
    'alexnet',
    'squeezenet1_1',
  ],
  ...[
    'densenet121',
    'googlenet',
    'inception_v3',
    'efficientnet_b0',
    'efficientnet_v2_s',
    'shufflenet_v2_x1_0',
  ],
  ...['mnasnet1_0', 'regnet_y_400mf', 'regnet_x_400mf', 'convnext_tiny', 'vit_b_16'],
];

it("counts torchvision's published parameters and multiply-adds", { timeout: 120_000 }, () => {
  const table = published.filter(
    ({ model, name }) => full || (quick.includes(model) && name === 'IMAGENET1K_V1'),
  );
  expect(table.length).toBe(full ? published.length : quick.length);
  for (const { model, name, numParams, gflops, transforms, options } of table) {
    const { crop } = transforms;
    const make = models.get(model);
    // torchvision counts what its weights are loaded into: googlenet without its auxiliary classifiers,
    // inception_v3 with.
    const made = runtime().withoutWork(() => make({ ...make.pretrained, ...options }));
    const { parameters, multiplyAdds } = made.summary([1, 3, crop, crop]).totals;
    made.dispose();
    expect([parameters, Number((multiplyAdds / 1e9).toFixed(3))], `${model} ${name}`).toEqual([
      numParams,
      gflops,
    ]);
  }
});

class Net extends nn.Module {
  conv = new nn.Conv2d(3, 4, 3, { padding: 1, bias: false });
  act = new nn.ReLU();
  drop = new nn.Dropout(0.5);
  head = new nn.Sequential(new nn.Flatten(), new nn.Linear(4 * 6 * 6, 10));
  unused = new nn.Linear(5, 2);

  forward(x: Tensor): Tensor {
    const y = this.act(this.conv(x));
    return this.head(this.drop(this.act(y.add(relu(y)))));
  }
}

describe('summary', () => {
  it('lists calls, shapes, own parameters and work', () => {
    const net = new Net();
    net.conv.weight.requiresGrad = false;
    const { rows, totals } = net.summary([2, 3, 6, 6]);
    const image = 2 * 4 * 6 * 6 * 4;
    expect(
      rows.map((row) => [
        row.path,
        row.type,
        row.depth,
        row.parameters,
        row.trainable,
        row.multiplyAdds,
        row.outputBytes,
      ]),
    ).toEqual([
      ['', 'Net', 0, 0, 0, 0, 80],
      ['conv', 'Conv2d', 1, 108, 0, 2 * 36 * 108, image],
      ['act', 'ReLU', 1, 0, 0, 0, image],
      ['act', 'ReLU', 1, 0, 0, 0, image],
      ['drop', 'Dropout', 1, 0, 0, 0, 0],
      ['head', 'Sequential', 1, 0, 0, 0, 80],
      ['head.0', 'Flatten', 2, 0, 0, 0, image],
      ['head.1', 'Linear', 2, 1450, 1450, 2 * 1440, 80],
      ['unused', 'Linear', 1, 12, 12, 0, 0],
    ]);
    expect(rows[1]?.outputShapes).toEqual([[2, 4, 6, 6]]);
    expect(rows.at(-1)?.outputShapes).toEqual([]);
    expect(totals).toEqual({
      parameters: 1570,
      trainable: 1462,
      nonTrainable: 108,
      multiplyAdds: 2 * (36 * 108 + 1440),
      inputBytes: 2 * 3 * 36 * 4,
      activationBytes: 4 * image + 80,
      parameterBytes: 1570 * 4,
    });
  });

  it('adds what is below the depth asked for to the row above', () => {
    const { rows, totals } = models.resnet18({ numClasses: 2 }).summary([1, 3, 64, 64], { depth: 1 });
    expect(rows.map((row) => row.path)).toEqual([
      ...['', 'conv1', 'bn1', 'relu', 'maxpool', 'layer1', 'layer2', 'layer3', 'layer4', 'avgpool', 'fc'],
    ]);
    const sum = (key: 'parameters' | 'multiplyAdds'): number => rows.reduce((all, row) => all + row[key], 0);
    expect(sum('parameters')).toBe(totals.parameters);
    expect(sum('multiplyAdds')).toBe(totals.multiplyAdds);
  });

  it('prints a table', () => {
    const line = '='.repeat(79);
    expect(String(new nn.Sequential(new nn.Linear(1000, 10), new nn.ReLU()).summary([1, 1000]))).toBe(
      [
        line,
        'Layer (type)  Output shape  Parameters  Trainable  Multiply-adds  Output memory',
        line,
        'Sequential    [1, 10]               --  --                    --           40 B',
        '  0 (Linear)  [1, 10]           10,010  yes               10,000           40 B',
        '  1 (ReLU)    [1, 10]               --  --                    --           40 B',
        line,
        'Sequential of [1, 1000]',
        'Parameters: 10,010 (10,010 trainable, 0 not)',
        'Multiply-adds: 10,000 (0.000 G)',
        '-'.repeat(79),
        'Input: 3.91 KiB',
        'Outputs of the layers: 80 B',
        'Parameters and buffers: 39.10 KiB',
        line,
      ].join('\n'),
    );
  });

  it('runs nothing on the GPU and changes nothing', async () => {
    manualSeed(0);
    const model = models.mobilenetV2({ numClasses: 3 });
    const hidden = model.getSubmodule('features.3').eval();
    const x = randn(1, 3, 32, 32);
    const modes = model.modules().map((module) => module.training);
    const before = { ops: new Map(runtime().opCounts()), live: memoryStats().liveBytes };
    model.summary([4, 3, 64, 64]);
    expect(new Map(runtime().opCounts())).toEqual(before.ops);
    expect(model.modules().map((module) => module.training)).toEqual(modes);
    expect(hidden.training).toBe(false);
    // Packed weights made without work must not be used afterwards.
    model.eval();
    const got = await model(x).data();
    const fresh = models.mobilenetV2({ numClasses: 3 }).eval();
    fresh.loadStateDict(model.stateDict());
    expect([...got]).toEqual([...(await fresh(x).data())]);
  });

  it('takes several inputs, integers, and modules that return several tensors', () => {
    const attention = new nn.MultiheadAttention(8, 2);
    const { rows, totals } = attention.summary([
      [5, 1, 8],
      [7, 1, 8],
      [7, 1, 8],
    ]);
    expect(rows[0]?.outputShapes).toEqual([
      [5, 1, 8],
      [1, 5, 7],
    ]);
    // Three input projections, scores and weighted values per head, and the output projection in a row of its
    // own.
    expect(rows.map((row) => row.multiplyAdds)).toEqual([(5 + 7 + 7) * 64 + 2 * 5 * 7 * 8, 5 * 64]);
    expect(totals.parameters).toBe(3 * 64 + 24 + 64 + 8);
    expect(new nn.Embedding(10, 4).summary([2, 3], { dtype: 'int32' }).rows[0]?.outputShapes).toEqual([
      [2, 3, 4],
    ]);
  });

  it('says what a model would say about a wrong shape, and leaves the modes as they were', () => {
    const model = models.resnet18({ numClasses: 2 });
    expect(() => model.summary([1, 4, 64, 64])).toThrow('conv2d');
    expect(model.training).toBe(true);
  });
});

it('countWork counts a training step: the backward pass is twice the forward', () => {
  const layer = new nn.Conv2d(8, 8, 3, { padding: 1 });
  const x = randn(1, 8, 6, 6, { requiresGrad: true });
  const forward = { multiplyAdds: 0 };
  const step = { multiplyAdds: 0 };
  countWork(step, () => {
    const y = countWork(forward, () => layer(x));
    y.sum().backward();
  });
  expect(forward.multiplyAdds).toBe(36 * 8 * 8 * 9);
  expect(step.multiplyAdds).toBe(3 * forward.multiplyAdds);
});
