/** Looking before training: which parameters will move, and how many numbers that is. */
import { nn } from '../../src/index.js';
import { pretrained, runIfScript, type Options } from './common.js';

export async function main(options: Options = {}) {
  const model = await pretrained(options);
  const read = () => [...model.parameters()].map((p) => p.requiresGrad);
  const count = (trainable: boolean) =>
    model
      .parameters()
      .filter((p) => p.requiresGrad || !trainable)
      .reduce((sum, p) => sum + p.numel(), 0);

  const start = read();
  console.log(`pretrained: ${start.filter(Boolean).length} of ${start.length} parameters require grad`);

  for (const p of model.parameters()) p.requiresGrad = false;
  const frozen = read();
  console.log(`frozen:     ${frozen.filter(Boolean).length} of ${frozen.length}`);

  model.fc = new nn.Linear(model.fc.inFeatures, 5);
  const headed = read();
  console.log(`new head:   ${headed.filter(Boolean).length} of ${headed.length}:`);
  for (const [name, p] of model.namedParameters())
    if (p.requiresGrad) console.log(`            ${name} [${p.shape.join(', ')}]`);
  console.log(`${count(true)} of ${count(false)} numbers are trained`);
  return { start, frozen, headed, trainable: count(true), total: count(false) };
}

await runIfScript(import.meta.url, main);
