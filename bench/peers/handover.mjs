/**
 * Tensors handed over between kindling and ONNX Runtime Web on one device, without a copy: kindling makes images, a
 * network of ONNX Runtime's convolves them, and kindling trains a layer on what came out. Prints, as JSON, the largest
 * difference from kindling's own convolution and the loss before and after. Needs `npm install --ignore-scripts` here and
 * `npm run build`.
 */
import * as k from '../../dist/index.js';
import { OnnxGraph } from './onnx.mjs';
import { ort } from './ort-runtime.mjs';

const [images, kernel, result] = [
  [2, 8, 16, 16],
  [8, 8, 3, 3],
  [2, 8, 16, 16],
];
const weight = Float32Array.from({ length: 8 * 8 * 9 }, (_, i) => Math.sin(i) / 8);
const graph = new OnnxGraph();
const input = graph.input('x', images);
graph.constant('weight', kernel, weight);
graph.output(graph.node('Conv', [input, 'weight'], { strides: [1, 1], pads: [1, 1, 1, 1] }), result);
const session = await ort.InferenceSession.create(graph.encode(), {
  executionProviders: ['webgpu'],
  preferredOutputLocation: 'gpu-buffer',
});

await k.init({ device: await ort.env.webgpu.device });
const x = k
  .arange(2 * 8 * 16 * 16)
  .mul(0.01)
  .sin()
  .reshape(...images)
  .keep();
const { buffer } = k.gpuBuffer(x);
const [output] = Object.values(
  await session.run({ x: ort.Tensor.fromGpuBuffer(buffer, { dataType: 'float32', dims: images }) }),
);
const features = k.fromGPUBuffer(output.gpuBuffer, { shape: result });

const own = k.nn.functional.conv2d(x, k.tensor(weight, { shape: kernel }), { padding: 1 });
const difference = await features.sub(own).abs().max().item();
const largest = await own.abs().max().item();

const layer = new k.nn.Linear(8 * 16 * 16, 2);
const optimizer = new k.optim.SGD(layer.parameters(), { lr: 0.01 });
const labels = k.tensor([0, 1], { dtype: 'int32' });
const losses = [];
for (let step = 0; step < 5; step++) {
  optimizer.zeroGrad();
  const loss = k.nn.functional.crossEntropy(layer(features.flatten(1)), labels);
  loss.backward();
  optimizer.step();
  losses.push(await loss.item());
}
console.log(JSON.stringify({ difference, largest, first: losses[0], last: losses.at(-1) }));
process.exit(0);
