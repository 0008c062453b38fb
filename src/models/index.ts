/** Models under torchvision's names. */
export {
  CifarResNet,
  cifarResnet110,
  cifarResnet20,
  cifarResnet32,
  cifarResnet44,
  cifarResnet56,
  cifarResnet8,
  type CifarResNetOptions,
} from './cifar-resnet.js';
export { findHead, replaceHead, type Head } from './head.js';
export { loadWeights, type LoadedWeights, type LoadWeightsOptions } from './load-weights.js';
export type { ModelBuilder, ModelOptions } from './define.js';
export type { PretrainedOptions, WeightsSource } from './pretrained.js';
export { get, list } from './registry.js';
export {
  BasicBlock,
  Bottleneck,
  ResNet,
  resnet101,
  resnet152,
  resnet18,
  resnet34,
  resnet50,
  resnext101_32x8d,
  resnext101_64x4d,
  resnext50_32x4d,
  wideResnet101_2,
  wideResnet50_2,
  type ResNetOptions,
} from './resnet.js';
export {
  hostStateDict,
  saveWeights,
  type HostStateDictOptions,
  type SaveWeightsOptions,
} from './save-weights.js';
