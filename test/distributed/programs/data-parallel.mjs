/** What DistributedDataParallel does beside averaging; the arguments say what. A line per rank at the end. */
import assert from 'node:assert/strict';
import * as k from 'kindling';
import * as distributed from 'kindling/distributed';

const wanted = process.argv.slice(2);
await k.init();
const { rank, worldSize } = await distributed.init();
const { nn } = k;
const { DistributedDataParallel } = distributed;
k.manualSeed(3);

class Parts extends nn.Module {
  left = new nn.Linear(2, 1, { bias: false });
  right = new nn.Linear(2, 1, { bias: false });
  never = new nn.Linear(2, 1, { bias: false });
  /** @param {k.Tensor} x @param {boolean} both */
  forward(x, both) {
    return both ? this.left(x).add(this.right(x)) : this.left(x);
  }
}
const filled = (/** @type {number[]} */ shape, /** @type {number} */ value) =>
  k.full(shape, value, { dtype: 'float32' });
/** @param {k.Tensor | null} x */
const values = async (x) => (x === null ? null : Array.from(await x.data()));
/** @param {import('kindling/distributed').DataParallelOptions} options */
const make = (options) => new DistributedDataParallel(new Parts(), options);
const mean = (worldSize + 1) / 2;

/** @type {Record<string, () => Promise<void>>} */
const cases = {
  async unused() {
    const model = make({ findUnusedParameters: true });
    const { left, right, never } = model.module;
    model(filled([1, 2], rank + 1), rank === 0)
      .sum()
      .backward();
    await model.settle();
    assert.deepEqual(await values(left.weight.grad), [mean, mean]);
    assert.deepEqual(await values(right.weight.grad), Array(2).fill(1 / worldSize));
    assert.equal(never.weight.grad, null);
    // A gradient that is there is left alone.
    never.weight.grad = k.tensor([[5 + rank, 6]], { dtype: 'float32' });
    right.weight.grad = null;
    model(k.ones(1, 2), false).sum().backward();
    await model.settle();
    assert.deepEqual(await values(left.weight.grad), [mean + 1, mean + 1]);
    assert.equal(right.weight.grad, null);
    assert.deepEqual(await values(never.weight.grad), [5 + rank, 6]);
    // What was used within noSync counts, though not in the pass that averages.
    model.module.zeroGrad();
    model.noSync(() =>
      model(k.ones(1, 2), rank === 0)
        .sum()
        .backward(),
    );
    model(k.ones(1, 2), false).sum().backward();
    await model.settle();
    assert.deepEqual(await values(right.weight.grad), Array(2).fill(1 / worldSize));
    // All is used: nothing has to be awaited.
    const all = new DistributedDataParallel(new nn.Linear(2, 1), { findUnusedParameters: true });
    const optimizer = new k.optim.Adam(all.parameters());
    all(k.ones(1, 2)).sum().backward();
    optimizer.step();
    await k.synchronize();
  },
  async early() {
    const model = make({ findUnusedParameters: true });
    const optimizer = new k.optim.Adam(model.parameters(), { lr: 1, weightDecay: 0.1 });
    const before = await values(model.module.left.weight);
    model(k.ones(1, 2), false).sum().backward();
    optimizer.step();
    optimizer.zeroGrad();
    await assert.rejects(
      k.synchronize(),
      /no rank used 'right\.weight', 'never\.weight', whose gradient stays .* await model\.settle\(\)/,
    );
    assert.deepEqual(await values(model.module.left.weight), before);
    assert.equal(optimizer.state.size, 0);
  },
  async static() {
    const model = make({ staticGraph: true, bucketCapMb: 1e-6 });
    const { right, never } = model.module;
    const optimizer = new k.optim.AdamW(model.parameters(), { lr: 0.1, weightDecay: 0.5 });
    const before = await values(never.weight);
    for (let step = 0; step < 3; step++) {
      optimizer.zeroGrad();
      model(k.ones(1, 2), rank === 0)
        .sum()
        .backward();
      if (step === 0) await model.settle();
      assert.deepEqual(await values(right.weight.grad), Array(2).fill(1 / worldSize));
      assert.equal(never.weight.grad, null);
      optimizer.step();
    }
    assert.deepEqual(await values(never.weight), before);
    if (rank !== 1)
      return void model(k.ones(1, 2), rank < 2)
        .sum()
        .backward();
    assert.throws(
      () =>
        model(k.ones(1, 2), rank < 2)
          .sum()
          .backward(),
      /with staticGraph every pass must use what the first one used, which is otherwise for 'right\.weight'/,
    );
  },
  async join() {
    class Counting extends nn.Module {
      line = new nn.Linear(3, 2);
      calls = this.registerBuffer('calls', k.zeros(1)) ?? k.zeros(1);
      /** @param {k.Tensor} x */
      forward(x) {
        if (this.training) k.noGrad(() => this.calls.add_(1));
        return this.line(x).tanh();
      }
    }
    /** @param {number} r */
    const stepsOf = (r) => 2 + ((2 * r) % 5);
    const ranks = Array.from({ length: worldSize }, (_, r) => r);
    /** @param {number} r @param {number} step */
    const inputOf = (r, step) => filled([2, 3], Math.sin(r + 3 * step));
    for (const divideByInitialWorldSize of [true, false])
      for (const findUnusedParameters of [false, true]) {
        k.manualSeed(9);
        const model = new DistributedDataParallel(new Counting(), { findUnusedParameters });
        if (findUnusedParameters) model.registerCommHook(null, distributed.allreduceHook);
        k.manualSeed(9);
        const alone = new Counting();
        await alone.loadStateDict(model.module.stateDict());
        const optimizer = new k.optim.SGD(model.parameters(), { lr: 0.5, momentum: 0.9 });
        const count = await model.join(
          async () => {
            let step = 0;
            for (; step < stepsOf(rank); step++) {
              optimizer.zeroGrad();
              model(inputOf(rank, step)).sum().backward();
              optimizer.step();
            }
            return step;
          },
          { divideByInitialWorldSize },
        );
        assert.equal(count, stepsOf(rank));
        const reference = new k.optim.SGD(alone.parameters(), { lr: 0.5, momentum: 0.9 });
        const most = Math.max(...ranks.map(stepsOf));
        for (let step = 0; step < most; step++) {
          const active = ranks.filter((r) => step < stepsOf(r));
          const losses = active.map((r) => alone(inputOf(r, step)).sum());
          reference.zeroGrad();
          const total = losses.reduce((a, b) => a.add(b));
          total.div(divideByInitialWorldSize ? worldSize : active.length).backward();
          reference.step();
        }
        const [got, want] = await Promise.all([model.module.line.weight.data(), alone.line.weight.data()]);
        assert.ok(got.every((v, i) => Math.abs(v - /** @type {number} */ (want[i])) < 1e-6));
        assert.deepEqual(await values(model.module.calls), [most]);
      }
    const model = make({ staticGraph: true });
    await assert.rejects(
      model.join(() => undefined),
      /does not go with staticGraph/,
    );
  },
  async hooks() {
    const n = 1003;
    for (const [hook, unit] of /** @type {const} */ ([
      [distributed.fp16CompressHook, 2 ** -11],
      [distributed.bf16CompressHook, 2 ** -8],
      [distributed.allreduceHook, 2 ** -24],
    ])) {
      const net = new nn.Linear(n, 1, { bias: false });
      const model = new DistributedDataParallel(net);
      model.registerCommHook(null, hook);
      assert.throws(() => model.registerCommHook(null, hook), /once only/);
      /** @param {number} r */
      const inputOf = (r) => Float32Array.from({ length: n }, (_, i) => Math.sin((i + 1) * (r + 2)));
      await distributed.barrier();
      const sent = distributed.traffic().bytes;
      model(k.tensor(inputOf(rank), { shape: [1, n] }))
        .sum()
        .backward();
      const got = await /** @type {k.Tensor} */ (net.weight.grad).data();
      assert.equal(distributed.traffic().bytes - sent, n * (hook === distributed.allreduceHook ? 4 : 2));
      const inputs = Array.from({ length: worldSize }, (_, r) => inputOf(r));
      // Rounded on the way out, each by half a unit at most, and on the way back.
      let worst = 0;
      for (let i = 0; i < n; i++) {
        const parts = inputs.map((input) => /** @type {number} */ (input[i]));
        const exact = parts.reduce((sum, x) => sum + x, 0) / worldSize;
        const size = parts.reduce((sum, x) => sum + Math.abs(x), 0) / worldSize;
        worst = Math.max(worst, Math.abs(/** @type {number} */ (got[i]) - exact) / size);
      }
      assert.ok(worst <= 2.1 * unit, `${worst / unit} units`);
      assert.ok(worst > 0);
      const all = await distributed.allGatherObject(Array.from(got));
      assert.deepEqual(all[rank], all[0]);
      if (rank === 0 && process.env['SHOW'] === '1') console.log(hook.name, 'error', worst);
    }
    // One of the program's own, which halves the mean.
    const net = new nn.Linear(2, 1, { bias: false });
    const model = new DistributedDataParallel(net);
    /** @type {number[]} */
    const seen = [];
    model.registerCommHook({ seen }, (state, bucket) => {
      state.seen.push(bucket.index(), bucket.gradients().length, bucket.isLast() ? 1 : 0);
      const x = bucket.buffer();
      void distributed.allReduce(x, { op: 'avg' });
      return x.mul(0.5);
    });
    model(filled([1, 2], rank + 1))
      .sum()
      .backward();
    assert.deepEqual(await values(net.weight.grad), [mean / 2, mean / 2]);
    assert.deepEqual(seen, [0, 1, 1]);
  },
};
for (const what of wanted) await /** @type {() => Promise<void>} */ (cases[what])();
await distributed.barrier();
console.log(`rank ${rank} of ${worldSize} is done`);
