/* What the console shows of an object in one line. */

/** Longer lists are cut. */
const most = 8;

function shown(value: unknown): string {
  if (typeof value === 'string') return `'${value}'`;
  if (Array.isArray(value)) {
    const more = value.length > most ? [`... ${value.length} in all`] : [];
    return `[${[...value.slice(0, most).map(shown), ...more].join(', ')}]`;
  }
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return String(value);
  const { constructor } = value as { constructor?: { name: string } };
  // A module, which is a function, or an object with a line of its own may be long.
  const own = (value as { toString?: unknown }).toString;
  const line = typeof value === 'object' && own !== Object.prototype.toString ? String(value) : '\n';
  return line.includes('\n') ? (constructor?.name ?? 'object') : line;
}

/** @internal A class with what is worth knowing of it, `StepLR(stepSize=5)`; undefined is left out. */
export function lineOf(name: string, fields: Readonly<Record<string, unknown>>): string {
  const all = Object.entries(fields).filter(([, value]) => value !== undefined);
  return `${name}(${all.map(([key, value]) => `${key}=${shown(value)}`).join(', ')})`;
}
