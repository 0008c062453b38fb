import { beforeAll, expect, it } from 'vitest';
import * as k from '../../src/index.js';
import { nn } from '../../src/index.js';

beforeAll(() => k.init());

/** The whole stack of what `fn` throws. */
function stackOf(fn: () => unknown): string {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 100;
  try {
    fn();
  } catch (error) {
    return (error as Error).stack ?? '';
  } finally {
    Error.stackTraceLimit = limit;
  }
  throw new Error('nothing was thrown');
}

it('ops carry their names, as functions and as methods', () => {
  const methods = { relu: k.relu, add_: k.add_, softmax: k.softmax, reshape: k.reshape };
  const functions = { ...methods, conv2d: k.conv2d, maxPool2d: k.maxPool2d };
  for (const [name, op] of Object.entries(functions)) expect(op.name).toBe(name);
  for (const name of Object.keys(methods)) {
    expect((k.Tensor.prototype as unknown as Record<string, { name: string }>)[name]?.name).toBe(name);
  }
});

it('a stack trace names the methods and modules that were called', () => {
  const x = k.randn(2, 3);
  expect(stackOf(() => x.matmul(k.randn(2, 3)))).toContain('at Tensor.matmul ');
  const model = new nn.Sequential(new nn.Conv2d(3, 4, 3));
  expect(stackOf(() => model(k.randn(1, 2, 8, 8)))).toMatch(
    /at conv2d [^]*at Conv2d\.forward [^]*at Sequential\.forward /,
  );
});
