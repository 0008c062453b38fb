import { noGrad } from '../autograd/mode.js';
import { runtime } from '../device/index.js';
import { copy_, reshape } from '../ops/index.js';
import { encode, type DType } from '../tensor/dtype.js';
import { isTensor } from '../tensor/scope.js';
import { sameShape, showShape, type Shape } from '../tensor/shape.js';
import { Tensor } from '../tensor/tensor.js';
import { scoped } from '../tensor/tidy.js';
import type { StateEntry } from './module.js';

type Numbers = ArrayLike<number>;

/** Values on the host: with their numbers at hand, or read from a file when asked for (as weight files give them). */
export type HostTensorLike =
  | { readonly shape: Shape; readonly data: Numbers }
  | {
      readonly shape: Shape;
      toFloat32Array(): Promise<Float32Array>;
      /** Throws for values that an int32 cannot hold. */
      toInt32Array(): Promise<Int32Array>;
    };

export type TensorLike = Tensor | HostTensorLike;

/** A Map, as `stateDict()` gives it, or a plain object. */
export type StateDict<T> = ReadonlyMap<string, T> | Readonly<Record<string, T>>;

export interface LoadOptions {
  /** Default true: keys that are missing or unexpected are an error. */
  strict?: boolean;
}

export interface IncompatibleKeys {
  /** The model has them, the state dict does not. */
  readonly missingKeys: readonly string[];
  /** The state dict has them, the model does not. */
  readonly unexpectedKeys: readonly string[];
}

/** Files from before PyTorch 0.4.1 have no counter, and PyTorch does not ask for one either. */
const mayBeMissing = (key: string): boolean =>
  key === 'num_batches_tracked' || key.endsWith('.num_batches_tracked');

/** @internal Checks everything first, then copies; a promise when some values have to be read. */
export function loadStateDict(
  model: string,
  entries: readonly StateEntry[],
  state: StateDict<TensorLike>,
  { strict = true }: LoadOptions,
): IncompatibleKeys | Promise<IncompatibleKeys> {
  const given: ReadonlyMap<string, TensorLike> =
    state instanceof Map ? state : new Map(Object.entries(state));
  const keys = new Set(entries.map(({ key }) => key));
  const missingKeys = [...keys].filter((key) => !given.has(key) && !mayBeMissing(key));
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
  if (pending) return readAndCopy(copies).then(() => result);
  for (const [target, source] of copies) assign(target, source as Tensor | { shape: Shape; data: Numbers });
  return result;
}

/** PyTorch's rule: the same shape, or one element for a zero-dim tensor. */
const fits = (target: Shape, source: Shape): boolean =>
  sameShape(target, source) || (target.length === 0 && source.length === 1 && source[0] === 1);

const list = (what: string, items: readonly string[]): string =>
  items.length === 0 ? '' : `  ${items.length} ${what}: ${items.join(', ')}`;

function hint(keys: ReadonlySet<string>, unexpected: readonly string[]): string {
  const parallel = unexpected.some(
    (key) => key.startsWith('module.') && keys.has(key.slice('module.'.length)),
  );
  return parallel
    ? "  The keys start with 'module.', as DataParallel writes them: drop that prefix from every key."
    : '';
}

async function readAndCopy(copies: readonly (readonly [Tensor, TensorLike])[]): Promise<void> {
  for (const [target, source] of copies) assign(target, await read(source, target.dtype));
}

async function read(source: TensorLike, dtype: DType): Promise<Tensor | { shape: Shape; data: Numbers }> {
  if (isTensor(source) || 'data' in source) return source as Tensor | { shape: Shape; data: Numbers };
  const data = await (dtype === 'int32' ? source.toInt32Array() : source.toFloat32Array());
  return { shape: source.shape, data };
}

/** @internal Overwrites `target` with a tensor or with host numbers of its shape. */
export function assign(
  target: Tensor,
  source: Tensor | { readonly shape: Shape; readonly data: Numbers },
): void {
  if (!isTensor(source)) {
    if (source.data.length !== target.numel()) {
      throw new Error(
        `loadStateDict: ${source.data.length} values given for a tensor of shape ${showShape(target.shape)}`,
      );
    }
    if (target.isContiguous() && target.dtype !== 'float16') {
      if (source.data.length === 0) return;
      const bytesPerWord = 4;
      runtime().write(target.deviceBuffer, target.offset * bytesPerWord, encode(source.data, target.dtype));
      target.storage.bumpVersion('loadStateDict');
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
