import { describe, expect, it } from 'vitest';
import { CheckpointError } from '../../src/formats/index.js';
import { unpickle } from '../../src/formats/pickle.js';
import { explainGlobal, findGlobal } from '../../src/formats/torch-globals.js';
import { cpuSeconds } from '../tooling/cpu-time.js';

const bytes = (...parts: (string | number | readonly number[])[]): Uint8Array =>
  Uint8Array.from(
    parts.flatMap((part) =>
      typeof part === 'string'
        ? [...part].map((c) => c.charCodeAt(0))
        : typeof part === 'number'
          ? [part]
          : [...part],
    ),
  );

const read = (...parts: Parameters<typeof bytes>) =>
  unpickle(bytes(...parts), { find: findGlobal, explain: explainGlobal }).value;

describe('pickle values', () => {
  it.each<[string, Parameters<typeof bytes>, unknown]>([
    ['None', ['N.'], null],
    ['True and False', ['\x80\x02(\x88\x89t.'], [true, false]],
    ['protocol 0 bools', ['(I01\nI00\nt.'], [true, false]],
    ['small ints', ['(K\x05M', [0x39, 0x30], 'J', [0xff, 0xff, 0xff, 0xff], 't.'], [5, 12345, -1]],
    ['a long that fits a number', ['\x8a\x02', [0x00, 0x80], '.'], -32768],
    ['an empty long', ['\x8a\x00.'], 0],
    ['a long past 2^53', ['\x8a\x08', [0, 0, 0, 0, 0, 0, 0, 0x40], '.'], 2n ** 62n],
    ['a protocol 0 long', ['L-123456789012345678901234L\n.'], -123456789012345678901234n],
    ['floats', ['(F1.5e-3\nFnan\nG', [0x3f, 0xf0, 0, 0, 0, 0, 0, 0], 't.'], [1.5e-3, NaN, 1]],
    ['unicode', ['X\x05\x00\x00\x00', [0x61, 0xc3, 0xa9, 0xc2, 0xb5], '.'], 'aéµ'],
    ['protocol 0 unicode', ['Va\\u00e9\xb5\n.'], 'aéµ'],
    ['a protocol 0 string with escapes', ["S'it\\'s\\n\\x41\\101\\\\'\n."], "it's\nAA\\"],
    ['a Python 2 string that is not text', ['U\x02', [0xff, 0xfe], '.'], Uint8Array.of(0xff, 0xfe)],
    ['bytes', ['C\x02\x01\x02.'], Uint8Array.of(1, 2)],
    ['lists by APPEND, APPENDS and LIST', ['](K\x01K\x02eK\x03a(K\x04la.'], [1, 2, 3, [4]]],
    ['a dict by SETITEM and SETITEMS', ['}K\x01K\x02s(K\x03K\x04u.'], new Map([[1, 2], [3, 4]])], // prettier-ignore
    ['a protocol 0 dict', ['(dVa\nI1\ns.'], new Map([['a', 1]])],
    ['sets', ['\x80\x04\x8f(K\x01K\x02\x90.'], new Set([1, 2])],
    ['memo', [']q\x00h\x00a0K\x07.'], 7],
    ['MEMOIZE and BINGET', ['\x80\x04\x8c\x01a\x94h\x00\x86.'], ['a', 'a']],
    ['OrderedDict', ['ccollections\nOrderedDict\n)R.'], new Map()],
    ['a set by REDUCE', ['c__builtin__\nset\n(](K\x01K\x01etR.'], new Set([1])],
    ['a protocol 4 global', ['\x80\x04\x8c\x0bcollections\x8c\x0bOrderedDict\x93)R.'], new Map()],
    ['torch.Size', ['ctorch\nSize\n((K\x02K\x03ttR.'], [2, 3]],
    [
      'protocol 2 bytes',
      ['c_codecs\nencode\n(X\x02\x00\x00\x00\xc3\xbfX\x06\x00\x00\x00latin1tR.'],
      Uint8Array.of(255),
    ],
  ])('%s', (_, parts, want) => {
    expect(read(...parts)).toEqual(want);
  });

  it('reports where the next pickle starts', () => {
    const two = bytes('K\x01.K\x02.');
    const first = unpickle(two, { find: findGlobal });
    expect(first).toEqual({ value: 1, end: 3 });
    expect(unpickle(two, { find: findGlobal }, first.end)).toEqual({ value: 2, end: 6 });
  });

  it('keeps sharing and cycles', () => {
    const list = read(']q\x00h\x00a.') as unknown[];
    expect(list[0]).toBe(list);
  });
});

describe('hostile pickles', () => {
  it.each<[string, string, RegExp]>([
    ['os.system by GLOBAL', "cos\nsystem\n(S'touch hacked'\ntR.", /"os\.system".*nothing was executed/],
    ['os.system by INST', "(S'touch hacked'\nios\nsystem\n.", /"os\.system"/],
    ['os.system by STACK_GLOBAL', '\x80\x04\x8c\x02os\x8c\x06system\x93.', /"os\.system"/],
    ['eval', "cbuiltins\neval\n(S'1'\ntR.", /"builtins\.eval"/],
    ['getattr', 'cbuiltins\ngetattr\n.', /"builtins\.getattr"/],
    ['a name of Object.prototype', 'ctorch\nconstructor\n.', /"torch\.constructor"/],
    ['torch.load', 'ctorch\nload\n.', /"torch\.load"/],
    ['quantised tensors', 'ctorch._utils\n_rebuild_qtensor\n.', /dequantize/],
    ['calling a type', 'ctorch\nFloatStorage\n)R.', /torch\.FloatStorage is called/],
    ['calling a number', 'K\x01)R.', /not a function/],
    ['a huge string', 'X\xff\xff\xff\xff', /truncated/],
    ['a huge 64-bit length', '\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7f', /truncated/],
    ['a negative length', 'T\xff\xff\xff\xff', /negative length/],
    ['a long of 2 GB', '\x8b\xff\xff\xff\x7f', /truncated/],
    ['too many digits', `L${'9'.repeat(5000)}L\n.`, /bad integer/],
    ['bad text', 'X\x01\x00\x00\x00\xff.', /not valid UTF-8/],
    ['an empty stack', '.', /more values than it has pushed/],
    ['popping past the start', '0.', /group it has not opened/],
    ['an unopened group', 't.', /group it has not opened/],
    ['an unknown memo entry', 'h\x07.', /memo entry 7 is read before/],
    ['appending to a dict', '}K\x01a.', /list or tuple is expected/],
    ['an odd dict', '}(K\x01u.', /key has no value/],
    ['state on a number', 'K\x01}b.', /state is set on a plain value/],
    ['an unknown opcode', '\xfe', /unknown pickle opcode 0xfe/],
    ['extension registry', '\x82\x01.', /unknown pickle opcode 0x82/],
    ['a persistent id where none belongs', 'K\x01Q.', /persistent id/],
    ['a future protocol', '\x80\x09.', /protocol 9/],
    ['no end', 'K\x01', /truncated/],
    ['nothing', '', /truncated/],
  ])('%s', (_, text, message) => {
    expect(() => read(text)).toThrow(CheckpointError);
    expect(() => read(text)).toThrow(message);
  });

  it('a memo bomb (each list holds the one before twice) costs what it weighs', async () => {
    let text = ']q\x00';
    for (let i = 1; i < 200; i++)
      text += `](h${String.fromCharCode(i - 1)}h${String.fromCharCode(i - 1)}eq${String.fromCharCode(i)}`;
    expect(await cpuSeconds(1, () => expect(read(`${text}.`)).toHaveLength(2))).toBeLessThan(1);
  });

  it('copying one long string a million times is refused', async () => {
    const long = 100_000;
    const text = `c_codecs\nencode\nq\x00(X\xa0\x86\x01\x00${'a'.repeat(long)}X\x06\x00\x00\x00latin1tq\x01R0`;
    const refused = (): void =>
      expect(() => read(`${text}${'h\x00h\x01R0'.repeat(100_000)}N.`)).toThrow(/far more work than its size/);
    expect(await cpuSeconds(2, refused)).toBeLessThan(2);
  });

  it('millions of containers are refused before they fill the memory', () => {
    const data = new Uint8Array(2_100_000).fill(']'.charCodeAt(0));
    expect(() => unpickle(data, { find: findGlobal })).toThrow(
      /more than 68\.0 MiB of host memory.*\{ limits: \{ memory: \d+ \} \}/,
    );
  });
});
