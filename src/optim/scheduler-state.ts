import { snakeCase } from '../nn/naming.js';

/** Values under PyTorch's names; plain numbers, strings and arrays of them. */
export type SchedulerState = Record<string, unknown>;

type Fields = Record<string, unknown>;

const special: Readonly<Record<string, string>> = {
  stepCount: '_step_count',
  lastLr: '_last_lr',
  tMax: 'T_max',
};
const isPlain = (value: unknown): boolean =>
  ['number', 'string', 'boolean'].includes(typeof value) || (Array.isArray(value) && value.every(isPlain));

/** @internal The plain fields of a scheduler. */
export function saveFields(scheduler: object): SchedulerState {
  const entries = Object.entries(scheduler).filter(([, value]) => isPlain(value));
  return Object.fromEntries(
    entries.map(([name, value]) => [
      special[name] ?? snakeCase(name),
      Array.isArray(value) ? [...(value as unknown[])] : (value as unknown),
    ]),
  );
}

/** @internal Takes over those fields that the scheduler has, where the kind of value is the same. */
export function loadFields(scheduler: object, state: SchedulerState | ReadonlyMap<string, unknown>): void {
  const values: SchedulerState =
    state instanceof Map ? Object.fromEntries(state as Map<string, unknown>) : (state as SchedulerState);
  for (const name of Object.keys(saveFields(scheduler))) {
    const field = Object.keys(scheduler).find((key) => (special[key] ?? snakeCase(key)) === name) as string;
    const value = values[name];
    if (isPlain(value) && Array.isArray(value) === Array.isArray((scheduler as Fields)[field]))
      (scheduler as Fields)[field] = value;
  }
}
