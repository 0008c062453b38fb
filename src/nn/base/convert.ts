import { noGrad } from '../../autograd/mode.js';
import { to } from '../../ops/index.js';
import { isFloatingPoint, type DType } from '../../tensor/dtype.js';
import type { Tensor } from '../../tensor/tensor.js';
import { checkLoaded, type Called } from './call.js';
import { Parameter } from './parameter.js';
import { ownBuffers, ownParameters } from './tree.js';

/** @internal What `module.to(dtype)` does to `modules`, a whole tree. */
export function convert(modules: readonly Called[], dtype: DType): void {
  if (!isFloatingPoint(dtype))
    throw new Error(`to: a module is converted to float32 or float16, not to ${dtype}`);
  modules.forEach(checkLoaded);
  const done = new Map<Tensor, Tensor>();
  for (const module of modules) {
    const fields = module as unknown as Record<string, unknown>;
    for (const [, tensor, property] of [...ownParameters(module), ...ownBuffers(module)]) {
      if (!isFloatingPoint(tensor.dtype) || tensor.dtype === dtype) continue;
      let converted = done.get(tensor);
      if (converted === undefined) done.set(tensor, (converted = noGrad(() => replacement(tensor, dtype))));
      fields[property] = converted;
    }
  }
  for (const tensor of done.keys()) {
    if (tensor.leafGrad !== null) tensor.grad = null;
    tensor.dispose();
  }
}

function replacement(tensor: Tensor, dtype: DType): Tensor {
  const values = to(tensor, dtype);
  if (!(tensor instanceof Parameter)) return values.keep();
  const parameter = new Parameter(values, { requiresGrad: tensor.requiresGrad });
  values.dispose();
  parameter.name = tensor.name;
  // The same list: the handles of its hooks take them out of it.
  parameter.hooks = tensor.hooks;
  if (tensor.leafGrad !== null) parameter.leafGrad = to(tensor.leafGrad, dtype).keepAsGrad();
  return parameter;
}
