/** Models under torchvision's names. */
export type { ModelInput, ModelOptions } from './declaration.js';
export type { ModelBuilder } from './define.js';
export { findHead, findHeads, replaceHead, type Head } from './head.js';
export { loadWeights, type LoadedWeights, type LoadWeightsOptions } from './load-weights.js';
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
  hostStateDict,
  saveWeights,
  type HostStateDictOptions,
  type SaveWeightsOptions,
} from './save-weights.js';
export { StochasticDepth } from './stochastic-depth.js';
export * from './zoo.js';
