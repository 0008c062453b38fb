/**
 * How the engine's dtypes lie in storage buffers and which type arithmetic on them has. `uint8` and `bool`
 * take one u32 per element: WGSL has no byte stores, and a store must not touch its neighbours.
 */

export type DType = 'float32' | 'float16' | 'int32' | 'uint8' | 'bool';

/** Type of an expression: what WGSL computes with once a value is loaded. */
export type ExprType = 'f32' | 'i32' | 'u32' | 'bool';

interface DTypeInfo {
  /** WGSL element type of the storage array. */
  readonly storage: 'f32' | 'f16' | 'i32' | 'u32';
  readonly compute: ExprType;
  /** Bytes per element on the GPU. */
  readonly bytes: number;
}

export const dtypeInfo: Readonly<Record<DType, DTypeInfo>> = {
  float32: { storage: 'f32', compute: 'f32', bytes: 4 },
  float16: { storage: 'f16', compute: 'f32', bytes: 2 },
  int32: { storage: 'i32', compute: 'i32', bytes: 4 },
  uint8: { storage: 'u32', compute: 'u32', bytes: 4 },
  bool: { storage: 'u32', compute: 'bool', bytes: 4 },
};

/** How many neighbours one value of a kernel holds: a scalar or a vec4. */
export type Width = 1 | 4;

/** WGSL type of `width` values: `f32` or `vec4<f32>`. */
export function wgslType(scalar: string, width: Width): string {
  return width === 1 ? scalar : `vec4<${scalar}>`;
}

/** WGSL that turns a value as stored into one to compute with. */
export function loadCode(dtype: DType, width: Width, stored: string): string {
  if (dtype === 'float16') return `${wgslType('f32', width)}(${stored})`;
  if (dtype === 'bool') return `(${stored} != ${wgslType('u32', width)}(0u))`;
  return stored;
}

/** WGSL that turns a computed value (of type `dtypeInfo[dtype].compute`) into one to store. */
export function storeCode(dtype: DType, width: Width, value: string): string {
  if (dtype === 'float16') return `${wgslType('f16', width)}(${value})`;
  if (dtype === 'bool') return `${wgslType('u32', width)}(${value})`;
  if (dtype === 'uint8') return `(${value} & ${wgslType('u32', width)}(255u))`;
  return value;
}
