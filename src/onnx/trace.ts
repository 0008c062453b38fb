/** One run of a model's forward, watched: what it computes, as a graph. */
import { interceptedBy, noGrad, type Interceptor } from '../autograd/mode.js';
import { runtime } from '../device/index.js';
import { observeCalls, type Called } from '../nn/base/call.js';
import type { Module } from '../nn/base/module.js';
import { isPlainObject } from '../tensor/options.js';
import { numel, sameShape, showShape, type Shape } from '../tensor/shape.js';
import { bytesPerElement } from '../tensor/dtype.js';
import { Storage } from '../tensor/storage.js';
import { isTensor, Tensor } from '../tensor/tensor.js';
import { tidy } from '../tensor/tidy.js';
import { inside, type Builder, type Row } from './row.js';
import { replaced, shown, type Layout, type Whole } from './views.js';
import {
  sizesOf,
  type Attributes,
  type Constant,
  type ElementType,
  type Graph,
  type Node,
  type Operand,
  type Value,
} from './graph.js';

type AnyOp = (...args: never[]) => unknown;

/** Where a row is looked up: its name, or what the op is. */
export type Rows = (name: string, op: AnyOp) => Row | null;

/** What is known of the memory of a traced tensor. */
interface Memory {
  readonly version: number;
  /** By shape, strides and offset. */
  readonly seen: Map<string, Value>;
  /** Its numbers do not depend on the inputs: other views of it may be read as constants. */
  readonly isConstant: boolean;
  /** Of which views and writes to parts are made; null while no tensor is known that fills the memory. */
  whole: Whole | null;
}

/** Nothing but it lies in its memory. */
const isWhole = (x: Tensor): boolean =>
  x.offset === 0 && x.isDense() && x.numel() * bytesPerElement[x.dtype] === x.storage.bytes;

const layoutOf = ({ shape, strides, offset }: Tensor): Layout => ({ shape, strides, offset });
const layoutKey = ({ shape, strides, offset }: Tensor): string => `${shape}|${strides}|${offset}`;

/** Ops that fill fresh memory with one number, by the name that storages note. */
const fills: Readonly<Record<string, number>> = {
  zeros: 0,
  zerosLike: 0,
  empty: 0,
  emptyLike: 0,
  ones: 1,
  onesLike: 1,
};
/** Ops that make a constant whose numbers must be read. */
const constants = new Set(['tensor', 'full', 'fullLike', 'eye']);

/** A constant was met whose numbers are on the device, in a run without its work. */
export class NeedsWork extends Error {}

/** What rows build the graph with. */
export class Tracer implements Interceptor, Builder {
  readonly nodes: Node[] = [];
  private readonly values = new Map<Tensor, Value>();
  private readonly memories = new Map<number, Memory>();
  private readonly path: string[] = [];
  /** Ops without rows that are running, the outermost first. */
  private readonly running: string[] = [];
  /** Memory that kernels of such ops wrote, which the graph knows nothing of: by which op. */
  private readonly unseen = new Map<number, string>();
  /** Called next, and run as it is, with the ops inside it traced. */
  private passing: AnyOp | null = null;

  constructor(
    private readonly rows: Rows,
    readonly opset: number,
    /** Storages with a smaller id were there before. */
    private readonly before: number,
  ) {}

  end(): void {}

  // ---- called by ops

  readonly enter = (name: string, op: AnyOp, args: readonly unknown[]): unknown => {
    if (this.passing === op) {
      this.passing = null;
      return undefined;
    }
    const row = this.rows(name, op);
    if (row !== null) {
      const result = interceptedBy(null, () => op(...(args as never[])));
      const made = row(this, args, result);
      if (made !== inside) {
        this.bind(name, result, made);
        return result;
      }
    }
    this.passing = op;
    this.running.push(name);
    try {
      const result = op(...(args as never[]));
      this.checkFollowed(name, args, result);
      return result;
    } finally {
      this.running.pop();
    }
  };

  /**
   * An op without a row may launch kernels beside the ops that it is made of: over a copy, or over zeros,
   * whose values are then no longer what the graph takes them for.
   */
  readonly launching = (read: readonly object[], written: readonly object[]): void => {
    const storages = (list: readonly object[]): Storage[] =>
      list.flatMap((x) => (isTensor(x) ? [x.storage] : x instanceof Storage ? [x] : []));
    const depends = storages(read).some(
      ({ id }) => this.memories.get(id)?.isConstant === false || this.unseen.has(id),
    );
    for (const { id, writer } of storages(written))
      if (depends || this.memories.has(id)) this.unseen.set(id, this.running.at(-1) ?? writer);
  };

  /** A write gives the memory of a tensor another value. */
  readonly write = (name: string, op: AnyOp, args: readonly unknown[]): (() => void) => {
    const self = args[0] as Tensor;
    const row = self.numel() > 0 && this.canFollow(self) ? this.rows(name, op) : null;
    const made = row?.(this, args, self);
    // What is not followed is an error where it is used.
    if (made === undefined || made === inside || Array.isArray(made)) return () => undefined;
    return () => this.rebind(self, made as Value);
  };

  /** Whether a write can be followed: to all of what the forward made, or to a part of what is known. */
  private canFollow(self: Tensor): boolean {
    if (!this.isTraced(self) && self.storage.id < this.before) return false;
    if (isWhole(self)) return true;
    // An error where an earlier write was not followed: the rest is not known then.
    this.find(self);
    const base = self.viewOf?.base;
    const isFresh = !this.memories.has(self.storage.id) && Object.hasOwn(fills, self.storage.writer);
    if (isFresh && base !== undefined && isTensor(base) && isWhole(base)) this.value(base);
    return (this.memories.get(self.storage.id)?.whole ?? null) !== null;
  }

  /** What shows the memory of `self` has another value from here on. */
  private rebind(self: Tensor, value: Value): void {
    const { storage } = self;
    const whole = this.memories.get(storage.id)?.whole ?? null;
    for (const [x] of this.values)
      if (x === self || x.isDisposed || x.storage === storage) this.values.delete(x);
    this.memories.delete(storage.id);
    this.unseen.delete(storage.id);
    if (isWhole(self) || whole === null) {
      this.register(self, value, false);
      return;
    }
    value.dtype ??= self.dtype;
    value.shape ??= self.shape;
    this.memoryOf(storage, false).whole = { ...whole, value: replaced(this, whole, layoutOf(self), value) };
  }

  /** After an op without a row: what it returned must be known by the ops that it is made of. */
  private checkFollowed(name: string, args: readonly unknown[], result: unknown): void {
    if (!tensorsIn(args).some((x) => this.isTraced(x))) return;
    for (const x of tensorsIn(result)) if (this.known(x) === null) throw this.unsupported(name);
  }

  /** @throws Error that names the op and where it was called */
  unsupported(name: string, why = 'has no counterpart in the table of ops that can be exported'): Error {
    const [outer = name] = this.running;
    const of = outer === name ? '' : ` (of '${outer}')`;
    return new Error(
      `exportOnnx: the op '${name}'${of}, called ${this.where()}, ${why}. Write this part with other ops ` +
        "(the guide's page on saving lists those that can be exported), or export the model without it",
    );
  }

  where(): string {
    const path = this.modulePath;
    return path === '' ? 'in the forward of the model itself' : `in '${path}'`;
  }

  get modulePath(): string {
    return this.path.at(-1) ?? '';
  }

  enterModule(path: string): void {
    this.path.push(path);
  }

  leaveModule(): void {
    this.path.pop();
  }

  // ---- tensors

  private isTraced(x: Tensor): boolean {
    return this.memories.get(x.storage.id)?.isConstant === false;
  }

  /** The value that `x` holds, as far as it has been followed. */
  private find(x: Tensor): Value | null {
    const { storage } = x;
    const unseen = this.unseen.get(storage.id);
    const memory = this.memories.get(storage.id);
    if (unseen !== undefined && (memory?.version ?? 0) === storage.version) throw this.unsupported(unseen);
    if (memory === undefined) return null;
    if (memory.version !== storage.version) {
      throw new Error(
        `exportOnnx: a tensor of shape ${showShape(x.shape)} was changed in place by ${storage.writer} before it was used ` +
          `${this.where()}; ONNX has no writes, so use the form that returns a new tensor (add for add_)`,
      );
    }
    return this.values.get(x) ?? memory.seen.get(layoutKey(x)) ?? null;
  }

  /** The same, also of another view of what has been followed. */
  private known(x: Tensor): Value | null {
    const found = this.find(x);
    const memory = this.memories.get(x.storage.id);
    if (found !== null || !memory?.whole || x.storage.id < this.before || x.numel() === 0) return found;
    const value = shown(this, memory.whole, layoutOf(x));
    this.register(x, value, memory.isConstant);
    return value;
  }

  /** The value of an op's operand. @throws Error for one that no op with a name made */
  value(x: Tensor): Value {
    const known = this.known(x);
    if (known !== null) return known;
    const { storage } = x;
    const memory = this.memories.get(storage.id);
    if (memory?.isConstant === false) {
      throw new Error(
        `exportOnnx: a view of shape ${showShape(x.shape)} of the result of ${storage.writer}, used ${this.where()}, was ` +
          'made in a way that the export cannot follow; make it with reshape, permute, slice, select or expand',
      );
    }
    if (memory !== undefined || storage.id < this.before) return this.readNow(x);
    return this.madeInForward(x);
  }

  /** A tensor that appeared while the forward ran, and not from an op that was followed. */
  private madeInForward(x: Tensor): Value {
    const { writer, version } = x.storage;
    const number = version === 0 && Object.hasOwn(fills, writer) ? fills[writer] : undefined;
    if (number !== undefined) {
      const one = this.constant([number], [], x.dtype);
      const filled = x.ndim === 0 ? one : this.node('Expand', [one, sizesOf(x.shape)]);
      this.register(x, filled, true);
      return filled;
    }
    if (hostSource(x) === null && (version > 0 || !constants.has(writer))) {
      throw new Error(
        `exportOnnx: a tensor of shape ${showShape(x.shape)}, used ${this.where()}, was ` +
          `${version > 0 ? 'changed in place' : 'made'} by '${writer}', which the export cannot follow: its numbers may ` +
          'depend on the input or on chance',
      );
    }
    return this.readNow(x);
  }

  /** Its numbers as they are now. */
  private readNow(x: Tensor): Value {
    const host = hostSource(x);
    if (host !== null) return this.constantOf(x, { source: host, key: null });
    if (runtime().isIdle) throw new NeedsWork();
    const data = x.data();
    // Whoever writes the graph awaits it; where there is none, nobody does.
    data.catch(() => undefined);
    return this.constantOf(x, { source: { kind: 'read', data }, key: null });
  }

  /** @internal Makes a tensor a named weight, whose numbers are read later. */
  constantOf(x: Tensor, constant: Constant): Value {
    const value: Value = { dtype: x.dtype, shape: x.shape, node: null, constant, input: null };
    this.register(x, value, true);
    return value;
  }

  input(x: Tensor, at: number): Value {
    const value: Value = { dtype: x.dtype, shape: x.shape, node: null, constant: null, input: at };
    this.register(x, value, false);
    return value;
  }

  private register(x: Tensor, value: Value, isConstant: boolean): void {
    const memory = this.memoryOf(x.storage, isConstant);
    value.dtype ??= x.dtype;
    value.shape ??= x.shape;
    this.values.set(x, value);
    memory.seen.set(layoutKey(x), value);
    if (memory.whole === null && isWhole(x)) memory.whole = { value, layout: layoutOf(x) };
  }

  private memoryOf({ id, version }: Storage, isConstant: boolean): Memory {
    let memory = this.memories.get(id);
    if (memory === undefined)
      this.memories.set(id, (memory = { version, seen: new Map<string, Value>(), isConstant, whole: null }));
    return memory;
  }

  private bind(name: string, result: unknown, made: Value | readonly (Value | null)[]): void {
    const tensors = tensorsIn(result);
    const values = Array.isArray(made) ? (made as readonly (Value | null)[]) : [made as Value];
    tensors.forEach((x, i) => {
      const value = values[i] ?? null;
      // What it returns may be what it was given.
      if (value === null || this.values.has(x)) return;
      if (value.shape !== null && !sameShape(value.shape, x.shape))
        throw new Error(`internal: ${name} gives ${showShape(x.shape)}, its value ${showShape(value.shape)}`);
      this.register(x, value, false);
    });
  }

  // ---- building

  node(op: string, operands: readonly Operand[], attributes: Attributes = {}): Value {
    return this.several(op, operands, attributes, 1)[0] as Value;
  }

  /** A node with several results. */
  several(op: string, operands: readonly Operand[], attributes: Attributes, count: number): Value[] {
    const results: Value[] = [];
    let last = operands.length;
    while (last > 0 && operands[last - 1] === null) last--;
    const node: Node = {
      op,
      operands: operands.slice(0, last),
      attributes,
      results,
      path: this.modulePath,
    };
    for (let i = 0; i < count; i++)
      results.push({ dtype: null, shape: null, node, constant: null, input: null });
    this.nodes.push(node);
    return results;
  }

  constant(values: ArrayLike<number>, shape: Shape, dtype: ElementType): Value {
    return {
      dtype,
      shape,
      node: null,
      constant: { source: { kind: 'host', values }, key: null },
      input: null,
    };
  }

  /** Zero-dim. */
  scalar(value: number, dtype: ElementType): Value {
    return this.constant([value], [], dtype);
  }

  /** An int64 list that is the same for all inputs (axes). */
  list(values: readonly number[]): Value {
    return this.constant(values, [values.length], 'int64');
  }

  reshape(data: Value, shape: Shape): Value {
    return this.node('Reshape', [data, { sizes: shape, rule: 'reshape', data }]);
  }
}

const hostSource = (x: Tensor): Constant['source'] | null => {
  const values = x.hostValues();
  return values === null ? null : { kind: 'host', values };
};

/** Tensors in lists and options, in order. */
export function tensorsIn(value: unknown): Tensor[] {
  if (isTensor(value)) return [value];
  if (Array.isArray(value)) return value.flatMap(tensorsIn);
  return isPlainObject(value) ? Object.values(value).flatMap(tensorsIn) : [];
}

export interface TraceOptions {
  readonly rows: Rows;
  readonly opset: number;
  readonly model: Module;
  /** Shapes and dtypes of the inputs. */
  readonly inputs: readonly Pick<Tensor, 'shape' | 'dtype'>[];
}

/** @throws Error where the forward does what a graph cannot hold */
export function trace(options: TraceOptions): Graph {
  // Most models are traced without any work on the device.
  try {
    return runtime().withoutWork(() => traced(options));
  } catch (error) {
    if (error instanceof NeedsWork) return traced(options);
    throw error;
  }
}

function traced({ rows, opset, model, inputs: wanted }: TraceOptions): Graph {
  const paths = new Map<Called, string>(model.namedModules().map(([path, module]) => [module, path]));
  const modes = model.modules().map((module) => [module, module.training] as const);
  model.eval();
  const stored = [...model.namedParameters(), ...model.namedBuffers()] as [string, Tensor][];
  const versions = stored.map(([, { storage }]) => storage.version);
  try {
    return tidy((): Graph => {
      const inputs = wanted.map(({ shape, dtype }) => Tensor.empty(shape, dtype, 'exportOnnx'));
      if (!runtime().isIdle) for (const x of inputs) clear(x);
      const tracer = new Tracer(rows, opset, Storage.made);
      for (const [key, tensor] of stored)
        tracer.constantOf(tensor, { source: { kind: 'tensor', tensor }, key });
      const values = inputs.map((x, i) => tracer.input(x, i));
      const watch = {
        enter: (module: Called) => tracer.enterModule(paths.get(module) ?? tracer.modulePath),
        leave: () => tracer.leaveModule(),
        abandon: () => tracer.leaveModule(),
      };
      const call = model as unknown as (...args: Tensor[]) => unknown;
      const result = noGrad(() => observeCalls(watch, () => interceptedBy(tracer, () => call(...inputs))));
      stored.forEach(([key, { storage }], i) => {
        if (storage.version !== versions[i])
          throw new Error(
            `exportOnnx: the forward writes to '${key}' (${storage.writer}), and ONNX has no state; export a model that does not`,
          );
      });
      const outputs = outputsOf(result).map(([name, x]) => ({ name, value: tracer.value(x) }));
      return { nodes: tracer.nodes, inputs: values, outputs };
    });
  } finally {
    for (const [module, training] of modes) module.training = training;
  }
}

function clear(x: Tensor): void {
  if (numel(x.shape) > 0) runtime().clear(x.deviceBuffer, 0, Math.ceil(x.nbytes / 4) * 4);
}

/** What a forward returned, flattened, with the keys of objects as names. */
function outputsOf(result: unknown): (readonly [string | null, Tensor])[] {
  const entries: (readonly [string | null, unknown])[] = isTensor(result)
    ? [[null, result]]
    : Array.isArray(result)
      ? (result as unknown[]).flat(Infinity).map((x) => [null, x] as const)
      : isPlainObject(result)
        ? Object.entries(result)
        : [];
  const tensors = entries.filter((entry): entry is readonly [string | null, Tensor] => isTensor(entry[1]));
  if (tensors.length === 0 || entries.some(([, x]) => !isTensor(x) && x !== null && x !== undefined))
    throw new Error(
      'exportOnnx: the forward must return a tensor, or a list or an object of tensors; ' +
        `it returned ${isTensor(result) ? '' : typeof result}`,
    );
  return tensors;
}
