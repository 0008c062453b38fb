/** Values as Python prints them, so that a printed model reads line for line like PyTorch's. */

/** A number that is a float in PyTorch: `1.0`, `1e-05`. */
export function pyFloat(value: number): string {
  if (Number.isNaN(value)) return 'nan';
  if (!Number.isFinite(value)) return value > 0 ? 'inf' : '-inf';
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e16)) {
    const [mantissa, exponent] = value.toExponential().split('e') as [string, string];
    return `${mantissa}e${exponent[0]}${exponent.slice(1).padStart(2, '0')}`;
  }
  return Number.isInteger(value) ? value.toFixed(1) : String(value);
}

/** Integers, booleans, null, strings as they are, and tuples of them. */
export function py(value: number | boolean | string | null | readonly (number | null)[]): string {
  if (value === null) return 'None';
  if (value === true) return 'True';
  if (value === false) return 'False';
  if (Array.isArray(value)) {
    const items = value.map((item: number | null) => py(item));
    return items.length === 1 ? `(${items[0]},)` : `(${items.join(', ')})`;
  }
  return String(value);
}

/** `torch.nn.Module.__repr__`'s layout. */
export function layout(
  name: string,
  extra: string,
  children: readonly (readonly [key: string, text: string])[],
): string {
  const lines = extra === '' ? [] : extra.split('\n');
  if (children.length === 0 && lines.length <= 1) return `${name}(${extra})`;
  for (const [key, text] of children) lines.push(`(${key}): ${text.replaceAll('\n', '\n  ')}`);
  return `${name}(\n  ${lines.join('\n  ')}\n)`;
}
