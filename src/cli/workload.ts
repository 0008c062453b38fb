/** The work that models are profiled and timed by. */
import { crossEntropy, noGrad, optim, randint, randn, recordFunction } from '../index.js';
import type { TensorModule } from '../nn/index.js';
import type { Tensor } from '../tensor/tensor.js';
import { builderOf } from './load-model.js';
import type { Options } from './option-rows.js';
import type { workload } from './shared-options.js';
import { outputsOf } from '../train/step.js';

/** What a model is measured with: the shape that was given, else one image of its own size. */
export function inputShape(
  modelName: string,
  { input, batchSize }: Pick<Options<typeof workload>, 'input' | 'batchSize'>,
): readonly number[] {
  const { channels, crop } = builderOf(modelName).input;
  const shape = input ?? [1, channels, crop, crop];
  return batchSize === undefined ? shape : [batchSize, ...shape.slice(1)];
}

/** One pass of `model` over random images, or with `train` one step of training, recorded at each call. */
export const workOf = (model: TensorModule, shape: readonly number[], train = false): (() => void) =>
  train ? trainingStep(model, shape) : forwardPass(model, shape);

function forwardPass(model: TensorModule, shape: readonly number[]): () => void {
  model.eval();
  const x = randn(...shape);
  return () => noGrad(() => model(x)).dispose();
}

/** A step of SGD with momentum on cross-entropy. */
function trainingStep(model: TensorModule, shape: readonly number[]): () => void {
  model.train();
  const optimizer = new optim.SGD(model.parameters(), { lr: 1e-3, momentum: 0.9 });
  const x = randn(...shape);
  let labels: Tensor | null = null;
  return () => {
    const { logits, auxiliary } = outputsOf(model(x));
    labels ??= randint(logits.shape[1] as number, [shape[0] as number]);
    const wanted = labels;
    const loss = recordFunction('loss', () =>
      auxiliary.reduce((sum, each) => sum.add(crossEntropy(each, wanted)), crossEntropy(logits, wanted)),
    );
    loss.backward();
    recordFunction('optimizer', () => optimizer.step());
    optimizer.zeroGrad();
    for (const each of [logits, ...auxiliary, loss]) each.dispose();
  };
}
