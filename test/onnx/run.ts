/** Exported models in onnxruntime, beside the models themselves. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import * as k from '../../src/index.js';
import { exportOnnx, type ExportOnnxOptions } from '../../src/onnx/index.js';
import { saveOnnx } from '../../src/onnx/save.js';
import { toHalf } from '../../src/tensor/dtype.js';

interface Values {
  readonly type: string;
  readonly dims: readonly number[];
  readonly data: ArrayLike<number>;
}
interface Runtime {
  readonly Tensor: new (type: string, data: unknown, dims: readonly number[]) => Values;
  readonly InferenceSession: {
    create(
      model: Uint8Array | string,
      options?: object,
    ): Promise<{
      readonly inputNames: readonly string[];
      readonly outputNames: readonly string[];
      run(feeds: Readonly<Record<string, Values>>): Promise<Readonly<Record<string, Values>>>;
      release(): Promise<void>;
    }>;
  };
}

const folder = fileURLToPath(new URL('./runtime/', import.meta.url));

/** onnxruntime, which is installed beside the tests when they first ask for it; its install scripts are not run. */
export function loadRuntime(): Runtime {
  if (!existsSync(`${folder}node_modules`)) {
    const { status, stderr } = spawnSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], {
      cwd: folder,
      encoding: 'utf8',
      shell: process.platform === 'win32',
    });
    if (status !== 0) throw new Error(`npm ci in test/onnx/runtime: ${stderr}`);
  }
  return createRequire(`${folder}package.json`)('onnxruntime-node') as Runtime;
}

const fromHalf = (bits: number): number => {
  const [sign, exponent, fraction] = [bits & 0x8000 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
};

const tensorsIn = (value: unknown): k.Tensor[] =>
  value instanceof k.Tensor
    ? [value]
    : typeof value === 'object' && value !== null
      ? Object.values(value).flatMap(tensorsIn)
      : [];

/** The largest difference of one output, by its largest number. */
export interface Difference {
  readonly shape: readonly [mine: readonly number[], other: readonly number[]];
  readonly dtype: readonly [mine: string, other: string];
  readonly error: number;
}

async function difference(x: k.Tensor, other: Values): Promise<Difference> {
  const mine = await x.data();
  const theirs = other.type === 'float16' ? Array.from(other.data, fromHalf) : Array.from(other.data, Number);
  let [most, largest] = [0, 0];
  mine.forEach((value, i) => {
    const far = Object.is(value, theirs[i]) ? 0 : Math.abs(value - (theirs[i] ?? NaN));
    most = Number.isNaN(far) ? Infinity : Math.max(most, far);
    largest = Math.max(largest, Math.abs(value));
  });
  return {
    shape: [x.shape, other.dims],
    dtype: [x.dtype, other.type],
    error: most === 0 ? 0 : most / Math.max(largest, 1e-9),
  };
}

/** Exports `model` by `examples`, to a file if `path` says so, and compares both on `inputs`. */
export async function differences(
  runtime: Runtime,
  model: k.nn.Module,
  examples: readonly k.Tensor[],
  inputs: readonly k.Tensor[] = examples,
  options: ExportOnnxOptions = {},
  path?: string,
): Promise<Difference[]> {
  model.eval();
  if (path !== undefined) await saveOnnx(model, examples, path, { ...options, externalData: true });
  const exported = path ?? (await exportOnnx(model, examples, options));
  const session = await runtime.InferenceSession.create(exported, { logSeverityLevel: 3 });
  const feeds: Record<string, Values> = {};
  for (const [i, name] of session.inputNames.entries()) {
    const x = inputs[i] as k.Tensor;
    const data = await x.data();
    const given = x.dtype === 'float16' ? Uint16Array.from(data, toHalf) : data;
    feeds[name] = new runtime.Tensor(x.dtype, given, x.shape);
  }
  const call = model as unknown as (...args: readonly k.Tensor[]) => unknown;
  const mine = k.noGrad(() => tensorsIn(call(...inputs)));
  const others = await session.run(feeds);
  const found = await Promise.all(
    mine.map((x, i) => difference(x, others[session.outputNames[i] as string] as Values)),
  );
  await session.release();
  return found;
}
