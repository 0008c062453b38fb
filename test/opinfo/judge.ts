/**
 * Calls kindling as PyTorch's op database calls PyTorch, by names and conventions that are found mechanically,
 * and compares results, gradients and gradients of gradients.
 */
import * as k from '../../src/index.js';
import { Tensor } from '../../src/index.js';
import { camelCase } from '../../scripts/names/camel-case.js';
import { keyOf, read, upload, valuesOf, type Entry, type Packed, type Sample } from './samples.js';

type Call = (...args: unknown[]) => unknown;
type Names = Readonly<Record<string, unknown>>;

const roomsOf = (name: string): readonly (Names | undefined)[] => {
  const all = k as unknown as Names;
  if (name.startsWith('nn.functional.')) return [k.nn.functional, all];
  const [room] = name.split('.');
  if (room === name) return [all];
  return room === 'special' ? [all['special'] as Names, all] : [all[room as string] as Names | undefined];
};

/** The function, method or property of that name; null where there is none. */
export function lookUp(name: string): Call | null {
  const base = name.split('.').at(-1) as string;
  // A private name of PyTorch's is looked for without its underscore.
  const own = base.startsWith('__') ? base : camelCase(base.replace(/^_/, ''));
  for (const room of roomsOf(name)) if (typeof room?.[own] === 'function') return room[own] as Call;
  const member = Object.getOwnPropertyDescriptor(Tensor.prototype, own);
  if (member?.get) return (x) => (x as unknown as Names)[own];
  if (typeof member?.value === 'function')
    return (x, ...rest) => (x as unknown as Record<string, Call>)[own]!(...rest);
  return null;
}

/** What the wrappers of the database do before they call PyTorch's function: most take operands in another order. */
const wrapped: Readonly<Record<string, (args: unknown[]) => unknown[]>> = {
  'nn.functional.embedding': ([weight, input, ...rest]) => [input, weight, ...rest],
  where: ([x, condition, ...rest]) => [condition, x, ...rest],
  'linalg.pinv@singular': ([a, b, ...rest]) => [k.matmul(a as Tensor, (b as Tensor).mT), ...rest],
};

const withOptions = (args: readonly unknown[], options: Names): unknown[] =>
  Object.keys(options).length === 0 ? [...args] : [...args, options];

/** The ways in which PyTorch's arguments may be given to kindling, likely ones first. */
function* conventions(entry: Entry, args: readonly unknown[], kwargs: Names): Generator<unknown[]> {
  const options = Object.fromEntries(Object.entries(kwargs).map(([key, value]) => [camelCase(key), value]));
  yield withOptions(args, options);
  // From some position on by name.
  for (const [, ...names] of entry.arguments)
    for (let kept = args.length - 1; kept >= 0; kept--) {
      if (names.length < args.length) continue;
      const moved = args
        .slice(kept)
        .map((value, i) => [camelCase(names[kept + i] as string), value] as const);
      yield withOptions(args.slice(0, kept), { ...options, ...Object.fromEntries(moved) });
    }
  // Named ones by position.
  for (const [, ...names] of entry.arguments) {
    const following = names.slice(args.length);
    for (let count = 1; count <= following.length && following[count - 1]! in kwargs; count++) {
      const placed = following.slice(0, count);
      const left = Object.entries(options).filter(([key]) => !placed.some((name) => camelCase(name) === key));
      yield withOptions([...args, ...placed.map((name) => kwargs[name])], Object.fromEntries(left));
    }
  }
  // A list of tensors one by one.
  if (Array.isArray(args[0])) yield withOptions([...(args[0] as unknown[]), ...args.slice(1)], options);
}

const tensorsOf = (value: unknown): Tensor[] => {
  if (value instanceof Tensor) return [value];
  if (Array.isArray(value)) return value.flatMap(tensorsOf);
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(tensorsOf) : [];
};

/** How `got` differs from `want` by more than 1e-4 of each value and 1e-5 of the largest; null if it does not. */
async function difference(got: Tensor, want: Packed): Promise<string | null> {
  if (String(got.shape) !== String(want.shape)) return `shape [${got.shape}] for [${want.shape}]`;
  const values = Array.from(await got.data(), Number);
  const wanted = valuesOf(want);
  const largest = Math.max(0, ...wanted.map(Math.abs).filter(Number.isFinite));
  for (const [i, value] of wanted.entries()) {
    const error = Math.abs((values[i] as number) - value);
    const allowed = 1e-5 + 1e-4 * Math.abs(value) + 1e-5 * largest;
    if (!Object.is(values[i], value) && values[i] !== value && !(error <= allowed))
      return `${values[i]} for ${value} at ${i}`;
  }
  return null;
}

/** A gradient may be missing where PyTorch's is missing or zero. */
async function gradientDifference(got: Tensor | null, want: Packed | null): Promise<string | null> {
  const isZero = (values: ArrayLike<number>): boolean =>
    Array.from(values).every((value) => Number(value) === 0);
  if (want === null)
    return got === null || isZero(await got.data()) ? null : 'a gradient where PyTorch has none';
  if (got === null) return isZero(valuesOf(want)) ? null : 'no gradient';
  return difference(got, want);
}

async function firstDifference(
  what: string,
  got: readonly (Tensor | null)[],
  want: readonly (Packed | null)[],
): Promise<void> {
  for (const [i, one] of want.entries()) {
    const found = await gradientDifference(got[i] ?? null, one);
    if (found !== null) throw new Error(`${what} ${i}: ${found}`);
  }
}

const isFlagged = (flags: readonly boolean[] | undefined) => (_: unknown, i: number) => flags?.[i] === true;

interface Accepted {
  readonly outputs: Tensor[];
  readonly leaves: Tensor[];
  readonly operands: readonly unknown[];
}

/** Calls until a convention gives PyTorch's values. @throws Error with what the first one gave. */
async function callAsPyTorch(entry: Entry, sample: Sample): Promise<Accepted> {
  const call = lookUp(entry.name) as Call;
  const leaves: Tensor[] = [];
  const input = read(sample.input, leaves);
  const args = sample.args.map((value) => read(value, leaves));
  const kwargs = Object.fromEntries(
    Object.entries(sample.kwargs).map(([key, value]) => [key, read(value, leaves)]),
  );
  const problems: string[] = [];
  for (const rest of conventions(entry, args, kwargs)) {
    const given = [entry.name.endsWith('_') ? k.clone(input as Tensor) : input, ...rest];
    const operands = wrapped[keyOf(entry)]?.(given) ?? given;
    try {
      const result = await call(...operands);
      const outputs = tensorsOf(result);
      if (sample.scalar !== undefined) {
        const value = outputs[0] === undefined ? result : await outputs[0].item();
        if (Number(value) !== Number(sample.scalar)) throw new Error(`${String(value)} for ${sample.scalar}`);
      } else if (outputs.length < sample.outputs.length)
        throw new Error(`${outputs.length} results for ${sample.outputs.length}`);
      for (const [i, want] of sample.outputs.entries()) {
        const found = await difference(outputs[i] as Tensor, want);
        if (found !== null) throw new Error(`result ${i}: ${found}`);
      }
      return { outputs, leaves, operands };
    } catch (error) {
      problems.push((error as Error).message);
    }
  }
  throw new Error(problems.find((problem) => problem.startsWith('result')) ?? problems[0]);
}

/** From plain JavaScript nothing is silently ignored. Properties (`x.T`) are not called. */
async function checkRefusesMore({ name }: Entry, operands: readonly unknown[]): Promise<void> {
  if (Object.getOwnPropertyDescriptor(Tensor.prototype, name)?.get !== undefined) return;
  const call = lookUp(name) as Call;
  const refused = await (async () => call(...operands, { zzz: 1 }))().then(
    () => false,
    () => true,
  );
  if (!refused) throw new Error('takes an option that there is not');
}

/** @throws Error that says how kindling differs from PyTorch on the sample. */
export async function judge(entry: Entry, sample: Sample, orders: 0 | 1 | 2 = 2): Promise<void> {
  const { outputs, leaves, operands } = await callAsPyTorch(entry, sample);
  await checkRefusesMore(entry, operands);
  if (orders === 0 || sample.grads === undefined) return;
  const twice = orders === 2 && sample.gg !== undefined;
  const grads = k.autograd.grad(outputs.filter(isFlagged(sample.which)), leaves, {
    gradOutputs: sample.cot!.map(upload),
    allowUnused: true,
    createGraph: twice,
  });
  await firstDifference('gradient', grads, sample.grads);
  if (!twice) return;
  // A gradient that depends on nothing may come without a graph.
  const seeds = sample.cot2!.map(upload);
  const pairs = grads
    .filter(isFlagged(sample.gwhich))
    .map((grad, i) => ({ grad, seed: seeds[i] as Tensor }))
    .filter(({ grad }) => grad?.requiresGrad);
  const again =
    pairs.length === 0
      ? leaves.map(() => null)
      : k.autograd.grad(
          pairs.map(({ grad }) => grad as Tensor),
          leaves,
          { gradOutputs: pairs.map(({ seed }) => seed), allowUnused: true },
        );
  await firstDifference('double gradient', again, sample.gg!);
}
