/** Bind groups that are no longer kept wait for the garbage collector: there must not be too many. */
import { afterEach, expect, it, vi } from 'vitest';
import * as k from '../../src/index.js';
import { runtime } from '../../src/device/index.js';
import { BindGroupCache, type BindingLayout } from '../../src/device/bindgroups.js';
import { Block, DeviceBuffer } from '../../src/device/pool.js';

afterEach(() => k.close());

const layout: BindingLayout = { id: 1, bindings: ['write'], gpu: {} };

/** Dispatches that each bind a buffer that none before bound. */
function binder(kind: 'software' | 'gpu'): { cache: BindGroupCache; bind: (times: number) => void } {
  const limits = { minStorageBufferOffsetAlignment: 256 };
  const device = { limits, createBindGroup: () => ({}) } as unknown as GPUDevice;
  const cache = new BindGroupCache(device, 1e9, kind);
  let id = 0;
  const bind = (times: number): void => {
    for (let i = 0; i < times; i++) {
      const block = new Block(++id, {} as GPUBuffer, 16);
      cache.get(layout, [new DeviceBuffer(block, 16, 'x')], 1, 'add');
    }
  };
  return { cache, bind };
}

it('more than a software driver can take are refused, with what to do', () => {
  const { bind } = binder('software');
  bind(40_000);
  expect(() => bind(1)).toThrow(/add: 40000 dispatches.*Await something/);
});

it('a wait makes room for as many again', () => {
  const { cache, bind } = binder('software');
  bind(40_000);
  cache.waited();
  expect(() => bind(40_000)).not.toThrow();
});

it('GPUs have no such limit', () => {
  const { bind } = binder('gpu');
  expect(() => bind(50_000)).not.toThrow();
});

it('are collected while the script waits once thousands were given up', async () => {
  await k.init();
  const { groups } = runtime();
  const collected = vi.spyOn(groups, 'collected');
  groups.dropped = 8193;
  await k.ones(2).sum().item();
  expect(collected).toHaveBeenCalled();
  expect(groups.dropped).toBe(0);
});
