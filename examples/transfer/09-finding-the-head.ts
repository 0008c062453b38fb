/**
 * Finding the head of a network one does not know: by children, by modules, by parameters, or by asking
 * kindling.
 */
import { models, nn } from '../../src/index.js';
import { pretrained, runIfScript, type Options } from './common.js';

function inspect(name: string, model: nn.Module) {
  const children = model.namedChildren().map(([child]) => child);
  const [path, layer] = model
    .namedModules()
    .filter(([, module]) => module instanceof nn.Linear)
    .at(-1) ?? ['', null];
  const parameters = model
    .namedParameters()
    .flatMap(([key, p]) => (key.startsWith(path) ? [`${key} [${p.shape.join(', ')}]`] : []));
  console.log(`${name}: children ${children.join(', ')}`);
  console.log(`  last Linear: ${path}: ${String(layer)}, with ${parameters.join(' and ')}`);

  // The same in one line, for all of the zoo, and the replacement too.
  const found = models.findHead(model);
  const { layer: fresh } = models.replaceHead(model, 5);
  console.log(`  findHead says ${found.path}; replaced by ${String(fresh)}`);
  return {
    children,
    path,
    parameters,
    found: found.path,
    replaced: model.getSubmodule(path) === (fresh as nn.Module),
  };
}

export async function main(options: Options = {}) {
  const small = inspect('ResNet', await pretrained(options));
  const mobile = inspect('MobileNetV2', models.mobilenetV2({ numClasses: 1000 }));
  return { small, mobile };
}

await runIfScript(import.meta.url, main);
