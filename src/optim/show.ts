/** A value as an error shows it. */
export function show(value: unknown): string {
  if (typeof value === 'string') return `'${value}'`;
  if (typeof value === 'function') return 'a function';
  if (Array.isArray(value)) return `[${value.map(show).join(', ')}]`;
  if (typeof value !== 'object' || value === null) return String(value);
  const { constructor: kind } = value as { constructor?: { name?: string } };
  return kind?.name === undefined || kind === Object ? 'an object' : `a ${kind.name}`;
}
