import { snakeCase } from '../nn/base/naming.js';
import { isPlainObject } from '../tensor/options.js';
import { show } from './show.js';

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

const isNone = (value: unknown): boolean => value === null || value === undefined;
const keyOf = (field: string): string => special[field] ?? snakeCase(field);

/** What PyTorch's state dicts hold besides; a scheduler here has it from its constructor, or not at all. */
const pytorchsOwn = [
  ...['verbose', '_get_lr_called_within_step', '_is_initial', 'lr_lambdas', '_milestones'],
  ...['_schedule_phases', 'anneal_func', '_anneal_func_type', 'use_beta1'],
  ...['_scale_fn_custom', '_scale_fn_ref', 'mode_worse'],
];

/** @internal The plain fields of a scheduler. */
export function saveFields(scheduler: object): SchedulerState {
  const state: SchedulerState = {};
  for (const [name, value] of Object.entries(scheduler))
    if (isPlain(value)) state[keyOf(name)] = Array.isArray(value) ? [...value] : value;
  return state;
}

/** @internal A state dict as an object: files give Maps. @throws Error for what is neither */
export function readFields(what: string, state: SavedState): Readonly<Record<string, unknown>> {
  const given: unknown = state;
  if (given instanceof Map) return Object.fromEntries(given as Map<string, unknown>);
  if (isPlainObject(given)) return given;
  throw new Error(`${what}.loadStateDict: expected what stateDict() gave, got ${show(given)}`);
}

/**
 * @internal Takes over all fields of a state dict.
 * @throws Error, and changes nothing, where one is missing, unknown, or of another kind
 */
export function loadFields(scheduler: object, state: SavedState): void {
  const where = `${scheduler.constructor.name}.loadStateDict`;
  const values = readFields(scheduler.constructor.name, state);
  const fields = Object.entries(scheduler).filter(([, value]) => isPlain(value) || isNone(value));
  const missing = fields.filter(([name, value]) => !isNone(value) && !Object.hasOwn(values, keyOf(name)));
  const known = [...fields.map(([name]) => keyOf(name)), ...pytorchsOwn];
  const unknown = Object.keys(values).filter((key) => !known.includes(key));
  if (missing.length + unknown.length > 0) {
    const names = missing.map(([name]) => keyOf(name)).join(', ');
    throw new Error(
      `${where}: the state does not fit; missing: ${names || 'none'}, unexpected: ${unknown.join(', ') || 'none'}; load what stateDict() of the same class gave`,
    );
  }
  const loaded = fields.flatMap(([name, now]): [string, PlainState][] => {
    const key = keyOf(name);
    if (!Object.hasOwn(values, key)) return [];
    const value = ofKind(now, values[key]);
    if (value !== undefined) return [[name, value]];
    throw new Error(`${where}: '${key}' must be ${kindOf(now)}, got ${show(values[key])}`);
  });
  Object.assign(scheduler, Object.fromEntries(loaded));
}

/** A value for a field that holds `now`, of which null may become anything; undefined if it does not fit. */
function ofKind(now: unknown, given: unknown): PlainState | undefined {
  const value = typeof given === 'bigint' ? Number(given) : given;
  if (Array.isArray(value)) {
    if (!isNone(now) && !Array.isArray(now)) return undefined;
    const sample = (now as readonly unknown[] | null | undefined)?.[0];
    const items = value.map((item) => ofKind(sample, item));
    return items.includes(undefined) ? undefined : (items as PlainState[]);
  }
  if (value === null) return isNone(now) ? null : undefined;
  return isPlain(value) && (isNone(now) || typeof now === typeof value) ? value : undefined;
}

const kindOf = (now: unknown): string =>
  Array.isArray(now) ? 'a list' : isNone(now) ? 'plain data' : `a ${typeof now}`;

/** @internal A scheduler's settings and where it stands, for the console. */
export function fieldsOf(scheduler: object): Readonly<Record<string, unknown>> {
  const { baseLrs: _, stepCount: __, lastLr, ...fields } = scheduler as Fields;
  const plain = Object.entries(fields).filter(([, value]) => isPlain(value));
  return { ...Object.fromEntries(plain), lr: lastLr };
}
