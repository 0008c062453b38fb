/**
 * One shader of each family, as it is emitted for an adapter that is given here. A change of a generator
 * shows in `shaders/*.wgsl`, to be reviewed like any other (`vitest -u` writes them anew).
 */
import { expect, it } from 'vitest';
import { planAttention, planAttentionGrad, type AttentionProblem } from '../../src/kernels/attention/plan.js';
import type { DType } from '../../src/kernels/base/dtype.js';
import type { Kernel, Target } from '../../src/kernels/base/kernel.js';
import type { Launch, Plan } from '../../src/kernels/base/plan.js';
import { planConv2dInputGrad } from '../../src/kernels/conv/input-grad.js';
import { planConv2d } from '../../src/kernels/conv/plan.js';
import { planConv2dWeightGrad } from '../../src/kernels/conv/weight-grad.js';
import { e, input, param } from '../../src/kernels/expr/expr.js';
import * as fn from '../../src/kernels/expr/functions.js';
import { planBytes } from '../../src/kernels/images/bytes.js';
import { planInterpolate } from '../../src/kernels/images/interpolate.js';
import { planMaxPoolGrad } from '../../src/kernels/images/pool-grad.js';
import { planMaxPool, type PoolProblem } from '../../src/kernels/images/pool.js';
import { planGather } from '../../src/kernels/index/gather.js';
import { planOwners } from '../../src/kernels/index/owners.js';
import { planScatterLoop } from '../../src/kernels/index/scatter.js';
import { planSort } from '../../src/kernels/index/sort.js';
import { planGemm } from '../../src/kernels/matmul/plan.js';
import { planBatchNorm, planBatchNormGrad } from '../../src/kernels/norm/plan.js';
import { optimizerLaunch } from '../../src/kernels/optim/kernel.js';
import { unscaleLaunch } from '../../src/kernels/optim/unscale.js';
import { sgdRule } from '../../src/kernels/optim/rules.js';
import { planCheck } from '../../src/kernels/pointwise/check.js';
import { planPointwise, type PointwiseOperand } from '../../src/kernels/pointwise/plan.js';
import { planDropout } from '../../src/kernels/random/fill.js';
import { planReduce } from '../../src/kernels/reduce/plan.js';
import { planScan } from '../../src/kernels/reduce/scan.js';
import { crossEntropyForward, softmaxForward } from '../../src/kernels/reduce/softmax.js';
import { contiguousStrides } from './harness.js';
import { conv } from './heavy-harness.js';

const gpu: Target = {
  kind: 'gpu',
  subgroupSize: 0,
  f16: true,
  maxInvocations: 256,
  maxWorkgroupStorage: 16384,
  maxStorageBuffers: 10,
};
const software: Target = { ...gpu, kind: 'software', subgroupSize: 8 };
const limits = { maxBinding: 2 ** 27, offsetAlignment: 256 };

const dense = (shape: readonly number[], dtype: DType = 'float32'): PointwiseOperand => ({
  dtype,
  shape,
  strides: contiguousStrides(shape),
  offset: 0,
});
const matrix = dense([64, 48]);
const sorted = (target: Target, x: PointwiseOperand): Plan =>
  planSort(target, {
    name: 'sort',
    x,
    dim: 1,
    descending: false,
    values: x,
    indices: { ...x, dtype: 'int32' },
  });
const scattered = (): Plan =>
  planScatterLoop(gpu, {
    name: 'indexAdd',
    shape: [900, 48],
    loopDims: [0],
    indices: [{ operand: { ...dense([900, 1], 'int32'), strides: [1, 0] }, stride: 48, size: 64 }],
    src: dense([900, 48]),
    out: { ...matrix, shape: [900, 48], strides: [0, 1] },
    reduce: 'add',
  });
const image = conv({ n: 2, h: 16, w: 16, cIn: 32, cOut: 64, stride: 2, pad: 1 });
const square = conv({ n: 2, h: 16, w: 16, cIn: 32, cOut: 32, pad: 1 });
const depthwise = conv({ n: 2, h: 16, w: 16, cIn: 32, cOut: 32, pad: 1, groups: 32 });
const pool: PoolProblem = {
  elem: 'f32',
  n: 2,
  c: 32,
  h: 16,
  w: 16,
  outH: 8,
  outW: 8,
  window: {
    kernelH: 3,
    kernelW: 3,
    strideH: 2,
    strideW: 2,
    padTop: 1,
    padLeft: 1,
    dilationH: 1,
    dilationW: 1,
  },
};
const channels = { rows: 8192, channels: 32 };
const statistics = { ...channels, affine: true, running: true, counted: true };
const relu = { residual: false, activation: 'relu' } as const;

const heads = { batch: 3 * 64 * 64, head: 64, row: 3 * 64, offset: 0 };
const attention: AttentionProblem = {
  elem: 'f32',
  batch: 2,
  queryHeads: 4,
  heads: 4,
  queries: 64,
  keys: 64,
  depth: 64,
  width: 64,
  causal: true,
  scale: 0.125,
  mask: { kind: 'bool', batch: 64, head: 0, row: 0, col: 1, offset: 0, shown: false },
  places: { q: heads, k: heads, v: heads, o: heads, g: heads, dq: heads, dk: heads, dv: heads },
};

const families: Readonly<Record<string, () => readonly Launch[]>> = {
  pointwise: () =>
    planPointwise(software, {
      // No sums or products: the order of their operands depends on which expression was made first.
      name: 'scaled',
      exprs: [e.div(e.sub(input(0), input(1)), e.sub(input(2), param('shift')))],
      paramNames: ['shift'],
      params: [0.5],
      inputs: [matrix, { ...matrix, strides: [1, 64] }, dense([48])],
      outputs: [matrix],
    }),
  'pointwise-gpu': () =>
    planPointwise(gpu, {
      name: 'sigmoid',
      exprs: [fn.sigmoid(input(0))],
      inputs: [matrix],
      outputs: [matrix],
    }),
  check: () => planCheck(limits, 'embedding', 'index', 64, [10]).launches,
  reduce: () =>
    planReduce(software, { name: 'sum', op: 'sum', dims: [1], inputs: [matrix], outputs: [dense([64])] })
      .launches,
  'reduce-gpu': () =>
    planReduce(gpu, {
      name: 'argmax',
      op: 'argmax',
      dims: [1],
      inputs: [matrix],
      outputs: [dense([64], 'int32')],
    }).launches,
  scan: () => planScan(software, { name: 'cumsum', op: 'sum', dim: 1, x: matrix, out: matrix }).launches,
  'scan-gpu': () => planScan(gpu, { name: 'cumsum', op: 'sum', dim: 1, x: matrix, out: matrix }).launches,
  softmax: () => softmaxForward(gpu, { rows: 64, classes: 48 }, false),
  'cross-entropy': () => [
    crossEntropyForward(software, {
      rows: 64,
      classes: 10,
      weighted: false,
      checked: true,
      smoothing: 0.1,
      ignoreIndex: -100,
    }),
  ],
  gather: () =>
    planGather(software, { x: matrix, index: dense([64, 4], 'int32'), out: dense([64, 4]), dim: 1 }).launches,
  scatter: () =>
    planScatterLoop(software, {
      name: 'indexAdd',
      shape: [16, 48],
      loopDims: [0],
      indices: [{ operand: { ...dense([16, 1], 'int32'), strides: [1, 0] }, stride: 48, size: 64 }],
      src: dense([16, 48]),
      out: { ...matrix, shape: [16, 48], strides: [0, 1] },
      reduce: 'add',
    }).launches,
  'scatter-sort-gpu': () => scattered().launches,
  'scatter-gpu': () => scattered().launches.slice(1),
  'scatter-join-gpu': () => scattered().launches.slice(2),
  owners: () => planOwners(64, 48, limits).launches,
  sort: () => sorted(software, matrix).launches,
  'sort-merge-gpu': () => sorted(gpu, dense([2, 1500])).launches.slice(1),
  gemm: () => planGemm(software, limits, { m: 256, n: 256, k: 64, epilogue: { bias: true } }).launches,
  'gemm-gpu': () => planGemm(gpu, limits, { m: 256, n: 256, k: 64 }).launches,
  'split-sum': () => planGemm(software, limits, { m: 16, n: 16, k: 65536 }).launches.slice(-1),
  conv: () => planConv2d(software, limits, image).launches,
  'conv-pack': () => planConv2d(software, limits, image).weights?.launches ?? [],
  'conv-input-grad': () => planConv2dInputGrad(software, limits, image).launches,
  'conv-weight-grad': () => planConv2dWeightGrad(software, limits, image).launches,
  'conv-weight-grad-sum': () => planConv2dWeightGrad(software, limits, image).launches.slice(-1),
  winograd: () => planConv2d(software, limits, square).launches,
  'winograd-weights': () => planConv2d(software, limits, square).weights?.launches ?? [],
  depthwise: () => planConv2d(software, limits, depthwise).launches,
  'max-pool': () => planMaxPool(limits, pool, true).launches,
  'max-pool-grad': () => planMaxPoolGrad(limits, pool).launches,
  interpolate: () =>
    planInterpolate(limits, {
      ...pool,
      mode: 'bilinear',
      alignCorners: false,
      outH: 32,
      outW: 32,
      scaleH: 0.5,
      scaleW: 0.5,
    }).launches,
  'images-from-bytes': () =>
    planBytes(limits, { packed: new Uint32Array(4096), shape: [2, 3, 24, 32], dtype: 'float32' }).launches,
  'batch-norm-moments': () => planBatchNorm(gpu, statistics, relu, 1e-5, 0.1).launches,
  'batch-norm-finish': () => planBatchNorm(gpu, statistics, relu, 1e-5, 0.1).launches.slice(1),
  'batch-norm-whole': () => planBatchNorm(software, { ...statistics, rows: 64 }, relu, 1e-5, 0.1).launches,
  'batch-norm-grad': () => planBatchNormGrad(gpu, channels, relu, true).launches,
  dropout: () => planDropout(limits, 'f16', 1024, { seed: 1, offset: 2 }, 0.5).launches,
  attention: () => planAttention(software, limits, { ...attention, mask: null }).launches,
  'attention-gpu': () => planAttention(gpu, limits, attention).launches,
  'attention-query-grad-gpu': () => planAttentionGrad(gpu, limits, attention, true).launches,
  'attention-key-grad-gpu': () => planAttentionGrad(gpu, limits, attention, true).launches.slice(1),
  unscale: () => [unscaleLaunch(0.5, [1000, 7])],
  'batch-norm-float16': () => planBatchNorm(gpu, { ...statistics, elem: 'f16' }, relu, 1e-5, 0.1).launches,
  optimizer: () => [
    optimizerLaunch(
      { rule: sgdRule({ momentum: true, nesterov: false }), hyper: [0.1, 0, 1, 0.9, 1], fresh: true },
      [100, 20],
    ),
  ],
};

/** What the device puts before the text depends on the adapter: the parameters are only told of. */
function shown({ name, params, enables = [], wgsl }: Kernel): string {
  const fields = params.map(([field, type]) => `${field}: ${type}`).join(', ');
  const head = [`// ${name}`, `// p: ${fields}`, ...enables.map((feature) => `enable ${feature};`)];
  return `${head.join('\n')}\n${numbered(wgsl)}`;
}

/**
 * Variables are numbered by expressions, whose numbers depend on what was made before: anew, as they come.
 */
function numbered(wgsl: string): string {
  const numbers = new Map<string, number>();
  return wgsl.replace(/\b([a-z]?v)(\d+)\b/g, (variable, kind: string) => {
    if (!numbers.has(variable)) numbers.set(variable, numbers.size);
    return `${kind}${numbers.get(variable)}`;
  });
}

it.each(Object.keys(families))('%s is the shader that was reviewed', async (family) => {
  const [first] = families[family]!();
  await expect(shown(first!.kernel)).toMatchFileSnapshot(`shaders/${family}.wgsl`);
});
