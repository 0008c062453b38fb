import { noGrad } from '../../autograd/mode.js';
import { runtime } from '../../device/index.js';
import { copy_, reshape } from '../../ops/index.js';
import { optionReader, type Trailing } from '../../tensor/options.js';
import { bytesPerElement, encode } from '../../tensor/dtype.js';
import { printable } from '../../tensor/printable.js';
import { isTensor, Tensor } from '../../tensor/tensor.js';
import { sameShape, showShape, type Shape } from '../../tensor/shape.js';
import { scoped } from '../../tensor/tidy.js';
import { afterFailure, internals, type Called } from './call.js';

type Numbers = ArrayLike<number>;

/**
 * Values on the host: with their numbers at hand, or read from a file when asked for (as weight files give
 * them).
 */
export type HostTensorLike =
  | { readonly shape: Shape; readonly data: Numbers }
  | {
      readonly shape: Shape;
      toFloat32Array(): Promise<Float32Array>;
      /** Throws for values that an int32 cannot hold. */
      toInt32Array(): Promise<Int32Array>;
      /**
       * The same in pieces, each valid until the next is asked for: large tensors then need little host
       * memory.
       */
      float32Chunks?(maxElements: number): AsyncIterable<Float32Array>;
      int32Chunks?(maxElements: number): AsyncIterable<Int32Array>;
    };

export type TensorLike = Tensor | HostTensorLike;

/** A Map, as `stateDict()` gives it, or a plain object. */
export type StateDict<T> = ReadonlyMap<string, T> | Readonly<Record<string, T>>;

export interface LoadOptions {
  /** Default true: keys that are missing or unexpected are an error. */
  strict?: boolean;
}

/** What follows the state dict. */
export type LoadArgs = Trailing<[strict: boolean], LoadOptions>;

/** @internal */
export const readLoad = optionReader<Required<LoadOptions>>('loadStateDict', { strict: true }, 'strict');

export interface StateDictOptions {
  /** Stands before each key. Default: nothing. */
  prefix?: string;
  /** The parameters and buffers themselves instead of detached tensors. Default false. */
  keepVars?: boolean;
}

const readKeys = optionReader<Required<StateDictOptions>>(
  'stateDict',
  { prefix: '', keepVars: false },
  'prefix',
);

/** @internal */
export function readStateDict(args: readonly unknown[]): Readonly<Required<StateDictOptions>> {
  const read = readKeys(args);
  if (typeof read.prefix !== 'string')
    throw new Error(`stateDict: prefix must be a string, got ${String(read.prefix)}`);
  return read;
}

export interface IncompatibleKeys {
  /** The model has them, the state dict does not. */
  readonly missingKeys: readonly string[];
  /** The state dict has them, the model does not. */
  readonly unexpectedKeys: readonly string[];
}

/** @internal An entry of a state dict and the tensor of the model behind it. */
export interface StateEntry {
  readonly key: string;
  readonly tensor: Tensor;
}

/** Files from before PyTorch 0.4.1 have no counter, and PyTorch does not ask for one either. */
const mayBeMissing = (key: string): boolean =>
  key === 'num_batches_tracked' || key.endsWith('.num_batches_tracked');

/** Nobody may use `modules` until `load` has ended, well or not: nothing else tells of a missing `await`. */
async function untilLoaded(
  model: string,
  modules: readonly Called[],
  copies: readonly (readonly [Tensor, TensorLike])[],
): Promise<void> {
  mark(modules, `${model}: loadStateDict() has not finished: await it before the model is used`);
  const progress = { written: false };
  try {
    await readAndCopy(copies, progress);
    mark(modules, null);
  } catch (error) {
    // What has been overwritten is lost: rather no model than one of two.
    mark(modules, progress.written ? `${model}: ${afterFailure}` : null);
    throw error;
  }
}

/** Lets `modules` say why they cannot be used, or lets them be used. */
function mark(modules: readonly Called[], why: string | null): void {
  for (const module of modules) module[internals].loading = why;
}

/**
 * @internal Checks everything first, then copies; a promise when some values have to be read, until when
 * `modules` cannot be used.
 */
export function loadStateDict(
  model: string,
  modules: readonly Called[],
  entries: readonly StateEntry[],
  state: StateDict<TensorLike>,
  strict: boolean,
): IncompatibleKeys | Promise<IncompatibleKeys> {
  const given: ReadonlyMap<string, TensorLike> =
    state instanceof Map ? state : new Map(Object.entries(state));
  const keys = new Set(entries.map(({ key }) => key));
  // Of a parameter that the model has under several names one is enough: safetensors leaves the others out.
  const found = new Set(entries.filter(({ key }) => given.has(key)).map(({ tensor }) => tensor));
  const tied = new Set(entries.filter(({ tensor }) => found.has(tensor)).map(({ key }) => key));
  const missingKeys = [...keys].filter((key) => !given.has(key) && !tied.has(key) && !mayBeMissing(key));
  const unexpectedKeys = [...given.keys()].filter((key) => !keys.has(key));
  const misshapen: string[] = [];
  const copies: (readonly [Tensor, TensorLike])[] = [];
  for (const { key, tensor } of entries) {
    const source = given.get(key);
    if (source === undefined) continue;
    if (!fits(tensor.shape, source.shape)) {
      misshapen.push(
        `${key} is ${showShape(source.shape)} in the state dict and ${showShape(tensor.shape)} in the model`,
      );
    } else copies.push([tensor, source]);
  }
  const problems = [
    ...(strict
      ? [list('missing in the state dict', missingKeys), list('unexpected in the state dict', unexpectedKeys)]
      : []),
    list('of another shape', misshapen),
  ].filter((line) => line !== '');
  if (problems.length > 0) {
    throw new Error(
      [
        `loadStateDict: the state dict does not fit ${model}; nothing was loaded.`,
        ...problems,
        hint(keys, unexpectedKeys),
      ]
        .filter((line) => line !== '')
        .join('\n'),
    );
  }
  const pending = copies.some(([, source]) => !isTensor(source) && !('data' in source));
  const result = { missingKeys, unexpectedKeys };
  if (pending) return untilLoaded(model, modules, copies).then(() => result);
  for (const [target, source] of copies) assign(target, source as Tensor | { shape: Shape; data: Numbers });
  mark(
    modules.filter((module) => module[internals].loading?.endsWith(afterFailure)),
    null,
  );
  return result;
}

/** PyTorch's rule: the same shape, or one element for a zero-dim tensor. */
const fits = (target: Shape, source: Shape): boolean =>
  sameShape(target, source) || (target.length === 0 && source.length === 1 && source[0] === 1);

const longestKey = 200;

/** Keys come from files: safe to print, and no longer than a line. */
const list = (what: string, items: readonly string[]): string => {
  const shown = items.map((item) =>
    printable(item.length > longestKey ? `${item.slice(0, longestKey)}...` : item),
  );
  return items.length === 0 ? '' : `  ${items.length} ${what}: ${shown.join(', ')}`;
};

function hint(keys: ReadonlySet<string>, unexpected: readonly string[]): string {
  const parallel = unexpected.some(
    (key) => key.startsWith('module.') && keys.has(key.slice('module.'.length)),
  );
  return parallel
    ? "  The keys start with 'module.', as DataParallel writes them: drop that prefix from every key."
    : '';
}

/** Elements uploaded at a time (16 MiB). Even, so that a piece of halves ends on a whole word. */
const chunkElements = 1024 ** 2;
/**
 * Bytes uploaded before the device is waited for. A write holds a copy of its own until the queue has passed
 * it, so without a bound a fast disk would put the whole file into host memory.
 */
const maxInFlight = 8 * 1024 ** 2;

async function readAndCopy(
  copies: readonly (readonly [Tensor, TensorLike])[],
  progress: { written: boolean },
): Promise<void> {
  let inFlight = 0;
  const uploaded = async (bytes: number): Promise<void> => {
    inFlight += bytes;
    if (inFlight < maxInFlight) return;
    inFlight = 0;
    await runtime().synchronize();
  };
  for (const [target, source] of copies) {
    if (isTensor(source) || 'data' in source) {
      progress.written = true;
      assign(target, source as Tensor | { shape: Shape; data: Numbers });
      continue;
    }
    const integers = target.dtype === 'int32';
    const chunks = integers ? source.int32Chunks?.(chunkElements) : source.float32Chunks?.(chunkElements);
    if (chunks !== undefined && takesPieces(target)) {
      let at = 0;
      for await (const chunk of chunks) {
        if (at === 0) target.storage.beginWrite('loadStateDict');
        progress.written = true;
        writePiece(target, at, chunk);
        at += chunk.length;
        await uploaded(4 * chunk.length);
      }
      checkLength(target, at);
    } else {
      const data = await (integers ? source.toInt32Array() : source.toFloat32Array());
      progress.written = true;
      assign(target, { shape: source.shape, data });
      await uploaded(4 * data.length);
    }
  }
}

/** Whether host numbers can go to the tensor's memory as they come, part by part. */
function takesPieces(target: Tensor): boolean {
  if (!target.isContiguous()) return false;
  // Uploads fall on whole words; an odd number of halves may end inside one only where the memory ends too.
  return target.dtype !== 'float16' || (target.offset === 0 && target.storage.bytes === target.nbytes);
}

function writePiece(target: Tensor, at: number, values: Numbers): void {
  if (at + values.length > target.numel()) checkLength(target, at + values.length);
  const offset = (target.offset + at) * bytesPerElement[target.dtype];
  runtime().write(target.deviceBuffer, offset, encode(values, target.dtype));
}

function checkLength(target: Tensor, values: number): void {
  if (values !== target.numel()) {
    throw new Error(`loadStateDict: ${values} values given for a tensor of shape ${showShape(target.shape)}`);
  }
}

/** @internal Overwrites `target` with a tensor or with host numbers of its shape. */
export function assign(
  target: Tensor,
  source: Tensor | { readonly shape: Shape; readonly data: Numbers },
): void {
  if (!isTensor(source)) {
    checkLength(target, source.data.length);
    if (takesPieces(target)) {
      if (source.data.length === 0) return;
      target.storage.beginWrite('loadStateDict');
      writePiece(target, 0, source.data);
      return;
    }
  }
  scoped('loadStateDict', () =>
    noGrad(() => {
      const values = isTensor(source) ? source : Tensor.fromHost(source.data, target.shape, target.dtype);
      copy_(target, sameShape(values.shape, target.shape) ? values : reshape(values, target.shape));
    }),
  );
}
