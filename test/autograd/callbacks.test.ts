/** What a hook asks to have done when the backward pass ends. */
import { beforeAll, expect, it } from 'vitest';
import * as k from '../../src/index.js';
import { queueCallback } from '../../src/autograd/passes.js';

beforeAll(() => k.init());

const leaf = (value: number): k.Tensor => k.tensor([value], { requiresGrad: true });

it('is called once all leaves have their gradients', async () => {
  const [first, last] = [leaf(2), leaf(3)];
  const seen: boolean[] = [];
  last.registerPostAccumulateGradHook(() => {
    queueCallback(() => seen.push(first.grad !== null && last.grad !== null));
  });
  first.mul(5).mul(last).sum().backward();
  expect(seen).toEqual([true]);
});

it('waits for the outermost of nested passes', () => {
  const [outer, inner] = [leaf(2), leaf(3)];
  const order: string[] = [];
  inner.registerPostAccumulateGradHook(() => {
    queueCallback(() => order.push('end'));
  });
  const y = outer.mul(2);
  y.registerHook(() => {
    k.enableGrad(() => inner.mul(2).sum()).backward();
    order.push('nested');
  });
  y.sum().backward();
  expect(order).toEqual(['nested', 'end']);
});

it('does not happen where the pass fails, nor after the next one', () => {
  const x = leaf(2);
  let calls = 0;
  const hook = x.registerPostAccumulateGradHook(() => {
    queueCallback(() => calls++);
    throw new Error('no');
  });
  expect(() => x.mul(2).sum().backward()).toThrow('no');
  hook.remove();
  x.mul(2).sum().backward();
  expect(calls).toBe(0);
});

it('needs a pass', () => {
  expect(() => queueCallback(() => undefined)).toThrow('no backward pass is under way');
});
