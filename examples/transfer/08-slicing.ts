/**
 * Cutting a network: its children but the last, or the last few, make a Sequential that shares the weights.
 */
import { nn, noGrad } from '../../src/index.js';
import { images, pretrained, runIfScript, type Options } from './common.js';

export async function main(options: Options = {}) {
  const model = (await pretrained(options)).eval();
  const features = new nn.Sequential(...model.children().slice(0, -1)); // nn.Sequential(*list(model.children())[:-1])
  const maps = new nn.Sequential(...model.children().slice(0, -2)); // without the pooling too

  for await (const [inputs] of images(options).val) {
    const vectors = noGrad(() => features(inputs));
    const grids = noGrad(() => maps(inputs));
    const [logits, again] = [noGrad(() => model(inputs)), noGrad(() => model.fc(vectors.flatten(1)))];
    const difference = await logits.sub(again).abs().max().item();
    console.log(
      `images ${show(inputs.shape)}: features ${show(vectors.shape)}, feature maps ${show(grids.shape)}`,
    );
    console.log(`the head on the features differs from the model by ${difference}`);
    const shared = features[0] === (model.conv1 as nn.TensorModule);
    console.log(`the layers are ${shared ? 'the same objects: freeze one and both are frozen' : 'copies'}`);
    return { vectors: vectors.shape, maps: grids.shape, difference, shared };
  }
  throw new Error('there are no validation images');
}

const show = (shape: readonly number[]): string => `[${shape.join(', ')}]`;

await runIfScript(import.meta.url, main);
