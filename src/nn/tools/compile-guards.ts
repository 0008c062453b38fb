import type { Recording } from '../../device/index.js';
import { isTensor } from '../../tensor/tensor.js';
import { internals, type Called } from '../base/call.js';

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

/**
 * Has `recording` hold only while the modules that it called are as they are now: settings, training mode,
 * children, parameters and buffers (not their contents). Hooks are JavaScript, which a replay does not run.
 */
export function guardModules(recording: Recording, modules: Iterable<Called>): void {
  for (const module of modules) {
    if (hasHooks(module)) recording.refuse(`${module.constructor.name} has hooks`);
    const fields = module as unknown as Fields;
    const known = Object.keys(fields).map((key) => [key, unchanged(fields[key])] as const);
    recording.guard(() => {
      if (hasHooks(module)) return false;
      const keys = Object.keys(fields);
      return keys.length === known.length && known.every(([key, holds]) => holds(fields[key]));
    });
  }
}
