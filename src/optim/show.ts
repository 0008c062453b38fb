/** A value as an error shows it; a module, which is a function, by its class. */
export function show(value: unknown): string {
  if (typeof value === 'string') return `'${value}'`;
  if (Array.isArray(value)) return `[${value.map(show).join(', ')}]`;
  if (value === null || (typeof value !== 'object' && typeof value !== 'function')) return String(value);
  const kind = value.constructor as { name: string } | undefined;
  if (kind === undefined || kind === Object) return 'an object';
  return kind === Function ? 'a function' : `a ${kind.name}`;
}
