import { isModule } from '../base/call.js';
import { fieldsOf, type Module } from '../base/module.js';

/** A module whose entries have places: their properties in order. */
interface Listed extends Module {
  append(entry: never): unknown;
}

const isIndex = (key: PropertyKey): key is string => typeof key === 'string' && /^-?\d+$/.test(key);

const known = new WeakSet<object>();

/**
 * Lets objects of `prototype` be indexed as Python's lists are: negative numbers count from the end, and
 * nothing is put beyond it. JavaScript would make a property of any index that is assigned, which no accessor
 * can foresee; what an object has not yet itself, though, is looked for on its prototypes, where this puts a
 * proxy. Entries that are there are found before it is asked. Constructors call it, since loading a module
 * has no effects.
 */
export function indexByPlace<L extends Listed>(
  prototype: L,
  propertiesOf: (list: L) => readonly string[],
): void {
  if (known.has(prototype)) return;
  known.add(prototype);
  const at = (properties: readonly string[], index: number): string | undefined =>
    properties[index < 0 ? index + properties.length : index];
  const traps: ProxyHandler<object> = {
    get(inherited, key, list: L) {
      if (!isIndex(key) || !isModule(list)) return Reflect.get(inherited, key, list) as unknown;
      const property = at(propertiesOf(list), Number(key));
      return property === undefined ? undefined : fieldsOf(list)[property];
    },
    set(inherited, key, value, list: L) {
      if (!isIndex(key) || !isModule(list)) return Reflect.set(inherited, key, value, list);
      const properties = propertiesOf(list);
      const property = at(properties, Number(key));
      if (property === undefined)
        throw new Error(
          `${list.constructor.name}: index ${key} is out of range for ${properties.length} entries; append() adds one`,
        );
      fieldsOf(list)[property] = value;
      return true;
    },
  };
  // One more link of the chain, which `instanceof` walks.
  const link = Object.create(Object.getPrototypeOf(prototype) as object) as object;
  Object.setPrototypeOf(prototype, new Proxy(link, traps));
}
