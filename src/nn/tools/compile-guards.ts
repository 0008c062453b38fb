import type { Recording } from '../../device/index.js';
import { isTensor } from '../../tensor/tensor.js';
import { internals, type Called, type CallObserver } from '../base/call.js';
import { livingModules } from '../base/living.js';

type Fields = Record<string, unknown>;
type Holds = (now: unknown) => boolean;

const isModule = (value: unknown): value is Called => typeof value === 'function' && internals in value;

/** How deep settings are compared (`module.config.heads[0].size`). */
const maxDepth = 4;

/** What a recording takes for granted of a value on a module: that it is the same, and in it too. */
function unchanged(value: unknown, depth = 0): Holds {
  if (isTensor(value)) {
    const { storage, requiresGrad } = value;
    return (now) =>
      now === value && !value.isDisposed && value.storage === storage && value.requiresGrad === requiresGrad;
  }
  if (typeof value !== 'object' || value === null || depth === maxDepth)
    return (now) => Object.is(now, value);
  if (value instanceof Map || value instanceof Set) {
    const entries = (): unknown[] => [...value.keys(), ...value.values()];
    const known = entries().map((entry) => unchanged(entry, depth + 1));
    return (now) => {
      if (now !== value) return false;
      const found = entries();
      return found.length === known.length && known.every((holds, i) => holds(found[i]));
    };
  }
  const object = value as Fields;
  const known = new Map(Object.keys(object).map((key) => [key, unchanged(object[key], depth + 1)]));
  return (now) => now === value && sameFields(object, known);
}

function sameFields(fields: Fields, known: ReadonlyMap<string, Holds>): boolean {
  if (Object.keys(fields).length !== known.size) return false;
  for (const [key, holds] of known) if (!(key in fields) || !holds(fields[key])) return false;
  return true;
}

const hasHooks = (module: Called): boolean => {
  const { preHooks, forwardHooks, backwardHooks } = module[internals];
  return preHooks.list.length + forwardHooks.list.length + backwardHooks.list.length > 0;
};

/** Whether `wanted` finds something in a module's fields, in arrays and objects too, not in children. */
function holds(fields: unknown, wanted: (value: unknown) => boolean, depth = 0): boolean {
  return Object.values(fields as Fields).some(
    (value) =>
      wanted(value) ||
      (typeof value === 'object' &&
        value !== null &&
        !isTensor(value) &&
        depth < maxDepth &&
        holds(value, wanted, depth + 1)),
  );
}

/** Looks at all modules before a function is recorded, and at those that it calls. */
export class ModuleGuards implements CallObserver {
  readonly passive = true;
  private readonly called = new Set<Called>();
  private readonly before = new Map(
    livingModules().map((module) => {
      const fields = module as unknown as Fields;
      return [module, new Map(Object.keys(fields).map((key) => [key, unchanged(fields[key])]))];
    }),
  );

  enter(module: Called): void {
    this.called.add(module);
  }

  leave(): void {
    // What its call did to it is looked at once all are over.
  }

  enterFused(modules: readonly Called[]): void {
    for (const module of modules) this.enter(module);
  }

  /**
   * Has `recording` hold only while modules are as they were: settings, training mode, children, parameters
   * and buffers (not their contents). Those that were called, those that own what was used, and those that
   * own these. Hooks are JavaScript, which a replay does not run, as is what a call changes of its module.
   */
  guard(recording: Recording): void {
    for (const module of this.concerned(recording)) {
      const known = this.before.get(module);
      if (known === undefined) continue;
      const { name } = module.constructor;
      const fields = module as unknown as Fields;
      if (hasHooks(module)) recording.refuse(`${name} has hooks`);
      for (const key of new Set([...known.keys(), ...Object.keys(fields)]))
        if (known.get(key)?.(fields[key]) !== true)
          recording.refuse(`a call of ${name} changes its '${key}'`);
      recording.guard(
        () => module[internals].loading === null && !hasHooks(module) && sameFields(fields, known),
      );
    }
  }

  private concerned(recording: Recording): ReadonlySet<Called> {
    const found = new Set(this.called);
    const used = (value: unknown): boolean =>
      (isTensor(value) && !value.isDisposed && recording.uses(value.deviceBuffer)) ||
      (isModule(value) && found.has(value));
    for (let size = -1; size !== found.size;) {
      size = found.size;
      for (const module of this.before.keys())
        if (!found.has(module) && holds(module, used)) found.add(module);
    }
    return found;
  }
}
