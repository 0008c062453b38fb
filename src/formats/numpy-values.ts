/**
 * Pickled numpy scalars, dtypes and arrays, as they turn up beside the weights (`best_prec1`, loss
 * histories).
 */

import { latin1, memorySource } from './byte-source.js';
import { CheckpointError, quote } from './errors.js';
import type { HostDtype } from './dtypes.js';
import { itemSize } from './dtypes.js';
import { HostTensor } from './host-tensor.js';
import { decodeUtf8, encodeUtf8, fromBigInt } from './pickle-text.js';
import { OpaqueObject, PickleObject } from './pickle-types.js';
import type { PickleLimits, PickleValue } from './pickle-types.js';
import { contiguousStrides } from './strided.js';

const kinds = {
  f8: 'float64',
  f4: 'float32',
  f2: 'float16',
  i8: 'int64',
  i4: 'int32',
  i2: 'int16',
  i1: 'int8',
  u8: 'uint64',
  u4: 'uint32',
  u2: 'uint16',
  u1: 'uint8',
  b1: 'bool',
  c8: 'complex64',
  c16: 'complex128',
} as const;

/** numpy's type codes without the byte order. */
export const numpyDtypes: ReadonlyMap<string, HostDtype> = new Map(Object.entries(kinds));
export const numpyCodes: ReadonlyMap<HostDtype, string> = new Map(
  [...numpyDtypes].map(([code, dtype]) => [dtype, code]),
);

// numpy has no code longer than `datetime64[25as]`; record dtypes are no codes.
const maxCode = 64;

/** `numpy.dtype(code)`; its state holds the byte order. */
export class NumpyDtype extends PickleObject {
  private bigEndian = false;
  /** Whether it is one of numpy's that no tensor has: objects, records, dates. */
  private foreign = false;

  constructor(readonly code: string) {
    super();
    if (code.length > maxCode) throw new CheckpointError(`a numpy dtype of ${code.length} characters`);
  }

  /** State: (version, byte order, subdtype, names, fields, itemsize, alignment, flags). */
  override setState(state: PickleValue): void {
    const order = Array.isArray(state) ? state[1] : undefined;
    if (order !== '<' && order !== '>' && order !== '|' && order !== '=') {
      throw new CheckpointError(`numpy dtype ${quote(this.code)} has an unknown state`);
    }
    this.foreign = Array.isArray(state) && state[3] !== null && state[3] !== undefined;
    this.bigEndian = order === '>';
  }

  /** Its name among the tensors' dtypes; undefined for one that no tensor has. */
  private get known(): HostDtype | undefined {
    return this.foreign ? undefined : numpyDtypes.get(this.code.replace(/^[<>|=]/, ''));
  }

  /** An array of a dtype that no tensor has is an opaque object, like those of other classes. */
  tensor(shape: readonly number[], bytes: Uint8Array, fortran: boolean): HostTensor | OpaqueObject {
    const dtype = this.known;
    if (dtype === undefined) return new OpaqueObject(`numpy.ndarray of ${this.code}`);
    const expected = shape.reduce((product, dim) => product * dim, itemSize[dtype]);
    if (expected !== bytes.length) {
      throw new CheckpointError(
        `a numpy array of shape [${shape.join(', ')}] and dtype ${dtype} holds ${bytes.length} bytes, not ${expected}`,
      );
    }
    const strides = fortran ? contiguousStrides([...shape].reverse()).reverse() : contiguousStrides(shape);
    const bigEndian = this.bigEndian || this.code.startsWith('>');
    return new HostTensor({
      dtype,
      shape,
      strides,
      storage: memorySource(bytes, 'a numpy array'),
      bigEndian,
    });
  }

  scalar(bytes: Uint8Array): PickleValue {
    const kind = this.code.replace(/^[<>|=]/, '');
    if (!this.foreign && kind.startsWith('S')) return bytes.slice();
    if (!this.foreign && kind.startsWith('U')) return decodeUtf32(bytes, this.bigEndian);
    const dtype = this.known;
    if (dtype === undefined || dtype.startsWith('complex'))
      return new OpaqueObject(`numpy scalar of ${this.code}`);
    if (bytes.length !== itemSize[dtype]) {
      throw new CheckpointError(`a numpy ${dtype} scalar holds ${bytes.length} bytes`);
    }
    return readScalar(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), dtype, !this.bigEndian);
  }
}

function readScalar(view: DataView, dtype: HostDtype, little: boolean): PickleValue {
  switch (dtype) {
    case 'float64':
      return view.getFloat64(0, little);
    case 'float32':
      return view.getFloat32(0, little);
    case 'int64':
      return fromBigInt(view.getBigInt64(0, little));
    case 'uint64':
      return fromBigInt(view.getBigUint64(0, little));
    case 'int32':
      return view.getInt32(0, little);
    case 'uint32':
      return view.getUint32(0, little);
    case 'int16':
      return view.getInt16(0, little);
    case 'uint16':
      return view.getUint16(0, little);
    case 'int8':
      return view.getInt8(0);
    case 'uint8':
      return view.getUint8(0);
    case 'bool':
      return view.getUint8(0) !== 0;
    default:
      throw new CheckpointError(`numpy scalars of dtype ${dtype} are not supported`);
  }
}

function decodeUtf32(bytes: Uint8Array, bigEndian: boolean): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  // numpy fills up with zeros.
  let end = bytes.length - (bytes.length % 4);
  while (end > 0 && view.getUint32(end - 4, true) === 0) end -= 4;
  let text = '';
  for (let i = 0; i < end; i += 4) {
    const code = view.getUint32(i, !bigEndian);
    if (code > 0x10ffff) throw new CheckpointError('a numpy string holds an impossible character');
    text += String.fromCodePoint(code);
  }
  return text;
}

/** `numpy.core.multiarray._reconstruct(...)` followed by the state that holds shape, dtype and bytes. */
export class NumpyArray extends PickleObject {
  #value: HostTensor | OpaqueObject | undefined;

  /** State: (version, shape, dtype, is Fortran order, raw bytes). */
  override setState(state: PickleValue, limits: PickleLimits): void {
    const [, shape, dtype, fortran, raw] = Array.isArray(state) ? state : [];
    if (
      !Array.isArray(shape) ||
      shape.length > 64 ||
      !shape.every((dim) => typeof dim === 'number') ||
      !(dtype instanceof NumpyDtype)
    ) {
      throw new CheckpointError('a numpy array has an unknown state');
    }
    // The bytes of an array of objects are a list of them.
    if (Array.isArray(raw)) this.#value = new OpaqueObject('numpy.ndarray of objects');
    else {
      if (typeof raw === 'string') limits.hold(2 * raw.length);
      limits.hold(1000);
      this.#value = dtype.tensor(shape, rawBytes(raw), fortran === true);
    }
  }

  /** The array under a name, or what stands for it. */
  value(name: string): HostTensor | OpaqueObject {
    if (!this.#value) throw new CheckpointError('a numpy array has no contents');
    return this.#value instanceof HostTensor ? this.#value.renamed(name) : this.#value;
  }
}

/** Bytes from a pickle; a string comes from Python 2, whose `str` was decoded as UTF-8. */
export function rawBytes(value: PickleValue | undefined): Uint8Array {
  if (value instanceof Uint8Array) return value;
  if (typeof value === 'string') return new TextEncoder().encode(value);
  throw new CheckpointError('bytes are expected');
}

/** `_codecs.encode(text, 'latin1')`: how protocol 2 writes bytes. */
export function encodeText(text: string, encoding: string): Uint8Array {
  const codec = encoding.slice(0, 40).toLowerCase().replace(/[-_]/g, '');
  if (codec === 'utf8') return encodeUtf8(text);
  if (codec !== 'latin1' && codec !== 'iso88591' && codec !== 'ascii') {
    throw new CheckpointError(`text encoding ${quote(encoding, 40)} is not supported`);
  }
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 255) throw new CheckpointError('a byte string holds a character past 255');
    bytes[i] = code;
  }
  return bytes;
}

/** Text of bytes or of text, for classes that accept both. */
export function textOf(value: PickleValue | undefined): string {
  if (typeof value === 'string') return value;
  if (value instanceof Uint8Array) {
    return value.every((byte) => byte < 128) ? latin1(value) : decodeUtf8(value);
  }
  throw new CheckpointError('a string is expected');
}
