import { describe, expect, it } from 'vitest';
import { HostTensor } from '../../src/formats/index.js';
import { expected, fixturePath } from './support.js';
import { loadCheckpoint } from '../../src/formats/index.js';

const { tensors } = await loadCheckpoint(fixturePath('dtypes.zip.pth'));
const floats = async (key: string) => [...(await tensors.get(key)!.toFloat32Array())];

describe('HostTensor conversions', () => {
  it('every real dtype becomes float32 as `tensor.float()` does', async () => {
    const double = new Float64Array(
      Uint8Array.from(Buffer.from(expected['dtypes.zip.pth']!['float64']!.hex, 'hex')).buffer,
    );
    expect(await floats('float64')).toEqual([...double].map(Math.fround));
    expect(await floats('float32')).toEqual([...double].map(Math.fround));
    // As printed by PyTorch 1.13: torch.tensor([...], dtype=...).double().tolist()
    expect(await floats('float16')).toEqual([
      0, -0, 1, -1.5, 0.0999755859375, 0.000029981136322021484, 65504, Infinity, -Infinity, NaN, 5.960464477539063e-8,
    ]); // prettier-ignore
    expect(await floats('bfloat16')).toEqual([
      0, -0, 1, -1.5, 0.10009765625, 0.000030040740966796875, 65536, Infinity, -Infinity, NaN, 6.007030606269836e-8,
    ]); // prettier-ignore
    for (const key of ['uint8', 'int8', 'int16', 'int32', 'int64'])
      expect(await floats(key), key).toEqual([0, 1, 2, 3, 100, 127]);
    expect(await floats('bool')).toEqual([0, 1, 1, 1, 1, 1]);
    await expect(floats('complex64')).rejects.toThrow(
      /tensor 'complex64': complex64 values cannot become float32/,
    );
  });

  it('integers become int32, and one that does not fit names its key, value and index', async () => {
    for (const key of ['uint8', 'int8', 'int16', 'int32', 'int64']) {
      expect([...(await tensors.get(key)!.toInt32Array())], key).toEqual([0, 1, 2, 3, 100, 127]);
    }
    await expect(tensors.get('int64.wide')!.toInt32Array()).rejects.toThrow(
      /tensor 'int64\.wide': int64 value 1099511627776 at index 0 does not fit int32/,
    );
    const limits = HostTensor.from('int64', [3], [-(2 ** 31), -1, 2 ** 31 - 1]);
    expect([...(await limits.toInt32Array())]).toEqual([-(2 ** 31), -1, 2 ** 31 - 1]);
    for (const value of [2 ** 31, -(2 ** 31) - 1, 2 ** 32 - 1]) {
      await expect(HostTensor.from('int64', [1], [value]).toInt32Array()).rejects.toThrow(
        `int64 value ${value} at index 0`,
      );
    }
    await expect(HostTensor.from('uint64', [1], [2 ** 31]).toInt32Array()).rejects.toThrow(
      'uint64 value 2147483648',
    );
    await expect(HostTensor.from('uint32', [1], [2 ** 31]).toInt32Array()).rejects.toThrow(
      'uint32 value 2147483648',
    );
    await expect(tensors.get('float32')!.toInt32Array()).rejects.toThrow(
      /holds float32, not integers; read it with toFloat32Array/,
    );
  });

  it('8-bit floats decode by their definition', async () => {
    const codes = Uint8Array.of(0x00, 0x80, 0x38, 0x01, 0x7e, 0x7f, 0xc0);
    expect([...(await HostTensor.fromBytes('float8_e4m3fn', [7], codes).toFloat32Array())]).toEqual([
      0, -0, 1, 2 ** -9, 448, NaN, -2,
    ]); // prettier-ignore
    const wide = Uint8Array.of(0x00, 0x3c, 0x01, 0x7b, 0x7c, 0xfc, 0x7d);
    expect([...(await HostTensor.fromBytes('float8_e5m2', [7], wide).toFloat32Array())]).toEqual([
      0, 1, 2 ** -16, 57344, Infinity, -Infinity, NaN,
    ]); // prettier-ignore
  });

  it('encoding float16 inverts decoding for all 65536 codes', async () => {
    const codes = Uint16Array.from({ length: 65536 }, (_, i) => i);
    const values = await HostTensor.fromBytes(
      'float16',
      [65536],
      new Uint8Array(codes.buffer),
    ).toFloat32Array();
    const again = new Uint16Array((await HostTensor.from('float16', [65536], values).bytes()).buffer);
    const wrong = codes.filter((code, i) => again[i] !== code && !Number.isNaN(values[i]!));
    expect([...wrong]).toEqual([]);
  });

  it('encoding rounds halves to nearest even', async () => {
    const half = async (value: number) =>
      (await HostTensor.from('float16', [1], [value]).toFloat32Array())[0];
    expect(await half(1 + 2 ** -11)).toBe(1);
    expect(await half(1 + 3 * 2 ** -11)).toBe(1 + 2 ** -9);
    expect(await half(1 + 2 ** -11 + 2 ** -30)).toBe(1 + 2 ** -10);
    expect(await half(65519.99)).toBe(65504);
    expect(await half(65520)).toBe(Infinity);
    expect(await half(2 ** -25)).toBe(0);
    expect(await half(1.5 * 2 ** -24)).toBe(2 ** -23);
    const brain = async (value: number) =>
      (await HostTensor.from('bfloat16', [1], [value]).toFloat32Array())[0];
    expect(await brain(1 + 2 ** -8)).toBe(1);
    expect(await brain(1 + 3 * 2 ** -8)).toBe(1 + 2 ** -6);
    expect(await brain(NaN)).toBeNaN();
    expect(await brain(3.4e38)).toBe(Infinity);
  });

  it('from() checks counts, wholeness and range', () => {
    expect(() => HostTensor.from('float32', [2, 2], [1, 2, 3], { name: 'w' })).toThrow(
      /tensor w: shape \[2, 2\] needs 4 values, got 3/,
    );
    expect(() => HostTensor.from('int32', [1], [1.5])).toThrow(/value 1\.5 at index 0 is not a whole number/);
    expect(() => HostTensor.from('uint8', [2], [1, 256])).toThrow(/value 256 at index 1 does not fit uint8/);
    expect(() => HostTensor.from('int64', [1], [2n ** 63n])).toThrow(/does not fit int64/);
  });

  it('uint8 and bool come as bytes', async () => {
    expect([...(await HostTensor.fromBytes('bool', [3], Uint8Array.of(0, 1, 255)).toUint8Array())]).toEqual([
      0, 1, 1,
    ]);
    expect([...(await tensors.get('uint8')!.toUint8Array())]).toEqual([0, 1, 2, 3, 100, 127]);
    await expect(tensors.get('int8')!.toUint8Array()).rejects.toThrow(/holds int8, not uint8 or bool/);
  });
});
