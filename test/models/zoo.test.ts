import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';
import { runtime } from '../../src/device/index.js';
import type { ModelOptions } from '../../src/models/index.js';
import { signalParameter, uniform } from './fill.js';
import { relativeL2 } from './goldens.js';
import { full } from '../tooling/full.js';

/** scripts/goldens/make_zoo_goldens.py says what these are. */
interface ZooEntry {
  readonly parameters: number;
  readonly keys: string;
  readonly print: string;
  readonly printed?: string;
  readonly options?: ModelOptions;
  readonly size?: number;
  readonly logits?: readonly number[];
  readonly float32?: number;
  readonly deep?: boolean;
}

const golden = JSON.parse(readFileSync(new URL('../goldens/models/zoo.json', import.meta.url), 'utf8')) as {
  readonly models: Readonly<Record<string, ZooEntry>>;
};
const entries = Object.entries(golden.models);
/** The rest take minutes on a software adapter, most of it for compiling kernels. */
const quick = ['mobilenet_v2', 'mobilenet_v3_small', 'squeezenet1_1'];
const logitsLimit = 5e-5;

beforeAll(() => k.init());

const digest = (text: string): string => createHash('sha256').update(text).digest('hex');

/** Shapes by key. The state dict's tensors share the model's memory: they are let go with the scope. */
const shapesOf = (model: k.nn.Module): [string, readonly number[]][] =>
  k.tidy(() => [...model.stateDict()].map(([key, { shape }]) => [key, shape]));

it("has every model of the goldens, and none of torchvision's besides", () => {
  const names = k.models.list().filter((name) => k.models.get(name).origin === 'torchvision');
  expect(names.sort()).toEqual(entries.map(([name]) => name).sort());
});

describe('models are built as in torchvision', () => {
  it.each(entries)('%s: keys, shapes, order, print(model)', (name, want) => {
    // Weights that nobody reads need neither values nor memory that is touched.
    const model = runtime().withoutWork(() => k.models.get(name)());
    try {
      const text = model.toString();
      if (want.printed !== undefined) expect(text.split('\n')).toEqual(want.printed.split('\n'));
      const keys = shapesOf(model).map(([key, shape]) => `${key} [${shape.join(', ')}]`);
      expect({
        parameters: model.parameters().reduce((sum, p) => sum + p.numel(), 0),
        keys: digest(keys.join('\n')),
        print: digest(text),
      }).toEqual({ parameters: want.parameters, keys: want.keys, print: want.print });
    } finally {
      model.dispose();
    }
  });
});

describe('models compute what torchvision computes', () => {
  for (const [name, { options, size, logits, float32 = 0, deep = false }] of entries) {
    if (logits === undefined || size === undefined) continue;
    it.skipIf(!full && !quick.includes(name))(
      `${name}, 1x3x${size}x${size}`,
      { timeout: 600_000 },
      async () => {
        const model = runtime().withoutWork(() => k.models.get(name)(options));
        try {
          await model.loadStateDict(
            new Map(
              shapesOf(model).map(([key, shape]) => [
                key,
                {
                  shape,
                  data: key.endsWith('num_batches_tracked') ? [0] : signalParameter(key, shape, deep),
                },
              ]),
            ),
          );
          model.eval();
          const shape = [1, 3, size, size];
          const x = k.tensor(uniform('input', shape, Math.sqrt(3)), { shape });
          const error = relativeL2(await k.noGrad(() => model(x)).data(), logits);
          console.log(
            `  ${name}: logits off by ${error.toExponential(1)} (PyTorch's float32: ${float32.toExponential(1)})`,
          );
          expect(error).toBeLessThan(logitsLimit);
        } finally {
          model.dispose();
        }
      },
    );
  }
});
