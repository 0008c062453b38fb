/** Where in a file its state dict is, and which keys it has without what wrappers put into them. */

import { CheckpointError, quoteKey } from './errors.js';
import { HostTensor } from './host-tensor.js';
import { OpaqueObject } from './pickle-types.js';
import { keyText } from './render.js';
import type { PlainValue } from './torch-values.js';

type Dict = Map<PlainValue, PlainValue>;

/** Several entries could be meant: the message lists them, and `choices` are what the option `key` may be. */
export class UnclearStateDictError extends CheckpointError {
  constructor(
    message: string,
    readonly choices: readonly (readonly string[])[],
  ) {
    super(message);
  }
}

/** Usual names of a nested state dict. */
const usualKeys = new Set([
  'state_dict',
  'model_state_dict',
  'model_state',
  'model',
  'net',
  'network',
  'weights',
  'params',
  'state_dict_ema',
  'model_ema',
  'params_ema',
  'ema_state_dict',
  'ema',
]);

/** Entries that hold tensors too, but no model's. */
const noModel = /optim|sched|scaler|callback|(^|_)(ema|swa)_(state|decay)|rng|random/i;

/** How deep, and among how many dicts, a state dict is looked for. */
const deepest = 4;
const mostDicts = 10_000;
const mostChoices = 8;

function isStateDict(value: PlainValue | undefined): value is Map<string, PlainValue> {
  if (!(value instanceof Map)) return false;
  let tensors = 0;
  for (const [key, item] of value) {
    if (typeof key !== 'string') return false;
    if (item instanceof HostTensor) tensors++;
  }
  return tensors > 0;
}

/**
 * The path of keys to the file's one state dict: an entry under a usual name, the file itself, or the one
 * dict of tensors that is nearest to the top, one under a usual name before others.
 *
 * @throws CheckpointError where there is none, {@link UnclearStateDictError} where there are several
 */
export function findStateDict(root: Dict, name: string): readonly string[] {
  const usual = [...usualKeys].filter((key) => isStateDict(root.get(key)));
  if (usual.length === 1) return usual;
  if (usual.length === 0 && (isStateDict(root) || root.size === 0)) return [];
  const found = usual.length > 0 ? usual.map((key) => [key]) : nearestStateDicts(root);
  const [first] = found;
  if (first === undefined) throw new CheckpointError(`${name}: ${nothingFound(root)}`);
  if (found.length === 1) return first;
  const paths = found.slice(0, mostChoices).map((path) => quoteKey(path.join('.')));
  const more = found.length > mostChoices ? ` and ${found.length - mostChoices} more` : '';
  throw new UnclearStateDictError(
    `${name}: several entries hold a state dict: ${paths.join(', ')}${more}; choose one, e.g. { key: ${optionOf(first)} }`,
    found,
  );
}

/** A path as the option `key` is written. */
const optionOf = (path: readonly string[]): string =>
  path.length === 1 ? quoteKey(path[0]!) : `[${path.map((step) => quoteKey(step)).join(', ')}]`;

/**
 * Paths to the dicts of tensors that are fewest steps below the top; those under usual names alone, if there
 * are any.
 */
function nearestStateDicts(root: Dict): string[][] {
  let level: { dict: Dict; path: string[] }[] = [{ dict: root, path: [] }];
  const seen = new Set<Dict>([root]);
  for (let depth = 0; depth < deepest && level.length > 0; depth++) {
    const next: typeof level = [];
    const found: string[][] = [];
    for (const { dict, path } of level)
      for (const [key, value] of dict) {
        if (typeof key !== 'string' || !(value instanceof Map) || noModel.test(key)) continue;
        if (seen.has(value) || seen.size >= mostDicts) continue;
        seen.add(value);
        const below = [...path, key];
        if (isStateDict(value)) found.push(below);
        else next.push({ dict: value, path: below });
      }
    const usual = found.filter((path) => usualKeys.has(path[path.length - 1]!));
    if (found.length > 0) return usual.length > 0 ? usual : found;
    level = next;
  }
  return [];
}

function nothingFound(root: Dict): string {
  const objects = [...root].filter(([, value]) => value instanceof OpaqueObject).slice(0, mostChoices);
  const listed = `the file holds ${listKeys(root)}`;
  if (objects.length === 0) return `no state dict found; ${listed}`;
  const classes = objects.map(
    ([key, value]) => `${quoteKey(keyText(key))} of class ${(value as OpaqueObject).className}`,
  );
  return (
    `no state dict found; ${listed}. It has pickled objects (${classes.join(', ')}), and the weights in a pickled module cannot ` +
    'be read without running its class; nothing was executed. Save them in Python: torch.save(model.state_dict(), path)'
  );
}

/** Follows `key`; what lies beside the path goes to `extra`. */
export function descend(root: Dict, key: readonly string[], name: string) {
  const extra = new Map<string, PlainValue>();
  let dict = root;
  for (const [depth, step] of key.entries()) {
    const next = dict.get(step);
    if (!(next instanceof Map)) {
      const where = depth === 0 ? 'the file' : quoteKey(key.slice(0, depth).join('.'));
      const problem =
        next === undefined
          ? `no entry ${quoteKey(step)}`
          : `${kindOf(next)} at ${quoteKey(step)}, not a state dict`;
      throw new CheckpointError(`${name}: ${where} has ${problem}; it holds ${listKeys(dict)}`);
    }
    for (const [entry, value] of dict) {
      if (entry !== step) extra.set([...key.slice(0, depth), keyText(entry)].join('.'), value);
    }
    dict = next;
  }
  return { dict, extra };
}

/** What wrappers of modules call the module in them: DataParallel, AveragedModel; torch.compile. */
const wrapperNames = new Set(['module', '_orig_mod']);
/** What a wrapper holds beside its module: the counter of an AveragedModel. */
const besideModule = new Set(['n_averaged']);

interface Branch {
  readonly children: Map<string, Branch>;
}

/**
 * Paths of the modules that are wrappers: whose one child is called `module` or `_orig_mod` and who have
 * nothing else, but the counter of an averaged model. In the order of their depth.
 */
export function findWrappers(keys: Iterable<string>): string[] {
  const all = [...keys];
  if (!all.some((key) => /(^|\.)(module|_orig_mod)\./.test(key))) return [];
  const root: Branch = { children: new Map() };
  for (const key of all) {
    let at = root;
    for (const step of key.split('.', deepestModule)) {
      let next = at.children.get(step);
      if (next === undefined) at.children.set(step, (next = { children: new Map() }));
      at = next;
    }
  }
  const wrappers: string[] = [];
  const queue: { branch: Branch; path: string }[] = [{ branch: root, path: '' }];
  for (const { branch, path } of queue) {
    const steps = [...branch.children.keys()].filter((step) => !besideModule.has(step));
    const [only] = steps;
    const inner = only === undefined ? undefined : branch.children.get(only);
    if (steps.length === 1 && only !== undefined && wrapperNames.has(only) && inner!.children.size > 0)
      wrappers.push(path + only);
    for (const [step, child] of branch.children)
      if (child.children.size > 0) queue.push({ branch: child, path: `${path}${step}.` });
  }
  return wrappers;
}

// No module is nested deeper; a key of a million dots takes no more time than others.
const deepestModule = 32;

/** A key without the wrappers' own steps: `features.module.0.weight` becomes `features.0.weight`. */
export function withoutWrappers(key: string, wrappers: ReadonlySet<string>): string {
  let kept = '';
  let from = 0;
  for (let depth = 0; depth < deepestModule; depth++) {
    const dot = key.indexOf('.', from);
    if (dot < 0) break;
    if (!wrappers.has(key.slice(0, dot))) kept += key.slice(from, dot + 1);
    from = dot + 1;
  }
  return kept + key.slice(from);
}

export function kindOf(value: PlainValue): string {
  if (value instanceof HostTensor) return `one tensor of shape [${value.shape.join(', ')}]`;
  if (value instanceof OpaqueObject) return `an object of the Python class ${value.className}`;
  if (Array.isArray(value)) return `a list of ${value.length} items`;
  if (value instanceof Map) return 'a dict';
  if (value instanceof Set) return 'a set';
  if (value instanceof Uint8Array) return 'bytes';
  return value === null ? 'None' : `a ${typeof value}`;
}

export function listKeys(map: ReadonlyMap<unknown, unknown>): string {
  const keys: string[] = [];
  for (const key of map.keys()) {
    if (keys.length === 8) break;
    keys.push(quoteKey(keyText(key), 60));
  }
  if (keys.length === 0) return 'nothing';
  return keys.join(', ') + (map.size > keys.length ? ` and ${map.size - keys.length} more` : '');
}
