import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CIFAR10, cifar10Statistics } from '../../src/data/cifar10.js';
import { loadCIFAR10 } from '../../src/data/node/cifar.js';
import { Random } from '../../src/data/random.js';
import { Compose, Normalize, RandomCrop, RandomHorizontalFlip, ToTensor } from '../../src/data/transforms.js';

/** Records with the given labels; pixels follow a formula so that each can be told apart. */
function records(...labels: number[]): Uint8Array {
  const bytes = new Uint8Array(labels.length * 3073);
  labels.forEach((label, i) => {
    bytes[i * 3073] = label;
    for (let j = 0; j < 3072; j++) bytes[i * 3073 + 1 + j] = (j * 7 + i * 31 + (j >> 5)) % 256;
  });
  return bytes;
}

describe('CIFAR10', () => {
  it('reads records of one or several files, red, green and blue planes', () => {
    const data = new CIFAR10([
      { name: 'a.bin', bytes: records(3, 9) },
      { name: 'b.bin', bytes: records(0) },
    ]);
    expect(data.length).toBe(3);
    expect([0, 1, 2].map((i) => data.classes[data.label(i)])).toEqual(['cat', 'truck', 'airplane']);
    const [image, label] = data.get(1);
    expect(label).toBe(9);
    expect(image.shape).toEqual([3, 32, 32]);
    expect(image.data[1024]).toBeCloseTo(((1024 * 7 + 31 + 32) % 256) / 255, 6);
  });

  it('names the file, the offset and the fix for files that are not whole', () => {
    const read = (bytes: Uint8Array) => () => new CIFAR10([{ name: 'data_batch_1.bin', bytes }]);
    expect(read(new Uint8Array())).toThrow('data_batch_1.bin: the file is empty; download it again');
    expect(read(records(1, 2).subarray(0, 5000))).toThrow(
      /data_batch_1\.bin: 5000 bytes is not a multiple of 3073: 1 whole records end at offset 3073, then 1927 .*download it again/,
    );
    expect(read(records(1, 10))).toThrow(/label 10 at offset 3073 \(record 1\) is not in 0 \.\.\. 9/);
    expect(read(Uint8Array.of(0x1f, 0x8b, 8, 0))).toThrow(/gzip archive; extract it first/);
    expect(read(Uint8Array.of(0x80, 3, 125))).toThrow(
      /Python \(pickle\) version; download the binary version/,
    );
    expect(() => new CIFAR10([])).toThrow('no files given');
  });

  it('normalises exactly as ToTensor and Normalize do', () => {
    const bytes = records(1);
    const { mean, std } = cifar10Statistics;
    const fast = new CIFAR10([{ name: 'a', bytes }], { normalize: { mean, std } });
    const slow = new CIFAR10([{ name: 'a', bytes }], {
      transform: new Compose([new ToTensor(), new Normalize(mean, std)]),
    });
    expect(fast.get(0)[0].data).toEqual(slow.get(0)[0].data);
  });

  it('augments exactly as RandomCrop with padding and RandomHorizontalFlip do', () => {
    const files = [{ name: 'a', bytes: records(1) }];
    const fast = new CIFAR10(files, { augment: { flip: true, padding: 4 } });
    const slow = new CIFAR10(files, {
      transform: new Compose([
        new RandomCrop(32, { padding: 4 }),
        new RandomHorizontalFlip(),
        new ToTensor(),
      ]),
    });
    for (let stream = 0; stream < 20; stream++) {
      expect(fast.get(0, new Random(1, stream))[0].data).toEqual(slow.get(0, new Random(1, stream))[0].data);
    }
  });

  it('builds a batch equal to its samples', () => {
    const data = new CIFAR10([{ name: 'a', bytes: records(5, 6, 7) }], {
      augment: { flip: true, padding: 2 },
    });
    const random = (index: number) => new Random(9, index);
    const [images, labels] = data.getBatch!([2, 0], random);
    expect([images.shape, [...labels.data]]).toEqual([
      [2, 3, 32, 32],
      [7, 5],
    ]);
    expect(images.data.subarray(0, 3072)).toEqual(data.get(2, random(2))[0].data);
    expect(images.data.subarray(3072)).toEqual(data.get(0, random(0))[0].data);
  });

  it('refuses an index outside and options that contradict each other', () => {
    const files = [{ name: 'a', bytes: records(5) }];
    expect(() => new CIFAR10(files).get(1)).toThrow('CIFAR10: index 1 is outside 0 ... 0');
    expect(() => new CIFAR10(files, { augment: { flip: true }, transform: new ToTensor() })).toThrow(
      'not both',
    );
  });
});

describe('loadCIFAR10', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'kindling-cifar-'));
    const inside = join(folder, 'cifar-10-batches-bin');
    mkdirSync(inside);
    for (let i = 1; i <= 5; i++) writeFileSync(join(inside, `data_batch_${i}.bin`), records(i));
    writeFileSync(join(inside, 'test_batch.bin'), records(8, 8));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it('finds the official files in the folder or beside the extracted archive', async () => {
    const train = await loadCIFAR10(folder);
    expect([0, 1, 2, 3, 4].map((i) => train.label(i))).toEqual([1, 2, 3, 4, 5]);
    expect((await loadCIFAR10(join(folder, 'cifar-10-batches-bin'), { train: false })).length).toBe(2);
    expect((await loadCIFAR10(join(folder, 'cifar-10-batches-bin', 'test_batch.bin'))).length).toBe(2);
  });

  it('says which files a folder lacks', async () => {
    rmSync(join(folder, 'cifar-10-batches-bin', 'test_batch.bin'));
    await expect(loadCIFAR10(folder, { train: false })).rejects.toThrow(
      /missing test_batch\.bin\. Download cifar-10-binary\.tar\.gz .* give the files by name .*data_batch_1\.bin/,
    );
    await expect(loadCIFAR10(join(folder, 'nowhere'))).rejects.toThrow('no such file or folder');
  });

  const real = new URL('../../../shared/data/cifar10/test_subset.bin', import.meta.url).pathname;
  it.skipIf(!existsSync(real))('reads real CIFAR-10 records', async () => {
    const data = await loadCIFAR10(real);
    expect(data.length).toBe(1017);
    // The first test images of CIFAR-10 are well known: cat, ship, ship, airplane, frog.
    expect([0, 1, 2, 3, 4].map((i) => data.classes[data.label(i)])).toEqual([
      'cat',
      'ship',
      'ship',
      'airplane',
      'frog',
    ]);
  });
});
