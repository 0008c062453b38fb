/**
 * `npx tsx bench/compiled.ts [--built] [--passes N]`: JavaScript of a training step as it is and compiled
 * (`k.compile`), with Dawn's part of it, in milliseconds and per dispatch; and Dawn's part alone, of a bare loop
 * that makes the calls of the recorded dispatches and nothing else, in one batch. Images and batches are small:
 * what JavaScript does depends on neither. The lower quartile of the later passes is shown, the device left to
 * finish between them.
 */
import { parseArgs } from 'node:util';
import type { Recording } from '../src/device/index.js';
import type { RecordedDispatch } from '../src/device/recording.js';
import type * as Kindling from '../src/index.js';
import { markdownTable } from './report.js';

const { values: options } = parseArgs({
  options: {
    built: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    passes: { type: 'string', default: '30' },
  },
});
const k = (await import(`${options.built ? '../dist' : '../src'}/index.js`)) as typeof Kindling;
type Tensor = Kindling.Tensor;
type Model = Kindling.nn.Module & ((x: Tensor) => Tensor);

interface Work {
  readonly model: () => Model;
  readonly input: () => Tensor;
  /** Classes of the result; without, its sum is the loss. */
  readonly classes?: number;
}

const image = (size: number) => (): Tensor =>
  k.randn([2, 3, size, size]).contiguous({ memoryFormat: 'channelsLast' });

const works: Record<string, Work> = {
  'CIFAR ResNet-20': { model: () => k.models.cifarResnet20(), input: image(32), classes: 10 },
  'ResNet-18': { model: () => k.models.resnet18({ numClasses: 10 }), input: image(32), classes: 10 },
  MobileNetV2: { model: () => k.models.mobilenetV2({ numClasses: 10 }), input: image(32), classes: 10 },
  'ViT-B/16, 32 pixels': {
    model: () => k.models.vitB16({ numClasses: 10, imageSize: 32 }),
    input: image(32),
    classes: 10,
  },
  'GPT block, 64 x 768': {
    model: () =>
      new k.nn.TransformerEncoderLayer(768, 12, {
        dimFeedforward: 3072,
        batchFirst: true,
        normFirst: true,
        dropout: 0,
      }) as Model,
    input: () => k.randn([1, 64, 768]),
  },
};

function quartile(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 4)] ?? NaN;
}

/** Milliseconds of JavaScript, and dispatches, of a step. */
async function measure(step: () => Tensor): Promise<{ ms: number; dispatches: number }> {
  const passes = Number(options.passes);
  const times: number[] = [];
  const rt = k.runtime();
  for (let i = 0; i < passes; i++) {
    const start = performance.now();
    const loss = rt.together(step);
    rt.flush();
    times.push(performance.now() - start);
    await k.synchronize();
    loss.dispose();
  }
  rt.resetOpCounts();
  step();
  const dispatches = [...rt.opCounts().values()].reduce((a, b) => a + b, 0);
  return { ms: quartile(times.slice(passes / 3)), dispatches };
}

/** Insides of the runtime. */
interface Insides {
  readonly device: GPUDevice;
  readonly encoder: { readonly arena: { readonly group: GPUBindGroup } };
  replay(recording: Recording): void;
}

/** Dispatches of the recording that `step` replays. */
function dispatchesOf(step: () => Tensor): RecordedDispatch[] {
  const rt = k.runtime() as unknown as Insides;
  const { replay } = rt;
  let found: Recording | undefined;
  rt.replay = (recording) => replay.call(rt, (found = recording));
  step().dispose();
  rt.replay = replay;
  return found?.steps.filter((one) => one.kind === 'dispatch') ?? [];
}

/** Microseconds per dispatch of the calls to Dawn that they come to. */
async function bare(dispatches: readonly RecordedDispatch[]): Promise<number> {
  const { device, encoder: insides } = k.runtime() as unknown as Insides;
  const { group } = insides.arena;
  const offset = [0];
  const times: number[] = [];
  for (let i = 0; i < Number(options.passes); i++) {
    const start = performance.now();
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (const { program, entry, params, grid } of dispatches) {
      pass.setPipeline(program.pipeline.gpu);
      pass.setBindGroup(0, entry.group);
      if (params !== undefined && program.immediates) pass.setImmediates(0, params.buffer);
      else if (params !== undefined) pass.setBindGroup(1, group, offset);
      pass.dispatchWorkgroups(...grid);
    }
    pass.end();
    device.queue.submit([encoder.finish()]);
    times.push(performance.now() - start);
    await device.queue.onSubmittedWorkDone();
  }
  return (1000 * quartile(times.slice(times.length / 3))) / dispatches.length;
}

await k.init();
const rows: string[][] = [];
for (const [name, { model: make, input, classes }] of Object.entries(works)) {
  if (!new RegExp(options.only).test(name)) continue;
  k.manualSeed(1);
  const model = make();
  const optimizer = new k.optim.SGD(model.parameters(), { lr: 1e-3, momentum: 0.9 });
  const x = input();
  const y = k.tensor([1, 2], { dtype: 'int32' });
  const step = (images: Tensor, labels: Tensor): Tensor => {
    optimizer.zeroGrad();
    const out = model(images);
    const loss = classes === undefined ? out.mean() : k.nn.functional.crossEntropy(out, labels);
    loss.backward();
    optimizer.step();
    return loss;
  };
  const compiled = k.compile(step);
  const eager = await measure(() => step(x, y));
  const replayed = await measure(() => compiled(x, y));
  const alone = await bare(dispatchesOf(() => compiled(x, y)));
  const per = ({ ms, dispatches }: typeof eager): string => ((1000 * ms) / dispatches).toFixed(1);
  rows.push([
    name,
    `${eager.dispatches}`,
    eager.ms.toFixed(2),
    per(eager),
    `${replayed.dispatches}`,
    replayed.ms.toFixed(2),
    per(replayed),
    alone.toFixed(1),
  ]);
  if (compiled.counts().reason !== null) throw new Error(`${name}: ${compiled.counts().reason}`);
}
console.log(
  markdownTable(
    [
      'training step',
      'dispatches',
      'eager, ms',
      'us each',
      'dispatches, compiled',
      'ms',
      'us each',
      'Dawn alone, us each',
    ],
    rows,
  ),
);
k.close();
