import { Conv2d, Linear, type Module, type TensorModule } from '../nn/index.js';

/** The layer of a classifier that makes the logits. */
export interface Head {
  /** Its path in the model: `fc`, `linear`, `classifier.6`. */
  readonly path: string;
  readonly layer: Linear;
}

/**
 * The head of a classifier: its last layer with weights, which must be Linear.
 *
 * @throws Error when it is not
 */
export function findHead(model: Module): Head {
  const layers = model.namedModules().filter(([, module]) => module.parameters(false).length > 0);
  const [path, layer] = layers.at(-1) ?? ['', null];
  if (layer instanceof Linear) return { path, layer };
  const found =
    layer === null ? 'it has no weights' : `its last layer '${path}' is a ${layer.constructor.name}`;
  const hint = layer instanceof Conv2d ? '; assign a new Conv2d yourself' : '';
  throw new Error(`findHead: ${model.constructor.name} does not end in a Linear layer: ${found}${hint}`);
}

/**
 * Puts a fresh head for `numClasses` classes in the place of the old one, whose memory is freed, and returns it. The rest
 * keeps its weights. Make the optimizer afterwards.
 */
export function replaceHead(model: Module, numClasses: number): Head {
  const { path, layer: old } = findHead(model);
  if (path === '') throw new Error('replaceHead: the model is a single Linear layer; make a new one instead');
  const layer = new Linear(old.inFeatures, numClasses, { bias: old.bias !== null });
  layer.train(old.training);
  const parent = model.getSubmodule(path.slice(0, Math.max(0, path.lastIndexOf('.'))));
  const fields = parent as unknown as Record<string, TensorModule>;
  const property = Object.keys(parent).find((key) => fields[key] === (old as TensorModule));
  if (property === undefined) throw new Error(`replaceHead: '${path}' is not a property of its parent`);
  fields[property] = layer;
  old.dispose();
  return { path, layer };
}
