/**
 * A pickle interpreter that cannot run code: globals come from the caller's fixed table of inert
 * constructors, and anything else ends the load. Opcodes and their meaning: Python's `Lib/pickletools.py`.
 */

import { latin1 } from './byte-source.js';
import { CheckpointError, formatBytes, quote } from './errors.js';
import { Budget, defaultLimits } from './limits.js';
import { cost, weigh } from './pickle-cost.js';
import { OP as opcodes } from './pickle-opcodes.js';
import {
  decodeLong,
  decodePython2String,
  decodeUtf8,
  fromBigInt,
  parseFloatLiteral,
  parseInteger,
  parseQuoted,
  parseRawUnicode,
} from './pickle-text.js';
import { OpaqueObject, PickleGlobal, PickleObject, PickleTruncatedError } from './pickle-types.js';
import type { PickleHost, PickleLimits, PickleValue } from './pickle-types.js';

// A local name: where modules are not bundled, a runner may make each use of an imported one a call, and the
// switch below has up to fifty for every byte.
const OP = opcodes;

const maxLine = 2 ** 24;
const maxName = 1000;

/**
 * Reads the one pickle that starts at `start`. Returns its value and the position after its STOP. Throws
 * {@link PickleTruncatedError} if the data ends first, {@link CheckpointError} for anything malformed or
 * refused; messages give the byte position but no file name, which the caller adds.
 */
export function unpickle(
  data: Uint8Array,
  host: PickleHost,
  start = 0,
  budget = new Budget(defaultLimits, data.length),
): { value: PickleValue; end: number } {
  const machine = new Unpickler(data, host, start, budget);
  try {
    return { value: machine.run(), end: machine.position };
  } catch (error) {
    if (error instanceof CheckpointError)
      error.message += ` (at byte ${machine.position - start} of the pickle)`;
    throw error;
  }
}

class Unpickler implements PickleLimits {
  position: number;
  private readonly view: DataView;
  private stack: PickleValue[] = [];
  private readonly outer: PickleValue[][] = [];
  // An array: a Map's hash of numbers is known to all, and many indices of one hash would make each look-up
  // slow.
  private readonly memo: PickleValue[] = [];
  private memoSize = 0;
  private readonly globals = new Map<string, PickleGlobal>();
  private work: number;

  constructor(
    private readonly data: Uint8Array,
    private readonly host: PickleHost,
    start: number,
    private readonly budget: Budget,
  ) {
    this.position = start;
    this.view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    this.work = 1_000_000 + 16 * data.length;
  }

  spend(amount: number): void {
    this.work -= amount;
    if (this.work < 0) throw new CheckpointError('the pickle asks for far more work than its size; refused');
  }

  hold(bytes: number): void {
    this.budget.hold(bytes);
  }

  key(value: PickleValue): void {
    this.budget.key(value);
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
        this.hold(cost.list);
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
        return this.pushData(parseQuoted(this.lineBytes()));
      case OP.BINSTRING:
        return this.pushData(
          decodePython2String(this.bytes(this.length(this.view.getInt32(this.take(4), true)))),
        );
      case OP.SHORT_BINSTRING:
        return this.pushData(decodePython2String(this.bytes(this.byte())));
      case OP.UNICODE:
        return this.pushData(parseRawUnicode(this.lineBytes()));
      case OP.SHORT_BINUNICODE:
        return this.pushData(decodeUtf8(this.bytes(this.byte())));
      case OP.BINUNICODE:
        return this.pushData(decodeUtf8(this.bytes(this.view.getUint32(this.take(4), true))));
      case OP.BINUNICODE8:
        return this.pushData(decodeUtf8(this.bytes(this.length64())));
      case OP.SHORT_BINBYTES:
        return this.pushData(this.bytes(this.byte()).slice());
      case OP.BINBYTES:
        return this.pushData(this.bytes(this.view.getUint32(this.take(4), true)).slice());
      case OP.BINBYTES8:
      case OP.BYTEARRAY8:
        return this.pushData(this.bytes(this.length64()).slice());

      case OP.EMPTY_TUPLE:
      case OP.EMPTY_LIST:
        this.hold(cost.list);
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
        this.hold(cost.dict);
        return this.push(new Map());
      case OP.DICT: {
        const items = this.popMark();
        this.hold(cost.dict);
        return this.push(this.setItems(new Map(), items));
      }
      case OP.EMPTY_SET:
        this.hold(cost.dict);
        return this.push(new Set());
      case OP.FROZENSET: {
        const items = this.popMark();
        this.hold(cost.dict);
        return this.push(this.addItems(new Set(), items));
      }
      // An object of a foreign class may be a list or a dict of some kind; nobody looks into it.
      case OP.APPEND: {
        const item = this.pop();
        const list = this.top();
        if (!(list instanceof OpaqueObject)) asList(list).push(item);
        return;
      }
      case OP.APPENDS: {
        const items = this.popMark();
        const target = this.top();
        if (target instanceof OpaqueObject) return;
        const list = asList(target);
        for (const item of items) list.push(item);
        return;
      }
      case OP.SETITEM: {
        const value = this.pop();
        const key = this.pop();
        const target = this.top();
        if (!(target instanceof OpaqueObject)) this.setItems(asDict(target), [key, value]);
        return;
      }
      case OP.SETITEMS: {
        const items = this.popMark();
        const target = this.top();
        if (!(target instanceof OpaqueObject)) this.setItems(asDict(target), items);
        return;
      }
      case OP.ADDITEMS: {
        const items = this.popMark();
        const set = this.top();
        if (set instanceof OpaqueObject) return;
        if (!(set instanceof Set))
          throw new CheckpointError('items are added to something that is not a set');
        this.addItems(set, items);
        return;
      }

      case OP.GET:
        return this.recall(this.memoIndex());
      case OP.BINGET:
        return this.recall(this.byte());
      case OP.LONG_BINGET:
        return this.recall(this.view.getUint32(this.take(4), true));
      case OP.PUT:
        return this.remember(this.memoIndex());
      case OP.BINPUT:
        return this.remember(this.byte());
      case OP.LONG_BINPUT:
        return this.remember(this.view.getUint32(this.take(4), true));
      case OP.MEMOIZE:
        return this.remember(this.memoSize);

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
        const callee = this.pop();
        const foreign = callee instanceof PickleGlobal && callee.foreign;
        if (!foreign && (!(keywords instanceof Map) || keywords.size > 0)) {
          throw new CheckpointError('an object is made with keyword arguments, which no weight file needs');
        }
        return this.push(this.call(callee, args));
      }
      case OP.BUILD: {
        const state = this.pop();
        const target = this.top();
        if (target instanceof PickleObject) {
          this.spend(weigh(state, 1));
          target.setState(state, this);
        }
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
    this.spend(weigh(id, 1));
    this.hold(cost.object);
    return this.host.persistentLoad(id);
  }

  private call(callee: PickleValue, args: readonly PickleValue[]): PickleValue {
    // The result of a foreign function is as foreign as the function; so is what calling it gives.
    if (callee instanceof OpaqueObject) return callee;
    if (!(callee instanceof PickleGlobal))
      throw new CheckpointError('something that is not a function is called');
    if (!callee.call) throw new CheckpointError(`${callee.path} is called, which no weight file needs`);
    // What is called may look at all of its arguments, and make something as large as they are.
    this.spend(weigh(args, 2));
    const made = callee.call(args, this);
    if (made instanceof Uint8Array) this.hold(cost.bytes + made.length);
    else if (typeof made === 'string') this.hold(cost.text + made.length);
    else if (Array.isArray(made)) this.hold(cost.list + 8 * made.length);
    else if (made instanceof Map || made instanceof Set) this.hold(cost.dict + cost.entry * made.size);
    else this.hold(cost.object);
    return made;
  }

  private global(module: string, name: string): PickleGlobal {
    if (module.length + name.length > maxName)
      throw new CheckpointError(
        `the name of a global has ${module.length + name.length} characters; at most ${maxName} are read`,
      );
    const path = `${module}.${name}`;
    let found = this.globals.get(path);
    if (found === undefined) {
      this.hold(cost.global + 2 * path.length);
      found = this.host.find(module, name);
      if (found === undefined) {
        const advice = this.host.explain?.(module, name);
        throw new CheckpointError(
          `the pickle refers to ${quote(path)}, which is not among the names a weight file may use; ` +
            `nothing was executed${advice ? `. ${advice}` : ''}`,
        );
      }
      this.globals.set(path, found);
    }
    return found;
  }

  private setItems(
    map: Map<PickleValue, PickleValue>,
    items: readonly PickleValue[],
  ): Map<PickleValue, PickleValue> {
    if (items.length % 2 !== 0) throw new CheckpointError('a dict key has no value');
    this.hold((cost.entry * items.length) / 2);
    for (let i = 0; i < items.length; i += 2) {
      this.budget.key(items[i]);
      map.set(items[i]!, items[i + 1]!);
    }
    return map;
  }

  private addItems(set: Set<PickleValue>, items: readonly PickleValue[]): Set<PickleValue> {
    this.hold(cost.entry * items.length);
    for (const item of items) {
      this.budget.key(item);
      set.add(item);
    }
    return set;
  }

  private tuple(length: number): void {
    if (this.stack.length < length)
      throw new CheckpointError('the pickle takes more values than it has pushed');
    this.hold(cost.tuple);
    this.push(this.stack.splice(this.stack.length - length));
  }

  private push(value: PickleValue): void {
    this.budget.hold(cost.slot);
    this.stack.push(value);
  }

  private pushData(value: string | Uint8Array): void {
    this.budget.hold(value.length + (typeof value === 'string' ? cost.text : cost.bytes));
    this.push(value);
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

  private remember(index: number): void {
    // Writers count from 0, so that there are no more indices than bytes.
    if (index > this.data.length)
      throw new CheckpointError(`memo index ${index} in a pickle of ${formatBytes(this.data.length)}`);
    const value = this.top();
    if (index >= this.memo.length || this.memo[index] === undefined) {
      this.budget.hold(cost.memo);
      this.memoSize++;
    }
    this.memo[index] = value;
  }

  private recall(index: number): void {
    const value = this.memo[index];
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
