/**
 * Shape arithmetic shared by the pointwise and reduction planners: strided operands over one iteration space.
 */

/** A tensor as the planners see it: sizes and strides in elements, outermost first. */
export interface OperandLayout {
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly offset: number;
}

export const numelOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/**
 * Strides of `operand` over `shape`, 0 where it broadcasts. @throws when it does not broadcast to `shape`.
 */
export function broadcastStrides(name: string, operand: OperandLayout, shape: readonly number[]): number[] {
  const lead = shape.length - operand.shape.length;
  const strides = new Array<number>(shape.length);
  for (let d = 0; d < shape.length; d++) {
    const size = d < lead ? 1 : operand.shape[d - lead]!;
    if (size !== 1 && size !== shape[d]) {
      throw new Error(`${name}: an operand of shape [${operand.shape}] does not broadcast to [${shape}]`);
    }
    strides[d] = size === 1 ? 0 : operand.strides[d - lead]!;
  }
  if (lead < 0)
    throw new Error(`${name}: an operand of shape [${operand.shape}] has more dimensions than [${shape}]`);
  return strides;
}

export interface Collapsed {
  /** Sizes, outermost first; at least one dimension. */
  readonly sizes: readonly number[];
  /** One row of strides per operand. */
  readonly strides: readonly (readonly number[])[];
}

/**
 * The same iteration space with as few dimensions as possible: drops dimensions of size 1, orders the rest by
 * the strides of the `order` operand (largest outermost, so that channels-last memory is walked linearly),
 * and merges neighbours that every operand runs through without a gap. With `order` -1 the dimensions stay in
 * their order.
 */
export function collapseDims(
  shape: readonly number[],
  strides: readonly (readonly number[])[],
  order = 0,
): Collapsed {
  const dims: number[] = [];
  for (let d = 0; d < shape.length; d++) if (shape[d] !== 1) dims.push(d);
  const key = strides[order] ?? [];
  let sorted = true;
  for (let i = 1; i < dims.length; i++)
    if (order >= 0 && Math.abs(key[dims[i - 1]!]!) < Math.abs(key[dims[i]!]!)) sorted = false;
  if (!sorted) dims.sort((a, b) => Math.abs(key[b]!) - Math.abs(key[a]!) || a - b);
  if (dims.length === 0) return { sizes: [1], strides: strides.map(() => [0]) };

  const sizes = [shape[dims[0]!]!];
  const rows = strides.map((s) => [s[dims[0]!]!]);
  for (let i = 1; i < dims.length; i++) {
    const d = dims[i]!;
    const size = shape[d]!;
    const last = sizes.length - 1;
    let joins = true;
    for (let k = 0; k < rows.length; k++) {
      if (rows[k]![last] !== strides[k]![d]! * size) {
        joins = false;
        break;
      }
    }
    if (joins) {
      sizes[last] = sizes[last]! * size;
      for (let k = 0; k < rows.length; k++) rows[k]![last] = strides[k]![d]!;
    } else {
      sizes.push(size);
      for (let k = 0; k < rows.length; k++) rows[k]!.push(strides[k]![d]!);
    }
  }
  return { sizes, strides: rows };
}

/** Lowest and highest element that an operand touches, both inclusive. */
export function extent(
  sizes: readonly number[],
  strides: readonly number[],
  offset: number,
): [number, number] {
  let low = offset;
  let high = offset;
  for (let d = 0; d < sizes.length; d++) {
    const reach = (sizes[d]! - 1) * strides[d]!;
    if (reach > 0) high += reach;
    else low += reach;
  }
  return [low, high];
}
