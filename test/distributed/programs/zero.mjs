/** Training with sharded optimizer states beside the plain optimizer; prints a line per rank. */
import assert from 'node:assert/strict';
import * as k from 'kindling';
import * as distributed from 'kindling/distributed';

await k.init();
const { rank, worldSize } = await distributed.init();
const { nn, optim, amp } = k;
const { DistributedDataParallel, ZeroRedundancyOptimizer } = distributed;

const make = () => {
  k.manualSeed(5);
  return new DistributedDataParallel(
    new nn.Sequential(
      new nn.Linear(6, 20),
      new nn.Tanh(),
      new nn.Linear(20, 20),
      new nn.Linear(20, 20),
      new nn.Linear(20, 3),
    ),
  );
};
/** @param {ReturnType<typeof make>} model */
const groupsOf = ({ module }) => [
  { params: module.slice(0, 1).parameters() },
  { params: module.slice(2).parameters(), lr: 0.02, weightDecay: 0.1 },
];
/** @param {ReturnType<typeof make>} model @param {number} step */
const lossOf = (model, step) => {
  const x = Float32Array.from({ length: 24 }, (_, i) => Math.sin((i + 1) * (step + 2) + rank));
  // One step overflows.
  return model(k.tensor(x, { shape: [4, 6] }))
    .pow(2)
    .mean()
    .mul(step === 7 ? 1e38 : 1);
};
/** @param {Iterable<k.Tensor>} list */
const bitsOf = async (list) =>
  Promise.all([...list].map(async (x) => Array.from(new Int32Array((await x.data()).slice().buffer))));
/** @param {k.optim.OptimizerStateDict} dict */
const stateOf = async (dict) => {
  const entries = Object.entries(dict.state).map(async ([number, state]) => [
    number,
    await Promise.all(
      Object.entries(state).map(async ([name, x]) => [
        name,
        typeof x === 'number' ? x : await bitsOf([/** @type {k.Tensor} */ (x)]),
      ]),
    ),
  ]);
  return [await Promise.all(entries), dict.param_groups];
};

/**
 * @param {ReturnType<typeof make>} model
 * @param {k.optim.Optimizer<any>} optimizer
 * @param {number} from @param {number} to
 * @param {k.optim.lrScheduler.StepLR} scheduler
 */
async function train(model, optimizer, scheduler, from, to) {
  const scaler = new amp.GradScaler({ initScale: 16 });
  for (let step = from; step < to; step++) {
    optimizer.zeroGrad();
    scaler.scale(lossOf(model, step)).backward();
    scaler.unscale_(optimizer);
    nn.utils.clipGradNorm_(model.parameters(), 0.5);
    await scaler.step(optimizer);
    await scaler.update();
    scheduler.step();
  }
}

for (const [name, optimizerClass, options] of /** @type {const} */ ([
  ['AdamW', optim.AdamW, { lr: 0.01, amsgrad: true }],
  ['SGD', optim.SGD, { lr: 0.1, momentum: 0.9 }],
])) {
  const [plainModel, model] = [make(), make()];
  const plain = new /** @type {any} */ (optimizerClass)(groupsOf(plainModel), options);
  const zero = new ZeroRedundancyOptimizer(
    groupsOf(model),
    /** @type {any} */ ({ optimizerClass, ...options }),
  );
  const schedule = { stepSize: 3, gamma: 0.5 };
  const [plainSteps, steps] = [plain, zero].map((o) => new optim.lrScheduler.StepLR(o, schedule));
  await train(plainModel, plain, /** @type {any} */ (plainSteps), 0, 20);
  await train(model, zero, /** @type {any} */ (steps), 0, 20);
  assert.deepEqual(await bitsOf(model.parameters()), await bitsOf(plainModel.parameters()));

  // Each rank holds its share of the state.
  /** @param {k.optim.Optimizer<any>} o */
  const held = (o) =>
    [...o.state.values()]
      .flatMap((s) => Object.values(s))
      .reduce((/** @type {number} */ n, x) => n + (x instanceof k.Tensor ? x.numel() : 0), 0);
  const all = await distributed.allGatherObject(held(zero));
  assert.equal(
    all.reduce((a, b) => a + b, 0),
    held(plain),
  );
  if (rank === 0)
    console.log(`${name}: a rank holds at most ${Math.max(...all)} of ${held(plain)} numbers of state`);
  // No parameter is divided, so that the largest one is the least that some rank has.
  const sizes = plainModel.parameters().map((p) => p.numel());
  const least = Math.max(1 / worldSize, Math.max(...sizes) / sizes.reduce((a, b) => a + b, 0));
  assert.ok(Math.max(...all) <= 1.02 * least * held(plain));

  // The whole state is the plain optimizer's.
  assert.throws(() => zero.stateDict(), /does not have the whole state; all ranks must 'await optimizer/);
  await zero.consolidateStateDict(1);
  if (rank !== 1) assert.throws(() => zero.stateDict(), /does not have the whole state/);
  await zero.consolidateStateDict();
  if (rank === 0) assert.deepEqual(await stateOf(zero.stateDict()), await stateOf(plain.stateDict()));

  // Each goes on from the other's.
  const bytes = await k.formats.encodeTorch({ state: plain.stateDict() });
  const resumed = new ZeroRedundancyOptimizer(
    groupsOf(model),
    /** @type {any} */ ({ optimizerClass, ...options }),
  );
  const resumedSteps = new optim.lrScheduler.StepLR(resumed, schedule);
  resumedSteps.loadStateDict(/** @type {any} */ (plainSteps).stateDict());
  await resumed.loadStateDict(
    /** @type {any} */ (/** @type {any} */ (await k.formats.loadValue(bytes)).get('state')),
  );
  await train(plainModel, plain, /** @type {any} */ (plainSteps), 20, 23);
  await train(model, resumed, resumedSteps, 20, 23);
  assert.deepEqual(await bitsOf(model.parameters()), await bitsOf(plainModel.parameters()));
}

const net = new DistributedDataParallel(new nn.Linear(3, 2));
assert.throws(
  () => new ZeroRedundancyOptimizer(net.parameters(), { optimizerClass: optim.LBFGS, lr: 1 }),
  /LBFGS keeps one state/,
);
const late = new ZeroRedundancyOptimizer([net.module.weight], { optimizerClass: optim.Adam, lr: 0.1 });
late.addParamGroup({ params: [/** @type {k.Tensor} */ (net.module.bias)], lr: 0.01 });
net(k.ones(1, 3)).sum().backward();
late.step();
const moved = await bitsOf(net.parameters());
const same = await distributed.allGatherObject(moved);
assert.deepEqual(same[0], same[worldSize - 1]);
assert.equal(late.paramGroups.length, 2);
await distributed.barrier();
console.log(`rank ${rank} of ${worldSize} is done`);
