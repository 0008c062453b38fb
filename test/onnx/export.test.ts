/** What `exportOnnx` writes, as another reader of the format sees it. test/full/onnx.test.ts runs it. */
import { existsSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';
import { runtime } from '../../src/device/index.js';
import { saveOnnx } from '../../src/node.js';
import { follow } from '../../src/onnx/export.js';
import { exportOnnx } from '../../src/onnx/index.js';
import { exportedOps } from '../../src/onnx/rows/index.js';
import { temporaryFolder } from '../cli/support.js';
import { full } from '../tooling/full.js';
import { infoOf, nodesOf, numbersOf, placeOf, readModel, type Model } from './read.js';

const folder = temporaryFolder();
const { nn } = k;
type Tensor = k.Tensor;

beforeAll(() => k.init());

/** A function of tensors as a module. */
class Calls extends nn.Module {
  constructor(readonly fn: (...x: Tensor[]) => unknown) {
    super();
  }
  forward(...x: Tensor[]): unknown {
    return this.fn(...x);
  }
}

const exported = async (...args: Parameters<typeof exportOnnx>): Promise<Model> =>
  readModel(await exportOnnx(...args));
const ofFn = (
  fn: (...x: Tensor[]) => unknown,
  inputs: Tensor | readonly Tensor[],
  options: Parameters<typeof exportOnnx>[2] = {},
): Promise<Model> => exported(new Calls(fn), inputs, options);

const smallNet = (): k.nn.Sequential =>
  new nn.Sequential(
    new nn.Conv2d(3, 4, 3, { padding: 1, bias: false }),
    new nn.BatchNorm2d(4),
    new nn.ReLU(),
    new nn.MaxPool2d(2),
    new nn.Flatten(),
    new nn.Linear(16, 2),
  );

describe('a small network', () => {
  it('is a node per layer, in the order of the calls', async () => {
    expect(nodesOf(await exported(smallNet(), k.zeros(2, 3, 4, 4)))).toEqual([
      '/0/Conv_output_0 = Conv(input, 0.weight) dilations=[1,1] group=1 kernel_shape=[3,3] pads=[1,1,1,1] strides=[1,1]',
      '/1/BatchNormalization_output_0 = BatchNormalization(/0/Conv_output_0, 1.weight, 1.bias, 1.running_mean, 1.running_var) epsilon=0.00001',
      '/2/Relu_output_0 = Relu(/1/BatchNormalization_output_0)',
      '/3/MaxPool_output_0 = MaxPool(/2/Relu_output_0) kernel_shape=[2,2] strides=[2,2] pads=[0,0,0,0]',
      '/4/Reshape_output_0 = Reshape(/3/MaxPool_output_0, sizes)',
      'output = Gemm(/4/Reshape_output_0, 5.weight, 5.bias) transB=1',
    ]);
  });

  it('has its weights under the keys of the state dict, row-major, and no others', async () => {
    const net = smallNet();
    const model = await exported(net, k.zeros(2, 3, 4, 4));
    const keys = [...net.stateDict().keys()].filter((key) => !key.endsWith('num_batches_tracked'));
    expect(model.graph.initializer?.map(({ name }) => name)).toEqual(['sizes', ...keys]);
    for (const key of keys)
      expect(numbersOf(model, key), key).toEqual([...(await net.stateDict().get(key)!.data())]);
  });

  it('says what goes in and comes out, who wrote it, and by which operators', async () => {
    const metadata = { author: 'Ada', note: 'ÄÖÜ' };
    const model = await exported(smallNet(), k.zeros(2, 3, 4, 4), { metadata, opsetVersion: 18 });
    const { graph, metadataProps, ...rest } = model;
    expect(rest).toEqual({
      irVersion: 8,
      producerName: 'kindling',
      opsetImport: [{ version: 18 }],
    });
    expect([graph.name, ...graph.input.map(infoOf), ...graph.output.map(infoOf)]).toEqual([
      'Sequential',
      'input: float32[2,3,4,4]',
      'output: float32[2,2]',
    ]);
    expect(Object.fromEntries(metadataProps!.map(({ key, value }) => [key, value]))).toEqual(metadata);
  });

  it('is exported in evaluation mode, and left in the modes that it was in', async () => {
    const last = new nn.Dropout();
    const net = new nn.Sequential(new nn.Dropout(), smallNet(), last);
    last.eval();
    const ops = (await exported(net, k.zeros(2, 3, 4, 4))).graph.node.map(({ opType }) => opType);
    expect(ops).toEqual(['Conv', 'BatchNormalization', 'Relu', 'MaxPool', 'Reshape', 'Gemm']);
    expect([net.training, net.children()[0]?.training, last.training]).toEqual([true, true, false]);
  });

  it('needs no kernel to be run', async () => {
    const net = smallNet();
    runtime().resetOpCounts();
    await exportOnnx(net, k.zeros(2, 3, 4, 4));
    expect([...runtime().opCounts().keys()].filter((name) => name !== 'fill')).toEqual([]);
  });
});

describe('names', () => {
  const two = (a: Tensor, b: Tensor): unknown => ({ sum: a.add(b), product: a.mul(b) });

  it('are given, or numbers, or the keys of what the forward returns', async () => {
    const x = [k.zeros(2), k.zeros(2)];
    const names = ({ graph }: Model): string[] => [...graph.input, ...graph.output].map(({ name }) => name);
    expect(names(await ofFn(two, x))).toEqual(['input_0', 'input_1', 'sum', 'product']);
    expect(names(await ofFn((a, b) => [a.add(b), a], x))).toEqual([
      'input_0',
      'input_1',
      'output_0',
      'output_1',
    ]);
    const given = { inputNames: ['a', 'b'], outputNames: ['c', 'd'] };
    expect(names(await ofFn(two, x, given))).toEqual(['a', 'b', 'c', 'd']);
  });

  it('are each one value: what is returned twice, or as it came in, is copied', async () => {
    const model = await ofFn((x) => {
      const y = x.neg();
      return [y, y, x];
    }, k.zeros(2));
    expect(nodesOf(model)).toEqual([
      'output_0 = Neg(input)',
      'output_1 = Identity(output_0)',
      'output_2 = Identity(input)',
    ]);
  });

  it('of weights stay, also where an input is called so', async () => {
    const model = await exported(new nn.Linear(2, 2), k.zeros(1, 2), { inputNames: ['weight'] });
    expect(nodesOf(model)).toEqual(['output = Gemm(weight, weight_1, bias) transB=1']);
  });
});

describe('dynamic axes', () => {
  it('the batch: no node knows how large it is', async () => {
    const model = await exported(smallNet(), k.zeros(7, 3, 4, 4), { dynamicBatch: true });
    expect([...model.graph.input, ...model.graph.output].map(infoOf)).toEqual([
      'input: float32[batch,3,4,4]',
      'output: float32[batch,2]',
    ]);
    expect(numbersOf(model, 'sizes')).toEqual([0, 16]);
  });

  it('several, which are multiplied where a size needs them', async () => {
    const dynamicAxes = { x: { 0: 'batch', 1: 'length' } };
    const rows = (x: Tensor): Tensor =>
      k.cat([x.permute(1, 0, 2).reshape(-1, 8), k.ones(x.shape[0]! * x.shape[1]!, 1)], 1);
    const model = await ofFn(rows, k.zeros(2, 5, 8), { inputNames: ['x'], dynamicAxes });
    expect(model.graph.output.map(infoOf)).toEqual(['output: float32[output_dim_0,9]']);
    expect(nodesOf(model)).toEqual([
      '/Transpose_output_0 = Transpose(x) perm=[1,0,2]',
      '/Reshape_output_0 = Reshape(/Transpose_output_0, sizes)',
      '/Shape_output_0 = Shape(x)',
      '/Gather_output_0 = Gather(/Shape_output_0, sizes_1) axis=0',
      '/Gather_1_output_0 = Gather(/Shape_output_0, sizes_2) axis=0',
      '/Mul_output_0 = Mul(/Gather_output_0, /Gather_1_output_0)',
      '/Concat_output_0 = Concat(/Mul_output_0, sizes_2) axis=0',
      '/Expand_output_0 = Expand(constant, /Concat_output_0)',
      'output = Concat(/Reshape_output_0, /Expand_output_0) axis=1',
    ]);
  });

  it('the model must run with the axis longer', async () => {
    const positions = k.zeros(6, 4);
    const model = new Calls((x) => x.add(positions.narrow(0, 0, x.shape[1]!)));
    await expect(
      exportOnnx(model, k.zeros(1, 5, 4), { dynamicAxes: { input: { 1: 'length' } } }),
    ).rejects.toThrow('for dynamicAxes the model must run on [1, 9, 4], and it does not: narrow:');
  });

  it('bounds are counted from the end where they follow it', async () => {
    const model = await ofFn((x) => [x.select(1, -1), x.slice(1, 1)], k.zeros(2, 9), {
      dynamicAxes: { input: { 1: 'length' } },
    });
    const bounds = model.graph.node
      .filter(({ opType }) => opType === 'Slice')
      .map(({ input = [] }) => input.slice(1, 3).map((name) => numbersOf(model, name)[0]));
    expect(bounds).toEqual([
      [-1, 2 ** 31 - 1],
      [1, 2 ** 31 - 1],
    ]);
  });

  it('what the model computes must not change with them', async () => {
    const net = (x: Tensor): Tensor => x.mul(x.shape[0]!);
    await expect(ofFn(net, k.zeros(2, 3), { dynamicBatch: true })).rejects.toThrow(
      "what the model computes changes with the axis 'batch', at Mul",
    );
    const large = (x: Tensor): Tensor => (x.shape[0]! > 100 ? x.neg() : x.abs());
    await expect(ofFn(large, k.zeros(2, 3), { dynamicBatch: true })).rejects.toThrow(
      "changes with the axis 'batch', at Abs",
    );
    const capped = (x: Tensor): Tensor => x.narrow(0, 0, Math.min(x.shape[0]!, 100));
    await expect(ofFn(capped, k.zeros(2, 3), { dynamicBatch: true })).rejects.toThrow("'batch'");
    const half = (x: Tensor): Tensor => x.reshape(-1).expand(Math.ceil((x.shape[0]! + 3) / 2), -1);
    await expect(ofFn(half, k.zeros(4, 1), { dynamicBatch: true })).rejects.toThrow(/'batch'/);
  });
});

describe('writes to parts', () => {
  it('are what lies around the part, and the part', async () => {
    const write = (x: Tensor): Tensor => {
      const y = x.neg();
      k.add_(y.narrow(1, 1, 2), 1);
      return y;
    };
    expect(nodesOf(await ofFn((x) => write(x!), k.zeros(3, 4), { dynamicBatch: true }))).toEqual([
      '/Neg_output_0 = Neg(input)',
      '/Slice_output_0 = Slice(/Neg_output_0, sizes, sizes_1, sizes)',
      '/Add_output_0 = Add(/Slice_output_0, constant)',
      '/Slice_1_output_0 = Slice(/Neg_output_0, sizes_2, sizes, sizes)',
      '/Slice_2_output_0 = Slice(/Neg_output_0, sizes_1, sizes_3, sizes)',
      'output = Concat(/Slice_1_output_0, /Add_output_0, /Slice_2_output_0) axis=1',
    ]);
  });

  it('change constants of the forward too, and views that were made before', async () => {
    const model = await ofFn(
      (x) => {
        const y = k.zeros(2, 3);
        const row = y.select(0, 1);
        y.narrow(0, 1, 1).copy_(x!);
        return row;
      },
      k.zeros(1, 3),
    );
    expect(model.graph.node.map((node) => node.opType)).toContain('Concat');
  });

  it('to a tensor from outside of the forward are an error', async () => {
    const kept = k.zeros(2, 3);
    const model = new Calls((x) => k.add_(kept.narrow(0, 0, 1), x!).neg());
    await expect(exportOnnx(model, k.zeros(1, 3))).rejects.toThrow('add_');
  });
});

describe('what cannot be exported is an error that says where', () => {
  class Inner extends nn.Module {
    constructor(readonly fn: (x: Tensor) => Tensor) {
      super();
    }
    forward(x: Tensor): Tensor {
      return this.fn(x);
    }
  }
  const within = (fn: (x: Tensor) => Tensor): Promise<Uint8Array> =>
    exportOnnx(new nn.Sequential(new nn.ReLU(), new nn.Sequential(new Inner(fn))), k.zeros(3, 3));

  it.each<[string, (x: Tensor) => Tensor, string]>([
    ['an op without a row', (x) => k.cumprod(x, 0), "the op 'cumprod', called in '1.0', has no counterpart"],
    [
      'a function without an operator',
      (x) => k.erfinv(x),
      "the op 'erfinv', called in '1.0', computes 'erfinv'",
    ],
    ['chance', (x) => x.add(k.rand(3)), "used in '1.0', was made by 'rand'"],
    ['bits of integers', (x) => k.bitwiseAnd(x.int(), 1), 'needs opsetVersion 18'],
  ])('%s', async (_, fn, message) => {
    await expect(within(fn)).rejects.toThrow(message);
  });

  it('but a write over a whole tensor is followed', async () => {
    const bytes = await within((x) => {
      const y = x.neg();
      k.relu_(y.mul_(2));
      return k.nn.functional.dropout(y, { inplace: true, training: false }).add(y);
    });
    expect(readModel(bytes).graph.node.map((node) => node.opType)).toEqual([
      'Relu',
      'Neg',
      'Mul',
      'Relu',
      'Add',
    ]);
  });

  it('what its own kernels write is not taken for what it was before', async () => {
    // Each result is a copy, or zeros, until a kernel without a row has written to it.
    const x = (): Tensor => k.zeros(2, 3);
    for (const [fn, name] of [
      [() => k.cumprod(x().neg(), 0), 'cumprod'],
      [(y: Tensor) => k.logcumsumexp(y, 0), 'logcumsumexp'],
      [(y: Tensor) => k.linalg.inv(y.matmul(y.mT)), 'lu'],
      [(y: Tensor) => k.nn.functional.crossEntropy(y, k.zeros([2], { dtype: 'int32' })), 'crossEntropy'],
    ] as const)
      await expect(exportOnnx(new Calls((y) => fn(y!)), x())).rejects.toThrow(name);
  });

  it('a buffer that is written', async () => {
    class Counts extends nn.Module {
      constructor() {
        super();
        this.registerBuffer('count', k.zeros(1));
      }
      forward(x: Tensor): Tensor {
        k.add_((this as unknown as { count: Tensor }).count, 1);
        return x.neg();
      }
    }
    await expect(exportOnnx(new Counts(), k.zeros(2))).rejects.toThrow(
      "the forward writes to 'count' (add_)",
    );
  });

  it('modes are as before, and no file is written', async () => {
    const net = new nn.Sequential(new Calls((x) => k.erfinv(x!)));
    const path = join(folder, 'none.onnx');
    await expect(saveOnnx(net, k.zeros(2), path)).rejects.toThrow('erfinv');
    expect([net.training, existsSync(path)]).toEqual([true, false]);
  });

  it.each<[string, () => Promise<unknown>, string]>([
    ['no module', () => exportOnnx((() => 0) as never, k.zeros(1)), 'expected a module'],
    ['no example', () => exportOnnx(smallNet(), []), 'expected an example input'],
    ['an empty example', () => exportOnnx(smallNet(), k.zeros(0, 3, 4, 4)), 'an example input is empty'],
    [
      'an old opset',
      () => exportOnnx(smallNet(), k.zeros(1), { opsetVersion: 11 }),
      'opsetVersion must be 17 to 21',
    ],
    ['another option', () => exportOnnx(smallNet(), k.zeros(1), { opset: 17 } as never), "'opset'"],
    [
      'too many names',
      () => ofFn((x) => x.neg(), k.zeros(1), { inputNames: ['a', 'b'] }),
      'must be 1 different name',
    ],
    [
      'a name twice',
      () => ofFn((x) => x.neg(), k.zeros(1), { outputNames: ['input'] }),
      'an input and an output',
    ],
    [
      'an axis that is not',
      () => ofFn((x) => x.neg(), k.zeros(1), { dynamicAxes: { input: { 1: 'a' } } }),
      'axes 0 to 0',
    ],
    [
      'axes of nothing',
      () => ofFn((x) => x.neg(), k.zeros(1), { dynamicAxes: { y: { 0: 'a' } } }),
      "names 'y'",
    ],
    [
      'an output that is fixed',
      () => ofFn((x) => x.neg(), k.zeros(1), { dynamicAxes: { output: { 0: 'a' } } }),
      'but it is 1',
    ],
    [
      'metadata that is no text',
      () => ofFn((x) => x.neg(), k.zeros(1), { metadata: { a: 1 as never } }),
      'must be a string',
    ],
    ['no tensor returned', () => ofFn(() => 3, k.zeros(1)), 'must return a tensor'],
  ])('%s', async (_, call, message) => {
    await expect(call()).rejects.toThrow(message);
  });
});

it('tensors that the forward makes on the host are constants', async () => {
  const outer = k.tensor([0.5, 0.25]);
  const model = await ofFn(
    (x) =>
      x
        .add(k.tensor([1.5, 2]))
        .mul(outer)
        .add(k.arange(2))
        .add(k.ones(2)),
    k.zeros(2),
  );
  const names = model.graph.initializer!.filter(({ dataType }) => dataType !== 7).map(({ name }) => name);
  expect(names.map((name) => numbersOf(model, name))).toEqual([[1.5, 2], [0.5, 0.25], [0, 1], [1]]);
});

it('saveOnnx writes the same bytes', async () => {
  const net = new nn.Linear(2, 2);
  const path = join(folder, 'linear.onnx');
  await saveOnnx(net, k.zeros(1, 2), path, { dynamicBatch: true });
  expect(await readFile(path)).toEqual(
    Buffer.from(await exportOnnx(net, k.zeros(1, 2), { dynamicBatch: true })),
  );
});

describe('weights in a file of their own', () => {
  const net = (): k.nn.Sequential => new nn.Sequential(new nn.Linear(20, 30), new nn.Linear(30, 40)).half();
  const names = ['0.weight', '0.bias', '1.weight', '1.bias'];

  it('are where the model says, each at a page, and small ones stay', async () => {
    const model = net();
    const path = join(folder, 'apart.onnx');
    expect(await saveOnnx(model, k.zeros(1, 20).half(), path, { externalData: true })).toEqual([
      path,
      `${path}.data`,
    ]);
    const [read, data] = [readModel(await readFile(path)), await readFile(`${path}.data`)];
    const places = names.map((name) => placeOf(read.graph.initializer!.find((x) => x.name === name)!));
    expect(places).toEqual([
      { location: 'apart.onnx.data', offset: '0', length: '1200' },
      null,
      { location: 'apart.onnx.data', offset: '4096', length: '2400' },
      null,
    ]);
    expect(data.length).toBe(4096 + 2400);
    const whole = readModel(await exportOnnx(model, k.zeros(1, 20).half()));
    for (const name of names) expect(numbersOf(read, name, data)).toEqual(numbersOf(whole, name));
    expect(nodesOf(read)).toEqual(nodesOf(whole));
  });

  it('are read one after the other, as the file is written', async () => {
    const model = net();
    const { data } = await follow(model, [k.zeros(1, 20).half()], {}).apart('a');
    const chunks = data.chunks();
    await chunks.next();
    const second = model[1] as k.nn.Linear;
    k.noGrad(() => k.add_(second.weight, 1));
    await expect(
      (async () => {
        for await (const chunk of chunks) expect(chunk.length).toBeGreaterThan(0);
      })(),
    ).rejects.toThrow("'1.weight' was changed by add_ while the model was being exported");
  });

  it('are refused by exportOnnx, which gives one piece, over 2 GB', async () => {
    const large = runtime().withoutWork(
      () => new nn.Sequential(new nn.Linear(32768, 8192), new nn.Linear(8192, 32768)),
    );
    await expect(exportOnnx(large, k.zeros(1, 32768))).rejects.toThrow(
      'has 2.1 GB of weights, and an ONNX file of one piece may have 2 GB. saveOnnx (kindling/node) writes weights into a file',
    );
    large.dispose();
  });

  it('need a true or a false', async () => {
    const options = { externalData: 'yes' as never };
    await expect(saveOnnx(net(), k.zeros(1, 20), join(folder, 'no.onnx'), options)).rejects.toThrow(
      'externalData must be true or false, got yes',
    );
  });
});

describe('the zoo', () => {
  /** A small one of each family. */
  const small = [
    ...['convnext_tiny', 'densenet121', 'efficientnet_b0', 'googlenet', 'mnasnet0_5'],
    ...[
      'mobilenet_v3_small',
      'regnet_y_400mf',
      'resnet18',
      'shufflenet_v2_x0_5',
      'squeezenet1_1',
      'vit_b_16',
    ],
  ];
  it.each(full ? k.models.list() : small)('%s, for any number of images', async (name) => {
    const make = k.models.get(name);
    const { channels, crop } = make.input;
    const net = runtime().withoutWork(() => make());
    try {
      const image = runtime().withoutWork(() => k.zeros(1, channels, crop, crop));
      // No weight of any size is read: the largest have 2.6 GB.
      const { model, data } = await follow(net, image, { dynamicBatch: true }).apart('weights');
      const { graph } = readModel(model);
      expect(graph.output.map(infoOf)[0]).toMatch(/^output: float32\[batch,\d+\]$/);
      expect(graph.node.length).toBeGreaterThan(10);
      const ends = graph
        .initializer!.map(placeOf)
        .map((at) => Number(at?.offset ?? 0) + Number(at?.length ?? 0));
      expect(data.size).toBe(Math.max(...ends));
      expect(model.length).toBeLessThan(4e6);
    } finally {
      net.dispose();
    }
  });
});

it("the guide's page on saving lists the ops", () => {
  const guide = readFileSync(new URL('../../docs/guide/saving.md', import.meta.url), 'utf8');
  expect(exportedOps.filter((name) => !guide.includes(`\`${name}\``))).toEqual([]);
});
