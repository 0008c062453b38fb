/** Exported models, run by onnxruntime: the same numbers as here. */
import { mkdtempSync, readdirSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';
import { exportOnnx } from '../../src/onnx/index.js';
import { loadRows, unpack, upload, type Packed } from '../rows.js';
import { differences, loadRuntime, type Difference } from '../onnx/run.js';

const { nn } = k;
const F = nn.functional;
type Tensor = k.Tensor;
type Case = readonly [model: k.nn.Module, ...inputs: Tensor[]];

let ort: ReturnType<typeof loadRuntime>;
beforeAll(async () => {
  ort = loadRuntime();
  await k.init();
}, 600_000);

/** What every output must be: of the same shape and dtype, and by so much the same numbers. */
function expectSame(found: readonly Difference[], tolerance: number): void {
  expect(found.length).toBeGreaterThan(0);
  for (const { shape, dtype, error } of found) {
    expect(shape[1]).toEqual(shape[0]);
    expect(dtype[1]).toBe(dtype[0]);
    expect(error).toBeLessThanOrEqual(tolerance);
  }
}

describe('the zoo, with another number of images than it was exported with', () => {
  it.each<[string, number]>([
    ['resnet18', 64],
    ['cifar_resnet8', 32],
    ['vgg11', 32],
    ['mobilenet_v2', 64],
    ['mobilenet_v3_small', 64],
    ['alexnet', 80],
    ['squeezenet1_1', 64],
    ['densenet121', 64],
    ['googlenet', 80],
    ['inception_v3', 107],
    ['efficientnet_b0', 64],
    ['efficientnet_v2_s', 64],
    ['shufflenet_v2_x0_5', 64],
    ['mnasnet0_5', 64],
    ['regnet_y_400mf', 64],
    ['convnext_tiny', 64],
    ['vit_b_32', 224],
  ])('%s', async (name, size) => {
    k.manualSeed(1);
    const model = k.models.get(name)();
    // Heads start at zero, and running statistics at 0 and 1: what is multiplied by them would not be seen.
    for (const [key, x] of [...model.namedBuffers(), ...model.namedParameters()] as [string, Tensor][])
      if (/running_var|head\.weight/.test(key)) k.noGrad(() => k.add_(x, k.rand(x.shape)));
      else if (key.endsWith('running_mean')) k.add_(x, k.mul(k.randn(x.shape), 0.1));
    try {
      const [one, several] = [k.randn(1, 3, size, size), k.randn(2, 3, size, size)];
      expectSame(await differences(ort, model, [one], [several], { dynamicBatch: true }), 1e-4);
    } finally {
      model.dispose();
    }
  });
});

class Calls extends nn.Module {
  constructor(readonly fn: (...x: Tensor[]) => unknown) {
    super();
  }
  forward(...x: Tensor[]): unknown {
    return this.fn(...x);
  }
}
const of = (fn: (...x: Tensor[]) => unknown, ...inputs: Tensor[]): Case => [new Calls(fn), ...inputs];

const image = (): Tensor => k.randn(2, 4, 9, 11);
const even = (): Tensor => k.randn(2, 4, 8, 10);
const rows = (): Tensor => k.randn(2, 5, 8);
const ids = (): Tensor => k.tensor([[1, 2, 3], [4, 0, 6]], { dtype: 'int32' }); // prettier-ignore

/** One or more ops each, by what is exported. */
const cases: Readonly<Record<string, () => Case>> = {
  'activations with an operator': () =>
    of(
      (x) => [
        F.elu(x, 0.7),
        F.celu(x, 0.7),
        F.selu(x),
        F.leakyRelu(x, 0.2),
        F.softsign(x),
        F.hardswish(x),
        F.hardsigmoid(x),
      ],
      image(),
    ),
  'rotary embeddings': () =>
    of(
      (x, cos, sin) => [
        F.rotaryEmbedding(x!, cos!, sin!),
        F.rotaryEmbedding(x!, cos!, sin!, { interleaved: true }),
        F.rotaryEmbedding(x!, cos!.narrow(1, 0, 2), sin!.narrow(1, 0, 2)),
        F.rotaryEmbedding(x!, cos!.narrow(1, 0, 2), sin!.narrow(1, 0, 2), { interleaved: true }),
      ],
      ...[rows(), k.randn(5, 4), k.randn(5, 4)],
    ),
  'activations as expressions': () =>
    of(
      (x) => [
        F.relu6(x),
        F.hardtanh(x),
        F.gelu(x),
        F.gelu(x, { approximate: 'tanh' }),
        F.silu(x),
        F.mish(x),
        F.softplus(x, 2, 3),
        F.glu(x, 1),
        F.logsigmoid(x),
        F.tanhshrink(x),
        F.hardshrink(x),
        F.softshrink(x),
        F.threshold(x, 0.1, 2),
      ],
      image(),
    ),
  'PReLU per channel': () => [new nn.PReLU(4), image()],
  arithmetic: () =>
    of(
      (x, y) =>
        x!.add(y!).sub(y!, { alpha: 2 }).mul(3).div(y!.add(10)).neg().abs().sqrt().pow(3).exp().log().add(1),
      image(),
      image(),
    ),
  extremes: () =>
    of((x, y) => k.maximum(x!, y!).minimum(0.5).clamp(-1, 1).clamp({ min: -0.5 }), image(), image()),
  trigonometry: () =>
    of(
      (x) => [k.sin(x!), k.cos(x!), k.atan(x!), k.sinh(x!), k.asinh(x!), k.erf(x!), k.erfc(x!), k.expm1(x!)],
      image(),
    ),
  rounding: () => of((x) => [x!.round(), x!.floor(), x!.ceil(), x!.trunc(), x!.sign(), x!.frac()], image()),
  remainders: () =>
    of((x) => [k.remainder(x!, 2), k.div(x!, 2, { roundingMode: 'floor' }), k.fmod(x!, 2)], image()),
  comparisons: () =>
    of(
      (x, y) => [
        x!.gt(y!),
        x!.le(0),
        x!.ne(y!),
        k.logicalAnd(x!.gt(0), y!.gt(0)),
        k.logicalNot(x!.gt(0)),
        k.isfinite(x!),
      ],
      image(),
      image(),
    ),
  choices: () =>
    of(
      (x, y) => [k.where(x!.gt(0), x!, y!), k.where(x!.lt(y!), 1.5, x!), x!.maskedFill(x!.gt(1), -2)],
      image(),
      image(),
    ),
  integers: () =>
    of(
      (x) => [
        x!.add(1).mul(2),
        k.div(x!, 2, { roundingMode: 'trunc' }),
        k.remainder(x!.sub(3), 2),
        x!.gt(2),
        x!.float().mul(0.5),
        x!.sum(1),
        x!.bool(),
        F.oneHot(x!, 8),
      ],
      ids(),
    ),
  'half precision': () => [new nn.Sequential(new nn.Linear(8, 4), new nn.GELU()).half(), rows().half()],
  'Conv1d, same': () => [new nn.Conv1d(4, 6, 3, { padding: 'same', dilation: 2 }), k.randn(2, 4, 12)],
  'Conv2d, unequal ends': () => [new nn.Conv2d(4, 6, 4, { padding: 'same' }), image()],
  'Conv2d, unbatched groups': () => [new nn.Conv2d(4, 6, 3, { padding: 1, groups: 2 }), k.randn(4, 8, 8)],
  'Conv2d, circular': () => [new nn.Conv2d(4, 4, 3, { padding: 1, paddingMode: 'circular' }), image()],
  Conv3d: () => [new nn.Conv3d(2, 3, 2, { stride: 2 }), k.randn(1, 2, 5, 6, 7)],
  ConvTranspose1d: () => [new nn.ConvTranspose1d(4, 6, 3, { stride: 2 }), k.randn(2, 4, 12)],
  ConvTranspose2d: () => [
    new nn.ConvTranspose2d(4, 6, 3, { stride: 2, padding: 1, outputPadding: 1, groups: 2 }),
    image(),
  ],
  ConvTranspose3d: () => [new nn.ConvTranspose3d(2, 3, 2), k.randn(1, 2, 3, 4, 5)],
  'max pools': () =>
    of(
      (x) => [
        F.maxPool2d(x!, 3, { stride: 2, padding: 1 }),
        F.maxPool2d(x!, 3, { stride: 2, ceilMode: true }),
        F.maxPool2d(x!, 2, { dilation: 2, stride: 3, padding: 1, ceilMode: true }),
        F.maxPool1d(x!.flatten(0, 1), 2),
        F.maxPool3d(x!, 2),
        F.adaptiveMaxPool2d(x!, [4, 1]),
        F.adaptiveMaxPool2d(x!, 1),
      ],
      even(),
    ),
  'average pools': () =>
    of(
      (x) => [
        F.avgPool2d(x!, 3, { stride: 2, padding: 1 }),
        F.avgPool2d(x!, 3, { stride: 2, padding: 1, countIncludePad: false }),
        F.avgPool2d(x!, 3, { stride: 2, padding: 1, ceilMode: true }),
        F.avgPool2d(x!, 3, { stride: 2, padding: 1, ceilMode: true, countIncludePad: false }),
        F.avgPool2d(x!, 3, { stride: 2, ceilMode: true }),
        F.avgPool2d(x!, 2, { divisorOverride: 3 }),
        F.avgPool1d(x!.flatten(0, 1), 2),
        F.avgPool3d(x!, 2),
        F.adaptiveAvgPool2d(x!, [3, 5]),
        F.adaptiveAvgPool2d(x!, [4, 5]),
        F.adaptiveAvgPool1d(x!.flatten(0, 1), 3),
      ],
      even(),
    ),
  'layer norms': () => [
    new nn.Sequential(
      new nn.LayerNorm(8),
      new nn.LayerNorm([5, 8], { elementwiseAffine: false }),
      new nn.RMSNorm(8),
    ),
    rows(),
  ],
  'norms of channels': () => [
    new nn.Sequential(
      new nn.GroupNorm(2, 4),
      new nn.InstanceNorm2d(4, { affine: true }),
      new nn.InstanceNorm2d(4, { trackRunningStats: true }),
      new nn.BatchNorm2d(4, { affine: false }),
      new nn.BatchNorm2d(4, { trackRunningStats: false }),
      new nn.LocalResponseNorm(3),
      new nn.LocalResponseNorm(2),
    ),
    image(),
  ],
  BatchNorm1d: () => [new nn.BatchNorm1d(8), k.randn(3, 8)],
  products: () =>
    of(
      (x, y, v) => [
        x!.matmul(y!.mT),
        x!.matmul(v!),
        v!.dot(v!),
        k.einsum('bij,bkj->bik', x!, y!),
        k.baddbmm(x!.matmul(y!.mT), x!, y!.mT, { beta: 0.5 }),
      ],
      rows(),
      rows(),
      k.randn(8),
    ),
  'Linear of more dims': () => [
    new nn.Sequential(new nn.Linear(8, 3), new nn.Linear(3, 2, { bias: false })),
    rows(),
  ],
  reductions: () =>
    of(
      (x) => [
        x!.sum([2, 3]),
        x!.mean(1, true),
        x!.mean(),
        x!.amax(1),
        x!.amin([1, 2]),
        x!.prod(1),
        k.logsumexp(x!, 1),
        x!.var([2, 3]),
        x!.std(1, { correction: 0 }),
        x!.norm({ dim: 1 }),
        x!.norm({ p: 1 }),
        k.cumsum(x!, 1),
        ...k.varMean(x!, 1),
        x!.gt(1).any(1),
        x!.gt(-1).all(),
        x!.any([1, 2], true),
      ],
      image(),
    ),
  positions: () =>
    of(
      (x) => [x!.argmax(1), x!.argmin(2, true), x!.argmax(), ...x!.max(1), ...x!.topk(2, 1), ...x!.sort(1)],
      image(),
    ),
  softmax: () => of((x) => [F.softmax(x!, 1), F.logSoftmax(x!, -1), F.softmin(x!, 1)], image()),
  views: () =>
    of(
      (x) => [
        x!.permute(0, 2, 3, 1).reshape(2, -1).unsqueeze(1).expand(2, 3, -1).flatten(1),
        x!.select(1, 2),
        x!.narrow(2, 1, 4),
        x!.slice(3, 1, null, 2),
        x!.flip(2),
        x!.roll(2, 1),
        x!.repeat(1, 2, 1, 1),
        x!.detach(),
        ...x!.split([1, 3], 1),
        ...x!.chunk(2, 2),
        ...x!.unbind(1),
      ],
      image(),
    ),
  joins: () => of((x, y) => [k.cat([x!, y!, x!], -1), k.stack([x!, y!], 1)], image(), image()),
  pads: () =>
    of(
      (x) => [
        F.pad(x!, [1, 2, -1, 1], { value: 3 }),
        F.pad(x!, [1, 2], { mode: 'reflect' }),
        F.pad(x!, [1, 2, 2, 1], { mode: 'replicate' }),
        F.pad(x!, [1, 2], { mode: 'circular' }),
      ],
      image(),
    ),
  windows: () => [new nn.Unfold(3, { padding: 1, stride: 2 }), image()],
  shuffles: () =>
    of((x) => [F.pixelShuffle(x!, 2), F.pixelUnshuffle(x!, 2), F.channelShuffle(x!, 2)], even()),
  lookups: () =>
    of(
      (x, i) => [
        x!.gather(1, i!),
        x!.indexSelect(1, k.tensor([2, 0], { dtype: 'int32' })),
        x!.tril(),
        x!.triu(1),
      ],
      k.randn(2, 7),
      ids(),
    ),
  Embedding: () => [new nn.Embedding(8, 5), ids()],
  resampling: () =>
    of(
      (x) => [
        F.interpolate(x!, { scaleFactor: 2 }),
        F.interpolate(x!, { size: [5, 20] }),
        F.interpolate(x!, { scaleFactor: 1.7, mode: 'bilinear' }),
        F.interpolate(x!, { size: [5, 20], mode: 'bilinear' }),
        F.interpolate(x!, { size: [18, 20], mode: 'bilinear', alignCorners: true }),
        F.interpolate(x!, { size: [18, 20], mode: 'bicubic' }),
        F.interpolate(x!, { size: [5, 6], mode: 'bilinear', antialias: true }),
        F.interpolate(x!, { size: [5, 6], mode: 'area' }),
        F.interpolate(x!, { size: [5, 6], mode: 'nearest-exact' }),
      ],
      image(),
    ),
  attention: () =>
    of(
      (q, v, mask) => [
        F.scaledDotProductAttention(q!, v!, v!),
        F.scaledDotProductAttention(q!, v!, v!, { isCausal: true, scale: 0.3 }),
        F.scaledDotProductAttention(q!, v!, v!, { attnMask: mask! }),
        F.scaledDotProductAttention(q!, v!, v!, { attnMask: mask!.lt(1) }),
        F.scaledDotProductAttention(q!, v!.narrow(1, 0, 1), v!.narrow(1, 0, 1), { enableGqa: true }),
      ],
      k.randn(2, 3, 5, 8),
      k.randn(2, 3, 5, 8),
      k.randn(5, 5),
    ),
  MultiheadAttention: () => {
    const layer = new nn.MultiheadAttention(8, 2, { batchFirst: true });
    return of((x) => layer(x!, x!, x!, { needWeights: true }), rows());
  },
  TransformerEncoderLayer: () => [
    new nn.TransformerEncoderLayer(8, 2, { batchFirst: true, dimFeedforward: 16 }),
    rows(),
  ],
  'LSTM, two layers, both ways': () => [new nn.LSTM(8, 6, { numLayers: 2, bidirectional: true }), rows()],
  'LSTM with projections': () => [new nn.LSTM(8, 6, { projSize: 3, batchFirst: true }), rows()],
  GRU: () => [new nn.GRU(8, 6, { batchFirst: true }), rows()],
  'RNN without bias': () => [new nn.RNN(8, 6, { bias: false, nonlinearity: 'relu' }), rows()],
  'max pools with positions': () =>
    of(
      (x) => [
        F.maxPool2d(x!, 3, { stride: 2, padding: 1, returnIndices: true }),
        F.maxPool2d(x!, 3, { stride: 2, ceilMode: true, returnIndices: true }),
        F.maxPool2d(x!.select(0, 1), 2, { returnIndices: true }),
        F.maxPool1d(x!.flatten(0, 1), 2, { returnIndices: true }),
        F.maxPool3d(x!, 2, { returnIndices: true }),
        F.adaptiveMaxPool2d(x!, [4, 1], { returnIndices: true }),
        F.adaptiveMaxPool2d(x!, [3, 7]),
        F.adaptiveMaxPool1d(x!.flatten(0, 1), 3),
      ],
      even(),
    ),
  'unpooling and folding': () =>
    of((x) => {
      const [y, at] = F.maxPool2d(x!, 2, { returnIndices: true }) as unknown as [Tensor, Tensor];
      return [
        F.maxUnpool2d(y, at, 2),
        F.fold(F.unfold(x!, 3, { stride: 2 }), [8, 10], 3, { stride: 2 }),
        F.fold(F.unfold(x!, 2, { padding: 1, dilation: 2 }), [8, 10], 2, { padding: 1, dilation: 2 }),
      ];
    }, even()),
  distances: () =>
    of((x, y) => [0, 1, 1.5, 2, Infinity].map((p) => k.cdist(x!, y!.narrow(1, 0, 3), p)), rows(), rows()),
  'norms of other orders': () =>
    of((x) => [0, 3, Infinity, -Infinity].map((p) => x!.norm({ p, dim: 1 })), image()),
  'sums without NaN': () => of((x) => [k.nansum(x!.sqrt(), 1), k.nanmean(x!.sqrt(), [2, 3])], image()),
  angles: () =>
    of(
      (x, y) => [k.atan2(x!, y!), k.atan2(x!, y!.mul(0)), k.atan2(x!.sign(), y!.sign().mul(Infinity))],
      k.tensor([0, -0, 1, -1, 2, -2, Infinity, -Infinity, 0, -0]),
      k.tensor([-0, -0, 0, -0, -3, 3, Infinity, -Infinity, 0, 1]),
    ),
  'powers of integers': () => of((i) => [k.pow(i!, 3), k.pow(i!, i!), k.pow(i!, 0)], ids()),
  'strided views': () =>
    of((x) => {
      const y = x!.neg();
      return [
        k.asStrided(y, [3, 2], [5, 2], 4),
        k.asStrided(y, [4, 4], [1, 1]),
        k.diagonal(y, { offset: 1 }),
        k.diagonal(y, { offset: -2, dim1: 1, dim2: 2 }),
        k.diagEmbed(y.select(0, 0), { offset: -1, dim1: 0 }),
        k.linalg.det(y.narrow(1, 0, 2).narrow(2, 0, 2)),
      ];
    }, rows()),
  'writes at indices': () =>
    of(
      (x, i, v) => [
        k.scatter(x!, 1, i!, v!),
        k.scatter(x!, 1, i!, 3),
        k.scatterAdd(x!, 1, i!, v!),
        k.indexAdd(x!, 1, i!.select(0, 1), v!.narrow(1, 0, 3), { alpha: 2 }),
        k.indexCopy(x!, 1, i!.select(0, 1), v!.narrow(1, 0, 3)),
        k.scatterReduce(x!, 1, i!, v!, 'mean', { includeSelf: false }),
        k.scatterReduce(x!, 1, i!, v!, 'prod'),
        k.embedding(i!.select(0, 1).sub(1).remainder(2), x!.neg(), { maxNorm: 0.1 }),
        x!.index(k.tensor([0, 1, 1], { dtype: 'int32' }), i!.select(0, 0)),
        k.indexPut(
          x!,
          [k.tensor([0, 1, 1], { dtype: 'int32' }), i!.select(0, 0)],
          v!.select(0, 0).narrow(0, 0, 3),
        ),
      ],
      ...[k.randn(2, 7), ids(), k.randn(2, 4)],
    ),
  'writes to parts': () =>
    of(
      (x, v) => {
        const y = x!.neg();
        y.narrow(1, 1, 2).add_(1);
        y.select(2, 3).copy_(v!);
        y.slice(1, 0, null, 2).mul_(2);
        const top = y.narrow(0, 0, 1);
        y.narrow(2, 2, 4).narrow(1, 0, 3).fill_(0.5);
        k.diagonal(y, { dim1: 1, dim2: 2 }).zero_();
        const z = k.zeros(2, 5, 8);
        z.narrow(2, 0, 4).copy_(x!.narrow(2, 4, 4));
        k.indexPut_(z, [k.tensor([0, 1], { dtype: 'int32' })], x!.narrow(1, 2, 1), true);
        const images = k.nn.functional.conv2d(x!.reshape(2, 1, 5, 8), k.ones(3, 1, 2, 2));
        images.narrow(1, 1, 1).narrow(3, 0, 3).sub_(7);
        return [y, top, z, y.narrow(1, 1, 2), images];
      },
      rows(),
      k.randn(2, 5),
    ),
  'a shifted window of attention': () => {
    const [size, window, shift, heads] = [8, 4, 2, 2];
    const layer = new nn.Linear(16, 48);
    const biasTable = k.randn((2 * window - 1) ** 2, heads);
    const n = window * window;
    const places = Int32Array.from({ length: n * n }, (_, at) => {
      const [a, b] = [Math.floor(at / n), at % n];
      const [dy, dx] = [Math.floor(a / window) - Math.floor(b / window), (a % window) - (b % window)];
      return (dy + window - 1) * (2 * window - 1) + dx + window - 1;
    });
    const windowsOf = (x: Tensor): Tensor => {
      const c = x.shape.at(-1)!;
      const split = x.reshape(-1, size / window, window, size / window, window, c);
      return split.permute(0, 1, 3, 2, 4, 5).reshape(-1, n, c);
    };
    return of(
      (x) => {
        const shifted = windowsOf(x!.roll([-shift, -shift], [1, 2]));
        const [q, key, v] = layer(shifted).reshape(-1, n, 3, heads, 8).permute(2, 0, 3, 1, 4).unbind(0) as [Tensor, Tensor, Tensor]; // prettier-ignore
        const bias = biasTable.index(k.tensor(places)).reshape(n, n, heads).permute(2, 0, 1);
        // Parts of the image that the shift brought together do not see each other.
        const region = k.zeros(1, size, size, 1);
        [[0, -window], [-window, -shift], [-shift, null]].forEach(([top, bottom], i) =>
        [[0, -window], [-window, -shift], [-shift, null]].forEach(([left, right], j) =>
          region.slice(1, top!, bottom).slice(2, left!, right).fill_(3 * i + j),
        ),
      ); // prettier-ignore
        const of = windowsOf(region).squeeze(-1);
        const mask = of.unsqueeze(1).sub(of.unsqueeze(2)).ne(0).float().mul(-100);
        const scores = q
          .mul(8 ** -0.5)
          .matmul(key.mT)
          .add(bias);
        const masked = scores.reshape(-1, mask.shape[0]!, heads, n, n).add(mask.unsqueeze(1).unsqueeze(0));
        const seen = F.softmax(masked.reshape(-1, heads, n, n), -1).matmul(v);
        const image = seen.transpose(1, 2).reshape(-1, size / window, size / window, window, window, 16);
        return image.permute(0, 1, 3, 2, 4, 5).reshape(-1, size, size, 16).roll([shift, shift], [1, 2]);
      },
      k.randn(2, size, size, 16),
    );
  },
  constants: () =>
    of(
      (x) =>
        x!
          .add(k.arange(8))
          .mul(k.ones(5, 1))
          .add(k.full([8], 0.25))
          .add(k.tensor([1.5]))
          .add(k.eye(5, 8)),
      rows(),
    ),
};

describe.each([17, 18, 21])('ops, opset %i', (opsetVersion) => {
  it.each(Object.entries(cases))('%s', async (name, make) => {
    k.manualSeed(3);
    const [model, ...inputs] = make();
    const tolerance = name === 'half precision' ? 2e-3 : 1e-5;
    expectSame(await differences(ort, model, inputs, inputs, { opsetVersion }), tolerance);
  });
});

/** Layers that no graph holds: what PyTorch runs of test/cases, but for these, gives the same numbers. */
const refused: Readonly<Record<string, string>> = {
  'CTCLoss()': "the op 'ctcLoss'",
  "CTCLoss({blank: 3, reduction: 'sum', zeroInfinity: true})": "the op 'ctcLoss'",
  "CTCLoss({reduction: 'none'})": "the op 'ctcLoss'",
  'CrossEntropyLoss()': "the op 'crossEntropy'",
  'MultiLabelMarginLoss()': "the op 'cumprod' (of 'multilabelMarginLoss')",
  'Embedding(6, 3, {maxNorm: 0.5, normType: 1, scaleGradByFreq: true})': 'changed in place by copy_',
  "EmbeddingBag(6, 3, {mode: 'sum', includeLastOffset: true, maxNorm: 0.5})": 'changed in place by copy_',
  "EmbeddingBag(6, 3, {mode: 'max', paddingIdx: 0})": "the op 'embeddingBag'",
  'AdaptiveMaxPool1d(3, {returnIndices: true})': 'returns indices in windows of different sizes',
  'AdaptiveMaxPool2d([2, 3], {returnIndices: true})': 'returns indices in windows of different sizes',
  'AdaptiveMaxPool3d([2, 3, 1], {returnIndices: true})': 'returns indices in windows of different sizes',
};

describe("every layer of PyTorch's", () => {
  const rowsOf = (file: string) =>
    loadRows<{ ts: string }, { inputs?: Readonly<Record<string, Packed>> }>(
      `nn/${file.replace('.json', '')}`,
    );
  const layers = readdirSync(new URL('../cases/nn/', import.meta.url))
    .filter((file) => file.startsWith('layers'))
    .flatMap(rowsOf)
    .filter(({ golden }) => golden.inputs !== undefined)
    .map(({ row, golden }) => [row.ts.replace('new ', ''), golden.inputs] as const);

  it.each(layers)('%s', async (name, inputs) => {
    k.manualSeed(0);
    const make = new Function(...Object.keys(nn), `return new ${name}`) as (
      ...parts: unknown[]
    ) => k.nn.Module;
    const layer = make(...Object.values(nn));
    const given = Object.values(inputs!).map((packed) => upload(unpack(packed)));
    const message = refused[name];
    if (message === undefined) expectSame(await differences(ort, layer, given), 1e-5);
    else await expect(exportOnnx(layer, given)).rejects.toThrow(message);
  });
});

it('weights in a second file are those of the model, large and small', async () => {
  const path = join(mkdtempSync(join(tmpdir(), 'kindling-onnx-')), 'apart.onnx');
  const model = k.models.get('cifar_resnet8')();
  const images = [k.randn(2, 3, 32, 32)];
  expectSame(await differences(ort, model, images, images, { dynamicBatch: true }, path), 1e-5);
  expect(statSync(`${path}.data`).size).toBeGreaterThan(statSync(path).size);
});

describe('dynamic axes', () => {
  it('a sequence and a batch of other lengths', async () => {
    const model = new nn.Sequential(
      new nn.TransformerEncoderLayer(8, 2, { batchFirst: true, dimFeedforward: 16 }),
      new Calls((x) => (gru(x!) as unknown as Tensor[])[0]!.select(1, -1)),
    );
    const gru = new nn.GRU(8, 6, { batchFirst: true });
    const dynamicAxes = { input: { 0: 'batch', 1: 'length' } };
    expectSame(await differences(ort, model, [rows()], [k.randn(3, 11, 8)], { dynamicAxes }), 1e-5);
  });

  it('images of other sizes', async () => {
    const model = new nn.Sequential(
      new nn.Conv2d(3, 4, 3, { stride: 2, padding: 1 }),
      new nn.Upsample({ scaleFactor: 2 }),
      new nn.AdaptiveAvgPool2d(1),
      new nn.Flatten(),
    );
    const dynamicAxes = { input: { 0: 'batch', 2: 'height', 3: 'width' } };
    const inputs = [k.randn(3, 3, 50, 71)];
    expectSame(await differences(ort, model, [k.zeros(1, 3, 32, 32)], inputs, { dynamicAxes }), 1e-5);
  });
});
