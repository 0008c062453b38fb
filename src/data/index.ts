/** Datasets, host-side transforms and the DataLoader. Files are read by `node/`, which only Node loads. */
export { ByteImageDataset, type ByteImageOptions } from './byte-images.js';
export type { DataFile } from './cifar-records.js';
export { CIFAR10, type CIFAR10File, cifar10Classes, cifar10Statistics } from './cifar10.js';
export {
  CIFAR100,
  cifar100Classes,
  cifar100CoarseClasses,
  type CIFAR100Options,
  cifar100Statistics,
} from './cifar100.js';
export { type Batch, defaultCollate, type HostBatch, stackSamples, toTensors } from './collate.js';
export { ConcatDataset, type Dataset, randomSplit, Subset } from './dataset.js';
export { type ByteImages, imagesToTensor, type ImagesToTensorOptions } from '../ops/images/bytes.js';
export type { PackedImages } from '../kernels/images/packed.js';
export type { DeferredImage, HostArray, HostData, RGBImage } from './host.js';
export { DataLoader, type DataLoaderOptions, type LoaderState } from './loader.js';
export type { ModuleExport, Portable } from './portable.js';
export { cutmix, mixup, type MixOptions } from './mixup.js';
export {
  FashionMNIST,
  fashionMNISTClasses,
  fashionMNISTStatistics,
  MNIST,
  mnistClasses,
  type MNISTFiles,
  mnistStatistics,
} from './mnist.js';
export { fromPixels, type PixelSource, type RGBAPixels, toImageData } from './pixel-sources.js';
export { Random } from './random.js';
export {
  type BatchesOfIndices,
  BatchSampler,
  RandomSampler,
  type RandomSamplerOptions,
  type Sampler,
  SequentialSampler,
  SubsetRandomSampler,
  WeightedRandomSampler,
} from './samplers.js';
export { ShapesDataset, type ShapesOptions, shapesStatistics } from './shapes.js';
export { classBalancedWeights, stratifiedSplit } from './splits.js';
export { TensorDataset } from './tensor-dataset.js';
export * as transforms from './transforms.js';
export type { Size, TransformFunction } from './transforms.js';
