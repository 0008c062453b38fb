import { beforeAll, describe, expect, it } from 'vitest';
import { init, nn, noGrad, optim, runtime, tensor, type Tensor } from '../../src/index.js';
import { loadRows } from '../rows.js';

const { AveragedModel, getEmaMultiAvgFn, updateBn } = optim.swaUtils;
type State = Readonly<Record<string, readonly number[]>>;

beforeAll(() => init());

/** The network, its movement and its data of scripts/goldens/optim.py. */
const values = (shape: readonly number[], seed: number, scale: number): Tensor =>
  tensor(
    Float64Array.from(
      { length: shape.reduce((a, b) => a * b, 1) },
      (_, i) => scale * Math.sin(0.7 * i + seed),
    ),
    { shape },
  );
function move(model: InstanceType<typeof nn.Module>, step: number): void {
  [...model.stateDict()].forEach(([key, value], i) => {
    if (!value.isFloatingPoint()) return;
    noGrad(() => value.copy_(values(value.shape, 3 * step + i, 1).add(key.includes('var') ? 2 : 0)));
  });
}
function network() {
  const model = new nn.Sequential(new nn.Linear(3, 2), new nn.BatchNorm1d(2));
  move(model, 0);
  return model;
}

async function expectState(model: InstanceType<typeof nn.Module>, want: State): Promise<void> {
  const state = model.stateDict();
  for (const [key, numbers] of Object.entries(want)) {
    const got = Array.from(await (state.get(key) as Tensor).data());
    got.forEach((value, i) => expect(value, `${key} ${i}`).toBeCloseTo(numbers[i] as number, 5));
  }
}

describe('AveragedModel', () => {
  const rows = loadRows<{ name: string; ts: string }, { state: State }>('optim/averages');
  it.each(rows)("holds PyTorch's averages: $key", async ({ row, golden }) => {
    const make = new Function('getEmaMultiAvgFn', `return ${row.ts}`) as (
      ...parts: unknown[]
    ) => optim.swaUtils.AveragedModelOptions;
    const option = make(getEmaMultiAvgFn);
    const model = network();
    const averaged = new AveragedModel(model, option);
    for (let step = 0; step < 5; step++) {
      move(model, step);
      averaged.updateParameters(model);
    }
    expect(await averaged.nAveraged.item()).toBe(5);
    await expectState(averaged.module, golden.state);
    // Buffers that are not averaged are the model's.
    if (!option.useBuffers)
      expect(await averaged.module.stateDict().get('1.running_mean')?.data()).toEqual(
        await model.stateDict().get('1.running_mean')?.data(),
      );
  });

  it('goes on from its state dict and is called like the model', async () => {
    const model = network();
    const averaged = new AveragedModel(model, {});
    averaged.updateParameters(model);
    move(model, 1);
    const resumed = new AveragedModel(network(), {});
    resumed.loadStateDict(averaged.stateDict());
    for (const one of [averaged, resumed]) one.updateParameters(model);
    const x = values([4, 3], 1, 1);
    expect([...averaged.stateDict().keys()]).toContain('module.0.weight');
    expect(await resumed.eval()(x).data()).toEqual(await averaged.eval()(x).data());
  });

  it('takes few dispatches', () => {
    const model = network();
    const averaged = new AveragedModel(model, { multiAvgFn: getEmaMultiAvgFn() });
    runtime().resetOpCounts();
    averaged.updateParameters(model);
    expect(runtime().opCounts().get('averageExponential')).toBeLessThanOrEqual(4);
  });

  it('refuses another model', () => {
    const other = new nn.Sequential(new nn.Linear(3, 3), new nn.BatchNorm1d(3));
    expect(() => new AveragedModel(network()).updateParameters(other)).toThrow(
      'parameters 0 of the model is [3, 3], of the average [2, 3]',
    );
  });
});

const updates = loadRows<{ name: string; batches: number }, { state: State }>('optim/update-bn');
it.each(updates)(
  'updateBn averages the statistics of $key, no mode, no momentum',
  async ({ row, golden }) => {
    const model = network();
    move(model, 1);
    model.eval();
    await updateBn(
      Array.from({ length: row.batches }, (_, k) => [values([4, 3], k, 1), 'label']),
      model,
    );
    await expectState(model, golden.state);
    expect([model.training, (model[1] as unknown as InstanceType<typeof nn.BatchNorm1d>).momentum]).toEqual([
      false,
      0.1,
    ]);
  },
);

it('updateBn finds the batch norms of every number of dims', async () => {
  const model = new nn.BatchNorm3d(1);
  const batch = values([2, 1, 1, 2, 1], 0, 1).add(5);
  await updateBn([batch], model);
  const [got, want] = [await model.runningMean?.item(), await batch.mean().item()];
  expect(got).toBeCloseTo(want, 5);
});
