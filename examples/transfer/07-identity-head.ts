/**
 * `nn.Identity` as the head: the network gives features, and the nearest class mean classifies with no
 * training at all.
 */
import { cat, nn, noGrad, stack, tensor, type Tensor } from '../../src/index.js';
import { images, percent, pretrained, runIfScript, type Options } from './common.js';

export async function main(options: Options = {}) {
  const data = images(options);
  const model = await pretrained(options);
  model.fc = new nn.Identity();
  model.eval();

  const features: Tensor[] = [];
  const labels: number[] = [];
  for await (const [inputs, targets] of data.train) {
    features.push(noGrad(() => model(inputs)));
    labels.push(...(await targets.data()));
  }
  const all = cat(features);
  const means = stack(
    data.classes.map((_, label) => {
      const rows = labels.flatMap((value, row) => (value === label ? [row] : []));
      return all.indexSelect(0, tensor(Int32Array.from(rows))).mean(0);
    }),
  );

  let correct = 0;
  for await (const [inputs, targets] of data.val) {
    const found = noGrad(() => model(inputs).unsqueeze(1).sub(means).square().sum(2).argmin(1));
    correct += await found.eq(targets).sum().item();
  }
  const score = correct / data.val.dataset.length;
  console.log(
    `features are [N, ${all.shape[1]}]; the nearest of ${data.classes.length} class means is right for ${percent(score)}`,
  );
  return { shape: all.shape, score };
}

await runIfScript(import.meta.url, main);
