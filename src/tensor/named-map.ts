/**
 * A Map by name whose entries are enumerable properties as well: `{ ...state }`, `Object.keys(state)` and
 * `JSON.stringify(state)` see what is in it, where those of a plain Map would be empty without a word.
 */
export function namedMap<V>(entries: Iterable<readonly [string, V]> = []): Map<string, V> {
  const map = new Map<string, V>();
  const shown = new Map<string, string>();
  const show = (key: string): void => {
    if (shown.has(key)) return;
    // What every Map has (`size`, `keys`) cannot be covered, and must not be missing in a copy unnoticed.
    const covered = key in map;
    const name = covered ? `${key}, a name that every Map has` : key;
    shown.set(key, name);
    Object.defineProperty(map, name, {
      enumerable: true,
      configurable: true,
      get: () => {
        if (!covered) return map.get(key);
        throw new Error(
          `a Map with an entry '${key}' cannot be spread or copied by its properties, since every Map has a '${key}' of its own; take Object.fromEntries(map)`,
        );
      },
      set: (value: V) => void map.set(key, value),
    });
  };
  const hide = (key: string): void => {
    Reflect.deleteProperty(map, shown.get(key) as string);
    shown.delete(key);
  };
  const methods: Record<PropertyKey, unknown> = {
    set(key: string, value: V): Map<string, V> {
      Map.prototype.set.call(map, key, value);
      show(key);
      return map;
    },
    delete(key: string): boolean {
      if (shown.has(key)) hide(key);
      return Map.prototype.delete.call(map, key);
    },
    clear(): void {
      for (const key of [...shown.keys()]) hide(key);
      Map.prototype.clear.call(map);
    },
    // Printed as any Map is, each entry once.
    [Symbol.for('nodejs.util.inspect.custom')]: () => new Map(map),
  };
  for (const name of Reflect.ownKeys(methods))
    Object.defineProperty(map, name, { value: methods[name], writable: true, configurable: true });
  for (const [key, value] of entries) map.set(key, value);
  return map;
}
