/**
 * A pickle interpreter that cannot run code: globals come from the caller's fixed table of inert constructors, and
 * anything else ends the load. Opcodes and their meaning: Python's `Lib/pickletools.py`.
 */

import { CheckpointError, formatBytes, quote } from './errors.js';
import { OP } from './pickle-opcodes.js';
import {
  decodeLong,
  decodePython2String,
  decodeUtf8,
  fromBigInt,
  latin1,
  parseFloatLiteral,
  parseInteger,
  parseQuoted,
  parseRawUnicode,
} from './pickle-text.js';
import { PickledClassError, PickleGlobal, PickleObject, PickleTruncatedError } from './pickle-types.js';
import type { PickleHost, PickleLimits, PickleValue } from './pickle-types.js';

const maxContainers = 2_000_000;
const maxLine = 2 ** 24;

/**
 * Reads the one pickle that starts at `start`. Returns its value and the position after its STOP.
 * Throws {@link PickleTruncatedError} if the data ends first, {@link CheckpointError} for anything malformed or refused;
 * messages give the byte position but no file name, which the caller adds.
 */
export function unpickle(data: Uint8Array, host: PickleHost, start = 0): { value: PickleValue; end: number } {
  const machine = new Unpickler(data, host, start);
  try {
    return { value: machine.run(), end: machine.position };
  } catch (error) {
    if (error instanceof CheckpointError && !(error instanceof PickledClassError)) {
      error.message += ` (at byte ${machine.position - start} of the pickle)`;
    }
    throw error;
  }
}

class Unpickler implements PickleLimits {
  position: number;
  private readonly view: DataView;
  private stack: PickleValue[] = [];
  private readonly outer: PickleValue[][] = [];
  private readonly memo = new Map<number, PickleValue>();
  private readonly globals = new Map<string, PickleGlobal>();
  private containers = 0;
  private work: number;

  constructor(
    private readonly data: Uint8Array,
    private readonly host: PickleHost,
    start: number,
  ) {
    this.position = start;
    this.view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    this.work = 1_000_000 + 16 * data.length;
  }

  spend(amount: number): void {
    this.work -= amount;
    if (this.work < 0) throw new CheckpointError('the pickle asks for far more work than its size; refused');
  }

  run(): PickleValue {
    for (;;) {
      const code = this.take(1);
      if (this.data[code] === OP.STOP) return this.pop();
      this.step(this.data[code]!);
    }
  }

  private step(code: number): void {
    switch (code) {
      case OP.PROTO: {
        const version = this.byte();
        if (version > 5) throw new CheckpointError(`pickle protocol ${version} is newer than 5`);
        return;
      }
      case OP.FRAME:
        // Framing only helps readers of streams.
        this.take(8);
        return;
      case OP.MARK:
        this.countContainer();
        this.outer.push(this.stack);
        this.stack = [];
        return;
      case OP.POP:
        if (this.stack.length > 0) this.stack.pop();
        else this.popMark();
        return;
      case OP.POP_MARK:
        this.popMark();
        return;
      case OP.DUP:
        return this.push(this.top());

      case OP.NONE:
        return this.push(null);
      case OP.NEWTRUE:
        return this.push(true);
      case OP.NEWFALSE:
        return this.push(false);
      case OP.BININT:
        return this.push(this.view.getInt32(this.take(4), true));
      case OP.BININT1:
        return this.push(this.byte());
      case OP.BININT2:
        return this.push(this.view.getUint16(this.take(2), true));
      case OP.LONG1:
        return this.push(decodeLong(this.bytes(this.byte())));
      case OP.LONG4:
        return this.push(decodeLong(this.bytes(this.length(this.view.getInt32(this.take(4), true)))));
      case OP.INT: {
        const text = this.line();
        return this.push(text === '01' ? true : text === '00' ? false : parseInteger(text));
      }
      case OP.LONG:
        return this.push(parseInteger(this.line()));
      case OP.FLOAT:
        return this.push(parseFloatLiteral(this.line()));
      case OP.BINFLOAT:
        return this.push(this.view.getFloat64(this.take(8), false));

      case OP.STRING:
        return this.push(parseQuoted(this.lineBytes()));
      case OP.BINSTRING:
        return this.push(
          decodePython2String(this.bytes(this.length(this.view.getInt32(this.take(4), true)))),
        );
      case OP.SHORT_BINSTRING:
        return this.push(decodePython2String(this.bytes(this.byte())));
      case OP.UNICODE:
        return this.push(parseRawUnicode(this.lineBytes()));
      case OP.SHORT_BINUNICODE:
        return this.push(decodeUtf8(this.bytes(this.byte())));
      case OP.BINUNICODE:
        return this.push(decodeUtf8(this.bytes(this.view.getUint32(this.take(4), true))));
      case OP.BINUNICODE8:
        return this.push(decodeUtf8(this.bytes(this.length64())));
      case OP.SHORT_BINBYTES:
        return this.push(this.bytes(this.byte()).slice());
      case OP.BINBYTES:
        return this.push(this.bytes(this.view.getUint32(this.take(4), true)).slice());
      case OP.BINBYTES8:
      case OP.BYTEARRAY8:
        return this.push(this.bytes(this.length64()).slice());

      case OP.EMPTY_TUPLE:
      case OP.EMPTY_LIST:
        this.countContainer();
        return this.push([]);
      case OP.TUPLE1:
        return this.tuple(1);
      case OP.TUPLE2:
        return this.tuple(2);
      case OP.TUPLE3:
        return this.tuple(3);
      case OP.TUPLE:
      case OP.LIST:
        return this.push(this.popMark());
      case OP.EMPTY_DICT:
        this.countContainer();
        return this.push(new Map());
      case OP.DICT: {
        const items = this.popMark();
        return this.push(setItems(new Map(), items));
      }
      case OP.EMPTY_SET:
        this.countContainer();
        return this.push(new Set());
      case OP.FROZENSET:
        return this.push(new Set(this.popMark()));
      case OP.APPEND: {
        const item = this.pop();
        asList(this.top()).push(item);
        return;
      }
      case OP.APPENDS: {
        const items = this.popMark();
        const list = asList(this.top());
        for (const item of items) list.push(item);
        return;
      }
      case OP.SETITEM: {
        const value = this.pop();
        const key = this.pop();
        setItems(asDict(this.top()), [key, value]);
        return;
      }
      case OP.SETITEMS: {
        const items = this.popMark();
        setItems(asDict(this.top()), items);
        return;
      }
      case OP.ADDITEMS: {
        const items = this.popMark();
        const set = this.top();
        if (!(set instanceof Set))
          throw new CheckpointError('items are added to something that is not a set');
        for (const item of items) set.add(item);
        return;
      }

      case OP.GET:
        return this.recall(this.memoIndex());
      case OP.BINGET:
        return this.recall(this.byte());
      case OP.LONG_BINGET:
        return this.recall(this.view.getUint32(this.take(4), true));
      case OP.PUT:
        this.memo.set(this.memoIndex(), this.top());
        return;
      case OP.BINPUT:
        this.memo.set(this.byte(), this.top());
        return;
      case OP.LONG_BINPUT:
        this.memo.set(this.view.getUint32(this.take(4), true), this.top());
        return;
      case OP.MEMOIZE:
        this.memo.set(this.memo.size, this.top());
        return;

      case OP.GLOBAL:
        return this.push(this.global(this.line(), this.line()));
      case OP.STACK_GLOBAL: {
        const name = this.pop();
        const module = this.pop();
        if (typeof module !== 'string' || typeof name !== 'string') {
          throw new CheckpointError('a global is not named by strings');
        }
        return this.push(this.global(module, name));
      }
      case OP.INST: {
        const global = this.global(this.line(), this.line());
        return this.push(this.call(global, this.popMark()));
      }
      case OP.OBJ: {
        const [callee, ...args] = this.popMark();
        return this.push(this.call(callee ?? null, args));
      }
      case OP.REDUCE:
      case OP.NEWOBJ: {
        const args = asList(this.pop());
        return this.push(this.call(this.pop(), args));
      }
      case OP.NEWOBJ_EX: {
        const keywords = this.pop();
        const args = asList(this.pop());
        if (!(keywords instanceof Map) || keywords.size > 0) {
          throw new CheckpointError('an object is made with keyword arguments, which no weight file needs');
        }
        return this.push(this.call(this.pop(), args));
      }
      case OP.BUILD: {
        const state = this.pop();
        const target = this.top();
        if (target instanceof PickleObject) target.setState(state, this);
        // Attributes of a dict, such as the `_metadata` of a state dict, are no part of its items.
        else if (!(target instanceof Map)) throw new CheckpointError('state is set on a plain value');
        return;
      }
      case OP.BINPERSID:
        return this.push(this.persistent(this.pop()));
      case OP.PERSID:
        return this.push(this.persistent(this.line()));
      default:
        throw new CheckpointError(
          `unknown pickle opcode 0x${code.toString(16).padStart(2, '0')}; the data is corrupt or not a pickle`,
        );
    }
  }

  private persistent(id: PickleValue): PickleValue {
    if (!this.host.persistentLoad) throw new CheckpointError('a persistent id where none is expected');
    return this.host.persistentLoad(id);
  }

  private call(callee: PickleValue, args: readonly PickleValue[]): PickleValue {
    if (!(callee instanceof PickleGlobal))
      throw new CheckpointError('something that is not a function is called');
    if (!callee.call) throw new CheckpointError(`${callee.path} is called, which no weight file needs`);
    this.countContainer();
    return callee.call(args, this);
  }

  private global(module: string, name: string): PickleGlobal {
    const path = `${module}.${name}`;
    let found = this.globals.get(path);
    if (found === undefined) {
      found = this.host.find(module, name);
      if (found === undefined) throw this.refusal(module, name);
      this.globals.set(path, found);
    }
    return found;
  }

  private refusal(module: string, name: string): CheckpointError {
    const path = `${module}.${name}`.slice(0, 200);
    if (this.isInstantiated()) {
      return new PickledClassError(`holds a pickled object of the Python class ${quote(path)}`, path);
    }
    const advice = this.host.explain?.(module, name);
    return new CheckpointError(
      `the pickle refers to ${quote(path)}, which is not among the names a weight file may use; ` +
        `nothing was executed${advice ? `. ${advice}` : ''}`,
    );
  }

  /** Whether the bytes that follow make an object of the class just named, as `torch.save(model)` does. */
  private isInstantiated(): boolean {
    // The legacy format wraps a module's class as the persistent id ('module', class, file, source).
    if (this.stack.length === 1 && this.stack[0] === 'module') return true;
    let at = this.position;
    const skipMemo = () => {
      const code = this.data[at];
      if (code === OP.BINPUT) at += 2;
      else if (code === OP.LONG_BINPUT) at += 5;
      else if (code === OP.MEMOIZE) at += 1;
    };
    skipMemo();
    if (this.data[at++] !== OP.EMPTY_TUPLE) return false;
    skipMemo();
    return this.data[at] === OP.NEWOBJ;
  }

  private countContainer(): void {
    if (++this.containers > maxContainers) {
      throw new CheckpointError(`the pickle makes more than ${maxContainers} containers; refused`);
    }
  }

  private tuple(length: number): void {
    if (this.stack.length < length)
      throw new CheckpointError('the pickle takes more values than it has pushed');
    this.countContainer();
    this.push(this.stack.splice(this.stack.length - length));
  }

  private push(value: PickleValue): void {
    this.stack.push(value);
  }

  private pop(): PickleValue {
    const value = this.stack.pop();
    if (value === undefined) throw new CheckpointError('the pickle takes more values than it has pushed');
    return value;
  }

  private top(): PickleValue {
    const value = this.stack[this.stack.length - 1];
    if (value === undefined) throw new CheckpointError('the pickle uses a value it has not pushed');
    return value;
  }

  private popMark(): PickleValue[] {
    const items = this.stack;
    const below = this.outer.pop();
    if (below === undefined) throw new CheckpointError('the pickle closes a group it has not opened');
    this.stack = below;
    return items;
  }

  private memoIndex(): number {
    const index = parseInteger(this.line());
    if (typeof index !== 'number' || index < 0) throw new CheckpointError('bad memo index');
    return index;
  }

  private recall(index: number): void {
    const value = this.memo.get(index);
    if (value === undefined) throw new CheckpointError(`memo entry ${index} is read before it is written`);
    this.push(value);
  }

  private take(length: number): number {
    const at = this.position;
    if (at + length > this.data.length) {
      throw new PickleTruncatedError(
        `the pickle is truncated: ${formatBytes(length)} wanted where ${formatBytes(this.data.length - at)} are left`,
        at + length,
      );
    }
    this.position = at + length;
    return at;
  }

  private byte(): number {
    return this.data[this.take(1)]!;
  }

  private bytes(length: number): Uint8Array {
    const at = this.take(length);
    return this.data.subarray(at, at + length);
  }

  private length(value: number): number {
    if (value < 0) throw new CheckpointError(`negative length ${value}`);
    return value;
  }

  private length64(): number {
    return Number(fromBigInt(this.view.getBigUint64(this.take(8), true)));
  }

  private lineBytes(): Uint8Array {
    const end = this.data.indexOf(10, this.position);
    if (end < 0)
      throw new PickleTruncatedError('the pickle is truncated inside a line of text', this.data.length + 1);
    const bytes = this.data.subarray(this.position, end);
    if (bytes.length > maxLine) throw new CheckpointError(`a line of text has ${formatBytes(bytes.length)}`);
    this.position = end + 1;
    return bytes;
  }

  private line(): string {
    return latin1(this.lineBytes());
  }
}

function asList(value: PickleValue): PickleValue[] {
  if (!Array.isArray(value)) throw new CheckpointError('a list or tuple is expected');
  return value;
}

function asDict(value: PickleValue): Map<PickleValue, PickleValue> {
  if (!(value instanceof Map)) throw new CheckpointError('items are set on something that is not a dict');
  return value;
}

function setItems(
  map: Map<PickleValue, PickleValue>,
  items: readonly PickleValue[],
): Map<PickleValue, PickleValue> {
  if (items.length % 2 !== 0) throw new CheckpointError('a dict key has no value');
  for (let i = 0; i < items.length; i += 2) map.set(items[i]!, items[i + 1]!);
  return map;
}
