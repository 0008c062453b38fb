import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { data, init, tensor } from '../../src/index.js';

const { fromPixels, toImageData, transforms } = data;

beforeAll(() => init());
afterEach(() => {
  vi.unstubAllGlobals();
});

const rgba = { width: 2, height: 1, data: new Uint8ClampedArray([1, 2, 3, 255, 40, 50, 60, 0]) };

describe('fromPixels', () => {
  it('takes pixels as ImageData has them and leaves alpha out', () => {
    expect(fromPixels(rgba)).toEqual({ width: 2, height: 1, data: Uint8Array.of(1, 2, 3, 40, 50, 60) });
  });

  it('gives what transforms take', () => {
    const { shape, data: values } = new transforms.ToTensor()(fromPixels(rgba));
    expect(shape).toEqual([3, 1, 2]);
    expect([...values]).toEqual([1, 40, 2, 50, 3, 60].map((value) => Math.fround(value / 255)));
  });

  it('draws what can be drawn, in its own size', () => {
    const drawings: unknown[][] = [];
    vi.stubGlobal(
      'OffscreenCanvas',
      class {
        constructor(
          readonly width: number,
          readonly height: number,
        ) {}
        getContext() {
          return { drawImage: (...args: unknown[]) => drawings.push(args), getImageData: () => rgba };
        }
      },
    );
    const video = { width: 640, height: 480, videoWidth: 2, videoHeight: 1 };
    expect(fromPixels(video).data).toHaveLength(6);
    expect(drawings).toEqual([[video, 0, 0, 2, 1]]);
    expect(() => fromPixels({ naturalWidth: 0, naturalHeight: 0 })).toThrow('wait until it is loaded');
  });

  it('says what is wrong', () => {
    expect(() => fromPixels({ ...rgba, width: 3 })).toThrow('3 x 1 pixels of RGBA are 12 bytes, got 8');
    expect(() => fromPixels(null as never)).toThrow('got null');
    expect(() => fromPixels({ width: 2, height: 2 })).toThrow('this platform cannot draw');
  });
});

describe('toImageData', () => {
  it('makes colours of three planes in 0 ... 1, as to_pil_image', async () => {
    const image = tensor([0, 0.5, 1, 2, -1, 0.999], { shape: [3, 1, 2] });
    const { width, height, data: bytes } = await toImageData(image);
    expect([width, height]).toEqual([2, 1]);
    expect([...bytes]).toEqual([0, 255, 0, 255, 127, 255, 254, 255]);
  });

  it('makes greys of one plane, of bytes too', async () => {
    const image = tensor([0, 7, 255], { shape: [1, 3], dtype: 'uint8' });
    expect([...(await toImageData(image)).data]).toEqual([0, 0, 0, 255, 7, 7, 7, 255, 255, 255, 255, 255]);
  });

  it('comes back by fromPixels', async () => {
    const bytes = Uint8Array.from({ length: 24 }, (_, i) => i * 10);
    const picture = await toImageData(tensor(bytes, { shape: [3, 2, 4], dtype: 'uint8' }));
    const back = fromPixels(picture).data;
    expect(Array.from({ length: 24 }, (_, i) => back[(i % 8) * 3 + Math.floor(i / 8)])).toEqual([...bytes]);
  });

  it('refuses what is no picture', async () => {
    await expect(toImageData(tensor([1, 2]))).rejects.toThrow('got [2]');
    await expect(toImageData(tensor([[1, 2]], { dtype: 'int32' }))).rejects.toThrow('got int32');
  });
});
