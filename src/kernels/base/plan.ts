/**
 * What the heavy kernels hand to the op layer: a {@link Plan} is a list of launches over symbolic buffer
 * names, plus the scratch buffers it needs. The op layer allocates the scratch, maps every name to a device
 * buffer and dispatches the launches in order; nothing here touches a GPU object.
 *
 * Buffers by planning function: `planGemm` `a b c`; `planConv2d` `x w y` (`w` is what `plan.weights`
 * describes, or the weight itself); `planConv2dInputGrad`, which is also the forward of convTranspose2d, `dy
 * w dx`; `planConv2dWeightGrad` `x dy dw`, where `dw` lies like the weight; the others `x` and `out`, unless
 * they say otherwise.
 *
 * Epilogue operands, where the problem asks for them, are the buffers `bias`, `scale`, `shift` (one value per
 * output channel or column) and `residual` (laid out like the output), all of the output's element type.
 * Scratch buffers are the keys of `plan.workspaces`.
 */
import type { Grid, Kernel } from './kernel.js';

/** A buffer by name, or by position where operands have no names. */
export type BufferName = string | number;

/**
 * A buffer, bound from its start up to its end or the binding limit; or a byte range of it, relative to the
 * start of what the name stands for.
 */
export type BufferRef =
  BufferName | { readonly name: BufferName; readonly offset: number; readonly size: number };

/** Something for each buffer. */
export type ByBuffer<T> = Readonly<Record<string, T | undefined>> | readonly (T | undefined)[];

export const forBuffer = <T>(values: ByBuffer<T>, name: BufferName): T | undefined =>
  (values as Readonly<Record<BufferName, T | undefined>>)[name];

/** One dispatch of a kernel. The device's own launches have buffers in the place of names. */
export interface Launch<Buffer = BufferRef> {
  readonly kernel: Kernel;
  /** In the order of `kernel.bindings`, without a guard. */
  readonly buffers: readonly Buffer[];
  /** In the order of `kernel.params`. */
  readonly params: readonly number[];
  readonly grid: Grid;
}

/**
 * A copy of the weight in the layout a plan wants. The caller runs `launches` (buffers `weight` and `packed`)
 * once per version of the weight and keeps the result under `key`; two plans with the same key share it.
 */
export interface PackedWeights {
  readonly key: string;
  readonly bytes: number;
  readonly launches: readonly Launch[];
}

export interface Plan {
  readonly launches: readonly Launch[];
  /** Bytes of each scratch buffer; contents undefined before and useless after. */
  readonly workspaces: Readonly<Record<string, number>>;
  /** Present when the launches read `w`. */
  readonly weights?: PackedWeights;
}

/** Limits of the device that decide how operands are cut into ranges. */
export interface PlanLimits {
  /** Largest storage binding in bytes. */
  readonly maxBinding: number;
  /** Alignment of a binding's offset in bytes. */
  readonly offsetAlignment: number;
}

/** The same where a kernel does without some of them (tests). */
export interface Limits {
  readonly maxBinding?: number;
  readonly offsetAlignment?: number;
}

/** Activations whose gradient follows from their result by a mask. */
export type Activation = 'none' | 'relu' | 'relu6';

/** What an epilogue applies: without gradients the smooth ones too. */
export type EpilogueActivation = Activation | 'silu' | 'hardswish';

/**
 * How a convolution weight [cOut, cIn / groups, kernelH, kernelW] lies in memory: row-major, or ('hwio', one
 * group only) with the output channels innermost, then input channels, kernel columns and rows. The kernels
 * read the latter, and write its gradient, without a copy.
 */
export type WeightLayout = 'oihw' | 'hwio';

/** Element type of the tensors in storage; sums are always f32. */
export type Elem = 'f32' | 'f16';

/** `y = activation((sum + bias) * scale + shift + residual)`, each part only where present. */
export interface Epilogue {
  readonly bias?: boolean;
  readonly scale?: boolean;
  readonly shift?: boolean;
  readonly residual?: boolean;
  readonly activation?: EpilogueActivation;
}

export const noEpilogue: Epilogue = {};

export function epilogueKey(e: Epilogue): string {
  const flags = [e.bias && 'b', e.scale && 's', e.shift && 'h', e.residual && 'r'].filter(Boolean).join('');
  return `${flags}:${e.activation ?? 'none'}`;
}

/** Names of the buffers an epilogue reads, in binding order. */
export function epilogueBuffers(e: Epilogue): string[] {
  const names: string[] = [];
  if (e.bias) names.push('bias');
  if (e.scale) names.push('scale');
  if (e.shift) names.push('shift');
  if (e.residual) names.push('residual');
  return names;
}

export const bytesOf = (elem: Elem): number => (elem === 'f16' ? 2 : 4);

export const ceilDiv = (a: number, b: number): number => Math.ceil(a / b);
/** The least power of two that is not less than `n`. */
export const powerOfTwo = (n: number): number => 2 ** Math.ceil(Math.log2(Math.max(1, n)));
export const roundUp = (a: number, b: number): number => Math.ceil(a / b) * b;

/** Two 16-bit fields in one parameter; the shader splits them with {@link unpackPair}. */
export function pair(high: number, low: number): number {
  for (const v of [high, low]) {
    if (!Number.isInteger(v) || v < -32768 || v > 32767) {
      throw new Error(
        `kernels: ${v} does not fit a 16-bit launch field; strides, dilations and kernel sizes go up to 32767`,
      );
    }
  }
  return (high << 16) | (low & 0xffff);
}

/** WGSL for the high and low half of a {@link pair} held in an `i32` parameter. */
export const highHalf = (name: string): string => `(p.${name} >> 16u)`;
export const lowHalf = (name: string): string => `extractBits(p.${name}, 0u, 16u)`;

/** A buffer argument and the element offset, within what is bound, at which the operand starts. */
export interface Bound {
  readonly ref: BufferRef;
  readonly offset: number;
}

/**
 * Binds `count` elements of `name` from element `start` on: from the start of the buffer while that stays
 * below the binding limit (who runs the plan then binds the whole buffer where it is no larger, so that bind
 * groups are shared), else an aligned range.
 *
 * @throws RangeError when the range itself is larger than one binding.
 */
export function bindElements(
  name: string,
  start: number,
  count: number,
  elem: Elem,
  limits: PlanLimits,
): Bound {
  const size = bytesOf(elem);
  const end = (start + count) * size;
  const fromStart = end <= limits.maxBinding;
  const offset = fromStart ? 0 : Math.floor((start * size) / limits.offsetAlignment) * limits.offsetAlignment;
  const bytes = roundUp(end - offset, 4);
  if (bytes > limits.maxBinding) {
    throw new RangeError(
      `kernels: ${bytes} bytes of '${name}' must be bound at once, the adapter binds at most ${limits.maxBinding}; use a smaller batch`,
    );
  }
  return { ref: { name, offset, size: bytes }, offset: start - offset / size };
}

/** Renames the buffers of a plan; those without a new name keep theirs. */
export function renamed(launches: readonly Launch[], names: ByBuffer<string>): Launch[] {
  const newName = (name: BufferName): BufferName => forBuffer(names, name) ?? name;
  const rename = (ref: BufferRef): BufferRef =>
    typeof ref === 'object' ? { ...ref, name: newName(ref.name) } : newName(ref);
  return launches.map((l) => ({ ...l, buffers: l.buffers.map(rename) }));
}

/** Launches with the op's own parameter values in front. */
export function withParams(launches: readonly Launch[], values: readonly number[] = []): readonly Launch[] {
  if (values.length === 0) return launches;
  return launches.map((l) => ({ ...l, params: [...values, ...l.params.slice(values.length)] }));
}
