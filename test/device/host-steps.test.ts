/** Work of the host in the middle of what is recorded, which goes on being recorded. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';
import { hostSteps, runtime, type HostTarget } from '../../src/device/index.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import { affine } from './kernels.js';

beforeEach(() => k.init());
afterEach(() => k.close());

const later = (ms = 5): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const placeOf = ({ deviceBuffer, offset }: Tensor, count: number): HostTarget => ({
  buffer: deviceBuffer,
  offset: 4 * offset,
  bytes: 4 * count,
});

/** Replaces `x` by what `work` makes of its values. */
function onHost(x: Tensor, work: (values: Float32Array) => Promise<Float32Array> | Float32Array): void {
  const place = placeOf(x, x.numel());
  const values = hostSteps().read(place.buffer, place.offset, place.bytes);
  hostSteps().step(
    values.then(async (bytes) => [await work(new Float32Array(bytes))]),
    [place],
  );
}

const timesTen = async (values: Float32Array): Promise<Float32Array> => {
  await later();
  return values.map((value) => 10 * value);
};

describe('a host step', () => {
  it('sees what is recorded before it, and is seen by what is recorded after it', async () => {
    const x = k.tensor([1, 2]);
    k.noGrad(() => x.add_(1));
    onHost(x, timesTen);
    k.noGrad(() => x.add_(3));
    expect(await x.toArray()).toEqual([23, 33]);
  });

  it('leaves reads their place: before it the old value, after it the new', async () => {
    const x = k.tensor([1]);
    const before = x.toArray();
    onHost(x, timesTen);
    const after = x.toArray();
    k.noGrad(() => x.add_(1));
    expect(await Promise.all([before, after, x.toArray()])).toEqual([[1], [10], [11]]);
  });

  it('keeps uploads in their place, with the data of the call', async () => {
    const x = k.tensor([1]);
    const { buffer } = placeOf(x, 1);
    onHost(x, timesTen);
    const y = x.add(1);
    const data = Float32Array.of(5);
    runtime().write(buffer, 0, data);
    data[0] = 7;
    expect(await Promise.all([y.toArray(), x.toArray()])).toEqual([[11], [5]]);
  });

  it('follows another in the order of the program, however long each takes', async () => {
    const x = k.tensor([1]);
    onHost(x, async ([value]) => {
      await later(30);
      return Float32Array.of((value as number) + 1);
    });
    k.noGrad(() => x.mul_(3));
    onHost(x, ([value]) => Float32Array.of((value as number) + 4));
    k.noGrad(() => x.mul_(2));
    onHost(x, timesTen);
    expect(await x.toArray()).toEqual([200]);
  });

  it('may take values that were read long before', async () => {
    const x = k.tensor([4]);
    const place = placeOf(x, 1);
    const read = hostSteps().read(place.buffer, place.offset, place.bytes);
    k.noGrad(() => x.add_(100));
    hostSteps().step(
      read.then((bytes) => [new Float32Array(bytes)]),
      [place],
    );
    expect(await x.toArray()).toEqual([4]);
  });

  it('is what synchronize() waits for', async () => {
    const x = k.tensor([1]);
    let done = false;
    onHost(x, async (values) => {
      await later(20);
      done = true;
      return values;
    });
    await k.synchronize();
    expect(done).toBe(true);
  });

  it('answers reads although many others wait behind it', async () => {
    const x = k.tensor([1]);
    onHost(x, timesTen);
    const many = Array.from({ length: 60 }, () => x.toArray());
    onHost(x, timesTen);
    const more = Array.from({ length: 60 }, () => x.toArray());
    onHost(x, timesTen);
    expect(await Promise.all([...many, ...more, x.toArray()])).toEqual([
      ...Array<number[]>(60).fill([10]),
      ...Array<number[]>(60).fill([100]),
      [1000],
    ]);
  });

  it('keeps memory flat over 500 steps', async () => {
    const x = k.tensor(new Float32Array(10_000));
    const round = async (steps: number): Promise<number> => {
      for (let i = 0; i < steps; i++) {
        k.tidy(() => {
          const y = x.add(1);
          onHost(y, (values) => values.map((value) => value + 1));
          k.noGrad(() => k.copy_(x, y.mul(0.5)));
        });
        if (i % 10 === 9) await k.synchronize();
      }
      return runtime().memoryStats().reservedBytes;
    };
    const reserved = await round(50);
    expect(await round(450)).toBeLessThanOrEqual(reserved);
    expect((await x.data())[0]).toBeCloseTo(2, 5);
  });

  it('holds back that the memory which is used after it is destroyed', async () => {
    k.close();
    const mebibyte = 2 ** 20;
    await k.init({ memoryBudget: 10 * mebibyte });
    const x = k.tensor([1, 2, 3]);
    onHost(x, timesTen);
    const sum = k.tidy(() => k.full([mebibyte], 2).mul(x.sum()).mean());
    runtime().flush();
    // There is room for it only where the other idle buffers were.
    const large = k.zeros(2 * mebibyte - 1024);
    expect(await sum.item()).toBe(120);
    expect(await large.sum().item()).toBe(0);
  });

  it('is profiled with the rest', async () => {
    const { rows } = await runtime().profile(() => {
      const x = k.tensor([1]);
      onHost(x, timesTen);
      k.noGrad(() => x.add_(1));
    });
    expect(rows.length).toBeGreaterThan(0);
  });

  it('has a compiled function run as it is, and say why', async () => {
    const compiled = k.compile((x: Tensor) => {
      const y = x.add(1);
      onHost(y, timesTen);
      return y.add(1);
    });
    for (const value of [1, 2, 3])
      expect(await compiled(k.tensor([value])).toArray()).toEqual([10 * value + 11]);
    expect(compiled.counts().reason).toBe('values from outside of the GPU come into its middle');
  });
});

describe('a host step that fails', () => {
  const lost = new Error('rank 1 is gone');
  const fail = async (): Promise<never> => {
    await later();
    throw lost;
  };

  it('rejects every read of what was recorded since, and no other', async () => {
    const x = k.tensor([1]);
    const before = x.toArray();
    onHost(x, fail);
    const outcomes = await Promise.allSettled([before, x.toArray(), x.add(1).toArray()]);
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected']);
    for (const outcome of outcomes.slice(1))
      expect(String((outcome as PromiseRejectedResult).reason)).toContain('rank 1 is gone');
  });

  it('leaves a device that works', async () => {
    const x = k.tensor([1]);
    onHost(x, fail);
    const uploaded = k.tensor([8]);
    await expect(k.synchronize()).rejects.toThrow('rank 1 is gone');
    expect(await uploaded.toArray()).toEqual([8]);
    const y = k.tensor([2]);
    onHost(y, timesTen);
    expect(await y.add(1).toArray()).toEqual([21]);
  });

  it.each([1, 2, 3, 4])('undoes the %i steps of the optimizer that were to follow', async (steps) => {
    const weight = new k.nn.Parameter(k.tensor([1]));
    const optimizer = new k.optim.Adam([weight], { lr: 0.5 });
    const train = (): void => {
      optimizer.zeroGrad();
      weight.mul(2).sum().backward();
      optimizer.step();
      runtime().flush();
    };
    train();
    const [before] = await weight.data();
    onHost(k.tensor([1]), fail);
    for (let i = 0; i < steps; i++) train();
    await expect(k.synchronize()).rejects.toThrow('rank 1 is gone');
    expect((await weight.data())[0]).toBe(before);
    train();
    expect((await weight.data())[0]).toBeCloseTo((before as number) - 0.5, 4);
  });

  it('fails those that build on it', async () => {
    const x = k.tensor([1]);
    let ran = false;
    onHost(x, fail);
    onHost(x, (values) => {
      ran = true;
      return values;
    });
    await expect(x.toArray()).rejects.toThrow('rank 1 is gone');
    expect(ran).toBe(false);
  });

  it('says where the host gave the wrong number of bytes', async () => {
    const x = k.tensor([1, 2]);
    onHost(x, () => new Float32Array(3));
    await expect(x.toArray()).rejects.toThrow(/takes 8 bytes, the host gave 12/);
  });

  it('ends with the device', async () => {
    const x = k.tensor([1]);
    onHost(x, () => new Promise<never>(() => undefined));
    const read = x.toArray();
    k.close();
    await expect(read).rejects.toThrow(/closed/);
    await k.init();
  });
});

describe('a batch that is refused while a host step holds it back', () => {
  it('is reported with its op', async () => {
    const x = k.tensor([1]);
    onHost(x, timesTen);
    const big = runtime().alloc(256, 'torn');
    runtime().dispatch(affine, [big], [64, 1, 1], [1, 1, 1]);
    big.gpu.destroy();
    await expect(x.toArray()).rejects.toThrow(/affine|torn/);
    expect(await k.tensor([3]).add(1).toArray()).toEqual([4]);
  });

  it('keeps its values from a host step that reads them', async () => {
    const torn = k.tensor([1]);
    const { buffer } = placeOf(torn, 1);
    let ran = false;
    k.noGrad(() => torn.add_(1));
    buffer.gpu.destroy();
    onHost(torn, (values) => {
      ran = true;
      return values;
    });
    await expect(torn.toArray()).rejects.toThrow(/GPU validation error/);
    expect(ran).toBe(false);
  });
});
