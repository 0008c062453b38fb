import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { init, nn, noGrad, optim, runtime, tensor, type Tensor } from '../../src/index.js';

const { AveragedModel, getEmaMultiAvgFn, updateBn } = optim.swaUtils;
const { averages } = JSON.parse(readFileSync(new URL('../goldens/optim.json', import.meta.url), 'utf8')) as {
  averages: { runs: { name: string; state: Record<string, number[]> }[]; updateBn: Record<string, number[]> };
};

beforeAll(() => init());

/** The network, its movement and its data of scripts/goldens/make_optim_goldens.py. */
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

async function expectState(
  model: InstanceType<typeof nn.Module>,
  want: Record<string, number[]>,
): Promise<void> {
  const state = model.stateDict();
  for (const [key, numbers] of Object.entries(want)) {
    const got = Array.from(await (state.get(key) as Tensor).data());
    got.forEach((value, i) => expect(value, `${key} ${i}`).toBeCloseTo(numbers[i] as number, 5));
  }
}

const options: Record<string, optim.swaUtils.AveragedModelOptions[]> = {
  swa: [{}, { avgFn: (mean, current, n) => mean.add(current.sub(mean).div(n.add(1))) }],
  ema: [
    { multiAvgFn: getEmaMultiAvgFn(0.8) },
    { avgFn: (mean, current) => mean.mul(0.8).add(current.mul(0.2)) },
  ],
  'swa, buffers': [{ useBuffers: true }],
};

describe('AveragedModel', () => {
  const rows = averages.runs.flatMap(({ name, state }) =>
    (options[name] ?? []).map((option) => [`${name} ${Object.keys(option).join()}`, option, state] as const),
  );
  it.each(rows)("holds PyTorch's averages: %s", async (_, option, want) => {
    const model = network();
    const averaged = new AveragedModel(model, option);
    for (let step = 0; step < 5; step++) {
      move(model, step);
      averaged.updateParameters(model);
    }
    expect(await averaged.nAveraged.item()).toBe(5);
    await expectState(averaged.module, want);
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

it('updateBn averages the statistics of the batches and leaves modes and momenta alone', async () => {
  const model = network();
  move(model, 1);
  model.eval();
  await updateBn(
    [0, 1, 2].map((k) => [values([4, 3], k, 1), 'label']),
    model,
  );
  await expectState(model, averages.updateBn);
  expect([model.training, (model[1] as unknown as InstanceType<typeof nn.BatchNorm1d>).momentum]).toEqual([
    false,
    0.1,
  ]);
});
