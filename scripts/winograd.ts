/**
 * `npx tsx scripts/winograd.ts`: how far Winograd's convolutions are from direct sums in whole models, and
 * what they save, as a table for docs/numerics.md. Weights and images are drawn from a seed.
 */
import * as k from '../src/index.js';
import { markdownTable } from '../bench/report.js';

type Model = k.nn.Module & ((x: k.Tensor) => k.Tensor);

const models: Record<string, () => Model> = {
  'CIFAR ResNet-20': () => k.models.cifarResnet20(),
  resnet18: () => k.models.resnet18({ numClasses: 10 }),
  resnet50: () => k.models.resnet50({ numClasses: 10 }),
  vgg11_bn: () => k.models.vgg11Bn({ numClasses: 10, dropout: 0 }),
  densenet121: () => k.models.densenet121({ numClasses: 10 }),
};

interface Result {
  readonly logits: Float32Array;
  readonly evaluated: Float32Array;
  readonly grads: readonly Float32Array[];
  readonly forwardMs: number;
  readonly stepMs: number;
}

const read = async (t: k.Tensor): Promise<Float32Array> =>
  Float32Array.from(await t.detach().contiguous().data());

async function run(make: () => Model, size: number, winograd: boolean): Promise<Result> {
  k.backends.winograd = winograd;
  k.manualSeed(4);
  const model = make();
  const x = k.randn([4, 3, size, size]).contiguous({ memoryFormat: 'channelsLast' });
  const labels = k.tensor([1, 2, 3, 4], { dtype: 'int32' });
  const forward = (): k.Tensor => k.noGrad(() => model(x));
  const step = (): k.Tensor => {
    model.zeroGrad();
    const logits = model(x);
    k.nn.functional.crossEntropy(logits, labels).backward();
    return logits;
  };
  const best = async (fn: () => k.Tensor): Promise<number> => {
    const times: number[] = [];
    for (let i = 0; i < 4; i++) {
      const start = performance.now();
      fn();
      await k.synchronize();
      times.push(performance.now() - start);
    }
    return Math.min(...times);
  };
  model.eval();
  const evaluated = await read(forward());
  const forwardMs = await best(forward);
  model.train();
  const logits = await read(step());
  const grads = await Promise.all([...model.parameters()].map((p) => read(p.grad as k.Tensor)));
  return { logits, evaluated, grads, forwardMs, stepMs: await best(step) };
}

const norm = (v: Float32Array): number => Math.sqrt(v.reduce((sum, a) => sum + a * a, 0));
/** Relative L2 distance of lists that are taken as one vector each. */
function apart(a: readonly Float32Array[], b: readonly Float32Array[]): string {
  const distances = a.map((values, i) => norm(values.map((v, j) => v - b[i]![j]!)));
  return (Math.hypot(...distances) / Math.hypot(...b.map(norm))).toExponential(1);
}

await k.init();
const rows: string[][] = [];
for (const [name, make] of Object.entries(models)) {
  const size = name.startsWith('CIFAR') ? 32 : 64;
  const [fast, direct] = [await run(make, size, true), await run(make, size, false)];
  const ratio = (key: 'forwardMs' | 'stepMs'): string => (direct[key] / fast[key]).toFixed(2);
  rows.push([
    name,
    apart([fast.evaluated], [direct.evaluated]),
    apart([fast.logits], [direct.logits]),
    apart(fast.grads, direct.grads),
    ratio('forwardMs'),
    ratio('stepMs'),
  ]);
}
console.log(
  markdownTable(
    ['model', 'logits, eval()', 'logits, train()', 'all gradients', 'direct / Winograd, forward', 'step'],
    rows,
  ),
);
k.close();
