/**
 * Short trainings on two ranks, which `scripts/parity/data_parallel.py` repeats with PyTorch: rank 0 prints their
 * results as JSON.
 */
import * as k from 'kindling';
import * as distributed from 'kindling/distributed';

await k.init();
const { rank } = await distributed.init();
const { nn, optim } = k;
const { DistributedDataParallel, DistributedSampler, ZeroRedundancyOptimizer } = distributed;

/** @param {k.nn.Module} net */
const start = (net) => {
  k.noGrad(() => {
    for (const [n, p] of net.parameters().entries())
      p.copy_(
        k
          .arange(p.numel(), { dtype: 'float32' })
          .add(n)
          .sin()
          .reshape(...p.shape),
      );
  });
  return net;
};
class Net extends nn.Module {
  a = new nn.Linear(3, 4);
  b = new nn.Linear(4, 2);
  side = new nn.Linear(4, 2);
  /** @param {k.Tensor} x @param {boolean} both */
  forward(x, both = false) {
    const h = this.a(x).tanh();
    return both ? this.b(h).add(this.side(h)) : this.b(h);
  }
}
/** @param {import('kindling/distributed').DataParallelOptions} options */
const make = (options = { findUnusedParameters: true }) =>
  new DistributedDataParallel(/** @type {Net} */ (start(new Net())), options);
/** @param {number} step */
const input = (step) =>
  k
    .arange(6, { dtype: 'float32' })
    .mul(0.7)
    .add(step + 3 * rank)
    .sin()
    .reshape(2, 3);
/** @param {Iterable<k.Tensor | null>} list */
const flat = async (list) =>
  (await Promise.all([...list].map(async (x) => (x === null ? [] : Array.from(await x.data()))))).flat();
/** @param {ReturnType<typeof make>} model */
const gradsOf = async (model) => {
  await model.settle();
  return Promise.all(model.parameters().map(async (p) => (p.grad === null ? null : flat([p.grad]))));
};
/**
 * @param {ReturnType<typeof make>} model @param {k.optim.Optimizer<any>} optimizer @param {number} steps
 * @param {number} [clip]
 */
async function train(model, optimizer, steps, clip) {
  for (let step = 0; step < steps; step++) {
    optimizer.zeroGrad();
    model(input(step)).pow(2).sum().backward();
    await model.settle();
    if (clip !== undefined) nn.utils.clipGradNorm_(model.parameters(), clip);
    optimizer.step();
  }
}
const sgd = (/** @type {ReturnType<typeof make>} */ model) =>
  new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9, weightDecay: 0.01 });

/** @type {Record<string, unknown>} */
const results = {};
let model = make();
model(input(0), rank === 0)
  .pow(2)
  .sum()
  .backward();
results['grads, side used on rank 0'] = await gradsOf(model);
model = make();
model(input(0)).pow(2).sum().backward();
results['grads, side unused'] = await gradsOf(model);
model = make();
model.noSync(() => {
  model(input(0)).pow(2).sum().backward();
});
model(input(1)).pow(2).sum().backward();
results['grads, no_sync then sync'] = await gradsOf(model);
model = make();
await train(model, sgd(model), 4, 0.3);
results['weights, clipped'] = await flat(model.parameters());
for (const [name, hook] of /** @type {const} */ ([
  ['fp16', distributed.fp16CompressHook],
  ['bf16', distributed.bf16CompressHook],
])) {
  model = make();
  model.registerCommHook(null, hook);
  await train(model, sgd(model), 4);
  results[`weights, ${name}`] = await flat(model.parameters());
}
model = make();
await model.join(() => train(model, sgd(model), rank === 0 ? 2 : 5));
results['weights, joined'] = await flat(model.parameters());
model = make();
await train(
  model,
  new ZeroRedundancyOptimizer(model.parameters(), { optimizerClass: optim.Adam, lr: 0.1 }),
  4,
);
results['weights, ZeRO'] = await flat(model.parameters());
results['keys'] = [...model.stateDict().keys()];
results['module keys'] = [...model.module.stateDict().keys()];
results['sampler'] = [5, 6, 7, 11].flatMap((length) =>
  [false, true].flatMap((dropLast) =>
    [0, 1, 2].map((part) => [
      ...new DistributedSampler({ length }, { numReplicas: 3, rank: part, shuffle: false, dropLast }),
    ]),
  ),
);
if (rank === 0) console.log(JSON.stringify(results));
