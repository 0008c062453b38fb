import { isGradEnabled } from '../../autograd/mode.js';
import { GradNode } from '../../autograd/node.js';
import { SavedTensors } from '../../autograd/saved.js';
import { CheckpointedCall } from '../../autograd/recompute.js';
import { checkCount, readOptions } from '../../tensor/options.js';
import { getRngState, setRngState } from '../../ops/index.js';
import { isTensor, Tensor } from '../../tensor/tensor.js';
import { callSync } from '../../tensor/tidy.js';
import { observeCalls, type CallObserver } from '../base/call.js';
import { Sequential } from '../layers/containers.js';
import { fieldsOf, Module, type TensorModule } from '../base/module.js';

export interface CheckpointOptions {
  /**
   * Draw the same random numbers (dropout) when the function is computed again, and leave the random stream
   * as it was. Default true; false saves next to nothing here and is for functions that draw none.
   */
  preserveRngState?: boolean;
  /** PyTorch's older form, which is not there; `false` is accepted. */
  useReentrant?: false;
}

const defaults = { preserveRngState: true, useReentrant: false };
const plainName = (name: string): string => name.toLowerCase().replaceAll('_', '');
const optionNames = Object.keys(defaults).map(plainName);

/**
 * Options are a last argument that is a plain object with one of their names, Python's spelling included, so
 * that it is refused by name: other objects are for the function.
 */
const isOptions = (value: unknown): boolean =>
  isPlain(value) && Object.keys(value).some((key) => optionNames.includes(plainName(key)));

/** @throws Error for an option that is not there, or not so */
function readCheckpoint(op: string, options: object): typeof defaults {
  const read = readOptions(op, defaults, options);
  if (read.useReentrant) throw new Error(`${op}: there is no reentrant form; leave useReentrant out`);
  return read;
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

/** Where a tensor stood in the arguments. */
class Place {
  constructor(readonly index: number) {}
}

/** A copy of `value` with everything of one kind in it (in nested arrays and plain objects) replaced. */
function replaced<T>(value: unknown, is: (item: unknown) => item is T, by: (item: T) => unknown): unknown {
  if (is(value)) return by(value);
  if (Array.isArray(value)) return value.map((item) => replaced(item, is, by));
  if (!isPlain(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, replaced(item, is, by)]));
}

const isPlace = (value: unknown): value is Place => value instanceof Place;

function nameOf(fn: unknown): string {
  const name = fn instanceof Module ? fn.constructor.name : (fn as { name?: string }).name;
  return name ? `checkpoint(${name})` : 'checkpoint';
}

/**
 * `torch.utils.checkpoint.checkpoint`, in its non-reentrant form: `fn(...inputs)` of which the tape keeps the
 * inputs only, and which backward computes once more. Gradients are bit-equal to those of the plain call;
 * memory for activations is traded for one more forward pass.
 *
 * ```ts
 * const y = k.utils.checkpoint(this.block, x);
 * const z = k.utils.checkpoint((a, b) => this.mix(a, b).relu(), x, y, { preserveRngState: false });
 * ```
 * `fn` is a module or a function; it may return tensors in arrays or objects and may checkpoint parts of
 * itself. Pass the tensors it works on as inputs (arrays and plain objects of tensors too) rather than
 * capture them: what a scope made is freed at its end, and with it what a closure still refers to. Nothing is
 * kept or computed again under `noGrad`.
 *
 * Unlike PyTorch, modules with `runningMean` and `runningVar` (batch norm) that are called through a module
 * leave their running statistics alone the second time, so that they too come out as without checkpointing.
 * Other state that a forward changes (a counter of your own) is changed twice, as there.
 *
 * `fn` may write over its inputs (`nn.ReLU(true)` as its first layer): backward has a copy of what they were.
 *
 * @throws Error when `fn` is async; in backward, when it computes something else the second time, or when an
 * input was changed in place in between
 */
export function checkpoint<A extends readonly unknown[], R>(fn: (...inputs: A) => R, ...inputs: A): R;
export function checkpoint<A extends readonly unknown[], R>(
  fn: (...inputs: A) => R,
  ...inputs: [...A, CheckpointOptions]
): R;
export function checkpoint<A extends readonly unknown[], R>(
  fn: (...inputs: A) => R,
  ...inputs: readonly unknown[]
): R {
  if (typeof fn !== 'function')
    throw new Error(`checkpoint: expected a module or a function, got ${fn === null ? 'null' : typeof fn}`);
  const given: unknown[] = [...inputs];
  const options = isOptions(given.at(-1)) ? (given.pop() as CheckpointOptions) : {};
  const { preserveRngState: preserve } = readCheckpoint('checkpoint', options);
  const call = (args: readonly unknown[]): R => {
    const bound = (): R => fn(...(args as unknown as A));
    return callSync('checkpoint', 'read values outside it', fn, bound);
  };
  if (!isGradEnabled()) return call(given);

  const name = nameOf(fn);
  // The handles are the caller's to free: what backward needs is their memory.
  const kept = new SavedTensors();
  let count = 0;
  const places = replaced(given, isTensor, (tensor) => {
    kept.save(tensor);
    return new Place(count++);
  });
  const owner = new GradNode(name, [], null, () => [], -1);
  const random = getRngState();
  const again = (): void => {
    const tensors = kept.unpack(owner);
    const args = replaced(places, isPlace, (place) => tensors[place.index]) as unknown[];
    const now = getRngState();
    if (preserve) setRngState(random);
    const spare = new SpareStatistics();
    try {
      kept.lendTo(() => observeCalls(spare, () => call(args)));
    } finally {
      spare.restore();
      if (preserve) setRngState(now);
    }
  };
  // Layers that work in place may begin with the input.
  return new CheckpointedCall(name, again, kept).run(() => kept.lendTo(() => call(given)));
}

const statistics = ['runningMean', 'runningVar', 'numBatchesTracked'];

/** Lends modules that are called other running statistics, whose values nobody reads. */
class SpareStatistics implements CallObserver {
  readonly passive = true;
  private readonly lent = new Map<Module, Record<string, Tensor>>();
  private depth = 0;

  enter(module: Module): void {
    this.enterFused([module]);
  }

  enterFused(modules: readonly Module[]): void {
    if (this.depth++ > 0) return;
    for (const module of modules) for (const part of module.modules()) if (part.training) this.lend(part);
  }

  leaveFused(): void {
    this.depth--;
  }

  leave(): void {
    this.depth--;
  }

  abandon(): void {
    this.depth--;
  }

  private lend(module: Module): void {
    const fields = fieldsOf(module);
    if (this.lent.has(module) || !isTensor(fields['runningMean']) || !isTensor(fields['runningVar'])) return;
    const own: Record<string, Tensor> = {};
    for (const name of statistics) {
      const tensor = fields[name];
      if (!isTensor(tensor)) continue;
      own[name] = tensor;
      fields[name] = Tensor.empty(tensor.shape, tensor.dtype, 'checkpoint');
    }
    this.lent.set(module, own);
  }

  restore(): void {
    for (const [module, own] of this.lent) {
      const fields = fieldsOf(module);
      for (const [name, tensor] of Object.entries(own)) {
        (fields[name] as Tensor).dispose();
        fields[name] = tensor;
      }
    }
  }
}

/**
 * `torch.utils.checkpoint.checkpoint_sequential`: cuts a chain into `segments` parts of equal length (the
 * last takes the rest) and checkpoints each but the last, whose activations backward needs first anyway.
 *
 * @param functions a Sequential, or modules and functions in order
 * @param segments from 1 (nothing is checkpointed) to the length of the chain; its square root is a good
 * choice
 */
export function checkpointSequential(
  functions: Sequential | readonly (TensorModule | ((x: Tensor) => Tensor))[],
  segments: number,
  input: Tensor,
  options: CheckpointOptions = {},
): Tensor {
  checkCount('checkpointSequential', arguments.length, 4);
  const { preserveRngState } = readCheckpoint('checkpointSequential', options);
  const length = functions.length;
  if (!Number.isInteger(segments) || segments < 1 || segments > length) {
    throw new Error(
      `checkpointSequential: segments must be a whole number from 1 to the ${length} parts of the chain, got ${segments}`,
    );
  }
  const part = (from: number, to: number): ((x: Tensor) => Tensor) => {
    if (functions instanceof Sequential) return functions.slice(from, to);
    return (x) => functions.slice(from, to).reduce((value, fn) => fn(value), x);
  };
  const size = Math.floor(length / segments);
  let value = input;
  for (let i = 0; i < segments - 1; i++)
    value = checkpoint(part(i * size, (i + 1) * size), value, { preserveRngState });
  return part((segments - 1) * size, length)(value);
}
