/** Each name of `--optimizer` makes an optimizer that takes a step with what the command hands it. */
import { beforeAll, expect, it } from 'vitest';
import { makeOptimizer, optimizerNames } from '../../src/cli/optimizers.js';
import { init, nn, ones } from '../../src/index.js';

beforeAll(() => init());

it.each(optimizerNames)('%s', async (optimizer) => {
  const model = new nn.Linear(3, 1);
  const before = await model.weight.toArray();
  const made = makeOptimizer(model.parameters(), { optimizer });
  const loss = (): ReturnType<typeof model.forward> => {
    made.zeroGrad();
    const value = model(ones(2, 3)).square().sum();
    value.backward();
    return value;
  };
  if (optimizer === 'lbfgs') await made.step(loss as never);
  else {
    loss();
    await made.step();
  }
  expect(await model.weight.toArray()).not.toEqual(before);
});
