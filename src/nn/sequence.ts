import type { Tensor } from '../tensor/tensor.js';
import { Sequential } from './containers.js';
import { isUnseen, runLayers, type Tail } from './fuse.js';
import type { TensorModule } from './module.js';

/** What `module` calls one after another: its children if it is a Sequential that nobody watches, else itself. A last one is opened in turn. */
function layersOf(module: TensorModule): readonly TensorModule[] {
  const opens = module instanceof Sequential && module.forward === Sequential.prototype.forward;
  if (!opens || !isUnseen(module)) return [module];
  const layers = [...(module as unknown as Sequential)];
  const last = layers.pop();
  return last === undefined ? [] : [...layers, ...layersOf(last)];
}

/**
 * @internal `activation(sequence(x) + residual)` for the ends of residual blocks, in as few launches as {@link runLayers} finds. What is no
 * Sequential, has hooks or a forward of its own is called as it is.
 */
export function runSequence(x: Tensor, sequence: TensorModule, tail: Tail): Tensor {
  return runLayers(x, layersOf(sequence), tail);
}
