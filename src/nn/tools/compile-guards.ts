import type { Recording } from '../../device/index.js';
import { isTensor } from '../../tensor/tensor.js';
import { internals, type Called, type CallObserver } from '../base/call.js';

type Fields = Record<string, unknown>;

/** What a recording takes for granted of a value on a module. */
function unchanged(value: unknown): (now: unknown) => boolean {
  if (!isTensor(value)) return (now) => Object.is(now, value);
  const { storage, requiresGrad } = value;
  return (now) =>
    now === value && !value.isDisposed && value.storage === storage && value.requiresGrad === requiresGrad;
}

const hasHooks = (module: Called): boolean => {
  const { preHooks, forwardHooks, backwardHooks } = module[internals];
  return preHooks.list.length + forwardHooks.list.length + backwardHooks.list.length > 0;
};

/** Watches the modules that a recorded function calls. */
export class ModuleGuards implements CallObserver {
  readonly passive = true;
  private readonly seen = new Map<Called, ReadonlyMap<string, (now: unknown) => boolean>>();

  /** A module as it is before its first call. */
  enter(module: Called): void {
    if (this.seen.has(module)) return;
    const fields = module as unknown as Fields;
    this.seen.set(module, new Map(Object.keys(fields).map((key) => [key, unchanged(fields[key])])));
  }

  leave(): void {
    // What its call did to it is looked at once all are over.
  }

  enterFused(modules: readonly Called[]): void {
    for (const module of modules) this.enter(module);
  }

  /**
   * Has `recording` hold only while the modules are as they were: settings, training mode, children,
   * parameters and buffers (not their contents). Hooks are JavaScript, which a replay does not run, as is
   * what a call changes of its module.
   */
  guard(recording: Recording): void {
    for (const [module, known] of this.seen) {
      const { name } = module.constructor;
      const fields = module as unknown as Fields;
      if (hasHooks(module)) recording.refuse(`${name} has hooks`);
      const changed = new Set([...known.keys(), ...Object.keys(fields)]);
      for (const key of changed)
        if (known.get(key)?.(fields[key]) !== true)
          recording.refuse(`a call of ${name} changes its '${key}'`);
      recording.guard(() => {
        if (hasHooks(module) || Object.keys(fields).length !== known.size) return false;
        for (const [key, holds] of known) if (!holds(fields[key])) return false;
        return true;
      });
    }
  }
}
