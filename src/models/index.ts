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
export { findHead, findHeads, replaceHead, type Head } from './head.js';
export { loadWeights, type LoadedWeights, type LoadWeightsOptions } from './load-weights.js';
export type { ModelBuilder, ModelOptions } from './define.js';
export {
  getWeight,
  useManifest,
  weights,
  WeightsEntry,
  type InputRecipe,
  type Manifest,
  type WeightsRecord,
} from './manifest.js';
export {
  openWeights,
  type PretrainedOptions,
  type PretrainedReport,
  type WeightsDownload,
  type WeightsSource,
} from './pretrained.js';
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
export { AlexNet, alexnet, type AlexNetOptions } from './alexnet.js';
export {
  DenseNet,
  densenet121,
  densenet161,
  densenet169,
  densenet201,
  type DenseNetOptions,
} from './densenet.js';
export { GoogLeNet, googlenet, type GoogLeNetOptions, type GoogLeNetOutputs } from './googlenet.js';
export { Inception3, inceptionV3, type Inception3Options, type Inception3Outputs } from './inception-v3.js';
export {
  MobileNetV2,
  mobilenetV2,
  type InvertedResidualSetting,
  type MobileNetV2Options,
} from './mobilenet-v2.js';
export { MobileNetV3, mobilenetV3Large, mobilenetV3Small, type MobileNetV3Options } from './mobilenet-v3.js';
export { SqueezeNet, squeezenet1_0, squeezenet1_1, type SqueezeNetOptions } from './squeezenet.js';
export {
  VGG,
  vgg11,
  vgg11Bn,
  vgg13,
  vgg13Bn,
  vgg16,
  vgg16Bn,
  vgg19,
  vgg19Bn,
  type VGGOptions,
} from './vgg.js';
export {
  ConvNeXt,
  convnextBase,
  convnextLarge,
  convnextSmall,
  convnextTiny,
  type ConvNeXtOptions,
} from './convnext.js';
export {
  EfficientNet,
  efficientnetB0,
  efficientnetB1,
  efficientnetB2,
  efficientnetB3,
  efficientnetB4,
  efficientnetB5,
  efficientnetB6,
  efficientnetB7,
  efficientnetV2L,
  efficientnetV2M,
  efficientnetV2S,
  type EfficientNetOptions,
} from './efficientnet.js';
export { MNASNet, mnasnet0_5, mnasnet0_75, mnasnet1_0, mnasnet1_3, type MNASNetOptions } from './mnasnet.js';
export {
  RegNet,
  regnetX16gf,
  regnetX1_6gf,
  regnetX32gf,
  regnetX3_2gf,
  regnetX400mf,
  regnetX800mf,
  regnetX8gf,
  regnetY128gf,
  regnetY16gf,
  regnetY1_6gf,
  regnetY32gf,
  regnetY3_2gf,
  regnetY400mf,
  regnetY800mf,
  regnetY8gf,
  type RegNetOptions,
} from './regnet.js';
export {
  ShuffleNetV2,
  shufflenetV2X0_5,
  shufflenetV2X1_0,
  shufflenetV2X1_5,
  shufflenetV2X2_0,
  type ShuffleNetV2Options,
} from './shufflenet-v2.js';
export { StochasticDepth } from './stochastic-depth.js';
export {
  VisionTransformer,
  vitB16,
  vitB32,
  vitH14,
  vitL16,
  vitL32,
  type VisionTransformerOptions,
} from './vit.js';
