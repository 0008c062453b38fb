import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { tensor, type DType, type Tensor } from '../../src/index.js';

/** A value as scripts/goldens/opinfo.py writes it. */
export type Written =
  | null
  | boolean
  | number
  | string
  | Packed
  | { readonly L: readonly Written[] }
  | { readonly F: 'nan' | 'inf' | '-inf' }
  | { readonly D: string }
  | { readonly S: readonly [start: number | null, stop: number | null, step: number | null] }
  | { readonly E: 1 };

/** A tensor: dtype, shape, little-endian bytes in base64, whether it requires grad. */
export interface Packed {
  readonly T: keyof typeof arrays;
  readonly shape: readonly number[];
  readonly data: string;
  readonly g: boolean;
}

export interface Sample {
  readonly input: Written;
  readonly args: readonly Written[];
  readonly kwargs: Readonly<Record<string, Written>>;
  readonly outputs: readonly Packed[];
  /** What the op returns, if it is no tensor. */
  readonly scalar?: boolean | number;
  /** Cotangents of the outputs that `which` names, and the gradients of the inputs with `g`. */
  readonly cot?: readonly Packed[];
  readonly which?: readonly boolean[];
  readonly grads?: readonly (Packed | null)[];
  /** The same for the gradients. */
  readonly gwhich?: readonly boolean[];
  readonly cot2?: readonly Packed[];
  readonly gg?: readonly (Packed | null)[];
}

/** An entry of PyTorch's op database. */
export interface Entry {
  readonly name: string;
  readonly variant: string;
  /** Names of the arguments, of each overload; the first is the input. */
  readonly arguments: readonly (readonly string[])[];
  readonly samples: readonly Sample[];
}

export const keyOf = ({ name, variant }: Entry): string => (variant === '' ? name : `${name}@${variant}`);

/**
 * The entries that are kept here, or those of a file or a folder of files, one entry in each, that
 * KINDLING_OPINFO names.
 */
export function loadEntries(): Entry[] {
  const path = process.env['KINDLING_OPINFO'] ?? new URL('samples.ndjson', import.meta.url).pathname;
  const texts = statSync(path).isDirectory()
    ? readdirSync(path)
        .filter((file) => file.endsWith('.json'))
        .sort()
        .map((file) => readFileSync(join(path, file), 'utf8'))
    : readFileSync(path, 'utf8').trimEnd().split('\n');
  return texts.map((text) => {
    const entry = JSON.parse(text) as Entry & { readonly aten?: Entry['arguments'] };
    return { ...entry, arguments: entry.arguments ?? entry.aten ?? [] };
  });
}

const arrays = {
  float32: Float32Array,
  float64: Float64Array,
  int64: BigInt64Array,
  int32: Int32Array,
  int16: Int16Array,
  int8: Int8Array,
  uint8: Uint8Array,
  bool: Uint8Array,
};

/** What tensors of PyTorch's dtypes become. */
const dtypes: Readonly<Record<Packed['T'], DType>> = {
  float32: 'float32',
  float64: 'float32',
  int64: 'int32',
  int32: 'int32',
  int16: 'int32',
  int8: 'int32',
  uint8: 'uint8',
  bool: 'bool',
};

export function valuesOf({ T, data }: Packed): number[] {
  const { buffer, byteOffset, byteLength } = Buffer.from(data, 'base64');
  return Array.from(
    new arrays[T](buffer.slice(byteOffset, byteOffset + byteLength)) as ArrayLike<number>,
    Number,
  );
}

export function upload(packed: Packed): Tensor {
  const dtype = dtypes[packed.T];
  return tensor(valuesOf(packed), { dtype, shape: packed.shape });
}

const isPacked = (value: Written): value is Packed =>
  typeof value === 'object' && value !== null && 'T' in value;

/** The value for kindling; tensors that require grad are put into `leaves`. */
export function read(value: Written, leaves: Tensor[]): unknown {
  if (value === null || typeof value !== 'object') return value;
  if (isPacked(value)) {
    const made = upload(value);
    if (value.g) leaves.push(made.requiresGrad_());
    return made;
  }
  if ('L' in value) return value.L.map((item) => read(item, leaves));
  if ('F' in value) return { nan: NaN, inf: Infinity, '-inf': -Infinity }[value.F];
  if ('D' in value) return dtypes[value.D as Packed['T']] ?? value.D;
  if ('S' in value) return { start: value.S[0], stop: value.S[1], step: value.S[2] };
  return '...';
}
