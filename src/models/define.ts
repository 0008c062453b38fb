import type { Module, TensorModule } from '../nn/index.js';
import {
  declared,
  imagenetInput,
  type ModelDeclaration,
  type ModelInput,
  type ModelOptions,
} from './declaration.js';
import { buildPretrained, type PretrainedOptions, type WeightsSource } from './pretrained.js';

/** No weights: a fresh model, at once. */
type Fresh = { weights?: null | undefined };

/**
 * Makes a model. `resnet18({ numClasses: 10 })` is fresh and there at once;
 * `await resnet18({ weights: 'IMAGENET1K_V1' })` is pretrained: weights are the name of an entry of the
 * manifest, `DEFAULT`, a path (Node), a URL, bytes or a checkpoint.
 */
export interface ModelBuilder<M extends Module = TensorModule, O extends ModelOptions = ModelOptions> {
  (options?: O & Fresh): M;
  (options: O & PretrainedOptions): Promise<M>;
  /** torchvision's name, as in `models.list()`. */
  readonly modelName: string;
  /** The images that it is made for. */
  readonly input: ModelInput;
  /** Options that go with published weights. */
  readonly pretrained: Readonly<Partial<O>>;
  /** Whose names, keys and layers they are: `torchvision`, or an address. */
  readonly origin: string;
}

/** One model, as its declaration has it. */
export function defineModel<M extends Module, O extends ModelOptions = ModelOptions>(
  declaration: ModelDeclaration<M, O>,
): ModelBuilder<M, O> {
  const { name, construct, input = {}, pretrained = {}, origin = 'torchvision' } = declaration;
  declared.push(declaration);
  const build = (options?: O & { weights?: WeightsSource | null | undefined }): M | Promise<M> => {
    const { weights, ...rest } = options ?? ({} as O & Fresh);
    const own = rest as unknown as O;
    if (weights === undefined || weights === null) return construct(own);
    return buildPretrained(declaration, own, { ...(rest as Partial<PretrainedOptions>), weights });
  };
  const facts = { modelName: name, input: { ...imagenetInput, ...input }, pretrained, origin };
  return Object.assign(build, facts) as ModelBuilder<M, O>;
}
