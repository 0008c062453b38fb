import * as kindling from '../../../src/index.js';
import { runtime, type DeviceBuffer } from '../../../src/device/index.js';
import type { Tensor } from '../../../src/tensor/tensor.js';
import type { Outcome, RegisterState } from './interpret.js';
import { positions, type Shape } from '../reference/ndarray.js';
import { printTypeScript, type Program, type Statement } from './statements.js';

/** Where a tensor's memory was copied to, and how to read it there. */
interface Window {
  readonly shape: Shape;
  readonly strides: readonly number[];
  /** In elements, from the start of the results. */
  readonly offset: number;
}

interface Pending {
  readonly refused: Outcome['refused'];
  readonly registers: ReadonlyMap<
    number,
    { readonly value: Window; readonly requiresGrad: boolean; readonly grad: Window | null }
  >;
}

type Line = (k: typeof library, r: (Tensor | undefined)[]) => void;

const lines = new Map<string, Line>();

/** A statement as code; what is printed in a report is what runs. */
function compile(statement: Statement): Line {
  const code = printTypeScript(statement, (r) => `r[${r}]`, '')
    .replace(/\b(tensor|where|cat|stack|noGrad|autograd|seed|F)(?=[.(])/g, 'k.$1')
    .replace(/\.k\./g, '.');
  let line = lines.get(code);
  if (line === undefined) {
    if (lines.size > 20_000) lines.clear();

    line = new Function('k', 'r', code) as Line;
    lines.set(code, line);
  }
  return line;
}

/** A gradient for `root`: the numbers, repeated row by row. */
function seed(root: Tensor, numbers: readonly number[]): Tensor {
  const values = Array.from({ length: root.numel() }, (_, i) => numbers[i % numbers.length] as number);
  return kindling.tensor(values).reshape([...root.shape]);
}

const library = { ...kindling, F: kindling.nn.functional, seed };

/** Runs all of `program`, which is not refused; `tensors` gets its registers. */
export function runAll(program: Program, tensors: (Tensor | undefined)[]): void {
  for (const statement of program) compile(statement)(library, tensors);
}

/** Errors that no op throws on purpose. */
const isCrash = (error: unknown): boolean =>
  !(error instanceof Error) ||
  error instanceof TypeError ||
  error instanceof RangeError ||
  error instanceof ReferenceError;

/** Runs programs on kindling, many before one read of all their results. */
export class Engine {
  private readonly results: DeviceBuffer;
  private readonly capacity: number;
  private used = 0;

  constructor(bytes = 4 << 20) {
    this.results = runtime().alloc(bytes, 'results');
    this.capacity = bytes / 4;
  }

  async run(programs: readonly Program[]): Promise<Outcome[]> {
    this.used = 0;
    const pending = programs.map((program) => kindling.tidy(() => this.start(program)));
    const values = new Float32Array(await runtime().read(this.results, 0, Math.max(4, 4 * this.used)));
    return pending.map(({ refused, registers }) => ({
      refused,
      registers: new Map(
        [...registers].map(([r, { value, requiresGrad, grad }]): [number, RegisterState] => [
          r,
          {
            shape: value.shape,
            values: gather(values, value),
            requiresGrad,
            grad: grad === null ? null : gather(values, grad),
          },
        ]),
      ),
    }));
  }

  private start(program: Program): Pending {
    const tensors: (Tensor | undefined)[] = [];
    let refused: Outcome['refused'] = null;
    for (const [at, statement] of program.entries()) {
      try {
        compile(statement)(library, tensors);
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error);
        refused = { at, kind: isCrash(error) ? `crash: ${message}` : message };
        break;
      }
    }
    const copied = new Map<unknown, number>();
    const registers: [number, Pending['registers'] extends ReadonlyMap<number, infer V> ? V : never][] = [];
    tensors.forEach((tensor, r) => {
      if (tensor === undefined) return;
      registers.push([
        r,
        {
          value: this.keep(tensor, copied),
          requiresGrad: tensor.requiresGrad,
          grad: tensor.grad === null ? null : this.keep(tensor.grad, copied),
        },
      ]);
    });
    for (const tensor of tensors) if (tensor?.grad) tensor.grad = null;
    return { refused, registers: new Map(registers) };
  }

  /** Copies the memory of `tensor` as it is, once per storage. */
  private keep({ storage, shape, strides, offset }: Tensor, copied: Map<unknown, number>): Window {
    let start = copied.get(storage);
    if (start === undefined) {
      start = this.used;
      const bytes = 4 * Math.ceil(storage.bytes / 4);
      this.used += bytes / 4;
      if (this.used > this.capacity) throw new Error('the results of this many programs do not fit');
      runtime().copy(storage.deviceBuffer, 0, this.results, 4 * start, bytes);
      copied.set(storage, start);
    }
    return { shape, strides, offset: start + offset };
  }
}

const gather = (values: Float32Array, { shape, strides, offset }: Window): Float32Array =>
  Float32Array.from(positions(shape, strides, offset), (at) => values[at] as number);
