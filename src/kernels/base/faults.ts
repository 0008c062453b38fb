/**
 * What kernels raise (see `Kernel.fault`), and how it reads: the WGSL of the check beside the text of its
 * error. Errors of checks on the host have the same texts, from here as well.
 */
import type { Width } from './dtype.js';
import type { Fault } from './kernel.js';

const signed = (word: number): number => word | 0;

/** `op` looks something up by index. */
export const outOfRange = (op: string, index: number, size: number): string =>
  `${op}: index ${index} is out of range for a dim of size ${size}${size > 0 ? ` (0 to ${size - 1})` : ''}`;

/** Raised by {@link checkIndexCode}. */
export const indexFault = (op: string): Fault => ({
  op,
  text: ([index, size]) => outOfRange(op, signed(index), size),
});

/** WGSL statements that raise where an i32 `index` (or a lane of it) is not in [0, size). */
export function checkIndexCode(index: string, size: string, width: Width): string {
  const raise = (value: string): string => `raiseFault(vec4<u32>(u32(${value}), u32(${size}), 0u, 0u));`;
  if (width === 1) return `if (u32(${index}) >= u32(${size})) { ${raise(index)} }`;
  return `if (any(vec4<u32>(${index}) >= vec4<u32>(u32(${size})))) {
  for (var l = 0; l < 4; l++) { let one = ${index}[l]; if (u32(one) >= u32(${size})) { ${raise('one')} } }
}`;
}

/** `op` takes a class per row, or the label `ignoreIndex`, which may be one of the classes. */
export const labelOutOfRange = (
  op: string,
  label: number,
  position: number,
  classes: number,
  ignoreIndex: number,
): string =>
  `${op}: label ${label} at position ${position} is out of range for ${classes} classes ` +
  `(0 to ${classes - 1}${ignoreIndex >= 0 && ignoreIndex < classes ? '' : `, or ignoreIndex ${ignoreIndex}`})`;

/** Raised with the label, its position, the number of classes and the label that is ignored. */
export const labelFault = (op: string): Fault => ({
  op,
  text: ([label, position, classes, ignored]) =>
    labelOutOfRange(op, signed(label), position, classes, signed(ignored)),
});

export const divisionByZero = (op: string): string =>
  `${op}: an integer is divided by zero; floats give infinity or NaN instead, see .to('float32')`;

export const divisionFault = (op: string): Fault => ({ op, text: () => divisionByZero(op) });

/** Raised with how many values are wanted and how many there are. */
export const countFault = (op: string): Fault => ({
  op,
  text: ([wanted, given]) => `${op}: the mask has ${wanted} true elements, the source only ${given}`,
});

/** Raised with how many values are wanted and how many there are. */
export const fitFault = (op: string): Fault => ({
  op,
  text: ([wanted, given]) =>
    `${op}: the mask has ${wanted} true elements, which ${given} values do not fit; give one for each, or one`,
});

/** Raised with a length or a number of repeats and the largest that there may be. */
export const rangeFault = (op: string): Fault => ({
  op,
  text: ([value, most]) => `${op}: expected integers from 0 to ${most}, got ${signed(value)}`,
});

/** Raised with a sum and what it should be. */
export const sizeFault = (op: string): Fault => ({
  op,
  text: ([sum, size]) => `${op}: repeats add up to ${sum}, outputSize is ${size}`,
});

const float = (word: number): number => new Float32Array(Uint32Array.of(word).buffer)[0]!;

/** Raised with the bits of a float32. */
export const floatFault = (op: string, text: (value: number) => string): Fault => ({
  op,
  text: ([bits]) => `${op}: ${text(float(bits))}`,
});
