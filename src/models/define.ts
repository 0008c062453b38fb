import type { Module, TensorModule } from '../nn/index.js';
import { loadPretrained, type PretrainedOptions, type WeightsSource } from './pretrained.js';

/** What every model takes; most take more (dropout, ...). */
export interface ModelOptions {
  /** Outputs of the last layer. Default 1000, or what the named weights have. */
  numClasses?: number;
}

/** No weights: a fresh model, at once. */
type Fresh = { weights?: null | undefined };

/**
 * Makes a model. `resnet18({ numClasses: 10 })` is fresh and there at once; `await resnet18({ weights: 'IMAGENET1K_V1' })`
 * is pretrained: weights are the name of an entry of the manifest, `DEFAULT`, a path (Node), a URL, bytes or a checkpoint.
 */
export interface ModelBuilder<M extends Module = TensorModule, O extends ModelOptions = ModelOptions> {
  (options?: O & Fresh): M;
  (options: O & PretrainedOptions): Promise<M>;
  /** torchvision's name, as in `models.list()`. */
  readonly modelName: string;
}

/** One model under its torchvision name. */
export function defineModel<M extends Module, O extends ModelOptions = ModelOptions>(
  modelName: string,
  construct: (options: O) => M,
  settings: {
    /** Options that go with torchvision's own weights: googlenet's `transformInput`, ... */
    readonly pretrained?: Partial<O>;
  } = {},
): ModelBuilder<M, O> {
  const build = (options?: O & { weights?: WeightsSource | null | undefined }): M | Promise<M> => {
    const { weights, ...rest } = options ?? ({} as O & Fresh);
    const own = rest as unknown as O;
    if (weights === undefined || weights === null) return construct(own);
    return loadPretrained<M, O>({ modelName, construct, defaults: settings.pretrained ?? {} }, own, {
      ...(rest as Partial<PretrainedOptions>),
      weights,
    });
  };
  return Object.defineProperty(build, 'modelName', { value: modelName }) as ModelBuilder<M, O>;
}
