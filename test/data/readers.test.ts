import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CIFAR100, cifar100Classes } from '../../src/data/cifar100.js';
import { MNIST } from '../../src/data/mnist.js';
import { loadCIFAR100, loadFashionMNIST, loadMNIST } from '../../src/data/node/index.js';
import { ToTensor } from '../../src/data/transforms.js';

let root: string;
beforeAll(() => (root = mkdtempSync(join(tmpdir(), 'kindling-readers-'))));
afterAll(() => rmSync(root, { recursive: true }));

/** Records of coarse label, fine label and pixels that all hold the record's number. */
const records = (...labels: [coarse: number, fine: number][]) => {
  const bytes = new Uint8Array(3074 * labels.length);
  labels.forEach(([coarse, fine], i) =>
    bytes.fill(i, i * 3074, (i + 1) * 3074).set([coarse, fine], i * 3074),
  );
  return bytes;
};

describe('CIFAR-100', () => {
  it('has fine and coarse labels', async () => {
    const folder = join(root, 'cifar', 'cifar-100-binary');
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'test.bin'), records([11, 19], [15, 29], [4, 0]));
    const fine = await loadCIFAR100(join(root, 'cifar'), { train: false });
    expect([0, 1, 2].map((i) => fine.classes[fine.label(i)])).toEqual(['cattle', 'dinosaur', 'apple']);
    const [image] = fine.get(2);
    expect(image.data.every((value) => value === Math.fround(2 / 255))).toBe(true);
    const coarse = await loadCIFAR100(folder, { train: false, labels: 'coarse' });
    expect(coarse.classes[coarse.label(0)]).toBe('large_omnivores_and_herbivores');
    expect(cifar100Classes.length).toBe(100);
    await expect(loadCIFAR100(folder)).rejects.toThrow(/missing train\.bin.*holds test\.bin/);
  });

  it('names what is wrong with a file', () => {
    const make = (bytes: Uint8Array) => () => new CIFAR100([{ name: 'a.bin', bytes }]);
    expect(make(records([20, 0]))).toThrow('label 20 at offset 0 (record 0) is not in 0 ... 19');
    expect(make(records([0, 0], [1, 100]))).toThrow('label 100 at offset 3075 (record 1) is not in 0 ... 99');
    expect(make(new Uint8Array(3073))).toThrow('the size fits CIFAR-10, which has one label byte');
    expect(make(new Uint8Array())).toThrow('CIFAR100: a.bin: the file is empty');
  });
});

describe('MNIST', () => {
  const idx = (shape: number[], values: Uint8Array): Uint8Array => {
    const header = new DataView(new ArrayBuffer(4 + 4 * shape.length));
    header.setUint32(0, 0x800 + shape.length);
    shape.forEach((length, i) => header.setUint32(4 + 4 * i, length));
    return Buffer.concat([new Uint8Array(header.buffer), values]);
  };
  const images = idx(
    [2, 28, 28],
    Uint8Array.from({ length: 2 * 784 }, (_, i) => i % 256),
  );
  const labels = idx([2], Uint8Array.of(7, 2));
  const file = (name: string, bytes: Uint8Array) => ({ name, bytes });

  it('reads plain and packed files, also where torchvision keeps them', async () => {
    const raw = join(root, 'FashionMNIST', 'raw');
    mkdirSync(raw, { recursive: true });
    writeFileSync(join(raw, 't10k-images-idx3-ubyte.gz'), gzipSync(images));
    writeFileSync(join(raw, 't10k-labels-idx1-ubyte'), labels);
    const data = await loadFashionMNIST(root, { train: false });
    expect([data.length, data.classes[data.label(0)], data.classes[data.label(1)]]).toEqual([
      2,
      'Sneaker',
      'Pullover',
    ]);
    const [image, label] = data.get(1);
    expect([image.shape, label]).toEqual([[1, 28, 28], 2]);
    expect(image.data[5]).toBe(Math.fround(((784 + 5) % 256) / 255));
    writeFileSync(join(raw, 't10k-images-idx3-ubyte.gz'), gzipSync(images).subarray(0, 40));
    await expect(loadFashionMNIST(root, { train: false })).rejects.toThrow(/cannot be unpacked/);
    await expect(loadMNIST(root)).rejects.toThrow(/MNIST: .*missing train-images-idx3-ubyte/);
  });

  it('normalises, augments and transforms as the colour sets do', () => {
    const files = { images: file('i', images), labels: file('l', labels) };
    const plain = new MNIST(files, { normalize: { mean: [0.5], std: [0.25] } });
    expect(plain.get(0)[0].data[255]).toBe(2);
    const batch = plain.getBatch!([1, 0], () => null as never)[0];
    expect(batch.shape).toEqual([2, 1, 28, 28]);
    const colour = new MNIST(files, { transform: new ToTensor() });
    expect(colour.get(0)[0].shape).toEqual([3, 28, 28]);
    expect(() => new MNIST(files, { normalize: { mean: [0, 0, 0], std: [1, 1, 1] } })).toThrow(
      'needs lists of 1 means',
    );
  });

  it('names what is wrong with a file', () => {
    const make = (i: Uint8Array, l: Uint8Array) => () =>
      new MNIST({ images: file('i', i), labels: file('l', l) });
    expect(make(labels, labels)).toThrow(
      'MNIST: i: it holds 1 dimensions where 3 are expected; is it the file of labels?',
    );
    expect(make(images.subarray(0, 900), labels)).toThrow(
      '884 bytes follow the header where [2, 28, 28] needs 1568',
    );
    expect(make(images, idx([1], Uint8Array.of(1)))).toThrow('holds 2 images but l 1 labels');
    expect(make(images, idx([2], Uint8Array.of(1, 10)))).toThrow('label 10 of image 1 is not in 0 ... 9');
    expect(make(new Uint8Array(), labels)).toThrow('the file is empty');
  });
});
