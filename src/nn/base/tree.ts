import { optionReader, type Trailing } from '../../tensor/options.js';
import { isTensor, type Tensor } from '../../tensor/tensor.js';
import { internals, isModule, propertiesOf, type Called } from './call.js';
import { Parameter } from './parameter.js';

/** How the tree of modules is read: what a module holds, and what all below it do. */

/** Paths and what is there. */
export type Named<T> = [name: string, value: T][];

export interface WalkOptions {
  /** Stands before each path. Default: none. */
  prefix?: string;
  /** Name what is there several times only once. Default true. */
  removeDuplicate?: boolean;
}
export interface MemberOptions extends WalkOptions {
  /** Those of all modules below too. Default true. */
  recurse?: boolean;
}
export type MemberArgs = Trailing<
  [prefix: string, recurse: boolean, removeDuplicate: boolean],
  MemberOptions
>;
export type RecurseArgs = Trailing<[recurse: boolean], { recurse?: boolean }>;

/** @internal @throws Error unless `property` may name a `what` of `module`: new, or it `replaces` one */
export function checkProperty(
  op: string,
  what: string,
  module: Called,
  property: unknown,
  replaces: boolean,
): void {
  if (typeof property !== 'string' || property === '' || property.includes('.'))
    throw new Error(`${op}: '${String(property)}' cannot name a ${what}; use a name without '.'`);
  if (!replaces && (module as unknown as Record<string, unknown>)[property] !== undefined)
    throw new Error(`${op}: ${module.constructor.name} already has a property '${property}'`);
}

/** @internal Assigns `value`, one of `kind` or null, as `op` does. */
export function assign(
  op: string,
  kind: abstract new (...args: never) => object,
  module: Called,
  property: string,
  value: unknown,
): void {
  const fields = module as unknown as Record<string, unknown>;
  checkProperty(op, kind.name, module, property, fields[property] instanceof kind);
  if (value !== null && !(value instanceof kind))
    throw new Error(`${op}: '${property}' must be a ${kind.name} or null, got ${String(value)}`);
  putField(module, property, value);
}

/** @internal A new property, or a new value of one, whatever the module makes of assignments. */
export function putField(module: Called, property: string, value: unknown): void {
  Object.defineProperty(module, property, { value, writable: true, enumerable: true, configurable: true });
}

/** @internal */
export const readModules = optionReader(
  'namedModules',
  { prefix: '', removeDuplicate: true },
  'prefix',
  'removeDuplicate',
);
const memberReader = (op: string): ((args: readonly unknown[]) => Required<MemberOptions>) =>
  optionReader(
    op,
    { prefix: '', recurse: true, removeDuplicate: true },
    'prefix',
    'recurse',
    'removeDuplicate',
  );
/** @internal */
export const readNamedParameters = memberReader('namedParameters');
/** @internal */
export const readNamedBuffers = memberReader('namedBuffers');
/** @internal */
export const readParameters = optionReader('parameters', { recurse: true }, 'recurse');
/** @internal */
export const readBuffers = optionReader('buffers', { recurse: true }, 'recurse');
type Keyed = { stateKey(property: string): string };
type Entry<T> = readonly [key: string, value: T, property: string];

function own<T>(module: Called, is: (value: unknown, property: string) => value is T): Entry<T>[] {
  const entries: Entry<T>[] = [];
  const fields = module as unknown as Readonly<Record<string, unknown>>;
  for (const property of propertiesOf(module)) {
    const value = fields[property];
    if (is(value, property)) entries.push([(module as unknown as Keyed).stateKey(property), value, property]);
  }
  return entries;
}

/** @internal Children as they are: a module that is there twice comes twice. */
export const ownChildren = <M extends Called>(module: M): Entry<M>[] =>
  own(module, isModule as (value: unknown) => value is M);

/**
 * @internal Layers are read once when they are made, other modules when somebody first asks, so that a plain
 * tensor that is assigned later is noticed: it would be neither trained nor saved.
 *
 * @throws Error where a plain tensor, no buffer, stands in a parameter's place
 */
export function ownParameters(module: Called): Entry<Parameter>[] {
  const { parameters, buffers } = module[internals];
  return own(module, (value, property): value is Parameter => {
    if (value instanceof Parameter) parameters.add(property);
    else if (isTensor(value) && parameters.has(property) && !buffers.has(property))
      throw new Error(
        `${module.constructor.name}: '${property}' was a Parameter and is a plain tensor now, which is neither ` +
          'trained nor saved; assign new nn.Parameter(tensor), or null',
      );
    return value instanceof Parameter;
  });
}

/** @internal Ends the constructor of a layer that has parameters. */
export const noteParameters = (module: Called): void => void ownParameters(module);

/** @internal The child `name` of `parent`, on the way to `path`. @throws Error naming what there is */
export function childNamed<M extends Called>(parent: M, name: string, path: string): M {
  const children = ownChildren(parent);
  const fields = parent as unknown as Readonly<Record<string, unknown>>;
  const child = children.find(([key]) => key === name)?.[1] ?? fields[name];
  if (isModule(child)) return child as M;
  throw new Error(
    `getSubmodule: '${path}' does not exist: ${parent.constructor.name} has no child '${name}' ` +
      `(it has: ${children.map(([key]) => key).join(', ') || 'none'})`,
  );
}

/** @internal */
export function ownBuffers(module: Called): Entry<Tensor>[] {
  const { buffers } = module[internals];
  return own(module, (value, property): value is Tensor => buffers.has(property) && isTensor(value));
}

const join = (prefix: string, name: string): string => (prefix === '' ? name : `${prefix}.${name}`);

/** @internal */
export function walk<M extends Called>(
  root: M,
  { prefix, removeDuplicate }: Required<WalkOptions>,
): [string, M][] {
  const seen = new Set<M>();
  const found: [string, M][] = [];
  const visit = (module: M, path: string): void => {
    if (removeDuplicate && seen.has(module)) return;
    seen.add(module);
    found.push([path, module]);
    for (const [key, child] of ownChildren(module)) visit(child, join(path, key));
  };
  visit(root, prefix);
  return found;
}

/** @internal */
export function collect<T>(
  root: Called,
  options: Required<MemberOptions>,
  members: (module: Called) => readonly Entry<T>[],
): Named<T> {
  const seen = new Set<T>();
  const found: Named<T> = [];
  for (const [path, module] of options.recurse ? walk(root, options) : [[options.prefix, root] as const]) {
    for (const [name, value] of members(module)) {
      if (options.removeDuplicate && seen.has(value)) continue;
      seen.add(value);
      found.push([join(path, name), value]);
    }
  }
  return found;
}
