import type { RecurseArgs } from './tree.js';
import { readOptions } from '../../tensor/options.js';
import { noGrad } from '../../autograd/mode.js';
import { runtime } from '../../device/index.js';
import { countWork, type Work } from '../../ops/index.js';
import { bytesPerElement, type DType } from '../../tensor/dtype.js';
import { numel, showShape, type Shape } from '../../tensor/shape.js';
import { isTensor, Tensor } from '../../tensor/tensor.js';
import type { Storage } from '../../tensor/storage.js';
import { scoped } from '../../tensor/tidy.js';
import { observeCalls, type Called } from './call.js';
import type { Parameter } from './parameter.js';

export interface SummaryOptions {
  /** Of the input. Default float32. */
  dtype?: DType;
  /**
   * Levels of the tree that get rows of their own; what is below counts in the row of its ancestor. Default:
   * all.
   */
  depth?: number;
}

/** One call of a module. What its children do is in their rows, if they have any. */
export interface SummaryRow {
  /** Path in the model, '' for the model itself. */
  readonly path: string;
  /** Class name. */
  readonly type: string;
  /** Distance from the model. */
  readonly depth: number;
  /** One per tensor that the call returned; empty for a module that holds parameters and was never called. */
  readonly outputShapes: readonly Shape[];
  /** Elements of its parameters; 0 when a row above has counted them already. */
  readonly parameters: number;
  /** Those of them that require grad. */
  readonly trainable: number;
  /** Of convolutions and matrix products, functional ones in its forward included. */
  readonly multiplyAdds: number;
  /** Memory of its outputs that is not its inputs' memory. */
  readonly outputBytes: number;
}

export interface SummaryTotals {
  readonly parameters: number;
  readonly trainable: number;
  readonly nonTrainable: number;
  /** As in torchvision's table of weights, where they are called FLOPS. */
  readonly multiplyAdds: number;
  readonly inputBytes: number;
  /** Outputs of the layers at the leaves of the tree. */
  readonly activationBytes: number;
  /** Parameters and buffers. */
  readonly parameterBytes: number;
}

/** What a summary asks of a module. */
interface Summarized extends Called {
  training: boolean;
  eval(): unknown;
  namedModules(): [path: string, module: Summarized][];
  parameters(...args: RecurseArgs): Parameter[];
  buffers(): Tensor[];
}

interface OpenRow {
  readonly module: Summarized;
  readonly path: string;
  readonly depth: number;
  readonly inputs: ReadonlySet<Storage>;
  readonly workBefore: number;
  childWork: number;
  hasChildren: boolean;
  outputShapes: readonly Shape[];
  multiplyAdds: number;
  outputBytes: number;
}

/** What `model.summary()` returns; as a string it is a table. */
export class Summary {
  constructor(
    /** Class name of the model. */
    readonly model: string,
    readonly inputShapes: readonly Shape[],
    readonly rows: readonly SummaryRow[],
    readonly totals: SummaryTotals,
  ) {}

  toString(): string {
    return printSummary(this);
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
  }
}

/** Tensors in what a forward took or returned: itself, or in nested arrays and plain objects. */
function tensorsIn(value: unknown, found: Tensor[] = [], depth = 0): Tensor[] {
  if (isTensor(value)) found.push(value);
  else if (typeof value === 'object' && value !== null && depth < 4 && !ArrayBuffer.isView(value))
    for (const item of Object.values(value)) tensorsIn(item, found, depth + 1);
  return found;
}

const bytesOf = (x: Tensor): number => x.numel() * bytesPerElement[x.dtype];
const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

/** @internal What `model.summary()` does. */
export function summarize(
  model: Summarized,
  inputShape: Shape | readonly Shape[],
  options: SummaryOptions = {},
): Summary {
  const { dtype, depth: maxDepth } = readOptions<Required<SummaryOptions>>(
    'summarize',
    { dtype: 'float32', depth: Infinity },
    options,
  );
  const shapes = (typeof inputShape[0] === 'object' ? inputShape : [inputShape]) as readonly Shape[];
  const modules = model.namedModules();
  const training = modules.map(([, module]) => module.training);
  let calls: OpenRow[];
  try {
    model.eval();
    calls = trace(model, shapes, dtype);
  } finally {
    modules.forEach(([, module], i) => (module.training = training[i] as boolean));
  }
  const parameters = model.parameters();
  const count = (of: readonly Parameter[]): number => sum(of.map((parameter) => parameter.numel()));
  const totals: SummaryTotals = {
    parameters: count(parameters),
    trainable: count(parameters.filter((parameter) => parameter.requiresGrad)),
    nonTrainable: count(parameters.filter((parameter) => !parameter.requiresGrad)),
    multiplyAdds: sum(calls.map((call) => call.multiplyAdds)),
    inputBytes: sum(shapes.map((shape) => numel(shape) * bytesPerElement[dtype])),
    activationBytes: sum(calls.map((call) => (call.hasChildren ? 0 : call.outputBytes))),
    parameterBytes: sum([...parameters, ...model.buffers()].map(bytesOf)),
  };
  return new Summary(model.constructor.name, shapes, rowsOf(model, calls, maxDepth), totals);
}

/** The calls of one forward pass in order, without running it on the GPU. */
function trace(model: Summarized, shapes: readonly Shape[], dtype: DType): OpenRow[] {
  const paths = new Map<Called, string>(model.namedModules().map(([path, module]) => [module, path]));
  const calls: OpenRow[] = [];
  const open: OpenRow[] = [];
  const work: Work = { multiplyAdds: 0 };
  const watch = {
    enter(module: Summarized, args: readonly unknown[]): void {
      const parent = open.at(-1);
      if (parent !== undefined) parent.hasChildren = true;
      const call: OpenRow = {
        module,
        path: paths.get(module) ?? '(not in the tree)',
        depth: open.length,
        inputs: new Set(tensorsIn(args).map((x) => x.storage)),
        workBefore: work.multiplyAdds,
        childWork: 0,
        hasChildren: false,
        outputShapes: [],
        multiplyAdds: 0,
        outputBytes: 0,
      };
      calls.push(call);
      open.push(call);
    },
    leave(_: Called, result: unknown): void {
      const call = open.pop() as OpenRow;
      const all = work.multiplyAdds - call.workBefore;
      const outputs = tensorsIn(result);
      call.multiplyAdds = all - call.childWork;
      call.outputShapes = outputs.map((x) => x.shape);
      call.outputBytes = sum(outputs.filter((x) => !call.inputs.has(x.storage)).map(bytesOf));
      const parent = open.at(-1);
      if (parent !== undefined) parent.childWork += all;
    },
  };
  const forward = model as unknown as (...args: Tensor[]) => unknown;
  noGrad(() =>
    scoped('summary', () => {
      runtime().withoutWork(() =>
        observeCalls(watch, () =>
          countWork(
            work,
            () => void forward(...shapes.map((shape) => Tensor.empty(shape, dtype, 'summary'))),
          ),
        ),
      );
    }),
  );
  return calls;
}

/**
 * One row per call down to `maxDepth`, deeper ones added to the row above; then what holds parameters and was
 * not called.
 */
function rowsOf(model: Summarized, calls: readonly OpenRow[], maxDepth: number): SummaryRow[] {
  const counted = new Set<Parameter>();
  type Row = { -readonly [K in keyof SummaryRow]: SummaryRow[K] };
  const own = (module: Summarized, row: Row): void => {
    for (const parameter of module.parameters(false)) {
      if (counted.has(parameter)) continue;
      counted.add(parameter);
      row.parameters += parameter.numel();
      if (parameter.requiresGrad) row.trainable += parameter.numel();
    }
  };
  const rows: Row[] = [];
  const add = (path: string, module: Summarized, depth: number, call: OpenRow | null): void => {
    let row = rows.at(-1);
    if (depth <= maxDepth || row === undefined) {
      row = {
        path,
        type: module.constructor.name,
        depth,
        outputShapes: call?.outputShapes ?? [],
        parameters: 0,
        trainable: 0,
        multiplyAdds: 0,
        outputBytes: call?.outputBytes ?? 0,
      };
      rows.push(row);
    }
    row.multiplyAdds += call?.multiplyAdds ?? 0;
    own(module, row);
  };
  for (const call of calls) add(call.path, call.module, call.depth, call);
  const called = new Set(calls.map((call) => call.module));
  for (const [path, module] of model.namedModules()) {
    if (called.has(module) || module.parameters(false).every((parameter) => counted.has(parameter))) continue;
    add(path, module, path.split('.').length, null);
  }
  return rows;
}

const thousands = (n: number): string => String(n).replace(/\B(?=(\d{3})+$)/g, ',');
const orDashes = (n: number): string => (n === 0 ? '--' : thousands(n));

/** 1,024 bytes are a KiB. */
function bytes(n: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB'];
  let unit = 0;
  while (n >= 1024 && unit < units.length - 1) {
    n /= 1024;
    unit++;
  }
  return `${unit === 0 ? n : n.toFixed(2)} ${units[unit]}`;
}

function printSummary({ model, inputShapes, rows, totals }: Summary): string {
  const head = ['Layer (type)', 'Output shape', 'Parameters', 'Trainable', 'Multiply-adds', 'Output memory'];
  const cells = rows.map((row) => [
    `${'  '.repeat(row.depth)}${row.path === '' ? row.type : `${row.path} (${row.type})`}`,
    row.outputShapes.length === 0 ? '--' : row.outputShapes.map(showShape).join(', '),
    orDashes(row.parameters),
    row.parameters === 0
      ? '--'
      : row.trainable === 0
        ? 'no'
        : row.trainable === row.parameters
          ? 'yes'
          : 'partly',
    orDashes(row.multiplyAdds),
    row.outputBytes === 0 ? '--' : bytes(row.outputBytes),
  ]);
  const widths = head.map((title, i) =>
    Math.max(title.length, ...cells.map((row) => (row[i] as string).length)),
  );
  const line = (row: readonly string[]): string =>
    row
      .map((cell, i) =>
        i < 2 || i === 3 ? cell.padEnd(widths[i] as number) : cell.padStart(widths[i] as number),
      )
      .join('  ')
      .trimEnd();
  const width = sum(widths) + 2 * (widths.length - 1);
  const [thick, thin] = ['='.repeat(width), '-'.repeat(width)];
  return [
    thick,
    line(head),
    thick,
    ...cells.map(line),
    thick,
    `${model} of ${inputShapes.map(showShape).join(', ')}`,
    `Parameters: ${thousands(totals.parameters)} (${thousands(totals.trainable)} trainable, ${thousands(totals.nonTrainable)} not)`,
    `Multiply-adds: ${thousands(totals.multiplyAdds)} (${(totals.multiplyAdds / 1e9).toFixed(3)} G)`,
    thin,
    `Input: ${bytes(totals.inputBytes)}`,
    `Outputs of the layers: ${bytes(totals.activationBytes)}`,
    `Parameters and buffers: ${bytes(totals.parameterBytes)}`,
    thick,
  ].join('\n');
}
