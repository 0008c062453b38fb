import type { HostTensor } from '../formats/index.js';
import type { Shape } from '../tensor/shape.js';
import type { InputRecipe } from './manifest.js';

/** What every model takes; most take more (dropout, ...). */
export interface ModelOptions {
  /** Outputs of the last layer. Default 1000, or what the named weights have. */
  numClasses?: number;
}

/**
 * The images that a model is made for. Its published files may want them otherwise, and say so
 * (`WeightsEntry.recipe`).
 */
export interface ModelInput extends InputRecipe {
  readonly channels: number;
}

/** Nearly all models take what ImageNet's classifiers do. */
export const imagenetInput: ModelInput = {
  channels: 3,
  resize: 256,
  crop: 224,
  interpolation: 'bilinear',
  antialias: true,
  mean: [0.485, 0.456, 0.406],
  std: [0.229, 0.224, 0.225],
};

/** How a weight file of a model, with whatever head, is told from those of others. */
export interface Telltale {
  /** What messages call a model with such a file: `a VGG`. Default: the model's own name. */
  readonly name?: string | ((file: ReadonlyMap<string, HostTensor>) => string);
  /**
   * Keys that the file has, all of them. Of several telltales that fit, the one with the most keys is right.
   */
  readonly has: readonly string[];
  /** Keys that it has not. */
  readonly lacks?: readonly string[];
  /** Shapes of some of its tensors. */
  readonly shapes?: Readonly<Record<string, Shape>>;
}

/** All that is to be said of a model beside its layers. */
export interface ModelDeclaration<M, O extends ModelOptions> {
  /** torchvision's name where it has the model. */
  readonly name: string;
  readonly construct: (options: O) => M;
  /** Where it differs from {@link imagenetInput}. */
  readonly input?: Partial<ModelInput>;
  readonly telltales?: readonly Telltale[];
  /** Options that go with published weights: googlenet's `transformInput`, ... */
  readonly pretrained?: Partial<O>;
  /** Whose names, keys and layers they are. Default `torchvision`. */
  readonly origin?: string;
}

/** What recognising a weight file takes of a declaration. */
export type Recognisable = Pick<ModelDeclaration<unknown, ModelOptions>, 'name' | 'telltales'>;

/** The models that this program has loaded: a bundle of one need not hold the others to tell their files. */
export const declared: Recognisable[] = [];
