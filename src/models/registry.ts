import type { TensorModule } from '../nn/index.js';
import * as cifar from './cifar-resnet.js';
import * as resnet from './resnet.js';

/** Makes a model with fresh weights. */
export type ModelBuilder = (options?: { numClasses?: number }) => TensorModule;

/** torchvision's names, and `cifar_` before the depth for the CIFAR ResNets. */
const builders: ReadonlyMap<string, ModelBuilder> = new Map<string, ModelBuilder>([
  ['resnet18', resnet.resnet18],
  ['resnet34', resnet.resnet34],
  ['resnet50', resnet.resnet50],
  ['resnet101', resnet.resnet101],
  ['resnet152', resnet.resnet152],
  ['resnext50_32x4d', resnet.resnext50_32x4d],
  ['resnext101_32x8d', resnet.resnext101_32x8d],
  ['resnext101_64x4d', resnet.resnext101_64x4d],
  ['wide_resnet50_2', resnet.wideResnet50_2],
  ['wide_resnet101_2', resnet.wideResnet101_2],
  ['cifar_resnet8', cifar.cifarResnet8],
  ['cifar_resnet20', cifar.cifarResnet20],
  ['cifar_resnet32', cifar.cifarResnet32],
  ['cifar_resnet44', cifar.cifarResnet44],
  ['cifar_resnet56', cifar.cifarResnet56],
  ['cifar_resnet110', cifar.cifarResnet110],
]);

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
