import { noMore } from '../../tensor/options.js';
import { noGrad } from '../../autograd/mode.js';
import { clone } from '../../ops/index.js';
import { isTensor } from '../../tensor/tensor.js';
import { checkLoaded, internals } from './call.js';
import { makeCallable, Module, type Fields } from './module.js';
import { Parameter } from './parameter.js';
import { putField } from './tree.js';

/**
 * `copy.deepcopy(model)`: a model of its own with the same values, modes, hooks and sharing within itself.
 * @throws Error when the class of a module has private `#fields` or `#methods`: nobody outside sees them
 */
export function deepcopy<M extends Module>(model: M): M {
  noMore('deepcopy', arguments, 1);
  const memo = new Map<object, object>();
  return noGrad(() => copyValue(model, memo)) as M;
}

function copyValue(value: unknown, memo: Map<object, object>): unknown {
  if (!(value instanceof Module) && (typeof value !== 'object' || value === null)) return value;
  const known = memo.get(value);
  if (known !== undefined) return known;
  const remember = <T extends object>(copy: T): T => {
    memo.set(value, copy);
    return copy;
  };
  if (value instanceof Module) {
    checkPrivate(value);
    return copyModule(value, memo, remember(makeCallable(Object.getPrototypeOf(value) as object)));
  }
  if (isTensor(value)) {
    const copy = clone(value);
    if (!(value instanceof Parameter)) {
      if (value.requiresGrad && value.isLeaf) copy.requiresGrad = true;
      return remember(copy.keep());
    }
    const parameter = new Parameter(copy, { requiresGrad: value.requiresGrad });
    parameter.name = value.name;
    copy.dispose();
    return remember(parameter);
  }
  if (Array.isArray(value)) {
    const copy = remember([] as unknown[]);
    for (const item of value) copy.push(copyValue(item, memo));
    return copy;
  }
  if (value instanceof Map) {
    const copy = remember(new Map<unknown, unknown>());
    for (const [key, item] of value) copy.set(key, copyValue(item, memo));
    return copy;
  }
  if (value instanceof Set) {
    const copy = remember(new Set<unknown>());
    for (const item of value) copy.add(copyValue(item, memo));
    return copy;
  }
  if (Object.getPrototypeOf(value) === Object.prototype) {
    const copy = remember({} as Fields);
    for (const [key, item] of Object.entries(value)) copy[key] = copyValue(item, memo);
    return copy;
  }
  return value;
}

/** Only the text of a class tells of private names; a copy lacks them and would fail where they are used. */
function checkPrivate(module: Module): void {
  let prototype = Object.getPrototypeOf(module) as Module;
  for (; prototype !== Module.prototype; prototype = Object.getPrototypeOf(prototype) as Module) {
    const { constructor } = prototype;
    const [used] = /\bthis\.#[\w$]+/.exec(Function.prototype.toString.call(constructor)) ?? [];
    if (used !== undefined)
      throw new Error(
        `deepcopy: ${constructor.name} uses ${used}, which cannot be copied from outside; make it a field without # (TypeScript's private), or build a second model and load the first one's stateDict()`,
      );
  }
}

function copyModule(from: Module, memo: Map<object, object>, copy: Module): Module {
  checkLoaded(from);
  const [old, fresh] = [from[internals], copy[internals]];
  for (const property of old.parameters) fresh.parameters.add(property);
  for (const [property, persistent] of old.buffers) fresh.buffers.set(property, persistent);
  if (old.order !== undefined) fresh.order = old.order;
  fresh.preHooks.list.push(...old.preHooks.list);
  fresh.forwardHooks.list.push(...old.forwardHooks.list);
  fresh.backwardHooks.list.push(...old.backwardHooks.list);
  for (const [property, value] of Object.entries(from)) putField(copy, property, copyValue(value, memo));
  return copy;
}
