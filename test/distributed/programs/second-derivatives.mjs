/** Second derivatives through SyncBatchNorm: those of BatchNorm over the joint batch, and of finite differences. */
import assert from 'node:assert/strict';
import * as k from 'kindling';
import * as distributed from 'kindling/distributed';

await k.init();
const { rank, worldSize } = await distributed.init();
const { nn } = k;
const batch = 6;
// The last rank has one more than its share, the first one less.
const cuts = Array.from({ length: worldSize + 1 }, (_, r) =>
  r === 0 || r === worldSize ? (r * batch) / worldSize : (r * batch) / worldSize - 1,
);
const [from, to] = /** @type {[number, number]} */ ([cuts[rank], cuts[rank + 1]]);
/** @param {number} seed */
const wave = (seed) =>
  Float32Array.from({ length: batch * 12 }, (_, i) => Math.sin((i + 1) * seed) + ((i >> 2) % 3));
/** @param {Float32Array} values */
const whole = (values) => k.tensor(values, { shape: [batch, 3, 2, 2] });

/**
 * A function of the gradient of a loss: its value, and its gradients by input, weight and bias.
 * @param {InstanceType<typeof nn.BatchNorm2d>} norm
 * @param {Float32Array} input
 * @param {number} first @param {number} end
 */
async function second(norm, input, first, end) {
  const [x, c, d] = [input, wave(1.7), wave(0.6)].map((v) =>
    whole(v)
      .narrow(0, first, end - first)
      .clone(),
  );
  if (x === undefined || c === undefined || d === undefined) throw new Error('never');
  x.requiresGrad = true;
  for (const p of norm.parameters()) p.grad = null;
  const y = norm(x);
  const [slope] = k.autograd.grad(y.pow(3).mul(c).sum(), [x], { createGraph: true });
  if (!slope) throw new Error('never');
  const value = slope.pow(2).mul(d).sum();
  value.backward();
  const grads = [x, ...norm.parameters()].map((v) => /** @type {k.Tensor} */ (v.grad));
  return {
    value: await value.item(),
    grads: await Promise.all(grads.map(async (g) => Array.from(await g.data()))),
  };
}

/** @template {InstanceType<typeof nn.BatchNorm2d>} N @param {N} norm */
const filled = (norm) => {
  norm.weight = new nn.Parameter(k.tensor([0.5, 1.5, -1]));
  norm.bias = new nn.Parameter(k.tensor([0.1, -0.2, 0.3]));
  return norm;
};
const norm = filled(new distributed.SyncBatchNorm(3));
const own = await second(norm, wave(2.3), from, to);
const joint = await second(filled(new nn.BatchNorm2d(3)), wave(2.3), 0, batch);
/** @param {number[]} got @param {number[]} want */
const distance = (got, want) => {
  const size = Math.max(...want.map(Math.abs));
  return Math.max(...got.map((v, i) => Math.abs(v - /** @type {number} */ (want[i])) / size));
};
const [dx, dw, db] = /** @type {[number[], number[], number[]]} */ (own.grads);
const [jx, jw, jb] = /** @type {[number[], number[], number[]]} */ (joint.grads);
const errors = [distance(dx, jx.slice(12 * from, 12 * to))];
for (const [mine, theirs] of [
  [dw, jw],
  [db, jb],
]) {
  const sum = k.tensor(/** @type {number[]} */ (mine));
  await distributed.allReduce(sum);
  errors.push(distance(Array.from(await sum.data()), /** @type {number[]} */ (theirs)));
}
assert.ok(Math.max(...errors) < 1e-4, `errors ${errors}`);

// The same by finite differences: a number of some rank's input moves, and all ranks' values with it.
const h = 2e-3;
for (const i of [0, 12 * batch - 5]) {
  const at = [-h, h].map((by) => {
    const moved = wave(2.3);
    moved[i] = /** @type {number} */ (moved[i]) + by;
    return moved;
  });
  const values = [];
  for (const input of at) values.push((await second(norm, input, from, to)).value);
  const sums = await distributed.allGatherObject(values);
  const slope =
    sums.reduce((n, [a, b]) => n + /** @type {number} */ (b) - /** @type {number} */ (a), 0) / (2 * h);
  const size = Math.max(...jx.map(Math.abs));
  assert.ok(Math.abs(slope - /** @type {number} */ (jx[i])) / size < 1e-2, `${slope} ${jx[i]}`);
}
console.log(`rank ${rank} of ${worldSize} is done`);
