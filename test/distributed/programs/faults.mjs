/** What goes wrong between ranks: the first argument says what. */
import * as k from 'kindling';
import * as distributed from 'kindling/distributed';

const [what] = process.argv.slice(2);
await k.init();
const { rank } = await distributed.init({ timeout: what === 'absent' ? 1000 : 60_000 });
await distributed.barrier();
if (what === 'shapes') await distributed.allReduce(k.zeros(rank === 0 ? 3 : 4));
if (what === 'order') await (rank === 0 ? distributed.barrier() : distributed.allReduce(k.zeros(2)));
if (what === 'absent') {
  if (rank === 1) await new Promise((resolve) => setTimeout(resolve, 30_000));
  await distributed.allReduce(k.zeros(2));
}
if (what === 'leaves') {
  if (rank === 1) process.exit(0);
  await distributed.barrier();
}
if (what === 'throws') {
  if (rank === 1) throw new Error('a bad image');
  await distributed.barrier();
}
if (what === 'killed') {
  if (rank === 1) process.kill(process.pid, 'SIGKILL');
  for (;;) await distributed.allReduce(k.zeros(1000));
}
if (what === 'unused') {
  class Two extends k.nn.Module {
    left = new k.nn.Linear(2, 2);
    right = new k.nn.Linear(2, 2);
    /** @param {k.Tensor} x */
    forward(x) {
      return this.left(x);
    }
  }
  new distributed.DistributedDataParallel(new Two())(k.ones(1, 2)).sum().backward();
}
if (what === 'own') {
  const x = k.ones(4);
  // @ts-expect-error: what the package keeps to itself
  if (rank === 1) /** @type {GPUBuffer} */ (x.deviceBuffer.gpu).destroy();
  k.noGrad(() => x.add_(1));
  await distributed.allReduce(x);
}
