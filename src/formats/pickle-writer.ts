/**
 * Writes pickles of protocol 2, the one `torch.save` uses, of plain values and of what PyTorch adds to them.
 */

import { CheckpointError, quote } from './errors.js';
import { OP } from './pickle-opcodes.js';
import { encodeUtf8 } from './pickle-text.js';

const maxInt32 = 0x7fffffff;

/** The bytes of one pickle, opcode by opcode. Values that turn up again are remembered and referred to. */
export class PickleWriter {
  private bytes = new Uint8Array(4096);
  private length = 0;
  private readonly memo = new Map<unknown, number>();
  /** Keys in the memo that no string or value of the caller equals. */
  private readonly globals = new Map<string, object>();
  private readonly encoder = new TextEncoder();

  constructor() {
    this.op(OP.PROTO, 2);
  }

  op(...codes: number[]): this {
    this.raw(codes);
    return this;
  }

  /** Refers to what was remembered under `key`; false if nothing was. */
  recall(key: unknown): boolean {
    const index = this.memo.get(key);
    if (index === undefined) return false;
    if (index < 256) this.op(OP.BINGET, index);
    else this.op(OP.LONG_BINGET).u32(index);
    return true;
  }

  /** Remembers the value on top of the stack. */
  remember(key: unknown): this {
    const index = this.memo.size;
    this.memo.set(key, index);
    return index < 256 ? this.op(OP.BINPUT, index) : this.op(OP.LONG_BINPUT).u32(index);
  }

  integer(value: number | bigint): this {
    if (value >= 0 && value < 256) return this.op(OP.BININT1, Number(value));
    if (value >= 0 && value < 65536) return this.op(OP.BININT2, Number(value) & 255, Number(value) >> 8);
    if (value >= -maxInt32 - 1 && value <= maxInt32) return this.op(OP.BININT).u32(Number(value) >>> 0);
    const digits = longBytes(BigInt(value));
    if (digits.length > 255) throw new CheckpointError(`pickle: an integer of ${digits.length} bytes`);
    this.op(OP.LONG1, digits.length).raw(digits);
    return this;
  }

  float(value: number): this {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setFloat64(0, value, false);
    this.op(OP.BINFLOAT).raw(bytes);
    return this;
  }

  /** A whole number becomes Python's int, any other (and -0) its float. */
  number(value: number): this {
    return Number.isSafeInteger(value) && !Object.is(value, -0) ? this.integer(value) : this.float(value);
  }

  string(value: string): this {
    if (this.recall(value)) return this;
    const bytes = encodeUtf8(value);
    this.op(OP.BINUNICODE).u32(bytes.length).raw(bytes);
    return this.remember(value);
  }

  boolean(value: boolean): this {
    return this.op(value ? OP.NEWTRUE : OP.NEWFALSE);
  }

  /** A class or function; protocol 2 names those of Python 2. */
  global(module: string, name: string): this {
    const path = `${module}\n${name}\n`;
    let key = this.globals.get(path);
    if (key !== undefined) {
      this.recall(key);
      return this;
    }
    this.globals.set(path, (key = {}));
    this.op(OP.GLOBAL).raw(this.encoder.encode(path));
    return this.remember(key);
  }

  /** A tuple of what `items` write. */
  tuple(...items: readonly (() => unknown)[]): this {
    if (items.length === 0) return this.op(OP.EMPTY_TUPLE);
    this.op(OP.MARK);
    for (const item of items) item();
    return this.op(OP.TUPLE);
  }

  /** bytes, which protocol 2 can only say as text to be encoded. */
  bytestring(value: Uint8Array): this {
    let text = '';
    for (const byte of value) text += String.fromCharCode(byte);
    return this.global('_codecs', 'encode')
      .tuple(
        () => this.string(text),
        () => this.string('latin1'),
      )
      .op(OP.REDUCE);
  }

  done(): Uint8Array {
    this.op(OP.STOP);
    return this.bytes.subarray(0, this.length);
  }

  private u32(value: number): this {
    return this.op(value & 255, (value >>> 8) & 255, (value >>> 16) & 255, value >>> 24);
  }

  private raw(bytes: ArrayLike<number>): void {
    if (this.length + bytes.length > this.bytes.length) {
      const grown = new Uint8Array(Math.max(2 * this.bytes.length, this.length + bytes.length));
      grown.set(this.bytes.subarray(0, this.length));
      this.bytes = grown;
    }
    this.bytes.set(bytes, this.length);
    this.length += bytes.length;
  }
}

/** Little-endian two's complement in as few bytes as hold the sign. */
function longBytes(value: bigint): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; rest >>= 8n) {
    const byte = Number(rest & 255n);
    bytes.push(byte);
    const after = rest >> 8n;
    if ((after === 0n && byte < 128) || (after === -1n && byte >= 128)) return bytes;
  }
}

const maxDepth = 400;

/**
 * Writes plain JavaScript values: null, booleans, numbers, strings, bytes, arrays (as lists), Maps and
 * objects (as dicts) and Sets. An object whose keys are all whole numbers becomes a dict with int keys, as an
 * optimizer's state has them. `special` writes the values it knows and says whether it did; `path` names a
 * value in errors.
 */
export function writePlain(
  writer: PickleWriter,
  root: unknown,
  special: (value: unknown, path: string) => boolean,
  isOrdered: (map: ReadonlyMap<unknown, unknown>) => boolean = () => false,
): void {
  const write = (value: unknown, path: string, depth: number): void => {
    // Python's own unpickler has no such bound, but its pickler recurses as deep as this one.
    if (depth > maxDepth)
      throw new CheckpointError(`pickle: ${quote(path)} is nested more than ${maxDepth} deep`);
    if (value === null) writer.op(OP.NONE);
    else if (typeof value === 'boolean') writer.boolean(value);
    else if (typeof value === 'number') writer.number(value);
    else if (typeof value === 'bigint') writer.integer(value);
    else if (typeof value === 'string') writer.string(value);
    else if (special(value, path)) return;
    else if (value instanceof Uint8Array) writer.bytestring(value);
    else if (typeof value === 'object' && writer.recall(value)) return;
    else if (Array.isArray(value)) {
      writer.op(OP.EMPTY_LIST).remember(value);
      if (value.length === 0) return;
      writer.op(OP.MARK);
      value.forEach((item, i) => write(item, `${path}[${i}]`, depth + 1));
      writer.op(OP.APPENDS);
    } else if (value instanceof Set) {
      writer.global('__builtin__', 'set');
      writer.tuple(() => write([...value], path, depth + 1)).op(OP.REDUCE);
      writer.remember(value);
    } else if (value instanceof Map) {
      if (isOrdered(value)) writer.global('collections', 'OrderedDict').op(OP.EMPTY_TUPLE, OP.REDUCE);
      else writer.op(OP.EMPTY_DICT);
      writer.remember(value);
      items([...value], path, depth);
    } else if (isPlainObject(value)) {
      writer.op(OP.EMPTY_DICT).remember(value);
      // As in JSON, a property that is undefined is one that is not there.
      const entries = Object.entries(value).filter(([, item]) => item !== undefined);
      const counted = entries.every(([key]) => /^(0|[1-9]\d{0,14})$/.test(key));
      items(counted ? entries.map(([key, item]) => [Number(key), item] as const) : entries, path, depth);
    } else {
      const kind = typeof value === 'object' ? (value.constructor?.name ?? 'object') : typeof value;
      const instead = hasState(value) ? '; write its stateDict()' : '';
      throw new CheckpointError(
        `pickle: ${path === '' ? 'the value' : quote(path)} is of kind ${kind}${instead}; tensors, numbers, strings, booleans, null, ` +
          'arrays, Maps, Sets, plain objects and bytes (Uint8Array) can be written',
      );
    }
  };
  const items = (pairs: readonly (readonly [unknown, unknown])[], path: string, depth: number): void => {
    if (pairs.length === 0) return;
    writer.op(OP.MARK);
    for (const [key, item] of pairs) {
      if (typeof key === 'object' && key !== null)
        throw new CheckpointError(`pickle: ${quote(path)} has a key that is no string, number or boolean`);
      write(key, `${path} (a key)`, depth + 1);
      write(item, path === '' ? String(key) : `${path}.${String(key)}`, depth + 1);
    }
    writer.op(OP.SETITEMS);
  };
  write(root, '', 0);
}

/** A module, an optimizer, a scheduler, ... */
const hasState = (value: unknown): boolean =>
  typeof (value as { stateDict?: unknown } | undefined)?.stateDict === 'function';

function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
