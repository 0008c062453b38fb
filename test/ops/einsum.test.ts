import { beforeAll, describe, expect, test } from 'vitest';
import { einsum, init, rand, tensor, type Tensor } from '../../src/index.js';

beforeAll(() => init());

/** Every assignment of the letters, one after the other. */
async function plainly(
  inputs: readonly string[],
  output: string,
  operands: readonly Tensor[],
): Promise<number[]> {
  const size = new Map<string, number>();
  inputs.forEach((letters, i) =>
    [...letters].forEach((letter, d) => size.set(letter, (operands[i] as Tensor).size(d))),
  );
  const all = [...output, ...[...size.keys()].filter((letter) => !output.includes(letter))];
  const values = await Promise.all(operands.map((x) => x.data()));
  const out = new Array<number>([...output].reduce((n, letter) => n * (size.get(letter) ?? 1), 1)).fill(0);
  const place = (letters: string, at: ReadonlyMap<string, number>): number =>
    [...letters].reduce((sum, letter) => sum * (size.get(letter) ?? 1) + (at.get(letter) ?? 0), 0);
  const go = (d: number, at: Map<string, number>): void => {
    const letter = all[d];
    if (letter === undefined) {
      const product = inputs.reduce((p, letters, i) => p * ((values[i] ?? [])[place(letters, at)] ?? NaN), 1);
      out[place(output, at)] = (out[place(output, at)] ?? 0) + product;
      return;
    }
    for (let i = 0; i < (size.get(letter) ?? 0); i++) go(d + 1, at.set(letter, i));
  };
  go(0, new Map());
  return out;
}

const sizes: Readonly<Record<string, number>> = { a: 2, b: 3, c: 4, d: 2, e: 3, f: 2 };

describe('einsum is the sum over all assignments of its letters', () => {
  test.each([
    'ab,bc->ac',
    'ab,bc,cd->ad',
    'abc,cd,dbe->ae',
    'ab,bc,cd,de,ef->fa',
    'aab,b->a',
    'ab,ab,ab->b',
    'a,b,c->cab',
    'abc->',
    'abac->cb',
  ])('%s', async (equation) => {
    const [left = '', output = ''] = equation.split('->');
    const inputs = left.split(',');
    const operands = inputs.map((letters) => rand([...letters].map((letter) => sizes[letter] ?? 1)));
    const got = await einsum(equation, ...operands).data();
    (await plainly(inputs, output, operands)).forEach((value, i) => expect(got[i]).toBeCloseTo(value, 4));
  });
});

test('without -> the result has the letters that occur once, in order', async () => {
  const [a, b] = [rand(2, 3), rand(3, 4)];
  expect(await einsum('zy,yx', a, b).toArray()).toEqual(await einsum('zy,yx->xz', a, b).toArray());
});

test('operands come in an array too, and with lists of labels', async () => {
  const [a, b] = [rand(2, 3), rand(3, 4)];
  const expected = await einsum('ij,jk->ik', a, b).toArray();
  expect(await einsum('ij,jk->ik', [a, b]).toArray()).toEqual(expected);
  expect(await einsum(a, [0, 1], b, [1, 2], [0, 2]).toArray()).toEqual(expected);
});

test('integers are exact', async () => {
  const x = tensor([[16777217, 1]], { dtype: 'int32' });
  expect(await einsum('ij,ij->', x, tensor([[3, 1]], { dtype: 'int32' })).item()).toBe(50331652);
});

test('a single operand that is only rearranged is a view', () => {
  const x = rand(2, 3);
  expect(einsum('ij->ji', x).storage).toBe(x.storage);
});

test('of many operands the cheap products come first', () => {
  // From the left, the first product alone would take more memory than there is.
  const long = rand(1 << 18);
  expect(einsum('i,j,j,i->', long, long, long, long).shape).toEqual([]);
});

test('without operands it is refused', () => {
  expect(() => einsum('ij->i', [])).toThrow('expected one tensor per operand');
});

test.each([
  ['i->i', 'do not fit an operand of shape [2, 3]'],
  ['i1->i', 'a subscript that is no letter'],
  ['ij->k', "'k' of the result occurs in no operand"],
  ['ij->ii', "'i' occurs twice in the result"],
  ['ii->i', 'dims of different sizes in one operand'],
  ['ij,jk->ik', 'the equation has 2 operands, got 1'],
  ['i...j...', "more than one '...'"],
])('%s is refused for one operand of shape [2, 3]', (equation, message) => {
  expect(() => einsum(equation, rand(2, 3))).toThrow(message);
});
