/** Datasets and transforms as plain data, to make them again in another thread. */

import type { Dataset } from '../dataset.js';
import type { ModuleExport, Portable } from '../portable.js';
import * as transforms from '../transforms.js';

/** What {@link encode} makes: structured clones of it can be decoded. */
export type Spec =
  | { readonly kind: 'value'; readonly value: unknown }
  | { readonly kind: 'list'; readonly items: readonly Spec[] }
  | { readonly kind: 'record'; readonly entries: readonly (readonly [string, Spec])[] }
  | { readonly kind: 'transform'; readonly name: string; readonly args: readonly Spec[] }
  | { readonly kind: 'lambda'; readonly module: string; readonly name: string }
  | {
      readonly kind: 'import';
      readonly module: string;
      readonly name: string;
      readonly args: readonly Spec[];
    };

/** A dataset that notes which files it left out. */
export interface Skipping {
  readonly skipped: Map<string, string>;
}

/** kindling's own transforms, which every worker has. */
const nameOfClass = new Map<unknown, string>(
  Object.entries(transforms).map(([name, value]) => [value, name]),
);

const sharedFrom = 1 << 20;

/** Large arrays are put where all workers can read them, instead of being copied for each. */
function share(bytes: Uint8Array): Uint8Array {
  if (bytes.length < sharedFrom || bytes.buffer instanceof SharedArrayBuffer) return bytes;
  const shared = new Uint8Array(new SharedArrayBuffer(bytes.length));
  shared.set(bytes);
  return shared;
}

const isSkipping = (value: unknown): value is Skipping =>
  typeof value === 'object' && value !== null && 'skipped' in value && value.skipped instanceof Map;

function refuse(what: string, instead: string): Error {
  return new Error(
    `DataLoader: ${what} cannot be sent to worker threads; ${instead}, or leave out numWorkers`,
  );
}

/**
 * Describes a dataset or transform.
 * @param skipping collects the datasets that note left-out files, in the order in which `decode` meets them
 * @throws Error naming what cannot be sent
 */
export function encode(value: unknown, skipping: Skipping[]): Spec {
  if (value instanceof Uint8Array) return { kind: 'value', value: share(value) };
  if (ArrayBuffer.isView(value) || value instanceof URL) {
    return { kind: 'value', value: value instanceof URL ? value.href : value };
  }
  if (Array.isArray(value)) return { kind: 'list', items: value.map((item) => encode(item, skipping)) };
  if (value === null || (typeof value !== 'object' && typeof value !== 'function')) {
    return { kind: 'value', value };
  }
  if (value instanceof transforms.Lambda && value.origin !== undefined) {
    return { kind: 'lambda', module: String(value.origin.module), name: value.origin.name };
  }
  const { source, settings } = value as Portable;
  const args = (): Spec[] => (settings?.call(value) ?? []).map((item) => encode(item, skipping));
  const builtIn = nameOfClass.get(value.constructor);
  if (builtIn !== undefined) return { kind: 'transform', name: builtIn, args: args() };
  const found: ModuleExport | undefined = typeof source === 'function' ? source.call(value) : undefined;
  if (found !== undefined) {
    if (isSkipping(value)) skipping.push(value);
    return { kind: 'import', module: String(found.module), name: found.name, args: args() };
  }
  if (typeof value === 'function' && !(value instanceof transforms.Transform)) {
    throw refuse(
      `the function ${value.name || '(unnamed)'}`,
      "export it from a module of its own and write new transforms.Lambda(f, { module: import.meta.url, name: 'f' })",
    );
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) {
    throw refuse(
      value.constructor?.name || 'an object of an unnamed class',
      'export its class from a module of its own and give it `source() { return { module: import.meta.url, name: ... }; }` ' +
        'and `settings()`, its constructor arguments',
    );
  }
  const entries = Object.entries(value);
  return { kind: 'record', entries: entries.map(([key, item]) => [key, encode(item, skipping)] as const) };
}

async function importFrom({ module, name }: { module: string; name: string }): Promise<unknown> {
  const found = ((await import(module)) as Record<string, unknown>)[name];
  if (typeof found !== 'function') {
    throw new Error(
      `DataLoader: ${module} exports no function or class ${name}, which a worker thread needs`,
    );
  }
  return found;
}

const isClass = (value: unknown): boolean => /^class\b/.test(Function.prototype.toString.call(value));

/** Makes what {@link encode} described. */
export async function decode(spec: Spec, skipping: Skipping[]): Promise<unknown> {
  const all = async (specs: readonly Spec[]): Promise<unknown[]> => {
    const values: unknown[] = [];
    // One after the other, so that `skipping` has encode's order.
    for (const each of specs) values.push(await decode(each, skipping));
    return values;
  };
  switch (spec.kind) {
    case 'value':
      return spec.value;
    case 'list':
      return all(spec.items);
    case 'record': {
      const values = await all(spec.entries.map(([, item]) => item));
      return Object.fromEntries(spec.entries.map(([key], i) => [key, values[i]]));
    }
    case 'lambda':
      return importFrom(spec);
    case 'transform': {
      const Class = (transforms as unknown as Record<string, new (...args: unknown[]) => unknown>)[
        spec.name
      ]!;
      return new Class(...(await all(spec.args)));
    }
    case 'import': {
      const make = await importFrom(spec);
      // Its place comes before those of the datasets inside it.
      const place = skipping.length;
      const inner: Skipping[] = [];
      const args: unknown[] = [];
      for (const each of spec.args) args.push(await decode(each, inner));
      const value = isClass(make)
        ? (Reflect.construct(make as new () => unknown, args) as unknown)
        : await (make as (...list: unknown[]) => unknown)(...args);
      skipping.splice(place, 0, ...(isSkipping(value) ? [value] : []), ...inner);
      return value;
    }
  }
}

/** A dataset as plain data, and the datasets in it that note left-out files. */
export function encodeDataset(dataset: Dataset<unknown>): { spec: Spec; skipping: Skipping[] } {
  const skipping: Skipping[] = [];
  const spec = encode(dataset, skipping);
  if (spec.kind !== 'import') {
    throw refuse(
      'a dataset that is an object literal',
      'write a class with `source()` and `settings()` and export it from a module of its own',
    );
  }
  return { spec, skipping };
}
