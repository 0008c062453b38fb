/** The numbers of initializers, as bytes. */
import { encode, type DType } from '../tensor/dtype.js';
import { numel, type Shape } from '../tensor/shape.js';
import type { Weight } from './assemble.js';
import type { Source, Value } from './graph.js';
import type { TensorProto } from './proto.js';

type StoredType = DType | 'int64';

const bytesPerElement: Readonly<Record<StoredType, number>> = {
  float32: 4,
  float16: 2,
  int32: 4,
  uint8: 1,
  bool: 1,
  int64: 8,
};

/** A weight that is read when it is asked for. */
export class Numbers {
  /** As many as the file will have of it. */
  readonly bytes: number;
  private readonly name: string;
  private readonly dtype: StoredType;
  private readonly dims: Shape;
  private readonly source: Source;
  /** Of the tensor's memory, when the graph was made. */
  private readonly version: number;

  constructor({ name, value }: Weight) {
    this.name = name;
    this.dtype = value.dtype as StoredType;
    this.dims = value.shape as Shape;
    this.source = (value.constant as NonNullable<Value['constant']>).source;
    this.version = this.source.kind === 'tensor' ? this.source.tensor.storage.version : 0;
    this.bytes = numel(this.dims) * bytesPerElement[this.dtype];
  }

  proto(raw: TensorProto['raw']): TensorProto {
    return { name: this.name, dtype: this.dtype, dims: this.dims, raw };
  }

  /** Row-major, little-endian. @throws Error for a tensor that was written to since the graph was made */
  async read(): Promise<Uint8Array> {
    const { source, dtype } = this;
    if (source.kind === 'host') return rawOf(source.values, dtype);
    if (source.kind === 'read') return rawOf(await source.data, dtype);
    const { storage } = source.tensor;
    if (storage.version !== this.version)
      throw new Error(
        `exportOnnx: '${this.name}' was changed by ${storage.writer} while the model was being exported: await the export first`,
      );
    return rawOf(await source.tensor.data(), dtype);
  }
}

export const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);

function rawOf(values: ArrayLike<number>, dtype: StoredType): Uint8Array {
  if (dtype === 'int64') return bytesOf(BigInt64Array.from(Array.from(values), BigInt));
  if (dtype === 'bool' || dtype === 'uint8') return Uint8Array.from(values);
  if (dtype === 'float32' && values instanceof Float32Array) return bytesOf(values);
  if (dtype === 'float32') return bytesOf(Float32Array.from(values));
  return bytesOf(encode(values, dtype));
}
