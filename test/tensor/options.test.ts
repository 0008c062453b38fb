import { describe, expect, it } from 'vitest';
import { argumentReader, optionReader, required } from '../../src/tensor/options.js';

const read = optionReader(
  'sum',
  { dim: null as number | null, keepdim: false, dtype: null as string | null },
  'dim',
  'keepdim',
);

describe('optionReader', () => {
  it('gives the defaults where nothing is given', () => {
    expect(read([])).toEqual({ dim: null, keepdim: false, dtype: null });
  });

  it('takes a few by position and all by name', () => {
    const want = { dim: 1, keepdim: true, dtype: null };
    expect(read([1, true])).toEqual(want);
    expect(read([1, { keepdim: true }])).toEqual(want);
    expect(read([{ dim: 1, keepdim: true }])).toEqual(want);
  });

  it('takes undefined for left out', () => {
    expect(read([undefined, true, { dtype: undefined }])).toEqual({ dim: null, keepdim: true, dtype: null });
  });

  it('does not take arrays, typed arrays and instances of classes for options', () => {
    for (const value of [[0], new Float32Array(1), new Map()])
      expect(read([value])).toEqual({ dim: value, keepdim: false, dtype: null });
  });

  it('names an unknown option, the one that was meant, and all there are', () => {
    expect(() => read([{ keepdims: true }])).toThrow(
      "sum: there is no option 'keepdims'; did you mean 'keepdim'? Its options are dim, keepdim, dtype",
    );
    expect(() => read([{ colour: true }])).toThrow(/no option 'colour'\. Its options are dim/);
  });

  it('refuses a surplus argument', () => {
    expect(() => read([1, true, 'float32'])).toThrow(
      /^sum: .*float32.*only dim, keepdim may be given by position/,
    );
    expect(() => optionReader('add', { alpha: 1 })([2])).toThrow(/^add: .*2 .*given by name, as in \{ alpha/);
  });

  it('refuses an option that is given by position and by name', () => {
    expect(() => read([1, { dim: 0 }])).toThrow("sum: 'dim' is given twice, by position and as an option");
  });

  it('says what must be given and is not, by position or by name', () => {
    const readTopk = optionReader('topk', { k: required<number>(), dim: -1 }, 'k', 'dim');
    expect(readTopk([3, { dim: 0 }])).toEqual({ k: 3, dim: 0 });
    expect(readTopk([{ k: 3 }])).toEqual({ k: 3, dim: -1 });
    for (const args of [[], [undefined], [{ dim: 0 }]])
      expect(() => readTopk(args)).toThrow("topk: 'k' is missing; give it by position or by name");
    const readTranspose = argumentReader<[number, number]>('transpose', 'dim0', 'dim1');
    expect(readTranspose([0, { dim1: 1 }])).toEqual([0, 1]);
    expect(readTranspose([{ dim1: 1, dim0: 0 }])).toEqual([0, 1]);
    expect(() => readTranspose([0])).toThrow("transpose: 'dim1' is missing");
  });
});
