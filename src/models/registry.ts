import * as alexnet from './alexnet.js';
import * as convnext from './convnext.js';
import * as densenet from './densenet.js';
import * as efficientnet from './efficientnet.js';
import * as googlenet from './googlenet.js';
import * as inception from './inception-v3.js';
import * as mnasnet from './mnasnet.js';
import * as mobilenetV2 from './mobilenet-v2.js';
import * as mobilenetV3 from './mobilenet-v3.js';
import * as regnet from './regnet.js';
import * as shufflenet from './shufflenet-v2.js';
import * as squeezenet from './squeezenet.js';
import * as vgg from './vgg.js';
import * as vit from './vit.js';
import * as cifar from './cifar-resnet.js';
import type { ModelBuilder } from './define.js';
import * as resnet from './resnet.js';

/** The files of models, in the order of `models.list()`: every builder that they export counts. */
const families: readonly object[] = [
  resnet,
  vgg,
  mobilenetV2,
  mobilenetV3,
  alexnet,
  squeezenet,
  densenet,
  googlenet,
  inception,
  efficientnet,
  shufflenet,
  mnasnet,
  regnet,
  convnext,
  vit,
  cifar,
];

const isBuilder = (value: unknown): value is ModelBuilder =>
  typeof value === 'function' && 'modelName' in value;

/** torchvision's names, and `cifar_` before the depth for the CIFAR ResNets. */
const builders: ReadonlyMap<string, ModelBuilder> = new Map(
  families
    .flatMap((family) => Object.values(family))
    .filter(isBuilder)
    .map((builder) => [builder.modelName, builder]),
);

/** Names of the models that {@link get} knows. */
export function list(): string[] {
  return [...builders.keys()];
}

/**
 * The builder of a model by name: `models.get('resnet18')({ numClasses: 10 })`.
 *
 * @throws Error listing the names when there is no such model
 */
export function get(name: string): ModelBuilder {
  const builder = builders.get(name);
  if (builder === undefined) throw new Error(`models: there is no '${name}'; there is ${list().join(', ')}`);
  return builder;
}
