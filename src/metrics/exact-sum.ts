/*
 * Sums without rounding, by J. R. Shewchuk, "Adaptive Precision Floating-Point Arithmetic and Fast Robust
 * Geometric Predicates" (1997): numbers of rising size, none of which overlap, that add up to the sum.
 */

/** The sum of `sum` and numbers, as numbers that add up to it; one infinity or NaN stands for itself. */
export function addTo(sum: readonly number[], numbers: readonly number[]): readonly number[] {
  let parts = sum;
  for (const number of numbers) parts = grow(parts, number);
  return parts;
}

function grow(parts: readonly number[], number: number): readonly number[] {
  const grown: number[] = [];
  let high = number;
  for (const part of parts) {
    const [large, small] = Math.abs(high) < Math.abs(part) ? [part, high] : [high, part];
    high = large + small;
    const low = small - (high - large);
    if (low !== 0) grown.push(low);
  }
  if (!Number.isFinite(high)) return [parts.reduce((a, b) => a + b, number)];
  if (high !== 0) grown.push(high);
  return grown;
}

/** The double nearest to the sum of the parts. */
export function roundSum(parts: readonly number[]): number {
  let at = parts.length;
  let high = 0;
  let low = 0;
  while (at > 0 && low === 0) {
    const before = high;
    const part = parts[--at] as number;
    high = before + part;
    low = part - (high - before);
  }
  // Halfway between two doubles: what comes below says to which side.
  const below = parts[at - 1] ?? 0;
  if (at > 0 && ((low < 0 && below < 0) || (low > 0 && below > 0))) {
    const twice = low * 2;
    const other = high + twice;
    if (other - high === twice) return other;
  }
  return high;
}
