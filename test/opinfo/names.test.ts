/**
 * What PyTorch names behind an op's tensors is taken by that name, camelCased, in one object at the end: what each
 * sample of the op database gives by position from its first argument that is no tensor on is given so.
 */
import { beforeAll, expect, it } from 'vitest';
import { camelCase } from '../../scripts/names/camel-case.js';
import { clone, init, runtime, type Tensor } from '../../src/index.js';
import { lookUp } from './judge.js';
import { keyOf, loadEntries, read, type Entry, type Sample } from './samples.js';

beforeAll(() => init());

/** Ops that take positions only. */
const positional: Readonly<Record<string, string>> = {
  arange: 'the sample names no argument but those that every maker has',
  eye: 'the same',
  einsum: 'the tensors follow the equation one by one',
  'nn.functional.batch_norm': 'the running statistics are tensors or null, and must be given',
  __getitem__: 'an index is no argument with a name',
  polygamma: 'the order stands first there and last in kindling, or the other way round',
  'special.polygamma': 'the same',
};

const isTensorValue = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && 'T' in value;

/** Whether one of the overloads is taken, and what the first said; null where there is nothing to try. */
function taken(entry: Entry, sample: Sample): true | string | null {
  const call = lookUp(entry.name);
  const at = sample.args.findIndex((value) => !isTensorValue(value));
  if (call === null || at < 0) return null;
  const said: string[] = [];
  for (const [, ...names] of entry.arguments) {
    if (names.length < sample.args.length || names.slice(at, sample.args.length).includes('out')) continue;
    const input = read(sample.input, []);
    const args = sample.args.map((value) => read(value, []));
    const options = Object.fromEntries([
      ...Object.entries(sample.kwargs).map(([key, value]) => [camelCase(key), read(value, [])] as const),
      ...args.slice(at).map((value, i) => [camelCase(names[at + i] as string), value] as const),
    ]);
    const first = entry.name.endsWith('_') ? clone(input as Tensor) : input;
    try {
      const result = runtime().withoutWork(() => call(first, ...args.slice(0, at), options));
      if (result instanceof Promise) result.catch(() => null);
      return true;
    } catch (error) {
      said.push((error as Error).message);
    }
  }
  return said[0] ?? null;
}

it.each(
  loadEntries()
    .filter(({ name }) => !(name in positional))
    .map((entry) => ({ key: keyOf(entry), entry })),
)('$key', ({ entry }) => {
  expect(entry.samples.map((sample) => taken(entry, sample) ?? true)).toEqual(entry.samples.map(() => true));
});
