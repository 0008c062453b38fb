import { Conv2d, Linear, type Module, type TensorModule } from '../nn/index.js';

/** The layer of a classifier that makes the logits. */
export interface Head {
  /** Its path in the model: `fc`, `linear`, `classifier.6`. */
  readonly path: string;
  /** A Conv2d of 1x1 in SqueezeNet, which averages its logits over the image. */
  readonly layer: Linear | Conv2d;
  /** Features (or channels) that it is given. */
  readonly inFeatures: number;
  /** Classes that it tells apart. */
  readonly outFeatures: number;
}

/** A model with classifiers on the side, which training uses (GoogLeNet, Inception v3). */
export interface WithAuxiliaryHeads {
  /** Paths of the layers that make their logits. */
  auxiliaryHeads(): readonly string[];
}

/**
 * The head of a classifier: its last layer with weights, which must be Linear or a 1x1 Conv2d.
 *
 * @throws Error when it is not
 */
export function findHead(model: Module): Head {
  const layers = model.namedModules().filter(([, module]) => module.parameters(false).length > 0);
  const [path, layer] = layers.at(-1) ?? ['', null];
  const head = layer === null ? null : headOf(path, layer);
  if (head !== null) return head;
  const found =
    layer === null ? 'it has no weights' : `its last layer '${path}' is a ${layer.constructor.name}`;
  const hint = layer instanceof Conv2d ? ' of more than one pixel; assign a new layer yourself' : '';
  throw new Error(
    `findHead: ${model.constructor.name} does not end in a Linear layer or a 1x1 Conv2d: ${found}${hint}`,
  );
}

/** The head of a classifier, and after it those of its auxiliary classifiers. */
export function findHeads(model: Module): Head[] {
  const paths = (model as Partial<WithAuxiliaryHeads>).auxiliaryHeads?.() ?? [];
  const auxiliary = paths.map((path) => headOf(path, model.getSubmodule(path)));
  return [findHead(model), ...auxiliary.filter((head) => head !== null)];
}

/**
 * Puts fresh heads for `numClasses` classes in the place of the old one and of those of auxiliary
 * classifiers, whose memory is freed, and returns the first. The rest keeps its weights. Make the optimizer
 * afterwards.
 */
export function replaceHead(model: Module, numClasses: number): Head {
  const [head] = findHeads(model).map((old) => replace(model, old, numClasses));
  return head as Head;
}

function headOf(path: string, layer: Module): Head | null {
  if (layer instanceof Linear)
    return { path, layer, inFeatures: layer.inFeatures, outFeatures: layer.outFeatures };
  if (layer instanceof Conv2d && layer.kernelSize.every((size) => size === 1) && layer.groups === 1)
    return { path, layer, inFeatures: layer.inChannels, outFeatures: layer.outChannels };
  return null;
}

function replace(model: Module, head: Head, numClasses: number): Head {
  const { path, layer: old, inFeatures } = head;
  if (path === '') throw new Error('replaceHead: the model is a single layer; make a new one instead');
  const parent = model.getSubmodule(path.slice(0, Math.max(0, path.lastIndexOf('.'))));
  const fields = parent as unknown as Record<string, TensorModule>;
  const property = Object.keys(parent).find((key) => fields[key] === (old as TensorModule));
  if (property === undefined) throw new Error(`replaceHead: '${path}' is not a property of its parent`);
  const bias = old.bias !== null;
  const layer =
    old instanceof Linear
      ? new Linear(inFeatures, numClasses, { bias })
      : new Conv2d(inFeatures, numClasses, 1, { bias, stride: old.stride, padding: old.padding });
  layer.train(old.training);
  fields[property] = layer;
  old.dispose();
  return { path, layer, inFeatures, outFeatures: numClasses };
}

/**
 * @internal State-dict keys of the layers that depend on the number of classes; none where the model ends in
 * no such layer.
 */
export function headKeys(model: Module): Set<string> {
  try {
    return new Set(findHeads(model).flatMap(({ path }) => [`${path}.weight`, `${path}.bias`]));
  } catch {
    // Not every model ends in a layer that can be told to be its head; then everything must fit.
    return new Set();
  }
}
