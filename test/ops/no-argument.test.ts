import { beforeAll, expect, it } from 'vitest';
import { init } from '../../src/index.js';
import * as ops from '../../src/ops/index.js';
import * as aliases from '../../src/ops/pointwise/aliases.js';

/** From plain JavaScript: an op without a tensor says which one it is, and never "undefined (reading ...)". */

beforeAll(() => init());

/** Ask nothing of the caller, or take anything. */
const open = [
  ...['atleast1d', 'atleast2d', 'atleast3d', 'broadcastShapes', 'broadcastTensors', 'empty', 'finfo'],
  ...[
    'getDefaultDtype',
    'getRngState',
    'gpuDevice',
    'initialSeed',
    'isTensor',
    'ones',
    'rand',
    'randn',
    'zeros',
  ],
];

/** Second names, under which the first one speaks. */
const second: Record<string, string> = {
  asTensor: 'tensor',
  concat: 'cat',
  concatenate: 'cat',
  ger: 'outer',
  inverse: 'inv',
  moveaxis: 'movedim',
  orgqr: 'householderProduct',
  pinverse: 'pinv',
  rowStack: 'vstack',
  swapdims: 'transpose',
  swapaxes: 'transpose',
  trapz: 'trapezoid',
  trueDivide: 'div',
  upsample: 'interpolate',
  upsampleBilinear: 'interpolate',
  upsampleNearest: 'interpolate',
};

type Op = (...args: unknown[]) => unknown;
const all = Object.entries(ops as unknown as Record<string, unknown>).filter(
  (entry): entry is [string, Op] => typeof entry[1] === 'function' && !open.includes(entry[0]),
);

/** The names that the message may begin with. */
function namesOf(name: string, op: Op): string[] {
  const first = name in aliases ? all.filter(([, other]) => other === op).map(([other]) => other) : [name];
  return [...first, second[name] ?? name].flatMap((one) => [one, `linalg.${one}`]);
}

async function thrown(call: () => unknown): Promise<unknown> {
  try {
    return await call();
  } catch (error) {
    return error;
  }
}

it.each(all)('%s', async (name, op) => {
  for (const args of [[], [{}]]) {
    const error = await thrown(() => op(...args));
    expect(error).toBeInstanceOf(Error);
    const { message } = error as Error;
    expect(message).not.toMatch(/Cannot (read|destructure)|is not a function|is not iterable/);
    expect(namesOf(name, op)).toContain(message.split(':')[0]);
  }
});

it('what follows says what it wants', () => {
  const { mean, sum, softmin, max } = ops as unknown as Record<string, Op>;
  expect(() => mean?.()).toThrow('mean: expected a tensor, got undefined');
  expect(() => sum?.({ dim: 1 })).toThrow(/^sum: expected a tensor first, got an object/);
  expect(() => softmin?.(null)).toThrow(/^softmin: expected a tensor first, got null/);
  expect(() => max?.()).toThrow('max: expected a tensor, got undefined');
});
