import { beforeAll, describe, expect, it } from 'vitest';
import { imagesToTensor, type ImagesToTensorOptions } from '../../src/data/index.js';
import { init, runtime } from '../../src/device/index.js';
import { planBytes } from '../../src/kernels/images/bytes.js';
import { packImages } from '../../src/kernels/images/packed.js';
import { byteMeaning } from '../../src/ops/images/byte-table.js';
import { decode, encode } from '../../src/tensor/dtype.js';
import { gpu, plannedFor } from '../forced-target.js';
import { limits } from '../kernels/heavy-harness.js';
import { runPlan } from '../kernels/harness.js';

type Four = readonly [n: number, height: number, width: number, channels: number];

const means = [0.485, 0.456, 0.406, 0.5];
const deviations = [0.229, 0.224, 0.225, 0.3];

const bytesOf = (shape: Four): Uint8Array =>
  Uint8Array.from(
    { length: shape.reduce((a, b) => a * b) },
    (_, i) => (Math.imul(i, 2654435761) >>> 13) & 255,
  );

/** ToTensor and Normalize in float32, a pixel at a time, in the order of a Tensor's values. */
function reference(data: Uint8Array, [n, height, width, channels]: Four, options: ImagesToTensorOptions) {
  const { mean, std, crops, horizontalFlips, verticalFlips, fill = 0, dtype = 'float32' } = options;
  const [outH, outW] = (options.size ?? [height, width]) as [number, number];
  const values: number[] = [];
  for (let i = 0; i < n; i++)
    for (let c = 0; c < channels; c++)
      for (let y = 0; y < outH; y++)
        for (let x = 0; x < outW; x++) {
          const row = (verticalFlips?.[i] ? outH - 1 - y : y) + (crops?.[i]?.[0] ?? 0);
          const column = (horizontalFlips?.[i] ? outW - 1 - x : x) + (crops?.[i]?.[1] ?? 0);
          const inside = row >= 0 && row < height && column >= 0 && column < width;
          const border = typeof fill === 'number' ? fill : fill[c]!;
          const byte = inside ? data[((i * height + row) * width + column) * channels + c]! : border;
          const shifted = Math.fround(Math.fround(byte / 255) - Math.fround(mean?.[c] ?? 0));
          values.push(Math.fround(shifted / Math.fround(std?.[c] ?? 1)));
        }
  if (dtype === 'float32') return Float32Array.from(values);
  return decode(encode(values, dtype).buffer as ArrayBuffer, dtype, values.length);
}

beforeAll(() => init());

async function agrees(shape: Four, options: ImagesToTensorOptions): Promise<void> {
  const data = bytesOf(shape);
  const expected = reference(data, shape, options);
  const make = async () => {
    const batch = imagesToTensor({ data, shape }, options);
    return [batch.dtype, batch.strides, await batch.data()] as const;
  };
  for (const [dtype, strides, values] of [await make(), await plannedFor(gpu(), make)]) {
    expect(dtype).toBe(options.dtype ?? 'float32');
    expect(strides[1]).toBe(1);
    expect(values).toEqual(expected);
  }
}

describe('imagesToTensor', () => {
  const normalized = (channels: number) => ({
    mean: means.slice(0, channels),
    std: deviations.slice(0, channels),
  });

  it.each([1, 3, 4])('normalises images of %i channels and odd width, in float32 and float16', async (c) => {
    for (const dtype of ['float32', 'float16'] as const)
      await agrees([3, 5, 7, c], { ...normalized(c), dtype });
  });

  it('does so where rows are whole words too', async () => {
    for (const dtype of ['float32', 'float16'] as const)
      await agrees([2, 3, 8, 3], { ...normalized(3), dtype, horizontalFlips: [true, false] });
  });

  it('keeps every byte as ToTensor gives it where nothing is asked for', () => agrees([1, 16, 16, 1], {}));

  it('crops each image elsewhere, beyond every edge, and fills what is outside', () =>
    agrees([5, 6, 5, 3], {
      ...normalized(3),
      size: [4, 5],
      crops: [
        [-2, -3],
        [4, 3],
        [1, 0],
        [-9, 0],
        [0, 5],
      ],
      fill: [255, 3, 77],
    }));

  it('mirrors each image as told, after its crop', () =>
    agrees([4, 6, 5, 3], {
      ...normalized(3),
      size: [4, 4],
      crops: [
        [-1, 0],
        [2, 2],
        [0, -2],
        [1, 1],
      ],
      horizontalFlips: [true, false, true, false],
      verticalFlips: [true, true, false, false],
    }));

  it('launches once', () => {
    runtime().resetOpCounts();
    imagesToTensor({ data: bytesOf([3, 5, 7, 3]), shape: [3, 5, 7, 3] });
    expect([...runtime().opCounts()].filter(([, count]) => count > 0)).toEqual([['imagesToTensor', 1]]);
  });

  it('cuts batches that are larger than a binding, at images', async () => {
    const shape: Four = [7, 15, 17, 3];
    const data = bytesOf(shape);
    const size = 15 * 17 * 3;
    const whole = { top: 0, left: 0, height: 15, width: 17 };
    const packed = packImages(
      Array.from({ length: 7 }, (_, i) => ({
        data: data.subarray(i * size, (i + 1) * size),
        width: 17,
        window: whole,
        box: { ...whole, top: i - 3 },
        mirrored: i % 2 === 1,
        upsideDown: false,
        fill: [0, 0, 0],
      })),
      byteMeaning('test', 3, means.slice(0, 3), deviations.slice(0, 3), 'float32'),
    );
    const plan = planBytes(limits(8192), packed);
    expect(plan.launches.length).toBe(4);
    const block = { data: new Int32Array(packed.packed.buffer), dtype: 'int32' as const };
    const { y } = await runPlan(plan, { packed: block }, { y: { count: 7 * size, dtype: 'float32' } });
    const expected = reference(data, shape, {
      ...normalized(3),
      crops: Array.from({ length: 7 }, (_, i) => [i - 3, 0] as const),
      horizontalFlips: Array.from({ length: 7 }, (_, i) => i % 2 === 1),
    });
    const at = (image: number, c: number, pixel: number) => y![(image * 255 + pixel) * 3 + c];
    expect(
      Float32Array.from(expected, (_, i) => at(Math.floor(i / size), Math.floor(i / 255) % 3, i % 255)!),
    ).toEqual(expected);
  });

  it('says what does not fit', () => {
    const images = { data: new Uint8Array(24), shape: [1, 2, 4, 3] };
    const refuses = (options: ImagesToTensorOptions, message: RegExp) =>
      expect(() => imagesToTensor(images, options)).toThrow(message);
    expect(() => imagesToTensor({ data: new Uint8Array(23), shape: [1, 2, 4, 3] })).toThrow(
      /expected a Uint8Array of shape \[n, height, width, channels\].* got 23 bytes as \[1, 2, 4, 3\]/,
    );
    expect(() => imagesToTensor({ data: new Uint8Array(10), shape: [1, 1, 2, 5] })).toThrow(
      /1 to 4 channels/,
    );
    refuses({ mean: [0] }, /needs lists of 3 means and 3 positive standard deviations/);
    refuses({ std: [1, 0, 1] }, /positive/);
    refuses({ size: 0 }, /size must be a positive integer/);
    refuses({ crops: [] }, /crops must be a list with one entry for each of the 1 images, got 0/);
    refuses({ crops: [[0.5, 0]] }, /crops\[0\] must be \[top, left\] in whole pixels/);
    refuses({ fill: 256 }, /fill must be a byte/);
    refuses({ dtype: 'int32' as 'float32' }, /dtype must be 'float32' or 'float16'/);
  });

  it('says where a list is wanted', () => {
    const images = { data: new Uint8Array(24), shape: [1, 2, 4, 3] };
    const refuses = (options: Record<string, unknown>, message: RegExp) =>
      expect(() => imagesToTensor(images, options as ImagesToTensorOptions)).toThrow(message);
    refuses({ mean: 0.5 }, /imagesToTensor: normalize needs lists of 3 means .* got 0.5 and 1,1,1/);
    refuses({ std: 0.5 }, /imagesToTensor: normalize needs lists of .* got 0,0,0 and 0.5/);
    refuses({ size: true }, /imagesToTensor: size must be a positive integer or \[height, width\], got true/);
    refuses({ crops: 3 }, /imagesToTensor: crops must be a list .* got 3/);
    refuses({ crops: [3] }, /imagesToTensor: crops\[0\] must be \[top, left\] in whole pixels, got 3/);
    refuses({ horizontalFlips: true }, /imagesToTensor: horizontalFlips must be a list .* got true/);
    refuses({ fill: null }, /imagesToTensor: fill must be a byte, or one for each .* got null/);
    expect(() => imagesToTensor(undefined as never)).toThrow(/imagesToTensor: expected .* got undefined/);
    expect(() => imagesToTensor({ ...images, shape: 24 as never })).toThrow(/got 24 bytes as 24/);
  });
});
