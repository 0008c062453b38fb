import { beforeAll, describe, expect, it } from 'vitest';
import {
  binaryCrossEntropyWithLogits,
  formats,
  init,
  noGrad,
  optim,
  tensor,
  zeros,
  type Tensor,
} from '../../src/index.js';
import { loadRows } from '../rows.js';

/** scripts/goldens/optim.py says what these are. */
interface Row {
  readonly name: string;
  readonly options: Partial<optim.LBFGSOptions>;
}
interface Golden {
  readonly losses: readonly number[];
  readonly w: readonly number[];
  readonly b: readonly number[];
}

beforeAll(() => init());

const sines = (length: number, seed: number, scale: number): Float64Array =>
  Float64Array.from({ length }, (_, i) => scale * Math.sin(0.7 * i + seed));

/** The ridge logistic regression of scripts/goldens/optim.py. */
function problem(options: Partial<optim.LBFGSOptions>, w: Tensor, b: Tensor) {
  const x = tensor(sines(36, 0.3, 1.5), { shape: [12, 3] });
  const y = tensor(sines(12, 2, 1).map((value) => (value > 0 ? 1 : 0)));
  const optimizer = new optim.LBFGS([w, b], options);
  const step = (): Promise<Tensor> =>
    optimizer.step(() => {
      optimizer.zeroGrad();
      const logits = x.mul(w).sum(1).add(b);
      const loss = binaryCrossEntropyWithLogits(logits, y).add(w.square().sum().mul(0.05));
      loss.backward();
      return loss;
    });
  return { optimizer, step };
}
const start = (): [Tensor, Tensor] => [tensor(sines(3, 1, 1)).requiresGrad_(), zeros(1).requiresGrad_()];

describe('LBFGS', () => {
  it.each(loadRows<Row, Golden>('optim/lbfgs'))(
    "comes to PyTorch's losses and parameters: $key",
    async ({ row, golden }) => {
      const [w, b] = start();
      const { step } = problem(row.options, w, b);
      for (const loss of golden.losses) expect(await (await step()).item()).toBeCloseTo(loss, 5);
      for (const [got, want] of [
        [w, golden.w],
        [b, golden.b],
      ] as const)
        Array.from(await got.data()).forEach((value, i) => expect(value).toBeCloseTo(want[i] as number, 3));
    },
  );

  it('carries on from a file, bit for bit', async () => {
    const options = { lr: 0.3, maxIter: 2, historySize: 2 };
    const [w, b] = start();
    const first = problem(options, w, b);
    for (let i = 0; i < 2; i++) await first.step();
    const file = await formats.encodeTorch(first.optimizer.stateDict());
    const copies = [w, b].map((p) => noGrad(() => p.detach().clone()).requiresGrad_()) as [Tensor, Tensor];
    const second = problem({}, ...copies);
    await second.optimizer.loadStateDict(await formats.loadValue(file));
    for (let i = 0; i < 2; i++) for (const run of [first, second]) await run.step();
    expect([await copies[0].data(), await copies[1].data()]).toEqual([await w.data(), await b.data()]);
  });

  it('asks for a closure and for one group', async () => {
    const [w, b] = start();
    const optimizer: optim.Optimizer = new optim.LBFGS([w]);
    await expect(optimizer.step()).rejects.toThrow('LBFGS: step needs a closure');
    expect(() => new optim.LBFGS([{ params: [w] }, { params: [b] }])).toThrow(
      'all parameters must be in one group',
    );
  });
});
