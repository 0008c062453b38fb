import { snakeCase } from '../nn/base/naming.js';

/** What any file format can hold. */
export type PlainState =
  null | boolean | number | string | readonly PlainState[] | { [name: string]: PlainState };

/** Values under PyTorch's names. */
export type SchedulerState = { [name: string]: PlainState };

/** A scheduler's state dict as files give it back. */
export type SavedState = Readonly<Record<string, unknown>> | ReadonlyMap<string, unknown>;

type Fields = Record<string, unknown>;

const special: Readonly<Record<string, string>> = {
  stepCount: '_step_count',
  lastLr: '_last_lr',
  tMax: 'T_max',
  t0: 'T_0',
  tI: 'T_i',
  tMult: 'T_mult',
  tCur: 'T_cur',
};
const isPlain = (value: unknown): value is PlainState =>
  ['number', 'string', 'boolean'].includes(typeof value) || (Array.isArray(value) && value.every(isPlain));

/** @internal The plain fields of a scheduler. */
export function saveFields(scheduler: object): SchedulerState {
  const state: SchedulerState = {};
  for (const [name, value] of Object.entries(scheduler)) {
    if (isPlain(value)) state[special[name] ?? snakeCase(name)] = Array.isArray(value) ? [...value] : value;
  }
  return state;
}

/** @internal A state dict as an object: files give Maps. */
export function readFields(state: SavedState): Readonly<Record<string, unknown>> {
  return state instanceof Map
    ? Object.fromEntries(state as Map<string, unknown>)
    : (state as Readonly<Record<string, unknown>>);
}

/** @internal Takes over those fields that the scheduler has, where the kind of value is the same. */
export function loadFields(scheduler: object, state: SavedState): void {
  const values = readFields(state);
  for (const name of Object.keys(saveFields(scheduler))) {
    const field = Object.keys(scheduler).find((key) => (special[key] ?? snakeCase(key)) === name) as string;
    const value = values[name];
    if (isPlain(value) && Array.isArray(value) === Array.isArray((scheduler as Fields)[field]))
      (scheduler as Fields)[field] = Array.isArray(value) ? [...(value as unknown[])] : value;
  }
}
