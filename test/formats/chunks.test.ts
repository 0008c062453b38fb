import { beforeAll, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';
import { HostTensor, memorySource, type HostDtype } from '../../src/formats/index.js';
import { randomNumbers } from './support.js';

/** Every element's bytes differ, so that a wrong place shows. */
function storage(bytes: number) {
  const next = randomNumbers(7);
  const source = memorySource(Uint8Array.from({ length: bytes }, () => 256 * next()));
  let largest = 0;
  return {
    size: bytes,
    read: (offset: number, length: number) => {
      largest = Math.max(largest, length);
      return source.read(offset, length);
    },
    largest: () => largest,
  };
}

async function joined(chunks: AsyncIterable<Uint8Array>, most: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const chunk of chunks) {
    expect(chunk.length).toBeLessThanOrEqual(most);
    parts.push(Buffer.from(chunk)); // a copy: the piece's memory is used again
  }
  return Buffer.concat(parts);
}

describe('tensors read in pieces', () => {
  const layouts: [string, number[], number[], number][] = [
    ['contiguous', [4, 5, 6], [30, 6, 1], 3],
    ['channels last', [2, 3, 4, 5], [60, 1, 15, 3], 0],
    ['transposed', [7, 11], [1, 7], 2],
    ['expanded', [5, 6], [0, 1], 4],
    ['sliced', [6, 3], [10, 2], 1],
    ['scalar', [], [], 8],
    ['empty', [0, 3], [3, 1], 0],
  ];
  const dtypes: HostDtype[] = ['uint8', 'float16', 'float32', 'int64', 'complex128'];
  it.each(layouts)('%s', async (_, shape, strides, offset) => {
    for (const dtype of dtypes)
      for (const bigEndian of [false, true]) {
        const tensor = new HostTensor({ dtype, shape, strides, offset, bigEndian, storage: storage(2400) });
        const whole = Buffer.from(await tensor.bytes());
        expect(whole.length).toBe(tensor.byteLength);
        for (const most of [16, 48, 100, 4096])
          expect(await joined(tensor.chunks(most), most)).toEqual(whole);
      }
  });

  it('needs no more memory than a piece', async () => {
    const source = storage(4 * 1000);
    const tensor = new HostTensor({ dtype: 'float32', shape: [10, 100], storage: source });
    for await (const floats of tensor.float32Chunks(64)) expect(floats.length).toBeLessThanOrEqual(64);
    expect(source.largest()).toBe(256);
  });

  it('converts piece by piece', async () => {
    const values = [0, -0, 1 / 3, 65519.99, 65520, 6e-8, 2e-8, 1e-3, -1.00048828125, 3e38, NaN, -Infinity];
    const tensor = HostTensor.from('float32', [values.length], values);
    for (const dtype of ['float16', 'bfloat16', 'float64'] as const) {
      const wanted = await HostTensor.from(dtype, [values.length], Float32Array.from(values)).bytes();
      expect(await joined(tensor.to(dtype).chunks(8), 8)).toEqual(Buffer.from(wanted));
    }
    const counts = HostTensor.from('int64', [3], [1n, -2n, 2n ** 31n - 1n]);
    expect([...(await counts.to('int32').toInt32Array())]).toEqual([1, -2, 2 ** 31 - 1]);
    await expect(
      HostTensor.from('int64', [1], [2n ** 40n])
        .to('int32')
        .bytes(),
    ).rejects.toThrow(/does not fit/);
  });
});

describe('loadStateDict', () => {
  beforeAll(() => k.init());

  it('uploads large tensors in pieces', async () => {
    const count = 2 * 1024 ** 2 + 3;
    // Whole numbers that float32 holds, each its own.
    const numbers = new Float32Array(count).map((_, i) => i);
    const values = memorySource(new Uint8Array(numbers.buffer));
    let largest = 0;
    const counting = {
      size: values.size,
      read: (offset: number, length: number) => {
        largest = Math.max(largest, length);
        return values.read(offset, length);
      },
    };
    const layer = new k.nn.Linear(count, 1);
    await layer.loadStateDict(
      new Map([
        ['weight', new HostTensor({ dtype: 'float32', shape: [1, count], storage: counting })],
        ['bias', HostTensor.from('float64', [1], [0.25])],
      ]),
    );
    expect(largest).toBeLessThanOrEqual(4 * 1024 ** 2);
    const loaded = await layer.weight.data();
    expect(loaded.length).toBe(count);
    expect(loaded.findIndex((value, i) => value !== numbers[i])).toBe(-1);
    expect(await layer.bias!.data()).toEqual(new Float32Array([0.25]));
  });

  it('takes halves, integers and booleans as they are', async () => {
    const model = new k.nn.Identity();
    model.registerBuffer('halfs', k.tensor([0, 0, 0], { dtype: 'float16' }));
    model.registerBuffer('ints', k.tensor([0, 0], { dtype: 'int32' }));
    model.registerBuffer('bools', k.tensor([false, true], { dtype: 'bool' }));
    await model.loadStateDict(
      new Map([
        ['halfs', HostTensor.from('bfloat16', [3], [1, 2, -0.5])],
        ['ints', HostTensor.from('int64', [2], [7n, -9n])],
        ['bools', HostTensor.from('bool', [2], [1, 0])],
      ]),
    );
    const state = model.stateDict();
    expect([...(await state.get('halfs')!.data())]).toEqual([1, 2, -0.5]);
    expect([...(await state.get('ints')!.data())]).toEqual([7, -9]);
    expect([...(await state.get('bools')!.data())]).toEqual([1, 0]);
  });
});
