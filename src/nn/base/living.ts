import type { Called } from './call.js';

/** Every module that is alive. */
const modules = new Set<WeakRef<Called>>();

/** @internal */
export const noteModule = (module: Called): void => void modules.add(new WeakRef(module));

/** @internal */
export function livingModules(): Called[] {
  const alive: Called[] = [];
  for (const reference of modules) {
    const module = reference.deref();
    if (module === undefined) modules.delete(reference);
    else alive.push(module);
  }
  return alive;
}
